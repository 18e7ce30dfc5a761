"""`fit_each`: every patient of a study, on the engine of batches where it knows the error model, else one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar, Unpack

from cellkinetics import domains
from cellkinetics.data.study import Study
from cellkinetics.fitting import fit as fitting
from cellkinetics.fitting.few import settled
from cellkinetics.fitting.fit import refused
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.misfit import Misfit, misfits_of
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import Columns, columns_each
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.cases import Case, prepare, prepare_each
from cellkinetics.optimising.chunks import WRONG, optima_by
from cellkinetics.optimising.optimise import Optimum
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Asked, Request, asking
from cellkinetics.optimising.samples import infusion_days
from cellkinetics.optimising.status import Outcome, Status, not_fitted
from cellkinetics.optimising.uncertainty import Uncertainty, uncertainties
from cellkinetics.progress import bar
from cellkinetics.running.later import Later
from cellkinetics.running.phases import Phases
from cellkinetics.running.run import HERE, Run
from cellkinetics.words import count

_UNFINISHED = "not fitted: interrupted before it was finished. Fit it again, or give fewer subjects."
Result = TypeVar("Result")
INTERRUPTED = Outcome(Status.INTERRUPTED, _UNFINISHED)


@asking
def fit_each(
    model: Model,
    study: Study,
    *,
    pool_sd: bool = False,
    progress: bool = True,
    chunk: int | None = None,
    checkpoint: str | Path | None = None,
    n_jobs: int = 1,
    **asked: Unpack[Asked],
) -> Fits:
    """Fit a model to every subject of a study, each on its own.

    A subject who cannot be fitted is an outcome with its reason and does not cost the others theirs. Interrupted from
    the keyboard it returns what is finished; the others have the outcome "not fitted: interrupted".

    Parameters
    ----------
    model, study : the model, and a study of any number of subjects.
    fixed, free, initial, tie, censoring, doses, prior, starts, seed, error : as in `fit`.
    pool_sd
        what is taken to be known of an sd that a subject's samples are too few for: the stated prior of `fit` alone, or
        with it the residuals of the other subjects, pooled over their degrees of freedom. Intervals are narrower then,
        and a subject's depend on who else is there; the outcome says on how many.
    progress : whether a bar with the time left is shown on the terminal.
    chunk
        subjects fitted together in one batch; 512 where not given, and 32 of a model that is integrated. Fewer take
        less memory, and are shown, kept and shared among processes earlier. Results are those of any other size.
    checkpoint
        a folder in which finished chunks are kept, so that a run that was killed goes on when it is called again with
        the same arguments. Of another question it is refused, with what differs.
    n_jobs : processes that chunks are shared among, -1 for as many as there are; ``joblib.parallel_config`` says where.

    Raises
    ------
    ModelError, StudyError
        What is wrong for every subject: an unknown parameter, no dose in the whole study for a model that needs one.
    ValueError
        A checkpoint of another question.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> ck.fit_each(ck.models.load("nk_decline"), ck.example(), starts=1, progress=False)
    <Fits of 11 subjects: 5 converged>
    """
    fitting.check_kinds(model, study, "ck.fit_each")
    fitting.check_asked(asked)
    request, chunk = Request.of(model, **asked), None if chunk is None else domains.count(chunk, "chunk")
    pool_sd, progress = domains.flag(pool_sd, "pool_sd"), domains.flag(progress, "progress")
    request = fitting.check(request, study)
    options = {**request.asked, "pool_sd": pool_sd, "chunk": chunk}
    run = Run.of(checkpoint, n_jobs, lambda: {"verb": "fit_each", "data": study.sha256, **options})
    return Fits(study, together(request, study, progress, chunk, pool_sd=pool_sd, run=run))


def together(
    request: Request,
    study: Study,
    progress: bool,
    chunk: int | None = None,
    *,
    pool_sd: bool = False,
    run: Run = HERE,
) -> Mapping[str, Fit]:
    """All subjects on the batch engine, a chunk at a time."""
    phases = Phases()
    with phases("preparing"):
        cases = prepare_each(request, study)
    ready = {s: case for s, case in cases.items() if isinstance(case, Case) and not case.reason}
    problems, initial = [case.problem for case in ready.values()], [case.initial for case in ready.values()]
    ends: dict[int, Optimum | None] = {}
    with suppress(KeyboardInterrupt), phases("optimising"), bar(len(ready), progress) as advance:
        for part in optima_by(run, "fits", problems, initial, request.starts, request.seed, chunk):
            ends |= part
            advance(len(part))
    at = {subject: number for number, subject in enumerate(ready)}
    found = {s: (case.problem, end) for s, case in ready.items() if isinstance(end := ends.get(at[s]), Optimum)}
    try:
        with phases("second look"):
            found = settled(request, found, together=pool_sd, run=run)
    except KeyboardInterrupt:
        # Who has too few samples for an sd of their own is not finished without a second look.
        for subject in [s for s, (problem, _) in found.items() if problem.few]:
            del found[subject], ends[at[subject]]
    only, share = study.each(), _share(phases, request, study)

    @cache
    def judged() -> dict[str, tuple[Misfit, Uncertainty | None, Columns | None]]:
        # Of all at once, when the first fit is asked for: refits are one batch, and Hessians and tables arrays.
        subjects, (problems, optimums) = list(found), zip(*found.values(), strict=True) if found else ((), ())
        days = dict(zip(study.subjects, infusion_days(study).tolist(), strict=True))
        each = misfits_of(problems, optimums, lambda i: days[subjects[i]], study.unit, run)
        spreads = _spreads(problems, optimums)
        tables = _tables(request, study.unit, problems, optimums, spreads)
        return dict(zip(subjects, zip(each, spreads, tables, strict=True), strict=True))

    def fit_of(subject: str) -> Fit:
        case, alone = cases[subject], only(subject)
        if not isinstance(case, Case):
            return without(request, alone, not_fitted(case))
        if subject in at and at[subject] not in ends:
            return without(request, alone, INTERRUPTED)
        problem, optimum = found.get(subject, (case.problem, None))
        case = replace(case, problem=problem)
        try:
            looked = judged().get(subject, (None, None, None))
            return fitting.ended(request, alone, case, optimum, share, *looked)
        except WRONG as error:
            # One patient's numbers do not cost the others theirs.
            return without(request, alone, not_fitted(error))

    return Later(cases, fit_of)


def _spreads(problems: Sequence[Problem], optimums: Sequence[Optimum]) -> list[Uncertainty | None]:
    """Of all at once; None for whom it goes wrong."""
    return _of_all(lambda some: uncertainties([problems[i] for i in some], [optimums[i] for i in some]), len(problems))


def _tables(
    request: Request,
    unit: str,
    problems: Sequence[Problem],
    optimums: Sequence[Optimum],
    spreads: Sequence[Uncertainty | None],
) -> list[Columns | None]:
    """The same of the columns of their tables."""
    known = [i for i, spread in enumerate(spreads) if spread is not None]

    def of(some: Sequence[int]) -> list[Columns]:
        mine = [known[i] for i in some]
        theirs = ([each[i] for i in mine] for each in (problems, optimums, spreads))
        return columns_each(request, unit, *theirs)  # type: ignore[arg-type]

    tables: list[Columns | None] = [None] * len(problems)
    for i, columns in zip(known, _of_all(of, len(known)), strict=True):
        tables[i] = columns
    return tables


def _of_all(work: Callable[[Sequence[int]], list[Result]], count: int) -> list[Result | None]:
    """What is worked out of all at once; where one patient's numbers go wrong one by one, and None of that one."""
    try:
        return [*work(range(count))]
    except WRONG:
        return [None] if count == 1 else [_of_all(lambda _, i=i: work([i]), 1)[0] for i in range(count)]


def _share(phases: Phases, request: Request, study: Study) -> dict[str, float]:
    """Seconds of each phase, of one patient among those that were fitted together."""
    patients = len(study.subjects)
    timings = phases.done(f"{request.model.name} fitted to {count(patients, 'patient')}")
    return {name: seconds / max(patients, 1) for name, seconds in timings.items()}


def without(request: Request, alone: Study, outcome: Outcome) -> Fit:
    """The fit of a subject with whose numbers something went wrong."""
    plain = replace(request, model=replace(request.model, initial=None), initial={})
    case = prepare(plain, alone)
    return refused(request, alone, case.problem, outcome, case.samples, 0.0)
