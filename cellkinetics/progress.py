"""A bar on the terminal, or in a notebook, for work that takes a while, and the one log of the library."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from html import escape
from time import monotonic
from typing import Any

# Silent where nobody listens: logging.basicConfig(level="INFO") shows what is fitted and compiled, and how long.
log = logging.getLogger("cellkinetics")
log.addHandler(logging.NullHandler())


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
    if display := _notebook():
        with _in_notebook(display, total, what) as advance:
            yield advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda more: shown.advance(task, more)


def _notebook() -> Any:
    """IPython's module of display where a notebook's kernel runs this, else None; nothing is imported for it."""
    core = sys.modules.get("IPython.core.getipython")
    shell = core.get_ipython() if core else None
    # Services have shells of their own, made from Jupyter's.
    if shell is None or "ZMQInteractiveShell" not in {kind.__name__ for kind in type(shell).__mro__}:
        return None
    return sys.modules.get("IPython.core.display_functions")


@contextmanager
def _in_notebook(display: Any, total: int, what: str) -> Iterator[Callable[[int], None]]:
    # An element of HTML that is renewed in place: widgets would be a package more.
    done, began = 0, monotonic()

    def shown() -> dict[str, str]:
        text = f"{what}: {done} of {total}"
        if 0 < done < total:
            left = timedelta(seconds=round((monotonic() - began) * (total - done) / done))
            text += f", {left} left"
        page = f'<progress value="{done}" max="{max(total, 1)}"></progress> {escape(text)}'
        return {"text/html": page, "text/plain": text}

    handle = display.display(shown(), raw=True, display_id=True)

    def advance(more: int) -> None:
        nonlocal done
        done += more
        handle.update(shown(), raw=True)

    try:
        yield advance
    finally:
        handle.update({"text/html": "", "text/plain": ""}, raw=True)
