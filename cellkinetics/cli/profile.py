"""`cellkinetics profile`: how far the samples let each parameter go, by profile likelihood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cellkinetics.cli import showing
from cellkinetics.cli.app import DONE, NONE_FITTED, STOPPED, app
from cellkinetics.cli.asked import USUAL_MODEL, Acting, Fitting, Flag, Reading, Words, find_model, names, usual
from cellkinetics.cli.stopping import ctrl_c
from cellkinetics.cli.writing import Target, write_csv, write_figure
from cellkinetics.data import groups
from cellkinetics.fitting.each import fit_each
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.profile import Profile
from cellkinetics.fitting.profiles import Profiles
from cellkinetics.progress import bar

PROFILE_FILES = re.compile(r"profiles?(-\d+)?\.(csv|png|json)|intervals\.csv|intervals_\w+\.png")
HEADINGS = {
    "subject": "patient", "parameter": "parameter", "value": "value", "lower": "lower", "upper": "upper",
    "shape": "shape",
}  # fmt: skip


@app.command
def profile(
    table: Path | None = None,
    /,
    *,
    model: str = USUAL_MODEL,
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

    Parameters
    ----------
    table
        A CSV of samples: subject, day, copies_per_ug, dose, cohort ... or ID, TIME, DV, AMT, CENS ...
    model
        A model's name (see `cellkinetics models`) or a Python file that defines one.
    subject
        Patients, by their names in the table; all of them without it.
    parameters
        Which parameters; all that are estimated without it.
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
    chosen = (acting or Acting()).on(find_model(model))
    target = Target.of("profile", out, force, PROFILE_FILES)
    console = Console()
    fits = fit_each(chosen, study, pool_sd=how.pool_sd, **how.of(chosen))
    fitted = [name for name, fit in fits.items() if fit.fitted]
    found = Profiles(fits, {} if ctrl_c.heard else _each(fits, fitted, names(parameters), level, calibrated), level)
    if not found:
        console.print(showing.outcome_table(fits))
        if ctrl_c.heard:
            showing.say_stopped(console, "before a profile was finished. Nothing is written.")
            return STOPPED
        return NONE_FITTED
    folder = target.put(lambda folder: _write(found, folder, by))
    console.print(showing.table_of(found.intervals, f"{chosen.name}: {level:.0%} profile intervals", HEADINGS))
    if left := [name for name in fits if name not in fitted]:
        console.print(f"Not fitted, so without a profile: {', '.join(left)}.", markup=False, soft_wrap=True)
    showing.say_written(console, study, folder)
    if ctrl_c.heard:
        showing.say_stopped(console, f"the profiles of {len(found)} of {len(fitted)} patients are finished.")
        return STOPPED
    return DONE


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
