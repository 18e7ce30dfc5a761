"""Populations beside R's nlme, and beside an exact likelihood that is maximised by scipy."""

import json
from pathlib import Path

import numpy as np
import populations
import pytest
import scipy

import cellkinetics as ck

REFERENCE = Path(__file__).parents[1] / "reference"
DAYS = np.array([1.0, 3, 7, 14, 21, 28])


@pytest.mark.parametrize(("name", "correlated"), [("independent", ()), ("correlated", [("c", "k")])])
def test_of_a_linear_mixed_model_is_that_of_nlme(name, correlated):
    expected = json.loads((REFERENCE / "linear_mixed.json").read_text(encoding="utf-8"))[name]
    study = ck.read_study(REFERENCE / "linear_mixed.csv")
    found = ck.fit_population(
        populations.line(), study, covariates={"c": "dose"}, correlated=correlated, progress=False
    )  # fmt: skip
    table = found.parameters
    assert found.outcome == "converged"
    assert abs(found.log_likelihood_ln - expected["log_likelihood"]) < 3 * found.log_likelihood_error
    values = {
        "c": expected["ln_c"], "c:dose": expected["dose"], "k": expected["k"],
        "sd between c": np.log(expected["between_ln_c"]), "sd between k": np.log(expected["between_k"]),
        "sd": np.log(expected["sd"]),
    }  # fmt: skip
    for label, value in values.items():
        # What other draws would change, and the digits that R prints.
        apart = abs(table.loc[label, "estimate"] - value)
        assert apart < 3 * table.loc[label, "mc_error"] + 1e-6
        assert apart < 0.05 * table.loc[label, "estimate_stderr"]
    for label, key in (("c", "se_ln_c"), ("k", "se_k"), ("c:dose", "se_dose")):
        assert table.loc[label, "estimate_stderr"] == pytest.approx(expected[key], rel=0.02)
    if correlated:
        assert table.loc["correlation c, k", "value"] == pytest.approx(expected["correlation"], abs=0.01)


def test_with_samples_below_the_limit_is_the_maximum_of_the_exact_likelihood():
    rng = np.random.default_rng(2020)
    ln_c, k = np.log(80.0) + 0.8 * rng.normal(size=20), 0.09 + 0.03 * rng.normal(size=20)
    study = populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, 0.4, rng, limit=6.0)
    found = ck.fit_population(populations.line(), study, progress=False)
    table = found.parameters

    def minus(v):
        mean, between = {"c": np.exp(v[0]), "k": v[1]}, {"c": np.exp(v[2]), "k": np.exp(v[3])}
        return -populations.exact(study, mean, between, np.exp(v[4]), nodes=61, width=6.0)

    x, errors = table["estimate"].to_numpy(float), table["estimate_stderr"].to_numpy(float)
    best = scipy.optimize.minimize(minus, x, method="BFGS", options={"gtol": 1e-3})
    assert -minus(x) == pytest.approx(-best.fun, abs=0.01)
    assert np.all(np.abs(best.x - x) < 0.1 * errors)
    assert found.log_likelihood_ln == pytest.approx(-minus(x), abs=3 * found.log_likelihood_error)
