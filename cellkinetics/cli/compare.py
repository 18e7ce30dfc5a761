"""`cellkinetics compare`: whether the dose, or another factor, drives expansion and persistence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console

from cellkinetics.cli import asked, showing
from cellkinetics.cli.app import DONE, STOPPED, app
from cellkinetics.cli.asked import Acting, Flag, Numbers, Reading, Words, find_model, names, usual
from cellkinetics.cli.stopping import ctrl_c
from cellkinetics.cli.writing import Target, write_csv, write_figure
from cellkinetics.cohorts.comparison import Comparison, compare_cohorts

COMPARISON_FILES = re.compile(r"summary\.txt|(comparison|values|parameters)\.csv|comparison\.(png|json)")


@app.command
def compare(
    table: Path | None = None,
    /,
    *,
    by: str = usual(compare_cohorts, "by"),
    within: str | None = usual(compare_cohorts, "within"),
    days: Numbers = usual(compare_cohorts, "days"),
    windows: Words = usual(compare_cohorts, "windows"),
    tolerance: float | None = usual(compare_cohorts, "tolerance"),
    margin: float = usual(compare_cohorts, "margin"),
    interval: Literal["profile", "wald", "bootstrap"] = usual(compare_cohorts, "interval"),
    mid_p: Flag = usual(compare_cohorts, "mid_p"),
    output: str | None = usual(compare_cohorts, "output"),
    model: str | None = usual(compare_cohorts, "model"),
    parameters: Words = usual(compare_cohorts, "parameters"),
    others: Literal["individual", "shared"] = usual(compare_cohorts, "others"),
    permutations: int = usual(compare_cohorts, "permutations"),
    seed: int = usual(compare_cohorts, "seed"),
    acting: Acting | None = None,
    reading: Reading | None = None,
    out: Path | None = None,
    force: Flag = False,
) -> int:
    """Compare dose cohorts, or groups by another column: whether the dose matters, for the peak and for persistence.

    Without a table it runs on the example that comes with the library: eleven simulated patients. The summary is
    printed; the folder gets it as summary.txt, comparison.csv (every test, ratio and dose exponent), values.csv (what
    is compared, patient by patient), the figure comparison.png and comparison.json (for ck.load); with --model also
    parameters.csv.

    Parameters
    ----------
    table
        A CSV of samples: subject, day, copies_per_ug, dose, cohort ... or ID, TIME, DV, AMT, CENS ...
    by
        cohort (as assigned, ordered by dose), dose (as given), or another column such as response.
    within
        A second column: groups are also compared among those who are alike in it.
    days
        Days for the level: 21 28 60 180; without it the visits after day 14 that more than half of the patients have.
    windows
        First and last days of areas, and names of quantities of `cellkinetics nca`: 0-28 28-336 days_above_lloq.
    tolerance
        Days by which a sample may lie from the day it stands for.
    margin
        The change over the dose range that counts as none, chosen before the values are seen.
    interval
        How the interval of the dose exponent is made.
    mid_p
        Print mid-p beside the exact p.
    output
        Which output of the study; the first without it.
    model
        A model's name or file: which of its parameters does the dose, or the group, move?
    parameters
        Which of them are tested; what the model frees without it.
    others
        Whether the model's other parameters are each patient's own, or shared.
    permutations
        Of the doses or groups over the patients, for the model.
    seed
        Seed of the bootstrap and of permutations.
    acting
        What acts on rates of the model besides.
    reading
        How the table is read.
    out
        Folder to write; it must not exist yet. By default cellkinetics-compare-1, -2, ... in the current folder.
    force
        Write into an existing folder.
    """
    study, acting = (reading or Reading()).study(table), acting or Acting()
    if model is None and acting != Acting():
        raise ValueError("--comedication and --lasts act on a model. Give --model, such as --model effector_memory.")
    target = Target.of("compare", out, force, COMPARISON_FILES)
    chosen = None if model is None else acting.on(find_model(model))
    found = compare_cohorts(
        study, by, within=within, margin=margin, days=days, windows=asked.windows(windows), tolerance=tolerance,
        output=output, interval=interval, mid_p=mid_p, seed=seed, model=chosen,
        parameters=names(parameters), others=others, permutations=permutations,
    )  # fmt: skip
    summary = found.summary()

    def files(folder: Path) -> None:
        (folder / "summary.txt").write_text(summary.rstrip() + "\n", encoding="utf-8")
        write_csv(found.table, folder / "comparison.csv")
        write_csv(values_of(found), folder / "values.csv")
        if found.with_model is not None:
            write_csv(found.with_model.table, folder / "parameters.csv")
        write_figure(found.plot(), folder / "comparison.png")
        found.save(folder / "comparison.json")

    folder = target.put(files)
    console = Console()
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    showing.say_written(console, study, folder)
    if ctrl_c.heard:
        showing.say_stopped(console, _kept(found))
        return STOPPED
    return DONE


def values_of(found: Comparison) -> pd.DataFrame:
    """Long table of what is compared: window, kind, subject, group, lower and upper (equal where known), reason."""
    each = []
    for result in found.results:
        values = result.window.values.rename_axis("subject").reset_index()
        values.insert(0, "kind", str(result.window.kind))
        values.insert(0, "window", result.window.name)
        values.insert(3, "group", values["subject"].map(found.groups))
        each.append(values)
    return pd.concat(each, ignore_index=True)


def _kept(found: Comparison) -> str:
    """How far it came."""
    model = found.with_model
    if model is None or not model.interrupted:
        return "everything was finished."
    least = 0 if model.table.empty else int(model.table["permutations"].min())
    return f"the windows are all done; of the model at least {least} of {model.asked} permutations, as its table says."
