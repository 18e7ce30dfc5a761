"""The folders that commands write, `cellkinetics fit` before all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from cellkinetics.figures import fits as fits_plot
from cellkinetics.figures.drawing import png
from cellkinetics.fitting.fits import Fits
from cellkinetics.layout.formulas import inert_table
from cellkinetics.reporting import report

NAME = "cellkinetics-fit"
TRIES = 1000
# What an earlier run of a command wrote of a larger study would stand beside the new results as if it belonged to them.
FIT_FILES = re.compile(
    r"(parameters|predictions|outcomes|models)\.csv|fits\.json|summary\.txt|(report|models)\.html|fits(-\d+)?\.png"
)
# What tells a folder of one of several models.
OF_A_MODEL = (("fits.json", report.REPORT_NAME), ("comparison.json", "summary.txt"), ("profiles.json", "intervals.csv"))


def folder(asked: Path | None, *, force: bool = False, name: str = NAME) -> Path:
    """Where to write: the folder asked for, which must not exist yet, or a new one with a number behind its name.

    Raises
    ------
    FileExistsError
        It exists and ``force`` is not given, or it is a file.
    """
    if asked is None:
        asked = _next(name)
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
    place(lambda partial: fit_files(fits, partial, origin), target, FIT_FILES, force=force)


def place(
    make: Callable[[Path], None], target: Path, ours: re.Pattern[str], *, force: bool = False, name: str | None = None
) -> Path:
    """Have files made in a temporary folder, and put all of them, or none, into `target`.

    Parameters
    ----------
    make : writes into the folder that it is given.
    target : from `folder`.
    ours : the names that the command gives to its files; with ``force`` those of an earlier run are removed.
    force : whether `target` may be there already.
    name : of a numbered folder: where another process has taken the number meanwhile, the next one is taken.

    Returns
    -------
    Path
        Where the files are: in a folder beside `target`, with a number behind its name, where another process has made
        that one meanwhile and ``force`` is not given. Nobody's results are lost.
    """
    asked = str(target) if name is None else name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{NAME}-") as temporary:
        partial = Path(temporary) / "results"
        partial.mkdir()
        make(partial)
        for _ in range(TRIES):
            if target.exists():
                if force:
                    break
                target = _next(asked)
            try:
                os.rename(partial, target)
            except OSError:
                # Another process was quicker, or it is no matter of who was.
                if not target.exists():
                    raise
            else:
                return target
        if not force:
            raise FileExistsError(f"{target}: other processes take each folder that is tried. Name another.")
        _merge(partial, target, ours)
    return target


def _next(name: str) -> Path:
    number = 1
    while Path(f"{name}-{number}").exists():
        number += 1
    return Path(f"{name}-{number}")


def _merge(partial: Path, target: Path, ours: re.Pattern[str]) -> None:
    """Move files over those of an earlier run, and remove what else it wrote; what others put there stays."""
    new = {file.name for file in partial.iterdir()}
    for file in list(partial.iterdir()):
        if file.is_dir() and (target / file.name).is_dir():
            _merge(file, target / file.name, ours)
        else:
            file.replace(target / file.name)
    for old in list(target.iterdir()):
        if old.name in new:
            continue
        if old.is_file() and ours.fullmatch(old.name):
            old.unlink()
        elif old.is_dir() and any(all((old / name).is_file() for name in both) for both in OF_A_MODEL):
            # Of a model that was asked for then and not now.
            for file in list(old.iterdir()):
                if ours.fullmatch(file.name):
                    file.unlink()
            if not any(old.iterdir()):
                old.rmdir()


def fit_files(fits: Fits, target: Path, origin: report.Origin | None = None, by: str = report.COHORT) -> None:
    """Tables, figures, the fits and the report of one model into a folder that is there, by a covariate."""
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
        picture.write_bytes(png(fits_plot.plot_fits(fits, page=page, by=by)))
    html = report.page(fits, [picture.read_bytes() for picture in pictures], origin, by=by)
    (target / report.REPORT_NAME).write_text(html, encoding="utf-8")
