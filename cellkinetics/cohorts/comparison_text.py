"""A comparison of cohorts in words that a clinician can read."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.cohorts import answer
from cellkinetics.cohorts.comparison import Comparison, WindowResult
from cellkinetics.cohorts.curves import quantile, turnbull
from cellkinetics.cohorts.two_factors import EXPONENT, TwoFactors
from cellkinetics.cohorts.values import Kind
from cellkinetics.data import groups, overview
from cellkinetics.data.groups import NOBODY
from cellkinetics.lazily import pandas as pd
from cellkinetics.statistics.dose_exponent import WORDS
from cellkinetics.statistics.ranks import ALPHA, RankTest
from cellkinetics.words import WIDE, count, dose_text, fold, labelled_wide, number_text, p_equals, p_text

# Factors with more values than this are not cross-tabulated.
FACTOR = 4
LARGEST_CV = 10_000
# A factor goes with the dose where three of four pairs of patients, with and without it, have theirs in the same order.
MOSTLY = 0.5
# Each patient has a day of its own: counted together.
SHORTER = {
    r"followed to day .*": "not followed so long",
    r"the last sample.* is on day .*, before day (.*)": r"without a sample near day \1",
}


def of_comparison(found: Comparison) -> str:
    """Who is compared, what was found in each window, and what it does not show."""
    study = found.study
    sizes = ", ".join(f"{name} ({int((found.groups == name).sum())})" for name in found.names)
    title = f"Comparison by {found.by}"
    title += f" within {found.within}" if found.within else ""
    title += ", simulated data" if study.simulated else ""
    lines = _indented(f"{title}: {answer.of(found)}", "")
    if found.individual:
        dose = study.covariates["dose"].astype(float)
        low, high = _dose(dose.min()), _dose(dose.max())
        sizes = f"none, there are {len(found.names)} different doses, {low} to {high} {study.dose_unit}"
    lines += labelled_wide("groups", sizes)
    for label, text in _who(found):
        lines += labelled_wide(label, text)
    for text in _cautions(found):
        lines += labelled_wide("caution", text)
    lines += labelled_wide("curves", _test(found.curves, found.mid_p))
    for place, text in enumerate(_in_short(found)):
        lines += labelled_wide("" if place else "in short", text)
    for result in found.results:
        lines += ["", *_window(found, result)]
    if found.with_model is not None:
        lines += ["", *found.with_model.summary().splitlines()]
    if found.with_population is not None:
        lines += ["", *found.with_population.summary().splitlines()]
    lines += ["", *textwrap.wrap(_legend(found), WIDE)]
    return "\n".join(lines) + "\n"


def _who(found: Comparison) -> list[tuple[str, str]]:
    study, said = found.study, []
    nobody = list(found.groups.index[found.groups == NOBODY])
    if nobody:
        said.append(("left out", f"{len(nobody)} without a {found.by}: {', '.join(nobody)}"))
    if other := _given_otherwise(found):
        kept = "the assigned cohort is compared" if found.by == "cohort" else "the given dose is compared"
        said.append(("doses", f"{'; '.join(other)}; {kept}, the dose exponent uses the given dose"))
    ends = overview.cut(study)
    cut = sum(len(who) for _, who in ends)
    if cut:
        why = "; ".join(f"{len(who)} {reason} ({', '.join(who)})" for reason, who in ends)
        text = f"{cut} of {count(len(study.subjects), 'curve')}: {why}. "
        said.append(("cut", text + "The end depends on the response: late values are of those left"))
    return said


def _given_otherwise(found: Comparison) -> list[str]:
    """Who was given another dose than the cohort's median one."""
    if found.by not in ("cohort", "dose"):
        return []
    study, assigned = found.study, overview.cohorts(found.study).astype(str)
    dose = study.covariates["dose"].astype(float)
    usual = dose.groupby(assigned).transform("median")
    other = (assigned != NOBODY) & (dose > 0) & (dose != usual)
    said = []
    for subject in other.index[other]:
        # A cohort that goes by its dose is called a cohort: two amounts in a row say nothing.
        name = str(assigned[subject])
        where = f"the cohort {name}" if study.dose_unit in name else name
        said.append(f"{subject} was given {dose_text(float(dose[subject]))} {study.dose_unit} in {where}")
    return said


def _in_short(found: Comparison) -> list[str]:
    """What is shown, and that the rest is not."""
    differ, slope, equal, rest, untested = [], [], [], [], []
    for result in found.results:
        if _nobody(result):
            continue
        rows = found.table[found.table["window"] == result.window.name]
        main, b = result.main, result.exponent
        shown = bool((rows.loc[rows["quantity"] == main.name, "p_holm"] <= ALPHA * (1 + 1e-12)).any())
        same = b is not None and b.equivalence == "shown"
        moves = b is not None and (b.lower > 0 or b.upper < 0)
        none = not (shown or same or moves)
        tested = not main.reason or (b is not None and not b.reason)
        for listed, holds in (
            (differ, shown), (slope, moves), (equal, same), (rest, none and tested), (untested, none and not tested)
        ):  # fmt: skip
            listed += [result.window.name] * holds
    what = "a trend" if any(result.trend for result in found.results) else "a difference"
    what += " over the doses" if found.individual else " between the groups"
    said = [f"{what} is shown for: {'; '.join(differ) or 'no window'} (p adjusted, at most 0.05)"]
    if any(result.exponent for result in found.results):
        said.append(f"the dose exponent's interval leaves out 0 (not adjusted) for: {'; '.join(slope) or 'no window'}")
        said.append(f"equivalence over the dose range is shown for: {'; '.join(equal) or 'no window'}")
    if rest:
        said.append(f"nothing is shown, neither a difference nor that there is none, for: {'; '.join(rest)}")
    if untested:
        said.append(f"no test was possible for: {'; '.join(untested)}")
    return said


def _nobody(result: WindowResult) -> bool:
    """Whether no patient has a value in this window."""
    return bool(result.window.values["lower"].isna().all())


def _cautions(found: Comparison) -> list[str]:
    """Factors that go together cannot be told apart by groups of this size."""
    table, said = found.study.covariates, []
    dosed = found.by in ("cohort", "dose")
    if found.missed:
        whose = (
            f"curve{'s' * (len(found.missed) > 1)} of {', '.join(found.missed)} miss{'es' * (len(found.missed) == 1)}"
        )
        said.append(f"the fitted {whose} samples: fitted peaks and areas rest on them too. fit.outcome says which")
    if found.within is not None:
        said.append(_two_factors(found))
    if found.within is None and not dosed and table["cohort"].nunique() > 1:
        counts = pd.crosstab(found.groups, overview.cohorts(found.study))
        said.append(
            f"{found.by} and dose cohort are confounded where they go together: {_crossed(counts)}. "
            "A difference here can be one of dose."
        )
    for name in table if dosed else ():
        values = table[name]
        if name in ("cohort", "dose", "until", "until_reason", found.within) or pd.api.types.is_numeric_dtype(values):
            continue
        if 2 <= values.nunique() <= FACTOR and (text := _goes_with(found, values)):
            said.append(f"{name} goes with {text}: where they go together their effects cannot be told apart.")
    return said


def _goes_with(found: Comparison, values: pd.Series) -> str:
    """How a factor goes with the doses of individuals, or with the groups; "" where it does not."""
    known = values[values.notna() & (found.groups != NOBODY)].astype(str)
    if not found.individual:
        counts = pd.crosstab(known, found.groups[known.index])
        even = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(len(known), 1)
        return "" if np.allclose(counts, even) else f"the groups ({_crossed(counts)})"
    dose, pairs = found.study.covariates["dose"].astype(float), []
    for name in known.unique():
        one, rest = (dose[known.index[chosen]].to_numpy() for chosen in (known == name, known != name))
        pairs.append(float(np.mean(np.sign(np.subtract.outer(one, rest)))))
    # Of two patients, one with the value and one without, the share who has the higher dose is 1/2 + pairs/2.
    if max(map(abs, pairs), default=0.0) < MOSTLY:
        return ""
    ranges = dose[known.index].groupby(known).agg(["min", "max", "count"])
    texts = [f"{n}: {int(k)} at {_dose(low)} to {_dose(high)}" for n, low, high, k in ranges.itertuples()]
    return f"the dose ({'; '.join(texts)} {found.study.dose_unit})"


def _dose(amount: float) -> str:
    """Of an individual, to three digits."""
    return dose_text(float(f"{amount:.3g}"))


def _two_factors(found: Comparison) -> str:
    """How far two factors go together, and what that costs."""
    within = str(found.within)
    strata = groups.of(found.study, within).members
    kept = (strata != NOBODY) & (found.groups != NOBODY)
    counts = pd.crosstab(strata[kept], found.groups[kept])
    mixed = counts[(counts > 0).sum(axis=1) > 1]
    text = f"{found.by} and {within} are confounded as far as they go together ({_crossed(counts)}): "
    text += f"{int(mixed.to_numpy().sum())} of {count(int(kept.sum()), 'patient')} are in a group of {within} that has "
    text += f"more than one of {found.by}, and only they tell the two apart"
    terms = [term for result in found.results if result.both for term in result.both.terms]
    if terms:
        worst = max(term.inflation for term in terms)
        text += f"; standard errors are up to {worst:.2g} times those of balanced factors"
    return text + ". What is found at equal values of the other factor rests on a straight line in few patients."


def _crossed(counts: pd.DataFrame) -> str:
    rows = [f"{name}: {', '.join(f'{n} in {c}' for c, n in row.items() if n)}" for name, row in counts.iterrows()]
    return "; ".join(rows)


def _window(found: Comparison, result: WindowResult) -> list[str]:
    values, window = result.window.values, result.window
    if _nobody(result):
        return _indented(f"{window.name}: no patient has a value{_missing(values)}{_shorter(found, result)}", "")
    lines = _indented(f"{window.name} ({window.matched})" if window.matched else window.name, "")
    if found.individual:
        lines += _indented(_level("all", values[(found.groups != NOBODY).to_numpy()]))
    for name in () if found.individual else found.names:
        own = values[(found.groups == name).to_numpy()]
        lines += textwrap.wrap(_level(name, own), WIDE, initial_indent="  ", subsequent_indent=" " * 6)
    holm = found.table[found.table["window"] == result.window.name].set_index("quantity")["p_holm"]
    over = _family(found, result)
    for test in result.tests:
        lines += _indented(_test(test, found.mid_p, float(holm.get(test.name, math.nan)), over))
    ratio = result.ratio
    if "level" in ratio and not math.isnan(ratio["level"]):
        ends = f"{_bound(ratio['lower'])} to {_bound(ratio['upper'])}"
        interval = f"{ends}; {100 * ratio['level']:.3g}% interval, the level that these sizes attain"
        if not ratio["level"] > 0:
            interval = "these sizes give no interval"
        elif ratio["lower"] == 0 and math.isinf(ratio["upper"]):
            interval = "the limits hide it"
        lines += _indented(f"{found.names[-1]} to {found.names[0]}: {_times(ratio)} ({interval})")
    if result.exponent is not None:
        lines += _indented(f"dose exponent: {result.exponent.sentence()}")
    if result.within is not None:
        quantity = f"{result.within.name}, within strata"
        lines += _indented(
            f"within {found.within}: {_test(result.within, found.mid_p, float(holm.get(quantity, math.nan)), over)}"
        )
    if result.both is not None:
        lines += _indented(f"both factors: {_both(result.both)}")
    return lines


def _times(ratio: Mapping[str, Any]) -> str:
    """A ratio as a factor: 58-fold, at least 20-fold, a ratio of any size."""
    if not math.isnan(ratio["estimate"]):
        return fold(float(ratio["estimate"]))
    return "a ratio of any size" if ratio["note"] == "of any size" else f"{ratio['note']}-fold"


def _family(found: Comparison, result: WindowResult) -> str:
    """Over what p is adjusted: "the 8 windows of persistence"; "" where the window stands alone."""
    family = result.window.family
    n = sum(other.window.family == family and not other.main.reason for other in found.results)
    return f"the {n} windows of {family}" if n > 1 else ""


def _shorter(found: Comparison, result: WindowResult) -> str:
    """The windows that a study has whose last visit comes before the end of this one."""
    window, ends = result.window, overview.follow_up(found.study).dropna()
    if window.kind is not Kind.AREA or window.days is None or ends.empty:
        return ""
    first, last = window.days
    if not first < ends.median() < last:
        return ""
    first, day = number_text(first), f"{ends.median():.0f}"
    return f". Half of the patients were seen to day {day}: give windows=[(0, 28), ({first}, {day})] for a shorter one"


def _both(both: TwoFactors) -> str:
    if both.reason:
        return f"not estimated: {both.reason}"
    said = []
    for term in both.terms:
        ends = f"(95% interval {_bound(term.lower)} to {_bound(term.upper)})"
        if term.name == EXPONENT:
            said.append(f"dose exponent b = {term.estimate:.2f} {ends}")
        else:
            said.append(f"{term.name} {term.estimate:.3g} {ends}")
    return ", ".join(said) + ", each at equal values of the other; not adjusted over windows"


def _level(name: str, own: pd.DataFrame) -> str:
    there = own[own["lower"].notna()]
    text = f"{name}: n = {len(there)}"
    if len(there):
        low, high = there["lower"].to_numpy(float), there["upper"].to_numpy(float)
        text += f", median {_between(*quantile(turnbull(low, high), 0.5))}"
        text += f" (lowest {_between(low.min(), high.min())}, highest {_between(low.max(), high.max())})"
        censored = int((low < high).sum())
        text += f", {_intervals(low, high)}" if censored else ""
        text += _geometric(low, high)
    return text + _missing(own)


def _intervals(low: Floats, high: Floats) -> str:
    """How many values are known as an interval only, and how wide the widest is where it is narrow."""
    n = int((low < high).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        widest = float(np.max(np.where(low > 0, high / low, math.inf)))
    if widest > 1.25:
        return f"{n} not quantified"
    share = 100 * (widest - 1)
    return f"{n} known to within {'less than 0.1' if share < 0.1 else f'{share:.2g}'}%"


def _missing(own: pd.DataFrame) -> str:
    """Why some have no value, and how many."""
    reasons = own.loc[own["lower"].isna(), "reason"].replace(SHORTER, regex=True).value_counts()
    return "".join(f"; {n} {why}" for why, n in reasons.items())


def _geometric(low: Floats, high: Floats) -> str:
    from cellkinetics.cohorts.nca_summary import geometric

    mean, cv = geometric(low, high)
    spread = f"CV {cv:,.0f}%" if cv < LARGEST_CV else f"CV above {LARGEST_CV:,}%"
    return "" if math.isnan(mean) else f", geometric mean {_number(mean)} ({spread})"


def _test(test: RankTest, mid: bool, adjusted: float = math.nan, over: str = "") -> str:
    """A test in words; `over` are the windows over which its p is adjusted, "" where it is not."""
    if test.reason:
        return f"{test.name}: not tested, {test.reason}"
    drawn = test.monte_carlo_error > 0
    text = f"{test.name}, {test.variant}: {p_equals(test.p, 'Monte Carlo p' if drawn else 'p')}"
    if drawn:
        text += f" (standard error {test.monte_carlo_error:.1g})"
    if over and not math.isnan(adjusted):
        text += f", {p_text(adjusted)} adjusted over {over} (Holm)"
    if mid:
        text += f", mid-p {p_text(test.mid_p)} (not exact)"
    # The smallest of the drawn arrangements is not the smallest there is.
    text += "" if drawn else f"; smallest possible {p_equals(test.smallest_p)}"
    text += f"{';' if drawn else ','} attained size at 5% {100 * test.attained_size:.2g}%"
    if not test.can_reach:
        return text + ". With these sizes no result can be below 0.05: the test shows nothing"
    if test.p > ALPHA:
        return text + ". This shows nothing: neither a difference nor that there is none"
    return text


def _legend(found: Comparison) -> str:
    tests = [found.curves, *(test for result in found.results for test in result.tests)]
    drawn = any(test.monte_carlo_error for test in tests)
    text = "Tests of midranks, exact where p is not called Monte Carlo" if drawn else "Exact tests of midranks"
    text += "; values under the largest limit of a window are tied, areas with censored samples are "
    text += "tested at both ends and the larger p counts. A p above 0.05 is not evidence of no difference."
    exponent = next((result.exponent for result in found.results if result.exponent is not None), None)
    if exponent is not None:
        text += (
            f" Interval of the dose exponent: {WORDS[exponent.method]}. Equivalence: two one-sided tests at 5% against "
        )
        text += f"a margin of {found.margin:g}-fold over the dose range, to be chosen before the analysis."
    return text


def _between(low: float, high: float) -> str:
    if low == high:
        return _number(low)
    if np.isinf(high):
        return f"above {_number(low)}"
    if low == 0:
        return f"below {_number(high)}"
    # Ends that read alike are one number.
    return _number(low) if _number(low) == _number(high) else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _bound(value: float) -> str:
    if value == -math.inf:
        return "no lower bound"
    return "unbounded" if math.isinf(value) else fold(value).removesuffix("-fold")


def _indented(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDE, initial_indent=indent, subsequent_indent=" " * 6)
