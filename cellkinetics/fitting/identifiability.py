"""Which parameters a design, or a fit, determines, and which move together, found from the information matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.errors import ModelError, suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_models import ERRORS, LOG
from cellkinetics.likelihood.planned import errors_planned
from cellkinetics.modelling.course import as_courses
from cellkinetics.modelling.dosing import as_doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.modelling.typical import HasTypical, Typical, first_dose, of
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.samples import Samples
from cellkinetics.optimising.uncertainty import inverse_of
from cellkinetics.running.phases import Phases
from cellkinetics.saving import Saves, storable
from cellkinetics.solving.simulation import possible, refuse_none
from cellkinetics.words import count

if TYPE_CHECKING:
    from cellkinetics.fitting.result import Fit

LOOSE = 1.0  # SD on the estimation scale (a factor of 2.7) from which a direction is called undetermined
PART = 0.3  # share of a direction from which a parameter is named as part of it
NOTHING = 1e-10  # of the largest information, on unit diagonal: exactly confounded
SAME = 1 - 1e-6  # correlation of what two parameters do to the samples


@storable
@dataclass(frozen=True)
class Identifiability(Saves, HandsOutCopies):
    """What an information matrix says.

    Parameters
    ----------
    parameters
        by name: ``se`` on the estimation scale (a log-SD for a parameter estimated on the log scale) when the others
        are unknown too, inf where there is no information; ``se_alone`` with the others known.
    directions : one row an eigenvector, the least determined first: its ``sd``, and the weight of each parameter.
    pairs : names that do the same to every sample: only a combination of the two is seen.
    rank : directions with information.
    condition : of the information on unit diagonal; inf where a direction has none.
    reason : why nothing is known of a patient who was not fitted; "" otherwise.
    origin : of which fit, or model and design, it is.
    outputs : of a design, what is sampled of a model with several outputs; empty of others.
    """

    parameters: pd.DataFrame
    directions: pd.DataFrame
    pairs: tuple[tuple[str, str], ...]
    rank: int
    condition: float
    reason: str = ""
    origin: Provenance = field(default=Provenance(), repr=False)
    outputs: tuple[str, ...] = ()

    @property
    def unseen(self) -> list[str]:
        """Parameters that no sample depends on."""
        return [str(name) for name in self.parameters.index[np.isinf(self.parameters["se_alone"])]]

    @property
    def loose(self) -> list[tuple[str, ...]]:
        """Parameters of each seen direction whose SD is above 1 on the estimation scale, the largest part first."""
        together = []
        for _, row in self.directions.iterrows():
            if row["sd"] <= LOOSE:
                continue
            parts = row.drop(["sd", *self.unseen]).astype(float).abs().sort_values(ascending=False)
            if len(parts) and parts.iloc[0] > PART:
                together.append(tuple(str(name) for name in parts.index[parts > PART * parts.iloc[0]]))
        return together

    def summary(self) -> str:
        """In words: what is determined, what is not, and what moves together."""
        free = list(self.parameters.index)
        if self.reason:
            return f"nothing is known of {', '.join(free)}: {self.reason}\n"
        lines = [f"{self.rank} of {count(len(free), 'direction')} have information; condition {self.condition:.3g}"]
        lines += [f"each sample measures {' and '.join(self.outputs)}"] if self.outputs else []
        good = self.parameters.index[(self.parameters["se"] <= LOOSE).to_numpy()]
        lines += [f"determined (SE on the estimation scale at most {LOOSE:g}): {', '.join(good) or 'none'}"]
        lines += [f"no sample depends on {', '.join(self.unseen)}"] if self.unseen else []
        lines += [
            f"{one} and {other} cannot be told apart: they do the same to every sample" for one, other in self.pairs
        ]
        for names in self.loose:
            *others, last = names
            lines.append(
                f"{', '.join(others)} and {last} move together" if others else f"the samples do not determine {last}"
            )
        table = self.parameters.to_string(float_format=lambda value: f"{value:.3g}")
        return "\n".join([*dict.fromkeys(lines), "", table, ""])

    def __str__(self) -> str:
        return self.summary()


@domains.also_earlier(days="times")
def identifiability(
    model: Model | HasTypical,
    times: npt.ArrayLike,
    *,
    doses: object = None,
    parameters: Mapping[str, float] | None = None,
    free: Sequence[str] | None = None,
    lloq: float | Mapping[str, float] | None = None,
    sd: float | Mapping[str, float] | None = None,
    error: str | None = None,
    output: str | Sequence[str] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Identifiability:
    """What a schedule of samples can tell about parameters, before any sample is taken.

    The expected information of the design at the given parameters: a sample with prediction f counts
    (1 - Phi(z) + z phi(z) + phi(z)^2/Phi(z))/sd^2 with z = (ln LLOQ - ln f)/sd, 1/sd^2 without a limit. Of Student's
    errors 5/7 of 1/sd^2; of errors that are normal on the scale of the copies with sd s(f),
    (f/s)^2 (1 + 2 (ds/df)^2), since the spread tells of f too; less below a limit, where only that is known.

    Parameters
    ----------
    model
        the model. Or a population of `fit_population`: its median patient, what it
        estimates and its sd are then taken where nothing else is given, and the table says what the schedule would tell
        of one patient of it.
    times : (n,) days since the first infusion.
    doses : as in `simulate`.
    parameters : {name: natural value}; the defaults otherwise.
    free : names to judge; all parameters that are positive and not at a bound when not given.
    lloq : lower limit of quantification, in the unit of the output; {output: limit} of several, none of others.
    sd
        residual sd, taken as known; 0.5 of ln copies when not given, {"sd_add": ..., "sd_prop": ...} of the combined
        error.
    error : "log", "student", "proportional" or "combined"; that of the population where neither it nor ``sd`` is given.
    output
        which output of the model is sampled, or several that are sampled on the same days. When not given the first;
        of a population those that its study measured.
    inputs : covariates over time, where the model takes any, as in `simulate`.

    Returns
    -------
    Identifiability
        Of a population ``.parameters`` also has ``between``, the sd between patients, and ``shrinkage``, the share of
        its variance that the samples of one patient would leave: 1 where they tell nothing of the random effect.

    Raises
    ------
    ModelError
        An unknown parameter or output, no dose or input for a model that takes some; one limit of outputs in several
        units; errors of counts, which depend on the mass of DNA in the wells; no sd of an error without a usual one.
    ValueError
        No days, or days before the infusion; no names in `free`.

    Examples
    --------
    One slow rate is told by four samples, and not which share of the cells has it.

    >>> import cellkinetics as ck
    >>> told = identifiability(ck.models.load("nk_decline"), [1, 7, 14, 28], doses=1e6, lloq=3)
    >>> print(told.summary().partition(":")[0])
    3 of 4 directions have information; condition inf
    determined (SE on the estimation scale at most 1)
    """
    phases = Phases()
    model, typical = of(model, _first_dose(doses))
    refuse_none(model, doses)
    schedule = domains.some(domains.since_infusion(times, "times"), "times", "[7, 14, 28]")
    outputs = outputs_planned(model, output, typical)
    planned = {name: errors_planned(error, sd, typical and typical.errors(name)) for name in outputs}
    for _, sds in planned.values():
        domains.positive(max(sds), "sd", 0.5)
    limits = _limits(model, lloq, outputs)
    given = dict(parameters or {})
    if typical is not None:
        given = {name: value for name, value in typical.values.items() if name not in model.ties} | given
        free = typical.free if free is None else free
    values = possible(model, model.values(given))
    for name in () if free is None else domains.some(free, "free", f"['{next(iter(values))}']", "leave it out for all"):
        model.require(name)
    inside = [
        name
        for name, parameter in model.parameters.items()
        if np.isfinite(parameter.to_estimation(values[name])) and name not in model.ties
    ]
    names = tuple(n for n in model.parameters if n in (inside if free is None else free))
    n, places = len(schedule), [list(model.outputs).index(name) for name in outputs]
    table = pd.DataFrame({
        "day": np.tile(schedule, len(outputs)), "output": np.repeat(places, n), "lower": 0.0, "upper": np.inf,
    })  # fmt: skip
    known = np.ones(len(ERRORS[LOG].sd_names(model.outputs)))
    ties = tuple(model.ties.items())
    problem = Problem(
        model, Samples.of(table), model.doses(doses), values, names, ties, known, np.zeros(len(known), bool),
        courses=as_courses(inputs, model.inputs, model.name),
    )  # fmt: skip
    with phases("curve"):
        at = problem.curve(problem.start(values), 1)
    ln_f, slopes = np.asarray(at.value)[: len(table)], np.asarray(at.jacobian)[: len(table)]
    each = zip(planned.items(), np.split(ln_f, len(outputs)), strict=True)
    weights = [errors.expected_information(own, sds, limits[name]) for (name, (errors, sds)), own in each]
    said = {name: sds[0] if len(sds) == 1 else dict(zip(errors.parts, sds, strict=True))
            for name, (errors, sds) in planned.items()}  # fmt: skip
    options: dict[str, Any] = {"times": schedule, "parameters": values, "free": names}
    options["error"] = next(iter(planned.values()))[0].name
    for name, values in (("lloq", limits), ("sd", said)):
        options[name] = values if len(outputs) > 1 else next(iter(values.values()))
    options |= {"output": outputs} if len(model.outputs) > 1 else {}
    options |= {"inputs": dict(inputs)} if inputs else {}
    information = slopes.T @ (np.concatenate(weights)[:, None] * slopes)
    found = of_information(information, names)
    if typical is not None:
        found = replace(found, parameters=_among(found.parameters, information, typical))
    timings = phases.done(f"identifiability of {model.name} in {count(len(table), 'sample')}")
    origin = Provenance("", "", model, options, phases.total, timings)
    return replace(found, origin=origin, outputs=outputs if len(model.outputs) > 1 else ())


def outputs_planned(model: Model, output: str | Sequence[str] | None, typical: Typical | None) -> tuple[str, ...]:
    """Those asked for; else what the study of a population measured, else the first."""
    if output is None:
        return typical.measured if typical is not None else (next(iter(model.outputs)),)
    first = next(iter(model.outputs))
    asked = [output] if isinstance(output, str) else domains.some(output, "output", repr(first))
    for name in asked:
        if name not in model.outputs:
            raise ModelError(f"{model.name} has no output {name!r}. {suggest(str(name), model.outputs)}".rstrip(), name)
    return tuple(dict.fromkeys(asked))


def _limits(model: Model, lloq: float | Mapping[str, float] | None, outputs: Sequence[str]) -> dict[str, float | None]:
    """Of each output that is sampled, None without."""
    if not isinstance(lloq, Mapping):
        if lloq is not None and len({model.outputs[name] for name in outputs}) > 1:
            given = ", ".join(f"{name!r}: ... {model.outputs[name]}" for name in outputs)
            raise ModelError(
                f"lloq={lloq}: outputs have units of their own. Give lloq={{{given}}}, or output= of one.", name="lloq"
            )
        return dict.fromkeys(outputs, None if lloq is None else domains.positive(lloq, "lloq", 3))
    if lloq:
        outputs_planned(model, list(lloq), None)
    return {name: domains.positive(lloq[name], "lloq", 3) if name in lloq else None for name in outputs}


def _first_dose(doses: object) -> float | None:
    cells = doses.get("cells") if isinstance(doses, Mapping) else doses
    return first_dose(cells) if cells is not None and np.any(as_doses(cells, ("cells",)).amounts) else None


def _among(table: pd.DataFrame, information: Floats, typical: Typical) -> pd.DataFrame:
    """With what the samples of one patient leave of each random effect; what does not vary is known."""
    random = [name for name in typical.between if name in table.index]
    names = list(table.index)
    places = [names.index(name) for name in random]
    order = [list(typical.between).index(name) for name in random]
    spread = np.array([typical.between[name] for name in random])
    omega = spread[:, None] * typical.linked[np.ix_(order, order)] * spread
    left = np.linalg.inv(information[np.ix_(places, places)] + np.linalg.inv(omega))
    share = pd.Series(np.diag(left) / spread**2, index=random)
    return table.assign(between=pd.Series(spread, index=random), shrinkage=share)


def of_fit(fit: Fit) -> Identifiability:
    """Of the observed information of a fit, without its sds."""
    fit.must_stand_alone("identifiability")
    free, names = len(fit.problem.free), fit.problem.free
    origin = Provenance(fit.subject, fit.study.sha256, fit.model, {"fit": fit.request.options})
    if not fit.fitted:
        nothing = pd.DataFrame(np.nan, index=pd.Index(names, name="parameter"), columns=["se", "se_alone"])
        empty = pd.DataFrame(columns=["sd", *names], dtype=float)
        return Identifiability(nothing, empty, (), 0, np.nan, f"not fitted: {fit.outcome}", origin)
    information = -fit.problem.second_order(fit.x).hessian[:free, :free]
    return of_information(information, names, origin)


def of_information(information: Floats, names: Sequence[str], origin: Provenance | None = None) -> Identifiability:
    """From an information matrix on the estimation scale."""
    diagonal = np.maximum(np.diag(information), 0.0)
    seen = diagonal > NOTHING**2 * max(diagonal.max(initial=0.0), 1e-300)
    with np.errstate(divide="ignore"):
        alone = np.where(seen, 1 / np.sqrt(np.where(seen, diagonal, 1.0)), np.inf)
    covariance, shares = inverse_of(information, np.ones(len(names)))
    se = np.where(shares > 0.01, np.inf, np.sqrt(np.abs(np.nan_to_num(np.diag(covariance)))))
    scale = np.where(seen, alone, 0.0)
    scaled = scale[:, None] * information * scale
    values, (raw, vectors) = np.linalg.eigvalsh(scaled), np.linalg.eigh(information)
    with np.errstate(divide="ignore"):
        spreads = np.where(raw > 0, 1 / np.sqrt(np.maximum(raw, 1e-300)), np.inf)
    directions = pd.DataFrame(vectors.T, columns=list(names)).assign(sd=spreads)[["sd", *names]]
    same = [(names[i], names[j]) for i in range(len(names)) for j in range(i) if abs(scaled[i, j]) > SAME]
    known = values > NOTHING * max(values.max(initial=0.0), 1e-300)
    return Identifiability(
        pd.DataFrame({"se": se, "se_alone": alone}, index=pd.Index(names, name="parameter")),
        directions.sort_values("sd", ascending=False, ignore_index=True),
        tuple((one, other) for other, one in same),
        int(known.sum()),
        float(values.max() / values.min()) if len(values) and known.all() else np.inf,
        origin=origin or Provenance(),
    )
