"""Cohorts of a study compared, to see whether the dose or another factor drives expansion and persistence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellkinetics.arrays import Floats
from cellkinetics.cohorts.curves import curve_test
from cellkinetics.cohorts.two_factors import TwoFactors, both_factors
from cellkinetics.cohorts.values import Window, fitted_windows, ranked, windows
from cellkinetics.data.groups import NOBODY, Groups
from cellkinetics.data.groups import of as groups_of
from cellkinetics.data.study import Study
from cellkinetics.fitting.fits import Fits
from cellkinetics.statistics.dose_exponent import DoseExponent, dose_exponent
from cellkinetics.statistics.ranks import RankTest, hodges_lehmann, holm, jonckheere, kruskal, weaker, wilcoxon

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.joint.comparison import ModelComparison
    from cellkinetics.modelling.model import Model

# More groups than this are values, not cohorts.
MOST_GROUPS = 8


@dataclass(frozen=True, eq=False)
class WindowResult:
    """What one window says.

    window : the values.
    test : Wilcoxon-Mann-Whitney of two groups, Kruskal-Wallis of several.
    trend : Jonckheere-Terpstra over ordered groups, when there are three or more.
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


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
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
        One row a window and quantity: window, quantity (a test, "ratio high : low", "dose exponent"; with a second
        factor also the test and coefficients "at equal" other factor), variant, estimate
        (the statistic of a test), lower, upper, level, p, p_holm (adjusted over the windows), mid_p, smallest_p,
        attained_size, equivalence, n_needed, n, n_interval, n_missing, note.
    with_model : ModelComparison, optional
        Which parameters of a model move, where one was given; ``.model_based``.
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

    def summary(self) -> str:
        """The comparison in words, with the limits of what cohorts of this size can show."""
        from cellkinetics.cohorts import comparison_text

        return comparison_text.of_comparison(self)

    def plot(self, axes: Sequence[Axes] | None = None) -> Figure:
        """Curves with medians, peaks and late levels by group, on three axes where given; returns the figure."""
        from cellkinetics.figures import comparison as comparison_plot

        return comparison_plot.plot_comparison(self, axes)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} ({int((self.groups == name).sum())})" for name in self.names)
        return f"<Comparison by {self.by}: {sizes}; {len(self.results)} windows>"


def compare_cohorts(
    x: Study | Fits,
    by: str = "cohort",
    *,
    within: str | None = None,
    margin: float = 2.0,
    days: Sequence[float] | None = None,
    output: str | None = None,
    interval: str = "profile",
    mid_p: bool = False,
    seed: int = 2020,
    model: Model | None = None,
    parameters: Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    others: str = "individual",
    permutations: int = 200,
    progress: bool = True,
) -> Comparison:
    """Compare dose cohorts, or groups by another covariate; with ``model`` its parameters as well.

    Windows: the peak and the area of the first 28 days, the level on each planned day after day 14 that more than half
    of the patients have, the area from day 28 to 365; of fits, peak and area of the fitted curves as well.

    Parameters
    ----------
    x : Study, or Fits of `fit_each`.
    by : "cohort" (the assigned one, ordered by dose), "dose" (the one given), or another covariate such as "response".
    within : a second factor, such as "response" beside the dose: groups are also compared within its groups only, and
        a regression has both. With few patients two factors are confounded as far as they go together.
    margin : the change over the dose range that counts as none, to be chosen **before** the values are seen.
    days : planned days for the level, in place of those above.
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
    permutations : of the doses, or groups, over the patients, for the model; all where there are no more than that.
    progress : whether the model's refits show a bar. Ctrl-C ends them early; what is done is used, and said.

    Returns
    -------
    Comparison
        With ``.summary()``, ``.table`` and ``.plot()``.

    Notes
    -----
    Exact permutation tests of midranks. Values under the largest limit of a window are tied; an area with censored
    samples is an interval, tested with all areas at their lower and all at their upper ends (not with one group at its
    lower and another at its upper), and the larger p counts. p is adjusted over the windows by Holm, for
    each kind of test. A dose exponent is estimated where the groups are doses.

    The likelihood ratio of a model's parameter that all patients share, or that the dose drives, knows of no difference
    between patients; by chi-squared that would be taken for an effect. Its p is therefore had by giving the doses to
    other patients (in the power law, not in the model's infusions). The interval of the exponent comes from leaving out
    each patient in turn.

    Raises
    ------
    ValueError
        There is no such covariate, or it has more than 8 different values and is not the dose; the second factor
        is the first.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> found = ck.compare_cohorts(ck.example())
    >>> found
    <Comparison by cohort: 1e5/kg (3), 1e6/kg (4), 1e7/kg (4); 10 windows>
    """
    study = x.study if isinstance(x, Fits) else x
    members = _groups(study, by)
    groups, names = members.members, members.known
    strata = None if within is None else _second(study, by, within)
    chosen = windows(study, output, None if days is None else [float(day) for day in days])
    if isinstance(x, Fits):
        chosen = fitted_windows(x) + chosen
    dose = study.covariates["dose"].astype(float)
    ordered = is_ordered(study, by, groups, names)
    results = []
    for window in chosen:
        exponent = None
        if by in ("cohort", "dose"):
            known = (groups != NOBODY).to_numpy() if by == "cohort" else np.ones(len(groups), bool)
            values = window.values[known]
            ends = values["lower"].to_numpy(float), values["upper"].to_numpy(float)
            exponent = dose_exponent(dose[known], *ends, method=interval, margin=margin, seed=seed)
        result = _compared(window, groups, names, ordered, exponent, seed)
        if strata is not None:
            numeric = dose if {by, within} & {"cohort", "dose"} else None
            found = both_factors(window, (by, groups, names), (str(within), *strata), numeric, ordered, seed)
            result = replace(result, within=found[0], both=found[1])
        results.append(result)
    table = pd.DataFrame([row for result in results for row in _rows(result, names)])
    table["p_holm"] = math.nan
    for _, rows in table.groupby("quantity"):
        table.loc[rows.index, "p_holm"] = holm(rows["p"])
    curves = curve_test(study, by, output, seed)
    found = None
    if model is not None:
        from cellkinetics.joint.comparison import model_based

        found = model_based(
            study, by, model, parameters=parameters, others=others, permutations=permutations, seed=seed,
            progress=progress,
        )  # fmt: skip
    return Comparison(
        study, by, groups, members.names, results, curves, margin, mid_p, table[COHORT_COLUMNS], within, found
    )


COHORT_COLUMNS = [
    "window", "quantity", "variant", "estimate", "lower", "upper", "level", "p", "p_holm", "mid_p", "smallest_p",
    "attained_size", "equivalence", "n_needed", "n", "n_interval", "n_missing", "note",
]  # fmt: skip


def _groups(study: Study, by: str) -> Groups:
    groups = groups_of(study, by)
    names = groups.known
    # Doses that all differ have an order and an exponent, which need no groups.
    if len(names) > MOST_GROUPS and by != "dose":
        raise ValueError(f"{by} has {len(names)} different values: give a covariate with at most {MOST_GROUPS} groups.")
    return groups


def _second(study: Study, by: str, within: str) -> tuple[pd.Series, list[str]]:
    if within == by or {by, within} == {"cohort", "dose"}:
        raise ValueError(f"within={within!r} is the factor that is compared ({by}). Give another one, or None.")
    strata = _groups(study, within)
    return strata.members, strata.known


def is_ordered(study: Study, by: str, groups: pd.Series, names: Sequence[str]) -> bool:
    """Whether the groups have an order: a number, or cohorts each with a median dose of its own."""
    if by != "cohort":
        return bool(pd.api.types.is_numeric_dtype(study.covariates[by]))
    medians = [float(study.covariates.loc[groups == name, "dose"].median()) for name in names]
    return not any(math.isnan(median) for median in medians) and len(set(medians)) == len(medians)


def _compared(
    window: Window,
    groups: pd.Series,
    names: Sequence[str],
    ordered: bool,
    exponent: DoseExponent | None,
    seed: int,
) -> WindowResult:
    there = window.values["lower"].notna()
    members = [(groups == name).to_numpy() & there.to_numpy() for name in names]
    low, high = (window.values[end].to_numpy(float) for end in ("lower", "upper"))
    everyone = np.any(members, axis=0) if members else np.zeros(len(low), bool)
    sides = [[scores[member] for member in members] for scores in ranked(window, everyone)]
    if len(names) < 2:
        nan = math.nan
        nothing = RankTest("rank test", "none", nan, nan, nan, nan, nan, (), 0, reason="there is one group")
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


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"at least {low:.3g}" if low > 0 else "of any size"
    return f"between {low:.3g} and {high:.3g}"


def _of(low: Floats, high: Floats, member: np.ndarray[Any, Any]) -> tuple[Floats, Floats]:
    return low[member], high[member]


def _rows(result: WindowResult, names: Sequence[str]) -> list[dict[str, Any]]:
    values = result.window.values
    counts = {
        "window": result.window.name,
        "n_interval": int((values["lower"] < values["upper"]).sum()),
        "n_missing": int(values["lower"].isna().sum()),
    }
    blank = dict.fromkeys(COHORT_COLUMNS, math.nan) | {"variant": "", "equivalence": "", "note": ""} | counts
    found = []
    within = None if result.within is None else replace(result.within, name=f"{result.within.name}, within strata")
    for test in (result.test, result.trend, within):
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
