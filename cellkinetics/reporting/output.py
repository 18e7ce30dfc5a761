"""The folder that `cellkinetics fit` writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cellkinetics.figures import fits as fits_plot
from cellkinetics.fitting.fits import Fits
from cellkinetics.reporting import report

NAME = "cellkinetics-fit"


def folder(asked: Path | None, *, force: bool = False) -> Path:
    """Where to write: the folder asked for, which must not exist yet, or a new numbered one.

    Raises
    ------
    FileExistsError
        It exists and ``force`` is not given, or it is a file.
    """
    if asked is None:
        number = 1
        while Path(f"{NAME}-{number}").exists():
            number += 1
        asked = Path(f"{NAME}-{number}")
    elif asked.exists() and not (force and asked.is_dir()):
        remedy = (
            "it is a file; name a folder" if not asked.is_dir() else "add --force to write into it, or name another"
        )
        raise FileExistsError(f"{asked} exists already: {remedy}.")
    # Found out before the fits, not after them.
    parent = asked if asked.exists() else next(p for p in asked.absolute().parents if p.exists())
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"{asked}: no permission to write in {parent}.")
    return asked


def write(fits: Fits, target: Path, *, force: bool = False, origin: report.Origin | None = None) -> None:
    """Write tables, figures, fits and the report; into a temporary folder first, so that none is half-written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{NAME}-") as name:
        partial = Path(name) / "results"
        partial.mkdir()
        _files(fits, partial, origin)
        if not target.exists():
            shutil.move(partial, target)
            return
        if not force:
            raise FileExistsError(f"{target} appeared meanwhile: add --force to write into it, or name another.")
        for file in partial.iterdir():
            file.replace(target / file.name)


def _files(fits: Fits, target: Path, origin: report.Origin | None) -> None:
    from matplotlib import pyplot

    fits.parameters.to_csv(target / "parameters.csv", index=False)
    fits.predict().to_csv(target / "predictions.csv", index=False)
    fits.outcomes.to_csv(target / "outcomes.csv")
    fits.save(target / "fits.json")
    (target / "summary.txt").write_text(
        fits.summary() + "\n" + "\n".join(fit.summary() for fit in fits.values()), encoding="utf-8"
    )
    pages = fits_plot.pages(fits)
    pictures = [target / ("fits.png" if pages == 1 else f"fits-{page + 1}.png") for page in range(pages)]
    for page, picture in enumerate(pictures):
        figure = fits_plot.plot_fits(fits, page=page)
        figure.savefig(picture, dpi=150)
        pyplot.close(figure)
    html = report.page(fits, [picture.read_bytes() for picture in pictures], origin)
    (target / report.REPORT_NAME).write_text(html, encoding="utf-8")
