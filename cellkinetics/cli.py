"""The command line: fit a table of patients, check a table, look at the models."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import sys
import warnings
from dataclasses import asdict, dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter as Option
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import cellkinetics
from cellkinetics import models
from cellkinetics.data import overview
from cellkinetics.data.cleaning import clean
from cellkinetics.data.example import example
from cellkinetics.data.reading import read_study
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError, StudyError, StudyWarning, alike
from cellkinetics.fitting.fits import Fits, fit_each
from cellkinetics.modelling.loading import load_model
from cellkinetics.modelling.model import Model
from cellkinetics.reporting import output, report
from cellkinetics.words import count, number_text

EXAMPLE = Path(__file__).parent / "_data" / "example.csv"
EPILOGUE = "Exit codes: 0 done, 1 no patient could be fitted (fit) or the table has problems (check), 2 bad input."

app = cyclopts.App(
    name="cellkinetics",
    help="Fit the cellular kinetics of CAR-NK and CAR-T cells to qPCR curves, with the limit as censoring.",
    help_epilogue=EPILOGUE,
    version=cellkinetics.__version__,
)


@Option(name="*")
@dataclass(frozen=True)
class Reading:
    """How a table is read: the options that fit and check share, as `read_study` takes them.

    Parameters
    ----------
    lloq
        Lower limit of quantification, for rows that do not have their own.
    lod
        Limit of detection, for rows that do not have their own.
    uloq
        Upper limit of quantification, for rows that do not have their own.
    unit
        Unit of the values.
    dose_unit
        Unit of the infused cells.
    time_unit
        Unit of the times, which become days.
    day
        The column that holds the day, where its name is not known.
    columns
        Names of the table where they are not recognised: day=T copies_per_ug=result.
    lloq_copies_per_well
        Lower limit in copies per well, for tables with the mass of DNA in a well.
    dna_ug
        Mass of DNA in each well, ug.
    replicates
        Whether each well is a sample, or the wells of one sample are averaged.
    sheet
        Name of the worksheet, where a workbook has several.
    ignore
        Columns that say nothing about the values, whatever they look like.
    floor
        A number that stands for values below the limit.
    missing
        Numbers that stand for no value: -9 999.
    """

    lloq: float | None = None
    lod: float | None = None
    uloq: float | None = None
    unit: str | None = None
    dose_unit: str = "cells/kg"
    time_unit: Literal["day", "hour", "week", "month"] | None = None
    day: str | None = None
    columns: Annotated[list[str] | None, Option(consume_multiple=True, negative="")] = None
    lloq_copies_per_well: float | None = None
    dna_ug: float | None = None
    replicates: Literal["each", "mean"] = "each"
    sheet: str | None = None
    ignore: Annotated[list[str] | None, Option(consume_multiple=True, negative="")] = None
    floor: float | None = None
    missing: Annotated[list[float] | None, Option(consume_multiple=True, negative="")] = None

    def study(self, table: Path) -> Study:
        """The study in a table."""
        named = _pairs(self.columns, "columns") | ({} if self.day is None else {"day": self.day})
        return read_study(
            table, lloq=self.lloq, lod=self.lod, uloq=self.uloq, unit=self.unit, dose_unit=self.dose_unit,
            time_unit=self.time_unit, columns=named, lloq_copies_per_well=self.lloq_copies_per_well,
            dna_ug=self.dna_ug, replicates=self.replicates, sheet=self.sheet,
            ignore=self.ignore or (), floor=self.floor, missing=self.missing or (),
        )  # fmt: skip


@app.command
def fit(
    table: Path | None = None,
    /,
    *,
    model: str = "il15_persistence",
    reading: Reading | None = None,
    doses: float | None = None,
    fixed: Annotated[list[str] | None, Option(consume_multiple=True, negative="")] = None,
    free: Annotated[list[str] | None, Option(consume_multiple=True, negative="")] = None,
    censoring: Literal["m3", "m4", "drop", "half"] = "m3",
    out: Path | None = None,
    force: Annotated[bool, Option(negative="")] = False,
    seed: int = 2020,
) -> int:
    """Fit a model to every patient of a table and write the results into a folder.

    Without a table it runs on the example that comes with the library: eleven simulated patients. The folder gets
    report.html (all of it, to look at), parameters.csv, predictions.csv, outcomes.csv, summary.txt, fits.json (for
    ck.load) and the figures fits.png.

    Parameters
    ----------
    table
        A CSV of samples: subject, day, copies_per_ug, dose, cohort ... or ID, TIME, DV, AMT, CENS ...
    model
        A model's name (see `cellkinetics models`) or a Python file that defines one.
    reading
        How the table is read.
    doses
        One amount given to everybody at the first infusion, in place of the table's doses.
    fixed
        Parameters held fixed: f_b=0.0079 beta=0.0032.
    free
        Parameters to estimate, in place of the model's default set.
    censoring
        How values below the limit enter: m3 (their probability), drop or half (for comparison only).
    out
        Folder to write; it must not exist yet. By default cellkinetics-fit-1, -2, ... in the current folder.
    force
        Write into an existing folder.
    seed
        Seed of the start values.
    """
    how = reading or Reading()
    study = example() if table is None else how.study(table)
    # The file as it was read: it may change before the report is written.
    origin = report.Origin.of(
        EXAMPLE if table is None else table,
        _command(
            table, **{"model": model, **asdict(how), "doses": doses, "fixed": fixed, "free": free},
            censoring=censoring, seed=seed,
        ),
        "example.csv, which comes with the library" if table is None else None,
    )  # fmt: skip
    chosen = find_model(model)
    folder = output.folder(out, force=force)
    values = {name: _number(name, value) for name, value in _pairs(fixed, "fixed").items()}
    fits = fit_each(chosen, study, fixed=values, free=_split(free), doses=doses, censoring=censoring, seed=seed)
    output.write(fits, folder, force=force, origin=origin)
    console = Console()
    console.print(outcome_table(fits))
    if study.simulated:
        console.print("Simulated patients: no measurements of anybody.")
    console.print(
        f"Written to {escape(str(folder))}: {', '.join(sorted(p.name for p in folder.iterdir()))}", soft_wrap=True
    )
    return 0 if any(fit.fitted for fit in fits.values()) else 1


@app.command
def check(
    table: Path,
    /,
    *,
    reading: Reading | None = None,
    fix: Annotated[bool, Option(negative="")] = False,
) -> int:
    """Read a table and say what is in it, or everything that is wrong with it.

    Parameters
    ----------
    table
        A CSV of samples.
    reading
        How the table is read.
    fix
        Write a cleaned copy beside the table (.cleaned.csv, with .cleaned.log) and check that: repeated samples are
        removed, days sorted, blanks and decimal commas corrected, columns renamed. What needs a decision is left.
    """
    console = Console()
    if fix:
        table, log, changes = clean(table, None if reading is None else reading.sheet)
        console.print(f"Written {escape(str(table))}: {count(len(changes), 'change')}, listed in {escape(log.name)}.")
    try:
        # The cleaned copy is no workbook any more.
        how = reading or Reading()
        with warnings.catch_warnings():
            # What is likely is among the facts below.
            warnings.simplefilter("ignore", StudyWarning)
            study = (replace(how, sheet=None) if fix else how).study(table)
    except StudyError as error:
        found = Table(
            "rows",
            "patients",
            "found",
            "remedy",
            title=f"{count(len(error.problems), 'problem')} in {escape(table.name)}",
            box=SIMPLE,
        )
        for text, lot in alike(error.problems):
            rows = _some([str(problem.row) for problem in lot if problem.row is not None])
            days = [f"{number_text(problem.day)}" for problem in lot if problem.day is not None]
            where = f" (day {days[0]})" if len(lot) == 1 and days else ""
            who = _some([problem.subject for problem in lot if problem.subject is not None])
            found.add_row(*(escape(cell) for cell in (rows, who + where, text, _as_options(lot[0].remedy))))
        console.print(found)
        return 1
    console.print(escape(repr(study)))
    facts = overview.facts(study)
    for name in ("doses", "not read", "likely"):
        if name in facts:
            console.print(escape(f"  {name:<18}{facts[name]}"), soft_wrap=True)
    return 0


_CALL = re.compile(r"read_study\(\.\.\., ((?:[^()'\"]|'[^']*'|\"[^\"]*\")*)\)")
_ARGUMENT = re.compile(r"(?<![\w-])([a-z_]+=(?:\{[^{}]*\}|\[[^\[\]]*\]|'[^']*'|\"[^\"]*\"))")


def _as_options(remedy: str) -> str:
    """A remedy as it is given here: ``read_study(..., lloq=3, ignore=['x y'])`` is ``--lloq 3 --ignore 'x y'``."""

    def options(said: re.Match[str]) -> str:
        try:
            call = ast.parse(f"f({said[1]})", mode="eval").body
            keywords = call.keywords if isinstance(call, ast.Call) else []
            given = {each.arg: ast.literal_eval(each.value) for each in keywords}
        except (SyntaxError, ValueError):
            return said[0]
        return " ".join(f"--{str(name).replace('_', '-')} {_shown(value)}" for name, value in given.items()) or said[0]

    return _ARGUMENT.sub(options, _CALL.sub(options, remedy))


def _shown(value: object) -> str:
    """An argument of Python as one of the command line; dots stay dots."""
    if value is ...:
        return "..."
    if isinstance(value, dict):
        return " ".join(f"{name}=..." if one is ... else shlex.quote(f"{name}={one}") for name, one in value.items())
    return " ".join(map(_shown, value)) if isinstance(value, list) else shlex.quote(str(value))


def _some(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    names = list(dict.fromkeys(names))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


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


def outcome_table(fits: Fits) -> Table:
    """Who was fitted, on what, and how it ended."""
    cohorts = fits.study.covariates["cohort"].fillna("").astype("str")
    model = next(iter(fits.values())).model.name
    table = Table(
        "patient",
        "cohort",
        "quantified",
        "below",
        "sd",
        "outcome",
        title=f"{model}: {count(len(fits), 'patient')}",
        box=SIMPLE,
    )
    for column in table.columns[2:5]:
        column.justify = "right"
    for subject, fit in fits.items():
        sd = max(fit.sd.values()) if isinstance(fit.sd, dict) else fit.sd
        shown = f"{sd:.2f}" if fit.fitted else ""
        style = "yellow" if fit.needs_look else ""
        table.add_row(
            escape(subject),
            escape(cohorts[subject]),
            str(fit.n_quantified),
            str(fit.n_censored),
            shown,
            escape(fit.outcome),
            style=style,
        )
    return table


def find_model(name: str) -> Model:
    """A model of the library by name, or of a user's file by path."""
    return load_model(name) if name.endswith(".py") else models.load(name)


def _command(table: Path | None, **options: str | float | list[str] | list[float] | None) -> str:
    """The command line of a fit: what differs from the defaults, and the seed."""
    words = ["cellkinetics", "fit", *([] if table is None else [str(table)])]
    usual = {name: parameter.default for name, parameter in inspect.signature(fit).parameters.items()}
    usual |= asdict(Reading())
    for name, value in options.items():
        if value == usual[name] and name != "seed":
            continue
        values = value if isinstance(value, list) else [value]
        words += [
            f"--{name.replace('_', '-')}",
            *(v if isinstance(v, str) else number_text(v) for v in values if v is not None),
        ]
    return shlex.join(words)


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(
                f"--{option} {text}: write name=value, such as {'day=T' if option == 'columns' else 'beta=0.0032'}."
            )
        pairs[name] = value
    return pairs


def _split(names: list[str] | None) -> list[str] | None:
    """Names given one by one or with commas."""
    return None if names is None else [name for text in names for name in text.split(",") if name]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--fixed {name}={text}: {text!r} is not a number.") from None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; bad input ends with a message and exit code 2, not with a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot write a name shows a question mark; the work is done all the same.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    errors = Console(stderr=True)
    try:
        code = app(arguments, exit_on_error=False, print_error=True)
    except cyclopts.CycloptsError:
        sys.exit(2)
    except FileNotFoundError as error:
        errors.print(f"[red]cellkinetics:[/red] there is no file {escape(str(error.filename))}.", soft_wrap=True)
        sys.exit(2)
    except (StudyError, ModelError, ValueError, OSError) as error:
        errors.print(f"[red]cellkinetics:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(130)
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
