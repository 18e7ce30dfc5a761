"""Results hand out copies of their tables and columns: what is written into one changes no summary, picture or file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellkinetics.lazily import pandas as pd


class HandsOutCopies:
    """Base of results that hold tables; a copy of one takes no memory until it is written into."""

    if not TYPE_CHECKING:  # For a type checker a class with this method would have every attribute.

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            return value.copy(deep=False) if isinstance(value, (pd.DataFrame, pd.Series)) else value
