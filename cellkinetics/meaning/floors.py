"""Numbers that stand for something else: a limit written as a value, 999 for nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellkinetics.arrays import Floats
from cellkinetics.words import count, number_text

# A lowest value is a likely limit from so many times on, when so much more frequent than its neighbours.
FEWEST_REPEATS, TIMES_AS_OFTEN, NEIGHBOURS = 3, 3.0, 5
# A second limit, of another site or an assay that changed, has values above and below it: it must stand out more.
FEWEST_OF_SECOND, TIMES_OF_SECOND = 4, 4.0
# So many limits of sites are looked for in one table.
LIMITS_OF_SITES = 3
# Without a limit as the lowest value another one is this share of all values at least.
SHARE_OF_SECOND = 0.05
# The lowest that is this share of all values is one when it stands there twice as often as any next to it.
SHARE_OF_LOWEST = 0.35
_NINES, LEAST_CODE = re.compile(r"9{3,}(\.9+)?|8{3,}|7{3,}"), 777.0

# Codes of three digits are values too: one alone must stand so many times above or below the samples beside it.
SHORT_CODES, OUT_OF_LINE = (999.0, 888.0, 777.0), 3.0


@dataclass(frozen=True)
class Likely:
    """One number that repeats.

    Parameters
    ----------
    kind : str
        "floor", "second" (a floor above the lowest), "ceiling" or "code".
    number : float
        As it stands there.
    times, of : int
        How many values are this number, of how many.
    output : str
        Of which output; "" when there is one.
    """

    kind: str
    number: float
    times: int
    of: int
    output: str = ""

    def text(self, unit: str) -> str:
        """What it looks like and what to give, in a sentence or two."""
        number = number_text(self.number)
        where = f" of output {self.output}" if self.output else ""
        first = f"{self.times} of {count(self.of, 'value')}{where} {'is' if self.times == 1 else 'are'} {number}"
        if self.kind == "code":
            return f"{first}: if it stands for no value, give missing=[{number}]"
        if self.kind == "second":
            return (
                f"{first} {unit}, far more often than any value near it: if it is the limit of another site or assay "
                f"written as a value, write <{number} there, or BLQ with the limit in a column lloq"
            )
        if self.kind == "ceiling":
            return f"{first} {unit}, the highest: if it is the upper limit, write >{number} there"
        return (
            f"{first} {unit}, the lowest: if it is a limit written as a value (or half of one), give floor={number}, "
            "with lloq= where the limit is another number"
        )


def is_code(number: float) -> bool:
    """Whether a number is written as laboratories and surveys write that there is none: 999, 9999.9, 888, 777."""
    return _NINES.fullmatch(number_text(float(number))) is not None


def out_of_line(before: float, number: float, after: float) -> bool:
    """Whether a number between two samples of its curve is three times as much as both, or a third of both.

    The last of a curve, after which there is NaN, is out of line when it is three times what was before it; the first
    never is, because a curve rises and falls there. Of 97 real and simulated samples from 777 on 13 are so between
    theirs, and none of these is a code: it is asked of codes alone.

    Examples
    --------
    >>> out_of_line(60, 999, 20), out_of_line(2000, 999, 400), out_of_line(60, 999, float("nan"))
    (True, False, True)
    """
    near = [each for each in (before, after) if not np.isnan(each)]
    above = not np.isnan(before) and number > OUT_OF_LINE * max(near)
    return above or (len(near) == 2 and number * OUT_OF_LINE < min(near))


def likely(values: Floats, output: str = "") -> list[Likely]:
    """The numbers among (n,) quantified values of one output that look like limits or codes.

    A lowest value is one when it stands there 3 times or more, and 3 times as often as any of the 5 values next to it:
    rounding repeats neighbours too, a limit written as a value does not. Values of one digit, 1, 2, 3, are taken as
    rounded, unless the lowest is a tenth of all. Others are looked for in the lower half, limits of other sites or
    assays, or one below which a single value lies, that stand there 4 times or more, and 4 times as often as any of the
    5 on either side.
    """
    found: list[Likely] = []
    distinct, times = np.unique(values[values > 0], return_counts=True)
    n = int(times.sum())
    if len(distinct) < 2:
        return found
    # A number of nines that other values do not surround.
    for at in np.flatnonzero((distinct >= LEAST_CODE) & (distinct % 1 == 0)).tolist():
        number = float(distinct[at])
        text = number_text(number)
        if not is_code(number):
            continue
        near = (distinct > number / 2) & (distinct < number * 2) & (distinct != number)
        usual = int(times[near].max()) if near.any() else 0
        if (len(text) >= 4 and usual <= times[at]) or times[at] >= 2 * max(usual, 1):
            found.append(Likely("code", number, int(times[at]), n, output))
    codes = {each.number for each in found}
    apart = _frequent(times)
    others = [at for at in apart if at > 0 and distinct[at] not in codes and _stands_out(distinct, times, at, apart)]
    for kind, at, beside in (("floor", 0, slice(1, 1 + NEIGHBOURS)), ("ceiling", -1, slice(-1 - NEIGHBOURS, -1))):
        number, k = float(distinct[at]), int(times[at])
        near = np.delete(times, others)[beside] if kind == "floor" else times[beside]
        enough = k >= TIMES_AS_OFTEN * near.max(initial=0)
        # Of few values, each other one there once or twice, the lowest may be a third of all.
        enough |= kind == "floor" and k >= max(FEWEST_OF_SECOND, SHARE_OF_LOWEST * n) and k >= 2 * near.max(initial=0)
        if kind == "floor" and apart and apart[0] == 0:
            enough |= _stands_out(distinct, times, 0, apart)
        if number not in codes and k >= FEWEST_REPEATS and enough and not _rounded(distinct, times, at):
            found.append(Likely(kind, number, k, n, output))
        elif kind == "floor":
            # Where the lowest is none, four of many values that are alike come from rounding.
            others = [each for each in others if times[each] >= SHARE_OF_SECOND * n]
        if kind == "floor":
            found += [Likely("second", float(distinct[each]), int(times[each]), n, output) for each in others]
    return found


def _frequent(times: npt.NDArray[np.intp]) -> list[int]:
    """Where in the lower half the most frequent values are, from below: the limits of as many sites."""
    half = min(max(2, len(times) // 2), len(times) - 1)
    often = [at for at in np.argsort(-times[:half], kind="stable").tolist() if times[at] >= FEWEST_REPEATS]
    return sorted(often[:LIMITS_OF_SITES])


def _stands_out(distinct: Floats, times: npt.NDArray[np.intp], at: int, apart: list[int]) -> bool:
    """Whether a value above the lowest is far more frequent than its neighbours on either side.

    The others that are frequent are no neighbours: of three sites each limit would hide the other two.
    """
    places = np.delete(np.arange(len(times)), apart)
    place = int(np.searchsorted(places, at))
    near = times[places[max(0, place - NEIGHBOURS) : place + NEIGHBOURS]]
    enough = times[at] >= max(FEWEST_OF_SECOND, TIMES_OF_SECOND * near.max(initial=0))
    return bool(len(near) and enough and not _rounded(distinct[at:], times[at:], 0))


def _rounded(distinct: Floats, times: npt.NDArray[np.intp], at: int) -> bool:
    """Whether a value is the end of a grid that is as coarse as the value itself, as 1 among whole numbers is."""
    neighbours = distinct[:4] if at == 0 else distinct[-4:]
    step = np.diff(neighbours).min()
    coarse = step >= 0.3 * distinct[at] if at == 0 else step >= 0.1 * distinct[at]
    grid = np.allclose(distinct / step, np.round(distinct / step), atol=1e-6)
    return bool(coarse and grid and times[at] < 0.1 * times.sum())
