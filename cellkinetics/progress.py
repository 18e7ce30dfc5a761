"""A bar on the terminal for work that takes a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(total: int, progress: bool, what: str = "fitting") -> Iterator[Callable[[int], None]]:
    """A bar with the time left; what it gives is called with how many more are done.

    Parameters
    ----------
    total : how many there are.
    progress : False for no bar at all.
    what : a word for what is going on.
    """
    if not progress:
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda more: shown.advance(task, more)
