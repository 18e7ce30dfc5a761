"""An sd of the error for each patient: against quadrature, and from the table to the forecast; simulated patients."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import populations
import pytest
from scipy import special

import cellkinetics as ck
from cellkinetics.population import louis, marginal

MEAN, BETWEEN, SD = {"c": 100.0}, {"c": 0.6, "sd": 0.5}, 0.4
DAYS = np.arange(1.0, 11.0)
FEW = {"P01": 1, "P02": 2, "P03": 3}  # samples


def simulated(between_sd, n=50, seed=20):
    """Levels of n patients whose sds differ, a part of them below the limit; three with few samples."""
    rng = np.random.default_rng(seed)
    ln_c, ln_sd = np.log(100.0) + 0.6 * rng.normal(size=n), np.log(SD) + between_sd * rng.normal(size=n)
    g = np.repeat(ln_c[:, None], len(DAYS), axis=1)
    whole = populations.study_of(g, DAYS, np.exp(ln_sd)[:, None], rng, limit=50.0)
    rows = whole.observations
    kept = [day <= FEW.get(subject, len(DAYS)) for subject, day in zip(rows["subject"], rows["day"], strict=True)]
    table = rows[kept].assign(copies_per_ug=lambda own: own["value"].where(own["status"] == "quantified", "<50"))
    return ck.read_study(table[["subject", "day", "copies_per_ug"]].assign(dose=1e6), lloq=50.0), np.exp(ln_sd)


def exact(study, mean, between, sd, nodes=401, width=6.5):
    """The log-likelihood by quadrature over the level and ln sd of each patient."""
    z, spread = np.linspace(-width, width, nodes), np.linspace(-width, width, 81)
    weight, of_sd = (np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * (x[1] - x[0]) for x in (z, spread))
    g, ln_sd = np.log(mean["c"]) + between["c"] * z[:, None], np.log(sd) + between["sd"] * spread[None, :]
    total = 0.0
    for _, own in study.observations.groupby("subject"):
        known = np.log(own.loc[own["status"] == "quantified", "upper"].to_numpy(float))
        below = own.loc[own["status"] == "below", "upper"].to_numpy(float)
        assert (below == 50).all()
        value = len(below) * special.log_ndtr((np.log(50.0) - g) / np.exp(ln_sd))
        squares = ((known[:, None, None] - g) ** 2).sum(axis=0)
        value = value - 0.5 * squares / np.exp(2 * ln_sd) - len(known) * (ln_sd + 0.5 * np.log(2 * np.pi))
        total += np.log(np.einsum("i,j,ij->", weight, of_sd, np.exp(value - value.max()))) + value.max()
    return total


@pytest.fixture(scope="module")
def study():
    return simulated(BETWEEN["sd"])[0]


@pytest.fixture(scope="module")
def fit(level, study):
    return ck.fit_population(level, study, common_sd=False, progress=False)


def test_the_likelihood_is_that_of_quadrature_with_samples_below_the_limit(level, study):
    assert 0.1 < (study.observations["status"] == "below").mean() < 0.4
    found = ck.population_log_likelihood(level, study, mean=MEAN, between=BETWEEN, sd=SD)
    whole = exact(study, MEAN, BETWEEN, SD)
    assert found.error < 0.15
    assert abs(found.value - whole) < 3 * found.error
    # And of one for all where the spread is next to nothing.
    alike, common = (
        ck.population_log_likelihood(level, study, mean=MEAN, between=between, sd=SD)
        for between in ({"c": 0.6, "sd": 1e-4}, {"c": 0.6})
    )
    assert abs(alike.value - common.value) < 3 * np.hypot(alike.error, common.error)
    assert common.value < found.value - 10


@pytest.mark.slow
def test_quadrature_about_the_modes_tends_to_it_and_focei_is_refused(level, study):
    asked = {"mean": MEAN, "between": BETWEEN, "sd": SD, "draws": 500}
    many = ck.population_log_likelihood(level, study, method="agq", nodes=35, **asked)
    assert many.value == pytest.approx(exact(study, MEAN, BETWEEN, SD), abs=0.01)
    with pytest.raises(ck.ModelError, match=r"'focei' has no information about sd of each patient\. Take method='lap"):
        ck.population_log_likelihood(level, study, method="focei", **asked)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "nodes"), [("laplace", 1), ("agq", 3)])
def test_the_gradient_of_an_approximation_is_that_of_differences(fit, method, nodes):
    population, v = fit.population, fit.polished.v + 0.1
    start = np.broadcast_to(v[:2], (len(fit.subjects), 2))

    def at(v, gradient=False):
        theta = louis.theta_of(fit.design, v)
        return marginal.marginal(population, theta, start, method, nodes, gradient=gradient)

    sides = [[at(v + side * 1e-5 * way).each for side in (1, -1)] for way in np.eye(len(v))]
    differences = np.stack([(ahead - behind) / 2e-5 for ahead, behind in sides], axis=1)
    assert at(v, gradient=True).gradient == pytest.approx(differences, abs=1e-6)


def test_where_it_ends_the_exact_likelihood_is_flat_and_saem_ended_there(fit, study):
    errors, v = fit.parameters["estimate_stderr"].to_numpy(float), fit.polished.v

    def at(v):
        return exact(study, {"c": np.exp(v[0])}, {"c": np.exp(v[2]), "sd": np.exp(v[3])}, np.exp(v[1]))

    here = at(v)
    assert fit.log_likelihood_ln == pytest.approx(here, abs=3 * fit.log_likelihood_error)
    for way, error in zip(np.eye(len(v)), errors, strict=True):
        behind, ahead = (at(v + side * error * way) for side in (-0.3, 0.3))
        assert abs(0.15 * (behind - ahead) / (behind - 2 * here + ahead)) < 0.1
    assert np.max(np.abs(louis.vector_of(fit.design, fit.path.theta) - v) / errors) < 0.25


def test_the_truth_is_recovered_and_the_table_says_what_is_whose(fit):
    table = fit.parameters
    assert fit.outcome == "converged"
    assert list(table.index) == ["c", "sd", "sd between c", "sd between sd"]
    assert table["kind"].tolist() == ["mean", "sd", "sd between", "sd between"]
    assert table["status"].tolist() == ["free"] * 4
    for name, truth in (("c", 100.0), ("sd", SD), ("sd between c", 0.6), ("sd between sd", 0.5)):
        assert abs(table.loc[name, "estimate"] - np.log(truth)) < 2.5 * table.loc[name, "estimate_stderr"]
    assert table.loc["sd between sd", "unit"] == "ln"
    assert table.loc["sd", "source"] == "estimated, of the median patient"
    assert 0 < table.loc["sd between sd", "shrinkage"] < 0.6
    assert fit.n_free == 4
    assert "varying   c, sd" in fit.summary()
    assert fit.trace["sd"].iloc[-1] == pytest.approx(table.loc["sd", "value"], rel=0.05)


def test_each_patient_has_its_sd_and_one_with_few_samples_that_of_the_population(fit):
    own = fit.individuals[fit.individuals["parameter"] == "sd"].set_index("subject")
    truth = pd.Series(simulated(BETWEEN["sd"])[1], index=fit.subjects)
    many = [subject for subject in fit.subjects if subject not in FEW]
    assert np.corrcoef(np.log(own["mean"][many]), np.log(truth[many]))[0, 1] > 0.75
    # What one sample says of an sd is next to nothing: the spread of the population remains.
    spread = fit.parameters.loc["sd between sd", "value"]
    assert own.loc["P01", "effect_sd"] > 0.85 * spread
    assert own["effect_sd"][many].median() < 0.6 * spread
    told = own["effect_sd"][list(FEW)].to_numpy(float)
    assert (np.diff(told) < 0).all()
    assert told[-1] > own["effect_sd"][many].median()
    one = fit["P10"]
    assert one.problem.sd == pytest.approx([own.loc["P10", "mode"]])
    assert one.parameters.loc["sd", "source"] == "its own, given the population"
    residuals = fit.residuals[fit.residuals["subject"] == "P10"]
    known = residuals[residuals["status"] == "quantified"]
    by_hand = np.log(known["observed"] / known["predicted"]) / own.loc["P10", "mode"]
    assert known["residual"].to_numpy() == pytest.approx(by_hand.to_numpy())


def test_the_mode_is_where_the_density_of_samples_and_population_is_highest(fit):
    values, at = fit.parameters["value"], list(fit.subjects).index("P10")
    omega = np.diag([values["sd between c"], values["sd between sd"]]) ** 2
    rows = fit.study.observations.query("subject == 'P10'")
    lower, upper = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)

    def h(x):
        z = (np.log(upper) - x[0]) / np.exp(x[1])
        value = np.where(lower == upper, -0.5 * z**2 - x[1], special.log_ndtr(z)).sum()
        away = x - fit.population_means[at]
        return value - 0.5 * away @ np.linalg.solve(omega, away)

    own = fit.individuals.query("subject == 'P10'").set_index("parameter")["mode"]
    x = np.log(own[["c", "sd"]].to_numpy(float))
    for way in 1e-3 * np.array([[1, 0], [0, 1], [1, 1], [1, -1]]):
        assert h(x) > max(h(x + way), h(x - way))


def test_what_is_drawn_has_patients_with_sds_of_their_own(fit, study):
    drawn = fit.simulate(40)
    drawn = drawn[(drawn["status"] == "quantified") & ~drawn["subject"].isin(FEW)]
    each = np.log(drawn["lower"]).groupby([drawn["replicate"], drawn["subject"]]).agg(["std", "size"])
    # Of patients with all samples above the limit: ln of a standard deviation from 10 samples scatters by 0.24 itself.
    whole = np.log(each.loc[each["size"] == len(DAYS), "std"])
    assert np.sqrt(whole.var() - 0.24**2) == pytest.approx(fit.parameters.loc["sd between sd", "value"], abs=0.08)
    ahead = fit.forecast(study.select(subjects=["P10"]), [20.0])
    known = ahead.parameters.set_index("parameter").loc["sd"]
    assert known["median"] == pytest.approx(fit["P10"].problem.sd[0], rel=0.15)
    trial = fit.virtual_trial([7.0], {"once": 1e6}, patients=4000, populations=0)
    logs = np.log(trial.drawn[:, 0, 0]) - trial.ln_curves[:, 0, 0]
    # Normal errors whose sds are log-normal: their fourth moment says so.
    kurtosis = np.mean(logs**4) / np.mean(logs**2) ** 2
    assert kurtosis == pytest.approx(3 * np.exp(4 * fit.parameters.loc["sd between sd", "value"] ** 2), rel=0.4)
    assert kurtosis > 4


def test_npde_of_patients_with_sds_of_their_own_are_as_under_the_model(fit):
    assert fit.npde(replicates=200, imputations=3).tests["p"]["global"] > 0.05


def test_a_file_gives_it_back(fit, level, tmp_path):
    fit.save(tmp_path / "population.json")
    back = ck.load(tmp_path / "population.json", model=level)
    pd.testing.assert_frame_equal(back.parameters, fit.parameters)
    pd.testing.assert_frame_equal(back.individuals, fit.individuals, rtol=1e-6)


def test_a_spread_of_sds_that_is_nothing_is_said_by_a_comparison_at_0(level):
    found = ck.fit_population(level, simulated(0.0)[0], common_sd=False, progress=False)
    assert "between-patient sd of sd cannot be told from 0 (log-likelihood at 0 differs by" in found.outcome
    assert "leave common_sd=False out" in found.outcome


@pytest.mark.slow
def test_a_prior_of_the_spread_and_a_correlation_are_taken(fit, level, study):
    prior = {"sd between sd": ck.LogNormal(0.2, 0.05), "sd": ck.LogNormal(0.3, 0.05)}
    found = ck.fit_population(level, study, common_sd=False, prior=prior, correlated=[("c", "sd")], progress=False)
    value, without = found.parameters["value"], fit.parameters["value"]
    assert 0.2 < value["sd between sd"] < without["sd between sd"]
    assert 0.3 < value["sd"] < without["sd"]
    assert "correlation c, sd" in value
    assert found["P10"].converged


@pytest.mark.slow
def test_of_two_outputs_a_fixed_sd_stays_and_the_other_is_each_patients_own():
    model = ck.Model(
        name="two_levels",
        parameters={"c": ck.Parameter(100.0, "1", "this test")},
        outputs={"one": "copies/ug", "other": "cells/uL"},
        curve=lambda t, c: {"one": c * jnp.ones_like(t), "other": 5 * c * jnp.ones_like(t)},
    )
    rng, n = np.random.default_rng(4), 30
    ln_c, sds = np.log(100) + 0.5 * rng.normal(size=n), 0.4 * np.exp(0.6 * rng.normal(size=n))
    rows = []
    for name, unit, times, sd in (("one", "copies/ug", 1, 0.2), ("other", "cells/uL", 5, sds[:, None])):
        values = times * np.exp(ln_c[:, None] + sd * rng.normal(size=(n, 6)))
        subject, day = np.repeat([f"P{i:02d}" for i in range(n)], 6), np.tile(DAYS[:6], n)
        own = {"subject": subject, "day": day, "value": values.ravel(), "output": name, "unit": unit}
        rows.append(pd.DataFrame(own))
    study = ck.read_study(pd.concat(rows))
    found = ck.fit_population(model, study, common_sd=False, fixed={"sd_one": 0.2}, progress=False)
    table = found.parameters
    assert list(table.index) == ["c", "sd_other", "sd between c", "sd between sd_other", "sd_one"]
    assert table.loc["sd_one", ["value", "status"]].tolist() == [pytest.approx(0.2), "fixed"]
    for name, truth in (("sd_other", 0.4), ("sd between sd_other", 0.6)):
        assert abs(table.loc[name, "estimate"] - np.log(truth)) < 2.5 * table.loc[name, "estimate_stderr"]
    one = found["P03"].problem
    assert one.sd[0] == pytest.approx(0.2)
    assert np.corrcoef(np.log(found.individuals.query("parameter == 'sd_other'")["mode"]), np.log(sds))[0, 1] > 0.7


def test_what_takes_one_sd_for_all_refuses_with_the_remedy(fit, level, study):
    with pytest.raises(ck.ModelError, match=r"common_sd=False: sd is fixed\. Leave it out of fixed="):
        ck.fit_population(level, study, common_sd=False, fixed={"sd": 0.4}, progress=False)
    with pytest.raises(ck.ModelError, match="have sd of their own, and the sampler draws one for all"):
        ck.sample_posterior(fit, progress=False)
    with pytest.raises(ck.ModelError, match="studies are planned with one for all"):
        fit.typical()
    with pytest.raises(ck.ModelError, match="method='focei' has no information about sd"):
        ck.fit_population(level, study, common_sd=False, method="focei", progress=False)
    for asked in ({"random": ["c", "sd"], "free": ["c"]}, {"covariates": {"sd": "dose"}}):
        with pytest.raises(ck.ModelError, match=r"sd is common to all patients\. Give common_sd=False besides"):
            ck.fit_population(level, study, progress=False, **asked)
    with pytest.raises(ck.ModelError, match="2 random effects from 3 patients: leave common_sd=False out"):
        ck.fit_population(level, study.select(subjects=list(FEW)), common_sd=False, progress=False)
