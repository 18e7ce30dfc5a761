"""`cellkinetics models` and `cellkinetics model`: which there are, and what one says."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cellkinetics import models
from cellkinetics.cli.app import app
from cellkinetics.cli.asked import find_model
from cellkinetics.words import count


@app.command(name="models")
def list_models() -> None:
    """List the models of the library."""
    listed = Table(box=SIMPLE)
    listed.add_column("model", no_wrap=True)
    listed.add_column("what it is")
    listed.add_column("reference", overflow="fold")
    for name in models.names():
        model = models.load(name)
        kind = "Closed form" if model.curve else "ODE"
        title = model.description.partition("\n")[0]
        listed.add_row(name, f"{title} {kind}, {count(len(model.parameters), 'parameter')}.", model.reference)
    Console().print(listed)


@app.command(name="model")
def show_model(name: str, /) -> None:
    """Show a model: equations, assumptions, parameters with units and sources.

    Parameters
    ----------
    name
        A model's name or a Python file that defines one.
    """
    model = find_model(name)
    Console().print(escape(model.describe()), highlight=False, soft_wrap=True)
