"""How likely a comparison of cohorts is to find a dose effect, or to show that there is none, before the study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.cohorts.values import Kind, family_of
from cellkinetics.cohorts.virtual import Plan, Planned, ends, windows
from cellkinetics.copies import HandsOutCopies
from cellkinetics.domains import Size
from cellkinetics.errors import suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.planned import errors_planned
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.modelling.typical import HasTypical, of
from cellkinetics.progress import bar
from cellkinetics.running.phases import Phases
from cellkinetics.running.run import Run
from cellkinetics.saving import Saves, storable
from cellkinetics.solving.simulation import possible
from cellkinetics.statistics.ranks import ALPHA, holm
from cellkinetics.statistics.slopes import slopes
from cellkinetics.statistics.trend import trend_p
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTIONS = ("trend test", "trend test, adjusted", "dose exponent", "equivalence")
AIM = 0.8
TIMES = (1, 2, 3, 4, 6, 8, 12)
CURVES_A_CHUNK, STUDIES_A_CHUNK = 8192, (10, 250)  # in a chunk, and between how many studies that is


@storable
@dataclass(frozen=True, eq=False, repr=False)
class Power(Saves, HandsOutCopies):
    """The result of `power`.

    Parameters
    ----------
    plan : Plan
        What was simulated.
    sizes : (g,) patients of each cohort asked for, in order of dose.
    margin, seed : as asked.
    table : DataFrame
        One row a number of patients, window and question: patients, sizes, window, question ("trend test", "trend
        test, adjusted" by Holm within the peak, exposure and persistence, "dose exponent", "equivalence"), power,
        monte_carlo_error, studies (finished), not_estimable (studies without an answer, counted as not shown).
    needed : DataFrame
        One row a window and question: patients for 80%, interpolated between those tried; lower and upper as the
        Monte Carlo error of 95% has it; NaN where no number tried reaches 80%.
    truth : DataFrame
        By window: exponent of the typical curves, without noise, the change over the dose range, and share_below
        (of the values of the cohorts asked for, those that a limit hides).
    asked : int
        Studies asked for; fewer are finished when it was interrupted.
    origin : Provenance
        What was asked, and how long it took.
    """

    plan: Plan
    sizes: tuple[int, ...]
    margin: float
    seed: int
    table: pd.DataFrame
    needed: pd.DataFrame
    truth: pd.DataFrame
    asked: int
    origin: Provenance = Provenance()  # noqa: RUF009

    def summary(self) -> str:
        """Chances and numbers of patients in words."""
        from cellkinetics.cohorts import power_text

        return power_text.of_power(self)

    @domains.picture
    def plot(self, axes: Sequence[Axes] | None = None, *, size: Size = None) -> Figure:
        """Power against the number of patients, one panel a question, one line a window; returns the figure.

        On three axes where given; ``size`` is width and height in mm of a new figure.
        """
        from cellkinetics.figures import power as power_plot

        return power_plot.plot_power(self, axes)

    def __repr__(self) -> str:
        sizes = ", ".join(map(str, self.sizes))
        studies = count(int(self.table["studies"].max()), "study", "studies")
        return f"<Power of {sizes} patients: {count(len(self.truth), 'window')}, {studies}>"


def power(
    model: Model | HasTypical,
    doses: Sequence[float],
    sizes: Sequence[int],
    schedule: npt.ArrayLike,
    *,
    effect: Mapping[str, float] | None = None,
    between: Mapping[str, float] | None = None,
    parameters: Mapping[str, float] | None = None,
    sd: float | Mapping[str, float] | None = None,
    error: str | None = None,
    lloq: float | None = None,
    margin: float = 2.0,
    days: Sequence[float] | None = None,
    output: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    patients: Sequence[int] | None = None,
    studies: int = 1000,
    seed: int = 2020,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    n_jobs: int = 1,
) -> Power:
    """The chance that `compare_cohorts` finds a dose effect, and that it shows equivalence, for a design.

    Simulates studies of the model, patient by patient, and asks of each what `compare_cohorts` asks: the exact test
    of a trend over the doses (Wilcoxon-Mann-Whitney for two cohorts), the calibrated interval of the dose exponent,
    and equivalence within the margin, in every window that the schedule allows.

    Parameters
    ----------
    model
        any model; its ``cells`` are given once, on day 0. Or a population of `fit_population`: its median patient at
        the middle dose, what the dose does in it, spreads with their correlations, and sd stand where nothing else is
        given. Of a posterior of `sample_posterior` each study has those of another draw.
    doses : one of each cohort, all different.
    sizes : patients of each cohort, in the order of ``doses``.
    schedule : (d,) days of the samples since the infusion, after day 0.
    effect
        {parameter: exponent}: a parameter of cohorts of dose d is its value times (d/middle dose)^exponent (on its
        scale of estimation: a logit moves by exponent x ln(d/middle)), the middle being the geometric mean of the
        doses. A model that takes a dose has an effect of its own; {"F": -1} takes that of `il15_persistence` away.
    between
        {parameter: SD between patients} on the scale of estimation, normal, cut at the parameter's bounds. The
        model's published ones where not given.
    parameters : {name: natural value} of the typical patient; defaults where not named.
    sd
        of a sample, on the ln scale; 0.5 when not given. Of another error its sd, or {"sd_add": ..., "sd_prop": ...} of
        the combined one.
    error
        "log", "student", "proportional" or "combined"; that of the population where neither it nor ``sd`` is given. A
        value that is normal on the scale of the copies is positive where no limit would hide a negative one.
    lloq : lower limit of quantification; None for an assay without one.
    margin : the change over the dose range that counts as none.
    days : days after day 14 whose levels are compared; all of the schedule when not given.
    output : which output of the model; the first when not given.
    inputs : covariates over time, where the model takes any, as in `simulate`; the same for all patients.
    patients
        totals to try for 80%, in the ratio of ``sizes``; 1, 2, 3, 4, 6, 8 and 12 times their sum when not given.
    studies : simulated studies.
    seed : of the patients; a study has the same first patients however many it has.
    progress : whether a bar with the time left is shown on the terminal.
    checkpoint, n_jobs : as in `fit_each`; with the folder of fewer studies the others are added.

    Returns
    -------
    Power
        With ``.summary()``, ``.table``, ``.needed`` and ``.plot()``. Interrupted from the keyboard it is of the
        studies finished until then.

    Raises
    ------
    ValueError
        Doses that are equal or not positive, sizes that do not fit them, days that are not after the infusion.
    ModelError
        An unknown parameter; errors of counts, which depend on the mass of DNA in the wells; no sd of an error without
        a usual one.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> stein = ck.models.load("stein_2019_tisagenlecleucel")
    >>> found = ck.power(
    ...     stein, [1e6, 1e8], [6, 6], [7, 9, 14, 28], effect={"c_max": 0.5}, between={"c_max": 0.5},
    ...     lloq=3, studies=100, patients=[12], progress=False)
    >>> found.truth["change"].round(1).to_list()
    [10.0, 10.0, 10.0]
    >>> bool(found.table["power"].iloc[0] > 0.9)
    True
    """
    phases = Phases()
    model, typical = of(model, middle_of(doses))
    drawn = None if typical is None else typical.drawn
    if drawn is not None:
        # What is given stands for all draws.
        drawn = replace(
            drawn, estimates={name: at for name, at in drawn.estimates.items() if name not in (parameters or {})},
            effect=drawn.effect if effect is None else {},
            sds=drawn.sds if sd is None and typical is not None and error in (None, typical.error) else {},
            factors=drawn.factors if between is None else np.zeros(0),
        )  # fmt: skip
    if typical is not None:
        given = {name: value for name, value in typical.values.items() if name not in model.ties}
        parameters = given | domains.by_name(parameters, "parameters", given)
        effect = typical.effect if effect is None else effect
    linked: Floats | None = typical.linked if typical is not None and between is None else None
    between = typical.between if typical is not None and between is None else between
    errors, sds = errors_planned(error, sd, typical and typical.errors(output or next(iter(model.outputs))))
    for name, value in (("sizes", sizes), ("patients", patients)):
        if isinstance(value, int | float):
            raise TypeError(f"{name}={value:g}: give a list, such as {name}=[{value:g}].")
    plan, counts = _plan(model, doses, sizes, schedule, effect, between, parameters, sds[-1], lloq, output)
    plan = replace(plan, error=errors.name, sds=sds if len(sds) > 1 else ())
    if linked is not None:
        plan = replace(plan, factor=tuple(map(tuple, np.linalg.cholesky(linked).tolist())))
    plan = replace(
        plan, drawn=drawn, inputs=tuple((name, _hashable(course)) for name, course in (inputs or {}).items())
    )
    if not margin > 1:
        raise ValueError(f"the margin is a fold change above 1, such as 2 for twofold; it is {margin:g}.")
    studies, seed = domains.count(studies, "studies"), domains.seed(seed)
    late = None if days is None else domains.days(days) if len(days) else np.zeros(0)
    if unknown := [day for day in (() if late is None else late) if not np.isclose(plan.days, day).any()]:
        raise ValueError(f"day {unknown[0]:g} of days= is not in the schedule.")
    planned = windows(plan, None if late is None else late.tolist())
    names = [window.name for window in planned]
    if not names:
        raise ValueError("the schedule has no sample of a window: give days up to 28, or after 14.")
    total = sum(counts)
    tried = (
        sorted({domains.count(n, "patients") for n in patients})
        if patients is not None
        else [times * total for times in TIMES]
    )
    if not tried or tried[0] < len(counts):
        raise ValueError(f"patients={tried}: give totals of at least one patient a cohort.")
    designs = {n: scaled(counts, n) for n in tried}
    margin_b = math.log(margin) / math.log(plan.doses[-1] / plan.doses[0])
    run = Run.of(
        checkpoint,
        n_jobs,
        lambda: {
            "verb": "power", **vars(plan), "model": model.name, "equations": model, "sizes": counts, "margin": margin,
            "windows": planned, "patients": tried, "seed": seed,
        },
    )  # fmt: skip
    most = max(sum(design) for design in designs.values())
    at_once = int(np.clip(CURVES_A_CHUNK // most, *STUDIES_A_CHUNK))
    parts = [
        (plan, planned, designs, counts, margin_b, seed, start, min(start + at_once, studies))
        for start in range(0, studies, at_once)
    ]
    done: dict[int, Any] = {}
    with (
        suppress(KeyboardInterrupt),
        phases("simulating"),
        bar(studies * len(tried), progress, "simulating") as advance,
    ):
        for number, part in run.each("studies", _simulated, parts):
            done[number] = part
            advance(part["studies"] * len(tried))
    if not done:
        raise KeyboardInterrupt
    # In the order of the studies, whichever were finished first.
    in_order = [done[number] for number in sorted(done)]
    finished = {n: pd.concat([part["answers"][at] for part in in_order], ignore_index=True)
                for at, n in enumerate(designs)}  # fmt: skip
    hidden, seen = sum(part["hidden"] for part in in_order), total * sum(part["studies"] for part in in_order)
    table = pd.concat([_rates(n, designs[n], names, answers) for n, answers in finished.items()], ignore_index=True)
    truth = _truth(plan, planned).assign(share_below=hidden / seen)
    needed = pd.DataFrame(
        [
            {"window": name, "question": question} | _needed(part)
            for (name, question), part in table.groupby(["window", "question"], sort=False)
        ]
    )
    options = {"margin": margin, "days": None if late is None else late.tolist(), "patients": tried, "studies": studies}
    timings = phases.done(f"power of {model.name}, {sum(part['studies'] for part in in_order)} studies")
    origin = Provenance(options={**options, "seed": seed}, seconds=phases.total, timings=timings)
    return Power(plan, counts, margin, seed, table, needed, truth, studies, origin)


def middle_of(doses: Sequence[float]) -> float | None:
    """The geometric mean of doses; None of what can be no doses."""
    try:
        amounts = np.asarray(doses, float).ravel()
    except (TypeError, ValueError):
        return None
    return float(np.exp(np.log(amounts).mean())) if len(amounts) and (amounts > 0).all() else None


def _simulated(
    plan: Plan,
    planned: Sequence[Planned],
    designs: Mapping[int, tuple[int, ...]],
    counts: Sequence[int],
    margin_b: float,
    seed: int,
    first: int,
    end: int,
) -> dict[str, Any]:
    """Studies from the first to the end, in whatever process: what is asked of them, by design.

    Returns
    -------
    {"studies": how many, "answers": a table for each design, "hidden": values of each window that a limit hides}
    """
    largest = np.max(list(designs.values()), axis=0)
    copies = [plan.samples(cohort, int(n), range(first, end), seed) for cohort, n in enumerate(largest)]
    values = [[ends(plan, window, of_cohort) for of_cohort in copies] for window in planned]
    hidden = [
        sum((low < high)[:, :n].sum() for (low, high), n in zip(window, counts, strict=True)) for window in values
    ]
    answers = [_answers(plan, planned, values, design, margin_b) for design in designs.values()]
    return {"studies": end - first, "answers": answers, "hidden": np.array(hidden, float)}


def _hashable(course: Any) -> Any:
    """A number, or days with values as tuples: compiled programs are kept by it."""
    return float(course) if np.ndim(course) == 0 else tuple((float(day), float(value)) for day, value in course)


def scaled(sizes: Sequence[int], total: int) -> tuple[int, ...]:
    """Cohorts of a total in the ratio of ``sizes``, by largest remainder, at least one patient each.

    Examples
    --------
    >>> scaled([3, 4, 4], 30)
    (8, 11, 11)
    """
    exact = np.asarray(sizes) * total / sum(sizes)
    found = np.maximum(np.floor(exact).astype(int), 1)
    while found.sum() < total:
        found[int(np.argmax(exact - found))] += 1
    while found.sum() > total:
        found[int(np.argmax(np.where(found > 1, found - exact, -np.inf)))] -= 1
    return tuple(int(n) for n in found)


def _plan(
    model: Model,
    doses: Sequence[float],
    sizes: Sequence[int],
    schedule: npt.ArrayLike,
    effect: Mapping[str, float] | None,
    between: Mapping[str, float] | None,
    parameters: Mapping[str, float] | None,
    sd: float,
    lloq: float | None,
    output: str | None,
) -> tuple[Plan, tuple[int, ...]]:
    amounts, counts = np.asarray(doses, float).ravel(), np.asarray(sizes, float).ravel()
    if len(amounts) < 2 or len(np.unique(amounts)) < len(amounts) or not (np.isfinite(amounts) & (amounts > 0)).all():
        raise ValueError(f"doses={list(amounts)}: give at least two, positive and all different, one a cohort.")
    if len(counts) != len(amounts) or not ((counts >= 1) & (counts == np.floor(counts))).all():
        raise ValueError(f"sizes={list(sizes)}: give a whole number of patients for each of the {len(amounts)} doses.")
    order = np.argsort(amounts)
    days = np.unique(domains.days(schedule, "schedule"))
    if not days.size or days[0] <= 0:
        raise ValueError("schedule: give days after the infusion; a sample of day 0 is drawn before it.")
    sd, lloq = domains.number(sd, "sd", 0.5), None if lloq is None else domains.number(lloq, "lloq", 3)
    if not sd >= 0 or (lloq is not None and not lloq > 0):
        raise ValueError(f"sd={sd:g} must not be negative and lloq={lloq} must be positive, or None.")
    if output is not None and output not in model.outputs:
        raise ValueError(f"{model.name} has no output {output!r}. {suggest(output, model.outputs)}".rstrip())
    example = {next(iter(model.parameters)): 0.5}
    effect, parameters = domains.by_name(effect, "effect", example), domains.by_name(parameters, "parameters", example)
    between = None if between is None else domains.by_name(between, "between", example)
    given = possible(model, model.values(parameters))
    values = {name: v for name, v in given.items() if name not in model.ties or name in (parameters or {})}
    if between is None:
        between = {name: p.spread for name, p in model.parameters.items() if p.spread is not None and name in values}
        if not between:
            raise ValueError(
                f"{model.name} has no published spread between patients: give between={{name: SD}}, on the scale of "
                "estimation (0.5 of a rate: 95% within 2.7-fold of the typical one)."
            )
    for name in (*effect, *between):
        model.require(name)
        if name not in values or not math.isfinite(model.parameters[name].to_estimation(float(values[name]))):
            raise ValueError(f"{name} is tied, or at the end of its scale ({given[name]:g}): it cannot vary.")
    if any(not spread >= 0 for spread in between.values()):
        raise ValueError(f"between={dict(between)}: an SD is not negative.")
    kept = {name: float(spread) for name, spread in between.items() if spread > 0}
    name = output or next(iter(model.outputs))
    plan = Plan(model, name, amounts[order], days, values, effect, kept, float(sd), lloq)
    return plan, tuple(int(n) for n in counts[order])


def _answers(
    plan: Plan,
    planned: Sequence[Planned],
    values: list[list[tuple[Floats, Floats]]],
    design: Sequence[int],
    margin_b: float,
) -> pd.DataFrame:
    """One row a study, columns (window, what): p, p_holm, found, equivalent, estimable."""
    ln_dose = np.repeat(np.log(plan.doses), design)
    columns: dict[tuple[str, str], npt.NDArray[Any]] = {}
    for (name, kind, _), window in zip(planned, values, strict=True):
        low, high = (
            np.concatenate([cohort[end][:, :n] for cohort, n in zip(window, design, strict=True)], axis=1)
            for end in (0, 1)
        )
        # A curve that could not be solved leaves its study without an answer.
        solved = np.isfinite(low.sum(axis=1))
        low, high = np.where(solved[:, None], low, 1.0), np.where(solved[:, None], high, 1.0)
        if kind is Kind.AREA:
            # As in `compare_cohorts`: a claim must hold with every area at its lower, and at its upper end.
            p = np.maximum(trend_p(low, design), trend_p(high, design))
        else:
            p = trend_p(np.where(low < high, 0.0, low), design)
        with np.errstate(divide="ignore"):
            slope = slopes(ln_dose, np.log(low), np.log(high), margin_b)
        columns[name, "p"] = np.where(solved, p, math.nan)
        columns[name, "found"], columns[name, "equivalent"] = slope.found & solved, slope.equivalent & solved
        columns[name, "estimable"] = slope.estimable & solved
    names = [window.name for window in planned]
    p_of = np.column_stack([columns[name, "p"] for name in names])
    adjusted, families = np.empty_like(p_of), np.array([family_of(window.kind, window.days) for window in planned])
    for family in np.unique(families):
        adjusted[:, families == family] = [holm(one) for one in p_of[:, families == family]]
    for at, name in enumerate(names):
        columns[name, "p_holm"] = adjusted[:, at]
    return pd.DataFrame(columns)


def _rates(n: int, design: Sequence[int], names: Sequence[str], answers: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name in names:
        of = answers[name]
        lost = int((~of["estimable"]).sum())
        shown = [of["p"] <= ALPHA * (1 + 1e-12), of["p_holm"] <= ALPHA * (1 + 1e-12), of["found"], of["equivalent"]]
        for question, yes in zip(QUESTIONS, shown, strict=True):
            share = float(yes.mean())
            error = math.sqrt(share * (1 - share) / len(of))
            missing = int(of["p"].isna().sum()) if question.startswith("trend") else lost
            rows.append([n, tuple(design), name, question, share, error, len(of), missing])
    columns = ["patients", "sizes", "window", "question", "power", "monte_carlo_error", "studies", "not_estimable"]
    return pd.DataFrame(rows, columns=columns)


def _truth(plan: Plan, planned: Sequence[Planned]) -> pd.DataFrame:
    """What the typical curves do with the dose, sampled on the schedule, without noise and limit."""
    plan = replace(plan, between={}, lloq=None, drawn=None)
    curves = [plan.curves(cohort, np.zeros((1, 0))) for cohort in range(len(plan.doses))]
    x = np.log(plan.doses) - np.log(plan.doses).mean()
    rows = []
    for window in planned:
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log([float(ends(plan, window, curve)[0][0]) for curve in curves])
        rows.append([window.name, float(x @ y / (x @ x)), math.exp(y[-1] - y[0])])
    return pd.DataFrame(rows, columns=["window", "exponent", "change"]).set_index("window")


def _needed(part: pd.DataFrame) -> dict[str, Any]:
    """Patients for 80%: probits of power, straight over the root of n, between the two tried on either side."""
    n, share, studies = (part[name].to_numpy(float) for name in ("patients", "power", "studies"))
    # A share of 0 or 1 has an error, too.
    error: Floats = 1.96 * np.sqrt((share * studies + 1) * ((1 - share) * studies + 1) / (studies + 2) ** 2 / studies)
    found, upper, lower = (_crossing(n, at) for at in (share, share - error, share + error))
    note = "" if not math.isnan(found) else f"more than {n[-1]:.0f}, or no number"
    if found == n[0]:
        note = f"at most {n[0]:.0f}, the fewest tried"
    return {"patients": found, "lower": lower, "upper": upper, "note": note}


def _crossing(n: Floats, share: Floats) -> float:
    above = np.flatnonzero(share >= AIM)
    if not len(above):
        return math.nan
    at = int(above[0])
    if at == 0:
        return float(n[0])
    z = scipy.stats.norm.ppf(np.clip(share[at - 1 : at + 1], 1e-4, 1 - 1e-4))
    root = np.sqrt(n[at - 1 : at + 1])
    return float(
        math.ceil((root[0] + (scipy.stats.norm.ppf(AIM) - z[0]) / (z[1] - z[0]) * (root[1] - root[0])) ** 2 - 1e-9)
    )
