"""Libraries that are imported when something of them is first used: ``from cellkinetics.lazily import pandas as pd``.

pandas takes as long to import as jax takes to trace a model, and a page of help or a curve needs none of it.
``special`` is scipy's, which brings parts of f2py, as ``stats`` is; ``norm`` is the normal distribution of jax, which
brings all others.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _Later(ModuleType):
    """A module that stands for another one; what was asked for once is kept."""

    def __getattr__(self, name: str) -> Any:
        if name in ("__path__", "__file__", "__spec__", "__wrapped__"):
            raise AttributeError(name)
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import pandas as pandas
    from jax.scipy.stats import norm as norm
    from scipy import special as special
    from scipy import stats as stats
else:
    pandas = _Later("pandas")
    norm = _Later("jax.scipy.stats.norm")
    special = _Later("scipy.special")
    stats = _Later("scipy.stats")
