"""Domains of arguments: a level, a count, days. Each is checked in one place, and the error says what to give.

Calls as they were before are still taken, with a warning that says how they are written now.
"""

from __future__ import annotations

import datetime
import functools
import inspect
import math
import warnings
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cellkinetics.arrays import Floats

Kind = TypeVar("Kind")
Some = TypeVar("Some", bound=Collection[Any])
Taken = ParamSpec("Taken")
Returned = TypeVar("Returned")

COMPLEX = (complex, np.complexfloating)
MM = 25.4  # of an inch
LEAST_SIDE = 25.0  # mm of a figure; fewer are inches
OF_A_SIZE = "``size`` is width and height in mm of a new figure."
Size = tuple[float, float] | None  # width and height in mm of the figure that a picture makes
figure_size: ContextVar[tuple[float | None, float | None]] = ContextVar("inches of figures", default=(None, None))
MOMENTS = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)


def level(value: float, name: str = "level") -> float:
    """The level of an interval, between 0 and 1.

    Raises
    ------
    ValueError
        It is a percentage, or another number that is no level.

    Examples
    --------
    >>> level(0.95)
    0.95
    >>> level(95)
    Traceback (most recent call last):
    ValueError: level=95 is not between 0 and 1. Give level=0.95 for 95%.
    """
    number = _number(value, name, "a share between 0 and 1, such as 0.95")
    if 0 < number < 1:
        return number
    meant = number / 100 if 1 < number < 100 else 0.95
    raise ValueError(f"{name}={number:g} is not between 0 and 1. Give {name}={meant:g} for {100 * meant:g}%.")


def count(value: float, name: str, least: int = 1) -> int:
    """A whole number of at least `least`.

    Raises
    ------
    ValueError
        It is smaller, or not whole.

    Examples
    --------
    >>> count(200, "n")
    200
    >>> count(0, "n")
    Traceback (most recent call last):
    ValueError: n=0: give a whole number of at least 1.
    """
    number = _number(value, name, f"a whole number of at least {least}")
    if not (math.isfinite(number) and number == math.floor(number) and number >= least):
        raise ValueError(f"{name}={number:g}: give a whole number of at least {least}.")
    return int(number)


def seed(value: int, name: str = "seed") -> int:
    """A seed of random numbers, a whole number of at least 0; a ValueError where it is not."""
    return count(value, name, 0)


def jobs(value: int, name: str = "n_jobs") -> int:
    """Processes that work is shared among: 1 or more, or -1 for as many as there are.

    Examples
    --------
    >>> jobs(0)
    Traceback (most recent call last):
    ValueError: n_jobs=0: give a whole number of at least 1, or -1 for as many as there are processors.
    """
    try:
        number = count(value, name, -1)
    except ValueError:
        number = 0
    if number == 0:
        text = "give a whole number of at least 1, or -1 for as many as there are processors."
        raise ValueError(f"{name}={value!r}: {text}")
    return number


def not_negative(value: float, name: str, example: float) -> float:
    """A finite number of at least 0; a ValueError where it is not."""
    number = _number(value, name, f"a number of at least 0, such as {example:g}")
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{name}={number:g}: give a number of at least 0, such as {example:g}.")
    return number


def positive(value: float, name: str, example: float) -> float:
    """A finite number above 0; a ValueError where it is not."""
    number = _number(value, name, f"a number above 0, such as {example:g}")
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name}={number:g}: give a number above 0, such as {example:g}.")
    return number


def finite(value: float, name: str, example: float) -> float:
    """A finite number; a ValueError where it is not."""
    number = _number(value, name, f"a number, such as {example:g}")
    if not math.isfinite(number):
        raise ValueError(f"{name}={number:g}: give a finite number, such as {example:g}.")
    return number


def by_name(given: Any, name: str, example: Mapping[str, float]) -> dict[str, float]:
    """{name: number}, empty where nothing is given.

    Raises
    ------
    ValueError
        No mapping, or a value that is a text, a truth value or no number.

    Examples
    --------
    >>> by_name({"alpha": 0.3}, "fixed", {"alpha": 0.5})
    {'alpha': 0.3}
    >>> by_name({"alpha": "0.3"}, "fixed", {"alpha": 0.5})
    Traceback (most recent call last):
    ValueError: fixed['alpha']='0.3': give a number.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}={given!r}: give {{name: number}}, such as {dict(example)}.")
    return {str(key): _number(value, f"{name}[{key!r}]", "a number") for key, value in given.items()}


def number(value: float, name: str, example: float) -> float:
    """A number, NaN and infinity among them; a ValueError for a text or a truth value."""
    return _number(value, name, f"a number, such as {example:g}")


def flag(value: Any, name: str) -> bool:
    """True or False; a ValueError for what would only be taken for one of them.

    Examples
    --------
    >>> flag("no", "pool_sd")
    Traceback (most recent call last):
    ValueError: pool_sd='no': give True or False.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ValueError(f"{name}={value!r}: give True or False.")


def days(values: Any, name: str = "days", *, finite: bool = True) -> Floats:
    """Days as a flat array of numbers.

    Parameters
    ----------
    values : a number or numbers, days since the infusion. Dates and time differences are refused: read as numbers
        they would be nanoseconds.
    name : of the argument.
    finite : whether NaN and infinity are refused.

    Raises
    ------
    ValueError
        A date, a time difference, a text, a truth value, a complex number; NaN or infinity.

    Examples
    --------
    >>> days([7, 14.5]).tolist()
    [7.0, 14.5]
    >>> days(np.array(["2024-03-01"], dtype="datetime64[D]"), "times")
    Traceback (most recent call last):
    ValueError: times holds dates: give numbers of days since the infusion, (dates - infusion) / np.timedelta64(1, "D").
    """
    given = _flat(values)
    kinds = [type(one) for one in given] if given.dtype == object else []
    differences = given.dtype.kind == "m" or any(issubclass(k, (datetime.timedelta, np.timedelta64)) for k in kinds)
    if differences:
        raise ValueError(f'{name} holds time differences: give numbers of days, {name} / np.timedelta64(1, "D").')
    if given.dtype.kind == "M" or any(issubclass(kind, MOMENTS) for kind in kinds):
        raise ValueError(
            f'{name} holds dates: give numbers of days since the infusion, (dates - infusion) / np.timedelta64(1, "D").'
        )
    plain = [] if given.dtype.kind in "fiu" else given.tolist()
    for called, those in (("text", (str, bytes)), ("True or False", (bool, np.bool_)), ("complex numbers", COMPLEX)):
        wrong = next((one for one in plain if isinstance(one, those)), None)
        if wrong is not None:
            raise ValueError(f"{name} holds {called} ({wrong!r}): give numbers of days.")
    try:
        numbers = given.astype(float)
    except (TypeError, ValueError):
        wrong = next((one for one in plain if not _is_number(one)), given[0])
        raise ValueError(f"{name} holds what is no number ({wrong!r}): give numbers of days.") from None
    if finite and not np.isfinite(numbers).all():
        raise ValueError(f"{name} holds NaN or infinity: give finite days.")
    return numbers


def since_infusion(values: Any, name: str = "days") -> Floats:
    """`days` of which none lies before the infusion.

    Examples
    --------
    >>> since_infusion([-5, 7])
    Traceback (most recent call last):
    ValueError: days=-5 lies before the infusion: give days since the first infusion, of at least 0.
    """
    numbers = days(values, name)
    if (numbers < 0).any():
        first = float(numbers[numbers < 0][0])
        raise ValueError(
            f"{name}={first:g} lies before the infusion: give days since the first infusion, of at least 0."
        )
    return numbers


def some(values: Some, name: str, example: str, otherwise: str = "") -> Some:
    """What was given, where it is not empty.

    Raises
    ------
    ValueError
        It is empty: nothing would be done, and nothing said.

    Examples
    --------
    >>> some([], "parameters", "['alpha']", "leave it out for all")
    Traceback (most recent call last):
    ValueError: parameters=[] is empty: give one or more, such as ['alpha'], or leave it out for all.
    """
    if len(values):
        return values
    more = f", or {otherwise}" if otherwise else ""
    raise ValueError(f"{name}={list(values)} is empty: give one or more, such as {example}{more}.")


def _flat(values: Any) -> np.ndarray[Any, Any]:
    """Values as a flat array, in which a text makes no texts of the numbers beside it."""
    given = np.asarray(values)
    several = isinstance(values, (list, tuple))
    if several and (given.dtype.kind in "US" or any(isinstance(one, bool) for one in values)):
        given = np.asarray(values, dtype=object)
    return np.atleast_1d(given).ravel()


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def instance(value: Any, kind: type[Kind], name: str, remedy: str) -> Kind:
    """A value of a kind; a TypeError with the remedy where it is of another.

    Examples
    --------
    >>> instance("P07", float, "weight", "Give kilograms.")
    Traceback (most recent call last):
    TypeError: weight is a str, not a float. Give kilograms.
    """
    if isinstance(value, kind):
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, not a {kind.__name__}. {remedy}")


def _number(value: Any, name: str, what: str) -> float:
    if isinstance(value, (str, bytes, bool, np.bool_, *MOMENTS)) or np.ndim(value) != 0:
        raise ValueError(f"{name}={value!r}: give {what}.")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={value!r}: give {what}.") from None


def also_earlier(*by_place: str, **renamed: str) -> Callable[[Callable[Taken, Returned]], Callable[Taken, Returned]]:
    """Let a function take what is given by name now by its place, in this order, and names that it had before.

    Parameters
    ----------
    by_place : names of arguments that were taken by their place, after those that are.
    renamed : {earlier name: name}.

    Examples
    --------
    >>> import warnings
    >>> @also_earlier("tolerance", days="times")
    ... def middle(times, *, tolerance=0.0):
    ...     return sum(times) / len(times) + tolerance
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     middle([1, 3], 0.5), middle(days=[1, 3])
    (2.5, 2.0)
    >>> [str(each.message) for each in told]
    ['middle(0.5) by place: give tolerance= by name.', 'middle(days=) is middle(times=) now.']
    """

    def taking(function: Callable[Taken, Returned]) -> Callable[Taken, Returned]:
        own = inspect.signature(function).parameters.values()
        first = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in own)

        @functools.wraps(function)
        def call(*args: Taken.args, **given: Taken.kwargs) -> Returned:
            told = []
            more = args[first : first + len(by_place)]
            if more:
                names = [f"{name}=" for name in by_place[: len(more)]]
                told.append(f"({', '.join(map(repr, more))}) by place: give {', '.join(names)} by name.")
                given.update(zip(by_place, more, strict=False))
            for old, new in renamed.items():
                if old in given:
                    told.append(f"({old}=) is {function.__name__}({new}=) now.")
                    given[new] = given.pop(old)
            for text in told:
                warnings.warn(f"{function.__name__}{text}", DeprecationWarning, stacklevel=2)
            whole: Callable[..., Returned] = function
            return whole(*args[:first], *args[first + len(more) :], **given)

        return call

    return taking


def picture(function: Callable[Taken, Returned]) -> Callable[Taken, Returned]:
    """Let what draws on ``axes=`` or makes a figure take ``size=``, and ``axes=`` by its earlier name ``ax=``.

    ``size`` is the width and height in mm of the figure, as of `style`, which it goes before.

    Examples
    --------
    >>> @picture
    ... def draw(axes=None, *, size=None):
    ...     return [round(MM * inches) for inches in figure_size.get()]
    >>> draw(size=(85, 60))
    [85, 60]
    >>> draw(size=(6, 4))
    Traceback (most recent call last):
    ValueError: size=(6, 4): give width and height in mm, such as size=(152, 102) for 6 by 4 inches.
    """

    @functools.wraps(function)
    def sized(*args: Taken.args, **given: Taken.kwargs) -> Returned:
        if given.get("size") is None:
            return function(*args, **given)
        width, height = _sides(given["size"])
        if inspect.signature(function).bind(*args, **given).arguments.get("axes") is not None:
            raise ValueError("size= is of a figure that is made, and axes= have theirs: leave out one of the two.")
        token = figure_size.set((width / MM, height / MM))
        try:
            return function(*args, **given)
        finally:
            figure_size.reset(token)

    if "size" not in (sized.__doc__ or ""):
        first, _, rest = inspect.cleandoc(sized.__doc__ or "").partition("\n\n")
        sized.__doc__ = "\n\n".join(filter(None, (first, OF_A_SIZE, rest)))
    return also_earlier(ax="axes")(sized)


def _sides(size: Any) -> tuple[float, float]:
    """Width and height in mm."""
    if isinstance(size, (str, bytes)) or np.shape(size) != (2,):
        raise ValueError(f"size={size!r}: give width and height in mm, such as size=(174, 100).")
    width, height = (positive(side, "size", 85) for side in np.asarray(size).tolist())
    if min(width, height) < LEAST_SIDE:
        meant = f"size=({width * MM:.0f}, {height * MM:.0f}) for {width:g} by {height:g} inches"
        raise ValueError(f"size={size!r}: give width and height in mm, such as {meant}.")
    return width, height
