"""`cellkinetics compare`: whether the dose, or another factor, drives expansion and persistence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter as Option
from rich.console import Console

from cellkinetics.cli import asked, showing
from cellkinetics.cli.app import DONE, STOPPED, app
from cellkinetics.cli.asked import Acting, Flag, Numbers, Reading, Words, different, find_model, names, usual
from cellkinetics.cli.stopping import ctrl_c
from cellkinetics.cli.writing import Target, write_csv, write_figure
from cellkinetics.cohorts.comparison import Comparison, compare_cohorts
from cellkinetics.figures import style
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import Prior
from cellkinetics.words import count

COMPARISON_FILES = re.compile(
    r"summary\.txt|(comparison|values|parameters)\.csv|comparison\.(png|json)|parameters\.png"
)


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
    model: Annotated[list[str] | None, Option(negative="")] = usual(compare_cohorts, "model"),
    parameters: Words = usual(compare_cohorts, "parameters"),
    others: Literal["individual", "shared"] = usual(compare_cohorts, "others"),
    error: str = usual(compare_cohorts, "error"),
    prior: Words = usual(compare_cohorts, "prior"),
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
    parameters.csv and parameters.png. Of several models each has a folder with its own summary, parameters and json.

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
        A model's name or file: which of its parameters does the dose, or the group, move? Several are asked one after
        the other: --model nk_decline --model stein_2019_tisagenlecleucel.
    parameters
        Which of them are tested; what the model frees without it.
    others
        Whether the model's other parameters are each patient's own, or shared.
    error
        How samples scatter about the model's curve: log, student, proportional, combined or counting.
    prior
        What is known of the model's parameters: published, or a median and the SD of its logarithm of some:
        F=4e-4,0.5 beta=0.003,1.
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
    if not model and acting != Acting():
        raise ValueError("--comedication and --lasts act on a model. Give --model, such as --model effector_memory.")
    target = Target.of("compare", out, force, COMPARISON_FILES)
    models = different([acting.on(find_model(name)) for name in model or ()])
    # What one of them refuses is said before the first is fitted.
    known = [asked.priors(one, prior) for one in models] or [asked.priors(None, prior)]

    def compared(one: Model | None, of: Mapping[str, Prior] | str | None) -> Comparison:
        return compare_cohorts(
            study, by, within=within, margin=margin, days=days, windows=asked.windows(windows), tolerance=tolerance,
            output=output, interval=interval, mid_p=mid_p, seed=seed, model=one,
            parameters=names(parameters), others=others, error=error, prior=of, permutations=permutations,
        )  # fmt: skip

    found: list[Comparison] = []
    for one, of in zip(models or [None], known, strict=True):
        found.append(compared(one, of))
        if ctrl_c.heard:
            break
    first, several = found[0], len(models) > 1
    summary = (replace(first, with_model=None) if several else first).summary()

    def files(folder: Path) -> None:
        (folder / "summary.txt").write_text(summary.rstrip() + "\n", encoding="utf-8")
        write_csv(first.table, folder / "comparison.csv")
        write_csv(values_of(first), folder / "values.csv")
        write_figure(first.plot(), folder / "comparison.png")
        if several:
            replace(first, with_model=None).save(folder / "comparison.json")
        for each in found:
            own = folder / each.model_based.model.name if several else folder
            own.mkdir(exist_ok=True)
            if several:
                (own / "summary.txt").write_text(each.model_based.summary(), encoding="utf-8")
            if each.with_model is not None:
                write_csv(each.with_model.table, own / "parameters.csv")
                if each.with_model.table["estimate"].notna().any():
                    axes = each.with_model.plot()
                    write_figure(style.whole(axes), own / "parameters.png")
            each.save(own / "comparison.json")

    folder = target.put(files)
    console = Console()
    blocks = [summary, *(each.model_based.summary() for each in found if several)]
    console.print("\n".join(blocks), markup=False, highlight=False, soft_wrap=True)
    showing.say_written(console, study, folder)
    if ctrl_c.heard:
        showing.say_stopped(console, _kept(found[-1], len(models) - len(found)))
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


def _kept(found: Comparison, missing: int) -> str:
    """How far it came; ``missing`` models were not begun."""
    model = found.with_model
    left = f" {count(missing, 'model')} not begun." if missing > 0 else ""
    if model is None or not model.interrupted:
        return (left and "everything before was finished.") + left or "everything was finished."
    least = 0 if model.table.empty else int(model.table["permutations"].min())
    text = f"the windows are all done; of the model at least {least} of {model.asked} permutations, as its table says."
    return text + left
