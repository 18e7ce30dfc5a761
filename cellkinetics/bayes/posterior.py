"""The posterior of a population: draws with their table, whether chains mixed, and where they go from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.bayes import samples
from cellkinetics.copies import HandsOutCopies
from cellkinetics.domains import Size
from cellkinetics.errors import ModelError
from cellkinetics.fitting import diagnostics as handed
from cellkinetics.fitting.table import correlations_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.modelling.typical import Typical
from cellkinetics.population import prediction
from cellkinetics.population.result import PopulationFit
from cellkinetics.saving import Saves, storable
from cellkinetics.words import WIDE, count, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_R_HAT, FEWEST_EFFECTIVE = 1.01, 100.0  # of a label; the second of a chain
ALL_SHOWN = 3  # labels in a sentence
MOST_OF_A_PLAN = 1000  # draws
SEED_OF_NEW_SAMPLES = 1  # added to the seed


@storable
@dataclass(frozen=True, eq=False)
class PopulationPosterior(Saves, HandsOutCopies):
    """Draws of all that a population estimates, and of every patient's parameters.

    Parameters
    ----------
    parameters
        By name, as `PopulationFit.parameters`: kind, mean, sd, median, lower and upper (95%, quantiles) on the natural
        scale, of a mean that of the median patient; unit; ess_bulk and ess_tail, independent draws that would tell its
        middle and its 5% and 95% points as well; r_hat of ranks; mc_error, Monte Carlo error of the mean; prior in
        words; estimate, where `fit_population` ended.
    individuals : one row a subject and random parameter: subject, parameter, mean, lower, upper, natural scale.
    outcome : "mixed", or in words what is not to be trusted, and what to do.
    method : "gibbs" or "nuts". chains, warmup, seed, seconds : as asked, and how long it took.
    labels : of ``v``. random, subjects : of ``phi``. model, unit, simulated : of the study.
    v : (chains, draws, d) on the scale of estimation: means and coefficients, ln of sds, atanh of correlations.
    phi : (chains, draws, n, q) every patient's parameters on that scale.
    natural : (chains, draws, d) as in the table.
    log_likelihood : (chains, draws) of ln(copies), given the patients' parameters.
    population : the fit from whose end it was sampled; None of a file of the time before it was kept.
    accepted : (chains,) share of accepted moves. diverged : (chains, draws) of NUTS; nothing of Gibbs sampling does.
    """

    parameters: pd.DataFrame
    individuals: pd.DataFrame
    outcome: str
    method: str
    warmup: int
    seed: int
    seconds: float
    labels: tuple[str, ...]
    random: tuple[str, ...]
    subjects: tuple[str, ...]
    unit: str
    simulated: bool
    v: Floats = field(repr=False)
    phi: Floats = field(repr=False)
    natural: Floats = field(repr=False)
    log_likelihood: Floats = field(repr=False)
    accepted: Floats = field(repr=False)
    diverged: Floats = field(repr=False)
    origin: Provenance = field(default=Provenance(), repr=False)
    population: PopulationFit | None = field(default=None, repr=False)

    @property
    def mixed(self) -> bool:
        """Whether the chains told the same, with draws enough, and none diverged."""
        return self.outcome == WELL_MIXED

    @property
    def chains(self) -> int:
        """How many."""
        return len(self.v)

    @property
    def divergences(self) -> int:
        """Draws at which the path of NUTS left the energy; 0 of Gibbs sampling."""
        return int(np.sum(self.diverged > 0))

    def typical(self, dose: float | None = None) -> Typical:
        """What `power` and `identifiability` take of it: as `PopulationFit.typical` at the means of the draws.

        `power` has besides up to 1,000 draws, of which each simulated study is of another: what is not known of the
        population is in the chances.

        Parameters
        ----------
        dose : at which, where it drives a parameter.

        Raises
        ------
        ModelError
            It was read from a file of the time before its population was kept.
        """
        if self.population is None:
            raise ModelError("this posterior was saved without its population by an earlier version: sample it again.")
        v = np.asarray(self.v).reshape(-1, self.v.shape[-1])
        some = np.random.default_rng(self.seed).permutation(len(v))[:MOST_OF_A_PLAN]
        return prediction.typical_of(self.population, dose, v[some])

    vpc = handed.vpc
    npde = handed.npde
    forecast = handed.forecast
    virtual_trial = handed.virtual_trial

    @cached_property
    def draws(self) -> pd.DataFrame:
        """One row a draw: chain, draw, and a column an estimate, natural scale."""
        m, n, d = self.natural.shape
        table = pd.DataFrame(self.natural.reshape(m * n, d), columns=list(self.labels))
        table.insert(0, "chain", np.repeat(np.arange(m), n))
        table.insert(1, "draw", np.tile(np.arange(n), m))
        return table

    @property
    def correlations(self) -> pd.DataFrame:
        """Of the draws of all chains on the estimation scale (mostly logarithms); NaN for what does not vary."""
        covariance = np.atleast_2d(np.cov(self.v.reshape(-1, self.v.shape[-1]).T))
        return correlations_of(pd.DataFrame(covariance, index=list(self.labels), columns=list(self.labels)))

    @cached_property
    def inference_data(self) -> Any:
        """The draws as ArviZ has them.

        Groups: posterior (natural scale), sample_stats, and, where the population is at hand, log_likelihood (of
        ln(copies) of each sample given its patient's parameters, of a censored one that of what is known, 0 of one
        that every draw is certain of), which ``arviz.loo`` takes; posterior_predictive (samples of the same patients
        drawn anew, before limits are looked at); observed_data (value, NaN unless quantified) and constant_data
        (subject, day, output, status, lower and upper end, lower and upper limit of each sample, NaN without: what a
        draw beyond one would be known as).

        Raises
        ------
        ImportError
            arviz, of the extra ``bayes``, is not installed.
        """
        import warnings

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import arviz
        except ImportError:
            raise ImportError("inference_data needs arviz: pip install arviz.") from None
        columns = {label: self.natural[..., at] for at, label in enumerate(self.labels)}
        columns |= {f"ln_or_logit {name}": self.phi[..., at] for at, name in enumerate(self.random)}
        own = {f"ln_or_logit {name}": ["subject"] for name in self.random}
        stats = {"diverging": self.diverged > 0, "lp": self.log_likelihood}
        coords: dict[str, Any] = {"subject": list(self.subjects)}
        if self.population is None:
            return arviz.from_dict(posterior=columns, sample_stats=stats, coords=coords, dims=own)
        m, n, d = self.v.shape
        phi = self.phi.reshape(m * n, *self.phi.shape[2:])
        found = samples.at_draws(self.population, self.v.reshape(m * n, d), phi, self.seed + SEED_OF_NEW_SAMPLES)
        rows, name = found.rows, next(iter(self.population.model.outputs))
        told = {"subject": "of_subject", "day": "day", "output": "of_output", "status": "status"}
        known = ("lower", "upper", "lloq", "uloq")
        named = [name, *known, *told.values()]
        ends = {end: rows[end].to_numpy(float) for end in known}
        return arviz.from_dict(
            posterior=columns, sample_stats=stats,
            log_likelihood={name: samples.settled(found.ln_density).reshape(m, n, -1)},
            posterior_predictive={name: found.copies.reshape(m, n, -1)},
            observed_data={name: rows["value"].to_numpy(float)},
            constant_data=ends | {new: rows[key].to_numpy(float if key == "day" else str) for key, new in told.items()},
            coords={**coords, "sample": np.arange(len(rows))}, dims={**own, **{key: ["sample"] for key in named}},
        )  # fmt: skip

    @cached_property
    def priors(self) -> pd.DataFrame:
        """By parameter: distribution; unit, that of its centre; scale on which it is, which is that of its sd.

        A unit of a level is that of the study, whatever the model's. Of a coefficient and a spread the numbers are on
        the scale of estimation: of a spread of a parameter on the log scale, sd between 0.5 is 0.5 of ln.
        """
        table = self.parameters[["prior", "unit"]].rename(columns={"prior": "distribution"})
        model = self.population.model if self.population is not None else self.origin.model
        given = {} if model is None else model.parameters
        of_mean = {"log": "ln", "logit": "logit", "identity": "as it is"}
        scale = []
        for name, row in zip(table.index.astype(str), self.parameters.to_dict("records"), strict=True):
            of_sd = "as it is" if row["prior"].startswith("half-t") else "ln"
            mean = of_mean[given[name].scale] if name in given else "as it is"
            scale.append({"mean": mean, "coefficient": "as it is", "correlation": "as it is"}.get(row["kind"], of_sd))
        return table.assign(scale=scale)

    def summary(self) -> str:
        """The posterior in words: how it was sampled, whether chains mixed, and the table."""
        m, n, _ = self.v.shape
        shown = self.parameters[["mean", "sd", "lower", "upper", "unit", "ess_bulk", "ess_tail", "r_hat"]].copy()
        for name in ("mean", "sd", "lower", "upper"):
            shown[name] = [f"{value:.4g}" for value in self.parameters[name]]
        for name in ("ess_bulk", "ess_tail"):
            shown[name] = [f"{value:.0f}" if np.isfinite(value) else "" for value in self.parameters[name]]
        shown["r_hat"] = [f"{value:.3f}" if np.isfinite(value) else "" for value in self.parameters["r_hat"]]
        how = "NUTS" if self.method == "nuts" else "Gibbs sampling"
        sampled = f"{how}, {count(m, 'chain')} of {n:,} draws after {self.warmup:,} of warm-up; {self.seconds:.0f} s"
        diverged = f"; {count(self.divergences, 'divergence')}" if self.method == "nuts" else ""
        lines = [
            f"{self.origin.model.name if self.origin.model else 'a model'}, posterior of a population of "
            f"{count(len(self.subjects), 'patient')}" + (" (simulated data)" if self.simulated else ""),
            *labelled("outcome", self.outcome, width=WIDE),
            *labelled("sampled", sampled + diverged, width=WIDE),
            "",
            shown.rename_axis(None).to_string(),
            "",
            "Priors",
            self.priors.rename_axis(None).to_string(),
        ]
        return "\n".join(lines) + "\n"

    @domains.picture
    def plot(self, axes: Sequence[Axes] | None = None, *, size: Size = None) -> Figure:
        """A panel an estimate: its distribution by chain, the interval, and where `fit_population` ended.

        On as many axes where given; ``size`` is width and height in mm of a new figure.
        """
        from cellkinetics.figures import posterior

        return posterior.plot(self, axes)

    @domains.picture
    def plot_correlations(self, axes: Axes | None = None, *, size: Size = None) -> Axes:
        """`correlations` of what varies as a triangle of numbers, those beyond 0.9 in bold; returns the axes.

        ``size`` is width and height in mm of a new figure. A ValueError where fewer than two estimates vary.
        """
        from cellkinetics.charts import parameters

        return parameters.plot_correlations_of_many(self, axes, "draws", simulated=self.simulated)

    @domains.picture
    def plot_pairs(
        self, parameters: Sequence[str] | None = None, *, axes: Sequence[Axes] | None = None, size: Size = None
    ) -> Figure:
        """Draws of one estimate against those of another, natural scale, with their distributions on the diagonal.

        Parameters
        ----------
        parameters
            names of ``.parameters``, two or more; the five that go together most, or as many as have room, when not
            given.
        axes : row by row, as many as the square of the estimates; those above the diagonal are removed.
        size : width and height in mm of a new figure.

        Raises
        ------
        ValueError
            An unknown name, one whose draws are all alike, or fewer than two.
        """
        from cellkinetics.charts import pairs

        return pairs.plot(self, parameters, axes)

    def __repr__(self) -> str:
        m, n, _ = self.v.shape
        return f"<PopulationPosterior of {count(len(self.subjects), 'subject')}, {m} x {n:,} draws: {self.outcome}>"


WELL_MIXED = "mixed"


def outcome_of(table: pd.DataFrame, chains: int, draws: int, diverged: int, asked: int) -> str:
    """Whether the draws may be trusted, in plain words; ``asked`` draws of each chain, where they were interrupted."""
    notes = [f"interrupted after {draws:,} of {asked:,} draws of each chain"] if draws < asked else []
    if diverged:
        notes.append(
            f"{diverged} of {chains * draws:,} draws diverged: near a spread of 0 the posterior may be cut short. "
            "Give prior= of the spread, random= without it, or method='gibbs'"
        )
    far = table["r_hat"].to_numpy(float) > MOST_R_HAT
    if far.any():
        worst = float(table["r_hat"].max())
        notes.append(
            f"{'halves of the chain' if chains == 1 else 'chains'} have not told the same of "
            f"{_named(table, far, 'r_hat', False)} (R-hat up to {worst:.2f}, more than {MOST_R_HAT:g}). Give draws= "
            "and warmup= of more"
        )
    unknown = table["r_hat"].isna() & (table["prior"] != "fixed")
    lost = unknown.to_numpy() | ~np.isfinite(table["mean"].to_numpy(float))
    if lost.any():
        notes.append(
            f"nothing keeps {_named(table, lost, 'estimate', True)} from 0 or from infinity, neither samples nor "
            "prior. Give prior= of it, or fixed="
        )
    smallest = table[["ess_bulk", "ess_tail"]].min(axis=1)
    few = smallest.to_numpy(float) < FEWEST_EFFECTIVE * chains
    if few.any():
        least, aim = float(smallest.min()), FEWEST_EFFECTIVE * chains
        notes.append(
            f"{_named(table.assign(least=smallest), few, 'least', True)}: few independent draws ({least:.0f}, fewer "
            f"than {aim:.0f}), rough intervals. Give draws={_rounded(draws * aim / max(least, 1.0)):,}"
        )
    return "; ".join(notes) or WELL_MIXED


def _rounded(number: float) -> int:
    """Up, to two digits."""
    size = 10 ** max(int(np.floor(np.log10(number))) - 1, 0)
    return int(np.ceil(number / size) * size)


def _named(table: pd.DataFrame, which: Any, by: str, rising: bool) -> str:
    """The worst first."""
    names = table[which].sort_values(by, ascending=rising).index.astype(str).tolist()
    more = len(names) - ALL_SHOWN
    return ", ".join(names[:ALL_SHOWN]) + (f" and {more} more" if more > 0 else "")
