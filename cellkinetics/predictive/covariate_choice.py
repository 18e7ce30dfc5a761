"""`choose_covariates`: stepwise by BICc, forward and then backward, each step fitted anew.

BICc counts patients for coefficients of what varies between them and samples for the rest (Delattre, Lavielle and
Poursat 2014, doi:10.1214/14-EJS890). A difference is known up to the Monte Carlo error of two sampled likelihoods: one
within that error decides nothing, nor does a fit that did not end at a maximum, and the table says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics import domains
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.errors import ModelError
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import factor_of, without_factors
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.status import Status
from cellkinetics.population.design import Covariates, apart, design_of
from cellkinetics.population.fit import fit_population
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.table import MEAN, SD
from cellkinetics.progress import bar
from cellkinetics.saving import UNSAVED, Saves, storable
from cellkinetics.words import WIDE, count, labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

START, FORWARD, BACKWARD = "start", "forward", "backward"
CHOSEN, LOWER, NOT_LOWER, STARTED = "chosen", "better", "not better", "start"
WITHIN_ERROR = "not told apart: the difference is within its Monte Carlo error"
NO_MAXIMUM = "not a maximum: less likely than the population that it goes beyond"
AT_MAXIMUM = (Status.CONVERGED, Status.AT_BOUND)
STEP_COLUMNS = [
    "step", "direction", "tried", "change", "bicc", "difference", "error", "log_likelihood", "log_likelihood_error",
    "n_free", "status",
]  # fmt: skip

Label = tuple[str, str]  # a parameter and what drives it


@storable
@dataclass(frozen=True, eq=False, repr=False)
class CovariateChoice(Saves, HandsOutCopies):
    """Covariates that were chosen, and every fit on the way.

    Parameters
    ----------
    steps : DataFrame
        One row a fit: step, direction (start, forward, backward), tried ("c_max:dose"), change ("added" or "removed"),
        bicc, difference to the population that the step began with (negative where it is better), error (Monte Carlo
        standard error of the difference: a bound), log_likelihood with its error, n_free, and status: "chosen",
        "better" (than the start of its step, but less than the one that was chosen), "not better", or why it decided
        nothing.
    chosen : {parameter: covariates}, as `fit_population` takes them; those that were given from the start included.
    outcome : "ended", or in words what was left undecided.
    n : patients. model : its name. candidates : how many were tried.
    fit : the population with what was chosen; None of a choice that was read from a file.
    simulated : whether the study says that it is simulated.
    """

    steps: pd.DataFrame
    chosen: dict[str, list[str]]
    outcome: str
    n: int
    model: str
    candidates: int
    fit: PopulationFit | None = field(default=None, metadata=UNSAVED)
    simulated: bool = False

    @property
    def undecided(self) -> pd.DataFrame:
        """Rows of fits that decided nothing: not at a maximum, not fitted, or within their Monte Carlo error."""
        return self.steps[~self.steps["status"].isin([CHOSEN, LOWER, NOT_LOWER, STARTED])]

    def summary(self) -> str:
        """The choice in words: what was chosen, each step, and what was left undecided."""
        title = f"Covariates of {self.model} by BICc, {count(self.n, 'patient')}, {count(self.candidates, 'candidate')}"
        lines = [title, *labelled("chosen", _said(self.chosen), width=WIDE)]
        lines += labelled("outcome", self.outcome, width=WIDE)
        shown = self.steps.copy()
        for name in ("bicc", "difference", "log_likelihood"):
            shown[name] = [f"{value:.2f}" if np.isfinite(value) else "" for value in self.steps[name]]
        for name in ("error", "log_likelihood_error"):
            shown[name] = [f"{value:.2g}" if np.isfinite(value) else "" for value in self.steps[name]]
        # What is undecided stands in full in the outcome.
        shown["status"] = [status.partition(":")[0] for status in self.steps["status"]]
        shown = shown.rename(columns={"log_likelihood": "ln L", "log_likelihood_error": "+-"})
        lines += ["", shown.drop(columns=["direction", "n_free"]).to_string(index=False)]
        lines += ["", *labelled("but", READ_IT, width=WIDE)]
        return "\n".join(lines) + "\n"

    @domains.picture
    def plot(self, *, axes: Axes | None = None, size: Size = None) -> Figure:
        """Step by step, what each covariate that was tried did to BICc: a row a fit, those chosen in colour.

        Left of the line the population is better with the change, by more than the bar where that ends before it.
        ``size`` is width and height in mm of a new figure.
        """
        from cellkinetics.charts import steps

        return steps.plot(self, axes, CHOSEN)

    def __repr__(self) -> str:
        return f"<CovariateChoice of {self.model}, {count(self.n, 'patient')}: {_said(self.chosen)}; {self.outcome}>"


READ_IT = (
    "intervals of the population that was chosen are those of one that was given: after a choice they are too narrow. "
    "That a covariate was not chosen is not evidence of no effect."
)


def choose_covariates(
    model: Model,
    study: Study,
    candidates: Covariates,
    *,
    covariates: Covariates | None = None,
    initial: Mapping[str, float] | None = None,
    progress: bool = True,
    checkpoint: str | FilePath | None = None,
    **asked: Any,
) -> CovariateChoice:
    """Covariates of a population stepwise by BICc: forward as long as one lowers it, then backward.

    Each step fits every candidate that is left, from the estimates so far (from the first start, where that ends at no
    maximum), and takes the one with the lowest BICc. It
    must be lower than that of the population without by more than the Monte Carlo error of the difference, and of a fit
    that ended at a maximum. A fit that is lower and is not taken for that reason is told in ``outcome``.

    Parameters
    ----------
    model, study : as `fit_population` takes them.
    candidates
        {parameter: covariate, or several}, each tried by itself; the groups of one covariate go together. Of a rate
        also a comedication of the model, such as {"mu0": ["dose", "IL-2"]}: the model with the factor on the rate
        while it acts, one for all, beside those without, in which it is fixed at 1.
    covariates : those that are in it from the start and stay.
    initial : {name: natural value} where the means of the first fit, and of those made anew, start.
    progress : whether a bar is shown.
    checkpoint : folder in which the iterations of every fit are kept, each in a folder of its own.
    asked : the other arguments of `fit_population`.

    Returns
    -------
    CovariateChoice
        ``.steps``, ``.chosen``, ``.fit``, ``.summary()``. An interrupt from the keyboard gives the choice so far, and
        the outcome says so.

    Raises
    ------
    ModelError
        No candidates; a candidate that is unknown, missing in a patient or the same in all; ``prior=``, under which
        there is no BICc.

    Examples
    --------
    .. code-block:: python

       model = ck.models.load("nk_decline")
       choice = ck.choose_covariates(model, ck.example(), {"F": "dose"}, free=["F"])
       print(choice.steps)
    """
    fixed_in, tried = _labels(covariates, "covariates"), _labels(candidates, "candidates")
    domains.flag(progress, "progress")
    if asked.get("prior"):
        raise ModelError("prior=: with priors there is no BICc to choose by. Leave it out.")
    tried = [label for label in tried if label not in fixed_in]
    if not tried:
        raise ModelError("candidates= is empty: give {parameter: covariates} that are not in covariates=.")
    most = 1 + len(tried) * (len(tried) + 1)  # forward to the end, and back again
    with bar(most, progress, "covariates") as more:
        return _Stepwise(model, study, asked, checkpoint, more, fixed_in, tried, initial).chosen()


def _labels(given: Covariates | None, where: str) -> list[Label]:
    """Pairs of a parameter and a covariate, each once."""
    if given is not None and not isinstance(given, Mapping):
        raise ModelError(f"{where}={given!r}: give {{parameter: covariates}}, such as {{'c_max': ['dose', 'weight']}}.")
    each = {name: [how] if isinstance(how, str) else list(how) for name, how in (given or {}).items()}
    return list(dict.fromkeys((name, how) for name, hows in each.items() for how in hows))


def _covariates(labels: Sequence[Label]) -> dict[str, list[str]]:
    """As `fit_population` takes them."""
    return {name: [how for own, how in labels if own == name] for name in dict.fromkeys(name for name, _ in labels)}


def _said(chosen: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{name}:{how}" for name, hows in chosen.items() for how in hows) or "none"


@dataclass
class _Stepwise:
    """Fits by what is in them, and the rows of the table."""

    model: Model
    study: Study
    asked: dict[str, Any]
    checkpoint: str | FilePath | None
    more: Any
    fixed_in: list[Label]
    tried: list[Label]
    initial: Mapping[str, float] | None
    fits: dict[frozenset[Label], PopulationFit | str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def chosen(self) -> CovariateChoice:
        """Forward, backward, and what to say of it."""
        fit = self._fitted(self.fixed_in, self.initial)
        for name, how in self.tried:
            others, _ = apart(self.model, self.study, {name: how}, self.asked.get("fixed") or {})
            design_of(fit.patients, fit.asked["random"], others)
        self.rows.append({**_row(fit), "step": 0, "direction": START, "tried": _said(_covariates(self.fixed_in)),
                          "status": STARTED})  # fmt: skip
        if fit.status not in AT_MAXIMUM:
            self.notes.append(f"the population to start with is not at a maximum ({fit.outcome})")
        inside, step = list(self.fixed_in), 0
        for direction in (FORWARD, BACKWARD):
            while not self.interrupted and (moves := self._moves(direction, inside)):
                step += 1
                taken = self._step(step, direction, moves, fit)
                if taken is None:
                    break
                inside, fit = taken
        if self.interrupted:
            self.notes.insert(0, "interrupted: this is the choice so far")
        table = pd.DataFrame(self.rows, columns=STEP_COLUMNS)
        return CovariateChoice(
            steps=table, chosen=_covariates(inside), outcome="; ".join(self.notes) or "ended", n=len(fit.subjects),
            model=self.model.name, candidates=len(self.tried), fit=fit,
            simulated=self.study.simulated,
        )  # fmt: skip

    def _step(
        self, step: int, direction: str, moves: list[tuple[Label, list[Label]]], fit: PopulationFit
    ) -> tuple[list[Label], PopulationFit] | None:
        """One row a candidate; what is in it afterwards and its fit, None where nothing is taken."""
        first, best = len(self.rows), None
        # A population with one coefficient more is at least as likely, but for Monte Carlo error.
        least = fit.log_likelihood - 3 * fit.log_likelihood_error if direction == FORWARD else -np.inf
        for label, others in moves:
            other = self._fitted(others, _start_of(fit), least)
            row = _row(other)
            row |= {"step": step, "direction": direction, "tried": ":".join(label)}
            row["change"] = "added" if direction == FORWARD else "removed"
            row["difference"] = row["bicc"] - fit.bicc
            row["error"] = 2 * np.hypot(row["log_likelihood_error"], fit.log_likelihood_error)
            row["status"] = _status(other, row["difference"], row["error"])
            if row["status"] == NOT_LOWER and row["log_likelihood"] < least:
                row["status"] = NO_MAXIMUM
            self.rows.append(row)
            if self.interrupted:
                row["status"] = "interrupted"
                return None
            if row["status"] == LOWER and (best is None or row["bicc"] < best[0]["bicc"]):
                best = (row, others, other)
        if best is not None:
            best[0]["status"] = CHOSEN
        lowest = 0.0 if best is None else best[0]["difference"]
        for row in self.rows[first:]:
            undecided = row["status"] not in (LOWER, CHOSEN, NOT_LOWER)
            # A fit that is not at a maximum could be better than it looks: where a direction ends, each is told.
            lost = best is None and row["status"] != WITHIN_ERROR
            if undecided and (lost or not row["difference"] >= lowest):
                self.notes.append(f"undecided in step {step}: {row['tried']} {row['change']} ({row['status']})")
        return None if best is None else (best[1], best[2])

    def _moves(self, direction: str, inside: list[Label]) -> list[tuple[Label, list[Label]]]:
        """What may be added or removed, and what is in it then."""
        if direction == FORWARD:
            return [(label, [*inside, label]) for label in self.tried if label not in inside]
        own = [label for label in self.tried if label in inside]
        return [(label, [other for other in inside if other != label]) for label in own]

    def _fitted(self, labels: Sequence[Label], initial: Mapping[str, float] | None, least: float = -np.inf) -> Any:
        """A fit, or in words why there is none; the one that was made before where it was.

        One from the estimates so far that ends at no maximum, or lower than ``least``, is made anew from the first
        start, and the better one of the two kept.
        """
        key = frozenset(labels)
        if key not in self.fits:
            name = f"fit_{len(self.fits) + 1:03d}"
            try:
                fit = self._made(labels, initial, name)
                lost = fit.status not in AT_MAXIMUM or fit.log_likelihood < least
                if lost and self.fits and not self.interrupted:
                    both = (fit, self._made(labels, self.initial, f"{name}_anew"))
                    fit = max(both, key=lambda one: (one.status in AT_MAXIMUM, one.log_likelihood))
                self.fits[key] = fit
            except ModelError as error:
                if not self.fits:
                    raise
                self.fits[key] = str(error)
        self.more(1)
        return self.fits[key]

    def _made(self, labels: Sequence[Label], initial: Mapping[str, float] | None, name: str) -> PopulationFit:
        folder = None if self.checkpoint is None else FilePath(self.checkpoint) / name
        asked = {**self.asked, "initial": dict(initial) if initial else None, "checkpoint": folder}
        out = [factor for label in self.tried if label not in labels and (factor := factor_of(self.model, *label))]
        asked = without_factors(asked, out)
        fit = fit_population(self.model, self.study, covariates=_covariates(labels) or None, progress=False, **asked)
        self.interrupted |= fit.status is Status.INTERRUPTED
        return fit


def _start_of(fit: PopulationFit) -> dict[str, float]:
    """Means, as far as they are within their bounds, and sds of the error, where the next fit starts."""
    table = fit.parameters
    own = table.loc[table["kind"].isin([MEAN, SD]) & (table["status"] != "fixed"), "value"]
    outside = {name for name, parameter in fit.model.parameters.items()
               if name in own and not parameter.min <= own[name] <= parameter.max}  # fmt: skip
    return {str(name): float(value) for name, value in own.items() if name not in outside}


def _row(fit: PopulationFit | str) -> dict[str, Any]:
    """The numbers of a fit, NaN of none; the status says why."""
    if isinstance(fit, str):
        return dict.fromkeys(("bicc", "difference", "error", "log_likelihood", "log_likelihood_error"), np.nan)
    return {
        "bicc": fit.bicc, "difference": np.nan, "error": np.nan, "log_likelihood": fit.log_likelihood,
        "log_likelihood_error": fit.log_likelihood_error, "n_free": fit.n_free, "change": "",
    }  # fmt: skip


def _status(fit: PopulationFit | str, difference: float, error: float) -> str:
    """What a fit decides, or why it decides nothing."""
    if isinstance(fit, str):
        return f"not fitted: {fit}"
    if fit.status not in AT_MAXIMUM or fit.likelihood.outcome != "even":
        return fit.outcome
    if not abs(difference) > error:
        return WITHIN_ERROR
    return LOWER if difference < 0 else NOT_LOWER
