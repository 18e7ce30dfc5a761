"""Visual predictive checks: quantiles of the samples beside those of the study simulated again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Flags, Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.domains import Size
from cellkinetics.errors import ModelError
from cellkinetics.fitting.fits import Fits
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.population.result import PopulationFit
from cellkinetics.predictive import replicates as simulating
from cellkinetics.predictive.bins import bins_of
from cellkinetics.predictive.censored_quantiles import censored_quantiles
from cellkinetics.predictive.described import HasDraws, estimated
from cellkinetics.predictive.replicates import Replicates
from cellkinetics.running.phases import Phases
from cellkinetics.saving import Saves, storable
from cellkinetics.words import WIDE, count, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What a bin is known by in both tables.
LEAST_REPLICATED = 20
KEYS = ["output", "stratum", "bin", "day", "first_day", "last_day", "n"]


@storable
@dataclass(frozen=True, eq=False)
class VPC(Saves, HandsOutCopies):
    """A visual predictive check.

    Parameters
    ----------
    table
        One row a stratum, bin and quantile: output, stratum, bin, day (median of the samples), first_day, last_day, n,
        limit and highest_limit (of its samples, corrected where samples are), upper_limit (the highest upper one),
        quantile, observed, low, mid, high (of the simulated quantile: the median and the ends of its band), outside
        (whether the observed one lies beyond them), note. In the unit of the samples. A quantile that lies among what
        is below the limit, or among what is above the upper one, is NaN, and the note says so: "below the limit: low"
        or "above the upper limit: observed, high".
    below
        One row a stratum and bin: the share of its samples below their limits: observed, low, mid, high, outside.
    samples
        What was looked at: subject, day, output, stratum, bin, status, lower, upper, value (what is drawn, the limit
        where censored), predicted (by the population for no random effect); corrected where asked.
    bins : how samples were put together, in words.
    by : the covariate of the strata; "" for none.
    quantiles, level, corrected, replicates, seed : as asked.
    unsolved : simulated patients whose curve could not be solved, of all; they are in no band.
    left_out : {subject: why it is not in it}.
    whose : "other patients of the population" or "each patient's own parameters".
    unit : of the samples. simulated : whether the study says that it is simulated itself.
    origin : of which fit it is.
    """

    table: pd.DataFrame
    below: pd.DataFrame
    samples: pd.DataFrame = field(repr=False)
    bins: str
    by: str
    quantiles: tuple[float, ...]
    level: float
    corrected: bool
    replicates: int
    seed: int
    unsolved: int
    left_out: dict[str, str]
    whose: str
    unit: str
    simulated: bool
    origin: Provenance = field(default=Provenance(), repr=False)

    @domains.picture
    def plot(self, *, columns: int = 3, axes: Sequence[Axes] | None = None, size: Size = None) -> Figure:
        """A column of two panels a stratum: the quantiles, and below them the share below the limit.

        Lines with marks are what was observed, areas the bands of what was simulated and thin lines their medians. A
        quantile is drawn where it lies between the limits: it stops at them. Samples above an upper limit are triangles
        at it.

        Parameters
        ----------
        columns : strata side by side.
        axes : two for each stratum, as of ``plt.subplots(2, strata)``: above all quantiles, below all shares.
        size : width and height in mm of a new figure.
        """
        from cellkinetics.figures import vpc as vpc_plot

        return vpc_plot.plot(self, domains.count(columns, "columns"), axes)

    def summary(self) -> str:
        """The check in words: what was simulated, bins, and how much of what was observed lies beyond the bands."""
        seen = self.table[self.table[["observed", "high"]].notna().any(axis=1) | self.table["outside"]]
        above = int((self.samples["status"] == "above").sum())
        of, out = len(seen), int(seen["outside"].sum())
        beyond = self.below[self.below["outside"]]
        lines = [
            f"Visual predictive check of {self.origin.model.name if self.origin.model else 'a model'}"
            + (" (simulated data)" if self.simulated else ""),
            *labelled("simulated", f"{self.replicates:,} studies, {self.whose}", width=WIDE),
            *(labelled("unsolved", self._unsolved, width=WIDE) if self.unsolved else []),
            *[line for who, why in self.left_out.items() for line in labelled("left out", f"{who}: {why}", width=WIDE)],
            *labelled("bins", self.bins, width=WIDE),
            *(labelled("corrected", CORRECTED, width=WIDE) if self.corrected else []),
            *labelled(
                "quantiles",
                f"{out} of {of} observed ones lie beyond the {self.level:.0%} band of the simulated, where about "
                f"{(1 - self.level) * of:.0f} would by chance; where both lie "
                f"{'beyond a limit' if above else 'below the limit'} nothing is counted",
                width=WIDE,
            ),
            *labelled("below", self._below(beyond), width=WIDE),
            *(labelled("above", f"{count(above, 'sample')} {ABOVE_LIMIT}", width=WIDE) if above else []),
        ]
        return "\n".join(lines) + "\n"

    def _below(self, beyond: pd.DataFrame) -> str:
        if not self.below["observed"].any() and not self.below["high"].any():
            return "no sample is below a limit, nor does the model put one there"
        text = f"the share below the limit lies beyond its band in {len(beyond)} of {count(len(self.below), 'bin')}"
        which = [
            f"day {row['day']:.4g}" + (f" of {row['stratum']}" if self.by else "")
            + f" ({row['observed']:.0%}, simulated {row['low']:.0%} to {row['high']:.0%})"
            for _, row in beyond.head(5).iterrows()
        ]  # fmt: skip
        return f"{text}: {', '.join(which)}" if which else text

    @property
    def _unsolved(self) -> str:
        patients = self.samples["subject"].nunique()
        return f"{self.unsolved:,} of {self.replicates * patients:,} patients' curves; they are left out of the bands"

    def __repr__(self) -> str:
        strata = f" by {self.by}" if self.by else ""
        return f"<VPC{strata} of {self.replicates:,} replicates, {self.bins}>"


CORRECTED = (
    "each sample, simulated value and limit times the median prediction of its bin over its own (Bergstrand 2011); "
    "what is below its limit stays below its corrected limit"
)

ABOVE_LIMIT = "above an upper limit; quantiles and bands end at it"


@runtime_checkable
class Compared(Protocol):
    """What compares groups of patients by fits of them, as a `Comparison` does."""

    def checked(self, by: str | None) -> tuple[PopulationFit | Fits, str]:
        """The fits, and the covariate of the strata: that of the comparison where ``by`` is None."""
        ...


def _several(quantiles: float | Sequence[float]) -> tuple[float, ...]:
    """One may stand without a list."""
    return tuple(quantiles) if isinstance(quantiles, Sequence | np.ndarray) else (quantiles,)


def vpc(
    result: PopulationFit | HasDraws | Fits | Compared,
    *,
    replicates: int = 1000,
    by: str | None = None,
    bins: int | Sequence[float] | None = None,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    level: float = 0.9,
    corrected: bool = False,
    seed: int = 2020,
) -> VPC:
    r"""Visual predictive check: quantiles of the samples over time beside those of the study simulated again.

    Every replicate has each patient's own days, doses, covariates and limits. A simulated value below the limit of its
    sample is below the limit, as the sample would be. Quantiles of a bin, observed and simulated alike, are those of
    the product-limit estimator for values below limits, which with one limit ranks them at the bottom; a quantile
    that lies there is not known, and is not drawn; nor is one that lies among values above an upper limit. With
    several upper limits they are those of the most likely distribution of such values (Turnbull 1976). What the
    samples below the limit say is in the share of them, a check of its own: a model can be right above the limit
    and wrong below it.

    Parameters
    ----------
    result
        a `PopulationFit`, whose other patients are drawn; or a `PopulationPosterior`, each replicate of which is of the
        population at one of its draws; or `Fits`, each patient with its own estimates, where only
        the errors of the samples are new; or a `Comparison` of cohorts, for its population where it has one, else for
        the fits that were compared.
    replicates : studies that are simulated, at least 20.
    by
        covariate of `study.covariates` by which to stratify, such as "cohort" or "dose"; None for all together, and
        of a comparison for its groups. The name of a comedication, such as "IL-2": patients who were ever given it,
        and those who never were.
    bins
        samples that are looked at together: by nominal visit, or by the visits that the days show, where three quarters
        of the samples are of visits at which half of the patients came, else by quantiles of time. A number asks for
        so many by quantiles of time, days for bins between them. The result says which.
    quantiles : from 0 to 1. level : of the bands, day by day.
    corrected
        for a population, whether samples are corrected by its prediction (Bergstrand 2011,
        doi:10.1208/s12248-011-9255-z), so that doses and covariates can be looked at together: with f the prediction
        for no random effect, ln y becomes :math:`\ln y + \ln f_\text{bin} - \ln f`, f_bin the median of the bin. The
        limit is corrected alike, and a censored sample stays censored at its corrected limit.
    seed : of all that is drawn.

    Returns
    -------
    VPC
        ``.table``, ``.below``, ``.plot()``, ``.summary()``.

    Raises
    ------
    TypeError
        Neither a population nor fits nor a comparison.
    ValueError
        An unknown covariate, or a quantile that is none; a comparison of samples alone, or by doses that are each
        patient's own.
    ModelError
        Nobody was fitted; ``corrected`` of single fits, which have no prediction but their own curve.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> high = ck.example().select(cohort="1e7/kg")
    >>> fits = ck.fit_each(ck.models.load("nk_decline"), high, starts=1, progress=False)
    >>> found = ck.vpc(fits, replicates=20)
    >>> found.bins
    'by nominal visit (12 visits)'

    Of a population, by dose:

    .. code-block:: python

       found = ck.vpc(population, by="dose")
       found.plot().savefig("vpc.png")
    """
    phases = Phases()
    m, level, seed = domains.count(replicates, "replicates", LEAST_REPLICATED), domains.level(level), domains.seed(seed)
    corrected = domains.flag(corrected, "corrected")
    shares = tuple(domains.level(share, "quantiles") for share in domains.some(_several(quantiles), "quantiles", "0.5"))
    if isinstance(result, Compared):
        result, by = result.checked(by)
    if isinstance(result, PopulationFit | HasDraws):
        given = estimated(result)
        with phases("simulating"):
            drawn = simulating.of_population(given.fit.population, given.theta, m, seed, given.drawn)
        whose, model, left = given.whose, given.fit.model, dict(given.fit.left_out)
    elif isinstance(result, Fits):
        if corrected:
            raise ModelError(
                "corrected=True is by the prediction of a population, and single fits have none but their own curves. "
                "Take ck.fit_population(...).vpc(corrected=True), or by=."
            )
        with phases("simulating"):
            drawn = simulating.of_fits(result, m, seed)
        whose = "each patient's own parameters, new errors of the samples alone"
        model, left = next(iter(result.values())).model, {s: f.outcome for s, f in result.items() if not f.fitted}
    else:
        raise TypeError(f"result is a {type(result).__name__}. Give a population of ck.fit_population, or fits.")
    with phases("comparing"):
        rows = drawn.rows
        members, names = simulating.strata_of(drawn.study, drawn.subjects, by, model)
        put = bins_of(drawn.study, rows["subject"].tolist(), rows["day"].to_numpy(float), bins)
        rows = rows.assign(stratum=rows["subject"].map(members), bin=put.number)
        ends = _Ends.of(drawn, rows, corrected)
        rows = ends.into(rows, drawn.predicted)
        tables = [_bin(where, rows, ends, shares, level) for where in _bins(rows, names)]
    study = drawn.study
    table, below = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    options = {
        "replicates": m,
        "by": by,
        "quantiles": list(shares),
        "level": level,
        "corrected": corrected,
        "seed": seed,
    }
    timings = phases.done(f"visual predictive check of {model.name}, {m} replicates")
    return VPC(
        table, below, rows, put.words, by or "", shares, level, corrected, m, seed, int((~drawn.solved).sum()),
        left, whose, study.unit, study.simulated,
        Provenance("", study.sha256, model, options, phases.total, timings),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Ends:
    """Observed (the first row) and simulated (m rows) samples on the ln scale.

    value : (m + 1, N) ln of what is known or of the limit that it lies beyond; NaN not solved.
    below, above : (m + 1, N) whether it lies below, or above. shift : (N,) by which it was corrected. limit : (N,) ln,
    -inf without. upper_limit : (N,) ln, inf without.
    """

    value: Floats
    below: Flags
    above: Flags
    shift: Floats
    limit: Floats
    upper_limit: Floats

    @classmethod
    def of(cls, drawn: Replicates, rows: pd.DataFrame, corrected: bool) -> _Ends:
        lower = np.concatenate([rows["lower"].to_numpy(float)[None], drawn.lower])
        upper = np.concatenate([rows["upper"].to_numpy(float)[None], drawn.upper])
        below = (lower < upper) & np.isfinite(upper)
        with np.errstate(divide="ignore"):
            value = np.log(np.where(below, upper, lower))
            limit = np.log(np.fmax(np.nan_to_num(rows["lloq"].to_numpy(float)), np.where(below[0], upper[0], 0.0)))
        shift = np.zeros(len(rows))
        if corrected:
            middle = (
                pd.Series(drawn.predicted).groupby([rows["stratum"], rows["output"], rows["bin"]]).transform("median")
            )
            shift = middle.to_numpy(float) - drawn.predicted
        value = value + shift
        value[1:][~drawn.solved_rows] = np.nan
        highest = np.log(np.nan_to_num(rows["uloq"].to_numpy(float), nan=np.inf))
        return cls(value, below, (lower < upper) & ~below, shift, limit + shift, highest + shift)

    def into(self, rows: pd.DataFrame, predicted: Floats) -> pd.DataFrame:
        """The table of what was looked at."""
        factor = np.exp(self.shift)
        names = ["subject", "day", "output", "stratum", "bin", "status"]
        return rows[names].assign(
            lower=rows["lower"] * factor, upper=rows["upper"] * factor,
            value=np.where(np.isfinite(self.value[0]), np.exp(self.value[0]), rows["lower"] * factor),
            limit=np.where(np.isfinite(self.limit), np.exp(self.limit), np.nan),
            predicted=np.exp(predicted + self.shift),
        )  # fmt: skip


def _bins(rows: pd.DataFrame, names: Sequence[str]) -> Iterator[npt.NDArray[np.intp]]:
    """Places of the samples of each output, stratum and bin, in that order."""
    for output in dict.fromkeys(rows["output"]):
        for stratum in names:
            own = rows[(rows["output"] == output) & (rows["stratum"] == stratum)]
            for number in sorted(own["bin"].unique()):
                yield np.flatnonzero((own["bin"] == number).reindex(rows.index, fill_value=False).to_numpy(bool))


def _bin(
    where: npt.NDArray[np.intp], rows: pd.DataFrame, ends: _Ends, shares: Sequence[float], level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One bin of both tables."""
    own = rows.iloc[where]
    days = own["day"]
    key: dict[str, Any] = {
        "output": own["output"].iloc[0], "stratum": own["stratum"].iloc[0], "bin": int(own["bin"].iloc[0]),
        "day": float(days.median()), "first_day": float(days.min()), "last_day": float(days.max()), "n": len(own),
    }  # fmt: skip
    sides = [(1 - level) / 2, 0.5, (1 + level) / 2]
    found = censored_quantiles(ends.value[:, where], ends.below[:, where], shares, ends.above[:, where])
    limits = np.exp(ends.limit[where][np.isfinite(ends.limit[where])])
    lowest, highest = (float(limits.min()), float(limits.max())) if len(limits) else (np.nan, np.nan)
    uppers = ends.upper_limit[where]
    upper = float(np.max(uppers, initial=-np.inf, where=np.isfinite(uppers)))
    key_of_limits = {"limit": lowest, "highest_limit": highest, "upper_limit": _shown(upper)}
    quantiles = []
    for at, share in enumerate(shares):
        simulated = found[1:, at]
        bounds = _ordered(simulated[~np.isnan(simulated)], sides)
        ln = dict(zip(("observed", "low", "mid", "high"), [found[0, at], *bounds], strict=True))
        notes = [
            f"{where_to}: {', '.join(hidden)}"
            for where_to, end in (("below the limit", -np.inf), ("above the upper limit", np.inf))
            if (hidden := [name for name, value in ln.items() if value == end])
        ]
        outside = bool(ln["observed"] < ln["low"] or ln["observed"] > ln["high"])
        shown = {name: _shown(value) for name, value in ln.items()}
        quantiles.append(
            {**key, **key_of_limits, "quantile": share, **shown, "outside": outside, "note": "; ".join(notes)}
        )
    solved = ~np.isnan(ends.value[1:, where])
    hits, total = (ends.below[1:, where] & solved).sum(axis=1), solved.sum(axis=1)
    below = hits[total > 0] / total[total > 0]
    low, mid, high = np.quantile(below, sides) if len(below) else (np.nan,) * 3
    observed = float(ends.below[0, where].mean())
    outside = bool(observed < low or observed > high)
    ends_of = {"observed": observed, "low": float(low), "mid": float(mid), "high": float(high), "outside": outside}
    return pd.DataFrame(quantiles), pd.DataFrame([{**key, **ends_of}])


def _shown(ln: float) -> float:
    """Copies; NaN of what lies beyond a limit, or of none."""
    return float(np.exp(ln)) if np.isfinite(ln) else np.nan


def _ordered(values: Floats, sides: Sequence[float]) -> list[float]:
    """Quantiles of numbers of which some are -inf or inf: the nearest that is there, with nothing between."""
    if not len(values):
        return [np.nan] * len(sides)
    return [float(np.quantile(values, side, method="nearest")) for side in sides]
