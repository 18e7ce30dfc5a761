"""Joint fits under error models that are not log-normal, beside scipy's densities and optimiser."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import norm, poisson, t

import cellkinetics as ck

DECLINE = ck.models.load("nk_decline").with_(fixed={"beta": 0.003, "f_b": 0.01})
STUDY = ck.example().select(subjects=["P01", "P04", "P08"])


def curve(values, day, dose):
    fast, slow = (np.exp(-values[rate] * day) for rate in ("alpha", "beta"))
    return values["F"] * dose * ((1 - values["f_b"]) * fast + values["f_b"] * slow)


def student(f, sd, low, high):
    z = [(np.log(np.maximum(end, 1e-300)) - np.log(f)) / sd[0] for end in (low, high)]
    below = t.logcdf(z[1], 4) + np.log1p(-np.where(low > 0, 0.0, t.cdf(z[0], 4)) / t.cdf(z[1], 4))
    return np.where(low == high, t.logpdf(z[1], 4) - np.log(sd[0]), below)


def combined(f, sd, low, high):
    spread = np.hypot(sd[0], sd[1] * f)
    # The density of ln y; below a limit lies all that is under it.
    return np.where(low == high, norm.logpdf(high, f, spread) + np.log(high), norm.logcdf(high, f, spread))


MASS, LIMIT = 0.03, 60.0


def counting(f, sd, low, high):
    """The plain sum over all numbers of molecules that matter."""
    n = np.arange(1, int(MASS * f.max() * 2) + 200)[None]
    z = (np.log(MASS * high)[:, None] - np.log(n)) / sd[0]
    kernel = np.where((low == high)[:, None], norm.logpdf(z) - np.log(sd[0]), norm.logcdf(z))
    some = logsumexp(poisson.logpmf(n, MASS * f[:, None]) + kernel, axis=1)
    return np.where(low == high, some, np.logaddexp(some, -MASS * f))


def total(x, error, rows, sds):
    """ln L of alpha, then F of each patient, then the sds, all as ln."""
    values = {"alpha": np.exp(x[0]), "f_b": 0.01, "beta": 0.003}
    each = zip(np.exp(x[1:4]), rows, strict=True)
    return sum(error(curve({**values, "F": F}, *of[:2]), np.exp(x[4:]), *of[2:]).sum() for F, of in each)


def found_by(fit, sds):
    """Where a joint fit ended, as `total` takes it, and the rows."""
    rows = []
    for subject in fit.study.subjects:
        samples = fit[subject].problem.samples
        rows.append((samples.day, fit[subject].problem.doses.amounts[0, 0], samples.lower, samples.upper))
    values = fit.parameters.set_index(["subject", "parameter"])["value"]
    at = np.log(
        [values["all", "alpha"], *(values[s, "F"] for s in fit.study.subjects), *(values["all", n] for n in sds)]
    )
    # sds in the table are corrected for few samples; the likelihood is at those of maximum likelihood.
    at[4:] = [fit.s[[c.parameter for c in fit.columns].index(sd)] for sd in sds]
    return at, rows


@pytest.mark.parametrize(
    ("name", "error", "sds"), [("student", student, ["sd"]), ("combined", combined, ["sd_add", "sd_prop"])]
)
def test_a_joint_fit_has_the_optimum_that_scipy_finds_of_its_own_density(name, error, sds):
    fit = ck.fit(DECLINE, STUDY, shared="alpha", error=name)
    at, rows = found_by(fit, sds)
    assert total(at, error, rows, sds) == pytest.approx(fit.log_likelihood_ln, abs=1e-6)
    starts = [at, at + 0.3, at - 0.3]
    found = [
        minimize(
            lambda x: -total(x, error, rows, sds),
            x,
            method="Nelder-Mead",
            options={"maxiter": 4000, "xatol": 1e-7, "fatol": 1e-9},
        )
        for x in starts
    ]
    best = min(found, key=lambda end: end.fun)
    assert fit.log_likelihood_ln > -best.fun - 1e-4
    np.testing.assert_allclose(at[:4], best.x[:4], atol=2e-3)


def test_a_joint_fit_that_counts_molecules_ends_where_the_plain_sum_is_flat():
    rng, days, tables = np.random.default_rng(2020), np.array([1, 3, 5, 7, 10, 14, 21, 28, 42, 70.0]), []
    for number, level in enumerate((2e-3, 4e-3, 1e-2)):
        exact = curve({"alpha": 0.4, "f_b": 0.01, "beta": 0.003, "F": level}, days, 1e6)
        copies = rng.poisson(MASS * exact) / MASS * np.exp(0.3 * rng.normal(size=len(days)))
        shown = [f"<{LIMIT:g}" if copy < LIMIT else copy for copy in copies]
        tables.append(pd.DataFrame({"subject": f"S{number}", "day": days, "copies_per_ug": shown, "dose": 1e6}))
    study = ck.read_study(pd.concat(tables), lloq=LIMIT, dna_ug=MASS)
    fit = ck.fit(DECLINE, study, shared="alpha", error="counting", starts=1)
    at, rows = found_by(fit, ["sd"])
    assert sum((low < high).sum() for *_, low, high in rows) > 5
    assert total(at, counting, rows, ["sd"]) == pytest.approx(fit.log_likelihood_ln, abs=1e-7)
    aside = 1e-4 * np.eye(len(at))
    around = np.array([[total(at + sign * step, counting, rows, ["sd"]) for step in aside] for sign in (1, -1)])
    assert np.abs(around[0] - around[1]).max() / 2e-4 < 1e-3
    assert around.max() < fit.log_likelihood_ln


def test_the_summary_names_the_error_model_and_sds_have_their_units():
    fit = ck.fit(DECLINE, STUDY, shared="alpha", error="combined")
    assert fit.request.error_model.words in " ".join(fit.summary().split())
    units = fit.parameters.set_index("parameter")["unit"]
    assert (units["sd_add"], units["sd_prop"]) == ("copies/ug", "1")
    curve, sample = (fit.predict([7.0], interval=kind) for kind in ("confidence", "prediction"))
    assert (sample["copies_per_ug_upper"] > curve["copies_per_ug_upper"]).all()
    twice = fit.predict([7.0], doses=2e6)["copies_per_ug"] / fit.predict([7.0], doses=1e6)["copies_per_ug"]
    np.testing.assert_allclose(twice, 2.0)
    assert set(fit.derived()["subject"]) == set(STUDY.subjects)


@pytest.mark.slow
def test_a_model_that_is_integrated_takes_other_errors_as_its_closed_form_does(loss, integrated, cohorts):
    few = cohorts(doses={"1e6": [1e6] * 3}, lloq=None)
    found, closed = (ck.fit(model, few, shared=["k"], starts=1, error="student") for model in (integrated, loss))
    assert found.converged
    assert found.log_likelihood == pytest.approx(closed.log_likelihood, abs=1e-4)
    np.testing.assert_allclose(found.s, closed.s, atol=1e-4)
