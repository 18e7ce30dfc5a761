r"""Normalised prediction distribution errors (NPDE) of a population, with samples below limits.

The prediction discrepancy of a sample is the share of its simulated values that lie below it, npd its normal score. Of
a sample that is only known to lie between two ends it is drawn between the shares at those ends, and so is that of
every simulated value that the limits would have hidden: to impute the data alone makes good models look bad. The normal
scores of a patient's samples are then decorrelated by the mean and the Cholesky factor of the covariance of its
simulated ones, and npde is the normal score of a decorrelated sample's rank among the decorrelated simulations. If the
model is right they are standard normal, and independent where scores are jointly normal.

Brendel et al. 2006 (doi:10.1007/s11095-006-9067-5) decorrelate the samples themselves, Nguyen et al. 2012
(doi:10.1007/s10928-012-9264-2) draw in the data and in the simulations alike (``cdf`` of R's npde). Scores in place of
samples are the same where ln copies are jointly normal, but for the Monte Carlo error of a rank, and keep a simulated
curve that falls to nothing, whose ln has no end, from ruling the covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.domains import Size
from cellkinetics.errors import ModelError
from cellkinetics.fitting.fits import Fits
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.population.result import PopulationFit
from cellkinetics.predictive import replicates as simulating
from cellkinetics.predictive.described import OTHER_PATIENTS, HasDraws, estimated
from cellkinetics.predictive.replicates import Replicates, strata_of
from cellkinetics.running.phases import Phases
from cellkinetics.saving import Saves, storable
from cellkinetics.words import WIDE, count, labelled, p_equals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TESTS = ("mean", "mean (Wilcoxon)", "variance", "normality", "global")
ALMOST_NOTHING = 1e-9  # a share that is not 0, whose normal score would have no end
LEAST_REPLICATES = 3  # for each sample of a patient: fewer do not tell how samples go together
FEWEST_TESTED = 3
DAYS_TESTED, LEAST_IN_DAYS = 5, 10  # bins of time, and samples of one
AT_MOST = 5000  # values of which the test of Shapiro and Wilk is exact enough


@storable
@dataclass(frozen=True, eq=False)
class NPDE(Saves, HandsOutCopies):
    """Normalised prediction distribution errors.

    Parameters
    ----------
    table
        One row a sample: subject, day (since the first infusion), output, stratum, status, lower, upper, predicted (by
        the population at no random effect), pit (share of the simulated below it), npd and npde (means over
        imputations) and their spread (standard deviation over imputations, 0 where nothing is imputed). The mean of a
        censored sample varies less than one draw: distributions are judged by draws, as ``tests`` and the picture do.
    tests
        By test: statistic, spread over imputations, expected, p (the median over imputations). mean: t test; Wilcoxon's
        signed ranks; variance: chi-squared; normality: W of Shapiro and Wilk; global: the smallest p of the last three
        times three (Bonferroni).
    draws : npd and npde of each imputation: imputation, row (position in the table), npd, npde.
    replicates, imputations, seed : as asked.
    by : the covariate of the strata; "" for none.
    whose : whose samples were simulated: of other patients of the population, and whether at draws of its posterior.
    strata
        One row a group of ``by``: stratum, n samples, mean and variance of its npde, p as "global" of ``tests`` for
        this group alone; NaN with fewer than three samples.
    over_time
        One row a bin of days, up to five with about as many samples each, none where two would have fewer than ten:
        first and last day, n samples, mean of their npde, and p of all bins together (chi-squared of the means, each of
        which is normal about 0 with a variance of 1/n if the model is right; the median over imputations). A curve of
        the wrong shape lies above 0 in some bins and below in others, which the mean of all samples does not show.
    unsolved : simulated patients whose curve could not be solved; they are left out.
    simulated : whether the study says that it is simulated. origin : of which fit it is.
    """

    table: pd.DataFrame
    tests: pd.DataFrame
    draws: pd.DataFrame = field(repr=False)
    replicates: int
    imputations: int
    seed: int
    unsolved: int
    simulated: bool
    origin: Provenance = field(default=Provenance(), repr=False)
    by: str = ""
    strata: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(), repr=False)
    whose: str = OTHER_PATIENTS
    over_time: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(), repr=False)

    def drawn(self, imputation: int = 0) -> pd.DataFrame:
        """The table with npd and npde of one imputation, from 0.

        Raises
        ------
        ValueError
            There are not so many.
        """
        imputation = domains.count(imputation, "imputation", 0)
        if imputation >= self.imputations:
            raise ValueError(
                f"imputation={imputation}: there {'is' if self.imputations == 1 else 'are'} "
                f"{count(self.imputations, 'imputation')}, numbered from 0."
            )
        own = self.draws[self.draws["imputation"] == imputation].set_index("row")
        return self.table.assign(npd=own["npd"], npde=own["npde"])

    @domains.picture
    def plot(self, axes: Sequence[Axes] | None = None, *, which: str = "npde", size: Size = None) -> Figure:
        """One imputation in four panels: over time, over the prediction, against the normal, histogram; with 95% bands.

        ``which`` is "npde", or "npd": the same before a patient's samples are decorrelated, so that a mark is of its
        sample alone; their bands, which are of independent values, are then too narrow.

        Lines over time and prediction are the 5%, 50% and 95% quantiles of a bin, areas where they would lie if the
        model were right. Open triangles are draws for censored samples. With ``by`` each group has a panel over time
        and one against the normal. On four axes where given, all together; ``size`` is width and height in
        mm of a new figure.
        """
        from cellkinetics.figures import npde as npde_plot

        if which not in npde_plot.DRAWN:
            raise ValueError(f"which={which!r}: give {' or '.join(map(repr, npde_plot.DRAWN))}.")
        if self.by and axes is None:
            return npde_plot.plot_strata(self, which)
        return npde_plot.plot(self, axes, which)

    def summary(self) -> str:
        """The errors in words: how they were made, their mean and variance, and what the tests say."""
        censored = int((self.table["status"] != "quantified").sum())
        rows = self.tests.to_dict("index")
        p = {name: float(rows[name]["p"]) for name in TESTS}
        verdict = "none is seen in mean, variance and shape" if p["global"] >= 0.05 else "the model is not right"
        model = self.origin.model.name if self.origin.model else "a model"
        simulated = " (simulated data)" if self.simulated else ""
        text = f"{count(censored, 'censored sample')} and all that is censored in the simulations, "
        text += count(self.imputations, "time")
        lines = [
            f"NPDE of {count(len(self.table), 'sample')} under {model}{simulated}",
            *labelled("simulated", f"{self.replicates:,} studies, {self.whose}", width=WIDE),
            *([] if not self.unsolved else labelled("unsolved", f"{self.unsolved:,} curves, left out", width=WIDE)),
            *labelled("imputed", text if censored else "nothing: no sample is censored", width=WIDE),
        ]
        for name, label in zip(TESTS, ("mean", "Wilcoxon", "variance", "normality"), strict=False):
            spread = f" +- {rows[name]['spread']:.3g} over imputations" if self.imputations > 1 else ""
            lines += labelled(label, f"{rows[name]['statistic']:.4g}{spread}, {p_equals(p[name])}", width=WIDE)
        lines += labelled("together", f"{p_equals(p['global'], 'adjusted p')}: {verdict}", width=WIDE)
        lines += labelled("over time", self._over_time(), width=WIDE)
        for row in self.strata.to_dict("records"):
            text = (
                f"{row['stratum']}: {count(row['n'], 'sample')}, mean {row['mean']:.2f}, variance {row['variance']:.2f}"
            )
            tested = np.isfinite(row["p"])
            lines += labelled(self.by, f"{text}, {p_equals(row['p'])}" if tested else f"{text}, too few", width=WIDE)
        return "\n".join(lines) + "\n"

    def _over_time(self) -> str:
        if not len(self.over_time):
            return f"not looked at: it takes two bins of days of {LEAST_IN_DAYS} samples"
        rows = self.over_time.to_dict("records")
        means = ", ".join(f"{row['mean']:+.2f} (day {row['first']:g} to {row['last']:g})" for row in rows)
        p = float(rows[0]["p"])
        verdict = "the curve has not the shape of the samples" if p < 0.05 else "no trend is seen"
        return f"means {means}, {p_equals(p)}: {verdict}"

    def __repr__(self) -> str:
        mean, variance = (float(self.tests["statistic"][name]) for name in ("mean", "variance"))
        return f"<NPDE of {count(len(self.table), 'sample')}: mean {mean:.2f}, variance {variance:.2f}>"


def npde(
    population: PopulationFit | HasDraws,
    *,
    replicates: int = 1000,
    imputations: int = 20,
    by: str | None = None,
    seed: int = 2020,
) -> NPDE:
    """Normalised prediction distribution errors of every sample in the likelihood.

    Parameters
    ----------
    population : a fit of `fit_population`, or a posterior of `sample_posterior`, a draw of it for each replicate.
    replicates : studies that are simulated, at least 100. The tails of npde end at its normal score, 3.3 of 1,000.
    imputations : draws of what is censored; 1 where nothing is.
    by
        covariate of `study.covariates` by whose groups npde are looked at too: where the model lacks its effect they
        lie above 0 in one group and below it in another. Or the name of a comedication, such as "IL-2": patients who
        were ever given it, and those who never were.
    seed : of all that is drawn.

    Returns
    -------
    NPDE
        ``.table``, ``.tests``, ``.plot()``, ``.summary()``. With few patients the estimates follow the samples and npde
        vary less than if the population were known.

    Raises
    ------
    TypeError
        No population.
    ModelError
        Fits of single patients, which have no other patients.
    ValueError
        An unknown covariate; fewer replicates than three for each sample of a patient.

    Examples
    --------
    .. code-block:: python

       population = ck.fit_population(ck.models.load("nk_decline"), ck.example(), free=["F", "alpha"])
       errors = ck.npde(population)
       print(errors.summary())
       errors.plot().savefig("npde.png")
    """
    phases = Phases()
    k, j = domains.count(replicates, "replicates", 100), domains.count(imputations, "imputations")
    seed = domains.seed(seed)
    if isinstance(population, Fits):
        raise ModelError(
            "npde ranks each sample among those of other patients of a population, and single fits have none: each "
            "patient has parameters of its own. Take ck.fit_population(...).npde(), or fits.vpc(), fits.diagnostics()."
        )
    given = estimated(population)
    fit, study = given.fit, given.fit.study
    members, names = strata_of(study, fit.subjects, by, fit.model)
    most = max(len(problem.samples) for problem in fit.patients.problems)
    if k < LEAST_REPLICATES * most:
        raise ValueError(
            f"replicates={k}: one patient has {most} samples, whose correlations need {LEAST_REPLICATES * most} at "
            f"least. Give replicates={max(1000, 10 * most)}."
        )
    with phases("simulating"):
        drawn = simulating.of_population(fit.population, given.theta, k, seed, given.drawn)
    with phases("ranking"):
        z, pit = errors_of(drawn, j, np.random.default_rng([seed, 1]))
    j = z.shape[1]
    rows = drawn.rows.drop(columns=["lloq", "uloq"])
    rows.insert(list(rows).index("output") + 1, "stratum", rows["subject"].map(members))
    spread = z.std(axis=1, ddof=1) if j > 1 else np.zeros((2, z.shape[2]))
    table = rows.assign(
        predicted=np.exp(drawn.predicted), pit=pit.mean(axis=0), npd=z[0].mean(axis=0), npd_spread=spread[0],
        npde=z[1].mean(axis=0), npde_spread=spread[1],
    )  # fmt: skip
    imputation, row = np.repeat(np.arange(j), len(rows)), np.tile(np.arange(len(rows)), j)
    draws = pd.DataFrame({"imputation": imputation, "row": row, "npd": z[0].ravel(), "npde": z[1].ravel()})
    options = {"replicates": k, "imputations": j, "by": by, "seed": seed}
    timings = phases.done(f"npde of {fit.model.name}, {k} replicates")
    origin = Provenance("", study.sha256, fit.model, options, phases.total, timings)
    unsolved = int((~drawn.solved).sum())
    each = _by_stratum(table["stratum"].to_numpy(object), names, z[1]) if by is not None else pd.DataFrame()
    return NPDE(
        table, tests_of(z[1]), draws, k, j, seed, unsolved, study.simulated, origin, by or "", each, given.whose,
        over_time_of(table["day"].to_numpy(float), z[1]),
    )  # fmt: skip


def over_time_of(days: Floats, z: Floats) -> pd.DataFrame:
    """See `NPDE.over_time`: of samples on ``days`` (N,) with npde (j, N); empty of too few."""
    known = np.isfinite(z).all(axis=0)
    days, z = days[known], z[:, known]
    count_of = min(DAYS_TESTED, len(days) // LEAST_IN_DAYS)
    if count_of < 2:
        return pd.DataFrame()
    ends = np.unique(np.quantile(days, np.linspace(0, 1, count_of + 1)[1:-1], method="inverted_cdf"))
    of = np.searchsorted(ends, days, side="left")
    bins = [np.flatnonzero(of == at) for at in range(len(ends) + 1) if (of == at).any()]
    if len(bins) < 2:
        return pd.DataFrame()
    means = np.array([z[:, members].mean(axis=1) for members in bins])
    sizes = np.array([len(members) for members in bins], float)
    p = float(np.median(special.chdtrc(len(bins), sizes @ means**2)))
    rows = [
        (days[members].min(), days[members].max(), len(members), own.mean(), p)
        for members, own in zip(bins, means, strict=True)
    ]
    return pd.DataFrame(rows, columns=["first", "last", "n", "mean", "p"])


def _by_stratum(stratum: np.ndarray[Any, Any], names: Sequence[str], z: Floats) -> pd.DataFrame:
    """See `NPDE.strata`."""
    rows = []
    for name in names:
        own = z[:, stratum == name]
        n = own.shape[1]
        variance = float(own.var(axis=1, ddof=1).mean()) if n > 1 else np.nan
        p = dict(zip(TESTS, tests_of(own)["p"].to_numpy(float), strict=True)) if n >= FEWEST_TESTED else {}
        rows.append((name, n, float(own.mean()), variance, p.get("global", np.nan)))
    return pd.DataFrame(rows, columns=["stratum", "n", "mean", "variance", "p"])


def errors_of(drawn: Replicates, imputations: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Npd and npde (2, j, N) and prediction discrepancies (j, N) of a study; j is 1 where nothing is censored."""
    lower, upper = drawn.rows["lower"].to_numpy(float), drawn.rows["upper"].to_numpy(float)
    j = 1 if (lower == upper).all() and (drawn.lower == drawn.upper).all() else imputations
    z = np.full((2, j, len(lower)), np.nan)
    for at in range(len(drawn.subjects)):
        mine, solved = drawn.place == at, drawn.solved[:, at]
        ends = _shares(drawn.copies[solved][:, mine], drawn.lower[solved][:, mine], drawn.upper[solved][:, mine])
        own = _observed(drawn.copies[solved][:, mine], lower[mine], upper[mine])
        scores, seen = _Between(*ends), _Between(*own)
        for number in range(j if scores.several or seen.several else 1):
            simulated = scores.drawn(rng)
            one = seen.drawn(rng)
            z[0, number, mine], z[1, number, mine] = one, _decorrelated(simulated, one)
        if not (scores.several or seen.several):
            z[:, 1:, mine] = z[:, :1, mine]
    return z, special.ndtr(z[0])


def _shares(copies: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """(k, n) both ends of the prediction discrepancy of each simulated value among the others."""
    k = len(copies)
    rank = np.argsort(np.argsort(copies, axis=0, kind="stable"), axis=0)
    middle = (rank + 0.5) / k
    known, ordered = lower == upper, np.sort(copies, axis=0)
    low, high = np.zeros_like(copies), np.ones_like(copies)
    for at in range(copies.shape[1]):
        low[:, at] = _below(ordered[:, at], lower[:, at]) / k
        high[:, at] = _below(ordered[:, at], upper[:, at]) / k
    return np.where(known, middle, low), np.where(known, middle, high)


def _observed(copies: Floats, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """(n,) the same of the samples: one more among k."""
    k, ordered, known = len(copies), np.sort(copies, axis=0), lower == upper
    less = np.array([_below(ordered[:, at], lower[at]) for at in range(len(lower))], float)
    more = np.array([_below(ordered[:, at], upper[at]) for at in range(len(upper))], float)
    level = np.array([np.searchsorted(ordered[:, at], upper[at], side="right") for at in range(len(upper))], float)
    middle = (0.5 * (less + level) + 0.5) / (k + 1)
    return np.where(known, middle, less / (k + 1)), np.where(known, middle, (more + 1) / (k + 1))


def _below(ordered: Floats, end: Floats) -> Floats:
    """How many simulated values lie below an end; none below 0, where a normal error may put some."""
    return np.where(end > 0, np.searchsorted(ordered, end, side="left"), 0).astype(float)


class _Between:
    """Normal scores of prediction discrepancies, of which those with two ends are drawn between them."""

    def __init__(self, low: Floats, high: Floats) -> None:
        self._where = low < high
        self.several = bool(self._where.any())
        self._low, self._width = low[self._where], (high - low)[self._where]
        self._known = special.ndtri(np.clip(low, ALMOST_NOTHING, 1 - ALMOST_NOTHING))

    def drawn(self, rng: np.random.Generator) -> Floats:
        """Once."""
        scores = self._known.copy()
        share = self._low + self._width * rng.random(len(self._low))
        scores[self._where] = special.ndtri(np.clip(share, ALMOST_NOTHING, 1 - ALMOST_NOTHING))
        return scores


def _decorrelated(simulated: Floats, seen: Floats) -> Floats:
    """(n,) normal scores of a patient's decorrelated scores among the simulated ones (k, n).

    The i-th is what i - 1 others and a mean, known from k draws, leave of it: seen, it varies k/(k - i) times as much
    as it would if they were known, and the draws themselves as much less. Without that a right model with 130 samples
    a patient has a variance of 1.14.
    """
    mean = simulated.mean(axis=0)
    factor = np.linalg.cholesky(np.atleast_2d(np.cov(simulated.T)))
    both = np.concatenate([simulated, seen[None]]) - mean
    apart = scipy.linalg.solve_triangular(factor, both.T, lower=True).T
    k, n = simulated.shape
    less = (apart[:-1] < apart[-1] * (1 - np.arange(1, n + 1) / k)).sum(axis=0)
    return special.ndtri((less + 0.5) / (len(simulated) + 1))


def tests_of(z: Floats) -> pd.DataFrame:
    """Tests of npde (j, N) of each imputation, put together."""
    each = [_tests(one[np.isfinite(one)]) for one in z]
    statistic, p = (np.array([[test[side] for test in one] for one in each]) for side in (0, 1))
    spread = statistic.std(axis=0, ddof=1) if len(z) > 1 else np.zeros(len(TESTS))
    columns = {
        "statistic": statistic.mean(axis=0), "spread": spread, "expected": [0.0, np.nan, 1.0, np.nan, np.nan],
        "p": np.median(p, axis=0),
    }  # fmt: skip
    return pd.DataFrame(columns, index=pd.Index(TESTS, name="test"))


def _tests(z: Floats) -> list[tuple[float, float]]:
    """(statistic, p) in the order of `TESTS`."""
    n, mean, variance = len(z), float(z.mean()), float(z.var(ddof=1))
    t = scipy.stats.ttest_1samp(z, 0.0)
    ranks = scipy.stats.wilcoxon(z)
    share = float(special.chdtr(n - 1, (n - 1) * variance))
    normal = scipy.stats.shapiro(z if n <= AT_MOST else z[:: -(-n // AT_MOST)])
    p = [float(ranks.pvalue), 2 * min(share, 1 - share), float(normal.pvalue)]
    together = min(1.0, 3 * min(p))
    return [
        (mean, float(t.pvalue)), (float(ranks.statistic), p[0]), (variance, p[1]), (float(normal.statistic), p[2]),
        (min(p), together),
    ]  # fmt: skip
