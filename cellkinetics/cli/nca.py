"""`cellkinetics nca`: peak, areas, half-lives and times above the limit, without a model."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

from rich.console import Console

from cellkinetics.charts.values import plot_nca
from cellkinetics.cli import showing
from cellkinetics.cli.app import DONE, app
from cellkinetics.cli.asked import Flag, Reading, usual
from cellkinetics.cli.writing import Target, write_csv, write_figure
from cellkinetics.cohorts import nca as analysis
from cellkinetics.cohorts.nca_summary import nca_summary
from cellkinetics.data.study import Study
from cellkinetics.errors import suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.reporting.report import number

NCA_FILES = re.compile(r"nca(_summary)?\.csv|nca\.png")
SHOWN = {"half_life": "half-life", "days_above_lloq": "above", "below_from": "below"}


@app.command
def nca(
    table: Path | None = None,
    /,
    *,
    by: str = usual(nca_summary, "by"),
    window: tuple[float, float] = usual(analysis.nca, "window"),
    blq: Literal["interval", "zero", "half", "drop", "pknca"] = usual(analysis.nca, "blq"),
    method: Literal["linear-up/log-down", "linear", "log"] = usual(analysis.nca, "method"),
    terminal: tuple[float, float] | None = usual(analysis.nca, "terminal"),
    tolerance: float = usual(analysis.nca, "tolerance"),
    reading: Reading | None = None,
    out: Path | None = None,
    force: Flag = False,
) -> int:
    """Non-compartmental analysis: peak, areas, half-lives, days above the limit, one row a patient.

    Without a table it runs on the example that comes with the library: eleven simulated patients. The main columns are
    printed; the folder gets all of them as nca.csv, with the reason for each that cannot be computed, and
    nca_summary.csv by cohort, with the figure nca.png.

    Parameters
    ----------
    table
        A CSV of samples: subject, day, copies_per_ug, dose, cohort ... or ID, TIME, DV, AMT, CENS ...
    by
        The column whose groups are shown and summed up: cohort, dose, response ...
    window
        First and last day of the peak and of its area.
    blq
        What a sample below its limit is in an area: all that it can be (interval), or one value.
    method
        How the area between two samples is taken.
    terminal
        First and last day of the line of the half-life; the best line without it.
    tolerance
        Days by which the last sample may come before the end of the window.
    reading
        How the table is read.
    out
        Folder to write; it must not exist yet. By default cellkinetics-nca-1, -2, ... in the current folder.
    force
        Write into an existing folder.
    """
    study = (reading or Reading()).study(table)
    target = Target.of("nca", out, force, NCA_FILES)
    found = analysis.nca(study, window=window, blq=blq, method=method, terminal=terminal, tolerance=tolerance)
    joined = _joined(found, study, by)
    summary = nca_summary(joined, by)

    def files(folder: Path) -> None:
        write_csv(joined, folder / "nca.csv")
        write_csv(summary, folder / "nca_summary.csv")
        write_figure(plot_nca(joined, by), folder / "nca.png")

    folder = target.put(files)
    console = Console()
    title = f"Peak, area and times ({study.unit}, days)"
    console.print(showing.table_of(_shown(joined, analysis.area_name(window), by), title))
    console.print("above: days above the limit; below: the day from which all samples are below it, or after which.")
    showing.say_written(console, study, folder)
    return DONE


def _joined(found: pd.DataFrame, study: Study, by: str) -> pd.DataFrame:
    """The table with the column that groups it."""
    if by in found:
        return found
    if by not in study.covariates:
        known = list(map(str, study.covariates))
        raise ValueError(f"--by {by}: the table has {', '.join(known)}. {suggest(by, known)}".rstrip())
    joined = found.merge(study.covariates[[by]], left_on="subject", right_index=True)
    joined.attrs = found.attrs
    return joined


def _shown(found: pd.DataFrame, area: str, by: str) -> pd.DataFrame:
    """The main columns as text: a value, the ends between which it lies, or a dash (the file says why)."""
    keys = ["subject", by, *(["output"] if found["output"].nunique() > 1 else [])]
    shown = found[keys].astype(object).where(found[keys].notna(), "")
    for name, heading in ({"cmax": "cmax", "tmax": "tmax", area: area} | SHOWN).items():
        ends = [f"{name}_lower", f"{name}_upper"]
        low, high = (found[end if end in found else name].astype(float) for end in ends)
        values = zip(found[name].astype(float), low, high, strict=True)
        shown[heading] = [_between(*each) for each in values]
    return shown


def _between(value: float, low: float, high: float) -> str:
    if not math.isnan(value) or math.isnan(low):
        return number(value)
    return f"> {number(low)}" if math.isinf(high) else f"{number(low)} to {number(high)}"
