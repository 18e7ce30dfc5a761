"""`models/` is found wherever the library lies: checkout, editable install, wheel, other process, worker."""

import json
import os
import pickle
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.errors import ModelError

ROOT = Path(__file__).resolve().parents[1]
STEMS = sorted(file.stem for file in (ROOT / "models").glob("[!_]*.py"))
STEIN = "stein_2019_tisagenlecleucel"
DAYS = np.array([1.0, 7.0, 14.0, 28.0, 180.0])

LOOK = """
import json
import cellkinetics
from cellkinetics import models

stein = models.load("stein_2019_tisagenlecleucel")
for name in models.names():
    assert models.load(name) is models.load(name), name
print(json.dumps({
    "package": cellkinetics.__file__,
    "names": models.names(),
    "model file": stein.curve.__code__.co_filename,
    "curve": [float(value) for value in stein.solve([1.0, 7.0, 14.0, 28.0, 180.0])["copies_per_ug"]],
}))
"""

UNPICKLE = """
import pickle, sys
from pathlib import Path

model = pickle.loads(Path(sys.argv[1]).read_bytes())
(curve,) = model.solve([1.0, 7.0, 14.0, 28.0, 180.0]).values()
print(model.name, [float(value) for value in curve])
"""

MY_MODEL = '''
"""Exponential loss."""

import jax.numpy as jnp

from cellkinetics import Model, Parameter


def curve(t, c_0, k):
    return c_0 * jnp.exp(-k * t)


model = Model(
    name="my_loss",
    reference="this test",
    parameters={
        "c_0": Parameter(100.0, "copies/ug", "assumption"),
        "k": Parameter(0.1, "1/day", "assumption"),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
)
'''


def run(*command, folder, **environment):
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=outer | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def curve_of(model):
    (curve,) = model.solve(DAYS).values()
    return np.asarray(curve)


@pytest.fixture
def my_model(tmp_path):
    file = tmp_path / "my_model.py"
    file.write_text(MY_MODEL)
    return ck.load_model(file)


@pytest.fixture(scope="module")
def distribution(tmp_path_factory):
    """The folder with the sdist and the wheel that is built from the sdist."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


def test_a_checkout_reads_models_from_its_folder():
    seen = json.loads(run(sys.executable, "-c", LOOK, folder=ROOT))
    assert Path(seen["package"]) == ROOT / "cellkinetics" / "__init__.py"
    assert seen["names"] == STEMS
    assert Path(seen["model file"]) == ROOT / "models" / f"{STEIN}.py"


def test_a_model_is_an_attribute_of_the_module_with_a_warning_that_says_how_it_is_loaded():
    with pytest.warns(DeprecationWarning, match=rf"cellkinetics\.models\.{STEIN} is models\.load\('{STEIN}'\) now"):
        from cellkinetics.models import stein_2019_tisagenlecleucel

    assert isinstance(stein_2019_tisagenlecleucel, ck.Model)
    assert stein_2019_tisagenlecleucel is models.load(STEIN)
    assert set(dir(models)) == {"load", "names"}


def test_an_unknown_name_is_an_error_that_suggests_the_nearest():
    with pytest.raises(ModelError, match=r"'nk_declin'.*nk_decline.*Did you mean nk_decline\?"):
        models.load("nk_declin")
    with pytest.raises(AttributeError, match=r"'nk_declin'.*Did you mean nk_decline\?"):
        models.nk_declin  # noqa: B018
    assert not hasattr(models, "__wrapped__")


def test_an_editable_install_reads_models_from_the_checkout(tmp_path):
    pytest.importorskip("hatchling")
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    # What the library and its build need comes from the environment of this test, after the checkout.
    (site / "zz_parent.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--no-build-isolation", "--editable", ROOT, folder=tmp_path)
    seen = json.loads(run(python, "-c", LOOK, folder=tmp_path))
    assert Path(seen["package"]) == ROOT / "cellkinetics" / "__init__.py"
    assert seen["names"] == STEMS
    assert Path(seen["model file"]) == ROOT / "models" / f"{STEIN}.py"


def test_the_sdist_holds_what_its_tests_need(distribution):
    (file,) = distribution.glob("*.tar.gz")
    with tarfile.open(file) as sdist:
        inside = {name.split("/", 1)[1] for name in sdist.getnames()}
    wanted = {f"models/{stem}.py" for stem in STEMS} | {"README.md", ".ci/run", "tests/test_models_folder.py"}
    assert wanted <= inside


def test_the_wheel_holds_package_models_and_data_once(distribution):
    (file,) = distribution.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        inside = [name for name in wheel.namelist() if ".dist-info/" not in name]
        parent = wheel.read("cellkinetics/_models/__init__.py").decode()
    package = ROOT / "cellkinetics"
    ours = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = [path.relative_to(ROOT).as_posix() for path in ours]
    wanted += [f"cellkinetics/_models/{stem}.py" for stem in STEMS]
    assert sorted(inside) == sorted(wanted)
    assert parent == (package / "_models" / "__init__.py").read_text()


def test_an_installed_wheel_works_from_another_folder(distribution, tmp_path):
    (file,) = distribution.glob("*.whl")
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--target", site, file, folder=tmp_path)
    seen = json.loads(run(sys.executable, "-c", LOOK, folder=tmp_path, PYTHONPATH=str(site)))
    assert Path(seen["package"]) == site / "cellkinetics" / "__init__.py"
    assert seen["names"] == STEMS
    assert Path(seen["model file"]) == site / "cellkinetics" / "_models" / f"{STEIN}.py"
    np.testing.assert_allclose(seen["curve"], curve_of(models.load(STEIN)), rtol=1e-12)


def test_a_library_model_is_unpickled_in_another_process(tmp_path):
    model = models.load(STEIN)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    name, curve = run(sys.executable, "-c", UNPICKLE, tmp_path / "model.pickle", folder=ROOT).split(" ", 1)
    assert name == model.name
    np.testing.assert_allclose(json.loads(curve), curve_of(model), rtol=1e-12)


def test_a_model_of_the_users_own_file_is_unpickled_in_another_process(my_model, tmp_path):
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(my_model))
    name, curve = run(sys.executable, "-c", UNPICKLE, tmp_path / "model.pickle", folder=ROOT).split(" ", 1)
    assert name == "my_loss"
    np.testing.assert_allclose(json.loads(curve), 100 * np.exp(-0.1 * DAYS), rtol=1e-12)


def test_worker_processes_receive_models_of_the_library_and_of_a_file(my_model):
    both = (models.load(STEIN), my_model)
    curves = Parallel(n_jobs=2, backend="loky")(delayed(model.solve)(DAYS) for model in both)
    for model, curve in zip(both, curves, strict=True):
        assert curve is not None
        np.testing.assert_array_equal(curve["copies_per_ug"], curve_of(model))
