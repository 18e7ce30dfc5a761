"""`vpc`: bands against those of simulations written out in numpy, limits, bins, and what it refuses."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from at_truth import (
    BETWEEN,
    DAYS,
    MEAN,
    SD,
    fitted,
    ln_curves,
    moved_to,
    named_where_censored,
    simulated,
    study_of,
)
from scipy.stats import norm

import cellkinetics as ck
from cellkinetics.predictive.bins import bins_of
from cellkinetics.predictive.censored_quantiles import censored_quantiles
from cellkinetics.predictive.replicates import of_fits, of_population

SHARES = [0.05, 0.25, 0.5, 0.9]


@pytest.fixture(scope="module")
def fit():
    return fitted()


@pytest.fixture(scope="module")
def found(fit):
    return fit.vpc(replicates=400)


@pytest.fixture(scope="module")
def fits():
    study = ck.example().select(subjects=["P02", "P06", "P07"])
    return ck.fit_each(ck.models.load("nk_decline"), study, starts=1, progress=False)


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def test_quantiles_without_limits_are_those_of_numpy():
    values = np.random.default_rng(1).normal(size=(20, 11))
    expected = np.quantile(values, SHARES, axis=1).T
    assert censored_quantiles(values, np.zeros(values.shape, bool), SHARES) == pytest.approx(expected)


def test_what_lies_below_one_limit_is_ranked_at_the_bottom():
    values = np.random.default_rng(2).normal(size=(50, 9))
    below = values < -0.3
    got = censored_quantiles(np.where(below, -0.3, values), below, SHARES)
    ranked = np.sort(np.where(below, -1e9, values), axis=1)
    expected = np.array([np.quantile(row, SHARES) for row in ranked])
    assert got[expected > -0.3] == pytest.approx(expected[expected > -0.3])
    assert np.isneginf(got[expected < -0.3]).all()


def test_with_several_limits_they_are_of_the_product_limit_estimator():
    """By hand: 20 and 5 are known, one lies below 10: F(20) = 1, F(5) = 2/3, nothing is left for below 5."""
    got = censored_quantiles(np.array([[5.0, 10.0, 20.0]]), np.array([[False, True, False]]), [0.4, 0.5, 0.75, 1])
    assert got[0] == pytest.approx([-np.inf, 5.0, 12.5, 20.0])
    none = censored_quantiles(
        np.array([[3.0, np.nan], [np.nan, np.nan]]), np.array([[True, False], [False, False]]), [0.5]
    )
    assert np.isneginf(none[0, 0])
    assert np.isnan(none[1, 0])
    none_below, two_above = np.zeros((1, 3), bool), np.array([[False, True, True]])
    above = censored_quantiles(np.array([[1.0, 2.0, 1.5]]), none_below, [0.0, 0.5, 0.9], two_above)
    assert above[0].tolist() == [1.0, np.inf, np.inf]


def with_two_limits_each(shape, seed, lower=(-0.8, -0.2), upper=(0.3, 1.0)):
    """Normal values of which some lie below a limit, and some above one: values or limits, and which."""
    rng = np.random.default_rng(seed)
    values, low, high = rng.normal(size=shape), rng.choice(lower, size=shape), rng.choice(upper, size=shape)
    below, above = values < low, values > high
    return np.where(below, low, np.where(above, high, values)), below, above


def test_upper_limits_are_treated_as_lower_ones_seen_from_the_other_side():
    values, _, above = with_two_limits_each((50, 40), 1, lower=(-9.0,))
    nothing, shares = np.zeros_like(above), np.array(SHARES)
    got = censored_quantiles(values, nothing, shares, above)
    expected = -censored_quantiles(-values, above, 1 - shares)
    known = np.isfinite(expected)
    assert 0.1 < known.mean() < 1
    assert np.array_equal(np.isfinite(got), known)
    assert got[known] == pytest.approx(expected[known], abs=1e-5)


def test_with_several_limits_on_both_sides_quantiles_are_those_of_what_they_hide():
    """Of 10,000 values a quantile is known to 0.01; ranked at the top the third quartile is at its highest limit."""
    values, below, above = with_two_limits_each((1, 10_000), 2)
    shares = np.array([0.25, 0.5, 0.75])
    got = censored_quantiles(values, below, shares, above)[0]
    assert got == pytest.approx(norm.ppf(shares), abs=0.04)
    at_the_top = censored_quantiles(np.where(above, np.inf, values), below, shares)[0]
    assert at_the_top[2] > norm.ppf(0.75) + 0.1


def test_corrected_quantiles_under_an_upper_limit_are_those_without(fit):
    """Corrected, one limit is many: ranked at the top, the median of day 7 was half too high."""
    study = simulated(n=60, seed=5)
    limited, whole = (
        moved_to(fit, one).vpc(replicates=200, quantiles=[0.5, 0.75], corrected=True).table
        for one in (named_where_censored(study, 200.0), study)
    )
    assert np.log(limited["mid"]).to_numpy() == pytest.approx(np.log(whole["mid"]).to_numpy(), abs=0.1)
    assert (limited["mid"] > 200.0).sum() >= 4


def test_bands_are_those_of_a_simulation_written_out_in_numpy(fit):
    at_truth = moved_to(fit, simulated(limit=[5.0, 5.0, 20.0] * 8))
    table = at_truth.vpc(replicates=2000, quantiles=[0.5, 0.95], by="dose").table
    rng, limits = np.random.default_rng(9), np.tile(np.log([5.0, 5.0, 20.0]), 8)[:, None]
    drawn = []
    for _ in range(2000):
        ln_f, _ = ln_curves(24, rng)
        ln_y = ln_f + SD * rng.normal(size=ln_f.shape)
        ranked = np.where(ln_y < limits, -1e9, ln_y)
        drawn.append([np.quantile(ranked[at::3], [0.5, 0.95], axis=0) for at in range(3)])
    bands = np.quantile(np.array(drawn), [0.05, 0.5, 0.95], axis=0, method="nearest")
    assert table["stratum"].unique().tolist() == ["1e5 cells/kg", "1e6 cells/kg", "1e7 cells/kg"]
    for name, expected in zip(("low", "mid", "high"), bands, strict=True):
        got = np.log(table[name].to_numpy()).reshape(3, len(DAYS), 2).swapaxes(1, 2)
        hidden, floor = expected < 0, np.log([5.0, 5.0, 20.0])[:, None, None]
        # A quantile next to the limit may lie on the one side here and on the other there.
        assert np.isnan(got[hidden]).sum() >= hidden.sum() - 1
        assert np.fmax(got, floor) == pytest.approx(np.maximum(expected, floor), abs=0.1)
        assert hidden.any() or name != "low"


def test_shares_below_the_limit_are_the_probabilities_of_the_model(fit):
    at_truth = moved_to(fit, simulated(n=60, seed=5))
    below = at_truth.vpc(replicates=600, by="dose").below
    for at, dose in enumerate((1e5, 1e6, 1e7)):
        mean = np.log(MEAN["c"]) + 0.5 * np.log(dose / 1e6) - MEAN["k"] * DAYS
        sd = np.sqrt(BETWEEN["c"] ** 2 + (BETWEEN["k"] * DAYS) ** 2 + SD**2)
        share = norm.cdf((np.log(5.0) - mean) / sd)
        own = below[below["stratum"] == f"1e{5 + at} cells/kg"]
        assert own["n"].tolist() == [20] * 6
        assert own["mid"].to_numpy() == pytest.approx(share, abs=0.05)
        assert (own["low"] <= own["mid"]).all()
        assert (own["mid"] <= own["high"]).all()


def test_a_limit_that_censored_rows_alone_name_is_that_of_the_simulated_samples_too(fit):
    study = simulated(n=24)
    named = named_where_censored(study)
    quantified = named.used["status"] == "quantified"
    assert named.used.loc[quantified, "lloq"].isna().all()
    one, other = (
        of_population(own.population, own.polished.theta, 100, 7)
        for own in (moved_to(fit, study), moved_to(fit, named))
    )
    assert (one.upper == 5.0).any()
    assert np.array_equal(one.lower, other.lower)
    assert np.array_equal(one.upper, other.upper)


def test_fits_know_the_limits_of_the_other_patients():
    """P06 has a sample below the limit, the only witness of it for the others."""
    study = ck.example().select(subjects=["P02", "P06", "P07"])
    named = named_where_censored(study)
    model = ck.models.load("nk_decline")
    for censoring in ("m3", "drop"):
        fits = ck.fit_each(model, named, censoring=censoring, starts=1, progress=False)
        drawn = of_fits(fits, 50, 3)
        assert (drawn.rows["lloq"] == study.lloq).all()
        assert ((drawn.lower == drawn.upper) | (drawn.upper == study.lloq)).all()


def test_an_upper_limit_that_samples_name_censors_the_simulated_and_stops_the_quantiles(fit):
    """Simulated shares above 200 copies/ug are those of the model; on day 3 the band of the median ends there."""
    limit = 200.0
    at_truth = moved_to(fit, named_where_censored(simulated(n=60, seed=5), limit))
    drawn = of_population(at_truth.population, at_truth.polished.theta, 600, 3)
    assert drawn.lower.max() <= limit
    assert (np.isinf(drawn.upper) == (drawn.copies >= limit)).all()
    doses = at_truth.study.covariates["dose"].to_numpy()
    mean = np.log(MEAN["c"]) + 0.5 * np.log(doses[:, None] / 1e6) - MEAN["k"] * DAYS
    sd = np.sqrt(BETWEEN["c"] ** 2 + (BETWEEN["k"] * DAYS) ** 2 + SD**2)
    share = norm.sf((np.log(limit) - mean) / sd)
    assert np.isinf(drawn.upper).mean(axis=0).reshape(60, len(DAYS)) == pytest.approx(share, abs=0.08)
    found = at_truth.vpc(replicates=200)
    table = found.table
    above = table["note"].str.contains("above the upper limit: observed")
    assert (table.loc[above, "quantile"] == 0.95).sum() >= 2
    assert table.loc[above, "observed"].isna().all()
    assert np.nanmax(table[["observed", "low", "mid", "high"]].to_numpy(float)) <= limit + 1e-9
    assert table["upper_limit"].to_numpy() == pytest.approx(limit)
    number = (at_truth.study.used["status"] == "above").sum()
    assert f"{number} samples above an upper limit; quantiles and bands end at it" in found.summary()
    axes = found.plot().axes[0]
    (marks,) = [line for line in axes.lines if line.get_gid() == "above"]
    assert len(marks.get_xdata()) == number
    bands = [area for area in axes.collections if area.get_gid() == "band"]
    assert max(area.get_datalim(axes.transData).y1 for area in bands) == pytest.approx(limit)


def test_a_model_that_is_wrong_only_below_the_limit_is_seen_in_the_share_below_it(fit):
    """Late samples of one patient in four are lost to the assay; quantiles above the limit hardly say so."""
    rng = np.random.default_rng(4)
    ln_f, doses = ln_curves(48, rng)
    ln_y = ln_f + SD * rng.normal(size=ln_f.shape)
    right = moved_to(fit, study_of(ln_y, doses)).vpc(replicates=500, quantiles=[0.9])
    lost = ln_y.copy()
    lost[::4, 4:] = np.log(0.5)
    wrong = moved_to(fit, study_of(lost, doses)).vpc(replicates=500, quantiles=[0.9])
    assert right.below["outside"].sum() == 0
    assert wrong.below["outside"].tolist() == [False] * 4 + [True] * 2
    assert (wrong.below["observed"] > wrong.below["high"]).tolist() == [False] * 4 + [True] * 2
    assert wrong.table["outside"].sum() == 0
    assert "lies beyond its band in 2 of 6 bins: day 21 (" in wrong.summary()


def test_a_quantile_that_lies_below_the_limit_is_no_number_and_the_note_says_so(found):
    hidden = found.table["observed"].isna()
    assert hidden.any()
    assert found.table.loc[hidden, "note"].str.startswith("below the limit: observed").all()
    known = found.table[~found.table["low"].isna()]
    assert (known["low"] >= known["limit"]).all()
    assert (known["low"] <= known["mid"]).all()


def test_corrected_for_the_prediction_samples_and_limits_move_alike(fit):
    one = moved_to(fit, simulated())
    plain, corrected = one.vpc(replicates=300), one.vpc(replicates=300, corrected=True)
    at = [effect.label for effect in one.design.effects].index("c:dose")
    shift = np.asarray(one.polished.theta.beta)[at] * one.design.matrix[:, 0, at]
    factor = np.exp(np.median(shift) - shift).repeat(len(DAYS))
    known = (plain.samples["status"] == "quantified").to_numpy()
    assert corrected.samples["value"].to_numpy() == pytest.approx(plain.samples["value"].to_numpy() * factor)
    assert corrected.samples["limit"].to_numpy() == pytest.approx(5.0 * factor)
    assert (corrected.samples["status"] == plain.samples["status"]).all()
    assert (~known).any()
    assert corrected.below.equals(plain.below)
    width = [np.log(each.table["high"] / each.table["low"]).mean() for each in (plain, corrected)]
    assert width[1] < width[0]  # doses explain part of the spread


def test_fits_are_checked_with_each_patients_own_curve(fits):
    found = fits.vpc(replicates=200)
    assert found.whose.startswith("each patient's own parameters")
    assert set(found.samples["subject"]) == {"P02", "P06", "P07"}
    assert (found.table["low"] <= found.table["high"]).sum() > 5
    with pytest.raises(ck.ModelError, match="a population, and single fits have none"):
        fits.vpc(corrected=True)
    with pytest.raises(TypeError, match=r"Give a population of ck\.fit_population, or fits"):
        ck.vpc(ck.example())


def test_a_comparison_of_fits_is_checked_cohort_by_cohort(fits, tmp_path):
    compared = ck.compare_cohorts(fits)
    found, own = compared.vpc(replicates=100), fits.vpc(replicates=100, by="cohort")
    assert found.table["stratum"].unique().tolist() == compared.names == ["1e5/kg", "1e6/kg"]
    pd.testing.assert_frame_equal(found.table, own.table)
    pd.testing.assert_frame_equal(found.below, own.below)
    assert len(found.plot().axes) == 4
    assert compared.vpc(replicates=20, by="dose").by == "dose"
    compared.save(tmp_path / "compared.json")
    for without in (ck.compare_cohorts(fits.study), ck.load(tmp_path / "compared.json")):
        with pytest.raises(ValueError, match=r"there is nothing to simulate\. Give compare_cohorts\(ck.fit_each"):
            without.vpc()


def test_bins_are_visits_where_visits_agree_and_quantiles_of_time_where_not():
    study = simulated()
    rows = study.used
    subject, day = rows["subject"].tolist(), rows["day"].to_numpy(float)
    assert bins_of(study, subject, day, None).words == "by visit (6 visits, found from the days of the samples)"
    anywhere = np.random.default_rng(3).uniform(0, 100, len(day))
    apart = bins_of(study, subject, anywhere, None)
    assert apart.words == "by quantiles of time (7 bins; visits do not agree)"
    assert np.bincount(apart.number).min() > 15
    assert bins_of(study, subject, day, 3).words == "by quantiles of time (3 bins; as asked)"
    given = bins_of(study, subject, day, [0, 5, 30])
    assert given.words == "between the days 0, 5, 30"
    assert np.bincount(given.number).tolist() == [48, 96]
    with pytest.raises(ValueError, match="bins end before day 14, on which there is a sample"):
        bins_of(study, subject, day, [0, 10])
    with pytest.raises(ValueError, match="days that rise"):
        bins_of(study, subject, day, [10, 0])


def test_nominal_visits_are_taken_from_the_file():
    rng = np.random.default_rng(1)
    rows = [
        {"subject": f"P{i}", "day": nominal + rng.uniform(-2, 2), "nominal_day": nominal, "copies_per_ug": 100.0}
        for i in range(6) for nominal in (7.0, 14.0, 28.0)
    ]  # fmt: skip
    study = ck.read_study(pd.DataFrame(rows).assign(dose=1e6), lloq=3.0)
    used = study.used
    found = bins_of(study, used["subject"].tolist(), used["day"].to_numpy(float), None)
    assert found.words == "by nominal visit (3 visits)"
    assert np.bincount(found.number).tolist() == [6, 6, 6]


def test_samples_that_the_fit_left_out_below_the_limit_are_in_its_check():
    study = simulated(n=12)
    drop = ck.fit_each(ck.models.load("nk_decline"), study, censoring="drop", starts=1, progress=False)
    assert (drop.vpc(replicates=50).samples["status"] == "below").sum() == (study.used["status"] == "below").sum()


def test_what_is_not_solved_is_counted_and_said(fit, monkeypatch):
    from cellkinetics.population.running import Population

    solved = Population.solved

    def refused(self, theta, phi, **how):
        value, *rest = solved(self, theta, phi, **how)
        value[3, 2] = -np.inf
        return value, *rest

    monkeypatch.setattr(Population, "solved", refused)
    rescued = of_population(fit.population, fit.polished.theta, 50, 1)
    assert rescued.solved.all()  # the curve alone could be solved: as in a fit the next way is tried
    from cellkinetics.optimising.problem import Problem

    curve = Problem.curve
    monkeypatch.setattr(Problem, "curve", lambda self, x, order: curve(self, x, order)._replace(solved=np.array(False)))
    found = fit.vpc(replicates=50)
    assert found.unsolved == 1
    assert "1 of 1,200 patients' curves; they are left out of the bands" in found.summary()


def test_the_picture_stops_at_the_limit_and_has_the_share_below_it(fit, found):
    figure = fit.vpc(replicates=100, by="dose").plot()
    assert len(figure.axes) == 6
    limit = [line for line in figure.axes[0].lines if line.get_gid() == "lloq"]
    assert limit[0].get_ydata() == pytest.approx(5.0)
    bands = [area for area in figure.axes[0].collections if area.get_gid() == "band"]
    assert min(area.get_datalim(figure.axes[0].transData).y0 for area in bands) >= 5.0 - 1e-9
    assert figure.axes[1].get_ylim()[0] < 0 < 1 < figure.axes[1].get_ylim()[1]
    assert "below limit" in figure.axes[1].get_ylabel()
    assert len(found.plot().axes) == 2


def test_it_is_saved_and_comes_back(found, tmp_path):
    found.save(tmp_path / "vpc.json")
    again = ck.load(tmp_path / "vpc.json")
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.summary() == found.summary()
