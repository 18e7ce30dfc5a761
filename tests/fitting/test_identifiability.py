"""What a design determines, against numbers computed beforehand and simulation, and what moves together, by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting.identifiability import of_information
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_models import ERRORS

IL15, STEIN = models.load("il15_persistence"), models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])


@pytest.mark.parametrize("distance", [-6.0, -1.0, 0.0, 1.5, 8.0])
def test_the_information_of_a_censored_sample_is_the_variance_of_its_score(distance):
    sd, lloq = 0.5, 3.0
    mean = np.log(lloq) - distance * sd

    def squared_score(y):
        return ((y - mean) / sd**2) ** 2 * stats.norm.pdf(y, mean, sd)

    above = integrate.quad(squared_score, np.log(lloq), max(np.log(lloq), mean) + 12 * sd, points=[mean], limit=200)[0]
    hazard = np.exp(stats.norm.logpdf(distance) - stats.norm.logcdf(distance))
    below = stats.norm.cdf(distance) * (hazard / sd) ** 2
    assert ERRORS["log"].expected_information(np.array([mean]), [sd], lloq)[0] == pytest.approx(above + below, rel=1e-6)


def test_without_a_limit_every_sample_counts_in_full():
    np.testing.assert_array_equal(ERRORS["log"].expected_information(np.zeros(3), [0.5], None), np.full(3, 4.0))


KINDS = {"log": [0.5], "student": [0.4], "proportional": [0.25], "combined": [12.0, 0.15]}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("lloq", [None, 70.0, 160.0])
def test_the_information_of_a_sample_is_the_mean_of_its_squared_score_in_the_likelihood(name, lloq):
    """Of 40,000 samples that the error model draws about 100, with the slope of its own log density."""
    error, sds, n, rng = ERRORS[name], np.array(KINDS[name]), 40_000, np.random.default_rng(8)
    copies = error.drawn(np.full(n, 100.0), sds[:, None], np.ones(n), np.zeros(n, bool), rng)
    below = np.zeros(n, bool) if lloq is None else copies < lloq
    upper = np.log(np.where(below, lloq or 1.0, copies))
    rows = Rows(np.where(below, -np.inf, upper), upper, np.ones(n))
    ln_sd = np.log(sds)[:, None] * np.ones(n)

    def density(g):
        return error.log_density(g, ln_sd, rows)

    g = jnp.full(n, np.log(100.0))
    squares = np.asarray(jax.jvp(density, (g,), (jnp.ones(n),))[1]) ** 2
    found = error.expected_information(np.log([100.0]), sds, lloq)[0]
    assert found == pytest.approx(squares.mean(), abs=4 * squares.std() / np.sqrt(n))
    assert found < error.expected_information(np.log([100.0]), sds, None)[0] + 1e-12


@pytest.mark.parametrize("name", KINDS)
def test_a_normal_value_becomes_a_sample_of_the_same_probability(name):
    error, sds, z = ERRORS[name], np.array(KINDS[name])[:, None], np.array([-1.5, 0.0, 0.7, 2.2])
    copies = error.from_normal(np.full(4, 100.0), sds, z, positive=False)
    rows = Rows(np.full(4, -np.inf), np.log(copies), np.ones(4))
    below = np.asarray(error.log_density(np.full(4, np.log(100.0)), np.log(sds) * np.ones(4), rows))
    assert np.exp(below) == pytest.approx(stats.norm.cdf(z))
    few = error.from_normal(np.full(4, 1.0), sds, np.array([-6.0, -3, 0, 3]), positive=True)
    assert (few > 0).all()
    assert (np.diff(few) > 0).all()


def test_what_is_no_sd_of_an_error_is_refused_with_the_remedy():
    asked = {"doses": 1e6, "lloq": 3.0}
    with pytest.raises(ck.ModelError, match=r"error='student' has no usual sd. Give sd=0\.3"):
        ck.identifiability(STEIN, DAYS, error="student", **asked)
    with pytest.raises(ck.ModelError, match=r"sd=0.3: error='combined' has sd_add and sd_prop. Give sd=\{'sd_add'"):
        ck.identifiability(STEIN, DAYS, error="combined", sd=0.3, **asked)
    with pytest.raises(ck.ModelError, match=r"sd has sd: error='combined' has sd_add and sd_prop"):
        ck.identifiability(STEIN, DAYS, error="combined", sd={"sd": 0.3}, **asked)
    found = ck.identifiability(STEIN, DAYS, error="combined", sd={"sd_add": 3.0, "sd_prop": 0.3}, **asked)
    assert found.origin.options["sd"] == {"sd_add": 3.0, "sd_prop": 0.3}


def test_the_default_free_set_of_il15_persistence_is_as_determined_as_was_computed_beforehand():
    found = ck.identifiability(IL15, DAYS, doses=1e6, free=["F", "rho", "r", "mu0", "N"], lloq=3.0)
    expected = {"F": 0.46, "rho": 0.10, "mu0": 0.25, "N": 0.27}
    for name, value in expected.items():
        assert found.parameters.loc[name, "se"] == pytest.approx(value, rel=0.12), name
    assert 0.08 < found.parameters.loc["r", "se"] < 0.17
    assert found.rank == 5 and not found.loose and not found.pairs


def test_mu0_and_k_tau_are_found_to_be_exactly_confounded():
    found = ck.identifiability(IL15, DAYS, doses=1e6, lloq=3.0)
    assert found.pairs == (("mu0", "K_tau"),)
    assert found.unseen == ["k_s", "k_e"]
    assert "mu0 and K_tau cannot be told apart" in found.summary()
    # gamma_M is estimated on its natural scale, where an SD of 1 a day is no measure.
    narrow = found.directions[(found.directions["sd"] < 1) & (found.directions["gamma_M"].abs() < 0.5)]
    assert len(narrow) in (4, 5, 6)


def test_fold_lag_and_peak_day_are_found_to_move_together_without_early_samples():
    model = models.load("ogasawara_2021_liso_cel")
    early = ck.identifiability(model, [1, 2, 3, 4, 5, 7, *DAYS[4:]], lloq=1e-3)
    late = ck.identifiability(model, DAYS[4:], lloq=1e-3)
    assert early.rank == len(early.parameters)
    assert "t_lag" in late.unseen
    assert np.isinf(late.parameters.loc["t_lag", "se"])
    # A day on the rise shows a lag only through what the rise multiplies it with.
    one = ck.identifiability(model, [7, *DAYS[4:]], lloq=1e-3)
    assert one.rank < len(one.parameters)
    assert any({"rho", "t_max"} & set(names) for names in one.loose)


def test_the_expected_errors_are_those_that_fits_of_simulated_patients_have():
    free = ["fold", "t_max", "c_max", "alpha", "f_b"]
    expected = ck.identifiability(STEIN, DAYS, free=free, sd=0.05).parameters["se"]
    curve = np.asarray(STEIN.solve(DAYS)["copies_per_ug"])
    rng = np.random.default_rng(2020)
    tables = [
        pd.DataFrame({"subject": f"S{i:03d}", "day": DAYS, "copies_per_ug": curve * np.exp(0.05 * rng.normal(size=15))})
        for i in range(100)
    ]
    fits = ck.fit_each(
        STEIN, ck.read_study(pd.concat(tables), lloq=1e-6), free=free, fixed={"sd": 0.05}, starts=1, progress=False
    )
    spread = np.std([fit.x for fit in fits.values()], axis=0, ddof=1)
    # Noise so small that the curve is straight within it (at sd 0.3 the kink at t_max is not); 100 patients know an
    # SD to 7%.
    np.testing.assert_allclose(spread, expected, rtol=0.25)


def test_a_fit_says_what_its_own_samples_determine():
    fit = ck.fit(IL15, ck.example().select("P06"), starts=1)
    found = fit.identifiability()
    se = np.sqrt(np.diag(fit.covariance))[: len(fit.problem.free)] / fit.inflation
    # The sd is another parameter: it is nearly, not exactly, independent of the curve.
    np.testing.assert_allclose(found.parameters["se"], se, rtol=0.05)
    assert "directions have information" in str(found)


def test_a_direction_without_information_is_infinite_for_its_members_alone():
    both = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    found = of_information(both, ["a", "b", "c"])
    assert found.pairs == (("a", "b"),)
    assert found.parameters["se"].to_list() == [np.inf, np.inf, 0.5]
    assert found.rank == 2


def test_an_unknown_name_is_refused():
    with pytest.raises(ck.ModelError, match="Did you mean alpha"):
        ck.identifiability(STEIN, DAYS, free=["alpa"])


def test_inputs_of_a_model_are_given_or_asked_for():
    model = ck.models.load("qpcr_and_flow")
    told = ck.identifiability(model, [1, 7, 14, 28], inputs={"leukocytes": 5000.0})
    assert np.isfinite(told.parameters["se"]).any()
    with pytest.raises(ck.ModelError, match=r"needs leukocytes .*inputs="):
        ck.identifiability(model, [1, 7, 14, 28])
