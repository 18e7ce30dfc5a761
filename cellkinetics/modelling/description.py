"""A model in words: equations, source, parameters, published numbers beside those that the model gives back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from cellkinetics.modelling.structure import Method, methods

if TYPE_CHECKING:
    from cellkinetics.modelling.model import Check, Model

SOLVED = {
    Method.CLOSED_FORM: "closed form",
    Method.STRUCTURE: "the structure of its equations, with the adaptive steppers where that may not be trusted",
    Method.EXPLICIT: "explicit stepper in ln x (Tsit5), and a linearly implicit one (Rodas5P) where it is stiff",
    Method.IMPLICIT: "linearly implicit stepper in ln x (Rodas5P): the model is stiff",
}


class Table(NamedTuple):
    """A table of texts."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def describe(model: Model, *, markdown: bool = False) -> str:
    """The description of a model as text, or as Markdown with equations between dollar signs."""
    if not markdown:
        parts = [model.name, "=" * len(model.name), "", model.description.strip(), "", *facts(model)]
        for table in tables(model):
            parts += ["", table.title, "-" * len(table.title), *_aligned(table)]
        return "\n".join(parts) + "\n"
    parts = [f"# {model.name}", "", _markdown(model.description.strip()), "", *(f"- {fact}" for fact in facts(model))]
    for table in tables(model):
        parts += ["", f"## {table.title}", ""]
        parts += [_piped(table.header), _piped(("---",) * len(table.header)), *map(_piped, table.rows)]
    return "\n".join(parts) + "\n"


def facts(model: Model) -> list[str]:
    """What is given, observed, solved and estimated, a line each."""
    observed = ", ".join(f"{name} ({unit})" for name, unit in model.outputs.items())
    lines = [f"Reference: {model.reference or 'none'}."]
    lines += [f"Population: {model.population}."] * bool(model.population)
    lines += [f"Parameter set: {model.changes.get('set')}."] * ("set" in model.changes)
    lines += [f"Observed: {observed}{', or the unit of the study' if model.scale_free else ''}."]
    lines += [f"States: {', '.join(model.states)}."] * bool(model.states)
    given = ", ".join(model.channels) or "nothing: doses of the study are ignored"
    lines += [f"Given: {given}."]
    lines += [f"Comedication: {each.what} multiplies {each.rate} by {name} {_acting(each.lasts)}."
              for name, each in model.comedication.items()]  # fmt: skip
    inputs = ", ".join(f"{name} ({unit})" for name, unit in model.inputs.items())
    lines += [f"Covariates over time: {inputs}."] * bool(inputs)
    lines += [f"Solved by: {SOLVED[methods(model)[0]]}."]
    if model.simulator:
        lines += ["Meant for simulation: one patient's curve does not determine its parameters."]
    elif callable(model.free):
        about = (model.free.__doc__ or "").strip().rstrip(".")
        lines += [f"Free by default: depends on the study{f' ({about})' if about else ''}."]
    else:
        free = [name for name in (model.free or model.parameters) if name not in model.held and name not in model.ties]
        lines += [f"Free by default: {', '.join(free)}."]
    lines += [f"Tied: {', '.join(model.ties)}."] * bool(model.ties)
    return lines


def _acting(lasts: float) -> str:
    return f"for {lasts:g} days from each administration" if lasts < float("inf") else "from its day on"


def tables(model: Model) -> list[Table]:
    """Parameters with units and sources, and published numbers with recomputed ones."""
    between = any(parameter.between for parameter in model.parameters.values())
    header = ("Name", "Default", "Unit", "Bounds", "Scale", "Source", *(["Between patients"] * between))
    rows = [
        (
            name, f"{p.value:g}", p.unit, f"{p.min:g} to {p.max:g}", p.scale, p.source,
            *([p.between] * between),
        )
        for name, p in model.parameters.items()
    ]  # fmt: skip
    found = [Table("Parameters", header, tuple(rows))]
    if model.sets and "set" not in model.changes:
        found.append(Table("Parameter sets", ("Set", "Values", "For", "Source"), tuple(_sets(model))))
    if model.checks:
        found.append(_published("Published numbers", model))
    for name in model.sets if not model.changes else ():
        chosen = model.with_set(name)
        found += [_published(f"Published numbers, set {name}", chosen)] * bool(chosen.checks)
    return found


def _sets(model: Model) -> list[tuple[str, ...]]:
    """What each named set changes, for whom, and where from."""
    found = []
    for name, chosen in model.sets.items():
        values = ", ".join(f"{each} {value:g} {model.parameters[each].unit}" for each, value in chosen.values.items())
        found.append((name, values, chosen.population, chosen.source))
    return found


def _published(title: str, model: Model) -> Table:
    rows = [
        (check.what, printed(check), f"{check.compute(model):.4g}", check.unit,
         "" if isinstance(check.published, tuple) else f"{check.tolerance:.2g}", check.source)
        for check in model.checks
    ]  # fmt: skip
    return Table(title, ("What", "Published", "Recomputed", "Unit", "Tolerance (relative)", "Where"), tuple(rows))


def printed(check: Check) -> str:
    """The published number, or its range in words."""
    if not isinstance(check.published, tuple):
        return f"{check.published:g}"
    lowest, highest = check.published
    if highest == float("inf"):
        return f"above {lowest:g}"
    return f"up to {highest:g}" if lowest == 0 else f"{lowest:g} to {highest:g}"


def _aligned(table: Table) -> list[str]:
    rows = [table.header, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _piped(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _markdown(text: str) -> str:
    """The reStructuredText of a model file: math blocks and roles become dollars, underlined lines headings."""
    text = re.sub(r":math:`([^`]+)`", r"$\1$", text.replace("``", "`"))
    text = re.sub(r"^(\S.*)\n-{3,}$", r"## \1\n", text, flags=re.MULTILINE)

    def block(match: re.Match[str]) -> str:
        lines = [line.strip() for line in match[0].replace(".. math::", "").splitlines() if line.strip()]
        inside = "\n".join(lines)
        aligned = "&" in inside and r"\begin" not in inside
        return f"$$\n\\begin{{aligned}}\n{inside}\n\\end{{aligned}}\n$$\n\n" if aligned else f"$$\n{inside}\n$$\n\n"

    return re.sub(r"^\.\. math::.*(?:\n(?:[ \t]+\S.*|[ \t]*))*", block, text, flags=re.MULTILINE)
