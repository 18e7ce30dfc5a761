"""A study simulated again and again: the same patients' days, doses, covariates and limits, with other samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.data import groups
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError
from cellkinetics.fitting.bootstrap import ends_about
from cellkinetics.fitting.fits import Fits
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.placing import status_of
from cellkinetics.modelling.comedication import days_acting
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.samples import Samples, samples_each
from cellkinetics.population import importance
from cellkinetics.population.individuals import problem_given
from cellkinetics.population.patients import Patients
from cellkinetics.population.running import Population
from cellkinetics.population.saem import Theta
from cellkinetics.predictive.described import Populations
from cellkinetics.predictive.other_patients import factors_of
from cellkinetics.predictive.other_patients import solved as solved_by_any

MOST_STRATA = 12  # panels
ALL_TOGETHER = "all"  # the name of the only stratum
KEEP_ALL = ("m3", "m4")  # ways of handling values below a limit that take the samples as they are


@dataclass(frozen=True, eq=False)
class Replicates:
    """m simulated studies of the same N samples of n patients.

    Parameters
    ----------
    study : the study. subjects : (n,) who is simulated, in its order.
    samples : of each of them, whatever the fit did with those below a limit. outputs : names of the model's outputs.
    copies : (m, N) what was drawn, before limits are looked at.
    lower, upper : (m, N) its ends as the limits of each sample leave them, alike where quantified.
    solved : (m, n) whether the patient's curve could be.
    predicted : (N,) ln of the curve at no random effect; of a fit of one patient its own curve.
    """

    study: Study
    subjects: tuple[str, ...]
    samples: tuple[Samples, ...]
    outputs: tuple[str, ...]
    copies: Floats
    lower: Floats
    upper: Floats
    solved: Flags
    predicted: Floats

    @cached_property
    def place(self) -> Ints:
        """(N,) whose sample it is, as an index of ``subjects``."""
        return np.repeat(np.arange(len(self.subjects)), [len(own) for own in self.samples])

    @cached_property
    def rows(self) -> pd.DataFrame:
        """(N,) the samples: subject, day (since the first infusion), output, lower, upper, status, lloq, uloq."""
        parts = {
            name: np.concatenate([getattr(own, name) for own in self.samples])
            for name in ("day", "output", "lower", "upper", "status", "lloq", "uloq")
        }
        table = pd.DataFrame({"subject": np.array(self.subjects, object)[self.place], **parts})
        return table.assign(
            output=[self.outputs[i] for i in parts["output"]], status=pd.Series(parts["status"], dtype="str")
        )

    @property
    def solved_rows(self) -> Flags:
        """(m, N) the same by sample."""
        return self.solved[:, self.place]

    def table(self) -> pd.DataFrame:
        """One row a simulated sample: replicate, subject, day, output, lower, upper, status, solved."""
        m, n = self.lower.shape
        repeated = {name: np.tile(self.rows[name].to_numpy(object), m) for name in ("subject", "output")}
        lower, upper = self.lower.ravel(), self.upper.ravel()
        return pd.DataFrame(
            {
                "replicate": np.repeat(np.arange(m), n), "subject": pd.Series(repeated["subject"], dtype="str"),
                "day": np.tile(self.rows["day"].to_numpy(float), m),
                "output": pd.Series(repeated["output"], dtype="str"), "lower": lower, "upper": upper,
                "status": pd.Series(status_of(lower, upper), dtype="str"), "solved": self.solved_rows.ravel(),
            }
        )  # fmt: skip


def strata_of(study: Study, subjects: Sequence[str], by: str | None, model: Model) -> tuple[pd.Series, list[str]]:
    """The group of each subject by a covariate, and the groups that there are; one of all where ``by`` is None.

    By a comedication of the model, or by another thing than cells that the study has doses of, those who were ever
    given it and the others.
    """
    if by is None:
        return pd.Series(ALL_TOGETHER, index=list(subjects)), [ALL_TOGETHER]
    if not isinstance(by, str):
        raise TypeError(f"by={by!r}: give the name of one covariate, such as 'cohort'.")
    kinds = {*study.doses["kind"]} - {"cells", *study.covariates}
    given = by in days_acting(model) or by in kinds
    members, found = groups.ever_given(study, by) if given else groups.of(study, by)
    if len(found) > MOST_STRATA:
        raise ValueError(f"by={by!r} has {len(found)} values: each would have a panel. Cut it into a few groups first.")
    members, found = (pd.Series(each).map(partial(groups.shown, by=by)) for each in (members, found))
    return members, [name for name in found if (members[list(subjects)] == name).any()]


def of_population(
    population: Population, theta: Theta, m: int, seed: int, drawn: Populations | None = None
) -> Replicates:
    """Other patients of a population, with the days, doses, covariates and limits of those that it was fitted to.

    drawn : draws of its posterior, of which each replicate takes one, and ``theta`` their means.
    """
    patients = _with_all_samples(population.patients)
    population = replace(population, patients=patients)
    if drawn is not None:
        return _at_draws(population, theta, drawn, m, seed)
    rng, design = np.random.default_rng(seed), population.design
    means = importance.mean_of(design.matrix, theta, population.random)
    effects = rng.normal(size=(m, *means.shape)) @ np.linalg.cholesky(np.asarray(theta.omega)).T
    phi = np.concatenate([means[None], means + effects])
    spare = importance.whole_blocks(len(phi)) - len(phi)
    value, curve, _ = population.solved(
        theta, np.concatenate([phi, np.repeat(means[None], spare, axis=0)]), slopes=False
    )
    problems = [problem_given(patients, design, theta, at) for at in range(len(means))]
    fine = np.isfinite(value[: m + 1])
    for number, at in np.argwhere(~fine):
        # What one way of solving refuses the next may solve, as in a fit.
        again = problems[at].curve(phi[number, at], 0)
        fine[number, at] = bool(again.solved)
        own = again.value[: len(problems[at].samples)]
        curve[number, at, : len(own)] = np.where(again.solved, own, np.nan)
    sds = [patients.sds_at(phi[1 : m + 1, at], theta.ln_sd) for at in range(len(means))]
    curves = [curve[: m + 1, at, : len(problem.samples)] for at, problem in enumerate(problems)]
    return _drawn(patients.study, patients.subjects, problems, curves, sds, fine[1:], rng)


def _at_draws(population: Population, theta: Theta, drawn: Populations, m: int, seed: int) -> Replicates:
    """See `of_population`."""
    patients, design, rng = population.patients, population.design, np.random.default_rng(seed)
    members = drawn.take(np.resize(rng.permutation(len(drawn.beta)), m))
    beta = np.concatenate([np.asarray(theta.beta)[None], members.beta])
    x = np.einsum("nkp,mp->mnk", design.matrix, beta)
    z = rng.normal(size=(m, len(patients.subjects), len(design.random)))
    x[1:, :, design.places] += np.einsum("mqr,mnr->mnq", factors_of(members.omega), z)
    rows = max(len(problem.samples) for problem in patients.problems)
    curve = solved_by_any(patients, x, population.method, rows, np.float64)
    curves = [curve[:, at, : len(problem.samples)] for at, problem in enumerate(patients.problems)]
    sds = [patients.sds_at(x[1:, at, design.places], members.ln_sd) for at in range(len(curves))]
    fine = np.stack([np.isfinite(own[1:]).all(axis=-1) for own in curves], axis=1)
    return _drawn(patients.study, patients.subjects, patients.problems, curves, sds, fine, rng)


def of_fits(fits: Fits, m: int, seed: int) -> Replicates:
    """Each patient with its own estimates again: other errors of the samples, and no other patients.

    Raises
    ------
    ModelError
        Nobody was fitted.
    """
    fitted = {subject: fit for subject, fit in fits.items() if fit.fitted}
    if not fitted:
        raise ModelError("no patient was fitted: there is nothing to simulate. Look at fits.outcomes.")
    rng = np.random.default_rng(seed)
    problems, curves, sds, solved = [], [], [], np.ones((m, len(fitted)), bool)
    model = next(iter(fitted.values())).model
    everyone = {} if all(fit.censoring in KEEP_ALL for fit in fitted.values()) else samples_each(model, fits.study)
    for at, fit in enumerate(fitted.values()):
        problem = fit.problem
        if fit.censoring not in KEEP_ALL:
            problem = replace(problem, samples=everyone[fit.subject])
        at_x = problem.curve(fit.x, 0)
        own = at_x.value[: len(problem.samples)]
        problems.append(problem)
        curves.append(np.broadcast_to(own, (m + 1, len(own))))
        sds.append(fit.inflation * np.exp(problem.ln_sds(fit.x)))
        solved[:, at] = bool(at_x.solved)
    return _drawn(fits.study, tuple(fitted), problems, curves, sds, solved, rng)


def _drawn(
    study: Study,
    subjects: tuple[str, ...],
    problems: Sequence[Problem],
    curves: Sequence[Floats],
    sds: Sequence[Floats],
    solved: Flags,
    rng: np.random.Generator,
) -> Replicates:
    """Samples about curves (m + 1, own samples) of each patient, of which the first is the prediction."""
    each = [
        ends_about(problem, np.nan_to_num(curve[1:], nan=0.0), sd, rng)
        for problem, curve, sd in zip(problems, curves, sds, strict=True)
    ]
    copies, lower, upper = (np.concatenate(parts, axis=1) for parts in zip(*each, strict=True))
    return Replicates(
        study, subjects, tuple(problem.samples for problem in problems), tuple(problems[0].model.outputs),
        copies, lower, upper, solved, np.concatenate([curve[0] for curve in curves]),
    )  # fmt: skip


def _with_all_samples(patients: Patients) -> Patients:
    """With the samples below a limit as they are, where the fit had left them out or put half the limit."""
    if patients.request.censoring in KEEP_ALL:
        return patients
    cases = {
        subject: replace(case, problem=replace(case.problem, samples=case.samples))
        for subject, case in patients.cases.items()
    }
    return replace(patients, cases=cases)
