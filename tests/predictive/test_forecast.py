"""`forecast`: against the exact posterior of a model that is linear in its random effects, with and without limits."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from at_truth import BETWEEN, EXPONENT, MEAN, SD, fitted, moved_to, simulated
from scipy.stats import norm

import cellkinetics as ck
from cellkinetics.modelling.structure import Method
from cellkinetics.population.polish import vector_of
from cellkinetics.predictive.forecast import weighted_quantiles
from cellkinetics.predictive.posterior import _solved_again, _tempered

TIMES = np.array([0.0, 14.0, 28.0, 60.0])


@pytest.fixture(scope="module")
def population():
    return moved_to(fitted(), simulated())


@pytest.fixture(scope="module")
def new():
    """Patients whose last samples are below the limit."""
    return simulated(6, seed=77, limit=20.0)


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def exactly(patient, mean=MEAN):
    """ln of the predictive density, the weights (g, g) of a grid of ln c and k, and their curves ln f (g, g, times)."""
    z = np.linspace(-6, 6, 401)
    dose = patient.covariates["dose"].iloc[0]
    ln_c = np.log(mean["c"]) + EXPONENT * np.log(dose / 1e6) + BETWEEN["c"] * z[:, None, None]
    k = mean["k"] + BETWEEN["k"] * z[None, :, None]
    rows = patient.used
    lower, upper = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)
    g = ln_c - k * rows["day"].to_numpy(float)
    known = (lower == upper) & (len(rows) > 0)
    with np.errstate(divide="ignore"):
        density = norm.logpdf(np.log(upper), g, SD)
        below = norm.logcdf((np.log(upper) - g) / SD)
    value = np.where(known, density, below).sum(axis=-1)
    weight = np.exp(value) * np.outer(norm.pdf(z), norm.pdf(z)) * (z[1] - z[0]) ** 2
    return np.log(weight.sum()), weight / weight.sum(), ln_c - k * TIMES


def check(found, patient):
    evidence, weight, ln_f = exactly(patient)
    assert found.outcome == "even"
    effective = found.populations["effective"].iloc[0]
    error = 4 / np.sqrt(effective)
    if len(patient.used):
        assert found.populations["log_likelihood"].iloc[0] == pytest.approx(evidence, abs=error)
    for at, row in found.table.iterrows():
        curve = ln_f[..., at]
        middle = (weight * curve).sum()
        sd = np.sqrt((weight * (curve - middle) ** 2).sum())
        for name, share in (("median", 0.5), ("lower", 0.05), ("upper", 0.95)):
            assert weight[curve < np.log(row[name])].sum() == pytest.approx(share, abs=0.5 * error)
        assert found.probability_below(20.0, row["day"]) == pytest.approx(
            weight[curve < np.log(20.0)].sum(), abs=0.5 * error
        )
        above = (weight * norm.cdf((curve - np.log(20.0)) / SD)).sum()
        assert found.detectable(row["day"]) == pytest.approx(above, abs=0.5 * error)
        assert np.log(row["upper"] / row["lower"]) == pytest.approx(2 * 1.645 * sd, rel=0.15)


@pytest.mark.parametrize("until", [1.0, 7.0, 28.0])
def test_curve_band_and_probabilities_are_those_of_the_exact_posterior(population, new, until):
    patient = new.select("P01", until=until)
    check(population.forecast(patient, TIMES), patient)


def test_samples_below_the_limit_count_as_such(population, new):
    patient = new["P04"]
    assert (patient.used["status"] == "below").sum() >= 2
    check(population.forecast(patient, TIMES), patient)


def test_without_a_sample_it_is_the_population_at_the_dose_of_the_patient(population):
    table = pd.DataFrame({"subject": ["A"], "day": [0.0], "copies_per_ug": [None], "dose": [1e7]})
    patient = ck.read_study(table, lloq=20.0)
    found = population.forecast(patient, TIMES)
    check(found, patient)
    median = MEAN["c"] * 10**EXPONENT * np.exp(-MEAN["k"] * 28)
    assert found.table.loc[2, "median"] == pytest.approx(median, rel=0.1)
    assert "known     0 samples" in found.summary()


def test_days_count_from_the_infusion_and_the_outcome_says_where_the_study_counts_others(population):
    tables = [
        pd.DataFrame({"subject": "A", "day": [first, first + 7], "copies_per_ug": [None, 900.0], "dose": [1e7, None]})
        for first in (0.0, 5.0)
    ]
    usual, moved = (population.forecast(ck.read_study(table, lloq=20.0), TIMES, draws=500) for table in tables)
    assert usual.outcome == "even"
    assert moved.outcome == "days count from the infusion, on day 5 of the study"
    pd.testing.assert_frame_equal(moved.table, usual.table)


def test_populations_are_averaged_by_how_well_they_predicted_the_samples(population, new):
    patient = new.select("P01", until=7.0)
    high = moved_to(population, population.study, mean={"c": 1500.0})
    found = ck.forecast([population, high], patient, TIMES, weights=[1, 3])
    evidence = np.array([exactly(patient)[0], exactly(patient, {**MEAN, "c": 1500.0})[0]])
    expected = np.exp(evidence - evidence.max()) * [0.25, 0.75]
    expected /= expected.sum()
    assert 0.02 < expected[1] < 0.98
    assert found.populations["weight"].to_numpy() == pytest.approx(expected, abs=0.03)
    alone = [one.forecast(patient, TIMES, seed=at) for one, at in ((population, 2020), (high, 2021))]
    below = sum(weight * one.probability_below(100.0, 14) for weight, one in zip(expected, alone, strict=True))
    assert found.probability_below(100.0, 14) == pytest.approx(below, abs=0.02)
    assert found.weights.sum() == pytest.approx(1.0)


def test_populations_of_one_study_are_weighted_by_how_they_fit_it(population, new):
    nobody = new.select("P01", until=0.5)
    other = replace(population, log_likelihood_ln=population.log_likelihood_ln - 1.5)
    found = ck.forecast([population, other], nobody, TIMES, weights="bicc")
    # Of two with the same estimates in number, a difference of 3 in BICc.
    expected = 1 / (1 + np.exp(-1.5))
    assert found.populations["prior"].to_numpy() == pytest.approx([expected, 1 - expected])
    assert found.populations["weight"].to_numpy() == pytest.approx([expected, 1 - expected])
    elsewhere = moved_to(population, simulated(seed=5))
    with pytest.raises(ck.ModelError, match=r"'bicc': these populations are of different samples"):
        ck.forecast([population, elsewhere], nobody, TIMES, weights="bicc")
    with pytest.raises(ValueError, match=r"weights='aic': give a number of each population, or 'bicc'"):
        ck.forecast([population, other], nobody, TIMES, weights="aic")
    with pytest.raises(ValueError, match=r"weights='bicc' is of populations that were fitted"):
        ck.forecast([population, population.model], nobody, TIMES, weights="bicc", prior=population.prior(nobody))


def test_what_no_draw_reaches_has_no_chance_and_a_second_infusion_is_said(population, new):
    found = population.forecast(new["P04"], TIMES)
    assert found.detectable(28, limit=1e12) == 0.0
    assert found.detectable(28) + found.probability_below(20.0, 28, sample=True) == pytest.approx(1.0)
    table = pd.DataFrame({"subject": "A", "day": [0.0, 1, 7, 14, 21], "copies_per_ug": [np.nan, 300, 150, np.nan, 40]})
    table["dose"] = [1e6, np.nan, np.nan, 1e6, np.nan]
    twice = population.forecast(ck.read_study(table, lloq=20.0), TIMES)
    assert twice.outcome.startswith("line takes no dose: of the infusions of A its curve knows the first alone")


def test_weighted_quantiles_of_equal_weights_are_those_of_the_sorted_values():
    values = np.random.default_rng(1).normal(size=(999, 3))
    got = weighted_quantiles(values, np.full(999, 1 / 999), [0.1, 0.5, 0.9])
    assert got == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9], axis=0), abs=0.02)
    weights = np.array([0.1, 0.7, 0.2])
    assert weighted_quantiles(np.array([[3.0], [1.0], [2.0]]), weights, [0.5, 0.8, 0.95])[:, 0].tolist() == [
        1.0,
        2.0,
        3.0,
    ]


def test_weights_are_tempered_until_enough_draws_count():
    ln_w = np.append(-np.linspace(0, 5000, 499), -np.inf)
    power, weight = _tempered(ln_w)
    assert 0 < power < 1
    assert 1 / np.sum(weight**2) == pytest.approx(60, abs=1)
    assert weight[-1] == 0
    assert _tempered(np.zeros(500))[0] == 1.0


def test_a_sample_that_no_draw_explains_is_said(population, new, monkeypatch):
    from cellkinetics.predictive import posterior

    monkeypatch.setattr(posterior, "ROUNDS_OF_DRAWS", 0)
    day = np.arange(1.0, 25.0)
    table = pd.DataFrame({"subject": "A", "day": day, "copies_per_ug": 300 * np.exp(-0.25 * day), "dose": 1e6})
    found = population.forecast(ck.read_study(table), TIMES, draws=500)
    assert found.outcome.startswith("importance sampling is uneven under line (effective sample ")
    assert "of 500): give draws=" in found.outcome
    monkeypatch.undo()
    even = population.forecast(ck.read_study(table), TIMES, draws=500).outcome
    assert even.startswith("the samples are of a patient 4.")
    assert "sds between patients from the population of line (k): it has nobody like that" in even


def test_what_cannot_be_asked_is_refused_with_the_remedy(population, new):
    patient = new.select("P01", until=7.0)
    found = population.forecast(patient, TIMES, draws=500)
    with pytest.raises(ck.ModelError, match=r"day 30 is not among the times .*\(0, 14, 28, 60\)\. Give it in times="):
        found.detectable(30)
    with pytest.raises(ck.ModelError, match="there is no output 'flow'"):
        found.detectable(28, output="flow")
    with pytest.raises(ck.ModelError, match=r"the study has 6\. Give study\.select\('P01'\)"):
        population.forecast(new, TIMES)
    with pytest.raises(TypeError, match=r"populations is a Forecast\. Give what ck\.fit_population or ck\.sample_"):
        ck.forecast([found], patient, TIMES)
    with pytest.raises(ck.ModelError, match=r"line is a model, and says nothing .*Give prior='published' or \{name"):
        ck.forecast(population.model, patient, TIMES)
    with pytest.raises(ck.ModelError, match=r"k of line is free without a prior.* Give prior= of it too, or fixed="):
        ck.forecast(population.model, patient, TIMES, prior={"c": ck.LogNormal(300, 0.6)})
    with pytest.raises(ck.ModelError, match=r"sd_add has no prior.* Give prior=\{'sd_add': ck\.LogNormal"):
        ck.forecast(population.model, patient, TIMES, prior=population.prior(patient), error="combined")
    with pytest.raises(ck.ModelError, match=r"the fit of P01 has no priors.* Fit it with prior='published'"):
        ck.forecast(ck.fit(population.model, patient, starts=1), patient, TIMES)
    with pytest.raises(ValueError, match=r"prior=, fixed= and error= are of a model"):
        ck.forecast(population, patient, TIMES, prior="published")
    with pytest.raises(TypeError, match=r"Give a study of one subject"):
        population.forecast("P01", TIMES)
    with pytest.raises(ValueError, match="weights has 1 values for 2 populations"):
        ck.forecast([population, population], patient, TIMES, weights=[1])
    no_dose = ck.read_study(pd.DataFrame({"subject": ["A"], "day": [3.0], "copies_per_ug": [90.0]}))
    with pytest.raises(ck.ModelError, match="A has no dose, which drives c"):
        population.forecast(no_dose, TIMES)
    table = pd.DataFrame({"subject": ["A"], "day": [3.0], "cells_per_ul": [9.0], "dose": [1e6]})
    cells = ck.read_study(table, unit="cells/uL", columns={"value": "cells_per_ul"})
    with pytest.raises(ck.ModelError, match="are in cells/uL, those of the population of line in copies/ug"):
        population.forecast(cells, TIMES)


def test_draws_without_a_curve_are_solved_by_finer_solutions_and_by_no_stepper():
    phi, asked = np.arange(500.0)[:, None, None], []

    def way(method, trusts, after):
        def solved(_theta, phi, *, slopes):
            asked.append((method, len(phi), slopes))
            at = phi[:, :, 0]
            fine = trusts(at)
            return np.where(fine, at, -np.inf), np.where(fine, at, 0.0)[..., None] * np.ones(3), None

        return SimpleNamespace(method=method, solved=solved, finer=lambda: after)

    stepper = way(Method.EXPLICIT, lambda at: at >= 0, None)
    finest = way(Method.FINEST_STRUCTURE, lambda at: at != 7, stepper)
    finer = way(Method.FINER_STRUCTURE, lambda at: at > 10, finest)
    one = way(Method.STRUCTURE, lambda at: at > 60, finer)
    value, curve = _solved_again(one, None, phi)
    expected = np.arange(500.0)
    expected[7] = -np.inf
    assert value[:, 0].tolist() == expected.tolist()
    assert curve[:, 0, 2].tolist() == np.where(np.isfinite(expected), expected, 0).tolist()
    assert asked == [(Method.STRUCTURE, 500, False), (Method.FINER_STRUCTURE, 100, False),
                     (Method.FINEST_STRUCTURE, 20, False)]  # fmt: skip


def test_the_mode_of_a_patient_is_the_fit_under_the_prior_that_the_population_is(population):
    sd = float(np.exp(population.polished.theta.ln_sd[0]))
    for subject in ("P01", "P03"):
        own = population.study.select(subject)
        alone = ck.fit(population.model, own, prior=population.prior(own), fixed={"sd": sd})
        mode = population[subject].parameters["value"]
        assert alone.parameters["value"].to_dict() == pytest.approx(mode.to_dict(), rel=1e-5)
    dose = own.covariates["dose"].iloc[0]
    prior = population.prior(own)["c"]
    assert prior.median == pytest.approx(population.typical(dose).values["c"])
    assert prior.sd == pytest.approx(BETWEEN["c"])
    with pytest.raises(ck.ModelError, match="a prior is of one patient, and the study has 24"):
        population.prior(population.study)


def test_priors_that_are_those_of_a_population_give_its_forecast(population, new):
    patient = new["P04"]
    given = {"prior": population.prior(patient), "fixed": {"sd": SD}}
    found = ck.forecast(population.model, patient, TIMES, **given)
    check(found, patient)
    assert found.populations.loc[0, "told_by"] == "priors given"
    # A fit with these priors says the same before its samples.
    fit = ck.fit(population.model, patient, **given)
    again = ck.forecast(fit, patient, TIMES)
    pd.testing.assert_frame_equal(again.table, found.table)
    # Averaged with the population itself it counts as much.
    both = ck.forecast([population, population.model], patient, TIMES, **given)
    assert both.populations["weight"].to_numpy() == pytest.approx([0.5, 0.5], abs=0.03)


def test_under_published_priors_it_is_the_posterior_that_a_fit_has_its_mode_of():
    stein = ck.models.load("stein_2019_tisagenlecleucel")
    patient, days = ck.example().select("P07", until=14), np.array([28.0, 180.0])
    found = ck.forecast(stein, patient, days, prior="published", draws=4000)
    # Draws of the priors, weighted by the likelihood: the curve and the density written once more.
    names = ["fold", "t_max", "c_max", "alpha", "f_b", "beta"]
    value = np.array([stein.parameters[name].value for name in names])
    centre = np.append(np.log(value), np.log(0.7))
    centre[4] = np.log(value[4] / (1 - value[4]))
    spread = np.array([*(stein.parameters[name].spread for name in names), 0.5])
    z = np.random.default_rng(1).normal(size=(400_000, 7))

    def posterior(x, t):
        fold, t_max, c_max, alpha, _, beta, sd = np.exp(x).T[:, :, None]
        f_b = 1 / (1 + np.exp(-x[:, 4:5]))
        before, after = np.minimum(t - t_max, 0), np.maximum(t - t_max, 0)
        decline = (1 - f_b) * np.exp(-alpha * after) + f_b * np.exp(-beta * after)
        return np.log(c_max) + np.log(fold) / t_max * before + np.log(decline), sd

    rows = patient.used
    assert (rows["lower"] == rows["upper"]).all()

    def ln_density(x):
        g, sd = posterior(x, rows["day"].to_numpy(float))
        return norm.logpdf(np.log(rows["upper"].to_numpy(float)), g, sd).sum(axis=1)

    x = centre + spread * z
    ln_w = ln_density(x)
    weight = np.exp(ln_w - ln_w.max())
    weight /= weight.sum()
    effective = min(1 / (weight**2).sum(), found.populations["effective"].iloc[0])
    assert effective > 300
    error = 4 / np.sqrt(effective)
    assert found.populations["log_likelihood"].iloc[0] == pytest.approx(
        np.log(np.mean(np.exp(ln_w - ln_w.max()))) + ln_w.max(), abs=error
    )
    curve = posterior(x, days)[0]
    for at, row in found.table.iterrows():
        for name, share in (("median", 0.5), ("lower", 0.05), ("upper", 0.95)):
            below = weight[curve[:, at] < np.log(row[name])].sum()
            assert below == pytest.approx(share, abs=0.5 * error)
    assert list(found.parameters["parameter"]) == [*names, "sd"]
    for at, row in found.parameters[found.parameters["parameter"] != "f_b"].iterrows():
        assert weight[np.exp(x[:, at]) < row["median"]].sum() == pytest.approx(0.5, abs=0.5 * error)
    # The fit under these priors, with the same known sd, is where this density is highest.
    fit = ck.fit(stein, patient, prior="published", fixed={"sd": 0.56})

    def height(x):
        return ln_density(np.column_stack([x, np.full(len(x), np.log(0.56))])) - 0.5 * (
            ((x - centre[:6]) / spread[:6]) ** 2
        ).sum(axis=1)

    near = fit.x + 0.05 * spread[:6] * np.random.default_rng(2).normal(size=(2000, 6))
    assert height(fit.x[None])[0] >= height(near).max()
    assert found.summary().splitlines()[2].split(",")[1] == " published priors"


def test_it_is_saved_and_drawn(population, new, tmp_path):
    found = population.forecast(new["P04"], np.linspace(0, 60, 31))
    found.save(tmp_path / "forecast.json")
    again = ck.load(tmp_path / "forecast.json")
    assert again.detectable(28) == found.detectable(28)
    pd.testing.assert_frame_equal(again.table, found.table)
    top, bottom = found.plot().axes
    assert [line.get_gid() for line in top.lines if line.get_gid() in ("median", "lloq", "below")] != []
    share = next(line for line in bottom.lines if line.get_gid() == "detectable").get_ydata()
    assert share[0] == pytest.approx(found.detectable(0))
    assert np.all(np.diff(share) < 0.05)


@pytest.fixture(scope="module")
def losing(loss):
    """A patient with two samples, and what a forecast by priors is asked with."""
    table = pd.DataFrame({"subject": "A", "day": [1.0, 5.0], "copies_per_ug": [600.0, 250.0], "dose": 1e6})
    asked = {"prior": {"F": ck.LogNormal(1e-3, 0.5), "k": ck.LogNormal(0.3, 0.3)}, "fixed": {"sd": 0.3}, "draws": 500}
    return loss, ck.read_study(table, lloq=1.0), asked


def test_under_a_second_infusion_each_draw_has_the_curve_of_both(losing):
    model, patient, asked = losing
    days = [7.0, 16.0, 30.0, 2.0]
    own = ck.forecast(model, patient, days, **asked)
    found = ck.forecast(model, patient, days, doses=[(0, 1e6), (14, 5e5)], **asked)
    alone, both = np.exp(own.ln_curves), np.exp(found.ln_curves)
    assert both[:, 0] == pytest.approx(alone[:, 0])
    assert both[:, 1] == pytest.approx(alone[:, 1] + 0.5 * alone[:, 3])  # day 2 after the second
    assert both[:, 2] == pytest.approx(alone[:, 2] + 0.5 * alone[:, 1])
    assert found.weights == pytest.approx(own.weights)
    assert found.given == "1e6 on day 0, 5e5 on day 14"
    assert "doses     1e6 on day 0, 5e5 on day 14, in place of those of the patient" in found.summary()
    assert found.plot().axes[0].get_title(loc="left") == "A\n1e6 on day 0, 5e5 on day 14"


def test_under_the_doses_that_were_given_it_is_the_same_forecast(losing, population, new):
    model, patient, asked = losing
    own, again = (ck.forecast(model, patient, [7.0, 30.0], doses=doses, **asked) for doses in (None, 1e6))
    pd.testing.assert_frame_equal(again.table, own.table)
    assert (own.given, again.given, again.outcome) == ("", "1e6 on day 0", own.outcome)
    some = new.select("P01", until=7.0)
    dose = float(some.covariates["dose"].iloc[0])
    own, again = (population.forecast(some, [28.0], doses=doses, draws=500) for doses in (None, dose))
    pd.testing.assert_frame_equal(again.table, own.table)


def test_where_the_dose_drives_a_parameter_another_dose_moves_it_in_every_draw(population, new):
    some = new.select("P01", until=7.0)
    dose = float(some.covariates["dose"].iloc[0])
    own, more = (population.forecast(some, [28.0], doses=doses, draws=500) for doses in (None, 9 * dose))
    assert more.ln_curves - own.ln_curves == pytest.approx(np.full_like(own.ln_curves, EXPONENT * np.log(9)))
    far = population.forecast(some, [28.0], doses=1e9, draws=500)
    assert "the dose of this forecast is far from the 1e+05 to 1e+07 of these patients" in far.outcome


def test_doses_that_can_be_none_or_change_nothing_are_told(losing, level):
    model, patient, asked = losing
    with pytest.raises(ck.ModelError, match=r"doses= has no dose of cells. Give 1e6"):
        ck.forecast(model, patient, [7.0], doses={"cells": 0}, **asked)
    with pytest.raises(ck.ModelError, match=r"there is no dosing channel 'rimiducid'"):
        ck.forecast(model, patient, [7.0], doses={"cells": 1e6, "rimiducid": [(9, 1)]}, **asked)
    prior = {"c": ck.LogNormal(100.0, 0.5)}
    found = ck.forecast(level, patient, [7.0], doses=1e7, **{**asked, "prior": prior})
    assert "level takes no dose, and none drives it: doses= changes nothing" in found.outcome


def test_a_forecast_of_far_days_is_the_curve_itself(population, new):
    patient = new.select("P02")
    v = np.tile(vector_of(population.design, population.polished.theta), (1, 100, 1))
    posterior = SimpleNamespace(population=population, v=v, phi=v)
    for one, doses in ((population, None), (population, 1e7), (posterior, None)):
        found = ck.forecast(one, patient, [0, 14, 600], doses=doses)
        start, second, last = found.ln_curves.T
        np.testing.assert_allclose(last, start + 600 / 14 * (second - start), rtol=1e-9)
        assert found.table["median"].iloc[-1] < 1e-20


def test_a_patient_who_is_one_of_two_populations_is_told_once(population):
    patient = population.study.select("P02")
    assert ck.forecast([population, population], patient, [28]).outcome.count("its samples count twice") == 1
