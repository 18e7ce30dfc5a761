"""Days on which a curve jumps or has a kink: what is looked for on a grid is looked for between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model

JUST_BEFORE = 1e-12  # of the day: as near to a jump as the level before it is taken
TOO_NEAR = 1e-6  # days; a slope between nearer ones is rounding


def jumps(model: Model, values: Mapping[str, Any], doses: Doses) -> Floats:
    """Days after the infusion, rising, on which a dose, an end of an infusion or one with its lag comes."""
    days = np.asarray(doses.times, float)
    lagged = [days * (1 + JUST_BEFORE) + float(values[lag]) * (1 + JUST_BEFORE) for lag in model.lags.values()]
    found = np.unique(np.concatenate([days, *lagged]))
    return found[(found > 0) & np.isfinite(found)]


def kinks(model: Model, values: Mapping[str, Any], doses: Doses) -> Floats:
    """Days of the model's corners, counted from each dose, and of its switches, which count from the first."""
    given = np.asarray(doses.times, float)
    given = given[np.isfinite(given) & (given >= 0)]
    after = [given + float(values[name]) for name in model.corners]
    return np.unique(np.concatenate([*after, [float(values[name]) for name in model.switches]]))


def both_sides(days: Floats, edges: Floats) -> Floats:
    """The rising days and, of each edge after the first and up to the last, the day itself and the one just before."""
    inside = edges[(edges > days[0]) & (edges <= days[-1])]
    return np.unique(np.concatenate([days, inside, inside * (1 - JUST_BEFORE)])) if len(inside) else days


def apart(grid: Floats, needed: Floats) -> Floats:
    """The needed days and those of a grid that are no needed day but for rounding."""
    near = np.abs(grid[:, None] - needed[None, :]).min(axis=1, initial=np.inf) < TOO_NEAR
    return np.unique(np.concatenate([grid[~near], needed]))
