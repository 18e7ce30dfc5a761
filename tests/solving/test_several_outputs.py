"""A model with two observed outputs: each has its rows, its sd and its curve."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import Model, Parameter


def curve(t, c_0, k, ratio):
    blood = c_0 * jnp.exp(-k * t)
    return {"copies_per_ug": blood, "cells_per_ul": ratio * blood}


TWO = Model(
    name="two_outputs",
    parameters={
        "c_0": Parameter(1000.0, "copies/ug", "assumption"),
        "k": Parameter(0.1, "1/day", "assumption"),
        "ratio": Parameter(0.01, "cells/uL per copies/ug", "assumption"),
    },
    outputs={"copies_per_ug": "copies/ug", "cells_per_ul": "cells/uL"},
    curve=curve,
)
DAYS = np.array([1, 3, 5, 8, 12, 16, 21, 28], float)


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(2020)
    truth = TWO.solve(DAYS)
    rows = [
        pd.DataFrame({"subject": "P", "day": DAYS, "DVID": dvid, "DV": truth[name] * np.exp(sd * rng.normal(size=8))})
        for dvid, (name, sd) in enumerate([("copies_per_ug", 0.1), ("cells_per_ul", 0.6)], start=1)
    ]
    return ck.fit(TWO, ck.read_study(pd.concat(rows)))


def test_a_dvid_is_the_output_of_that_number_and_each_has_its_sd(fit):
    assert fit.outcome == "converged"
    assert fit.n_quantified == 16
    assert set(fit.sd) == {"copies_per_ug", "cells_per_ul"}
    assert fit.sd["copies_per_ug"] < 0.2 < fit.sd["cells_per_ul"]
    assert fit.parameters.loc[["sd_copies_per_ug", "sd_cells_per_ul"], "status"].tolist() == ["free", "free"]


def test_the_likelihood_is_the_sum_over_outputs(fit):
    from scipy.stats import norm

    table = fit.residuals
    sd = table["output"].map(fit.sd)
    expected = norm.logpdf(np.log(table["observed"]), np.log(table["predicted"]), sd).sum()
    assert fit.log_likelihood_ln == pytest.approx(expected, abs=1e-8)


def test_an_sd_is_fixed_by_the_name_of_its_output(fit):
    again = ck.fit(TWO, fit.study, fixed={"sd_cells_per_ul": 0.6})
    assert again.sd["cells_per_ul"] == 0.6
    assert again.n_free == fit.n_free - 1


def test_predictions_and_the_summary_have_both_outputs(fit):
    assert {"copies_per_ug", "cells_per_ul_upper"} <= set(fit.predict([3.0]))
    assert "sd_cells_per_ul" in fit.summary()
