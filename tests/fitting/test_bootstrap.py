"""The bootstrap: its spread where theory has it, its limits, and what is counted as failed."""

import re

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting import bootstrap
from cellkinetics.optimising.samples import samples_each

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])


@pytest.fixture(scope="module")
def constant(level):
    values = 100 * np.exp(0.4 * np.random.default_rng(3).normal(size=20))
    table = pd.DataFrame({"subject": "A", "day": np.arange(20) + 1.0, "copies_per_ug": values})
    return ck.fit(level, ck.read_study(table, lloq=1.0))


@pytest.fixture(scope="module")
def stein():
    curve = np.asarray(STEIN.solve(DAYS)["copies_per_ug"])
    copies = curve * np.exp(0.4 * np.random.default_rng(7).normal(size=15))
    study = ck.read_study(pd.DataFrame({"subject": "S", "day": DAYS, "copies_per_ug": copies}), lloq=120.0)
    return ck.fit(STEIN, study, fixed={"beta": 0.0032})


@pytest.mark.parametrize("kind", ["parametric", "case"])
def test_a_level_spreads_as_the_error_of_a_mean(constant, kind):
    draws = constant.bootstrap(400, kind=kind).draws["c"]
    # Cases are drawn from the samples as they are: their sd is the maximum-likelihood one. 400 draws know it to 3.5%.
    expected = constant.sd * (constant.inflation if kind == "parametric" else 1.0) / np.sqrt(20)
    assert np.log(draws).std(ddof=1) == pytest.approx(expected, rel=0.12)


def test_of_few_draws_no_percentile_is_given(constant):
    """The 2.5% percentile of fewer than 20 draws lies beyond the lowest."""
    one, few, enough = (constant.bootstrap(n).intervals.loc["c"] for n in (1, 19, 20))
    assert one[["lower", "upper"]].isna().all()
    assert few[["lower", "upper"]].isna().all()
    assert enough["lower"] < enough["value"] < enough["upper"]
    assert constant.bootstrap(5, level=0.8).intervals.notna().all(axis=None)


def test_the_seed_decides_and_nothing_else(constant):
    one, two, other = constant.bootstrap(20), constant.bootstrap(20), constant.bootstrap(20, seed=1)
    pd.testing.assert_frame_equal(one.draws, two.draws)
    assert not np.allclose(one.draws["c"], other.draws["c"])


def test_simulated_samples_are_censored_at_their_limits(stein):
    rng = np.random.default_rng(1)
    for _ in range(20):
        samples = bootstrap._simulated(stein, rng)
        assert (samples.upper[~samples.quantified] == 120.0).all()
        assert (samples.lower[samples.quantified] >= 120.0).all()
        assert set(samples.status) <= {"quantified", "below"}


def test_what_has_no_optimum_is_counted_and_the_others_give_intervals(stein):
    found = stein.bootstrap(60)
    assert len(found.draws) + found.failed == 60
    assert len(found.draws) > 30
    inside = found.intervals.loc["c_max"]
    assert inside["lower"] < inside["value"] < inside["upper"]
    assert list(found.intervals.index) == [*stein.problem.free, "sd"]


def test_a_patient_without_a_fit_has_no_draws_and_an_unknown_kind_is_refused(stein):
    few = ck.fit(STEIN, stein.study.select(until=3))
    assert few.bootstrap().draws.empty
    with pytest.raises(ValueError, match="parametric, case"):
        stein.bootstrap(kind="wild")


def two_patients():
    """B's rows come after A's, and their limits differ from day to day; B's last row has no value."""
    days, values = [1, 3, 7, 10, 14, 21, 28, 42, 60, 90], [300, 500, 900, 700, 500, 300, 150, 60, 30, 9]
    limits = [3.0] * 5 + [100.0, 100.0, 3.0, 3.0, 3.0]
    tables = []
    for name, n in (("A", 3), ("B", 10)):
        columns = {"day": [0, *days[:n]], "copies_per_ug": ["", *values[:n]], "lloq": ["", *limits[:n]]}
        tables.append(pd.DataFrame(columns | {"subject": name, "dose": [1e6] + [""] * n}))
    last = pd.DataFrame({"subject": ["B"], "day": [100], "copies_per_ug": [""], "dose": [""], "lloq": [""]})
    return ck.read_study(pd.concat([*tables, last]))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_patient_of_many_is_drawn_with_limits_of_the_own_rows():
    study, model = two_patients(), models.load("nk_decline")
    fits = ck.fit_each(model, study, progress=False, starts=1)
    alone = ck.fit(model, study.select(subjects="B"), starts=1)
    one, other = (fit.bootstrap(20, seed=3).draws for fit in (fits["B"], alone))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_every_sample_carries_the_limit_of_its_row():
    samples = samples_each(models.load("nk_decline"), two_patients())["B"]
    np.testing.assert_array_equal(samples.lloq, [3.0] * 5 + [100.0, 100.0, 3.0, 3.0, 3.0])
    np.testing.assert_array_equal(samples.taken(samples.day > 14).lloq, [100.0, 100.0, 3.0, 3.0, 3.0])


def test_an_sd_lies_in_its_own_interval_as_both_are_corrected_alike():
    fit = ck.fit(models.load("stein_2019_tisagenlecleucel"), ck.example().select(subjects="P08"), starts=1)
    sd = fit.bootstrap(n=60, seed=1).intervals.loc["sd"]
    assert fit.inflation > 1.2
    assert sd["lower"] < sd["value"] < sd["upper"]


def test_an_interval_that_leaves_out_the_fits_own_value_is_widened_to_it_and_says_so():
    rng, days = np.random.default_rng(4), np.array([0.2, 0.5, 1, 2, 3, 5, 7, 10, 14])
    copies = np.zeros(9)
    for _ in range(4):
        level = 400 * np.exp(0.4 * rng.normal())
        curve = level * (0.9 * np.exp(-1.1 * days) + 0.1 * np.exp(-0.12 * days))
        copies = curve * np.exp(0.5 * rng.normal(size=9))
    table = pd.DataFrame({"subject": "P", "day": days, "copies_per_ug": copies, "dose": 1e6})
    fit = ck.fit(models.load("nk_decline"), ck.read_study(table, lloq=0.5))
    for kind, name in (("parametric", "beta"), ("case", "sd")):
        found = fit.bootstrap(60, kind=kind, progress=False)
        assert re.search(rf"the interval of (.*, )?{name}(,| is widened)", found.note)
        own, drawn = found.intervals.loc[name], found.draws[name].quantile([0.025, 0.975])
        assert own["value"] in (own["lower"], own["upper"])
        assert not drawn.iloc[0] <= own["value"] <= drawn.iloc[1]
        others = found.intervals
        assert others.notna().all(axis=None)
        assert ((others["lower"] <= others["value"]) & (others["value"] <= others["upper"])).all()
