"""Residuals that respect censoring, whether they run together, outliers, and what each sample does to the fit."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy
from scipy import special

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.optimising.batch import climbed

if TYPE_CHECKING:
    from cellkinetics.fitting.result import Fit


def quantile_residuals(fit: Fit, seed: int = 2020) -> pd.DataFrame:
    """Randomised quantile residuals (Dunn and Smyth 1996): standard normal where the model is right.

    A quantified sample has (ln y - ln f)/sd, or the normal value of its probability under another error model; of a
    censored one a normal value is drawn that lies within its ends.

    Returns
    -------
    DataFrame
        subject, day, output, status, predicted, residual: one row a sample in the likelihood; empty without a fit.
    """
    seed, columns = domains.seed(seed), ["subject", "day", "output", "status", "predicted", "residual"]
    if not fit.fitted:
        return pd.DataFrame(columns=columns)
    table = fit.residuals.assign(subject=fit.subject)
    low, high = fit.problem.error.normal_scores(
        fit.problem.curve(fit.x, 0).value, fit.problem.ln_sd(fit.x), fit.problem.rows
    )
    low, high = low[: len(table)], high[: len(table)]
    rng = np.random.default_rng(seed)
    residual = np.array(high, float)
    for at in np.flatnonzero((table["status"] != "quantified").to_numpy()):
        residual[at] = scipy.stats.truncnorm.rvs(low[at], high[at], random_state=rng)
    return table.assign(residual=residual)[columns]


def runs(residuals: pd.DataFrame) -> pd.Series:
    """Whether signs of residuals run together: the exact test of Wald and Wolfowitz, by subject in the order of days.

    Returns
    -------
    Series
        number of runs, how many are expected, and p: the probability, given how many are positive, of so few runs.
        One-sided: a curve that follows its samples closely, with many parameters for few samples, has more runs than
        expected. With several subjects their runs are added up.
    """
    seen, tables = 0, []
    for _, own in residuals.sort_values("day", kind="stable").groupby(["subject", "output"], sort=False):
        signs = (own["residual"] > 0).to_numpy()
        seen += 1 + int((signs[1:] != signs[:-1]).sum())
        tables.append(_runs_distribution(int(signs.sum()), int((~signs).sum())))
    together = np.ones(1)
    for table in tables:
        together = np.convolve(together, table)
    p = float(together[: seen + 1].sum()) if len(tables) else np.nan
    expected = float(np.arange(len(together)) @ together)
    return pd.Series({"runs": seen, "expected": expected, "p": min(p, 1.0)})


def outliers(residuals: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Samples whose residual is further out than any of n would be with probability ``level`` (Bonferroni)."""
    limit = float(special.ndtri(1 - level / (2 * max(len(residuals), 1))))
    far = residuals[residuals["residual"].abs() > limit]
    return far.sort_values("residual", key=np.abs, ascending=False).assign(limit=limit)


def influence(fit: Fit) -> pd.DataFrame:
    """What leaving out each sample does to the estimates, refitted in one batch.

    Returns
    -------
    DataFrame
        day, output, status, for each free parameter its shift in standard errors of the whole fit, and ``distance``,
        Cook's: the shift measured by the information of the whole fit, divided by the number of free parameters.
        NaN where the rest could not be fitted.
    """
    names = fit.problem.names
    table = fit.residuals[["day", "output", "status"]]
    if not fit.fitted:
        return table.assign(**dict.fromkeys(names, np.nan), distance=np.nan)
    count, samples = len(fit.problem.samples), fit.problem.samples
    problems = [replace(fit.problem, samples=samples.taken(np.arange(count) != at)) for at in range(count)]
    ends = climbed(problems, [fit.x] * count)
    shifts = np.array([np.full(len(names), np.nan) if end is None else end.x - fit.x for end in ends])
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.sqrt(np.diag(fit.covariance))
        known = np.isfinite(errors) & (errors > 0)
        relative = np.where(known, shifts / np.where(known, errors, 1.0), np.nan)
    distance = np.full(count, np.nan)
    if known.any():
        information = np.linalg.pinv(fit.covariance[np.ix_(known, known)])
        moved = shifts[:, known]
        distance = np.einsum("ni,ij,nj->n", moved, information, moved) / known.sum()
    return table.assign(**dict(zip(names, relative.T, strict=True)), distance=distance)


def _runs_distribution(positive: int, negative: int) -> Floats:
    """Probability of each number of runs, given how many are positive and how many negative."""
    total = comb(positive + negative, positive)
    table = np.zeros(positive + negative + 1)
    if not positive or not negative:
        table[min(1, positive + negative)] = 1.0
        return table
    for each in range(2, positive + negative + 1):
        half = each // 2
        if each % 2 == 0:
            ways = 2 * comb(positive - 1, half - 1) * comb(negative - 1, half - 1)
        else:
            ways = comb(positive - 1, half) * comb(negative - 1, half - 1)
            ways += comb(positive - 1, half - 1) * comb(negative - 1, half)
        table[each] = ways / total
    return table
