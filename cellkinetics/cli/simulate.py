"""`cellkinetics simulate`: the curve of a model at given doses and values."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter as Option
from rich.console import Console

from cellkinetics import domains
from cellkinetics.cli import showing
from cellkinetics.cli.app import DONE, app
from cellkinetics.cli.asked import Acting, Flag, Numbers, Words, find_model, number, numbers, usual
from cellkinetics.cli.writing import Target, write_csv, write_figure
from cellkinetics.figures import style
from cellkinetics.fitting.result import Estimates
from cellkinetics.modelling import levels
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.model import Model
from cellkinetics.solving import simulating

SIMULATION_FILES = re.compile(r"simulation\.(csv|png)")
Events = list[tuple[float, float]]


@app.command
def simulate(
    model: str,
    /,
    *,
    days: Numbers = None,
    dose: Words = None,
    dose_unit: str | None = None,
    weight: float | None = None,
    set: Annotated[list[str] | None, Option(consume_multiple=True, negative="")] = None,
    acting: Acting | None = None,
    unit: str | None = None,
    out: Path | None = None,
    force: Flag = False,
) -> int:
    """Simulate a model: the curve that it predicts for a dose, as a table and a figure.

    The folder gets simulation.csv (day, and a column for each output) and simulation.png.

    Parameters
    ----------
    model
        A model's name (see `cellkinetics models`) or a Python file that defines one.
    days
        Days since the first infusion: 7 14 28; without it every day of the first year.
    dose
        An amount infused on day 0: 1e6; or amounts by their days: 0=1e6 14=1e6. What is not cells is named:
        rimiducid:30=0.4. In the unit of the model, cells/kg for most.
    dose_unit
        Unit of the amounts of cells: cells/kg, cells (with --weight), or a multiple such as "1e6 cells/kg".
    weight
        Of the patient in kg, where cells are given for a model of cells/kg.
    set
        Parameters in place of the model's values: F=2e-4 r=0.3.
    acting
        What acts on rates besides: when it is given is a dose, --dose 1e6 tocilizumab:5=1.
    unit
        Unit of the curve and of the values given for its level, where it is not the model's: cells/uL with --set
        c_max=40. Every parameter in the model's unit has to be given then.
    out
        Folder to write; it must not exist yet. By default cellkinetics-simulate-1, -2, ... in the current folder.
    force
        Write into an existing folder.
    """
    chosen = (acting or Acting()).on(find_model(model))
    target = Target.of("simulate", out, force, SIMULATION_FILES)
    times = np.arange(usual(Model.plot, "days") + 1) if not days else np.array(days)
    doses = in_unit(chosen, events(chosen, dose), dose_unit, weight)
    values = Estimates(numbers(set, "set") or {})
    if unit is not None:
        _refuse(chosen, unit, values)
        values.attrs = {"unit": unit}
    found = simulating.simulate(chosen, values, times, doses)

    def files(folder: Path) -> None:
        write_csv(found, folder / "simulation.csv")
        axes = chosen.plot(doses=doses, days=max(float(times.max()), 1.0), parameters=values)
        if unit is not None and levels.own_unit(chosen):
            style.label(axes, y=style.unit_label(unit))
        figure = axes.get_figure(root=True)
        assert figure is not None
        write_figure(figure, folder / "simulation.png")

    folder = target.put(files)
    console = Console()
    said = {
        levels.column_of(chosen, name, unit or own): levels.unit_of_output(chosen, name, unit or own)
        for name, own in chosen.outputs.items()
    }
    headings = {"day": "day"} | {name: f"{name} ({of})" for name, of in said.items()}
    if days:
        console.print(showing.table_of(found, f"{chosen.name}, simulated", headings))
    showing.say_written(console, None, folder)
    return DONE


def _refuse(model: Model, unit: str, given: Collection[str]) -> None:
    """A ValueError where the model cannot be in a unit, or a value that is in its own was not given."""
    if unit in model.outputs.values():
        return
    gives, names = ", ".join(sorted({*model.outputs.values()})), levels.levels(model)
    if not names:
        raise ValueError(f"--unit {unit}: {model.name} gives {gives} and has no parameter that sets its level.")
    missing = [name for name in names if name not in given and model.parameters[name].value != 0]
    if missing:
        values = ", ".join(
            f"{name} is {model.parameters[name].value:g} {model.parameters[name].unit}" for name in missing
        )
        asked = " ".join(f"{name}=..." for name in missing)
        raise ValueError(
            f"--unit {unit}: {model.name} gives {gives}; {values}. Give its level in {unit}: --set {asked}"
        )


_DOSE_UNIT = re.compile(r"(?:x?\s*([\d.]+(?:e[+]?\d+)?)\s+)?cells(/kg)?", re.IGNORECASE)


def in_unit(
    model: Model, doses: dict[str, Events] | None, unit: str | None, weight: float | None
) -> dict[str, Events] | None:
    """Doses of cells given in a unit, in that of the model.

    Raises
    ------
    ValueError
        No unit of cells, a weight that is none or not needed, cells without a weight for a model of cells/kg.
    """
    if weight is not None and (unit is None or unit.casefold().endswith("/kg")):
        raise ValueError(f"--weight {weight:g} makes cells/kg of cells: give --dose-unit cells with it.")
    if unit is None or doses is None:
        return doses
    said = _DOSE_UNIT.fullmatch(unit.strip())
    if said is None:
        raise ValueError(f'--dose-unit {unit}: give cells/kg, cells, or a multiple such as "1e6 cells/kg".')
    per_kg = any("cell/kg" in parameter.unit for parameter in model.parameters.values())
    factor = 1.0 if said[1] is None else number(said[1], f"--dose-unit {unit}")
    if said[2] is None and weight is None and per_kg:
        raise ValueError(f"--dose-unit {unit}: {model.name} takes cells/kg. Give the patient's weight: --weight 70.")
    if weight is not None:
        factor /= domains.positive(weight, "weight", 70)
    cells = model.channels[0]
    return (
        doses | {cells: [(day, amount * factor) for day, amount in doses.get(cells, [])]} if cells in doses else doses
    )


def events(model: Model, given: list[str] | None) -> dict[str, Events] | None:
    """Doses of each channel, (day, amount) pairs; None for a model that takes none.

    Raises
    ------
    ValueError
        No dose for a model that needs one, a dose for one that takes none, a text that is no dose.
    """
    if not model.channels:
        if given:
            raise ValueError(f"--dose {' '.join(given)}: {model.name} takes no dose. Leave it out.")
        return None
    takes = takes_doses(model)
    if not given and not takes:
        return None
    if not given:
        raise ValueError(f"{model.name} needs a dose: --dose 1e6, or by days --dose 0=1e6 14=1e6.")
    found: dict[str, Events] = {}
    for text in given:
        channel, named, rest = text.rpartition(":")
        day, dated, amount = rest.rpartition("=")
        where = f"--dose {text}"
        event = number(day, where) if dated else 0.0, number(amount, where)
        if not named and not takes:
            first = model.channels[0]
            text = f"{model.name} takes no dose but {', '.join(model.channels)}. Leave it out, or name it: {first}:5=1."
            raise ValueError(f"{where}: {text}")
        found.setdefault(channel if named else model.channels[0], []).append(event)
    return found
