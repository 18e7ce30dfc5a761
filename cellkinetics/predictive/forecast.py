"""The course of one more patient: what its samples say under a population, or under several that are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Flags, Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.errors import ModelError
from cellkinetics.fitting.result import Fit
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import GivenPriors
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.population.importance import FEW_EFFECTIVE
from cellkinetics.population.result import PopulationFit
from cellkinetics.predictive.ahead import Ahead
from cellkinetics.predictive.described import (
    NO_PRIORS,
    Described,
    HasDraws,
    by_population,
    by_priors,
    estimated,
    request_of,
)
from cellkinetics.predictive.posterior import Posterior, posterior_of
from cellkinetics.predictive.regimens import Regimen, first_alone, regimen_of, unseen
from cellkinetics.running.phases import Phases
from cellkinetics.saving import Saves, storable
from cellkinetics.words import WIDE, count, labelled, number_text, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Describes = PopulationFit | HasDraws | Model | Fit
BY_BICC = "bicc"
STRANGE = 4.0  # sds between patients, from which on a patient is none of the population


@storable
@dataclass(frozen=True, eq=False)
class Forecast(Ahead, Saves, HandsOutCopies):
    """What is to be expected of one patient.

    Parameters
    ----------
    table
        One row a time and output: day, output, median, lower, upper of the curve (the band at ``level``), and
        sample_lower and sample_upper, between which a sample would lie, its error included. In the unit of the samples.
    parameters
        One row a population and random parameter: population, parameter, median, lower, upper, natural scale.
    populations
        One row a population: population (0, 1, ...), model, told_by (what described it, in words), prior weight,
        log_likelihood (ln of the predictive density of the patient's samples), weight (of the average), effective
        (sample size of the weighted draws), unsolved (share of the population's curves that could not be solved).
    samples : of the patient: day (since the first infusion), output, status, value (NaN unless quantified), lower and
        upper.
    outcome : "even", or in words that the draws are too few, or that the population has nobody like the patient.
    subject, level, draws, seed, unit : of whom it is, as asked.
    limits : {output: the lower limit of its samples, NaN where none is known}.
    simulated : whether the study of the patient says that it is simulated.
    weights : (m,) of the draws, which sum to 1. ln_curves, drawn : (m, rows of the table) ln of the curves, and copies
        of a sample about them, the error of a draw alike on all days.
    given : in words the doses under which the curve is, where they were asked for; "" of those of the patient.
    """

    table: pd.DataFrame
    parameters: pd.DataFrame
    populations: pd.DataFrame
    samples: pd.DataFrame = field(repr=False)
    outcome: str
    subject: str
    level: float
    draws: int
    seed: int
    unit: str
    limits: dict[str, float]
    simulated: bool
    weights: Floats = field(repr=False)
    ln_curves: Floats = field(repr=False)
    drawn: Floats = field(repr=False)
    origin: Provenance = field(default=Provenance(), repr=False)
    given: str = ""

    def probability_below(self, level: float, day: float, *, output: str | None = None, sample: bool = False) -> float:
        """The probability that the curve lies below a level on a day.

        Parameters
        ----------
        level : in the unit of the samples.
        day : one of the times of the forecast. output : which; the first when not given.
        sample : whether the error of a sample is included: that a sample would be measured below the level.
        """
        return _share(self.weights, self._below(level, day, output, sample))

    def detectable(self, day: float, *, limit: float | None = None, output: str | None = None) -> float:
        """The probability that a sample on a day would lie above the limit.

        Parameters
        ----------
        day, output : as in `probability_below`.
        limit : of the assay; that of the patient's study, else of the population's, when not given.

        Raises
        ------
        ModelError
            No limit is known.
        """
        limit = self._limit(limit, output)
        return _share(self.weights, ~self._below(limit, day, output, True))

    def _below(self, level: float, day: float, output: str | None, sample: bool) -> Flags:
        """Of each draw."""
        level = domains.positive(level, "level", 100.0)
        at = self._row(self.table, day, output)
        return self.drawn[:, at] < level if domains.flag(sample, "sample") else self.ln_curves[:, at] < np.log(level)

    @domains.picture
    def plot(self, *, output: str | None = None, axes: Sequence[Axes] | None = None, size: Size = None) -> Figure:
        """Samples, median and band of the curve, the range of a sample about it, and how likely it is detectable.

        Parameters
        ----------
        output : which; the first when not given.
        axes : one, and where a limit is known a second, for the chance of a sample above it.
        size : width and height in mm of a new figure.
        """
        from cellkinetics.figures import forecast as forecast_plot

        return forecast_plot.plot(self, self._called(output), axes)

    def summary(self) -> str:
        """The forecast in words: what is known of the patient, under which populations, and what is to be expected."""
        known = self.samples["status"].value_counts()
        seen = count(len(self.samples), "sample") + (
            f", {len(self.samples) - int(known.get('quantified', 0))} of them censored" if len(self.samples) else ""
        )
        several = len(self.populations) > 1
        under = [
            f"{row['model']}, {row['told_by']}" + (f", weight {row['weight']:.2f}" if several else "")
            + f", effective sample {row['effective']:.0f} of {self.draws:,}"
            for _, row in self.populations.iterrows()
        ]  # fmt: skip
        last = self.table[self.table["output"] == self.table["output"].iloc[0]].iloc[-1]
        expected = f"{last['median']:.3g} {self.unit} ({self.level:.0%}: {last['lower']:.3g} to {last['upper']:.3g})"
        limit = self.limits[str(last["output"])]
        if np.isfinite(limit):
            share = self.detectable(float(last["day"]))
            expected += f"; a sample lies above {plain(limit)} with probability {share:.2f}"
        lines = [
            f"Forecast of {self.subject}" + (" (simulated data)" if self.simulated else ""),
            *labelled("known", seen, width=WIDE),
            *(labelled("doses", f"{self.given}, in place of those of the patient", width=WIDE) if self.given else []),
            *[line for text in under for line in labelled("under", text, width=WIDE)],
            *labelled(f"day {last['day']:g}", expected, width=WIDE),
            *labelled("outcome", self.outcome, width=WIDE),
        ]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        return f"<Forecast of {self.subject}, {count(len(self.samples), 'sample')} known: {self.outcome}>"


def forecast(
    populations: Describes | Sequence[Describes],
    patient: Study,
    times: npt.ArrayLike,
    *,
    doses: object = None,
    prior: GivenPriors | None = None,
    fixed: Mapping[str, float] | None = None,
    error: str = LOG,
    weights: Sequence[float] | str | None = None,
    draws: int = 2000,
    level: float = 0.9,
    seed: int = 2020,
) -> Forecast:
    """The course of one patient, who need not be among those of the population, given the samples that there are.

    The population is the prior of the patient's parameters, with its estimates taken as known, and its error model that
    of the samples; of a posterior of a population its draws take the place of the estimates. A model with priors, its
    published ones or others, is a population like any other. The posterior is sampled by importance: draws about where
    the samples put the patient, found in a few rounds of draws of their own, and one in ten from the population itself.
    Without a sample the forecast is that of the population for the patient's doses and covariates.

    Parameters
    ----------
    populations
        a fit of `fit_population`, a posterior of `sample_posterior`, a model with ``prior``, or a `Fit` that was asked
        with one; or several of the same outputs and unit, such as those of other models. They are averaged with weights
        in proportion to their prior weights times the predictive density of the patient's samples.
    prior, fixed, error
        of a model, as in `fit`: "published" or {name: prior} of all that is free. An sd of the error that is not fixed
        and has no prior has that of `fit` where samples are few, LogNormal(0.7, 0.5).
    patient : a study of one subject, with doses and what drives the population; samples below limits count as such.
    times : (n,) days since the first infusion, whatever days the study counts; the outcome says where they differ.
    doses
        what the patient is given instead, as `simulate` takes it, in the unit of the model: 1e7; or the infusion that
        there was and a second one, [(0, 1e6), (42, 1e6)], with ``{"cells": ..., "lymphodepletion": ...}`` of a model
        that knows it. The samples so far count under the doses that they were taken under, and the curve is that of
        the same parameters under these, from the first day on. Where the dose drives a parameter it is the first of
        these. The patient's own doses when not given.
    weights
        prior weights of the populations; equal when not given; "bicc" of those that were fitted to the same samples: in
        proportion to exp(-BICc/2).
    draws : of each population.
    level : of the bands, day by day. seed : of all that is drawn.

    Returns
    -------
    Forecast
        ``.table``, ``.probability_below(level, day)``, ``.detectable(day)``, ``.plot()``, ``.summary()``.

    Raises
    ------
    TypeError
        No population, or no study.
    ModelError
        Several subjects, a covariate that drives the population and is missing, populations of other outputs or units;
        doses that can be none, or have no cells;
        a model or fit without priors, or with something free that has none.
    ValueError
        Weights that are none; ``prior`` and its kin without a model.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> patient = ck.example().select("P07", until=14)
    >>> stein = ck.models.load("stein_2019_tisagenlecleucel")
    >>> found = ck.forecast(stein, patient, [28, 180], prior="published")
    >>> found.populations.loc[0, "told_by"]
    'published priors'
    """
    phases = Phases()
    days = domains.since_infusion(domains.some(domains.days(times, "times"), "times", "[28, 180]"), "times")
    m, level, seed = domains.count(draws, "draws", 100), domains.level(level), domains.seed(seed)
    given: Any = populations
    asked = [*given] if isinstance(given, list | tuple) else [given]
    domains.some(asked, "populations", "ck.fit_population(model, study)")
    domains.instance(patient, Study, "patient", "Give a study of one subject, such as study.select('P07').")
    if (prior, fixed, error) != NO_PRIORS and not any(isinstance(one, Model) for one in asked):
        raise ValueError("prior=, fixed= and error= are of a model, and populations has none. Leave them out.")
    before = _before(weights, asked)
    if len(patient) != 1:
        raise ModelError(
            f"a forecast is of one patient, and the study has {len(patient)}. "
            f"Give study.select('{patient.subjects[0]}')."
        )
    each = [
        by_priors(request_of(one, prior, fixed, error), patient) if isinstance(one, Model | Fit) else by_population(one)
        for one in asked
    ]
    _alike(each, patient)
    regimens = [None if doses is None else regimen_of(one.model, doses, "doses=") for one in each]
    with phases("sampling"):
        found = [
            posterior_of(one, patient, days, m, seed + at, regimen)
            for at, (one, regimen) in enumerate(zip(each, regimens, strict=True))
        ]
    evidence = np.array([one.log_likelihood for one in found])
    with np.errstate(divide="ignore"):
        ln_weight = np.log(before) + evidence
    if not np.isfinite(ln_weight).any():
        raise ModelError(f"no population can explain the samples of {patient.subjects[0]}: its curves are not solved.")
    weight = np.exp(ln_weight - ln_weight.max())
    weight /= weight.sum()
    weights_of = np.concatenate([share * one.weights for share, one in zip(weight, found, strict=True)])
    ln_curves = np.concatenate([one.ln_curves for one in found])
    drawn = np.concatenate([one.drawn for one in found])
    sides = [0.5, (1 - level) / 2, (1 + level) / 2]
    curve = np.exp(weighted_quantiles(ln_curves, weights_of, sides))
    around = weighted_quantiles(drawn, weights_of, sides[1:])
    table = found[0].rows.assign(
        median=curve[0], lower=curve[1], upper=curve[2], sample_lower=np.maximum(around[0], 0.0), sample_upper=around[1]
    )
    about = pd.DataFrame(
        {
            "population": np.arange(len(each)), "model": [one.model.name for one in each],
            "told_by": [one.told_by for one in each], "prior": before, "log_likelihood": evidence, "weight": weight,
            "effective": [one.effective for one in found],
            "unsolved": [one.unsolved for one in found],
        }
    )  # fmt: skip
    words = "" if regimens[0] is None else regimens[0].words
    options = {"draws": m, "level": level, "seed": seed, "times": days.tolist(), "doses": words}
    subject = patient.subjects[0]
    given_on = patient.doses.loc[patient.doses["kind"] == "cells", "day"].nunique()
    silent = [one.model for one in each if not takes_doses(one.model)] if given_on > 1 and doses is None else []
    infused = patient.infusion_day(subject)
    notes = [f"days count from the infusion, on day {number_text(infused)} of the study"] if infused else []
    notes += [first_alone(model, subject) for model in {model.name: model for model in silent}.values()]
    notes += dict.fromkeys(
        text for one, regimen in zip(each, regimens, strict=True) if regimen is not None
        for text in _of_doses(one, regimen)
    )  # fmt: skip
    notes += dict.fromkeys(
        f"{subject} is one of the {one.told_by}: its samples count twice" for one in each if _within(one, found[0])
    )
    outcome = _outcome(about, weight, m, _strange(each, found), notes)
    timings = phases.done(f"forecast of {subject}")
    origin = Provenance(subject, patient.sha256, each[0].model, options, phases.total, timings)
    return Forecast(
        table, _parameters(each, found, sides), about, found[0].samples, outcome, subject, level, m,
        seed, patient.unit, found[0].limits, patient.simulated, weights_of, ln_curves, drawn, origin, words,
    )  # fmt: skip


def _of_doses(one: Described, regimen: Regimen) -> list[str]:
    """Of doses that are asked for what a population says nothing of, or that they change nothing."""
    driven = any(effect.column == BY_DOSE for effect in one.design.effects)
    if not takes_doses(one.model) and not driven and not one.model.channels:
        return [f"{one.model.name} takes no dose, and none drives it: doses= changes nothing"]
    return [] if one.study is None else unseen(one.patients, {"this forecast": regimen})


def weighted_quantiles(values: Floats, weights: Floats, shares: Sequence[float]) -> Floats:
    """(k, n) quantiles of each column of values (m, n) with weights (m,) that sum to 1."""
    # Sorted along the memory: three times as fast as across it.
    rows = np.ascontiguousarray(values.T)
    order = np.argsort(rows, axis=1)
    reached = np.cumsum(weights[order], axis=1)
    places = [np.minimum((reached < share).sum(axis=1), len(values) - 1)[:, None] for share in shares]
    found = [np.take_along_axis(order, place, axis=1) for place in places]
    return np.array([np.take_along_axis(rows, each, axis=1)[:, 0] for each in found])


def _share(weights: Floats, which: np.ndarray[Any, Any]) -> float:
    return float(min(max(weights[which].sum(), 0.0), 1.0))


def _before(weights: Sequence[float] | str | None, asked: Sequence[Any]) -> Floats:
    n = len(asked)
    if weights is None:
        return np.full(n, 1 / n)
    if isinstance(weights, str):
        return _by_their_study(weights, asked)
    given = np.asarray([domains.not_negative(each, "weights", 0.5) for each in weights])
    if len(given) != n or given.sum() == 0:
        raise ValueError(f"weights has {len(given)} values for {count(n, 'population')}: give one of each, not all 0.")
    return given / given.sum()


def _by_their_study(weights: str, asked: Sequence[Any]) -> Floats:
    """In proportion to exp(-BICc/2) of populations that were fitted to the same samples."""
    if weights != BY_BICC:
        raise ValueError(f"weights={weights!r}: give a number of each population, or {BY_BICC!r}.")
    if any(isinstance(one, Model | Fit) for one in asked):
        raise ValueError(f"weights={BY_BICC!r} is of populations that were fitted. Give a number of each.")
    fits = [estimated(one, "populations").fit for one in asked]
    if len({(fit.study.sha256, fit.n_quantified, fit.n_censored, fit.subjects) for fit in fits}) > 1:
        raise ModelError(f"weights={BY_BICC!r}: these populations are of different samples. Give a number of each.")
    bicc = np.array([fit.bicc for fit in fits])
    if np.isnan(bicc).any():
        raise ModelError(f"weights={BY_BICC!r}: a population with priors has no BICc. Give a number of each.")
    likely = np.exp((bicc.min() - bicc) / 2)
    return likely / likely.sum()


def _within(one: Described, found: Posterior) -> bool:
    """Whether the samples are among those that the population was fitted to."""
    (subject,) = found.patients.cases
    case, own = one.patients.cases.get(subject), found.patients.cases[subject].problem.samples
    if case is None or not len(own):
        return False
    seen = set(zip(case.problem.samples.day.tolist(), case.problem.samples.upper.tolist(), strict=True))
    return seen >= set(zip(own.day.tolist(), own.upper.tolist(), strict=True))


def _alike(each: Sequence[Described], patient: Study) -> None:
    for one in each:
        if list(one.model.outputs) != list(each[0].model.outputs):
            raise ModelError(
                f"{one.model.name} has other outputs than {each[0].model.name}: their forecasts cannot be averaged."
            )
        if one.study is not None and one.study.unit != patient.unit:
            raise ModelError(
                f"the samples of {patient.subjects[0]} are in {patient.unit}, those of the population of "
                f"{one.model.name} in {one.study.unit}. Read the study with unit={one.study.unit!r}."
            )


def _parameters(each: Sequence[Described], found: Sequence[Posterior], sides: Sequence[float]) -> pd.DataFrame:
    rows = []
    for number, (given, one) in enumerate(zip(each, found, strict=True)):
        ends, parameters = weighted_quantiles(one.phi, one.weights, sides), one.patients.parameters
        for at, name in enumerate(given.design.random):
            rows.append((number, name, *(parameters[name].from_estimation(float(end)) for end in ends[:, at])))
    return pd.DataFrame(rows, columns=["population", "parameter", "median", "lower", "upper"])


def _strange(each: Sequence[Described], found: Sequence[Posterior]) -> list[str]:
    """Of each population in words that the patient is none of it, if so."""
    said = []
    for given, one in zip(each, found, strict=True):
        at = int(np.argmax(np.abs(one.away)))
        said.append("" if abs(one.away[at]) < STRANGE else (
            f"the samples are of a patient {abs(one.away[at]):.1f} sds between patients from the population of "
            f"{given.model.name} ({given.design.random[at]}): it has nobody like that; look at the samples and their "
            "unit"
        ))  # fmt: skip
    return said


def _outcome(
    about: pd.DataFrame, weight: Floats, draws: int, strange: Sequence[str], before: Sequence[str] = ()
) -> str:
    """Whether draws are enough, of the populations that count; behind what is known before."""
    notes = [*before]
    for row, share, text in zip(about.to_dict("records"), weight, strange, strict=True):
        if share < 0.01:
            continue
        if row["effective"] < FEW_EFFECTIVE:
            notes.append(
                f"importance sampling is uneven under {row['model']} (effective sample {row['effective']:.0f} of "
                f"{draws:,}): give draws="
            )
        if row["unsolved"] > 0.01:
            notes.append(f"{row['unsolved']:.0%} of the curves of {row['model']} could not be solved and are left out")
        notes += [text] if text else []
    return "; ".join(notes) or "even"
