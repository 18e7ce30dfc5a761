"""`cellkinetics profile`: how far the samples let each parameter go, by profile likelihood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter as Option
from rich.console import Console

from cellkinetics.cli import showing
from cellkinetics.cli.app import DONE, NONE_FITTED, STOPPED, app
from cellkinetics.cli.asked import (
    USUAL_MODEL,
    Acting,
    Fitting,
    Flag,
    Reading,
    Words,
    different,
    find_model,
    names,
    usual,
)
from cellkinetics.cli.stopping import ctrl_c
from cellkinetics.cli.writing import Target, write_csv, write_figure
from cellkinetics.data import groups
from cellkinetics.errors import suggest
from cellkinetics.fitting import fit as fitting
from cellkinetics.fitting.each import fit_each
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.profile import Profile
from cellkinetics.fitting.profiles import Profiles
from cellkinetics.optimising.request import Request
from cellkinetics.progress import bar
from cellkinetics.words import count

PROFILE_FILES = re.compile(r"profiles?(-\d+)?\.(csv|png|json)|intervals\.csv|intervals_\w+\.png")
UNFINISHED = "before a profile was finished. Nothing is written."
HEADINGS = {
    "subject": "patient", "parameter": "parameter", "value": "value", "lower": "lower", "upper": "upper",
    "shape": "shape",
}  # fmt: skip


@app.command
def profile(
    table: Path | None = None,
    /,
    *,
    model: Annotated[list[str] | None, Option(negative="")] = None,
    subject: Words = None,
    parameters: Words = usual(Fits.profile, "parameters"),
    level: float = usual(Fits.profile, "level"),
    calibrated: bool = usual(Fits.profile, "calibrated"),
    by: str = usual(Profiles.plot, "by"),
    reading: Reading | None = None,
    how: Fitting | None = None,
    acting: Acting | None = None,
    out: Path | None = None,
    force: Flag = False,
) -> int:
    """Fit a model and profile its parameters: intervals that need no symmetry, and which ends the samples leave open.

    Without a table it runs on the example that comes with the library: eleven simulated patients. Ctrl-C keeps the
    patients who are finished. The folder gets intervals.csv, profiles.csv (every point), profiles.json (for ck.load),
    a figure of each patient, profile-1.png, -2 ..., and of several patients one of each parameter, intervals_beta.png.
    Of several models each has a folder in it.

    Parameters
    ----------
    table
        A CSV of samples: subject, day, copies_per_ug, dose, cohort ... or ID, TIME, DV, AMT, CENS ...
    model
        A model's name (see `cellkinetics models`) or a Python file that defines one; il15_persistence without it.
        Several are profiled one after the other: --model nk_decline --model stein_2019_tisagenlecleucel.
    subject
        Patients, by their names in the table; all of them without it.
    parameters
        Which parameters; all that are estimated without it. Of several models each has those that it estimates.
    level
        Of the intervals.
    calibrated
        Whether the threshold allows for few samples.
    by
        What the colours of intervals_*.png are by: cohort, dose, or another column such as response.
    reading
        How the table is read.
    how
        How the model is fitted.
    acting
        What acts on rates besides.
    out
        Folder to write; it must not exist yet. By default cellkinetics-profile-1, -2, ... in the current folder.
    force
        Write into an existing folder.
    """
    how = how or Fitting()
    study = (reading or Reading()).study(table)
    if subject:
        study = study.select(subjects=names(subject))
    groups.of(study, by)
    acting = acting or Acting()
    models = different([acting.on(find_model(name)) for name in model or [USUAL_MODEL]])
    asked = names(parameters)
    if len(models) > 1 and asked is not None:
        known = [name for one in models for name in one.parameters]
        for name in asked:
            if name not in known and not name.startswith("sd"):
                raise ValueError(f"--parameters {name}: no model has it. {suggest(name, known)}".rstrip())
    target = Target.of("profile", out, force, PROFILE_FILES)
    for one in models:
        # What one of them refuses costs the profiles of no other.
        fitting.check(Request.of(one, **how.of(one)), study)
    console, each = Console(), list[Profiles]()
    for one in models:
        fits = fit_each(one, study, pool_sd=how.pool_sd, **how.of(one))
        # Of several models some have not all that is asked.
        free = {name for subject in _fitted(fits) for name in fits[subject].problem.names}
        own = asked if asked is None or len(models) == 1 else [name for name in asked if name in free]
        made = {} if ctrl_c.heard or own == [] else _each(fits, _fitted(fits), own, level, calibrated)
        each.append(Profiles(fits, made, level))
        if ctrl_c.heard:
            break
    done = [found for found in each if found]

    def files(folder: Path) -> None:
        for found in done:
            own = folder if len(models) == 1 else folder / _model_of(found)
            own.mkdir(exist_ok=True)
            _write(found, own, by)

    folder = target.put(files) if done else None
    for found in each:
        if found:
            title = f"{_model_of(found)}: {level:.0%} profile intervals"
            console.print(showing.table_of(found.intervals, title, HEADINGS))
            if left := [name for name in found.fits if name not in _fitted(found.fits)]:
                console.print(f"Not fitted, so without a profile: {', '.join(left)}.", markup=False, soft_wrap=True)
        elif _fitted(found.fits) and asked and not ctrl_c.heard:
            console.print(f"{_model_of(found)} has no free {' or '.join(asked)}.", markup=False, soft_wrap=True)
        else:
            console.print(showing.outcome_table(found.fits))
    if folder is not None:
        showing.say_written(console, study, folder)
    if ctrl_c.heard:
        showing.say_stopped(console, _kept(each, len(models)) if done else UNFINISHED)
        return STOPPED
    return DONE if done else NONE_FITTED


def _fitted(fits: Fits) -> list[str]:
    """Who has a fit to be profiled."""
    return [name for name, fit in fits.items() if fit.fitted]


def _model_of(found: Profiles) -> str:
    """The name of the model that was profiled."""
    return next(iter(found.fits.values())).model.name


def _kept(each: Sequence[Profiles], models: int) -> str:
    """How far it came."""
    texts = [f"the profiles of {len(found)} of {len(_fitted(found.fits))} patients are finished" for found in each]
    if models > 1:
        texts = [f"{_model_of(found)}: {text}" for found, text in zip(each, texts, strict=True)]
    left = models - len(each)
    return "; ".join([*texts, *([f"{count(left, 'model')} not begun"] if left else [])]) + "."


def _each(
    fits: Fits, fitted: Sequence[str], parameters: list[str] | None, level: float, calibrated: bool
) -> dict[str, Profile]:
    """Profiles one patient after the other, which takes no longer, until all are done or Ctrl-C is pressed."""
    found: dict[str, Profile] = {}
    free = {name for subject in fitted for name in fits[subject].problem.names}
    with bar(len(fitted), True, "profiling") as advance:
        for subject in fitted:
            # What is free in nobody is an error of all of them; in some, it is left out.
            asked = parameters
            if parameters is not None and set(parameters) <= free:
                asked = [name for name in parameters if name in fits[subject].problem.names]
            try:
                own = Fits(fits.study, {subject: fits[subject]}).profile(asked, level=level, calibrated=calibrated)
            except KeyboardInterrupt:
                break
            if ctrl_c.heard:
                # What it has of this patient's is no whole profile.
                break
            found |= own
            advance(1)
    return found


def _write(found: Profiles, folder: Path, by: str) -> None:
    intervals = found.intervals
    write_csv(intervals, folder / "intervals.csv")
    write_csv(found.table, folder / "profiles.csv")
    found.save(folder / "profiles.json")
    for place, (subject, profile) in enumerate(found.items(), start=1):
        figure = profile.plot()
        # Beside the word "simulated", where it stands there.
        title = ", ".join(filter(None, (subject, figure.get_suptitle())))
        figure.suptitle(title, x=0.01, ha="left", parse_math=False)
        write_figure(figure, folder / f"profile-{place}.png")
    for parameter in dict.fromkeys(intervals["parameter"]) if len(found) > 1 else ():
        figure = found.plot(parameter, by=by).get_figure(root=True)
        assert figure is not None
        write_figure(figure, folder / f"intervals_{parameter}.png")
