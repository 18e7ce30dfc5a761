"""The windows that are asked for, of samples, of fitted curves and of named quantities."""

import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.cohorts.values import fitted_windows, windows

STUDY = ck.example()


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(models.load("nk_decline"), STUDY.select(["P05", "P06"]), starts=1, progress=False)


def test_the_windows_asked_for_are_those_of_the_fitted_curves_too(fits):
    found = fitted_windows(fits, [(0, 90), "auc_28_400", "tmax"])
    assert [one.name for one in found] == ["fitted peak, days 0-90", "fitted AUC, days 0-90", "fitted AUC, days 28-400"]
    day = np.linspace(0, 90, 20001)
    for subject, fit in fits.items():
        curve = fit.predict(day + fits.study.infusion_day(subject))["copies_per_ug"].to_numpy()
        known = fit.converged
        assert found[0].values.loc[subject, "lower"] == pytest.approx(curve.max() if known else np.nan, nan_ok=True)
        area = np.trapezoid(curve, day) if known else np.nan
        assert found[1].values.loc[subject, "lower"] == pytest.approx(area, rel=1e-3, nan_ok=True)


def test_fitted_curves_are_compared_to_day_28_unless_windows_are_asked_for(fits):
    assert [one.name for one in fitted_windows(fits)] == ["fitted peak, days 0-28", "fitted AUC, days 0-28"]
    assert fitted_windows(fits, ["below_from"]) == []
    asked = ck.compare_cohorts(fits, "dose", days=[], windows=[(0, 90)])
    assert list(asked.table["window"].unique()) == [
        "fitted peak, days 0-90", "fitted AUC, days 0-90", "peak, days 0-90", "AUC, days 0-90",
    ]  # fmt: skip


def test_a_fitted_curve_beyond_the_last_sample_is_counted(fits):
    ends = {subject: float(STUDY.select(subject).used["day"].max()) for subject in fits}
    [_, area] = fitted_windows(fits, [(0, max(ends.values()) + 10)])
    n = sum(fit.converged for fit in fits.values())
    assert area.matched == f"{n} curve{'s' if n > 1 else ''} beyond the last sample"


def test_the_name_of_an_area_is_its_window():
    named, pair = (windows(STUDY, days=[], chosen=[one]) for one in ("auc_0_90", (0, 90)))
    assert [one.name for one in named] == [one.name for one in pair] == ["peak, days 0-90", "AUC, days 0-90"]
    assert named[1].values.equals(pair[1].values)
    with pytest.raises(ValueError, match=r"no quantity 'auc_0_x'.*areas such as auc_0_90"):
        windows(STUDY, days=[], chosen=["auc_0_x"])
    with pytest.raises(ValueError, match="two days that rise"):
        windows(STUDY, days=[], chosen=["auc_90_0"])


def test_the_day_of_the_peak_is_that_of_the_windows_asked_for():
    asked = windows(STUDY, days=[], chosen=[(0, 7), "tmax", "tlast"])
    assert [one.name for one in asked[2:]] == ["day of the peak of days 0-7", "day of the last quantified sample"]
    assert asked[2].values["lower"].max() <= 7
    [alone] = windows(STUDY, days=[], chosen=["tmax"])
    assert alone.name == "day of the peak of days 0-28"
    assert alone.values["lower"].max() > 7
