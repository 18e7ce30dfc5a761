"""Parameters that hold the level of a curve: with them free, a model written in one unit takes a study in another."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from cellkinetics.modelling.model import Model


def own_unit(model: Model) -> str:
    """The one unit of the model's outputs; "" where they differ, as of a model of qPCR and flow together."""
    units = set(model.outputs.values())
    return units.pop() if len(units) == 1 else ""


def levels(model: Model) -> tuple[str, ...]:
    """The parameters in the unit of the outputs, or in that per something, such as F in copies/ug per cell/kg."""
    unit = own_unit(model)
    names = (n for n, p in model.parameters.items() if p.unit == unit or p.unit.startswith(f"{unit} per "))
    return tuple(names) if unit else ()


def per_dose(model: Model) -> tuple[str, ...]:
    """The parameters that a dose is multiplied with, such as F in copies/ug per cell/kg: only the product is seen."""
    return tuple(n for n, p in model.parameters.items() if p.unit.partition(" per ")[2].startswith("cell"))


def unit_of(model: Model, name: str, unit: str) -> str:
    """The unit of a parameter when the model takes a study in `unit`."""
    own = model.parameters[name].unit
    if unit in model.outputs.values() or name not in levels(model):
        return own
    return unit + own.removeprefix(own_unit(model))


def unit_of_output(model: Model, output: str, unit: str) -> str:
    """The unit of an output when the model takes a study in `unit`."""
    own = model.outputs.get(output, unit)
    return unit if own_unit(model) and unit not in model.outputs.values() else own


def column_of(model: Model, output: str, unit: str) -> str:
    """The name of an output in tables of a study in `unit`: one that says the model's own unit says that of the study.

    Examples
    --------
    >>> from cellkinetics import models
    >>> stein = models.load("stein_2019_tisagenlecleucel")
    >>> [column_of(stein, "copies_per_ug", unit) for unit in ("copies/ug", "cells/uL", "copies/mL")]
    ['copies_per_ug', 'cells_per_ul', 'copies_per_ml']
    """
    own, said = model.outputs.get(output, unit), unit_of_output(model, output, unit)
    if said == own:
        return output
    return re.sub(rf"(^|_){_as_name(own)}$", rf"\g<1>{_as_name(said)}", output)


def _as_name(unit: str) -> str:
    """A unit as columns are named: cells/uL is cells_per_ul."""
    words = unit.lower().replace("%", " percent ").replace("/", " per ")
    return re.sub("[^a-z0-9]+", "_", words).strip("_")


def unit_of_table(model: Model, units: Mapping[str, str]) -> str:
    """The unit of the study of a table of parameters, from their units; the model's own where no level says it."""
    own = own_unit(model)
    for name in levels(model):
        more = model.parameters[name].unit.removeprefix(own)
        # The product of a fraction and an unknown dose has no "per cell".
        said = units.get(name, own).removesuffix(more) if more else units.get(name, own)
        if said != own:
            return said
    return own


def held(model: Model, unit: str, given: Collection[str]) -> list[str]:
    """The levels that keep a default in the model's own unit though the study is in `unit`.

    Parameters
    ----------
    model : Model
    unit : str
        Of the study.
    given : collection of str
        Parameters that are free, tied, or fixed by the user.
    """
    if model.scale_free or unit in model.outputs.values():
        return []
    return [name for name in levels(model) if name not in given and model.parameters[name].value != 0]


def why_not(model: Model, unit: str, given: Collection[str]) -> tuple[str, str]:
    """Why the model cannot take a study in `unit`, and what to do; two empty texts where it can."""
    if model.scale_free or unit in model.outputs.values():
        return "", ""
    gives = ", ".join(sorted(set(model.outputs.values())))
    mismatch = f"the study is in {unit} and {model.name} gives {gives}"
    names = held(model, unit, given)
    if not own_unit(model) or not levels(model):
        other = "stein_2019_tisagenlecleucel"
        return mismatch, f"Convert the values, or take a model that has the unit of the study (such as {other})."
    if not names:
        return "", ""
    values = ", ".join(f"{name} at {model.parameters[name].value:g} {model.parameters[name].unit}" for name in names)
    free = ", ".join(names)
    them = "it" if len(names) == 1 else "them"
    remedy = f"Free {free} (free=), give {them} in {unit} (fixed=), or convert the values."
    return f"{mismatch}, with {values}", remedy
