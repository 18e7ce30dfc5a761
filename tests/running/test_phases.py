"""What was done, and how long it took: in the log for who listens, and in results."""

import logging
import subprocess
import sys

import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.errors import Doubt

DECLINE = models.load("nk_decline")
STUDY = ck.example().select(["P05", "P06"])


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(DECLINE, STUDY, starts=1, progress=False)


def test_nothing_is_logged_where_nobody_listens():
    code = "import logging, cellkinetics\nlogging.getLogger('cellkinetics.x').warning('heard')"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "")


def test_who_listens_hears_what_was_fitted_and_how_long_it_took(caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="cellkinetics"):
        fits = ck.fit_each(DECLINE, STUDY, starts=1, progress=False, checkpoint=tmp_path / "kept")
        ck.fit_each(DECLINE, STUDY, starts=1, progress=False, checkpoint=tmp_path / "kept")
        fits["P06"].bootstrap(20)
    said = "\n".join(caplog.messages)
    assert "nk_decline fitted to 2 patients: " in said
    assert "fits: 1 chunk of 1 from " in said
    assert "bootstrap of P06, 20 refits of nk_decline: " in said
    assert {record.name for record in caplog.records} == {"cellkinetics"}


def test_results_have_the_seconds_of_their_phases(fits, tmp_path):
    assert set(fits.timings) == {"preparing", "optimising", "second look", "compiling"}
    fit = fits["P06"]
    assert fit.seconds == pytest.approx(sum(s for name, s in fit.timings.items() if name != "compiling"))
    assert fits.timings["optimising"] == pytest.approx(2 * fit.timings["optimising"])
    fits.save(tmp_path / "fits.json")
    assert ck.load(tmp_path / "fits.json")["P06"].timings == fit.timings
    found = fit.bootstrap(20)
    assert set(found.origin.timings) == {"drawing", "refitting", "compiling"}
    found.save(tmp_path / "bootstrap.json")
    assert ck.load(tmp_path / "bootstrap.json").origin.timings == found.origin.timings


def test_joint_fits_tables_and_comparisons_tell_their_seconds_too(caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="cellkinetics"):
        joint = ck.fit(DECLINE, STUDY, shared=["alpha"], starts=1)
        table, compared = ck.nca(STUDY), ck.compare_cohorts(STUDY, days=[28], windows=[])
        design = ck.identifiability(DECLINE, [1, 7, 28], doses=1e6)
    assert set(joint.timings) == {"preparing", "optimising", "uncertainty", "compiling"}
    assert sum(s for name, s in joint.timings.items() if name != "compiling") <= joint.seconds
    assert set(table.attrs["timings"]) == {"metrics", "compiling"}
    assert {"windows", "compiling"} <= set(compared.origin.timings)
    assert set(design.origin.timings) == {"curve", "compiling"}
    said = "\n".join(caplog.messages)
    for text in ("nk_decline fitted to 2 patients together, ", "nca of 2 patients: ", "2 patients compared by cohort: ",
                 "identifiability of nk_decline in 3 samples: "):  # fmt: skip
        assert text in said
    joint.save(tmp_path / "joint.json")
    assert ck.load(tmp_path / "joint.json").timings == joint.timings


def test_each_kind_of_warning_has_a_class_and_a_code_of_its_own(fits):
    kinds = Doubt.__subclasses__()
    codes = [kind.code for kind in kinds]
    assert len(kinds) == 7 and len(set(codes)) == 7
    assert all(getattr(ck, kind.__name__) is kind and issubclass(kind, UserWarning) for kind in kinds)
    with pytest.warns(ck.TimeWarning, match=r"day -3 lies before the infusion.* \[CK202\]$"):
        fits["P06"].predict([-3.0, 7.0])
    with pytest.warns(ck.DoseWarning, match="takes no dose"):
        ck.simulate(models.load("stein_2019_tisagenlecleucel"), {}, [7.0], doses=1e6)
