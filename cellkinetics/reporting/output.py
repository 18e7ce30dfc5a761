"""The folder that `cellkinetics fit` writes."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from cellkinetics.figures import fits as fits_plot
from cellkinetics.fitting.fits import Fits
from cellkinetics.layout.formulas import inert_table
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
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{NAME}-") as temporary:
        partial = Path(temporary) / "results"
        partial.mkdir()
        _files(fits, partial, origin)
        if not target.exists():
            shutil.move(partial, target)
            return
        if not force:
            raise FileExistsError(f"{target} appeared meanwhile: add --force to write into it, or name another.")
        new = {file.name for file in partial.iterdir()}
        for name in new:
            (partial / name).replace(target / name)
        # What an earlier run wrote of a larger study would stand beside the new results as if it belonged to them.
        for old in _written(target):
            if old.name not in new:
                old.unlink()


def _written(target: Path) -> list[Path]:
    """The files in a folder that carry the names `write` gives; what else lies there is the user's."""
    names = ("parameters.csv", "predictions.csv", "outcomes.csv", "fits.json", "summary.txt", report.REPORT_NAME)
    pages = [path for path in target.glob("fits*.png") if re.fullmatch(r"fits(-\d+)?\.png", path.name)]
    return [*pages, *(path for name in names if (path := target / name).is_file())]


def _files(fits: Fits, target: Path, origin: report.Origin | None) -> None:
    from matplotlib import pyplot

    inert_table(fits.parameters).to_csv(target / "parameters.csv", index=False)
    inert_table(fits.predict()).to_csv(target / "predictions.csv", index=False)
    inert_table(fits.outcomes).to_csv(target / "outcomes.csv")
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
