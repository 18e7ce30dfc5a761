"""A censored regression that R and scipy know too: the same likelihood, estimates and standard errors."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from cellkinetics import Model, Parameter
from cellkinetics.data.reading import read_study
from cellkinetics.fitting.fit import fit

FOLDER = Path(__file__).parents[1] / "reference"
SAMPLES = pd.read_csv(FOLDER / "censored_regression.csv")
R = json.loads((FOLDER / "censored_regression.json").read_text())
QUANTIFIED = (SAMPLES["lower"] == SAMPLES["upper"]).to_numpy()


def line(t, a, b):
    """A line on the ln scale; what the library adds, 1e-10 of the lowest value, is far below its digits."""
    return jnp.exp(a + b * t)


def level(t, a):
    return jnp.exp(a + 0 * t)


def unbounded(value, unit):
    return Parameter(value, unit, "this test", min=-np.inf, scale="identity")


LINE = Model(
    name="line",
    parameters={"a": unbounded(10.0, "1"), "b": unbounded(-0.1, "1/day")},
    outputs={"copies_per_ug": "copies/ug"},
    curve=line,
)
LEVEL = Model(name="level", parameters={"a": unbounded(10.0, "1")}, outputs={"copies_per_ug": "copies/ug"}, curve=level)


def as_study(samples):
    """CENS 1 with its LIMIT for a sample below or between two limits, -1 for one above."""
    above, below = samples["upper"].isna(), samples["lower"].isna()
    table = pd.DataFrame({"ID": "P01", "TIME": samples["day"]})
    table["DV"] = samples["lower"].where(above, samples["upper"])
    table["CENS"] = np.select([above, samples["lower"] == samples["upper"]], [-1, 0], 1)
    table["LIMIT"] = samples["lower"].where(~above & ~below & (table["CENS"] == 1))
    return read_study(table)


@pytest.fixture(scope="module")
def fits():
    study = as_study(SAMPLES)
    return {
        "line": fit(LINE, study),
        "line_quantified_only": fit(LINE, study, censoring="drop"),
        "intercept": fit(LEVEL, study),
    }


def ln_ends():
    return np.log(SAMPLES["lower"].to_numpy()), np.log(SAMPLES["upper"].to_numpy())


def log_likelihood(g, sd):
    """By scipy's distribution functions, one sample at a time."""
    total = 0.0
    for low, high, predicted in zip(*ln_ends(), np.broadcast_to(g, len(SAMPLES)), strict=True):
        curve = stats.norm(predicted, sd)
        if low == high:
            total += curve.logpdf(low)
        elif np.isnan(low):
            total += curve.logcdf(high)
        elif np.isnan(high):
            total += curve.logsf(low)
        else:
            total += np.log(curve.cdf(high) - curve.cdf(low))
    return total


BLOCKS = ["line", "line_quantified_only", "intercept"]


def test_the_samples_are_censored_in_every_way():
    assert as_study(SAMPLES).counts == {"quantified": 39, "below": 4, "interval": 10, "above": 7}


@pytest.mark.parametrize("block", BLOCKS)
def test_log_likelihood_at_the_optimum_is_that_of_r(fits, block):
    assert fits[block].converged
    assert fits[block].log_likelihood_ln == pytest.approx(R[block]["log_likelihood"], abs=1e-8)


@pytest.mark.parametrize("block", BLOCKS)
def test_estimates_are_those_of_r(fits, block):
    expected = R[block]["estimates"]
    for name in expected.keys() - {"ln_sd"}:
        assert fits[block].parameters.loc[name, "value"] == pytest.approx(expected[name], abs=1e-6)
    assert np.log(fits[block].sd) == pytest.approx(expected["ln_sd"], abs=1e-6)


@pytest.mark.parametrize("block", BLOCKS)
def test_standard_errors_without_the_small_sample_inflation_are_those_of_r(fits, block):
    found = fits[block]
    errors = np.sqrt(np.diag(found.covariance / found.inflation**2))
    np.testing.assert_allclose(errors, list(R[block]["standard_errors"].values()), rtol=1e-5)


def test_printed_standard_errors_carry_the_inflation(fits):
    found = fits["line_quantified_only"]
    n = QUANTIFIED.sum()
    # Without censored rows two samples go into the line: the classical n/(n - 2) of linear regression.
    assert found.degrees_of_freedom == pytest.approx(n - 2, rel=1e-9)
    assert found.inflation == pytest.approx(np.sqrt(n / (n - 2)), rel=1e-9)
    x, y = SAMPLES["day"][QUANTIFIED], np.log(SAMPLES["upper"][QUANTIFIED])
    classical = stats.linregress(x, y)
    assert found.parameters.loc["b", "value"] == pytest.approx(classical.slope, rel=1e-8)
    assert found.parameters.loc["b", "stderr"] == pytest.approx(classical.stderr, rel=1e-8)
    assert found.parameters.loc["a", "stderr"] == pytest.approx(classical.intercept_stderr, rel=1e-8)
    half = stats.t.ppf(0.975, n - 2) * classical.stderr
    assert found.parameters.loc["b", "upper"] == pytest.approx(classical.slope + half, rel=1e-8)


@pytest.mark.parametrize(("a", "b", "sd"), [(11.0, -0.2, 0.6), (9.0, -0.1, 1.5), (12.0, -0.25, 0.3), (10.0, 0.0, 4.0)])
def test_log_likelihood_away_from_the_optimum_is_that_of_scipy(fits, a, b, sd):
    found = fits["line"].problem.log_likelihood(np.array([a, b, np.log(sd)]))
    assert found == pytest.approx(log_likelihood(a + b * SAMPLES["day"].to_numpy(), sd), rel=1e-10)


def test_an_intercept_alone_is_scipys_fit_to_censored_data(fits):
    low, high = ln_ends()
    between = ~QUANTIFIED & ~np.isnan(low) & ~np.isnan(high)
    data = stats.CensoredData(
        uncensored=low[QUANTIFIED],
        left=high[np.isnan(low)],
        right=low[np.isnan(high)],
        interval=np.column_stack([low[between], high[between]]),
    )

    def polished(function, start, args=(), disp=0):
        options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 2000}
        return optimize.minimize(function, start, args=args, method="Nelder-Mead", options=options).x

    mean, sd = stats.norm.fit(data, method="mle", optimizer=polished)
    found = fits["intercept"]
    assert found.parameters.loc["a", "value"] == pytest.approx(mean, abs=1e-6)
    assert found.sd == pytest.approx(sd, abs=1e-6)
    assert found.log_likelihood_ln == pytest.approx(log_likelihood(mean, sd), abs=1e-8)


def test_the_quantified_part_is_scipys_nnlf(fits):
    found = fits["line_quantified_only"]
    a, b = found.parameters.loc[["a", "b"], "value"]
    day, y = SAMPLES["day"][QUANTIFIED], np.log(SAMPLES["upper"][QUANTIFIED])
    expected = -stats.norm.nnlf((0.0, found.sd), (y - a - b * day).to_numpy())
    assert found.log_likelihood_ln == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("block", BLOCKS)
def test_log_likelihood_of_copies_and_of_their_logarithm_differ_by_the_jacobian(fits, block):
    found = fits[block]
    sum_ln_y = np.log(SAMPLES["upper"][QUANTIFIED]).sum()
    assert found.log_likelihood == pytest.approx(found.log_likelihood_ln - sum_ln_y, rel=1e-13)


def test_information_criteria_count_every_sample_and_the_sd(fits):
    found = fits["line"]
    assert (found.n_quantified, found.n_censored, found.n_excluded, found.n_free) == (39, 21, 0, 3)
    assert found.aic == pytest.approx(2 * 3 - 2 * found.log_likelihood)
    assert found.aicc == pytest.approx(found.aic + 2 * 3 * 4 / (60 - 3 - 1))
    assert found.bic == pytest.approx(3 * np.log(60) - 2 * found.log_likelihood)
