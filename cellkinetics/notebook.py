"""How results show themselves in a notebook: a title, a sentence, a small table, and a picture where one is cheap."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any

from cellkinetics.lazily import pandas as pd

ROWS_SHOWN = 15  # of a table in a notebook; the whole one is an attribute
PICTURE_DPI = 80
# Text and lines take the colours of the notebook, light or dark; a picture brings its own ground.
_BOX = "color: inherit; max-width: 60em; overflow-x: auto"
_CELL = "padding: 0.15em 0.7em; text-align: {side}; border-bottom: 1px solid rgba(128, 128, 128, 0.35)"


@dataclass(frozen=True)
class Card:
    """What is shown of a result.

    title : what it is. words : how it ended, or what it answers. table : of ours, with its index where that has a name.
    picture : draws it; None where it would take longer than a moment.
    """

    title: str
    words: str = ""
    table: pd.DataFrame | None = None
    picture: Callable[[], Any] | None = None

    def html(self) -> str:
        """The card, with every text escaped."""
        parts = [f"<strong>{escape(self.title)}</strong>"]
        if self.words:
            parts.append(f"<div>{escape(self.words)}</div>")
        if self.table is not None and len(self.table):
            parts.append(_table(self.table))
        if self.picture is not None:
            try:
                parts.append(_picture(self.picture(), self.title))
            except ValueError as error:  # of a model that needs more than its defaults, or of fits of nobody
                parts.append(f"<div>no picture: {escape(str(error))}</div>")
        return f'<div class="cellkinetics" style="{_BOX}">{"".join(parts)}</div>'


class Shown:
    """Base of what a user looks at: a card in a notebook, and a `dir` without what only the library needs."""

    def _repr_html_(self) -> str | None:
        from cellkinetics.reporting import cards

        card = cards.of(self)
        return None if card is None else card.html()

    def __dir__(self) -> Iterable[str]:
        from cellkinetics.reporting import cards

        hidden = cards.inner_of(self)
        return [name for name in super().__dir__() if name not in hidden]


@cache
def table_with_card(name: str, module: str, whole: Callable[[pd.DataFrame], bool]) -> type[pd.DataFrame]:
    """The class of a table with a card of its own, made when pandas is there.

    name, module : where it is found when it is unpickled. whole : whether a table has what the card shows: columns may
    have been taken from it in place.
    """

    class TableWithCard(Shown, pd.DataFrame):
        """A DataFrame with a card of its own in a notebook; whatever is made of it is a plain DataFrame."""

        @property
        def _constructor(self) -> type[pd.DataFrame]:
            return pd.DataFrame

        def _repr_html_(self) -> str | None:
            return super()._repr_html_() if whole(self) else self._plain()

        def _plain(self) -> str | None:
            return pd.DataFrame(self)._repr_html_()  # pyright: ignore[reportCallIssue]

    TableWithCard.__name__ = TableWithCard.__qualname__ = name
    TableWithCard.__module__ = module
    return TableWithCard


def _table(table: pd.DataFrame) -> str:
    if table.index.name is not None:
        table = table.reset_index()
    shown = table.head(ROWS_SHOWN)
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in table]
    head = "".join(_cell("th", str(name), right) for name, right in zip(table, numeric, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", _text(v), right) for v, right in zip(row, numeric, strict=True)) + "</tr>"
        for row in shown.itertuples(index=False, name=None)
    )
    more = f"<div>and {len(table) - ROWS_SHOWN} rows more</div>" if len(table) > ROWS_SHOWN else ""
    return f'<table style="border-collapse: collapse; color: inherit"><tr>{head}</tr>{body}</table>{more}'


def _cell(tag: str, text: str, right: bool) -> str:
    return f'<{tag} style="{_CELL.format(side="right" if right else "left")}">{escape(text)}</{tag}>'


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4g}"
    return "" if value is None or value is pd.NA else str(value)


def _picture(drawn: Any, title: str) -> str:
    from cellkinetics.figures.drawing import png

    figure = getattr(drawn, "figure", drawn)
    data = base64.b64encode(png(figure, PICTURE_DPI)).decode()
    return f'<img alt="{escape(title)}" style="max-width: 100%" src="data:image/png;base64,{data}">'
