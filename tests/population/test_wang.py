"""Ten patients of two samples whose objectives are published (Wang 2007, J Pharmacokinet Pharmacodyn 34:575-93).

The curve is 10 exp(-ke t) with ke log-normal about 0.5 with a variance of 0.04; the error has a variance of 0.1, or of
0.1 f^2. NONMEM's objective is -2 ln L of the values without n ln 2 pi.
"""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpy.polynomial.hermite_e import hermegauss

import cellkinetics as ck

Y = np.array(
    [
        [10.68, 3.6837], [10.402, 6.454], [9.8814, 5.8565], [9.3408, 5.6209], [10.082, 6.7583],
        [9.8938, 6.5049], [9.8908, 6.9557], [10.234, 6.4488], [9.9882, 6.7112], [9.6736, 6.6402],
    ]
)  # fmt: skip
DAYS, VARIANCE, KE, SPREAD = np.array([0.0, 1.0]), 0.1, 0.5, 0.2
MODEL = ck.Model(
    name="loss_from_ten",
    parameters={"ke": ck.Parameter(KE, "1/day", "Wang 2007")},
    outputs={"copies_per_ug": "copies/ug"},
    curve=lambda t, ke: 10.0 * jnp.exp(-ke * t),
)
SD = float(np.sqrt(VARIANCE))
ERRORS = {"proportional": SD, "combined": {"sd_add": SD, "sd_prop": 1e-12}}
# Of the article and of NONMEM; the exact integrals are checked below by quadrature.
OBJECTIVES = [
    ("proportional", "agq", 39.3548, 1e-3), ("combined", "agq", -1.9896, 1e-3),
    ("proportional", "laplace", 39.227, 1e-3), ("combined", "laplace", -1.936, 1e-3),
    ("proportional", "focei", 39.458, 1e-3), ("combined", "focei", -2.059, 1e-3),
]  # fmt: skip


@pytest.fixture(scope="module")
def study():
    rows = {"subject": np.repeat([f"P{i}" for i in range(10)], 2), "day": np.tile(DAYS, 10), "copies_per_ug": Y.ravel()}
    return ck.read_study(pd.DataFrame(rows), lloq=1e-3)


def objective(value):
    return -2 * (value - np.log(Y).sum()) - Y.size * np.log(2 * np.pi)


@pytest.mark.parametrize(("error", "method", "published", "within"), OBJECTIVES)
def test_published_objectives_are_met(study, error, method, published, within):
    found = ck.population_log_likelihood(
        MODEL, study, mean={"ke": KE}, between={"ke": SPREAD}, sd=ERRORS[error], error=error, method=method,
        nodes=25, draws=2000,
    )  # fmt: skip
    assert objective(found.value) == pytest.approx(published, abs=within)
    exact = next(value for name, how, value, _ in OBJECTIVES if (name, how) == (error, "agq"))
    sampled = found if found.exact is None else found.exact
    assert objective(sampled.value) == pytest.approx(exact, abs=4 * 2 * sampled.error + 1e-3)


@pytest.mark.parametrize("error", ERRORS)
def test_the_exact_integrals_are_those_of_plain_quadrature(error):
    nodes, weights = hermegauss(201)
    f = 10.0 * np.exp(-KE * np.exp(SPREAD * nodes)[:, None] * DAYS)
    variance = VARIANCE * (f**2 if error == "proportional" else np.ones_like(f))
    density = np.exp(-0.5 * (Y[:, None] - f) ** 2 / variance) / np.sqrt(variance)
    marginal = density.prod(axis=2) @ weights / np.sqrt(2 * np.pi)
    published = next(value for name, how, value, _ in OBJECTIVES if (name, how) == (error, "agq"))
    assert -2 * np.log(marginal).sum() == pytest.approx(published, abs=1e-4)
