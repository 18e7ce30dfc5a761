"""A study as lines of text: the plain spelling, and those of Monolix, nlmixr2 and NONMEM."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from cellkinetics.data.study import COVARIATES, DOSE_UNIT, OBSERVATIONS, UNIT, Study, infusions
from cellkinetics.errors import suggest
from cellkinetics.files import whole
from cellkinetics.layout.formulas import inert_table
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.placing import written
from cellkinetics.words import number_text

# What stands in an empty cell.
STYLES = {"plain": "", "monolix": ".", "nlmixr2": "NA", "nonmem": "."}
_UPPER = {"subject": "ID", "day": "TIME", "value": "DV", "output": "DVID", "kind": "ADM", "dose": "AMT"}
# NM-TRAN separates cells at blanks too, and knows no quotation marks.
_SEPARATES = re.compile(r"[\s,;\"']+")
_WHOLE = re.compile(r"[1-9]\d{0,13}", re.ASCII)


def write(study: Study, path: Path, style: str) -> None:
    """Write a study in one of `STYLES`; see `Study.to_csv`.

    Raises
    ------
    ValueError
        When there is no such style.
    """
    if style not in STYLES:
        known = f"to_csv has no style {style!r}; it has {', '.join(STYLES)}. {suggest(style, STYLES)}"
        raise ValueError(known.rstrip())
    lines = plain_lines(study) if style == "plain" else upper_lines(study, style)
    if style != "nonmem":
        lines = inert_table(lines)
    header = list(lines.columns)
    # The default of NM-TRAN's $DATA is to ignore the lines that begin with #, and no others.
    header[0] = f"#{header[0]}" * (style == "nonmem") or header[0]
    note = study.note.split("\n") if study.note and style in ("plain", "nonmem") else []
    with whole(path) as file:
        file.writelines(f"# {line}\n" for line in note)
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(zip(*(lines[name] for name in lines.columns), strict=True))


def plain_lines(study: Study) -> pd.DataFrame:
    """The study as lines of text, in the lower-case spelling."""
    lines, extra, steady = _lines(study, written(study.observations))
    lines = lines.iloc[np.lexsort((lines["dosing"], lines["row"], lines["at"], lines["place"]))]
    value = "copies_per_ug" if study.unit == UNIT else "value"
    lines = lines.rename(columns={"value": value})
    measured = ("subject", "day", value, "cens", "limit", "lloq", "lod", "unit", "output")
    given = ("dose", "kind", "dose_unit", "evid", "cohort", "until", "until_reason", "excluded", "postdose")
    lines = _filled(lines, [*measured, *given, *extra, *steady, "replicate"])
    if (study.observations["output"] == "1").all():
        lines["output"] = ""
    return _needed(lines, {"subject", "day", value, *extra, *steady})


def upper_lines(study: Study, style: str) -> pd.DataFrame:
    """The study as lines of text, in the upper-case spelling: ID, TIME, DV, AMT, EVID, CENS, LIMIT ..."""
    samples, doses = study.observations, study.doses
    lines, extra, steady = _lines(study, censored_cells(samples))
    dosing = lines["dosing"].to_numpy(dtype=bool)
    lines["evid"] = lines["evid"].where(lines["evid"] == "2", np.where(dosing, "1", "0"))
    lines["cens"] = lines["cens"].fillna("").replace("", "0")
    lines["mdv"] = np.where(dosing | (lines["excluded"].fillna("") != ""), "1", "0")
    # What was drawn after an infusion follows its row; a mark is needed only where there is no row to follow.
    infused = set(doses.loc[doses["kind"] == "cells", "subject"])
    after = lines["postdose"].fillna("") == "1"
    lines["postdose"] = np.where(after & ~lines["subject"].isin(infused), "1", "")
    pairs = pd.MultiIndex.from_frame(doses.loc[doses["kind"] == "cells", ["subject", "day"]])
    at_infusion = pd.MultiIndex.from_frame(lines[["subject", "at"]]).isin(pairs)
    turn = np.where(at_infusion, np.select([dosing, after], [1, 2], 0), 0)
    lines = lines.iloc[np.lexsort((dosing, lines["row"], turn, lines["at"], lines["place"]))].copy()

    if doses["kind"].ne("cells").any():
        kinds = ["cells", *doses.loc[doses["kind"] != "cells", "kind"].unique()]
        names = lines["kind"].replace("", "cells").where(lines["evid"] == "1")
        lines["kind"] = names.map({kind: str(number) for number, kind in enumerate(kinds, start=1)})
        lines["adm_name"] = names
    outputs = samples["output"].unique().tolist()
    if outputs == ["1"]:
        lines["output"] = ""
    elif style == "nonmem" and not all(_WHOLE.fullmatch(name) for name in outputs):
        lines["dvid_name"] = lines["output"]
        lines["output"] = lines["output"].map({name: str(number) for number, name in enumerate(outputs, start=1)})
    names_of_subjects: list[str] = []
    if style == "nonmem" and not all(_WHOLE.fullmatch(name) for name in study.subjects):
        name = "ID_NAME"
        while name in {*extra, *steady}:
            name += "_"
        names_of_subjects = [name]
        lines[name] = lines["subject"]
        lines["subject"] = (lines["place"] + 1).astype("str")
    if study.simulated and style != "nonmem" and "SIMULATED" not in steady:
        lines["simulated"] = "1"
    first = (
        "subject",
        "day",
        "value",
        "dose",
        "evid",
        "cens",
        "limit",
        "kind",
        "output",
        "mdv",
        "lloq",
        "postdose",
    )
    then = ("cohort", "until", "until_reason", "excluded", "unit", "dose_unit", "adm_name", "dvid_name", "simulated")
    then += ("lod",)
    lines = _filled(lines, [*first, *then, *names_of_subjects, *extra, *steady, "replicate"])
    if study.unit == UNIT and "unit" not in extra:
        lines["unit"] = ""
    always = ("subject", "day", "value", "dose", "evid", "cens", "limit", "mdv")
    lines = _needed(lines, {*always, *extra, *steady})
    upper = [name for name in lines.columns if name in (*first, *then, "replicate") and name not in extra]
    lines = lines.rename(columns={name: _UPPER.get(name, name.upper()) for name in upper})
    if style == "nonmem":
        lines = lines.map(lambda cell: _SEPARATES.sub("_", cell))
        lines.columns = pd.Index([_SEPARATES.sub("_", name) for name in lines.columns])
    return lines.replace("", STYLES[style])


def censored_cells(observations: pd.DataFrame) -> pd.DataFrame:
    """Observations as DV, CENS and LIMIT.

    Parameters
    ----------
    observations : DataFrame
        Columns status, value, lower, upper, lloq, as in `Study.observations`, n rows.

    Returns
    -------
    DataFrame
        n rows, columns value, cens, limit, lloq, lod, all text, "" for an empty cell. Below and interval are CENS 1
        with the upper end as DV and the lower one as LIMIT; above is CENS -1 with the lower end as DV, and so
        is an interval that begins above the row's lower limit.
    """

    def one(status: str, value: float, lower: float, upper: float, lloq: float) -> tuple[str, ...]:
        low, high, limit = ("" if not np.isfinite(end) else number_text(end) for end in (lower, upper, lloq))
        cells = {
            "quantified": (number_text(value), "0", ""),
            "below": (high, "1", ""),
            "interval": (high, "1", low) if upper <= lloq else (low, "-1", high),
            "above": (low, "-1", ""),
        }
        return (*cells.get(status, ("", "0", "")), limit, high if status == "below" and upper < lloq else "")

    columns = (observations[name].tolist() for name in ("status", "value", "lower", "upper", "lloq"))
    cells = [one(*row) for row in zip(*columns, strict=True)]
    return pd.DataFrame(cells, columns=["value", "cens", "limit", "lloq", "lod"], dtype="str")


def _lines(study: Study, measured: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """A line for each sample and each dose, unordered, and the carried columns that vary and that do not."""
    samples, doses = study.observations, study.doses
    extra = [name for name in samples.columns if name not in OBSERVATIONS]
    steady = [name for name in study.covariates.columns if name not in COVARIATES]
    of_samples = pd.DataFrame({"subject": samples["subject"], "at": samples["day"], "row": samples["row"]})
    of_samples = pd.concat([of_samples.assign(dosing=False), measured], axis=1)
    for name in ("output", "excluded"):
        of_samples[name] = samples[name]
    pairs = pd.MultiIndex.from_frame(infusions(doses, study.subjects)[["subject", "day"]])
    at_infusion = pd.MultiIndex.from_frame(samples[["subject", "day"]]).isin(pairs)
    of_samples["postdose"] = np.where(at_infusion & (samples["excluded"] == ""), "1", "")
    of_samples["replicate"] = _replicates(samples, extra)
    for name in extra:
        of_samples[name] = _texts(samples[name])
    cells = doses["kind"] == "cells"
    of_doses = doses[["subject", "row"]].assign(at=doses["day"], dosing=True, dose=_texts(doses["amount"]))
    of_doses["kind"] = doses["kind"].mask(cells, "")
    of_doses["dose_unit"] = doses["unit"].mask(cells & (doses["unit"] == DOSE_UNIT), "")
    # Without a sample beside it, a dose could be taken for one that is repeated on every row.
    of_doses["evid"] = np.where(doses["subject"].isin(samples["subject"]), "", "1")
    heard = {*samples["subject"], *doses["subject"]}
    silent = [subject for subject in study.subjects if subject not in heard]
    of_nobody = pd.DataFrame({"subject": silent, "at": 0.0, "row": 0, "evid": "2", "dosing": True})

    parts = [part for part in (of_samples, of_doses, of_nobody) if len(part)]
    lines = pd.concat(parts, ignore_index=True)
    lines["place"] = pd.Index(study.subjects).get_indexer(pd.Index(lines["subject"]))
    lines["day"] = _texts(lines["at"])
    for name in ("cohort", "until", "until_reason", *steady):
        lines[name] = _texts(study.covariates[name]).reindex(lines["subject"]).to_numpy()
    if "unit" not in extra and study.unit != UNIT:
        lines["unit"] = study.unit
    if study.dose_unit != DOSE_UNIT:
        lines["dose_unit"] = lines["dose_unit"].fillna(study.dose_unit) if len(doses) else study.dose_unit
    for name in ("value", "cens", "evid", "kind", "excluded", "postdose", "output", "replicate"):
        lines[name] = lines[name].fillna("") if name in lines else ""
    return lines, extra, steady


def _filled(lines: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    none = pd.Series("", index=lines.index, dtype="str")
    return pd.DataFrame({name: lines[name].fillna("") if name in lines else none for name in dict.fromkeys(order)})


def _needed(lines: pd.DataFrame, always: set[str]) -> pd.DataFrame:
    """Without the columns that are empty throughout."""
    return lines[[name for name in lines.columns if name in always or (lines[name] != "").any()]]


def _replicates(samples: pd.DataFrame, extra: list[str]) -> pd.Series:
    """Running numbers of the samples that nothing else tells apart; "" for the others."""
    said = samples[samples["status"] != "missing"]
    same = ["subject", "day", "output", "status", "value", "lower", "upper", "lloq", *extra]
    alike = said[said.duplicated(same, keep=False)]
    number = alike.groupby(same, dropna=False).cumcount() + 1
    return number.astype("str").reindex(samples.index).fillna("")


def _texts(column: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(column.dtype):
        column = column.map(number_text, na_action="ignore")
    return column.astype("str").fillna("")
