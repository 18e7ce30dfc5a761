"""`sample_posterior`: both samplers against importance sampling of a linear model whose likelihood is a normal's."""

import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import arviz
import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from populations import line
from scipy import stats

import cellkinetics as ck
from cellkinetics.bayes import nuts, target
from cellkinetics.bayes.posterior import outcome_of
from cellkinetics.bayes.samples import settled
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising.request import Request
from cellkinetics.population.patients import patients_of
from cellkinetics.running.checkpoint import Checkpoint
from cellkinetics.statistics import mixing

DAYS = np.array([1.0, 3, 7, 14, 21])
PATIENTS, BETWEEN, SD = 9, (0.6, 0.03), 0.3
PRIOR = {"c": ck.LogNormal(200, 1.0), "k": ck.Normal(0.1, 0.1), "sd": ck.LogNormal(0.4, 0.5)}
LABELS = ["c", "k", "sd between c", "sd between k", "sd"]


@pytest.fixture(scope="module")
def ln_y():
    rng = np.random.default_rng(12)
    effects = rng.normal(size=(PATIENTS, 2)) * BETWEEN
    ln_f = np.log(300) + effects[:, :1] - (0.1 + effects[:, 1:]) * DAYS
    return ln_f + SD * rng.normal(size=ln_f.shape)


def fitted(ln_y, **asked):
    from populations import study_of

    study = study_of(ln_y, DAYS, 0.0, np.random.default_rng(0), limit=1e-6)
    return ck.fit_population(line(), study, progress=False, **asked)


@pytest.fixture(scope="module")
def fit(ln_y):
    return fitted(ln_y)


@pytest.fixture(scope="module")
def gibbs(fit):
    return ck.sample_posterior(fit, prior=PRIOR, progress=False)


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def density(v, ln_y, scales, correlated):
    """ln of the posterior (m,) of ln c, k, ln spreads, (atanh of the correlation,) ln sd, effects integrated out."""
    design = np.column_stack([np.ones_like(DAYS), -DAYS])
    value = stats.norm.logpdf(v[:, 0], np.log(200), 1.0) + stats.norm.logpdf(v[:, 1], 0.1, 0.1)
    value = value + stats.norm.logpdf(v[:, -1], np.log(0.4), 0.5)
    r = np.tanh(v[:, 4]) if correlated else np.zeros(len(v))
    spread = np.exp(v[:, 2:4])
    omega = (
        spread[:, :, None] * np.stack([[np.ones_like(r), r], [r, np.ones_like(r)]]).transpose(2, 0, 1) * spread[:, None]
    )
    covariance = design @ omega @ design.T + np.exp(2 * v[:, -1])[:, None, None] * np.eye(len(DAYS))
    away = ln_y[None] - (v[:, :2] @ design.T)[:, None]
    z = np.linalg.solve(np.linalg.cholesky(covariance), away.transpose(0, 2, 1))
    value = value - 0.5 * (z**2).sum(axis=(1, 2)) - 0.5 * PATIENTS * np.linalg.slogdet(covariance)[1]
    if not correlated:
        return value + (stats.t.logpdf(spread / scales, 2) + v[:, 2:4]).sum(axis=1)
    # Huang and Wand 2013 with 2 degrees of freedom, of the covariance; then from it to ln spreads and atanh.
    rates = 2 * np.diagonal(np.linalg.inv(omega), axis1=1, axis2=2) + 1 / scales**2
    value = value - 3 * np.linalg.slogdet(omega)[1] - 2 * np.log(rates).sum(axis=1)
    return value + 3 * v[:, 2:4].sum(axis=1) + np.log1p(-(r**2))


def exactly(found, ln_y, scales, correlated=False):
    """Means and sds of each label by importance sampling from a t about the draws, and the effective sample size."""
    rows = found.v.reshape(-1, found.v.shape[2])
    proposal = stats.multivariate_t(rows.mean(axis=0), 1.5 * np.cov(rows.T), df=4, seed=5)
    v = proposal.rvs(30_000)
    ln_w = density(v, ln_y, scales, correlated) - proposal.logpdf(v)
    weight = np.exp(ln_w - ln_w.max())
    weight /= weight.sum()
    mean = weight @ v
    return mean, np.sqrt(weight @ (v - mean) ** 2), 1 / (weight**2).sum()


def check(found, exact, within=0.15):
    mean, sd, effective = exact
    assert effective > 2000
    for at, label in enumerate(found.labels):
        own = found.v[..., at]
        error = sd[at] * np.sqrt(1 / mixing.ess_mean(own) + 1 / effective)
        assert abs(own.mean() - mean[at]) < 4.5 * error, label
        assert own.std() == pytest.approx(sd[at], rel=within), label


def test_gibbs_sampling_is_the_posterior(gibbs, fit, ln_y):
    assert list(gibbs.labels) == LABELS
    assert gibbs.parameters["r_hat"].max() < 1.03
    check(gibbs, exactly(gibbs, ln_y, fit.population.spread_units))


@pytest.mark.slow
def test_nuts_is_the_same_posterior(fit, gibbs, ln_y):
    found = ck.sample_posterior(fit, prior=PRIOR, method="nuts", draws=150, warmup=150, chains=2)
    check(found, exactly(gibbs, ln_y, fit.population.spread_units), within=0.35)
    assert found.divergences == int((found.diverged > 0).sum())


def test_correlated_effects_have_the_posterior_of_huang_and_wand(ln_y):
    fit = fitted(ln_y, correlated=[("c", "k")])
    found = ck.sample_posterior(fit, prior=PRIOR, draws=500, progress=False)
    assert found.labels[4] == "correlation c, k"
    check(found, exactly(found, ln_y, fit.population.spread_units, correlated=True))


def test_the_table_is_of_the_draws_on_the_natural_scale(gibbs, fit):
    row = gibbs.parameters.loc["c"]
    draws = gibbs.draws["c"]
    assert (len(draws), row["mean"], row["sd"]) == (4000, pytest.approx(draws.mean()), pytest.approx(draws.std()))
    assert row["lower"] == pytest.approx(draws.quantile(0.025))
    assert gibbs.parameters.loc["k", "mean"] == pytest.approx(gibbs.v[..., 1].mean())
    assert row["estimate"] == fit.parameters.loc["c", "value"]
    assert row["prior"] == "LogNormal(median=200, sd=1.0)"
    assert gibbs.parameters.loc["sd between c", "prior"] == "half-t(2, 1)"
    first = gibbs.individuals.iloc[0]
    assert first["mean"] == pytest.approx(np.exp(gibbs.phi[..., 0, 0].mean()))


def test_a_prior_of_a_spread_holds_where_the_samples_say_nothing_else(fit):
    narrow = {**PRIOR, "sd between c": ck.LogNormal(0.2, 0.02)}
    found = ck.sample_posterior(fit, prior=narrow, draws=200, warmup=150, progress=False)
    assert found.parameters.loc["sd between c", "mean"] == pytest.approx(0.2, rel=0.05)


def test_r_hat_and_effective_sizes_are_those_of_arviz(gibbs):
    for at in range(len(LABELS)):
        draws = gibbs.natural[..., at]
        assert mixing.r_hat(draws) == pytest.approx(float(arviz.rhat(draws)), rel=1e-6)
        assert mixing.ess_bulk(draws) == pytest.approx(float(arviz.ess(draws, method="bulk")), rel=0.02)
        assert mixing.ess_tail(draws) == pytest.approx(float(arviz.ess(draws, method="tail")), rel=0.02)
    apart = np.random.default_rng(1).normal(size=(4, 400)) + np.array([0, 0, 0, 2.0])[:, None]
    assert mixing.r_hat(apart) == pytest.approx(float(arviz.rhat(apart)), rel=1e-6)
    assert mixing.r_hat(apart) > 1.1


def test_what_is_not_to_be_trusted_is_said(gibbs):
    good = gibbs.parameters.assign(r_hat=1.0, ess_bulk=2000.0, ess_tail=2000.0)
    assert outcome_of(good, 4, 1000, 0, 1000) == "mixed"
    assert outcome_of(good, 4, 1000, 12, 1000).startswith("12 of 4,000 draws diverged: near a spread of 0")
    bad = good.copy()
    bad.loc["k", ["r_hat", "ess_tail"]] = 1.2, 57.0
    said = outcome_of(bad, 4, 1000, 0, 1000)
    assert "chains have not told the same of k (R-hat up to 1.20, more than 1.01)" in said
    assert "k: few independent draws (57, fewer than 400), rough intervals. Give draws=7,100" in said
    lost = good.copy()
    lost.loc["k", "mean"] = np.inf
    assert outcome_of(lost, 4, 1000, 0, 1000).startswith("nothing keeps k from 0 or from infinity, neither samples nor")


def test_a_posterior_is_saved_drawn_and_handed_to_arviz(gibbs, tmp_path):
    gibbs.save(tmp_path / "posterior.json")
    again = ck.load(tmp_path / "posterior.json")
    assert again.parameters.equals(gibbs.parameters)
    np.testing.assert_array_equal(again.v, gibbs.v)
    data = gibbs.inference_data
    assert data.posterior["c"].shape == (4, 1000)
    assert data.posterior["ln_or_logit c"].dims[-1] == "subject"
    assert again.population.subjects == gibbs.subjects
    titles = [ax.get_title(loc="left") for ax in gibbs.plot().axes]
    assert titles[: len(LABELS)] == LABELS
    figure, axes = plt.subplots(3, 2)
    assert gibbs.plot(axes) is figure
    with pytest.raises(ValueError, match=r"5 panels are drawn and axes= has 2"):
        gibbs.plot(axes[0])
    card = gibbs._repr_html_()
    assert f"<div>{gibbs.outcome}</div>" in card
    assert all(label in card for label in LABELS)
    assert "Gibbs sampling, 4 chains of 1,000 draws after 500 of warm-up" in gibbs.summary()


def test_samples_are_in_the_inference_data_with_their_densities_and_new_ones(gibbs, fit):
    ln_y = np.log(fit.study.used["upper"].to_numpy(float)).reshape(PATIENTS, -1)
    data = gibbs.inference_data
    density = data.log_likelihood["copies_per_ug"].to_numpy()
    assert density.shape == (4, 1000, PATIENTS * len(DAYS))
    ln_c, k = (gibbs.phi[..., at][..., None] for at in (0, 1))
    exact = stats.norm.logpdf(ln_y, ln_c - k * DAYS, np.exp(gibbs.v[..., -1])[..., None, None])
    np.testing.assert_allclose(density, exact.reshape(density.shape), atol=1e-6)
    assert density.sum(axis=-1) == pytest.approx(gibbs.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(data.observed_data["copies_per_ug"], np.exp(ln_y).ravel())
    assert list(data.constant_data["day"].to_numpy()[:5]) == list(DAYS)
    assert (data.constant_data["lloq"].to_numpy() == 1e-6).all()
    assert np.isnan(data.constant_data["uloq"].to_numpy()).all()
    new = np.log(data.posterior_predictive["copies_per_ug"].to_numpy())
    away = new.reshape(4, 1000, PATIENTS, -1) - (ln_c - k * DAYS)
    assert (away / np.exp(gibbs.v[..., -1])[..., None, None]).std() == pytest.approx(1.0, abs=0.01)


def test_priors_are_told_with_their_units(gibbs):
    rows = gibbs.priors
    assert rows.loc["c"].tolist() == ["LogNormal(median=200, sd=1.0)", "copies/ug", "ln"]
    assert rows.loc["k"].tolist() == ["Normal(mean=0.1, sd=0.1)", "1/day", "as it is"]
    assert rows.loc["sd between c"].tolist() == ["half-t(2, 1)", "ln", "as it is"]
    assert rows.loc["sd", "scale"] == "ln"
    assert "Priors" in gibbs.summary()


def test_draws_take_the_place_of_estimates_in_what_is_simulated(gibbs, fit):
    v = gibbs.v.reshape(-1, 5)
    # ln C of another patient on day 10: its variance is that between patients and that of the means, over the draws.
    mean = v[:, 0] - 10 * v[:, 1]
    variance = np.exp(2 * v[:, 2]) + 100 * np.exp(2 * v[:, 3])
    middle, total = mean.mean(), variance.mean() + mean.var()
    nobody = fit.study.select("P01", until=0.5)
    ahead = gibbs.forecast(nobody, [10.0], draws=4000)
    assert ahead.table.equals(ck.forecast(gibbs, nobody, [10.0], draws=4000).table)
    curve = ahead.ln_curves[:, 0]
    error = np.sqrt(total / ahead.populations["effective"].iloc[0])
    assert ahead.weights @ curve == pytest.approx(middle, abs=4 * error)
    assert ahead.weights @ (curve - middle) ** 2 == pytest.approx(total, rel=0.15)
    assert ahead.populations.loc[0, "told_by"] == "9 patients, 4,000 draws of its posterior"
    trial = gibbs.virtual_trial([10.0], {"once": 1e6}, patients=8000, populations=4000)
    assert trial.ln_curves.mean() == pytest.approx(middle, abs=0.05)
    assert trial.ln_curves.var() == pytest.approx(total, rel=0.1)
    lower, upper = np.exp(np.quantile(mean, [0.05, 0.95]))
    assert trial.table.loc[0, "typical_lower"] == pytest.approx(lower, rel=0.02)
    assert trial.table.loc[0, "typical_upper"] == pytest.approx(upper, rel=0.02)
    assert trial.outcome == "complete"
    assert "estimates drawn 4000 times from the posterior" in trial.summary()
    check = gibbs.vpc(replicates=200)
    assert check.whose == "other patients of the population, at draws of its posterior"
    # Simulated studies vary more than those of a population that is known.
    known = ck.vpc(fit, replicates=200)
    width = [np.log(one.table["high"] / one.table["low"]).mean() for one in (check, known)]
    assert width[0] > 1.05 * width[1]
    errors = gibbs.npde(replicates=300)
    assert 0.4 < errors.table["npde"].var() < 1.3
    assert "300 studies, other patients of the population, at draws of its posterior" in " ".join(
        errors.summary().split()
    )
    assert "under     line, 9 patients, 4,000 draws of its posterior, effective" in ahead.summary()


def test_each_study_of_a_plan_is_of_another_draw(gibbs):
    found = ck.power(gibbs, [1e5, 1e6], [3, 3], [1, 7, 28], studies=200, patients=[6], progress=False)
    plan = found.plan
    assert plan.drawn is not None
    at = plan.parameters(0, np.zeros((1000, 2)), np.arange(1000))
    assert "each at another draw of the posterior" in " ".join(found.summary().split())
    assert np.log(at["c"]).mean() == pytest.approx(gibbs.v[..., 0].mean(), abs=0.03)
    assert np.log(at["c"]).std() == pytest.approx(gibbs.v[..., 0].std(), rel=0.1)
    away = np.log(plan.parameters(0, np.tile([[1.0, 0.0]], (1000, 1)), np.arange(1000))["c"]) - np.log(at["c"])
    assert away == pytest.approx(plan.drawn.factors[:, 0, 0])
    assert np.log(plan.drawn.factors[:, 0, 0]).mean() == pytest.approx(gibbs.v[..., 2].mean(), abs=0.05)
    given = ck.power(gibbs, [1e5, 1e6], [3, 3], [1, 7, 28], parameters={"c": 500.0}, between={"c": 0.5}, sd=0.4,
                     studies=20, patients=[6], progress=False).plan  # fmt: skip
    assert given.drawn is not None
    assert set(given.drawn.estimates) == {"k"} and not len(given.drawn.factors) and not given.drawn.sds
    assert ck.identifiability(gibbs, [1, 7, 28], doses=1e6).parameters["shrinkage"].between(0, 1).all()


def test_what_cannot_be_is_refused(fit, monkeypatch):
    def call(**asked):
        return lambda: ck.sample_posterior(fit, progress=False, **asked)

    for wrong, error, text in (
        (call(prior={"d": ck.LogNormal(1, 1)}), ck.ModelError, "prior of d: it is not estimated"),
        (call(prior={"k": ck.LogNormal(1, 1)}), ck.ModelError, r"prior of k is .*: give ck\.Normal"),
        (call(prior={"sd between c": ck.Normal(1, 1)}), ck.ModelError, r"give ck\.LogNormal"),
        (call(method="hmc"), ValueError, "method='hmc': take one of gibbs, nuts"),
        (lambda: ck.sample_posterior(3), TypeError, "population is a int"),
    ):
        with pytest.raises(error, match=text):
            wrong()
    monkeypatch.setitem(sys.modules, "numpyro.infer", None)
    with pytest.raises(ImportError, match="needs numpyro: pip install numpyro"):
        ck.sample_posterior(fit, method="nuts")


@pytest.mark.parametrize("method", ["gibbs", pytest.param("nuts", marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_to_the_same_draws(fit, method, tmp_path, monkeypatch):
    from cellkinetics.bayes import gibbs

    how = {"prior": PRIOR, "draws": 50, "warmup": 50, "chains": 2, "method": method, "progress": False}
    whole = ck.sample_posterior(fit, **how)
    calls, once, sampler = [], gibbs.block_of, {"gibbs": gibbs, "nuts": nuts}[method]
    last = {"gibbs": 6, "nuts": 3}[method]

    def stopped(*given):
        if len(calls) == last:
            raise KeyboardInterrupt
        calls.append(1)
        return once(*given)

    with monkeypatch.context() as patch:
        patch.setattr(sampler, "block_of", stopped)
        some = ck.sample_posterior(fit, **how, checkpoint=tmp_path / "kept")
        calls[:] = [1] * last
        with pytest.raises(KeyboardInterrupt):
            ck.sample_posterior(fit, **how, checkpoint=tmp_path / "kept")
    done = some.v.shape[1]
    assert 0 < done < 50
    assert not some.mixed
    assert some.outcome.startswith(f"interrupted after {done} of 50 draws of each chain")
    np.testing.assert_array_equal(some.v, whole.v[:, :done])
    # Programs of blocks that are there are not run.
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "add", lambda self, stage, key, value: calls.append(key))
        again = ck.sample_posterior(fit, **how, checkpoint=tmp_path / "kept")
    assert len(calls) == {"gibbs": 8, "nuts": 4}[method] - last
    for name in ("v", "phi", "log_likelihood", "diverged"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    with pytest.raises(ValueError, match="is of another run: seed of draws is 2020 there and 7 here"):
        ck.sample_posterior(fit, **how, seed=7, checkpoint=tmp_path / "kept")


def decay():
    """The line as an ODE, which steps go through."""
    return ck.Model(
        name="decay", states=("C",), rhs=lambda C, k: (-k * C,), observe=lambda C: C, start={"C": "c"},
        parameters=dict(line().parameters), outputs=dict(line().outputs), scale_free=True, free=("c", "k"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def of_ode(fit):
    """The same fit, its curves solved by steps."""
    patients = patients_of(Request.of(decay()), fit.study, None)
    return replace(
        fit, population=replace(fit.population, patients=patients, method=Method.EXPLICIT), patients=patients
    )


def test_what_nuts_climbs_is_of_steps_what_it_is_of_the_closed_form(fit, of_ode):
    priors, _ = target.priors_for(fit, PRIOR)
    rng = np.random.default_rng(1)
    at = {"u": 0.3 * rng.normal(size=5), "z": 0.5 * rng.normal(size=(PATIENTS, 2))}
    (value, slopes), (known, expected) = (
        jax.jit(jax.value_and_grad(nuts._potential(each, priors)[0]))(at) for each in (of_ode, fit)
    )
    assert float(value) == pytest.approx(float(known), rel=1e-7)
    for name in at:
        np.testing.assert_allclose(slopes[name], expected[name], rtol=1e-5, atol=1e-5)
    # And by differences.
    potential = jax.jit(nuts._potential(of_ode, priors)[0])
    ahead, behind = (potential({**at, "u": at["u"] + side * 1e-4 * np.eye(5)[1]}) for side in (1, -1))
    assert float(ahead - behind) / 2e-4 == pytest.approx(float(slopes["u"][1]), rel=1e-4)


def test_a_spread_that_ended_at_0_moves_in_nuts(fit):
    held = np.array([True, True, False, True, True])
    at_0 = replace(fit, polished=replace(fit.polished, moving=held))
    assert at_0.polished.covariance[2, 2] == 0
    _, factor = nuts._whitening(at_0, [], [0])
    assert factor[2, 2] == pytest.approx(0.3)


def test_nuts_takes_the_finer_solution_of_a_structure_and_others_as_they_are(fit):
    finer = SimpleNamespace(method=Method.FINER_STRUCTURE, finer=lambda: 1 / 0)
    assert nuts._trusted(SimpleNamespace(method=Method.STRUCTURE, finer=lambda: finer)) is finer
    only = SimpleNamespace(method=Method.STRUCTURE, finer=lambda: None)
    for population in (finer, only, fit.population):
        assert nuts._trusted(population) is population


@pytest.mark.slow
def test_nuts_of_an_ode_is_the_same_posterior(of_ode, fit, gibbs, ln_y):
    found = ck.sample_posterior(of_ode, prior=PRIOR, method="nuts", draws=200, warmup=150, chains=2, progress=False)
    assert of_ode.population.method is Method.EXPLICIT
    check(found, exactly(gibbs, ln_y, fit.population.spread_units), within=0.35)


def test_what_every_draw_is_certain_of_does_not_spoil_a_leave_one_out():
    rng = np.random.default_rng(4)
    density = np.column_stack([rng.normal(-1, 0.2, 400), -1e-14 * rng.integers(0, 3, 400), -1e-300 * rng.random(400)])
    known = settled(density)
    np.testing.assert_array_equal(known, np.column_stack([density[:, :1], np.zeros((400, 2))]))
    data = arviz.from_dict(
        posterior={"a": rng.normal(size=(2, 200))}, log_likelihood={"y": known.reshape(2, 200, 3)}
    )  # fmt: skip
    with pytest.warns(UserWarning, match="shape parameter"):
        told = arviz.loo(data, pointwise=True)
    np.testing.assert_allclose(told.loo_i[1:], 0.0, atol=1e-12)
    assert told.elpd_loo == pytest.approx(told.loo_i[0])


def test_log_likelihoods_are_summed_by_patient_as_the_guide_says(gibbs):
    data = gibbs.inference_data.copy()
    own = data.log_likelihood["copies_per_ug"].groupby(data.constant_data["of_subject"]).sum()
    assert own.shape == (4, 1000, PATIENTS)
    assert own.sum("of_subject").to_numpy() == pytest.approx(gibbs.log_likelihood, abs=1e-6)
    data.log_likelihood["patient"] = own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        told = arviz.loo(data, var_name="patient", pointwise=True)
    assert np.isfinite(told.loo_i).all() and told.n_data_points == PATIENTS
