"""The folder that a run writes: what it replaces, and what it leaves alone."""

import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.reporting import output

NAME = '=HYPERLINK("http://example.org","x")'


@pytest.fixture(scope="module")
def fits():
    table = {"subject": NAME, "day": [0, 1, 7, 14, 28], "copies_per_ug": ["", 50, 900, 80, "<3"]}
    study = ck.read_study(pd.DataFrame(table).assign(dose=[1e6, None, None, None, None]), lloq=3.0)
    return ck.fit_each(ck.models.load("nk_decline"), study, progress=False, starts=1)


def test_a_second_run_leaves_no_figure_of_a_larger_first_one(fits, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("fits-1.png", "fits-2.png", "fits-mine.png", "notes.txt"):
        (folder / name).write_text("earlier")
    output.write(fits, folder, force=True)
    left = {path.name for path in folder.iterdir() if path.stat().st_size == len("earlier")}
    assert left == {"fits-mine.png", "notes.txt"}
    assert (folder / "fits.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(tmp_path.glob(".*"))


def test_a_patient_called_like_a_formula_is_no_formula_in_any_table(fits, tmp_path):
    output.write(fits, tmp_path / "out")
    for path in (tmp_path / "out").glob("*.csv"):
        cells = pd.read_csv(path, dtype=str).to_numpy(str).ravel()
        assert f"'{NAME}" in cells, path.name
        assert not [cell for cell in cells if cell.startswith(("=", "@"))], path.name
