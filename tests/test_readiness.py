"""Double precision is had or asked for: a fit never ends elsewhere without a word."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics import models

DECLINE = models.load("nk_decline")
STUDY = ck.example().select(["P05", "P06"])
FIRST = """
import jax, jax.numpy as jnp
assert jnp.ones(1).dtype == jnp.float32
import cellkinetics as ck
from cellkinetics import models
fit = ck.fit(models.load("nk_decline"), ck.example().select("P06"), starts=2)
print(*(float(value).hex() for value in (*fit.x, fit.log_likelihood, *fit.covariance.ravel())))
"""


@pytest.fixture(scope="module")
def fit():
    return ck.fit(DECLINE, STUDY.select("P06"), starts=2)


VERBS = {
    "fit": lambda fit: ck.fit(DECLINE, STUDY.select("P06")),
    "fit_each": lambda fit: ck.fit_each(DECLINE, STUDY, progress=False),
    "joint fit": lambda fit: ck.fit(DECLINE, STUDY, shared=["beta"]),
    "simulate": lambda fit: ck.simulate(DECLINE, fit.estimates, [1.0], doses=1e6),
    "solve": lambda fit: DECLINE.solve([1.0], DECLINE.values(), 1e6),
    "identifiability": lambda fit: ck.identifiability(DECLINE, [1, 3, 7, 14], doses=1e6, lloq=3.0),
    "power": lambda fit: ck.power(DECLINE, [1, 9], [3, 3], [7, 14], between={"F": 0.5}, studies=5, progress=False),
    "compare_cohorts": lambda fit: ck.compare_cohorts(STUDY, model=DECLINE, progress=False),
    "forecast_error": lambda fit: ck.forecast_error([DECLINE], STUDY, until=28),
    "predict": lambda fit: fit.predict(),
    "derived": lambda fit: fit.derived(),
    "profile": lambda fit: fit.profile(),
    "bootstrap": lambda fit: fit.bootstrap(20),
    "residuals": lambda fit: fit.residuals,
    "quantile_residuals": lambda fit: fit.quantile_residuals(),
    "influence": lambda fit: fit.influence(),
    "lmfit": lambda fit: fit.lmfit,
    "plot of a model": lambda fit: DECLINE.plot(),
    "plot of a fit": lambda fit: fit.plot(),
}


@pytest.mark.parametrize("verb", VERBS)
def test_in_single_precision_nothing_is_computed(fit, verb):
    with jax.enable_x64(False), pytest.raises(RuntimeError, match=r"single precision.*'jax_enable_x64', True"):
        VERBS[verb](fit)


def test_switched_off_for_good_and_on_again(fit):
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(RuntimeError, match="single precision"):
            fit.predict()
    finally:
        jax.config.update("jax_enable_x64", True)
    assert np.isfinite(fit.predict([7.0])["copies_per_ug"]).all()


def test_the_same_seed_gives_the_same_bits(fit):
    again = ck.fit(DECLINE, STUDY.select("P06"), starts=2)
    np.testing.assert_array_equal(again.x, fit.x)
    np.testing.assert_array_equal(again.covariance, fit.covariance)
    assert again.log_likelihood == fit.log_likelihood


def test_another_process_that_had_jax_in_single_precision_first_gives_the_same_numbers(fit):
    single = {**os.environ, "JAX_ENABLE_X64": "0"}
    told = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True, env=single)
    found = [float.fromhex(each) for each in told.stdout.split()]
    np.testing.assert_allclose(found, [*fit.x, fit.log_likelihood, *fit.covariance.ravel()], rtol=1e-10)
