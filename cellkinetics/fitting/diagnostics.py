"""Residuals that respect censoring and the fit, whether neighbours go together, outliers, and what one sample does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.domains import Size
from cellkinetics.fitting.leave_out import alone, standing
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special
from cellkinetics.optimising.batch import climbed

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.data.study import Study
    from cellkinetics.fitting.result import Fit
    from cellkinetics.predictive.drawn_covariates import GivenCovariates
    from cellkinetics.predictive.forecast import Forecast
    from cellkinetics.predictive.npde import NPDE
    from cellkinetics.predictive.trial import VirtualTrial
    from cellkinetics.predictive.vpc import VPC


COLUMNS = ["subject", "day", "output", "status", "predicted", "residual"]
OF_THE_FIT = ["leverage", "left_out", "together", "together_variance"]


def quantile_residuals(fit: Fit, seed: int = 2020) -> pd.DataFrame:
    """Randomised quantile residuals (Dunn and Smyth 1996): standard normal where the model is right.

    A quantified sample has (ln y - ln f)/sd, or the normal value of its probability under another error model; of a
    censored one a normal value is drawn that lies within its ends. They are those of a curve that these samples made:
    the columns behind them allow for it (`leave_out` has the formulas), and are what `runs` and `outliers` look at.

    Returns
    -------
    DataFrame
        subject, day, output, status, predicted, residual: one row a sample in the likelihood; empty without a fit.
        leverage : the share of the sample in its own fitted value, 0 to 1.
        left_out : the residual of the sample from the curve of the others in its standard errors, as the normal value
        of its probability under Student's t; of a censored one that of the end that the curve is beyond, 0 within.
        together, together_variance : their sums over a subject's rows are the serial correlation of neighbouring
        samples less what is expected of a fit, and its variance.
    """
    seed = domains.seed(seed)
    if not fit.fitted:
        return pd.DataFrame(columns=[*COLUMNS, *OF_THE_FIT])
    table = fit.residuals.assign(subject=fit.subject)
    low, high = fit.problem.error.normal_scores(
        fit.problem.curve(fit.x, 0).value, fit.problem.ln_sd(fit.x), fit.problem.rows
    )
    low, high = low[: len(table)], high[: len(table)]
    rng = np.random.default_rng(seed)
    residual = np.array(high, float)
    for at in np.flatnonzero((table["status"] != "quantified").to_numpy()):
        residual[at] = scipy.stats.truncnorm.rvs(low[at], high[at], random_state=rng)
    moving = np.diag(fit.covariance)[: len(fit.problem.free)] != 0
    here = standing(fit.problem, fit.x, alone(fit.problem, moving))
    t, degrees = here.left_out
    together, variance = here.neighbours
    return table.assign(
        residual=residual,
        leverage=here.leverage,
        left_out=-np.sign(t) * special.ndtri(special.stdtr(degrees, -np.abs(t))),
        together=together,
        together_variance=variance / len(table),
    )[[*COLUMNS, *OF_THE_FIT]]


def runs(residuals: pd.DataFrame) -> pd.Series:
    r"""Whether residuals of neighbouring samples go together, by subject and output in the order of days.

    One-sided. Of residuals of a fit (`quantile_residuals`) p is that of their serial correlation,
    :math:`\sum_i e_i e_{i+1}/\sum_i e_i^2`, less its expectation over its standard error, both of residuals that a
    curve has been fitted to (Durbin and Watson 1951, doi:10.2307/2332325): they alternate more than the throws of a
    coin, which the count of runs takes for a good fit. The e of a censored sample is its conditional expectation.
    Of other tables p is that of the exact test of Wald and Wolfowitz: the probability, given how many are positive, of
    so few runs.

    Returns
    -------
    Series
        number of runs of signs, how many are expected of independent residuals, and p. With several subjects their
        runs, and their serial correlations, are added up.
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
    if "together" in residuals and residuals["together_variance"].sum() > 0:
        z = residuals["together"].sum() / np.sqrt(residuals["together_variance"].sum())
        p = float(special.ndtr(-z))
    return pd.Series({"runs": seen, "expected": expected, "p": min(p, 1.0)})


def outliers(residuals: pd.DataFrame, level: float = 0.05) -> pd.DataFrame:
    """Samples too far out, so that of those named a share of ``level`` at most is expected to be none.

    By Benjamini and Hochberg (1995, doi:10.1111/j.2517-6161.1995.tb02031.x): where there is no outlier at all, any is
    named with probability ``level``. What is looked at is ``left_out``, how far a sample is from the curve of the
    others: its plain residual is small where it has pulled the curve, and the sd, towards itself. Tables without that
    column are judged by ``residual``. The column ``limit`` is what was exceeded.
    """
    column = "left_out" if "left_out" in residuals else "residual"
    size = np.abs(residuals[column].to_numpy(float))
    p, n = 2 * special.ndtr(-size), max(len(residuals), 1)
    allowed = level * np.arange(1, n + 1) / n
    named = int(np.max(np.flatnonzero(np.sort(p) <= allowed[: len(p)]) + 1, initial=0))
    limit = float(special.ndtri(1 - allowed[max(named, 1) - 1] / 2))
    far = residuals[size >= limit]
    return far.sort_values(column, key=np.abs, ascending=False).assign(limit=limit)


def influence(fit: Fit) -> pd.DataFrame:
    """What leaving out each sample does to the estimates, refitted in one batch.

    Returns
    -------
    DataFrame
        day, output, status, for each free parameter its shift in standard errors of the whole fit, and ``distance``,
        Cook's: the shift measured by the information of the whole fit, divided by the number of free parameters.
        NaN where the rest could not be fitted.
    """
    fit.must_stand_alone("influence")
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


def vpc(
    self: Any,
    *,
    replicates: int = 1000,
    by: str | None = None,
    bins: int | Sequence[float] | None = None,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    level: float = 0.9,
    corrected: bool = False,
    seed: int = 2020,
) -> VPC:
    """Visual predictive check, as `cellkinetics.vpc`: quantiles of the samples beside those simulated.

    Of a population, or a posterior of one, with other patients of it; of single fits each patient with its own
    estimates, where the errors of the samples alone are new; of a comparison by its groups, with its population where
    it has one, else with its fits.
    """
    from cellkinetics.predictive import vpc

    return vpc.vpc(
        self, replicates=replicates, by=by, bins=bins, quantiles=quantiles, level=level, corrected=corrected, seed=seed
    )


def npde(self: Any, *, replicates: int = 1000, imputations: int = 20, by: str | None = None, seed: int = 2020) -> NPDE:
    """Normalised prediction distribution errors, as `cellkinetics.npde`."""
    from cellkinetics.predictive import npde

    return npde.npde(self, replicates=replicates, imputations=imputations, by=by, seed=seed)


def forecast(
    self: Any,
    patient: Study,
    times: npt.ArrayLike,
    *,
    doses: object = None,
    draws: int = 2000,
    level: float = 0.9,
    seed: int = 2020,
) -> Forecast:
    """The course of one more patient given its samples, as `cellkinetics.forecast` under this population alone.

    ``doses`` is what the patient is given instead, such as a second infusion: the samples so far count under their own.
    """
    from cellkinetics.predictive import forecast

    return forecast.forecast(self, patient, times, doses=doses, draws=draws, level=level, seed=seed)


def virtual_trial(
    self: Any,
    times: npt.ArrayLike,
    arms: Mapping[str, object],
    *,
    covariates: GivenCovariates = None,
    inputs: Mapping[str, Any] | None = None,
    patients: int = 10_000,
    populations: int = 100,
    level: float = 0.9,
    seed: int = 2020,
) -> VirtualTrial:
    """Other patients under other regimens, as `cellkinetics.virtual_trial`: ``arms`` is {name: doses}."""
    from cellkinetics.predictive import trial

    return trial.virtual_trial(
        self, times, arms, covariates=covariates, inputs=inputs, patients=patients, populations=populations,
        level=level, seed=seed,
    )  # fmt: skip


@domains.picture
def plot_residuals(
    self: Any, *, by: str | None = None, axes: Sequence[Axes] | None = None, size: Size = None
) -> Figure:
    """Individual weighted residuals (IWRES) over time and over the individual prediction, on two axes.

    ``residual`` of ``.residuals``, in sds of the error from each patient's own curve. Of a censored sample the mark is
    open and that of its limit, beyond which its residual lies; beyond 6 a mark is drawn at 6. Lines are at 0 and at
    1.96, between which 95% lie where the model is right and samples are many; with few samples a patient's curve
    follows them and IWRES are too small.
    ``by`` is the covariate that the colour says; ``size`` is width and height in mm of a new figure.
    """
    from cellkinetics.charts import weighted

    return weighted.plot(getattr(self, "as_fits", self), self.study, by, axes)
