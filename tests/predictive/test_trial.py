"""`virtual_trial` and what plans take of a population: against closed forms of a model linear in its random effects."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import two_outputs
from at_truth import BETWEEN, EXPONENT, MEAN, SD, fitted, moved_to, simulated
from scipy.stats import norm

import cellkinetics as ck
from cellkinetics.fitting.identifiability import of_information
from cellkinetics.predictive.described import estimated
from cellkinetics.predictive.other_patients import populations_of
from cellkinetics.predictive.regimens import regimen_of, unseen

TIMES = np.array([0.0, 7.0, 28.0])
ARMS = {"1e6": 1e6, "1e7": 1e7, "1e6 twice": [(0, 1e6), (28, 1e6)]}


@pytest.fixture(scope="module")
def fit():
    return fitted()


@pytest.fixture(scope="module")
def truth(fit):
    return moved_to(fit, simulated())


@pytest.fixture(scope="module")
def two(fit):
    return two_outputs.moved_to(fit, two_outputs.study_of(two_outputs.LEUKOCYTES))


@pytest.fixture(scope="module")
def known(truth):
    """Estimates taken as known."""
    return truth.virtual_trial(TIMES, ARMS, patients=20_000, populations=0)


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def ln_f(dose):
    """Mean and sd of ln f at the times."""
    mean = np.log(MEAN["c"]) + EXPONENT * np.log(dose / 1e6) - MEAN["k"] * TIMES
    return mean, np.hypot(BETWEEN["c"], BETWEEN["k"] * TIMES)


def test_bands_of_curves_and_samples_are_those_of_the_normal_that_they_have(known):
    for arm, dose in (("1e6", 1e6), ("1e7", 1e7)):
        own = known.table[known.table["arm"] == arm]
        mean, sd = ln_f(dose)
        error = 4 * 2.1 * sd / np.sqrt(known.patients)  # of a 5% point of normal draws
        np.testing.assert_allclose(np.log(own["typical"]), mean, atol=1e-5)
        for end, share in (("lower", 0.05), ("median", 0.5), ("upper", 0.95)):
            assert np.all(np.abs(np.log(own[end]) - mean - norm.ppf(share) * sd) < error)
        whole = np.hypot(sd, SD)
        for end, share in (("sample_lower", 0.05), ("sample_upper", 0.95)):
            assert np.all(np.abs(np.log(own[end]) - mean - norm.ppf(share) * whole) < 4 * 2.1 * whole / 141)
        assert own["typical_lower"].isna().all()


def with_error(truth, at, error):
    """The population with this standard error of one estimate, and next to none of the others."""
    information = np.full(len(truth.polished.information), 1e12)
    information[at] = 1 / error**2
    return replace(truth, polished=replace(truth.polished, information=np.diag(information)))


@pytest.mark.parametrize("error", [0.2, 4.7])
def test_a_spread_that_may_be_0_is_drawn_as_a_variance(truth, error):
    # Behind three coefficients stands ln sd of c between patients.
    told = with_error(truth, 3, error)
    omega = populations_of(estimated(told), 4000, np.random.default_rng(1))[0].omega
    spread = np.sqrt(omega[:, 0, 0]) / BETWEEN["c"]
    if error < 0.5:
        assert np.std(np.log(spread)) == pytest.approx(error, rel=0.05)
    else:
        # Normal about the estimate as far as it is above 0, where a normal ln sd would reach thousands.
        assert np.mean(spread < 1e-5) == pytest.approx(norm.cdf(-1 / (2 * error)), abs=0.03)
        assert np.quantile(spread, 0.975) == pytest.approx(np.sqrt(1 + 2 * error * 1.96), rel=0.05)


def test_means_that_the_patients_hardly_tell_are_named(truth):
    vague = with_error(truth, 0, 9.0)
    said = vague.virtual_trial([7], {"1e6": 1e6}, patients=20, populations=2).outcome
    assert said.startswith("the standard error of c (900%) is so large that bands and shares go far beyond what was")


def test_a_trial_does_not_depend_on_the_unit_of_its_values(fit):
    little = moved_to(fit, simulated(), mean={"c": MEAN["c"] * 1e-13})
    own = little.virtual_trial(TIMES, {"1e6": 1e6}, patients=20, populations=0).table
    np.testing.assert_allclose(np.log(own["typical"]), ln_f(1e6)[0] + np.log(1e-13), atol=1e-5)


def test_what_the_population_says_nothing_of_is_said(known, truth):
    assert known.outcome == (
        "line takes no dose: of the infusions of 1e6 twice its curve knows the first alone, where the dose drives a "
        "parameter"
    )
    far = truth.virtual_trial([28], {"usual": 1e6, "huge": 1e12}, patients=20, populations=0)
    assert "the dose of huge is far from the 1e+05 to 1e+07 of these patients: nothing was seen there" in far.outcome
    with pytest.warns(ck.DoseWarning, match="line takes no dose"):
        truth.predict([28], doses=[(0, 1e6), (28, 1e6)], covariates={"dose": 1e6})
    by_dose, given = truth.predict([28], doses=1e7), truth.predict([28], covariates={"dose": 1e7})
    np.testing.assert_allclose(by_dose["copies_per_ug"], given["copies_per_ug"])


def test_too_few_patients_for_intervals_of_shares_are_told(fit):
    few, enough = (fit.virtual_trial([28], {"A": 1e6}, patients=n, populations=10) for n in (199, 200))
    assert few.share_above(20.0, 28)["lower"].isna().all()
    assert "shares    without intervals: they take 20 patients of each of the 10 populations" in few.summary()
    assert enough.share_above(20.0, 28)["lower"].notna().all()
    assert "without intervals" not in enough.summary()


def test_what_no_patient_of_the_study_was_given_is_told():
    model = ck.models.load("effector_memory").with_(comedication="tocilizumab")
    had = [model.doses({"cells": 1e6, "lymphodepletion": [(-5, 1)]}), model.doses({"cells": [(0, 1e6, 0.5)]})]
    cells = {"subject": ["A", "B"], "day": 0, "copies_per_ug": 9.0, "dose": 1e6}
    patients = SimpleNamespace(
        model=model, study=ck.read_study(pd.DataFrame(cells), lloq=1.0),
        problems=[SimpleNamespace(doses=each) for each in had],
    )  # fmt: skip
    again = {"cells": [(0, 1e6), (28, 1e6)]}
    arms = {
        "once": 1e6,
        "twice": again,
        "with": {**again, "lymphodepletion": [(-5, 1), (23, 1)], "tocilizumab": [(3, 1)]},
        "sooner": {"cells": 1e6, "lymphodepletion": [(-12, 1)]},
        "later": {"cells": 1e6, "lymphodepletion": [(9, 1)]},
    }
    assert unseen(patients, {name: regimen_of(model, given, name) for name, given in arms.items()}) == [
        "no patient was given cells more than once, as in twice, with: nothing was seen of it",
        "no patient was given lymphodepletion more than once, as in with: nothing was seen of it",
        "no patient was given tocilizumab, as in with: nothing was seen of it",
        "no patient was given lymphodepletion on a day far from -5, as in later: nothing was seen of it",
    ]


def test_shares_are_those_of_the_normal_and_a_trial_of_known_estimates_has_no_interval(known):
    for arm, dose in (("1e6", 1e6), ("1e7", 1e7)):
        mean, sd = ln_f(dose)
        curves = known.share_above(20.0, 28).loc[arm]
        assert curves["share"] == pytest.approx(norm.sf(np.log(20), mean[2], sd[2]), abs=4 * 0.5 / np.sqrt(20_000))
        assert np.isnan(curves["lower"])
        samples = known.detectable(28).loc[arm, "share"]
        assert samples == pytest.approx(norm.sf(np.log(5), mean[2], np.hypot(sd[2], SD)), abs=4 * 0.5 / np.sqrt(20_000))
    assert known.limits == {"copies_per_ug": 5.0}


def test_the_same_patients_are_in_every_arm_and_their_first_are_the_same_however_many(known, truth):
    # The dose drives c alone, and a second infusion is nothing to this model.
    np.testing.assert_allclose(known.ln_curves[:, 1] - known.ln_curves[:, 0], EXPONENT * np.log(10), atol=1e-4)
    np.testing.assert_array_equal(known.ln_curves[:, 2], known.ln_curves[:, 0])
    np.testing.assert_array_equal(known.drawn[:, 2], known.drawn[:, 0])
    few = truth.virtual_trial(TIMES, ARMS, patients=30, populations=0)
    np.testing.assert_array_equal(few.ln_curves, known.ln_curves[:30])
    ratio = known.ratio_to("1e6").set_index(["arm", "day"])["ratio"]
    assert ratio["1e7", 7.0] == pytest.approx(10**EXPONENT, rel=1e-5)
    assert ratio["1e6 twice", 28.0] == 1.0


def test_the_errors_of_the_estimates_reach_the_median_patient(fit):
    trial = fit.virtual_trial(TIMES, {"1e7": 1e7}, patients=3000, populations=3000)
    labels = [effect.label for effect in fit.design.effects]
    away = np.log(1e7 / fit.design.effects[1].centre)
    weights = np.array([np.ones(3), np.full(3, away), -TIMES])
    covariance = fit.covariance.loc[labels, labels].to_numpy()
    sd = np.sqrt(np.einsum("pt,pr,rt->t", weights, covariance, weights))
    np.testing.assert_allclose(np.std(trial.typical[:, 0], axis=0), sd, rtol=4 / np.sqrt(2 * 3000))
    half = np.log(trial.table["typical_upper"] / trial.table["typical_lower"]) / 2
    np.testing.assert_allclose(half, norm.ppf(0.95) * sd, rtol=0.1)


def test_the_interval_of_a_share_is_that_of_the_estimates_and_not_of_who_was_drawn(fit):
    wide, narrow = (fit.virtual_trial(TIMES, {"A": 1e6}, patients=n, populations=100) for n in (4000, 40_000))
    one, other = (trial.share_above(20.0, 28).loc["A"] for trial in (wide, narrow))
    assert other["lower"] < other["share"] < other["upper"]
    assert one["upper"] - one["lower"] == pytest.approx(other["upper"] - other["lower"], rel=0.35)
    certain = replace(fit, polished=replace(fit.polished, information=1e8 * fit.polished.information))
    same = certain.virtual_trial(TIMES, {"A": 1e6}, patients=40_000, populations=100).share_above(20.0, 28).loc["A"]
    assert same["upper"] - same["lower"] < 0.3 * (other["upper"] - other["lower"])


def test_a_trial_is_saved_shown_and_told(known, tmp_path):
    known.save(tmp_path / "trial.json")
    again = ck.load(tmp_path / "trial.json")
    assert again.table.equals(known.table)
    assert again.detectable(28).equals(known.detectable(28))
    assert "20,000 patients" in known.summary() and "1e6 on day 0, 1e6 on day 28" in known.summary()
    figure = known.plot()
    assert [ax.get_title(loc="left") for ax in figure.axes[::2]] == list(ARMS)


def test_what_cannot_be_is_refused(truth):
    with pytest.raises(ck.ModelError, match=r"arms=\{\}: give \{name: doses\}"):
        truth.virtual_trial(TIMES, {})
    with pytest.raises(ck.ModelError, match="arm 'A' has no dose of cells"):
        truth.virtual_trial(TIMES, {"A": 0.0})
    with pytest.raises(ck.ModelError, match="age drives nothing here; dose does"):
        truth.virtual_trial(TIMES, ARMS, covariates={"age": 3})
    with pytest.raises(ck.ModelError, match="nothing but the dose of an arm drives this population"):
        truth.virtual_trial(TIMES, ARMS, covariates=truth.study)
    with pytest.raises(ValueError, match="patients=50: give as many as populations=100"):
        truth.virtual_trial(TIMES, ARMS, patients=50)
    few = truth.virtual_trial(TIMES, {"1e6": 1e6}, patients=30, populations=0)
    with pytest.raises(ck.ModelError, match="day 9 is not among the times"):
        few.share_above(1.0, 9)
    with pytest.raises(ck.ModelError, match="no arm '1e5'"):
        few.ratio_to("1e5")
    with pytest.raises(TypeError, match="population is a int"):
        ck.virtual_trial(3, TIMES, ARMS)  # pyright: ignore[reportArgumentType]


def test_power_takes_a_population_as_it_takes_its_numbers(truth):
    asked = {"lloq": 5.0, "studies": 60, "patients": [6], "progress": False}
    design = ([1e5, 1e7], [3, 3], [7, 28])
    of_population = ck.power(truth, *design, **asked)
    said = ck.power(
        truth.model, *design, effect={"c": EXPONENT}, between=BETWEEN, parameters=MEAN, sd=SD, **asked
    )  # fmt: skip
    np.testing.assert_allclose(of_population.truth["exponent"], said.truth["exponent"], rtol=1e-6)
    np.testing.assert_allclose(of_population.table["power"], said.table["power"], atol=1e-12)
    assert of_population.plan.between == pytest.approx(BETWEEN)


def test_patients_of_a_plan_are_correlated_as_those_of_the_population(truth):
    spread = np.diag(list(BETWEEN.values()))
    omega = spread @ np.array([[1.0, 0.8], [0.8, 1.0]]) @ spread
    linked = replace(truth, polished=replace(truth.polished, theta=truth.polished.theta._replace(omega=omega)))
    plan = ck.power(linked, [1e5, 1e7], [3, 3], [7, 28], studies=10, patients=[6], progress=False).plan
    drawn = plan.parameters(0, np.random.default_rng(3).normal(size=(20_000, 2)))
    effects = np.array([np.log(drawn["c"]), drawn["k"]])
    assert np.corrcoef(effects)[0, 1] == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(np.std(effects, axis=1), list(BETWEEN.values()), rtol=0.03)


def test_identifiability_of_a_population_is_the_exact_posterior_of_one_patient(truth):
    found = ck.identifiability(truth, [7, 14, 28], doses=1e7)
    slopes = np.column_stack([np.ones(3), [-7.0, -14.0, -28.0]])
    precision = slopes.T @ slopes / SD**2 + np.diag(1 / np.array(list(BETWEEN.values())) ** 2)
    left = np.diag(np.linalg.inv(precision)) / np.array(list(BETWEEN.values())) ** 2
    np.testing.assert_allclose(found.parameters["shrinkage"], left, rtol=1e-4)
    np.testing.assert_allclose(found.parameters["between"], list(BETWEEN.values()), rtol=1e-6)
    assert found.origin.options["parameters"]["c"] == pytest.approx(MEAN["c"] * 10**EXPONENT, rel=1e-5)


def test_a_plan_has_the_errors_of_the_population_unless_others_are_asked_for(truth):
    other = replace(truth, request=replace(truth.request, error="proportional"))
    days, asked = [7.0, 14], {"doses": 1e6}
    own = ck.identifiability(other, days, **asked)
    given = ck.identifiability(truth, days, error="proportional", sd=SD, **asked)
    on_ln = ck.identifiability(other, days, sd=SD, **asked)
    assert own.parameters["se"].to_numpy() == pytest.approx(given.parameters["se"].to_numpy())
    assert (own.origin.options["error"], on_ln.origin.options["error"]) == ("proportional", "log")
    # A proportional sd tells of the level besides: 1/s^2 + 2 in place of 1/s^2.
    ratio = (on_ln.parameters["se"] / own.parameters["se"]).to_numpy()
    assert ratio == pytest.approx(np.sqrt(1 + 2 * SD**2), rel=1e-5)
    plan = ck.power(other, [1e5, 1e7], [3, 3], [7, 28], studies=10, patients=[6], progress=False).plan
    assert (plan.error, plan.sd) == ("proportional", pytest.approx(SD))


def test_errors_of_counts_are_not_planned(truth):
    other = replace(truth, request=replace(truth.request, error="counting"))
    for call in (
        lambda: ck.identifiability(other, [7, 14]),
        lambda: ck.power(other, [1e5, 1e7], [3, 3], [7, 28], progress=False),
    ):
        with pytest.raises(ck.ModelError, match=r"error='counting': what a sample tells depends on the mass of DNA"):
            call()


def test_one_day_is_drawn_by_bars_and_marks(truth):
    one = truth.virtual_trial([28], {"1e6": 1e6, "1e7": 1e7}, patients=400, populations=20)
    for top, bottom in zip(*np.array(one.plot().axes).reshape(2, 2).T, strict=True):
        bars = [each for each in top.collections if each.get_gid() in ("lower", "sample_lower", "typical_lower")]
        segments = [bar.get_segments()[0] for bar in bars if hasattr(bar, "get_segments")]
        assert len(segments) == 3
        assert all((segment[:, 0] == 28).all() for segment in segments)
        for ax, gid in ((top, "typical"), (bottom, "detectable")):
            (mark,) = [line for line in ax.lines if line.get_gid() == gid]
            assert mark.get_marker() == "o"
    top, _ = truth.forecast(simulated(n=1, seed=4), [28], draws=500).plot().axes
    (mark,) = [line for line in top.lines if line.get_gid() == "median"]
    assert mark.get_marker() == "o"
    assert sum(hasattr(each, "get_segments") for each in top.collections) == 2


def test_a_schedule_measures_what_the_study_of_the_population_did(two):
    asked = {"inputs": {"leukocytes": 5000.0}}
    both = ck.identifiability(two, two_outputs.DAYS, **asked)
    assert both.outputs == ("copies_per_ug", "cells_per_ul")
    assert "each sample measures copies_per_ug and cells_per_ul" in both.summary()
    # Copies tell of the product c x vcn, cells of c.
    copies, cells = len(two_outputs.DAYS) / np.array(two_outputs.SD) ** 2
    by_hand = of_information(np.array([[copies + cells, copies], [copies, copies]]), ["c", "vcn"])
    np.testing.assert_allclose(both.parameters["se"], by_hand.parameters["se"], rtol=1e-5)
    one = ck.identifiability(two, two_outputs.DAYS, output="copies_per_ug", **asked)
    assert one.pairs == (("c", "vcn"),)
    assert ck.identifiability(two_outputs.MODEL, two_outputs.DAYS, **asked).outputs == ("copies_per_ug",)
    below = ck.identifiability(two, two_outputs.DAYS, lloq={"cells_per_ul": 1e6}, **asked)
    assert below.pairs == (("c", "vcn"),)


def test_an_output_that_is_none_and_a_limit_of_two_units_are_refused(two):
    with pytest.raises(ck.ModelError, match=r"no output 'cells_per_u'. Did you mean cells_per_ul"):
        ck.identifiability(two, two_outputs.DAYS, output=["cells_per_u"])
    with pytest.raises(ValueError, match=r"output=\[\] is empty"):
        ck.identifiability(two, two_outputs.DAYS, output=[])
    with pytest.raises(ck.ModelError, match=r"outputs have units of their own. Give lloq={'copies_per_ug': ..."):
        ck.identifiability(two, two_outputs.DAYS, lloq=3.0)
    with pytest.raises(ck.ModelError, match="no output 'copies'"):
        ck.identifiability(two, two_outputs.DAYS, lloq={"copies": 3.0})


def test_curves_have_the_course_that_all_patients_had_or_the_one_that_is_given(two):
    own, given = two.predict([14.0], draws=20), two.predict([14.0], draws=20, inputs={"leukocytes": 8000.0})
    assert own["cells_per_ul"].iloc[0] == given["cells_per_ul"].iloc[0]
    assert own["copies_per_ug"].iloc[0] / given["copies_per_ug"].iloc[0] == pytest.approx(2.0, rel=1e-6)
    one = SimpleNamespace(problem=two.patients.problems[0], estimates={"c": own["cells_per_ul"].iloc[0]})
    known = ck.simulate(two_outputs.MODEL, one, [14.0, 60.0])
    given = ck.simulate(two_outputs.MODEL, one.estimates, [14.0, 60.0], inputs={"leukocytes": two_outputs.LEUKOCYTES})
    np.testing.assert_allclose(known["copies_per_ug"], given["copies_per_ug"], rtol=1e-9)


def test_without_a_course_the_remedy_is_one_that_there_is(two):
    study = two_outputs.study_of(two_outputs.LEUKOCYTES, [(0.0, 900.0), (14.0, 5000.0)])
    other = two_outputs.moved_to(two, study)
    with pytest.raises(ck.ModelError, match=r"patients had different leukocytes: give inputs={'leukocytes': a number"):
        other.predict([14.0])
    rows = two_outputs.study_of(two_outputs.LEUKOCYTES).observations.drop(columns="leukocytes")
    bare = ck.read_study(rows[["subject", "day", "output", "value", "lloq"]].assign(SIMULATED=1))
    for remedy, call in (
        ("a column of that name in the study", lambda: two.forecast(bare.select("P1"), [28])),
        (r"inputs={'leukocytes': a number", lambda: ck.simulate(two_outputs.MODEL, {}, [28])),
    ):
        with pytest.raises(ValueError, match=rf"needs leukocytes \(cells/uL\). Give {remedy}"):
            call()
