"""Two factors at once, by censored regression: the dose exponent at equal groups, the groups at equal dose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Flags, Floats
from cellkinetics.cohorts.values import Window, ranked
from cellkinetics.domains import level as checked_level
from cellkinetics.lazily import pandas as pd
from cellkinetics.saving import storable
from cellkinetics.statistics.dose_exponent import profile_ends
from cellkinetics.statistics.ranks import RankTest, weaker
from cellkinetics.statistics.strata import stratified
from cellkinetics.statistics.tobit import Tobit, quantified, tobit
from cellkinetics.words import count

EXPONENT, HUGE = "dose exponent", 700.0


@storable
@dataclass(frozen=True)
class Term:
    """A coefficient of the regression at equal values of the others.

    name : "dose exponent", or "responder : non-responder" for a ratio.
    estimate, lower, upper : of the exponent, or of the ratio; infinite ends where the values do not bound it.
    inflation : by how much the standard error is larger than if the other factor were balanced; 1: not at all.
    """

    name: str
    estimate: float
    lower: float
    upper: float
    inflation: float


@storable
@dataclass(frozen=True)
class TwoFactors:
    """ln value = a + b ln dose + the group's, by censored regression with calibrated profiles (as `dose_exponent`).

    terms : in that order; empty where the regression cannot be done.
    n, n_quantified : values.
    reason : why there is none.
    """

    terms: Sequence[Term]
    n: int
    n_quantified: int
    reason: str = ""


def two_factors(
    dose: Floats | None,
    factors: Sequence[tuple[Sequence[str], npt.NDArray[np.int_]]],
    lower: Floats,
    upper: Floats,
    level: float = 0.95,
) -> TwoFactors:
    """Regress ln values on ln dose and on factors, all together.

    Parameters
    ----------
    dose : (n,) amounts, positive; None where no factor is the dose.
    factors : for each other factor its names, and (n,) which of them each patient has; the first is compared with.
    lower, upper : (n,) ends of the values.
    level : of the intervals.

    Returns
    -------
    TwoFactors
        With a ``reason`` where the factors go together entirely or too few values are quantified.
    """
    n, level = len(lower), checked_level(level)
    with np.errstate(divide="ignore"):
        low, high = np.log(lower), np.log(upper)
    known = quantified(low, high)
    labels, columns = list[str](), list[Floats]()
    if dose is not None:
        labels.append(EXPONENT)
        columns.append(np.log(dose) - (np.log(dose).mean() if n else 0.0))
    for names, group in factors:
        for place, name in enumerate(names[1:], 1):
            labels.append(f"{name} : {names[0]}")
            columns.append((group == place).astype(float))
    design = np.column_stack([np.ones(n), *columns])
    reason = _reason(design, known)
    if reason:
        return TwoFactors((), n, int(known.sum()), reason)
    fit = tobit(design, low, high)
    if not fit.converged[0]:
        return TwoFactors((), n, int(known.sum()), "the likelihood rises without end: censored values lie apart")
    terms = [_term(label, at, design, low, high, fit, level) for at, label in enumerate(labels, 1)]
    return TwoFactors(terms, n, int(known.sum()))


def _reason(design: Floats, known: Flags) -> str:
    n, p = design.shape
    if n == 0:
        return "there is no value"
    if np.linalg.matrix_rank(design) < p:
        return "the factors go together entirely, or a group has no value: their effects cannot be told apart"
    if known.sum() < p + 2:
        return f"{int(known.sum())} of {count(n, 'value')} are quantified; {p + 2} are needed for {p} coefficients"
    if np.linalg.matrix_rank(design[known]) < p:
        return "the factors go together entirely in the quantified values"
    return ""


def _term(label: str, at: int, design: Floats, low: Floats, high: Floats, fit: Tobit, level: float) -> Term:
    column, others = design[:, at], np.delete(design, at, axis=1)
    estimate, ends = float(fit.coefficients[0, at]), profile_ends(design, at, low, high, fit, level)
    left = column - others @ np.linalg.lstsq(others, column)[0]
    alone = column - column.mean()
    inflation = math.sqrt(float(alone @ alone) / float(left @ left))
    if label != EXPONENT:
        estimate, *ends = (math.exp(value) if value < HUGE else math.inf for value in (estimate, *ends))
    return Term(label, estimate, ends[0], ends[1], inflation)


Factor: TypeAlias = "tuple[str, pd.Series, Sequence[str]]"


def both_factors(
    window: Window, first: Factor, second: Factor, dose: pd.Series | None, ordered: bool, seed: int
) -> tuple[RankTest, TwoFactors]:
    """The first factor tested within the groups of the second, and the regression on both.

    Parameters
    ----------
    window : the values.
    first, second : name, group of each subject, and groups in order, of each factor.
    dose : of each subject, where a factor is the dose: it is a number in the regression then.
    ordered : whether the groups of the first factor have an order.
    seed : of arrangements.
    """
    there = window.values["lower"].notna().to_numpy()
    codes = []
    for _, groups, names in (first, second):
        at = groups.map({name: place for place, name in enumerate(names)}).to_numpy(float)
        there = there & ~np.isnan(at)
        codes.append(at)
    scores = ranked(window, there)
    groups, strata = (np.nan_to_num(at).astype(int)[there] for at in codes)
    tests = [stratified(one[there], groups, strata, len(first[2]), ordered=ordered, seed=seed) for one in scores]
    numeric = None
    if dose is not None:
        numeric = dose.to_numpy(float)
        there = there & (numeric > 0)
        numeric = numeric[there]
    categories = [
        (names, np.nan_to_num(at).astype(int)[there])
        for (label, _, names), at in zip((first, second), codes, strict=True)
        if label not in ("cohort", "dose")
    ]
    low, high = (window.values[end].to_numpy(float)[there] for end in ("lower", "upper"))
    return weaker(tests), two_factors(numeric, categories, low, high)
