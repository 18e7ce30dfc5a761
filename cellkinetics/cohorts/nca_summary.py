"""A table of `nca` by cohort: medians, ranges, geometric means that know what a limit is."""

from __future__ import annotations

import math

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.errors import suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.statistics.tobit import quantified, tobit

ENDS = ("_lower", "_upper")
# These ends are a confidence interval, not what the value can be.
CONFIDENCE = ("half_life_tobit",)


def nca_summary(table: pd.DataFrame, by: str = "cohort") -> pd.DataFrame:
    """Every metric of a table of `nca`, by cohort.

    Parameters
    ----------
    table : from `nca`, all columns; more can be joined to it.
    by : the column that says who belongs together; those without an entry are "none".

    Returns
    -------
    DataFrame
        One row a metric and group, in the order of the table: metric, group, output; then

        - n (values, intervals included), n_interval (values known as an interval only), n_missing with missing (its
          reasons and how often);
        - median, lowest, highest: NaN where an interval hides it; the median then lies between ``median_lower`` and
          ``median_upper``;
        - geometric_mean and geometric_cv (per cent): see `geometric`.

    Raises
    ------
    TypeError
        No table.
    ValueError
        There is no such column.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> summary = nca_summary(ck.nca(ck.example()))
    >>> summary.query("metric == 'tmax'")[["group", "n", "median"]].values.tolist()
    [['1e5/kg', 3, 6.9], ['1e6/kg', 4, 8.55], ['1e7/kg', 4, 8.5]]
    """
    domains.instance(table, pd.DataFrame, "table", "Give the table of ck.nca(study).")
    if by not in table:
        raise ValueError(
            f"there is no column {by!r}. {suggest(by, map(str, table))} A covariate is joined first: "
            f'table.merge(study.covariates[["{by}"]], left_on="subject", right_index=True).'
        )
    groups = table[by].astype(object).where(table[by].notna(), "none")
    metrics = [str(name)[: -len("_reason")] for name in table if str(name).endswith("_reason")]
    found = []
    for metric in metrics:
        for output in dict.fromkeys(table["output"]):
            for group in dict.fromkeys(groups):
                rows = table[(groups == group) & (table["output"] == output)]
                if len(rows):
                    found.append({"metric": metric, "group": group, "output": output} | _row(rows, metric))
    return pd.DataFrame(found)


def geometric(lower: Floats, upper: Floats) -> tuple[float, float]:
    """Geometric mean and geometric CV in per cent of positive values, of which some are intervals.

    Parameters
    ----------
    lower, upper : (n,) equal where the value is known, 0 or inf at an open end.

    Returns
    -------
    float, float
        The mean by maximum likelihood on the ln scale; the CV, 100 sqrt(exp(sd^2) - 1), with the maximum-likelihood sd
        times sqrt(k/(k - 1)) for k known values (a value known to within 1.25-fold is one), which is the usual sd
        where all are known. NaN with fewer than 2 known values, or where the known ones are equal and others are
        intervals: there is no maximum.

    Examples
    --------
    >>> import numpy as np
    >>> mean, cv = geometric(np.array([10.0, 1000.0]), np.array([10.0, 1000.0]))
    >>> round(mean, 6), round(cv)  # sd of the ln values 3.2565
    (100.0, 20071)
    """
    if (upper <= 0).any():
        return math.nan, math.nan
    with np.errstate(divide="ignore"):
        ends = np.log(lower), np.log(upper)
    known = quantified(*ends)
    if known.sum() < 2:
        return math.nan, math.nan
    if np.ptp(lower[known]) == 0 and np.ptp(upper[known]) == 0:
        exact = known.all() and lower[0] == upper[0]
        return (float(lower[0]), 0.0) if exact else (math.nan, math.nan)
    fit = tobit(np.ones((len(lower), 1)), *ends)
    if not fit.converged[0]:
        return math.nan, math.nan
    variance = float(fit.sd[0]) ** 2 * known.sum() / (known.sum() - 1)
    return math.exp(float(fit.coefficients[0, 0])), 100 * math.sqrt(math.expm1(min(variance, 700.0)))


def _row(rows: pd.DataFrame, metric: str) -> dict[str, object]:
    value = rows[metric].to_numpy(float)
    lower = upper = value
    if metric + ENDS[0] in rows and metric not in CONFIDENCE:
        lower, upper = (rows[metric + end].to_numpy(float) for end in ENDS)
        # A value with a crossing in a gap has ends around it: the value is what is meant.
        lower, upper = (np.where(np.isnan(value), end, value) for end in (lower, upper))
    there = ~np.isnan(lower)
    reasons = rows.loc[~there, f"{metric}_reason"].value_counts()
    low, high = lower[there], upper[there]
    found: dict[str, object] = {"n": int(there.sum()), "n_interval": int((low != high).sum())}
    found |= {"n_missing": int((~there).sum()), "missing": "; ".join(f"{n} {why}" for why, n in reasons.items())}
    for name, share in (("median", 0.5), ("lowest", 0.0), ("highest", 1.0)):
        ends = [_quantile(values, share) for values in (low, high)]
        found[name] = ends[0] if ends[0] == ends[1] else math.nan
        if name == "median":
            found |= {"median_lower": ends[0], "median_upper": ends[1]}
    found["geometric_mean"], found["geometric_cv"] = geometric(low, high) if len(low) else (math.nan, math.nan)
    return found


def _quantile(values: Floats, share: float) -> float:
    """The quantile; between two values their mean, which stays infinite where one is."""
    if not len(values):
        return math.nan
    place = share * (len(values) - 1)
    ordered = np.sort(values)
    return float((ordered[math.floor(place)] + ordered[math.ceil(place)]) / 2)
