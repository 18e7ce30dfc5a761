"""Where each start of a fit ended: kept, counted and drawn, one by one and in a batch."""

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import starts as starts_plot

STEIN, DECLINE = models.load("stein_2019_tisagenlecleucel"), models.load("nk_decline")


@pytest.fixture(scope="module")
def together():
    return ck.fit_each(STEIN, ck.example().select(subjects=["P05", "P06", "P07"]), starts=4, progress=False)


@pytest.fixture(scope="module")
def alone():
    return ck.fit(DECLINE, ck.example().select(subjects=["P06"]), starts=3)


def test_every_start_has_the_value_at_which_it_ended(together, alone):
    for fit in (*together.values(), alone):
        reached, started = fit.starts
        assert len(fit.start_values) == started
        # The last Newton steps may gain, and never lose.
        assert max(fit.start_values) <= fit.log_likelihood_ln + 1e-6
        # Where an sd has a prior the best is that of both.
        best = fit.log_likelihood_ln if not fit.problem.few else max(fit.start_values)
        near = np.sum(np.array(fit.start_values) > best - 0.01)
        assert reached == max(near, 1)


def test_a_start_at_the_optimum_ends_there(alone):
    there = {name: alone.parameters.loc[name, "value"] for name in alone.problem.free}
    again = ck.fit(DECLINE, alone.study, initial=there, starts=1)
    assert again.start_values == (pytest.approx(alone.log_likelihood_ln, abs=1e-6),)


def test_an_error_model_has_the_ends_of_its_own_likelihood(alone):
    fit = ck.fit(DECLINE, alone.study, error="student", starts=3)
    # Each start is tried with several sds.
    assert 3 <= len(fit.start_values) <= 12
    assert max(fit.start_values) == pytest.approx(fit.log_likelihood_ln, abs=1e-6)


def test_values_are_below_the_best_and_saved(together, alone, tmp_path):
    behind = starts_plot.below_best(alone)
    np.testing.assert_allclose(behind, np.maximum(alone.log_likelihood_ln - np.array(alone.start_values), 0))
    together.save(tmp_path / "fits.json")
    assert ck.load(tmp_path / "fits.json")["P06"].start_values == together["P06"].start_values


def test_a_waterfall_has_a_point_a_start_the_best_first(together, alone):
    ax = alone.plot_starts()
    line = ax.lines[0]
    assert list(line.get_xdata()) == [1, 2, 3]
    assert np.all(np.diff(line.get_ydata()) >= 0)
    assert ax.get_title(loc="left").startswith("P06: ")
    assert ax.yaxis_inverted()
    each = together.plot_starts()
    assert each.get_title(loc="left").replace("\n", " ") == "3 subjects; no best optimum is that of one start alone"


def test_a_patient_without_a_fit_has_an_empty_waterfall():
    table = pd.DataFrame({"subject": "S", "day": [1.0, 2.0], "copies_per_ug": ["<3", "<3"], "lloq": 3.0})
    fit = ck.fit(STEIN, ck.read_study(table))
    assert fit.start_values == ()
    assert fit.plot_starts().get_title(loc="left") == "S: no start ended anywhere"
