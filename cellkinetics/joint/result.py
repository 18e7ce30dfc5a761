"""Several patients in one fit: shared parameters, parameters of their own, and what is driven by dose or cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.study import Study
from cellkinetics.errors import one_problem, suggest
from cellkinetics.fitting.fit import finished
from cellkinetics.fitting.fits import Fits, plot_each
from cellkinetics.fitting.misfit import Misfit, joined
from cellkinetics.fitting.result import Fit
from cellkinetics.joint import fitting as joint_fitting
from cellkinetics.joint import misfit as joint_misfit
from cellkinetics.joint import table
from cellkinetics.joint.design import ALL, Column
from cellkinetics.joint.evaluation import Batched
from cellkinetics.joint.fitting import Members, Solution
from cellkinetics.joint.spread import spread_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.criteria import Criteria
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.stacking import places
from cellkinetics.optimising.status import Status
from cellkinetics.optimising.uncertainty import Uncertainty
from cellkinetics.running.later import Later
from cellkinetics.running.phases import Phases
from cellkinetics.saving import UNSAVED, Saves
from cellkinetics.words import count


@dataclass(frozen=True, eq=False, repr=False)
class JointFit(Saves, HandsOutCopies, Criteria):
    """The fit of several patients together.

    Parameters
    ----------
    shared : {parameter: "all", "dose" or the covariate whose groups have a value each}.
    common_sd : whether there is one sd (an output) for all.
    left_out : {subject: why it takes no part}.
    outcome : "converged", or the reason why not, with advice; of curves that miss their samples also that, and whose.
    status : the same for programs, a `Status`.
    log_likelihood_ln : of ln(copies), of all patients.
    n_quantified, n_censored : samples in the likelihood.
    n_excluded : rows left out, those of patients left out included.
    n_free : free values, sds included: a shared one counts once.
    columns, s, covariance : the shared values on their estimation scale, with their covariance.
    degrees_of_freedom : quantified samples minus the parameters that they determine, of all patients.
    starts : how many starts reached the best optimum, of how many.
    sd_by : how the sd is known where the samples are too few for it, in words; "" otherwise.
    seconds, timings : that it took, and {phase: seconds}, with "compiling" for what of them the compiler took.
    each
        {subject: `Fit`}: the subject's curve, residuals and derived quantities with the covariance of the joint fit.
        Its likelihood is its part; what would refit it alone (profile, bootstrap, influence, identifiability, a
        comparison of models) is refused with the call that holds what is shared, unless nothing is.
    """

    request: Request = field(metadata=UNSAVED)
    study: Study = field(metadata=UNSAVED)
    shared: Mapping[str, str]
    common_sd: bool
    left_out: Mapping[str, str]
    outcome: str
    status: Status
    log_likelihood_ln: float
    sum_ln_quantified: float
    n_quantified: int
    n_censored: int
    n_excluded: int
    n_free: int
    columns: Sequence[Column] = field(repr=False)
    s: Floats
    covariance: Floats
    degrees_of_freedom: float
    inflation: float
    reference_dose: float
    starts: tuple[int, int]
    seconds: float
    each: Mapping[str, Fit] = field(metadata=UNSAVED)
    sd_by: str = ""
    timings: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def model(self) -> Model:
        """The model that was fitted."""
        return self.request.model

    @property
    def subjects(self) -> tuple[str, ...]:
        """Those who take part, in the order of the study."""
        return tuple(self.each)

    @property
    def converged(self) -> bool:
        """Whether the outcome is "converged"."""
        return self.status is Status.CONVERGED

    @cached_property
    def misfit(self) -> dict[str, Misfit]:
        """{subject: how its curve misses its samples} of those whose does; "all" of a common sd that is too large.

        Empty, and false, where the curves meet the samples.
        """
        whole = joint_misfit.of_common_sd(
            self.columns, self.s, Uncertainty(self.covariance, self.degrees_of_freedom, self.inflation, ()), self.model,
            self.request.error_model,
        )  # fmt: skip
        each = {subject: fit.misfit for subject, fit in self.each.items()}
        return {subject: misfit for subject, misfit in {**each, ALL: whole}.items() if misfit}

    @property
    def needs_look(self) -> bool:
        """Whether the fit did not converge, or a curve misses its samples."""
        return not self.converged or bool(self.misfit)

    @property
    def censoring(self) -> str:
        """How values below the limit entered: m3, m4, drop or half."""
        return self.request.censoring

    @property
    def has_priors(self) -> bool:
        """Whether priors were maximised with the likelihood."""
        return bool(self.request.prior)

    @property
    def sd_is_known(self) -> bool:
        """Whether every sd is given: none is estimated."""
        return not any(fit.problem.sd_free.any() for fit in self.each.values())

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """Long table: subject, parameter, value, stderr, lower, upper, unit, status, source.

        Shared values come first, once, with the subject "all" or "cohort 1e6/kg"; then each subject's own, then what is
        fixed for all.
        """
        return table.parameters(self)

    def __getitem__(self, subject: str) -> Fit:
        if subject not in self.each:
            reason = self.left_out.get(subject, suggest(str(subject), self.each))
            raise KeyError(f"{subject!r} is not in the joint fit. {reason}".rstrip())
        return self.each[subject]

    def predict(
        self,
        times: Sequence[float] | None = None,
        *,
        level: float = 0.95,
        interval: str = "confidence",
        doses: object = None,
    ) -> pd.DataFrame:
        """The fitted curves of all subjects, as `Fit.predict`, with ``subject`` in front."""
        return self.as_fits.predict(times, level=level, interval=interval, doses=doses)

    def derived(self, *, level: float = 0.95, output: str | None = None) -> pd.DataFrame:
        """What the fitted curves of all subjects say, as `Fits.derived`."""
        return self.as_fits.derived(level=level, output=output)

    @property
    def residuals(self) -> pd.DataFrame:
        """Every sample in the likelihood, as `Fit.residuals`, with ``subject`` in front."""
        tables = {subject: fit.residuals for subject, fit in self.each.items()}
        return pd.concat(tables, names=["subject"]).reset_index(level="subject").reset_index(drop=True)

    def quantile_residuals(self, seed: int = 2020) -> pd.DataFrame:
        """Randomised quantile residuals of all subjects, as `Fits.quantile_residuals`."""
        return self.as_fits.quantile_residuals(seed)

    plot = plot_each

    def summary(self) -> str:
        """The fit in words: who takes part, what is shared, counts, estimates, outcome."""
        return table.summary(self)

    def __repr__(self) -> str:
        what = ", ".join(f"{name} by {how}" if how != "all" else name for name, how in self.shared.items()) or "nothing"
        return f"<JointFit of {count(len(self.each), 'subject')}, {self.model.name}, shared: {what}: {self.outcome}>"

    @property
    def as_fits(self) -> Fits:
        """Every patient of the fit, as fits of single patients are kept."""
        return Fits(self.study.select(subjects=list(self.each)), self.each)


def fit_joint(
    request: Request, study: Study, shared: str | Sequence[str] | Mapping[str, str], common_sd: bool
) -> JointFit:
    """`ck.fit` with ``shared=``.

    Raises
    ------
    ModelError, StudyError
        As `ck.fit`; a shared parameter that is fixed or tied; nobody who can take part.
    """
    phases = Phases()
    with phases("preparing"):
        members = joint_fitting.members(request, study, shared, common_sd)
    if not members.cases:
        text = "; ".join(f"{subject}: {reason}" for subject, reason in list(members.left_out.items())[:3])
        raise one_problem(f"nobody can take part in the joint fit ({text})", "Share more parameters, or give priors.")
    with phases("optimising"):
        patients = Batched(members.problems)
        solution = joint_fitting.solve(members, joint_fitting.joint_of(members, patients), patients)
    with phases("uncertainty"):
        fit = of_solution(members, solution, phases)
    timings = phases.done(
        f"{request.model.name} fitted to {count(len(members.cases), 'patient')} together, {fit.status}"
    )
    return replace(fit, timings=timings, seconds=phases.total)


def shared_of(shared: Mapping[str, str], common_sd: bool, problem: Problem) -> tuple[str, ...]:
    """The names of a patient's free values that are not its own."""
    sds = [name for name, free in zip(problem.sd_names, problem.sd_free, strict=True) if free and common_sd]
    return (*(name for name in problem.free if name in shared), *sds)


def of_solution(members: Members, solution: Solution, phases: Phases) -> JointFit:
    """The fit from where its optimiser ended; ``phases`` are those until now."""
    joint, part = solution.joint, solution.part
    spread, seconds = spread_of(joint, part, solution.held, members.few), phases.total
    only, n = members.study.each(), len(members.cases)
    outcome = joint_fitting.outcome(members, solution, spread)
    outcome = outcome._replace(words="; ".join(filter(None, (outcome.words, members.sd_by))))
    quantified = sum(int(case.samples.quantified.sum()) for case in members.cases.values())
    seen = [case.problem.samples for case in members.cases.values()]
    kept = sum(map(len, seen))
    ln_likelihood = float(np.sum(part.value)) - sum(
        case.problem.log_prior(solution.x[i, places(case.problem, joint.layout.own.shape[2] - len(case.problem.sd))])
        for i, case in enumerate(members.cases.values())
    )
    numbers = {subject: i for i, subject in enumerate(members.cases)}
    misfits = joint_misfit.misfits_of(members, solution, spread)
    missed = joint_misfit.said(misfits, n)

    def fit_of(subject: str) -> Fit:
        i, case = numbers[subject], members.cases[subject]
        return finished(
            members.request, only(subject), case.problem, case.samples, joint_fitting.optimum_of(solution, i),
            spread.each[i], outcome, seconds / n, misfits[subject],
            shared_of(members.shared, members.common_sd, case.problem),
        )  # fmt: skip

    return JointFit(
        request=members.request, study=members.study, shared=dict(members.shared), common_sd=members.common_sd,
        left_out=dict(members.left_out), outcome=joined(outcome, Misfit(missed)), status=outcome.status,
        log_likelihood_ln=ln_likelihood if np.isfinite(solution.ends.value[0]) else np.nan,
        sum_ln_quantified=float(sum(np.log(rows.lower[rows.quantified]).sum() for rows in seen)),
        n_quantified=quantified, n_censored=kept - quantified,
        n_excluded=len(members.study.observations) - kept,
        n_free=len(joint.columns) + int(joint.layout.own.sum()),
        columns=joint.columns, s=solution.ends.s[0], covariance=spread.shared.covariance,
        degrees_of_freedom=spread.shared.degrees_of_freedom, inflation=spread.shared.inflation,
        reference_dose=joint.reference, starts=solution.starts, seconds=seconds, each=Later(numbers, fit_of),
        sd_by=members.sd_by,
    )  # fmt: skip
