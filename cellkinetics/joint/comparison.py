"""Which parameters of a model move with the dose, or differ between cohorts: nested joint fits with permutation p."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cellkinetics import domains
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.fitting.table import SHARED
from cellkinetics.joint import comparison_text
from cellkinetics.joint import fitting as joint_fitting
from cellkinetics.joint.design import ALL, BY_DOSE
from cellkinetics.joint.fitting import Members, members
from cellkinetics.joint.permutations import Moves, Refits, Test, nested, refitted
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import Prior
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.optimising.request import Request
from cellkinetics.progress import bar
from cellkinetics.running.phases import Phases
from cellkinetics.running.run import Run
from cellkinetics.saving import Saves, storable
from cellkinetics.statistics.ranks import holm
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INDIVIDUAL = "individual"
PAIRS = 1024  # of a patient and a permutation in one compiled evaluation
EFFECT_COLUMNS = [
    "parameter", "effect", "estimate", "lower", "upper", "level", "lr", "df", "p", "p_holm", "smallest_p",
    "permutations", "n", "values", "note",
]  # fmt: skip


@storable
@dataclass(frozen=True, eq=False, repr=False)
class ModelComparison(Saves, HandsOutCopies):
    """What a model says of the groups: one row a parameter (or a set of them).

    Parameters
    ----------
    model, by : the model, and what may drive its parameters.
    others : whether the parameters that are not tested are each patient's own, or shared.
    table : DataFrame
        parameter, effect ("dose exponent", "ratio high : low"), estimate, lower, upper (95%, by leaving out each
        patient in turn), level, lr (likelihood ratio), df, p (permutation), p_holm, smallest_p, permutations, n
        (patients), values (by group), note.
    asked : permutations that were asked for; all arrangements where there are no more.
    every : whether all arrangements were taken.
    arrangements : how many different ones there are.
    left_out : {subject: why it takes no part}.
    share_below : of the study's samples, those beyond a limit; the more they are, the less exact is p.
    reason : why nothing was compared, "" where it was.
    missed : whose curves miss their samples whichever parameter is driven, "all" where the sd of all is too large.
    origin : of which data it is, what else was asked, and how long it took.
    """

    model: Model
    by: str
    others: str
    table: pd.DataFrame
    asked: int
    every: bool
    arrangements: int
    left_out: Mapping[str, str]
    share_below: float
    reason: str = ""
    missed: tuple[str, ...] = ()
    origin: Provenance = Provenance()  # noqa: RUF009

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped from the keyboard before all permutations were done."""
        return bool((self.table["permutations"] < self.asked).any())

    @domains.picture
    def plot(self, axes: Axes | None = None, *, size: Size = None) -> Axes:
        """Dose exponents, or ratios of groups, of the parameters that were tested, with 95% intervals and p.

        The line is at no effect. An interval that goes on beyond the axes ends in an arrow; a set of parameters, which
        has no single effect, has its p alone.

        Parameters
        ----------
        axes : to draw on; a new figure when not given. size : its width and height in mm.

        Returns
        -------
        Axes

        Raises
        ------
        ValueError
            Nothing was compared; the error says why.
        """
        from cellkinetics.charts import effects

        return effects.plot(self, axes)

    def summary(self) -> str:
        """The comparison in words."""
        return comparison_text.of_model(self)

    def __repr__(self) -> str:
        return f"<ModelComparison of {self.model.name} by {self.by}: {count(len(self.table), 'parameter')}>"


def model_based(
    study: Study,
    by: str,
    model: Model,
    *,
    parameters: Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    others: str = INDIVIDUAL,
    permutations: int = 200,
    fixed: Mapping[str, float] | None = None,
    free: str | Sequence[str] | None = None,
    prior: Mapping[str, Prior] | str | None = None,
    error: str = LOG,
    doses: object = None,
    starts: int = 2,
    seed: int = 2020,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    n_jobs: int = 1,
) -> ModelComparison:
    """Fit all patients together, with a parameter shared and with it driven by ``by``; once for each parameter.

    Parameters
    ----------
    study, by : as in `compare_cohorts`; by "dose" ln value = a + b ln dose, else each group has its value.
    model : with a closed form or a solution of its own this takes seconds, else hours.
    parameters
        those that are tested, or {label: name or names} to test several together; what the model frees by default.
    others : whether the parameters that are not tested are each patient's own ("individual") or "shared".
    permutations : of the doses, or groups, over the patients; all arrangements where there are no more than that.
    fixed, free, prior, error, doses : as in `ck.fit`.
    starts : of the fits without the effect; with it they start from there.
    seed : of the permutations.
    progress : whether a bar with the time left is shown. Ctrl-C ends it early; what is done is used, and said.
    checkpoint, n_jobs : as in `fit_each`.

    Notes
    -----
    The likelihood ratio of a parameter that is shared or driven knows of no difference between patients: by
    chi-squared it would be taken for an effect of the dose. Its distribution is therefore had from the patients, by
    giving their doses (not the doses of the model) to each other. That is exact where a patient's curve says as much of
    the parameter at one dose as at another.
    """
    phases = Phases()
    if others not in (INDIVIDUAL, SHARED):
        raise ValueError(f"others={others!r}: take {INDIVIDUAL!r} or {SHARED!r}.")
    permutations = domains.count(permutations, "permutations")
    request = Request.of(model, fixed=fixed, free=free, doses=doses, starts=starts, seed=seed, prior=prior, error=error)
    tested = _tested(request, study, parameters)
    found = {
        label: members(request, study, _spec(request, study, names, by, others), True)
        for label, names in tested.items()
    }
    left = {subject: why for each in found.values() for subject, why in each.left_out.items()}
    reason = next((text for each in found.values() if (text := _refusal(each, by))), "" if found else "no parameter.")
    moves = {} if reason else {label: Moves.of(each, by, permutations, seed) for label, each in found.items()}
    rows: list[dict[str, object]] = []
    tests: dict[str, Test] = {}
    run = Run.of(checkpoint, n_jobs, lambda: _asked(request, study, by, tested, others, permutations))
    with bar(sum(len(each) for each in moves.values()), progress, "permutations") as advance:
        with suppress(KeyboardInterrupt):
            each = {label: (found[label], tested[label], moves[label]) for label in moves}
            with phases("fitting"):
                for at, fits in run.each("nested", nested, [*each.values()]):
                    label = [*each][at]
                    tests[label] = Test.of(*each[label], fits)
            with phases("permuting"):
                _permute(run, tests, PAIRS // len(study.subjects) + 1, advance)
        rows = [_row(label, by, moves[label], tests.get(label)) for label in moves]
    table = pd.DataFrame(rows, columns=EFFECT_COLUMNS)
    if len(table):
        table["p_holm"] = holm(table["p"])
    first = next(iter(moves.values()), None)
    options = {**request.options, "parameters": tested, "permutations": permutations}
    timings = phases.done(f"{model.name} by {by}, {count(len(tests), 'parameter')} tested")
    return ModelComparison(
        model, by, others, table, len(first) if first else 0, bool(first and first.every), first.count if first else 0,
        left, float((study.used["status"] != "quantified").mean()), reason, _missed(list(tests.values())),
        Provenance(data=study.sha256, options=options, seconds=phases.total, timings=timings),
    )  # fmt: skip


def _asked(
    request: Request, study: Study, by: str, tested: Mapping[str, tuple[str, ...]], others: str, permutations: int
) -> dict[str, object]:
    """What a checkpoint is of."""
    own = {"verb": "compare_cohorts", "data": study.sha256, "by": by, "parameters": dict(tested), "others": others}
    return {**own, "permutations": permutations, **request.asked}


def _permute(run: Run, tests: Mapping[str, Test], at_once: int, advance: Callable[[int], None]) -> None:
    """Refit the arrangements of all tests, so many at a time, and each test as far as the others."""
    longest = max((len(test.moves) for test in tests.values()), default=0)
    parts = [(test, at) for at in range(0, longest, at_once) for test in tests.values()]
    parts = [(test, at, min(at + at_once, len(test.moves))) for test, at in parts if at < len(test.moves)]
    given = [(test.members, test.names, test.moves, test.nested, at, end) for test, at, end in parts]

    def here(numbers: Sequence[int]) -> Iterator[tuple[int, Refits]]:
        for number in numbers:
            test, at, end = parts[number]
            yield number, test.refit(slice(at, end))

    for number, refits in run.each("permutations", refitted, given, here):
        advance(parts[number][0].take(refits))


def _missed(tests: Sequence[Test]) -> tuple[str, ...]:
    """Whose curves miss their samples in all of these fits: of one alone it may be what is shared that is wrong."""
    return tuple(name for name in tests[0].missed if all(name in test.missed for test in tests)) if tests else ()


def _tested(
    request: Request, study: Study, parameters: Sequence[str] | Mapping[str, str | Sequence[str]] | None
) -> dict[str, tuple[str, ...]]:
    """{label: names of parameters}."""
    if parameters is None:
        free = request.free or _free_in_any(request, study)
        return {name: (name,) for name in request.model.parameters if name in free}
    domains.some(parameters, "parameters", f"['{next(iter(request.model.parameters))}']", "leave it out for all")
    given = parameters if isinstance(parameters, Mapping) else {name: name for name in parameters}
    tested = {label: (names,) if isinstance(names, str) else tuple(names) for label, names in given.items()}
    for names in tested.values():
        for name in names:
            request.model.require(name)
    return tested


def _free_in_any(request: Request, study: Study) -> set[str]:
    only = study.each()
    known = {*request.fixed, *request.tie}
    return {n for subject in study.subjects for n in request.model.default_free(only(subject))} - known


def _spec(request: Request, study: Study, names: Sequence[str], by: str, others: str) -> dict[str, str]:
    """How each shared parameter is shared where ``names`` are driven by ``by``."""
    rest = (request.free or _free_in_any(request, study)) if others == SHARED else ()
    return {**{name: ALL for name in rest if name not in names}, **dict.fromkeys(names, by)}


def _refusal(members: Members, by: str) -> str:
    """Why these patients cannot be compared ('' if they can)."""
    if not members.cases:
        return "nobody can be fitted."
    drives = joint_fitting.driver(members, by)
    if drives.nunique() < 2:
        what = "one dose" if by == BY_DOSE else "one group"
        return f"those who can be fitted have {what}."
    if len(drives) < 3:
        return "fewer than three patients can be fitted."
    return ""


def _row(label: str, by: str, moves: Moves, test: Test | None) -> dict[str, object]:
    """Of the table; NaN where the fits did not get so far."""
    row: dict[str, object] = dict.fromkeys(EFFECT_COLUMNS, math.nan)
    row |= {"parameter": label, "effect": "", "smallest_p": moves.smallest, "permutations": 0, "n": len(moves.groups)}
    row |= {"values": "", "note": ""}
    if test is None:
        return row | {"note": "interrupted before it was fitted"}
    done, notes = len(test.ratios), []
    if not test.converged:
        notes.append("the fits did not converge, the samples may not determine it")
    if done < len(moves):
        notes.append(f"interrupted after {done} of {count(len(moves), 'permutation')}")
    row |= {"lr": test.ratio, "df": test.df, "p": test.p, "permutations": done, "values": test.values()}
    if len(test.names) == 1:
        row |= test.effect(by)
    else:
        row["effect"] = f"all of {', '.join(test.names)}"
    if lost := int((~test.refitted).sum()):
        notes.append(f"{count(lost, 'refit')} did not converge")
    return row | {"note": "; ".join(notes)}
