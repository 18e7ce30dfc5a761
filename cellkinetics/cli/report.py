"""`cellkinetics report`: the page of fits that were saved."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from cellkinetics.cli.app import DONE, app
from cellkinetics.cli.asked import Flag, find_model, usual
from cellkinetics.figures import fits as fits_plot
from cellkinetics.figures.drawing import png
from cellkinetics.files import whole
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.result import Fit
from cellkinetics.lazily import pandas as pd
from cellkinetics.population.result import PopulationFit
from cellkinetics.reporting import report as reports
from cellkinetics.reporting import results


@app.command
def report(
    file: Path,
    /,
    *,
    model: str | None = None,
    by: str = usual(Fits.plot, "by"),
    out: Path | None = None,
    force: Flag = False,
) -> int:
    """Write the report of saved fits, or of a saved population: fits.json of `cellkinetics fit`, or what save wrote.

    Nothing is fitted again.

    Parameters
    ----------
    file
        The saved fits, or the saved population.
    model
        The Python file of their model, where it is not of the library, wherever it lies now.
    by
        What colours and the comparison are by: cohort, dose, or another column such as response.
    out
        The page to write; it must not exist yet. By default report.html beside the file.
    force
        Write over an existing page.
    """
    target = file.with_name(reports.REPORT_NAME) if out is None else out
    if target.is_dir():
        target = target / reports.REPORT_NAME
    if target.exists() and not force:
        raise FileExistsError(f"{target} exists already: add --force to write over it, or name another with --out.")
    result = results.load(file, model=None if model is None else find_model(model))
    population, fits = (result, result.as_fits) if isinstance(result, PopulationFit) else (None, _fits(result, file))
    words = ["cellkinetics", "report", str(file), *(() if model is None else ("--model", model))]
    words += [] if by == usual(Fits.plot, "by") else ["--by", by]
    origin = reports.Origin.of(file, shlex.join(words))
    pictures = [png(fits_plot.plot_fits(fits, page=page, by=by)) for page in range(fits_plot.pages(fits))]
    html = reports.page(fits, pictures, origin, population, by)
    with whole(target) as opened:
        opened.write(html)
    Console().print(f"Written to {escape(str(target))}.", soft_wrap=True)
    return DONE


def _fits(result: object, file: Path) -> Fits:
    """Fits of a study, or those of one patient; a ValueError for any other result."""
    if isinstance(result, Fit):
        return Fits(result.study, {result.subject: result})
    if not isinstance(result, Fits):
        kind = "DataFrame" if isinstance(result, pd.DataFrame) else type(result).__name__
        text = f"{file} holds a {kind}: a report is made of fits or of a population, as fits.save(path) writes them."
        raise ValueError(text)
    return result
