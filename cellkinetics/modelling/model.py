"""A model: parameters with units and sources, and the functions that give its curve."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics import domains, readiness
from cellkinetics.errors import ModelError, suggest
from cellkinetics.modelling import description, travel
from cellkinetics.modelling.comedication import Comedication, comedicated, days_acting, takes_doses
from cellkinetics.modelling.course import as_courses
from cellkinetics.modelling.dosing import Doses, as_doses
from cellkinetics.modelling.functions import Function, call, check_ties, names_of
from cellkinetics.modelling.parameter import AsParameters, ParameterSet
from cellkinetics.modelling.ready import by_what
from cellkinetics.modelling.structure import Equations, Structure
from cellkinetics.notebook import Shown
from cellkinetics.sameness import made_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellkinetics.data.study import Study

Values = Mapping[str, Any]
SINCE = "since_"
# The fields that a compiled program depends on, besides names and scales; ties are handed to it beside the model.
SOLVED_BY = (
    "curve", "rhs", "observe", "states", "start", "dosing", "markers", "lags", "switches", "natural", "stiff", "rtol",
    "structure", "linear_in_dose", "comedication",
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """A number that the paper reports and the model gives back.

    Parameters
    ----------
    what : in words, "doubling time".
    published : the number, or (lowest, highest) where a range is printed; an end may be infinite.
    unit : of it, "1" for a pure number.
    compute : function of the model that returns the number anew.
    tolerance : relative; not used with a range.
    source : where it is printed.
    """

    what: str
    published: float | tuple[float, float]
    unit: str
    compute: Callable[[Model], float]
    tolerance: float = 0.02
    source: str = ""

    def agrees(self, recomputed: float) -> bool:
        """Whether a recomputed number is the published one within the tolerance, or lies in the range."""
        if isinstance(self.published, tuple):
            lowest, highest = self.published
            return lowest <= recomputed <= highest
        return abs(recomputed - self.published) <= self.tolerance * abs(self.published)


@dataclass(frozen=True, eq=False)
class Model(Shown):
    """A curve in time with named, sourced parameters: a closed form (`curve`) or an ODE (`rhs`, `observe`).

    Functions take by name what they need: ``t`` (days since the first infusion), ``dose`` (closed forms), states,
    parameters, ``inputs``, ``since_<marker>`` (days since its last event, by default since the first infusion) and
    ``phase`` (number of switches passed).

    Parameters
    ----------
    name : as in ``models.load(name)``.
    parameters : {name: Parameter}.
    outputs : {name: unit}, in the order of DVID 1, 2, ...
    reference : DOI or citation; "ours" with what it is for a model of this library.
    population : whom it describes: patients, product, assay.
    curve : closed form; returns an array of the shape of ``t``, or {output: array}.
    states, rhs, observe
        an ODE: names, derivatives (one value a state, in that order, natural units per
        day), and what is observed of the states.
    start : {state: parameter, or function of parameters, that gives its value at day 0}; 0 where not named.
    dosing
        {channel: (state or states, parameter or function of parameters)}: an amount adds factor x amount to the state,
        or to each; cells come first.
    markers : channels whose events only mark a day, such as a lymphodepletion.
    lags : {channel: parameter}: its doses arrive so many days later.
    switches : parameters that are days at which `rhs` changes; it takes ``phase`` to know where it is.
    inputs : {name: unit} of covariates over time, taken from the study's column of that name.
    natural : states solved on the natural instead of the log scale, because they may stay at 0.
    stiff : solve with the implicit stepper from the start.
    rtol : tolerance of the steppers, on ln x; smaller where the equations make errors grow.
    structure : a `Structure` that solves an ODE by its structure, where that may be trusted; else the stepper.
    equations : of a closed form, the same curve as an ODE, by which it is solved with comedication.
    free : names estimated by default, or a function of the study that returns them; all when not given.
    canonical
        function of natural values that returns an equal curve's values under the labels that were meant, such as the
        faster of two exponentials first.
    initial
        function of ``days``, ``values`` (one patient's samples of the first output, by day), ``dose`` (the first
        amount of cells), ``inputs`` on these days and defaults of parameters, by name, that returns start values
        {name: value}.
    alternatives
        function that takes the same, and ``quantified``, and returns {name: (m,)} further start values, each another
        way in which the curve may run through these samples: a switch in each interval between them, with and without
        a second phase. Fits climb from the best of them.
    corners
        parameters that are days at which a closed form has a kink: the likelihood has a corner where such a day is
        a sampled one.
    checks : what the paper reports and the model gives back.
    sets : {name: ParameterSet}, other defaults to choose from, such as those of another product.
    linear_in_dose : a closed form that names ``dose`` and may be superposed over infusions.
    scale_free : the model takes the unit of the study (its level is a free parameter).
    simulator : too many parameters for the curves of one patient: meant for simulation.
    comedication : {factor: Comedication}, as `with_` makes them.
    path, file, sha256 : where its file lay when `load_model` read it, the text of it then, and the hash of that.

    Raises
    ------
    ModelError
        An undeclared name, a missing unit or source, a value outside its bounds, a result of a wrong shape.
    """

    name: str
    outputs: Mapping[str, str]
    parameters: AsParameters = AsParameters()  # noqa: RUF009
    reference: str = ""
    population: str = ""
    curve: Function | None = None
    states: tuple[str, ...] = ()
    rhs: Function | None = None
    observe: Function | None = None
    start: Mapping[str, str | Function] = field(default_factory=dict)
    dosing: Mapping[str, tuple[str | tuple[str, ...], str | Function]] = field(default_factory=dict)
    markers: tuple[str, ...] = ()
    lags: Mapping[str, str] = field(default_factory=dict)
    switches: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    natural: tuple[str, ...] = ()
    stiff: bool = False
    rtol: float = 3e-8
    structure: Structure | None = None
    equations: Equations | None = None
    free: Sequence[str] | Callable[[Study], Sequence[str]] | None = None
    canonical: Callable[[Mapping[str, float]], Mapping[str, float]] | None = None
    initial: Function | None = None
    alternatives: Function | None = None
    corners: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    sets: Mapping[str, ParameterSet] = field(default_factory=dict)
    linear_in_dose: bool = False
    scale_free: bool = False
    simulator: bool = False
    ties: Mapping[str, Function] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    changes: Mapping[str, Any] = field(default_factory=dict)
    comedication: Mapping[str, Comedication] = field(default_factory=dict)
    path: str = ""
    file: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        from cellkinetics.modelling.loading import check

        check(self)

    def __repr__(self) -> str:
        words = [f"set {each!r}" if kind == "set" else kind for kind, each in self.changes.items()]
        changed = f" with {', '.join(words)}" if words else ""
        return f"<Model {self.name}{changed}: {', '.join(self.parameters)}>"

    def __reduce__(self) -> Any:
        from cellkinetics.modelling import loading

        # Functions of a model file have no importable home: a model travels by its name or its file's text.
        if self.changes and (self.path or loading.in_library(self.name)):
            return loading.changed, (self.name, self.path, travel.packed(dict(self.changes)), self.file, self.sha256)
        if self is loading.library_twin(self):
            return loading.load_library, (self.name,)
        if self.path:
            return loading.run, (self.path, self.file, self.sha256)
        kept = {name: value for name, value in vars(self).items() if name not in travel.FOUND_ANEW}
        return travel.restored, (type(self), travel.packed(kept))

    def __deepcopy__(self, memo: object) -> Model:
        # Nothing in it changes.
        return self

    def made_of(self, inside: tuple[int, ...] = ()) -> Hashable:
        """What a compiled program of the model depends on: equal for models that differ in defaults and words alone."""
        return self._equations if len(inside) < 2 else self._parts(inside)

    @cached_property
    def _equations(self) -> Hashable:
        return self._parts((id(self),))

    def _parts(self, inside: tuple[int, ...]) -> Hashable:
        scales = [
            (name, each.scale, *((each.min, each.max) if each.scale == "logit" else ()))
            for name, each in self.parameters.items()
        ]
        names = [list(self.outputs), list(self.inputs)]
        return made_of([scales, names, *(getattr(self, name) for name in SOLVED_BY)], inside)

    def look_again(self) -> None:
        """Forget `made_of`: what the model's functions reach outside may be another number now."""
        for name in travel.FOUND_ANEW:
            vars(self).pop(name, None)

    @cached_property
    def digested(self) -> str:
        """A hash of all that decides on a curve or a fit: equal in every process, whatever file the model lies in."""
        return travel.digest_of(self)

    @property
    def description(self) -> str:
        """The text at the top of the model's file: title, equations, source, assumptions."""
        function = self.curve or self.rhs
        return str(getattr(function, "__globals__", {}).get("__doc__") or "")

    @property
    def channels(self) -> tuple[str, ...]:
        """What can be given: `dosing`, `markers` and comedication, or cells for a closed form that names ``dose``."""
        if self.rhs is not None:
            return (*self.dosing, *self.markers, *days_acting(self))
        return ("cells",) if self.curve is not None and "dose" in names_of(self.curve) else ()

    def values(self, given: Values | None = None) -> dict[str, Any]:
        """The defaults with ``given`` in their place and ties worked out, in the order of `parameters`."""
        # What computes begins with the values: solutions, checks, descriptions, power.
        readiness.refuse()
        given = given or {}
        for name, value in given.items():
            self.require(name)
            if isinstance(value, (str, bytes, bool, np.bool_)):
                raise ModelError(f"{name}={value!r}: give a number.", name=name)
        values = {name: given.get(name, parameter.value) for name, parameter in self.parameters.items()}
        tied = {name: call(tie, values) for name, tie in self.ties.items() if name not in given}
        return {**values, **tied}

    def require(self, name: str) -> None:
        """Raise ModelError, with the nearest name, unless the model has this parameter."""
        if name not in self.parameters:
            raise ModelError(
                f"{self.name} has no parameter {name}; it has {', '.join(self.parameters)}. "
                f"{suggest(name, self.parameters)}".rstrip(),
                name=name,
            )

    def default_free(self, study: Study) -> tuple[str, ...]:
        """The parameters that are estimated unless the user says otherwise."""
        chosen = self.parameters if self.free is None else self.free
        chosen = (*chosen(study), *self.comedication) if callable(chosen) else chosen
        return tuple(name for name in chosen if name not in self.held and name not in self.ties)

    def guess(self, study: Study) -> dict[str, float]:
        """Start values from the data of one subject, inside the bounds; defaults for what the samples do not show.

        Raises
        ------
        StudyError
            More than one subject.
        """
        from cellkinetics.optimising import guessing

        return guessing.guess(self, study)

    def with_(
        self,
        *,
        fixed: Mapping[str, float] | None = None,
        free: str | Sequence[str] | None = None,
        tie: Mapping[str, Function] | None = None,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        values: Mapping[str, float] | None = None,
        comedication: str | Sequence[str] | Mapping[str, str | Sequence[str] | None] | None = None,
        lasts: Mapping[str, float] | None = None,
    ) -> Model:
        """The model with other defaults; the file is not touched.

        Parameters
        ----------
        fixed : {name: value} not estimated by default.
        free : names estimated by default, in place of the model's own.
        tie : {name: function of other parameters, by name}.
        bounds : {name: (lower, upper)} on the natural scale.
        values : {name: default}; stays free if it was.
        comedication
            {what is given: a rate of the right-hand side, or several}: while it acts, the rate is multiplied by a new
            parameter, ``tocilizumab_on_rho`` for {"tocilizumab": "rho"}, estimated where it was given; 1 is no effect.
            Names alone, of "tocilizumab", "steroids", "IL-2" and "N-803", act on the rates of the library's models.
        lasts : {what is given: days that an administration acts}; from its day on where not named.

        Returns
        -------
        Model

        Examples
        --------
        >>> from cellkinetics import models
        >>> without = models.load("il15_persistence").with_(fixed={"tau": 0.0})
        >>> without.parameters["tau"].value
        0.0

        Raises
        ------
        ModelError
            An unknown name, a value outside its bounds, a tie in terms of a tied parameter, a comedication of a
            closed form without `equations`.
        """
        if comedication or lasts:
            given, acting = by_what(comedication), domains.by_name(lasts, "lasts", {"tocilizumab": 14.0})
            said = {name: each for name, each in (("comedication", given), ("lasts", acting)) if each}
            other = replace(comedicated(self, given, acting), changes=_joined(self.changes, said))
            return other.with_(fixed=fixed, free=free, tie=tie, bounds=bounds, values=values)
        free = (free,) if isinstance(free, str) else free
        fixed, values = (domains.by_name(one, of, {"alpha": 0.3}) for one, of in ((fixed, "fixed"), (values, "values")))
        fixed, tie, bounds, values = fixed or {}, tie or {}, bounds or {}, values or {}
        for name in [*fixed, *(free or ()), *tie, *bounds, *values]:
            self.require(name)
        twice = [name for name in fixed if name in tie or name in values or name in (free or ())]
        twice += [name for name in tie if name in (free or ())]
        if twice:
            raise ModelError(f"{twice[0]} is given twice among fixed, free, tie and values; keep one.", name=twice[0])
        parameters = dict(self.parameters)
        for name, (lower, upper) in bounds.items():
            parameters[name] = replace(parameters[name], min=float(lower), max=float(upper))
        for name, value in {**values, **fixed}.items():
            parameters[name] = replace(parameters[name], value=float(value), source="given by the user")
        ties = {name: f for name, f in self.ties.items() if name not in (*fixed, *(free or ()))} | dict(tie)
        check_ties(self, ties)
        said = {"fixed": fixed, "free": free, "tie": tie, "bounds": bounds, "values": values}
        kept = {name for name in self.held | set(fixed) if name not in (free or ())}
        return replace(
            self,
            parameters=parameters,
            free=self.free if free is None else tuple(free),
            ties=ties,
            held=frozenset(kept),
            changes=_joined(self.changes, {name: value for name, value in said.items() if value}),
        )

    def with_set(self, name: str) -> Model:
        """The model with one of its named parameter sets as defaults; `with_` changes it further.

        Parameters
        ----------
        name : one of `sets`.

        Examples
        --------
        >>> from cellkinetics import models
        >>> models.load("il15_persistence").with_set("early_decline").parameters["rho"].value
        0.3

        Raises
        ------
        ModelError
            The model has no such set, or was changed before: a set comes first.
        """
        if name not in self.sets:
            has = f"has {', '.join(self.sets)}" if self.sets else "has no sets"
            text = f"{self.name} has no parameter set {name!r}; it {has}. {suggest(name, self.sets)}".rstrip()
            raise ModelError(text.rstrip(), name=name)
        if self.changes:
            raise ModelError(
                f"{self.name} was changed before its set {name!r} was chosen, which would undo some of it. Choose the "
                "set first: model.with_set(...).with_(...).",
                name=name,
            )
        chosen = self.sets[name]
        parameters = {
            each: replace(parameter, value=float(chosen.values[each]), source=chosen.source)
            if each in chosen.values
            else parameter
            for each, parameter in self.parameters.items()
        }
        return replace(
            self,
            parameters=parameters,
            population=chosen.population,
            free=self.free if chosen.free is None else chosen.free,
            checks=chosen.checks,
            changes={"set": name},
        )

    def describe(self, *, markdown: bool = False) -> str:
        """Equations, source, parameters, checks in words; for a docs page with ``markdown``."""
        # Checks are functions of the model's file, and may compute before they ask the model.
        readiness.refuse()
        return description.describe(self, markdown=markdown)

    @domains.picture
    def plot(
        self,
        axes: Axes | None = None,
        *,
        doses: object = None,
        days: float = 365.0,
        parameters: Values | None = None,
        inputs: Mapping[str, Any] | None = None,
        size: domains.Size = None,
    ) -> Axes:
        """The curve of each output at its defaults on a log axis; returns the axes.

        Parameters
        ----------
        axes : to draw on; a new figure when not given. size : its width and height in mm.
        doses : as in `solve`; 1e6 at day 0 for a model that needs one when not given.
        days : length of the curve.
        parameters : {name: natural value} in place of the defaults.
        inputs : covariates over time, as in `solve`.
        """
        from cellkinetics.figures import trajectory

        return trajectory.plot_model(self, axes, doses, days, parameters, inputs)

    def solve(
        self,
        times: Any,
        parameters: Values | None = None,
        doses: object = None,
        *,
        inputs: Mapping[str, Any] | None = None,
        reverse: bool = False,
    ) -> dict[str, jax.Array]:
        """The curves: pure JAX, for jit, vmap and forward derivatives.

        Parameters
        ----------
        times : (n,) days since the first infusion; at the time of a dose, the value after it.
        parameters : {name: value} on the natural scale; defaults where not named.
        doses
            a number (a bolus at day 0), (day, amount) pairs, (day, amount, days of infusion) triples, {channel: any
            of these}, or `Doses`.
        inputs : {name: number or (day, value) pairs} of covariates over time, where the model takes any.
        reverse : make an ODE reverse-differentiable instead of forward.

        Returns
        -------
        {output: (n,)} in the unit of `outputs`; NaN where no solver finished.
        """
        from cellkinetics.solving.solver import compiled

        readiness.refuse()
        self.look_again()
        if not any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(times)):
            # Arrays of JAX may be traced, their values are not known yet.
            times = domains.days(times, "times") if np.ndim(times) < 2 else times
        courses = as_courses(inputs, self.inputs, self.name)
        days, events = jnp.asarray(times, float), self.doses(doses)
        outputs, _ = compiled(self, reverse)(days, self.values(parameters), events, courses)
        return outputs

    def doses(self, doses: object) -> Doses:
        """Doses as arrays; refuses a second infusion that a closed form cannot take."""
        events = as_doses(doses, self.channels, self.markers, days_acting(self))
        of_curve = self.curve is not None or self.equations is not None
        if not (of_curve and takes_doses(self) and isinstance(events.amounts, np.ndarray)):
            return events
        if events.rates is not None and np.any(np.asarray(events.rates)[:, 0]):
            raise ModelError(
                f"{self.name} is a closed form for a bolus and cannot take an infusion over time. Take an ODE model, "
                "such as il15_persistence, or give the dose without a duration.",
                name="doses",
            )
        later = events.times[np.asarray(events.amounts[:, 0]) > 0]
        if not self.linear_in_dose and (len(later) > 1 or np.any(np.asarray(later) > 0)):
            raise ModelError(
                f"{self.name} is a closed form for one infusion and cannot take {len(later)}. "
                "Take an ODE model, such as il15_persistence.",
                name="doses",
            )
        return events


def _joined(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Changes on top of changes: later ones win, name by name."""
    joined = dict(before)
    for kind, value in now.items():
        joined[kind] = {**before.get(kind, {}), **value} if isinstance(value, Mapping) else tuple(value)
    return joined
