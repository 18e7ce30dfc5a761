"""A joint fit says whose curves miss their samples, and a comparison that rests on them does too. All simulated."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.fitting.leave_out import standing
from cellkinetics.joint import fitting as joint_fitting
from cellkinetics.joint.evaluation import Batched
from cellkinetics.joint.misfit import moves_of
from cellkinetics.optimising.request import Request

STEIN, DECLINE = (ck.models.load(name) for name in ("stein_2019_tisagenlecleucel", "nk_decline"))
DAYS = np.array([1, 3, 5, 7, 9, 12, 15, 21, 28, 42, 60, 90, 120.0])


def table(outlier=1.0):
    """Four patients who expand to day 9 and decline in two phases; b has one sample ``outlier`` times too high."""
    rng, tables = np.random.default_rng(2), []
    rise = 20 * np.exp(0.6 * DAYS)
    fall = 20 * np.exp(5.4) * (0.9 * np.exp(-0.25 * (DAYS - 9)) + 0.1 * np.exp(-0.01 * (DAYS - 9)))
    for subject, factor in zip("abcd", [1, 2, 0.5, 1], strict=True):
        copies = factor * np.where(DAYS < 9, rise, fall) * np.exp(0.4 * rng.standard_normal(len(DAYS)))
        copies[8] *= outlier if subject == "b" else 1.0
        dose = 1e6 if subject < "c" else 3e6
        tables.append(pd.DataFrame({"subject": subject, "day": DAYS, "value": copies, "dose": dose}))
    return pd.concat(tables)


@pytest.fixture(scope="module")
def spiked():
    return ck.fit(STEIN, ck.read_study(table(60.0), lloq=0.1), shared=["alpha", "beta", "f_b"])


@pytest.fixture(scope="module")
def wrong():
    return ck.fit(DECLINE, ck.read_study(table(), lloq=0.1), shared=["alpha", "beta", "f_b"])


def test_beside_the_others_a_sample_has_the_leverage_of_the_regression_of_all():
    """A straight line in ln a and k, with k shared: the hat matrix of one slope and three intercepts."""
    parameters = {
        "a": ck.Parameter(100.0, "copies/ug", "this test"),
        "k": ck.Parameter(0.1, "1/day", "this test", min=-5.0, scale="identity"),
    }
    curve = lambda t, a, k: a * jnp.exp(-k * t)  # noqa: E731
    line = ck.Model(name="line", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, curve=curve)
    rng, sizes = np.random.default_rng(1), [13, 8, 5]
    parts = [
        (f"S{i}", DAYS[:n], np.exp(5 + i - 0.05 * DAYS[:n] + 0.5 * rng.normal(size=n))) for i, n in enumerate(sizes)
    ]
    study = ck.read_study(pd.concat(pd.DataFrame({"subject": s, "day": d, "value": v}) for s, d, v in parts))
    found = joint_fitting.members(Request.of(line, starts=1, seed=1), study, ["k"], True)
    patients = Batched(found.problems)
    solution = joint_fitting.solve(found, joint_fitting.joint_of(found, patients), patients)
    design = np.column_stack([np.repeat(np.eye(3), sizes, axis=0), np.concatenate([DAYS[:n] for n in sizes])])
    hat = np.diag(design @ np.linalg.solve(design.T @ design, design.T))
    for i, (moves, own) in enumerate(zip(moves_of(solution), np.split(hat, np.cumsum(sizes)[:-1]), strict=True)):
        optimum = joint_fitting.optimum_of(solution, i)
        np.testing.assert_allclose(standing(found.problems[i], optimum.x, moves).leverage, own, rtol=1e-6)


def test_an_outlier_in_a_joint_fit_is_named_with_its_patient_and_day(spiked):
    assert spiked.converged
    assert spiked.needs_look
    assert spiked.outcome.startswith("converged, but the curve of b misses the samples: day 28 (observed ")
    assert "the curve of b misses" in " ".join(spiked.summary().split())
    assert [*spiked.misfit] == ["b"]
    assert spiked.misfit["b"].days == (28.0,)


def test_each_patient_of_a_joint_fit_says_whether_its_own_curve_misses(spiked):
    assert spiked["b"].needs_look
    assert spiked["b"].outcome.startswith("converged, but the curve misses the samples: day 28 (observed ")
    for subject in "acd":
        assert spiked[subject].outcome == "converged"
        assert not spiked[subject].needs_look


def test_a_model_that_is_wrong_for_all_says_so_before_what_to_fix(wrong):
    assert wrong.needs_look
    assert {"a", "b", "c", "d", "all"} == {*wrong.misfit}
    assert wrong.outcome.startswith("the curves of 4 of 4 miss the samples: a on days ")
    assert "residual sd of all 1.3" in wrong.outcome
    assert wrong.outcome.index("try another model") < wrong.outcome.index("After that: not identifiable")


def test_a_joint_fit_of_the_model_that_made_the_samples_says_nothing_of_misfit():
    fit = ck.fit(STEIN, ck.read_study(table(), lloq=0.1), shared=["alpha", "beta", "f_b"])
    assert fit.outcome == "converged"
    assert not fit.needs_look
    assert fit.misfit == {}


def test_a_joint_fit_that_is_saved_and_read_says_the_same(spiked, wrong, tmp_path):
    for fit in (spiked, wrong):
        fit.save(tmp_path / "joint.json")
        again = ck.load(tmp_path / "joint.json")
        assert again.outcome == fit.outcome
        assert again.needs_look
        assert again.misfit == fit.misfit


def test_a_comparison_of_fitted_curves_says_whose_miss_their_samples():
    fits = ck.fit_each(STEIN, ck.read_study(table(60.0), lloq=0.1), fixed={"f_b": 0.1, "beta": 0.01}, progress=False)
    compared = ck.compare_cohorts(fits, by="dose")
    assert compared.missed == ("b",)
    assert "the fitted curve of b misses samples: fitted peaks and areas rest on" in " ".join(
        compared.summary().split()
    )


def test_a_comparison_by_a_model_says_that_its_curves_miss_the_samples():
    study = ck.read_study(table(), lloq=0.1)
    compared = ck.compare_cohorts(
        study, by="dose", model=DECLINE, parameters=["F", "alpha"], permutations=2, progress=False
    )
    assert {*compared.model_based.missed} >= {"a", "b", "c", "d"}
    words = " ".join(compared.summary().split())
    assert "the curves of a, b, c, d miss their samples whichever parameter is driven" in words


def test_at_most_2_percent_of_clean_patients_of_joint_fits_are_called_bad():
    file = Path(__file__).parents[1] / "benchmarks" / "misfit_joint.csv"
    clean = pd.read_csv(file, keep_default_na=False).query("kind == 'clean'")
    assert len(clean) == 12
    assert (clean["flagged"] <= 2.0).all()
    assert (clean["common_sd"] == 0).all()
