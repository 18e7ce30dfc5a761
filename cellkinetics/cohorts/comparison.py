"""Cohorts of a study compared, to see whether the dose or another factor drives expansion and persistence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Flags, Floats
from cellkinetics.cohorts.asked import are_individual, groups_by, is_ordered, second_factor, study_of
from cellkinetics.cohorts.curves import curve_test
from cellkinetics.cohorts.through_population import PopulationComparison, through_population
from cellkinetics.cohorts.two_factors import TwoFactors, both_factors
from cellkinetics.cohorts.values import Window, fitted_windows, missing, ranked
from cellkinetics.cohorts.values import windows as values_of
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.groups import NOBODY
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.fitting.diagnostics import vpc as visual_check
from cellkinetics.fitting.fits import Fits
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.running.phases import Phases
from cellkinetics.saving import UNSAVED, Saves, storable
from cellkinetics.statistics.dose_exponent import DoseExponent, dose_exponent
from cellkinetics.statistics.ranks import RankTest, hodges_lehmann, holm, jonckheere, kruskal, weaker, wilcoxon
from cellkinetics.words import count, fold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.joint.comparison import ModelComparison
    from cellkinetics.modelling.model import Model
    from cellkinetics.modelling.prior import Prior
    from cellkinetics.population.result import PopulationFit


@storable
@dataclass(frozen=True, eq=False)
class WindowResult:
    """What one window says.

    Parameters
    ----------
    window : the values.
    test : Wilcoxon-Mann-Whitney of two groups, Kruskal-Wallis of several; the trend where each patient has a dose of
        their own.
    trend : Jonckheere-Terpstra over ordered groups, when there are three or more, or over the doses.
    ratio : Hodges-Lehmann's, of the last group to the first: columns of the table.
    exponent : of the dose; None where the dose is not what is asked.
    within : the exact test within strata, where a second factor is given.
    both : the regression on both factors, where a second factor is given.
    """

    window: Window
    test: RankTest
    trend: RankTest | None
    ratio: dict[str, Any]
    exponent: DoseExponent | None
    within: RankTest | None = None
    both: TwoFactors | None = None

    @property
    def main(self) -> RankTest:
        """The test that answers the question: the trend where there is one."""
        return self.trend or self.test

    @property
    def tests(self) -> list[RankTest]:
        """The test and the trend, once where they are the same."""
        return [self.test] if self.trend is None or self.trend is self.test else [self.test, self.trend]


@storable
@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Saves, HandsOutCopies):
    """The result of `compare_cohorts`.

    Parameters
    ----------
    study : Study
    by : str
        What the groups are.
    groups : Series
        The group of each subject.
    order : tuple of str
        The groups in order; "no cohort" last, for subjects who have none.
    results : sequence of WindowResult
        One for each window.
    curves : RankTest
        The permutation test of whole curves.
    margin, mid_p, within
        As asked.
    table : DataFrame
        One row a window and quantity: window, family (the question: "peak", "exposure", "persistence" or "fitted
        curves"), quantity (a test, "ratio high : low", "dose exponent"; with a second
        factor also the test and coefficients "at equal" other factor), variant, estimate
        (the statistic of a test), lower, upper, level, p, p_holm (adjusted over the windows of the family),
        mid_p, smallest_p, attained_size, equivalence, n_needed, n, n_interval, n_missing, note.
    with_model : ModelComparison, optional
        Which parameters of a model move, where one was given; ``.model_based``.
    with_population : PopulationComparison, optional
        The same through a population, where one was given; ``.population_based``.
    individual : bool
        Whether each patient has a dose of their own: ``order`` are the doses then, and there are no groups.
    tolerance : float, optional
        As asked.
    missed : tuple of str
        Whose fitted curves are compared although they miss their samples.
    origin : Provenance
        What else was asked, and how long it took.
    fits : Fits, optional
        What was compared, where it was fits; None of a comparison that was read from a file.
    """

    study: Study
    by: str
    groups: pd.Series
    order: tuple[str, ...]
    results: Sequence[WindowResult]
    curves: RankTest
    margin: float
    mid_p: bool
    table: pd.DataFrame
    within: str | None = None
    with_model: ModelComparison | None = None
    individual: bool = False
    tolerance: float | None = None
    missed: tuple[str, ...] = ()
    origin: Provenance = Provenance()  # noqa: RUF009
    with_population: PopulationComparison | None = None
    fits: Fits | None = field(default=None, metadata=UNSAVED)

    @property
    def names(self) -> list[str]:
        """The groups that are compared, in order."""
        return [name for name in self.order if name != NOBODY]

    @property
    def model_based(self) -> ModelComparison:
        """Which parameters of the model move; a ValueError where none was given."""
        if self.with_model is None:
            raise ValueError("no model was given. Ask compare_cohorts(..., model=models.load('il15_persistence')).")
        return self.with_model

    @property
    def population_based(self) -> PopulationComparison:
        """What the dose, or the group, moves in a population; a ValueError where none was given."""
        if self.with_population is None:
            raise ValueError("no population was given. Ask compare_cohorts(..., population={'model': model}).")
        return self.with_population

    vpc = visual_check

    def checked(self, by: str | None = None) -> tuple[PopulationFit | Fits, str]:
        """What its visual predictive check is of, its population before its fits, and by what it is stratified."""
        if by is None and self.individual:
            raise ValueError(
                f"each patient has a {self.by} of their own: there are no groups to look at. Give by=, or take "
                "comparison.population_based.fit.vpc(corrected=True), which puts all doses into one picture."
            )
        population = None if self.with_population is None else self.with_population.fit
        found = population or self.fits
        if found is None:
            kept = "what model= compares keeps no fits" if self.with_model else "no fit of them is at hand"
            raise ValueError(
                f"samples were compared, and {kept} (a file has none): there is nothing to simulate. Give "
                "compare_cohorts(ck.fit_each(model, study)), or compare_cohorts(study, population={'model': model})."
            )
        return found, by or self.by

    def summary(self) -> str:
        """The comparison in words, with the limits of what cohorts of this size can show."""
        from cellkinetics.cohorts import comparison_text

        return comparison_text.of_comparison(self)

    @domains.picture
    def plot(self, axes: Sequence[Axes] | None = None, *, size: Size = None) -> Figure:
        """Curves with medians, peaks and late levels by group, on three axes where given; returns the figure."""
        from cellkinetics.figures import comparison as comparison_plot

        return comparison_plot.plot_comparison(self, axes)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} ({int((self.groups == name).sum())})" for name in self.names)
        if self.individual:
            sizes = f"{len(self.names)} doses of {count(int((self.groups != NOBODY).sum()), 'patient')}"
        return f"<Comparison by {self.by}: {sizes}; {count(len(self.results), 'window')}>"


@domains.also_earlier(x="of")
def compare_cohorts(
    of: Study | Fits,
    by: str = "cohort",
    *,
    within: str | None = None,
    margin: float = 2.0,
    days: Sequence[float] | None = None,
    windows: Sequence[tuple[float, float] | str] | None = None,
    tolerance: float | None = None,
    output: str | None = None,
    interval: str = "profile",
    mid_p: bool = False,
    seed: int = 2020,
    model: Model | None = None,
    parameters: Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    others: str = "individual",
    error: str = LOG,
    prior: Mapping[str, Prior] | str | None = None,
    permutations: int = 200,
    population: Model | Mapping[str, Any] | PopulationFit | None = None,
    progress: bool = True,
    checkpoint: str | Path | None = None,
    n_jobs: int = 1,
) -> Comparison:
    """Compare dose cohorts, or groups by another covariate; with ``model`` its parameters as well.

    Windows: the peak and the area of the first 28 days, the level at each visit after day 14 that more than half of the
    patients have, the area from day 28 to 365; of fits, peak and area of the fitted curves to day 28 as well.

    Parameters
    ----------
    of : Study, or Fits of `fit_each`.
    by : "cohort" (the assigned one, ordered by dose), "dose" (the one given), or another covariate such as "response".
        Where each patient has a dose of their own (more than 8 doses, or all different) the trend and the exponent
        are tested without groups.
    within : a second factor, such as "response" beside the dose: groups are also compared within its groups only, and
        a regression has both. With few patients two factors are confounded as far as they go together.
    margin : the change over the dose range that counts as none, to be chosen **before** the values are seen.
    days : days for the level, in place of those above. A patient's nearest sample counts, if it lies within half the
        gap to the patient's next one; the summary says which samples a day stands for.
    windows
        in place of (0, 28) and (28, 365), of samples and of fitted curves: (first, last) days, or "auc_0_90", each an
        area, with the peak where it begins with the infusion; and names of quantities of `nca`, such as
        "days_above_lloq" or "below_from", of the whole follow-up ("tmax" is that of each window that begins with the
        infusion). A study whose last visit is in week 48 has windows=[(0, 28), (28, 336)].
    tolerance : days by which a sample may lie from the day it stands for, in place of half the gap.
    output : which output of the study; the first when not given.
    interval : of the dose exponent: "profile", "wald" or "bootstrap".
    mid_p : whether the summary prints mid-p beside the exact p.
    seed : of the bootstrap, and of arrangements where there are too many to count.
    model
        fitted to all patients together, with each parameter shared and with it driven by dose or group: see
        ``.model_based``.
    parameters
        of the model that are tested, or {label: name or names} to test several together; what it frees by default.
    others : whether its other parameters are each patient's own ("individual") or "shared".
    error, prior : of the model's fits, as in `ck.fit`.
    permutations
        of the doses, or groups, over the patients, for the model, and for the likelihood ratio of a population of at
        most 15; all where there are no more than that.
    population
        a model, {"model": model, and arguments of `fit_population`}, or a `PopulationFit`: the dose, or the group, as
        coefficients of all that varies between patients, or of those that its ``covariates`` name. See
        ``.population_based``.
    progress : whether the model's refits show a bar. Ctrl-C ends them early; what is done is used, and said.
    checkpoint, n_jobs : of the model's refits, as in `fit_each`.

    Returns
    -------
    Comparison
        With ``.summary()``, ``.table`` and ``.plot()``.

    Notes
    -----
    Exact permutation tests of midranks. Values under the largest limit of a window are tied; an area with censored
    samples is an interval, tested with all areas at their lower and all at their upper ends (not with one group at its
    lower and another at its upper), and the larger p counts. The peak and persistence (levels after day
    14 and late areas) are questions of their own, named beforehand: p is adjusted by Holm over the windows of one
    question (the peak; the exposure of the first weeks; persistence; fitted curves), for each kind of test. A dose
    exponent is estimated where the groups are doses.

    The likelihood ratio of a model's parameter that all patients share, or that the dose drives, knows of no difference
    between patients; by chi-squared that would be taken for an effect. Its p is therefore had by giving the doses to
    other patients (in the power law, not in the model's infusions). The interval of the exponent comes from leaving out
    each patient in turn.

    Raises
    ------
    ValueError
        There is no such covariate, nobody has a value of it (the error names the columns that could be compared), or
        it has more than 8 different values; the second factor is the first; days or windows that are none, or both
        empty.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> found = ck.compare_cohorts(ck.example())
    >>> found
    <Comparison by cohort: 1e5/kg (3), 1e6/kg (4), 1e7/kg (4); 10 windows>
    """
    phases = Phases()
    study = study_of(of, model)
    permutations, seed = domains.count(permutations, "permutations"), domains.seed(seed)
    of_model = {"parameters": (parameters, None), "others": (others, "individual"), "error": (error, LOG),
                "prior": (prior, None)}  # fmt: skip
    if model is None and (given := [name for name, (value, usual) in of_model.items() if value != usual]):
        asked = f"{given[0]}={of_model[given[0]][0]!r}"
        raise ValueError(f"{asked} is of a model: give model=, such as models.load('nk_decline'), or leave it out.")
    mid_p, margin = domains.flag(mid_p, "mid_p"), domains.positive(margin, "margin", 2)
    members = groups_by(study, by)
    groups, names = members.members, members.known
    individual = by == "dose" and are_individual(members)
    strata = None if within is None else second_factor(study, by, within)
    with phases("windows"):
        chosen = values_of(study, output, days, windows, tolerance)
    if isinstance(of, Fits):
        chosen = fitted_windows(of, windows) + chosen
    if not chosen and model is None and population is None:
        raise ValueError(
            "windows and days are empty, so that nothing is compared. Leave one of them out, or give model=."
        )
    dose = study.covariates["dose"].astype(float)
    ordered = is_ordered(study, by, groups, names)
    results = []
    for window in chosen:
        exponent = None
        if by in ("cohort", "dose"):
            known = (groups != NOBODY).to_numpy() if by == "cohort" else np.ones(len(groups), bool)
            values = window.values[known]
            ends = values["lower"].to_numpy(float), values["upper"].to_numpy(float)
            with phases("dose exponents"):
                exponent = dose_exponent(dose[known], *ends, method=interval, margin=margin, seed=seed)
        if individual:
            result = _over_doses(window, groups, names, exponent, seed)
        else:
            result = _compared(window, groups, names, ordered, exponent, seed)
        if strata is not None:
            numeric = dose if {by, within} & {"cohort", "dose"} else None
            found = both_factors(window, (by, groups, names), (str(within), *strata), numeric, ordered, seed)
            result = replace(result, within=found[0], both=found[1])
        results.append(result)
    rows = [row for result in results for row in _rows(result, [] if individual else names)]
    table = pd.DataFrame(rows, columns=COHORT_COLUMNS).assign(p_holm=math.nan)
    for _, own in table.groupby(["quantity", "family"]):
        table.loc[own.index, "p_holm"] = holm(own["p"])
    curves = _no_test("whole curves", "each patient has a dose of their own, there are no groups")
    if not individual:
        curves = curve_test(study, by, output, seed, tolerance)
    found = None
    if model is not None:
        from cellkinetics.joint.comparison import model_based

        with phases("model"):
            found = model_based(
                study, by, model, parameters=parameters, others=others, error=error, prior=prior,
                permutations=permutations, seed=seed, progress=progress, checkpoint=checkpoint, n_jobs=n_jobs,
            )  # fmt: skip
    through = None
    if population is not None:
        with phases("population"):
            through = through_population(study, by, population, seed=seed, progress=progress, permutations=permutations)
    timings = phases.done(f"{count(len(study.subjects), 'patient')} compared by {by}")
    options = {"by": by, "within": within, "margin": margin, "days": days, "windows": windows, "tolerance": tolerance}
    options |= {"output": output, "interval": interval, "mid_p": mid_p, "seed": seed, "of fits": isinstance(of, Fits)}
    return Comparison(
        study,
        by,
        groups,
        members.names,
        results,
        curves,
        margin,
        mid_p,
        table,
        within,
        found,
        individual,
        tolerance,
        missing(of) if isinstance(of, Fits) else (),
        Provenance(data=study.sha256, options=options, seconds=phases.total, timings=timings),
        through,
        of if isinstance(of, Fits) else None,
    )


COHORT_COLUMNS = [
    "window", "family", "quantity", "variant", "estimate", "lower", "upper", "level", "p", "p_holm", "mid_p",
    "smallest_p", "attained_size", "equivalence", "n_needed", "n", "n_interval", "n_missing", "note",
]  # fmt: skip


def _members(window: Window, groups: pd.Series, names: Sequence[str]) -> list[Flags]:
    """Of each group (patients,) who of them has a value in the window."""
    there = window.values["lower"].notna().to_numpy()
    return [(groups == name).to_numpy() & there for name in names]


def _compared(
    window: Window,
    groups: pd.Series,
    names: Sequence[str],
    ordered: bool,
    exponent: DoseExponent | None,
    seed: int,
) -> WindowResult:
    members = _members(window, groups, names)
    low, high = (window.values[end].to_numpy(float) for end in ("lower", "upper"))
    everyone = np.any(members, axis=0) if members else np.zeros(len(low), bool)
    sides = [[scores[member] for member in members] for scores in ranked(window, everyone)]
    if len(names) < 2:
        nothing = _no_test("rank test", "there is one group")
        return WindowResult(window, nothing, None, {"note": "there is one group"}, exponent)
    test = weaker([wilcoxon(*side) if len(names) == 2 else kruskal(side, seed) for side in sides])
    trend = weaker([jonckheere(side, seed) for side in sides]) if ordered and len(names) > 2 else None
    found = hodges_lehmann(*_of(low, high, members[0]), *_of(low, high, members[-1]))
    ratio = {
        "estimate": found.ratio, "lower": found.lower, "upper": found.upper, "level": found.level,
        "note": found.reason or ("" if not math.isnan(found.ratio)
                                 else _range(found.ratio_lower, found.ratio_upper)),
        "n": int(members[0].sum() + members[-1].sum()),
    }  # fmt: skip
    return WindowResult(window, test, trend, ratio, exponent)


def _over_doses(
    window: Window, groups: pd.Series, names: Sequence[str], exponent: DoseExponent | None, seed: int
) -> WindowResult:
    """The trend over doses of which each patient has one of their own: a group is who has the same."""
    members = [member for member in _members(window, groups, names) if member.any()]
    note = {"note": "each patient has a dose of their own"}
    if len(members) < 2:
        nothing = _no_test("Jonckheere-Terpstra", f"{'one dose has' if members else 'no dose has'} a value")
        return WindowResult(window, nothing, None, note, exponent)
    everyone = np.any(members, axis=0)
    trend = weaker([jonckheere([one[member] for member in members], seed) for one in ranked(window, everyone)])
    return WindowResult(window, trend, trend, note, exponent)


def _no_test(name: str, reason: str) -> RankTest:
    nan = math.nan
    return RankTest(name, "none", nan, nan, nan, nan, nan, (), 0, reason=reason)


def _range(low: float, high: float) -> str:
    ends = [fold(end).removesuffix("-fold") for end in (low, high)]
    if math.isinf(high):
        return f"at least {ends[0]}" if low > 0 else "of any size"
    return f"between {ends[0]} and {ends[1]}" if low > 0 else f"at most {ends[1]}"


def _of(low: Floats, high: Floats, member: np.ndarray[Any, Any]) -> tuple[Floats, Floats]:
    return low[member], high[member]


def _rows(result: WindowResult, names: Sequence[str]) -> list[dict[str, Any]]:
    values = result.window.values
    counts = {
        "window": result.window.name,
        "family": result.window.family,
        "n_interval": int((values["lower"] < values["upper"]).sum()),
        "n_missing": int(values["lower"].isna().sum()),
    }
    blank = dict.fromkeys(COHORT_COLUMNS, math.nan) | {"variant": "", "equivalence": "", "note": ""} | counts
    found = []
    within = None if result.within is None else replace(result.within, name=f"{result.within.name}, within strata")
    for test in (*result.tests, within):
        if test is not None:
            found.append(
                blank
                | {
                    "quantity": test.name, "variant": test.variant, "estimate": test.statistic, "p": test.p,
                    "mid_p": test.mid_p, "smallest_p": test.smallest_p, "attained_size": test.attained_size,
                    "n": sum(test.sizes), "note": test.reason,
                }
            )  # fmt: skip
    if len(names) > 1:
        pair = f"ratio {names[-1]} : {names[0]}"
        found.append(blank | {"quantity": pair, "variant": "Hodges-Lehmann, exact interval"} | result.ratio)
    b = result.exponent
    if b is not None:
        found.append(
            blank
            | {
                "quantity": "dose exponent", "variant": b.method, "estimate": b.b, "lower": b.lower, "upper": b.upper,
                "level": b.level, "equivalence": b.equivalence, "n_needed": b.n_needed, "n": b.n, "note": b.reason,
            }
        )  # fmt: skip
    both = result.both or TwoFactors((), 0, 0)
    for term in both.terms:
        found.append(
            blank
            | {
                "quantity": f"{term.name}, both factors", "variant": "censored regression, calibrated profile",
                "estimate": term.estimate, "lower": term.lower, "upper": term.upper, "level": 0.95,
                "n": both.n, "note": f"standard error {term.inflation:.3g} times that of balanced factors",
            }
        )  # fmt: skip
    return found
