"""`cellkinetics fit`: one model, or several that are compared, on every patient of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter as Option
from rich.console import Console

from cellkinetics.cli import asked, showing
from cellkinetics.cli.app import DONE, NONE_FITTED, STOPPED, app
from cellkinetics.cli.asked import USUAL_MODEL, Acting, Fitting, Flag, Reading, Working, different, find_model, usual
from cellkinetics.cli.stopping import ctrl_c
from cellkinetics.cli.writing import Target, write_csv
from cellkinetics.data import groups
from cellkinetics.data.study import Study
from cellkinetics.errors import StudyError
from cellkinetics.fitting import fit as fitting
from cellkinetics.fitting.each import fit_each
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.model_choice import EVERYONE, compare_models
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.request import Request
from cellkinetics.reporting import models_page, output, report

EXAMPLE = Path(__file__).parents[1] / "_data" / "example.csv"
CRITERIA = {
    "model": "model", "n_free": "free", "log_likelihood": "ln L", "aicc": "AICc", "bic": "BIC",
    "delta": "delta", "weight": "weight", "best": "best of",
}  # fmt: skip


@app.command
def fit(
    table: Path | None = None,
    /,
    *,
    model: Annotated[list[str] | None, Option(negative="")] = None,
    reading: Reading | None = None,
    how: Fitting | None = None,
    acting: Acting | None = None,
    work: Working | None = None,
    by: str = usual(Fits.plot, "by"),
    out: Path | None = None,
    force: Flag = False,
) -> int:
    """Fit a model, or several, to every patient of a table and write the results into a folder.

    Without a table it runs on the example that comes with the library: eleven simulated patients. The folder gets
    report.html (all of it, to look at), parameters.csv, predictions.csv, outcomes.csv, summary.txt, fits.json (for
    ck.load and `cellkinetics report`) and the figures fits.png. Of several models each has a folder in it, and
    models.html and models.csv compare them.

    Parameters
    ----------
    table
        A CSV of samples: subject, day, copies_per_ug, dose, cohort ... or ID, TIME, DV, AMT, CENS ...
    model
        A model's name (see `cellkinetics models`) or a Python file that defines one; il15_persistence without it.
        Several are fitted to the same samples and compared: --model nk_decline --model stein_2019_tisagenlecleucel.
    reading
        How the table is read.
    how
        How the models are fitted.
    acting
        What acts on rates besides.
    work
        How long work is done.
    by
        What colours and the report's comparison are by: cohort, dose, or another column such as response.
    out
        Folder to write; it must not exist yet. By default cellkinetics-fit-1, -2, ... in the current folder.
    force
        Write into an existing folder.
    """
    reading, how, work = reading or Reading(), how or Fitting(), work or Working()
    acting = acting or Acting()
    study = reading.study(table)
    groups.of(study, by)
    chosen = model or [USUAL_MODEL]
    # The file as it was read: it may change before the report is written.
    origin = report.Origin.of(
        EXAMPLE if table is None else table,
        "",
        "example.csv, which comes with the library" if table is None else None,
    )
    models = different([acting.on(find_model(name)) for name in chosen])
    target = Target.of("fit", out, force, output.FIT_FILES)
    for one in models:
        # What one of them refuses costs the fits of no other.
        fitting.check(Request.of(one, **how.of(one)), study)
    console, each = Console(), dict[str, Fits]()
    for name, one in zip(chosen, models, strict=True):
        kept = work.kept(one.name, len(models) > 1)
        fits = fit_each(
            one, study, pool_sd=how.pool_sd, checkpoint=kept, n_jobs=work.n_jobs, chunk=work.chunk, **how.of(one)
        )
        with ctrl_c.held():
            if len(showing.unfinished(fits)) < len(fits):
                each[name] = fits
        if ctrl_c.heard:
            break
    if not each:
        showing.say_stopped(console, "before a patient was fitted. Nothing is written." + _goes_on(work))
        return STOPPED

    def files(folder: Path) -> None:
        for name, fits in each.items():
            own = folder if len(models) == 1 else folder / models[chosen.index(name)].name
            own.mkdir(exist_ok=True)
            again = asked.command(
                "fit",
                table,
                reading,
                how,
                acting,
                model=None if name == USUAL_MODEL else name,
                by=None if by == usual(Fits.plot, "by") else by,
            )
            output.fit_files(fits, own, report.Origin(again, origin.source, origin.sha256), by)
        if compared is not None:
            write_csv(compared.reset_index(), folder / "models.csv")
            html = models_page.page(compared, _together(compared)[list(CRITERIA)].rename(columns=CRITERIA), study, by)
            (folder / models_page.MODELS_NAME).write_text(html, encoding="utf-8")

    with ctrl_c.held():
        compared = _compared(list(each.values()), console)
    folder = target.put(files)
    for fits in each.values():
        console.print(showing.outcome_table(fits))
    if compared is not None:
        criterion = compared.attrs["criterion"]
        console.print(showing.table_of(_together(compared), f"Models compared, weights by {criterion}", CRITERIA))
    showing.say_written(console, study, folder)
    if ctrl_c.heard:
        showing.say_stopped(console, _kept(each, models, study) + _goes_on(work))
        return STOPPED
    return DONE if any(fit.fitted for fits in each.values() for fit in fits.values()) else NONE_FITTED


def _compared(each: list[Fits], console: Console) -> pd.DataFrame | None:
    """The table of `compare_models`, where there are several and they can be compared."""
    if len(each) < 2:
        return None
    try:
        return compare_models(each)
    except StudyError as error:
        # The fits are good all the same.
        console.print(f"The models are not compared: {error}", soft_wrap=True, markup=False)
        return None


def _together(compared: pd.DataFrame) -> pd.DataFrame:
    """All patients together, and for how many each model is the best."""
    alone = compared.drop(index=EVERYONE, level="subject")
    best = alone[alone["delta"] == 0].index.get_level_values("model").value_counts()
    everyone = compared.loc[EVERYONE].reset_index()
    return everyone.assign(best=everyone["model"].map(best).fillna(0).astype(int)).sort_values(
        "delta", na_position="last"
    )


def _kept(each: dict[str, Fits], models: list[Model], study: Study) -> str:
    """How far it came."""
    texts = []
    for fits in each.values():
        name, missing = next(iter(fits.values())).model.name, len(showing.unfinished(fits))
        done = f"{len(study.subjects) - missing} of {len(study.subjects)} patients are finished"
        texts.append(f"{name}: {done}" + (", the others are marked 'not fitted: interrupted'" if missing else ""))
    fitted = {next(iter(fits.values())).model.name for fits in each.values()}
    texts += [f"{model.name}: not fitted" for model in models if model.name not in fitted]
    return "; ".join(texts) + "."


def _goes_on(work: Working) -> str:
    if work.checkpoint is None:
        return ""
    return f" What is finished is kept in {work.checkpoint}: the same command goes on from there."
