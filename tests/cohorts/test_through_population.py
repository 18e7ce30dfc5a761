"""Cohorts through a population, on simulated patients whose level follows the dose and whose loss does not."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.cohorts.through_population import permuted, through_population
from cellkinetics.permuting.ratios import Arranged
from cellkinetics.permuting.refits import attained, refitted

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))

import populations  # pyright: ignore[reportMissingImports]

DAYS = np.array([1.0, 3, 7, 14, 21, 28])
DOSES = np.repeat([1e5, 1e6, 1e7], [3, 4, 4])


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(2020)
    ln_c = np.log(300.0) + 0.8 * np.log(DOSES / 1e6) + 0.4 * rng.normal(size=len(DOSES))
    k = 0.1 + 0.03 * rng.normal(size=len(DOSES))
    group = {"cohort": np.where(DOSES < 5e5, "low", "high")}
    return populations.study_of(
        ln_c[:, None] - k[:, None] * DAYS, DAYS, 0.3, rng, doses=DOSES, limit=5.0, columns=group
    )


@pytest.fixture(scope="module")
def comparison(study):
    return ck.compare_cohorts(study, by="dose", population=populations.line(), permutations=20, progress=False)


def test_scores_are_given_to_other_patients_as_by_hand():
    rng = np.random.default_rng(1)
    scores, doses = rng.normal(size=7), np.log(np.repeat([1.0, 10.0, 100.0], [2, 2, 3]))
    found = permuted(scores, doses[:, None], 1)
    arranged = set(itertools.permutations(doses))
    centred = scores - scores.mean()
    sums = np.array([abs(np.dot(given, centred)) for given in arranged])
    assert found.arrangements == len(arranged) == 210
    assert found.p == pytest.approx(np.mean(sums >= abs(np.dot(doses, centred)) - 1e-12))
    assert found.smallest_p == pytest.approx(np.mean(sums >= sums.max() - 1e-12))


def test_groups_are_tested_by_the_sums_of_their_scores():
    scores = np.array([-1.0, -0.5, 0.1, 0.3, 0.4, 2.0])
    groups = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0, 1]], float)
    found = permuted(scores, groups, 1)
    means = [
        sum((scores[list(part)].mean() - scores.mean()) ** 2 for part in (given[:2], given[2:4], given[4:]))
        for given in itertools.permutations(range(6))
    ]
    assert found.p == pytest.approx(np.mean(np.array(means) >= means[0] - 1e-12))


def test_the_dose_is_a_coefficient_with_an_interval_a_ratio_and_an_exact_p(comparison, study):
    found = comparison.population_based
    table = found.table.set_index("parameter")
    assert list(table.index) == ["c", "k"]
    row, fit = table.loc["c"], found.fit
    for ours, theirs in (("estimate", "value"), ("lower", "lower"), ("upper", "upper")):
        assert row[ours] == fit.parameters.loc["c:dose", theirs]
    assert row["lower"] < 0.8 < row["upper"]
    ratio = fit.likelihood_ratio(fit.without("c:dose"))
    assert [row["lr"], row["lr_error"], row["p_lr"]] == pytest.approx(list(ratio[["statistic", "error", "p"]]))
    assert found.every
    assert row["arrangements"] == 11550
    assert row["p"] < 0.01
    assert row["p_holm"] == pytest.approx(2 * row["p"])
    assert table.loc["k", "p"] > 0.05
    # The same by hand: what is left of each patient's slope, given to others.
    smaller = fit.without("c:dose")
    scores = smaller.polished.scores[:, 0]
    assert scores.sum() == pytest.approx(0.0, abs=0.05)
    rng = np.random.default_rng(3)
    ln_dose = np.log(DOSES)
    sums = [abs(np.dot(rng.permutation(ln_dose), scores)) for _ in range(4000)]
    assert np.mean(sums >= abs(np.dot(ln_dose, scores))) == pytest.approx(row["p"], abs=0.01)


def test_refits_permute_the_likelihood_ratio_itself(comparison, study):
    found = comparison.population_based
    table, text = found.table.set_index("parameter"), " ".join(comparison.summary().split())
    # None of 20 has a larger ratio: the one given is the first of 21, and no p is between 1/21 and 5%.
    assert [table.loc["c", name] for name in ("p_refits", "refits", "attained")] == [1 / 21, 20, 1 / 21]
    assert table.loc["k", "p_refits"] > 0.05
    assert "p = 0.0476 of the likelihood ratio among those of 20 refits, a level of 4.8% can be attained" in text
    smaller = found.fit.without("c:dose")
    again = refitted(found.fit, smaller, "c", "dose", 1, seed=7)
    # By other draws and from another start it is the ratio of the two fits.
    assert again is not None
    assert again.statistic == pytest.approx(table.loc["c", "lr"], abs=3 * table.loc["c", "lr_error"])
    many = replace(found.fit, patients=replace(found.fit.patients, cases=dict(enumerate([None] * 51))))
    assert refitted(many, smaller, "c", "dose", 1, seed=7) is None


def test_arrangements_that_climb_together_end_where_each_ends_by_itself(comparison):
    fit = comparison.population_based.fit
    column = [effect.label for effect in fit.design.effects].index("c:dose")
    ratio = Arranged.of(fit, fit.without("c:dose"), "c", [column], seed=7)
    rng, own = np.random.default_rng(5), fit.design.matrix[:, 0, [column]]
    weights = np.stack([own, *(rng.permutation(own) for _ in range(3))])
    together = ratio.together(weights)
    assert together[0] > 10 > together[1:].max()
    assert together == pytest.approx(ratio.alone(weights), abs=1e-5)


def test_an_arrangement_without_a_spread_climbs_by_itself(comparison):
    fit = comparison.population_based.fit
    column = [effect.label for effect in fit.design.effects].index("c:dose")
    ratio = Arranged.of(fit, fit.without("c:dose"), "c", [column], seed=7)
    # Draws of a spread ten times as wide as what is left: few of them count, and one may count for all.
    wide = replace(ratio, start=ratio.start._replace(omega=100 * np.asarray(ratio.start.omega)))
    own = fit.design.matrix[None, :, 0, [column]]
    assert wide.together(own) == pytest.approx(wide.alone(own), abs=1e-9)


def test_the_level_that_can_be_attained_is_the_largest_p_up_to_5_percent():
    assert attained(np.arange(40.0)) == pytest.approx(2 / 40)
    assert attained(np.arange(10.0)) == 0.0
    assert attained(np.append(np.zeros(97), [3.0, 3.0, 5.0])) == pytest.approx(3 / 100)


def test_the_dose_on_the_peak_stands_beside_the_dose_on_persistence(comparison):
    found = comparison.population_based
    peak, late, apart = (found.curves.iloc[i] for i in range(3))
    assert [peak["quantity"], late["quantity"]] == ["peak", "level on day 28"]
    value = found.fit.parameters["value"]
    # ln C = ln c - k t, on the first and on the last day.
    assert peak["estimate"] == pytest.approx(value["c:dose"] - value["k:dose"], rel=1e-6)
    assert late["estimate"] == pytest.approx(value["c:dose"] - 28 * value["k:dose"], rel=1e-6)
    assert apart["estimate"] == pytest.approx(-27 * value["k:dose"], abs=1e-9)
    error = found.fit.parameters.loc["k:dose", "stderr"]
    assert apart["upper"] - apart["estimate"] == pytest.approx(1.96 * 27 * error, rel=1e-3)


def test_its_summary_answers_in_one_line(comparison):
    found, text = comparison.population_based, comparison.summary()
    assert found.answer.startswith("the dose moves c (dose exponent 0.")
    assert found.answer.endswith("neither an effect nor that there is none is shown for k")
    for part in ("Through a population of 11 patients, line, by dose: the dose", "over 11,550 arrangements", "peak:"):
        assert part in " ".join(text.split())


def test_its_summary_says_what_the_ratios_are_of(comparison):
    assert "by importance sampling, +- their Monte Carlo error" in " ".join(comparison.summary().split())
    through = comparison.population_based
    table = through.table.assign(lr_error=0.0)
    said = " ".join(replace(through, method="laplace", table=table).summary().split())
    assert "are of values by Laplace's approximation, each at its own maximum" in said
    assert "+-" not in said


def test_a_fit_is_taken_as_it_is_and_groups_have_a_ratio(study, comparison, tmp_path):
    fit = ck.fit_population(populations.line(), study, covariates={"c": "cohort"}, progress=False)
    found = through_population(study, "cohort", fit, seed=1, progress=False, permutations=5)
    assert found.fit is fit
    (row,) = found.table.to_dict("records")
    assert row["effect"] == "ratio high : low"
    assert row["estimate"] == pytest.approx(np.exp(fit.parameters.loc["c:cohort high", "value"]))
    assert row["arrangements"] == 165
    # The climb begins where the group does nothing, eight units below.
    again = refitted(fit, fit.without("c:cohort"), "c", "cohort", 1, seed=7)
    assert again is not None
    assert again.statistic == pytest.approx(row["lr"], abs=3 * row["lr_error"])
    assert row["lr"] > 8
    comparison.save(tmp_path / "comparison.json")
    again = ck.load(tmp_path / "comparison.json")
    assert again.summary() == comparison.summary()
    pd.testing.assert_frame_equal(again.population_based.table, comparison.population_based.table)
    assert again.population_based.fit is None


def test_what_is_no_population_is_refused(study, comparison):
    for given, words in (
        ({"free": ["c"]}, r"has no model: give \{'model'"),
        ({"model": populations.line(), "rnadom": ["c"]}, "fit_population has no rnadom"),
    ):
        with pytest.raises(ValueError, match=words):
            through_population(study, "dose", given, seed=1, progress=False)
    with pytest.raises(TypeError, match="give a model"):
        through_population(study, "dose", 3, seed=1, progress=False)
    with pytest.raises(ValueError, match="no population was given"):
        replace(comparison, with_population=None).population_based  # noqa: B018


def test_its_visual_predictive_check_is_of_the_population_group_by_group(comparison):
    found = comparison.vpc(replicates=50)
    own = comparison.population_based.fit.vpc(replicates=50, by="dose")
    pd.testing.assert_frame_equal(found.table, own.table)
    assert found.whose == "other patients of the population"
    assert found.below["stratum"].unique().tolist() == comparison.names


def test_doses_of_their_own_are_no_groups_to_look_at():
    doses = [1e5, 3e5, 1e6, 3e6]
    table = pd.DataFrame({"subject": list("ABCD"), "day": 7, "copies_per_ug": [9.0, 20, 30, 90], "dose": doses})
    with pytest.raises(ValueError, match=r"no groups to look at\. Give by=, or take comparison\.population_based"):
        ck.compare_cohorts(ck.read_study(table, lloq=3.0), by="dose").vpc()
