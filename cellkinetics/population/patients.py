"""All patients of a study as the arrays of one program: everyone with a sample, one free set, doses padded alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError, one_problem
from cellkinetics.modelling.course import Course
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.levels import unit_of
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.modelling.prior import NormalPriors
from cellkinetics.modelling.structure import Method, methods
from cellkinetics.optimising.cases import Case, prepare_each
from cellkinetics.optimising.engine import Data
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.stacking import stacked
from cellkinetics.optimising.status import Status
from cellkinetics.sampling import curves
from cellkinetics.solving.sensitivity import padded_length
from cellkinetics.words import count

LOOKED_AT_FOR_UNITS = 5  # patients, for the unit of a parameter on the natural scale
SAMPLES_APART = 4  # samples: programs are made for multiples of so many
TAKES_NO_PART = (Status.NO_SAMPLE, Status.NO_DOSE, Status.NO_MASS, Status.NOT_FITTED)


@dataclass(frozen=True, eq=False)
class Patients:
    """Those who take part, with one free set.

    Parameters
    ----------
    names : the free parameters, in the order of the model.
    cases : {subject: its samples, problem and start}.
    left_out : {subject: why}.
    own_sds : sds of the error that each patient has of its own, in the order of `sd_names`; others are common to all.
    found : (n, k + r) where each patient's samples were found to lie, in place of its guess; None where none were.
    """

    request: Request
    study: Study
    names: tuple[str, ...]
    cases: Mapping[str, Case]
    left_out: Mapping[str, str]
    own_sds: tuple[str, ...] = ()
    found: Floats | None = None

    @property
    def model(self) -> Model:
        """The model."""
        return self.request.model

    @property
    def subjects(self) -> tuple[str, ...]:
        """Those who take part, in the order of the study."""
        return tuple(self.cases)

    def with_common_sds(self, names: Sequence[str]) -> Patients:
        """With these sds in common that each patient had of its own."""
        if not names:
            return self
        kept = [*range(len(self.names)), *(len(self.names) + at for at, n in enumerate(self.own_sds) if n not in names)]
        own = tuple(name for name in self.own_sds if name not in names)
        return replace(self, own_sds=own, found=self.guesses[:, kept])

    @cached_property
    def problems(self) -> list[Problem]:
        """Of those who take part, doses and courses padded to the longest."""
        each = [case.problem for case in self.cases.values()]
        slots = max(len(problem.doses.times) for problem in each)
        days = {name: max(len(p.courses[name].days) for p in each) for name in each[0].courses}
        return [
            replace(
                problem,
                doses=_longer(problem.doses, slots),
                courses={name: _to(course, days[name]) for name, course in problem.courses.items()},
            )
            for problem in each
        ]

    @property
    def method(self) -> Method:
        """How curves are solved: the model's first way that takes the doses."""
        every = methods(self.model)
        rates = any(problem.doses.rates is not None for problem in self.problems)
        return next(each for each in every if each.fineness is None) if rates else every[0]

    def data(self, method: Method) -> Data:
        """The arrays, one row a patient."""
        rows = padded_length(max(len(problem.samples) for problem in self.problems), SAMPLES_APART)
        shape = (rows, len(self.names))
        data = stacked(self.problems, shape, len(self.problems), method.fineness or 0)
        return data if method.fineness is not None else data._replace(inputs=data.inputs._replace(prepared=()))

    @property
    def sd_names(self) -> list[str]:
        """Of all sds, estimated or not."""
        return self.problems[0].sd_names

    @property
    def own_places(self) -> tuple[int, ...]:
        """Of `own_sds` among `sd_names`."""
        return tuple(at for at, name in enumerate(self.sd_names) if name in self.own_sds)

    @property
    def common_sds(self) -> list[str]:
        """(c,) those that all patients have in common, estimated or not."""
        return [name for name in self.sd_names if name not in self.own_sds]

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Of all that a design may name: the model's, and the sds that patients have of their own, on the ln scale."""
        own = {name: Parameter(float(self._sd_start[name]), self.unit_of(name), "estimated") for name in self.own_sds}
        return {**self.model.parameters, **own}

    def unit_of(self, name: str) -> str:
        """Of a parameter or an sd, as the study has it."""
        if name not in self.sd_names:
            return unit_of(self.model, name, self.study.unit)
        error = self.request.error_model
        additive = error.additive(len(self.model.outputs))[self.sd_names.index(name)]
        return self.study.unit if additive else error.sd_unit

    @cached_property
    def sd_free(self) -> Flags:
        """(c,) whether a common sd is estimated."""
        return np.array([name not in self.request.fixed for name in self.common_sds], bool)

    @cached_property
    def samples_each(self) -> Floats:
        """(c,) samples in the likelihood of the output of each common sd."""
        outputs = len(self.model.outputs)
        rows = [sum(int((p.samples.output == i).sum()) for p in self.problems) for i in range(outputs)]
        return self._of_common(np.tile(np.array(rows, float), len(self.sd_names) // outputs))

    @cached_property
    def ln_sd_floors(self) -> Floats:
        """(c,) ln of the lowest estimate of each common sd."""
        lowest = min(problem.lowest for problem in self.problems)
        return self._of_common(self.request.error_model.ln_sd_floors(len(self.model.outputs), lowest))

    @cached_property
    def ln_sd_start(self) -> Floats:
        """(c,) ln of the common sds that are given, and of where others start."""
        return np.log(np.maximum([self._sd_start[name] for name in self.common_sds], 1e-300))

    @cached_property
    def _sd_start(self) -> Mapping[str, float]:
        error, outputs = self.request.error_model, len(self.model.outputs)
        lowest = min(problem.lowest for problem in self.problems)
        usual = np.exp(error.ln_sd_starts(np.log(np.full(outputs, 0.7)), lowest)[0])
        return {**dict(zip(self.sd_names, usual, strict=True)), **self.request.initial, **self.request.fixed}

    def _of_common(self, values: Floats) -> Floats:
        return np.delete(values, self.own_places)

    def sds_at(self, phi: Floats, ln_sd: Floats, output: Any = slice(None)) -> Floats:
        """Sds of samples of these outputs, those of a patient's own from phi, the last of which they are.

        Parameters
        ----------
        phi : (..., any). ln_sd : (c,) of those in common. output : (rows,) places of outputs.

        Returns
        -------
        (parts, ..., rows); (parts, rows) where patients have none of their own.
        """
        sds = np.exp(curves.ln_sds(np.asarray(phi), np.asarray(ln_sd), self.own_places))
        return np.moveaxis(sds.reshape(*sds.shape[:-1], -1, len(self.model.outputs)), -2, 0)[..., output]

    @cached_property
    def guesses(self) -> Floats:
        """(n, k + r) where each patient's samples say that its parameters are, on the estimation scale; its sds."""
        if self.found is not None:
            return self.found
        parameters = self.model.parameters
        each = [[parameters[name].to_estimation(case.initial[name]) for name in self.names] for case in self._each]
        of_sds = np.log([self._sd_start[name] for name in self.own_sds])
        parts = np.array(each, float).reshape(len(each), -1), np.broadcast_to(of_sds, (len(each), len(of_sds)))
        return np.hstack(parts)

    @cached_property
    def units(self) -> Floats:
        """(k + r,) in what parameters are counted: 1 on a log or logit scale; else what moves ln f by about 1.

        The latter at the guesses of a few patients. Of one that moves nothing there: the size of its guesses.
        """
        parameters, units = self.model.parameters, np.ones(len(self.names) + len(self.own_sds))
        natural = [at for at, name in enumerate(self.names) if parameters[name].scale == "identity"]
        if not natural:
            return units
        some = np.unique(np.linspace(0, len(self.problems) - 1, LOOKED_AT_FOR_UNITS).round().astype(int))
        slopes = [self.problems[at].curve(self.guesses[at, : len(self.names)], 1).jacobian for at in some]
        seen = np.concatenate(slopes)
        size = np.sqrt(np.mean(np.where(np.isfinite(seen), seen, 0.0) ** 2, axis=0))
        for at in natural:
            guess = float(np.median(np.abs(self.guesses[:, at])))
            units[at] = 1 / size[at] if size[at] > 0 else guess or 1.0
        return units

    @property
    def _each(self) -> list[Case]:
        return list(self.cases.values())


def patients_of(request: Request, study: Study, wanted: Sequence[str] | None, own_sds: Sequence[str] = ()) -> Patients:
    """Everyone with a sample in the likelihood.

    Parameters
    ----------
    request : as of a fit; ``free`` None for the model's default of every patient, together.
    wanted : names that are free in any case. own_sds : sds that each patient has of its own.

    Raises
    ------
    StudyError
        Nobody can take part.
    """
    model, asked = request.model, set(wanted or ())
    if request.free is None:
        # Which parameters are free by default may depend on the dose: in a population they are free in all.
        first = prepare_each(replace(request, prior={}), study)
        chosen = {name for case in first.values() if isinstance(case, Case) for name in case.problem.free}
    else:
        chosen = set(request.free)
    known = {*request.fixed, *request.tie}
    names = tuple(name for name in model.parameters if name in chosen | asked and name not in known)
    left: dict[str, str] = {}
    cases: dict[str, Case] = {}
    ready = prepare_each(replace(request, free=names, prior={}), study, names)
    for subject, case in ready.items():
        if not isinstance(case, Case):
            left[subject] = f"not fitted: {case}"
        elif case.reason is not None and case.reason.status in TAKES_NO_PART:
            left[subject] = case.reason.words
        elif not len(case.problem.samples):
            left[subject] = f"no sample: every row is excluded, or left out under censoring={request.censoring!r}."
        else:
            cases[subject] = replace(case, problem=_with_free_sds(case.problem, request), reason=None)
    if not cases:
        text = "; ".join(f"{subject}: {reason}" for subject, reason in list(left.items())[:3])
        raise one_problem(f"nobody can take part in the population ({text})", "Look at study.summary().")
    if not any(case.problem.samples.quantified.any() for case in cases.values()):
        what = f"no sample of {count(len(cases), 'patient')} is quantified: the level of the curves is only bounded"
        raise one_problem(what, "Report the limits, or look whether values and limits were read as they are meant.")
    return Patients(request, study, names, cases, left, tuple(own_sds))


def own_sds_of(request: Request) -> tuple[str, ...]:
    """The sds that are not fixed, where each patient has its own.

    Raises
    ------
    ModelError
        All are fixed.
    """
    names = request.error_model.sd_names(request.model.outputs)
    found = tuple(name for name in names if name not in request.fixed)
    if not found:
        raise ModelError(f"common_sd=False: {', '.join(names)} is fixed. Leave it out of fixed=.", name=names[0])
    return found


def one_more(patients: Patients, study: Study) -> Patients:
    """A patient beside them, with their free set; samples are not needed.

    Raises
    ------
    StudyError
        Its numbers, or its doses, are not such that a curve can be computed.
    """
    ready = prepare_each(replace(patients.request, free=patients.names, prior={}), study, patients.names)
    (subject,) = ready
    case = ready[subject]
    why = str(case) if not isinstance(case, Case) else case.reason.words if case.reason is not None else ""
    status = case.reason.status if isinstance(case, Case) and case.reason is not None else None
    if not isinstance(case, Case) or (status in TAKES_NO_PART and status is not Status.NO_SAMPLE):
        raise one_problem(f"{subject}: {why.rstrip('.')}", "A curve needs the doses and covariates of the patient.")
    mine = replace(case, problem=_with_free_sds(case.problem, patients.request), reason=None)
    return replace(patients, study=study, cases={subject: mine}, left_out={})


def _with_free_sds(problem: Problem, request: Request) -> Problem:
    """One sd for all: every sd that is not fixed is estimated, however few samples this patient has."""
    free = np.array([name not in request.fixed for name in problem.sd_names])
    return replace(problem, sd_free=free, few={}, priors=NormalPriors())


def _longer(doses: Doses, slots: int) -> Doses:
    """With further slots at infinity, in which nothing is given."""
    more = slots - len(doses.times)
    rates = None if doses.rates is None else np.pad(doses.rates, ((0, more), (0, 0)))
    times = np.append(doses.times, np.full(more, np.inf))
    return Doses(times, np.pad(doses.amounts, ((0, more), (0, 0))), rates)


def _to(course: Course, length: int) -> Course:
    more = length - len(course.days)
    return Course(np.pad(course.days, (0, more), mode="edge"), np.pad(course.values, (0, more), mode="edge"))
