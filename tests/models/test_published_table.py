"""The committed table of published and recomputed numbers is that of the files; every value says where it is from."""

import runpy
from pathlib import Path

import pandas as pd
import pytest

from cellkinetics import models

HERE = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPT = runpy.run_path(str(HERE / "models_published.py"))
COMMITTED = pd.read_csv(HERE / "models_published.csv", dtype=str, keep_default_na=False)

OURS = ("effector_memory", "four_phase", "il15_full", "il15_persistence", "logistic_expansion", "nk_decline",
        "qpcr_and_flow", "smooth_switch")  # fmt: skip
KINDS = ("assumption", "own estimate", "derived", "Stein 2019", "Ogasawara 2021", "Kimmel 2021", "BIOMD", "Barros 2021",
         "Singh 2021")  # fmt: skip


@pytest.mark.parametrize("name", models.names())
def test_the_committed_table_is_that_of_the_model(name):
    found = pd.DataFrame(SCRIPT["rows"](name)).fillna("").reindex(columns=COMMITTED.columns, fill_value="")
    committed = COMMITTED[COMMITTED["model"] == name].reset_index(drop=True)
    texts = [column for column in COMMITTED if column != "recomputed"]
    pd.testing.assert_frame_equal(found[texts].astype(str), committed[texts])
    for now, then in zip(found["recomputed"], committed["recomputed"], strict=True):
        assert (now == then) or float(now) == pytest.approx(float(then), rel=1e-3, abs=1e-6)
    assert "no" not in set(found["agrees"])


@pytest.mark.parametrize("name", models.names())
def test_every_value_is_published_derived_or_called_an_assumption(name):
    model = models.load(name)
    for key, parameter in model.parameters.items():
        assert parameter.source.startswith(KINDS), (key, parameter.source)
        assert f"{parameter.source}" in model.describe(), key


def test_models_that_are_ours_say_so_and_the_others_name_their_paper():
    for name in models.names():
        model = models.load(name)
        if name in OURS:
            assert model.reference.startswith("ours"), name
            assert "ours" in model.description.lower(), name
        else:
            assert model.reference.startswith("doi:"), name
            assert model.reference.removeprefix("doi:") in model.description, name


def test_a_model_whose_values_are_all_assumed_says_so_on_its_page():
    for name in models.names():
        model = models.load(name)
        assumed = [p.source.startswith(("assumption", "own estimate")) for p in model.parameters.values()]
        if all(assumed):
            text = " ".join(model.description.split())
            assert "very default is an assumption" in text or "Every default is an assumption" in text, name
