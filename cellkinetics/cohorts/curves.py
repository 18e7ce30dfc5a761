"""Curves of cohorts without a model: quantiles that know what a limit is, and a test of whole curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.data import groups
from cellkinetics.data.overview import since_infusion
from cellkinetics.data.study import Study
from cellkinetics.lazily import pandas as pd
from cellkinetics.statistics import arrangements
from cellkinetics.statistics.medians import planned_days
from cellkinetics.statistics.ranks import DRAWS, RankTest, exact_p, tied_at_limit
from cellkinetics.statistics.visits import combined

QUARTILES = (0.25, 0.5, 0.75)
CURVES_AT_ONCE = 20_000


class Step(NamedTuple):
    """A jump of an estimated distribution: its probability lies anywhere from lower to upper."""

    lower: float
    upper: float
    probability: float


def sampling_days(study: Study, output: str | None = None, tolerance: float | None = None) -> pd.DataFrame:
    """The samples used of one output, one a patient and day, by the visit of each.

    Parameters
    ----------
    study : Study
    output : which output; the first when not given.
    tolerance : days by which a sample may lie from the middle of its visit; half the gap to the next when not given.

    Returns
    -------
    DataFrame
        As `Study.observations`, with ``since`` (days since the subject's first infusion), ``position`` (the nominal
        day since the infusion, else the actual one) and ``planned`` (the nominal
        day since the infusion where the sample has one, else the day of the visit as `visits.visit_days` finds it).
        Several samples of a patient at one time are one, see `visits.combined`.
    """
    if tolerance is not None:
        tolerance = domains.positive(tolerance, "tolerance", 2)
    rows = since_infusion(study)
    outputs = rows["output"].unique()
    if output is not None and output not in outputs:
        raise ValueError(f"there is no output {output!r}; there are {', '.join(outputs)}.")
    rows = rows[rows["output"] == (output or (outputs[0] if len(outputs) else ""))]
    rows = combined(rows, ("subject", "since"))
    nominal = pd.Series(np.nan, index=rows.index)
    if "nominal_day" in rows:
        nominal = rows["nominal_day"].astype(float) - (rows["day"] - rows["since"])
    named = rows.assign(day=rows["since"], nominal_day=nominal)
    return rows.assign(planned=planned_days(named, tolerance), position=nominal.fillna(rows["since"]))


def by_visit(rows: pd.DataFrame) -> pd.DataFrame:
    """`sampling_days` with one row a patient and visit: the samples of a patient at a visit are one."""
    return combined(rows, ("subject", "planned"))


@domains.also_earlier("quantiles", "output", "tolerance")
def cohort_curves(
    study: Study,
    by: str = "cohort",
    *,
    quantiles: Sequence[float] = QUARTILES,
    output: str | None = None,
    tolerance: float | None = None,
) -> pd.DataFrame:
    """Quantiles of the samples of each group at each visit.

    The distribution is Turnbull's, the maximum-likelihood one without a shape: with samples below a limit only, it is
    Kaplan-Meier's on the reversed scale.

    Parameters
    ----------
    study : Study
    by : who belongs together, as in `compare_cohorts`.
    quantiles : from 0 to 1.
    output : which output; the first when not given.
    tolerance : days by which a sample may lie from the middle of its visit, as in `compare_cohorts`.

    Returns
    -------
    DataFrame
        One row a group, day and quantile: group, day (of the visit), n (patients), n_censored, quantile, value (NaN
        where a limit hides it), lower and upper (between which it lies; both the value where it is known).

    Raises
    ------
    ValueError
        There is no such covariate or output, a quantile is not from 0 to 1, or the tolerance is not above 0.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> curves = cohort_curves(ck.example(), quantiles=[0.5])
    >>> curves.query("group == '1e7/kg' and day <= 7")[["day", "n", "value"]].values.tolist()
    [[1.0, 4.0, 3200.0], [3.0, 4.0, 9390.0], [7.0, 4.0, 55250.0]]
    """
    domains.instance(study, Study, "study", "Take ck.read_study(path), ck.example(), or the .study of fits.")
    if np.ndim(quantiles) == 0:
        raise ValueError(f"quantiles={quantiles!r}: give a list, such as [0.5] for the median.")
    quantiles = [domains.number(share, "quantiles", 0.5) for share in quantiles]
    if unknown := [share for share in quantiles if not 0 <= share <= 1]:
        raise ValueError(f"quantiles={list(quantiles)}: {unknown[0]:g} is not from 0 to 1. Give 0.5 for the median.")
    domains.some(quantiles, "quantiles", "[0.5]")
    members, names = groups.of(study, by)
    rows = by_visit(sampling_days(study, output, tolerance))
    rows = rows.assign(group=rows["subject"].map(members))
    found = []
    for name in names:
        for day, samples in rows[rows["group"] == name].groupby("planned"):
            low, high = samples["lower"].to_numpy(float), samples["upper"].to_numpy(float)
            steps = turnbull(low, high)
            for share in quantiles:
                lower, upper = quantile(steps, share)
                value = lower if lower == upper else math.nan
                n_censored = int((low != high).sum())
                found.append([name, float(str(day)), len(samples), n_censored, share, value, lower, upper])
    columns = ["group", "day", "n", "n_censored", "quantile", "value", "lower", "upper"]
    return pd.DataFrame(found, columns=columns)


def turnbull(lower: npt.ArrayLike, upper: npt.ArrayLike) -> list[Step]:
    """The maximum-likelihood distribution of values that can be intervals (Turnbull 1976).

    Parameters
    ----------
    lower, upper : (n,) equal where the value is known; a value below a limit lies in [lower, upper), one above it in
        [lower, inf).

    Returns
    -------
    list of Step
        In ascending order; the probabilities add up to 1. Empty without a value.

    Examples
    --------
    >>> [tuple(step) for step in turnbull([0, 5], [3, 5])]
    [(0.0, 3.0, 0.5), (5.0, 5.0, 0.5)]
    """
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    if not len(low):
        return []
    # Where no other end lies between a lower and an upper one; an upper limit comes before an equal known value.
    exact = low == high
    starts = [(value, 1) for value in low]
    stops = [(value, 2 if known else 0) for value, known in zip(high, exact, strict=True)]
    ends = sorted(set(starts + stops))
    inner = [(a, b) for a, b in pairwise(ends) if a in set(starts) and b in set(stops)]
    inside = np.array([[l <= a and b <= h for a, b in inner] for l, h in zip(starts, stops, strict=True)])
    shares = np.full(len(inner), 1 / len(inner))
    for _ in range(5000):
        weights = inside * shares
        new = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
        done = np.abs(new - shares).max() < 1e-12
        shares = new
        if done:
            break
    return [Step(float(a[0]), float(b[0]), float(p)) for (a, b), p in zip(inner, shares, strict=True) if p > 1e-9]


def quantile(steps: Sequence[Step], share: float) -> tuple[float, float]:
    """Ends between which a quantile lies; where the distribution is flat there, the mean of both neighbours.

    Examples
    --------
    >>> quantile(turnbull([0, 5, 8], [3, 5, 8]), 0.5), quantile(turnbull([0, 5], [3, 5]), 0.5)
    ((5.0, 5.0), (2.5, 4.0))
    """
    total = 0.0
    for place, step in enumerate(steps):
        total += step.probability
        if abs(total - share) < 1e-9 and place + 1 < len(steps):
            after = steps[place + 1]
            return (step.lower + after.lower) / 2, (step.upper + after.upper) / 2
        if total > share - 1e-9:
            return step.lower, step.upper
    return math.nan, math.nan


def curve_test(
    study: Study, by: str = "cohort", output: str | None = None, seed: int = 2020, tolerance: float | None = None
) -> RankTest:
    """Whether the curves of the groups differ anywhere: a permutation test of whole patients.

    At each visit with at least two groups the samples are ranked (those below the largest limit of the visit
    tied); the statistic is the sum of the visits' Kruskal-Wallis statistics. Patients are exchanged with all of their
    samples, so that it does not matter how the samples of one patient depend on each other. A patient whose follow-up
    was cut counts on the days before.

    Parameters
    ----------
    study : Study
    by : who belongs together, as in `compare_cohorts`; who has no group is left out.
    output : which output; the first when not given.
    seed : of the arrangements, where there are more than 2e6.
    tolerance : as in `sampling_days`.

    Returns
    -------
    RankTest
        With the name "whole curves".
    """
    by_name = groups.of(study, by)
    members, names = by_name.members, by_name.known
    rows = by_visit(sampling_days(study, output, tolerance))
    subjects = [subject for name in names for subject in study.subjects if members[subject] == name]
    subjects = [subject for subject in subjects if (rows["subject"] == subject).any()]
    sizes = tuple(sum(members[subject] == name for subject in subjects) for name in names)
    nan = math.nan
    if len(sizes) < 2 or min(sizes) == 0:
        reason = "there is one group" if len(sizes) < 2 else "a group has no sample"
        return RankTest("whole curves", "none", nan, nan, nan, nan, nan, sizes, 0, reason=reason)
    scores, tied = _scores(rows, subjects)
    return exchanged(scores, sizes, tied, seed)


def exchanged(scores: Floats, sizes: Sequence[int], tied: int, seed: int = 2020) -> RankTest:
    """The test of whole curves from the standardised midranks of each day.

    Parameters
    ----------
    scores : (n, d) of the patients, one group after the other, NaN without a sample; see `standardised`.
    sizes : patients in each group.
    tied : samples that share their rank with another.
    seed : of the arrangements, where there are more than 2e6.
    """
    sizes, nan = tuple(sizes), math.nan
    own = arrangements.given(sizes)
    observed = float(_statistic(scores, own, len(sizes))[0])
    ways = arrangements.count(sizes)
    if ways <= arrangements.MOST:
        labels, variant = arrangements.all_of(sizes), f"exact over all {ways:,} arrangements of patients"
    else:
        labels = arrangements.sampled(sizes, DRAWS, np.random.default_rng(seed))
        labels = np.concatenate([labels, own])
        variant = f"Monte Carlo over {DRAWS:,} of {ways:.2g} arrangements of patients (seed {seed})"
    parts = [
        _statistic(scores, labels[at : at + CURVES_AT_ONCE], len(sizes)) for at in range(0, len(labels), CURVES_AT_ONCE)
    ]
    values = np.concatenate(parts)
    if np.ptp(values) == 0:
        reason = "all samples are tied"
        return RankTest("whole curves", "none", nan, nan, nan, nan, nan, sizes, tied, reason=reason)
    found = exact_p(values, np.full(len(values), 1 / len(values)), observed)
    error = math.sqrt(found[0] * (1 - found[0]) / DRAWS) if ways > arrangements.MOST else 0.0
    return RankTest("whole curves", variant, observed, *found, sizes, tied, error)


def standardised(lower: npt.ArrayLike, upper: npt.ArrayLike) -> tuple[Floats, int]:
    """(n,) midranks of one day, mean 0 and variance 1 (all 0 where all are tied), and how many are tied."""
    ranks = scipy.stats.rankdata(tied_at_limit(lower, upper))
    _, repeats = np.unique(ranks, return_counts=True)
    spread = ranks.std(ddof=1)
    return (ranks - ranks.mean()) / (spread if spread > 0 else 1.0), int(repeats[repeats > 1].sum())


def _scores(rows: pd.DataFrame, subjects: Sequence[str]) -> tuple[Floats, int]:
    """(subjects, days) standardised midranks of each day, NaN without a sample; and how many samples are tied."""
    columns, tied = [], 0
    for _, samples in rows.groupby("planned"):
        first = samples.set_index("subject").reindex(list(subjects))
        there = first["lower"].notna().to_numpy(bool)
        if there.sum() < 2:
            continue
        own, shared = standardised(first.loc[there, "lower"], first.loc[there, "upper"])
        tied += shared
        if np.ptp(own) == 0:
            continue
        column = np.full(len(subjects), np.nan)
        column[there] = own
        columns.append(column)
    return (np.column_stack(columns) if columns else np.zeros((len(subjects), 0))), tied


def _statistic(scores: Floats, labels: arrangements.Labels, groups: int) -> Floats:
    """(arrangements,) sum over days and groups of n x (mean standardised rank)^2."""
    known = ~np.isnan(scores)
    filled = np.where(known, scores, 0.0)
    total = np.zeros(len(labels))
    for group in range(groups):
        member = (labels == group).astype(float)
        n = member @ known
        total += ((member @ filled) ** 2 / np.maximum(n, 1)).sum(axis=1)
    return total
