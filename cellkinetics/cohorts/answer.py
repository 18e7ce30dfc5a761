"""The line that a comparison opens with: what it says of the peak and of persistence, or else of what is compared."""

from __future__ import annotations

import math

from cellkinetics.cohorts.comparison import Comparison, WindowResult
from cellkinetics.cohorts.values import Family
from cellkinetics.statistics.null_distributions import doubled_mean
from cellkinetics.statistics.ranks import ALPHA
from cellkinetics.words import count, p_equals

SHORT = 3  # so many windows are named, more are counted
# The others are answered where neither of the first two is asked.
IN_TURN = ((Family.PEAK, Family.PERSISTENCE), (Family.EXPOSURE, Family.FITTED))
WHAT_OF = {
    Family.PEAK: "the peak", Family.PERSISTENCE: "persistence", Family.EXPOSURE: "the exposure of the first weeks",
    Family.FITTED: "the fitted curve",
}  # fmt: skip


def of(found: Comparison) -> str:
    """What is shown for the peak and for persistence, and what is not; where neither is asked, of the other windows."""
    for asked in IN_TURN:
        parts = [part for family in asked if (part := _of(found, _what(found, family), family))]
        if parts:
            return "; ".join(parts)
    return "no window is compared"


def _what(found: Comparison, family: Family) -> str:
    """What a question is of; a window that stands alone by its name."""
    alone = [result.window.name for result in found.results if result.window.family == family]
    return alone[0] if len(alone) == 1 and family not in IN_TURN[0] else WHAT_OF[family]


def _of(found: Comparison, what: str, family: Family) -> str:
    asked = [result for result in found.results if result.window.family == family]
    if not asked:
        return ""
    seen = [result for result in asked if result.window.values["lower"].notna().any()]
    if not seen:
        return f"{what} cannot be judged, no patient has a value"
    tested = [(p, result) for result in seen if not math.isnan(p := _adjusted(found, result))]
    number = len(tested)
    over = f" adjusted over {number} windows" if number > 1 else ""
    shown = [(p, result) for p, result in tested if p <= ALPHA * (1 + 1e-12)]
    if shown:
        # Early and late windows may go opposite ways: each is told under its own, that of the smallest p first.
        ways = [_way(found, result) for _, result in shown]
        least = {way: min(p for (p, _), own in zip(shown, ways, strict=True) if own == way) for way in ways}
        parts = []
        for way in sorted(least, key=lambda one: least[one]):
            where = _where([result for (_, result), own in zip(shown, ways, strict=True) if own == way], len(asked))
            parts.append(f"{way}{where} ({p_equals(least[way])}{over})")
        return f"{what} {' but '.join(parts)}"
    sloped = [
        (r, b) for r in seen if (b := r.exponent) is not None and not (math.isnan(b.lower) or math.isnan(b.upper))
    ]
    moves = [r for r, b in sloped if b.lower > 0 or b.upper < 0]
    smallest = ""
    if tested:
        smallest = f"{'smallest ' if number > 1 else ''}{p_equals(min(p for p, _ in tested))}{over}"
    but = ""
    if moves:
        where = f" in {len(moves)} of {count(len(sloped), 'window')}" if len(sloped) > 1 else ""
        but = f", but the interval of the dose exponent, not adjusted, leaves out 0{where}"
    same = [r for r in seen if r.exponent is not None and r.exponent.equivalence == "shown"]
    if same and not moves:
        return f"{what} changes by less than {found.margin:g}-fold over the doses{_where(same, len(asked))}"
    if not tested:
        return f"{what} cannot be tested: {seen[0].main.reason}{but}"
    if not any(result.main.can_reach for _, result in tested):
        return f"{what}: too few patients for an answer by ranks, p cannot be {ALPHA:g} or less{but}"
    return f"{what}: neither a difference nor its absence is shown by ranks ({smallest}){but}"


def _adjusted(found: Comparison, result: WindowResult) -> float:
    table, main = found.table, result.main
    row = table[(table["window"] == result.window.name) & (table["quantity"] == main.name)]
    return math.nan if main.reason or row.empty else float(row["p_holm"].iloc[0])


def _where(results: list[WindowResult], asked: int) -> str:
    """Which windows, where there are others."""
    if asked == 1:
        return ""
    names = [result.window.name for result in results]
    rest = f" and {len(names) - SHORT} more" if len(names) > SHORT else ""
    return f" ({'; '.join(names[:SHORT])}{rest})"


def _way(found: Comparison, result: WindowResult) -> str:
    """Whether it rises or falls over groups that have an order, from the statistic and its mean."""
    test = result.main
    sizes = tuple(size for size in test.sizes if size)
    dosed = found.by in ("cohort", "dose")
    if result.trend is None and not (len(sizes) == 2 and dosed and result.exponent and not result.exponent.reason):
        return f"differs by {found.by}"
    away = test.statistic - doubled_mean(sizes) / 2
    # U of two groups counts the pairs in which the first group is higher.
    rises = away > 0 if result.trend is not None else away < 0
    return f"{'rises' if rises else 'falls'} with {'the dose' if dosed else found.by}"
