"""What is worked out before and after a table is read: days from dates, limits from DNA mass, means of wells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd

from cellkinetics.columns import MEANING, Sheet, meaning_of, plain
from cellkinetics.errors import Problem, StudyError, suggest
from cellkinetics.notation import Floats, number_of, number_text

DATES = ("date", "sample_date", "sampling_date", "collection_date", "date_of_sample")
INFUSION_DATES = ("infusion_date", "date_of_infusion", "dose_date", "dosing_date")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?)?", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?", re.ASCII)
_GRAMS = {"dna_ug": 1.0, "dna_ng": 1e-3, "ug_dna": 1.0, "ng_dna": 1e-3}
# Limits of one study, or one for each output.
Limit = float | Mapping[str, float] | None


def dated(sheet: Sheet, columns: Mapping[str, str] | None = None) -> Sheet:
    """The sheet with a column of days since the infusion, when it has dates and no days.

    The infusion is the date in a column such as ``infusion_date``, else that of the subject's first row with a
    dose (where not every row of the subject has one). A column of clock times, ``14:30``, is added to the date.
    Dates are ISO dates: 3/4/2024 is two days.

    Raises
    ------
    StudyError
        For each date that cannot be read, and each that has no date of infusion.
    """
    cells = sheet.cells
    known = {meaning_of(name): name for name in reversed(cells.columns)}
    given = {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    date = next((name for name in cells.columns if plain(name) in DATES), None)
    clock = known.get("day")
    if clock is not None and not cells[clock].str.fullmatch(_CLOCK).any():
        clock = None
    subject = given.get("subject", known.get("subject", ""))
    days = {"day", "nominal_day"} & {*given, *(name for name in known if name and known[name] != clock)}
    if date is None or days or subject not in cells.columns:
        return sheet
    problems: list[Problem] = []

    def moments(name: str, clocks: pd.Series | None = None) -> Floats:
        found = np.full(len(cells), np.nan)
        for at, text in enumerate(cells[name]):
            time = "" if clocks is None else clocks.iloc[at]
            joined = f"{text} {time.zfill(5)}" if time and len(text) == 10 else text
            try:
                if text and not _ISO.fullmatch(joined):
                    raise ValueError
                if text:
                    found[at] = (datetime.fromisoformat(joined) - datetime(1970, 1, 1)).total_seconds() / 86400
            except ValueError:
                remedy = "Write dates as 2024-03-09 and times as 14:30."
                what = f"{name} is {joined!r}, which is not an ISO date"
                problems.append(Problem(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
        return found

    when = moments(date, None if clock is None else cells[clock])
    begin_name = next((name for name in cells.columns if plain(name) in INFUSION_DATES), None)
    if begin_name is not None:
        begin = pd.Series(moments(begin_name)).groupby(cells[subject]).transform("min").to_numpy()
    else:
        amounts = [cells[known[name]] for name in ("amount", "dose") if name in known]
        dose = np.zeros(len(cells), dtype=bool)
        for amount in amounts:
            filled = amount.map(lambda text: bool(number_of(str(text)) or number_of(str(text), ","))) & (amount != "")
            dose |= (filled & ~filled.groupby(cells[subject]).transform("all")).to_numpy()
        begin = pd.Series(np.where(dose, when, np.nan)).groupby(cells[subject]).transform("min").to_numpy()
    unknown = (cells[date] != "").to_numpy() & np.isnan(begin) & ~np.isnan(when)
    for at in np.flatnonzero(unknown).tolist():
        what = f"{date} is {cells[date].iloc[at]} and the date of the infusion is not known"
        remedy = "Give it in a column infusion_date, or give the dose a row with its date."
        problems.append(Problem(int(sheet.row[at]), cells[subject].iloc[at] or None, None, what, remedy))
    if problems:
        raise StudyError(problems, sheet.source)
    day = ["" if np.isnan(days) else number_text(round(days, 6)) for days in when - begin]
    if sheet.separator == ";":
        day = [text.replace(".", ",") if _uses_commas(cells) else text for text in day]
    cells = cells.rename(columns={} if clock is None else {clock: "clock"}).assign(day=pd.Series(day, dtype="str"))
    return replace(sheet, cells=cells)


def with_limits_of_wells(sheet: Sheet, lloq: float | None = None) -> Sheet:
    """The sheet with the lower limit of each row in copies/ug, from copies per well and the mass of DNA in it.

    Parameters
    ----------
    sheet : Sheet
        With a column ``dna_ug`` or ``dna_ng``, the mass of DNA in the well. A column ``lloq_copies_per_well`` (and
        ``lod_copies_per_well``) wins over `lloq`; a cell of ``lloq`` in copies/ug wins over both.
    lloq : float, optional
        Lower limit of quantification in copies per well.

    Raises
    ------
    StudyError
        When there is a limit per well and no mass, or a mass that is not a number above 0.
    """
    cells = sheet.cells
    mass_name = next((name for name in cells.columns if plain(name) in _GRAMS), None)
    wells = {plain(name): name for name in cells.columns if plain(name).endswith("_copies_per_well")}
    named = [kind for kind in ("lloq", "lod", "uloq") if f"{kind}_copies_per_well" in wells]
    if lloq is None and not named:
        return sheet
    if lloq is not None and not 0 < lloq < np.inf:
        found = f"lloq_copies_per_well={lloq!r} was given"
        raise StudyError([Problem(None, None, None, found, "A limit is a finite number above 0.")], sheet.source)
    if mass_name is None:
        found, remedy = "a limit in copies per well is known and no mass", "Give the column dna_ug or dna_ng."
        raise StudyError([Problem(None, None, None, found, remedy)], sheet.source)
    decimal = "," if sheet.separator == ";" and _uses_commas(cells) else "."
    problems: list[Problem] = []

    def numbers_of(name: str) -> list[float]:
        found = []
        for at, text in enumerate(cells[name]):
            number = number_of(text, decimal)
            if number is None or number <= 0 or number == np.inf:
                remedy = "Give a number above 0, or leave the cell empty."
                problems.append(Problem(int(sheet.row[at]), None, None, f"{name} is {text!r}", remedy))
                number = np.nan
            found.append(number)
        return found

    mass = np.array(numbers_of(mass_name)) * _GRAMS[plain(mass_name)]
    added: dict[str, pd.Series] = {}
    for kind in ("lloq", "lod", "uloq"):
        per_well = np.full(len(cells), np.nan)
        if kind in named:
            per_well = np.array(numbers_of(wells[f"{kind}_copies_per_well"]))
        if kind == "lloq" and lloq is not None:
            per_well = np.where(np.isnan(per_well), lloq, per_well)
        own = next((name for name in cells.columns if meaning_of(name) == kind), kind)
        texts = ["" if np.isnan(limit) else number_text(limit).replace(".", decimal) for limit in per_well / mass]
        if any(texts):
            there = cells[own] if own in cells else pd.Series("", index=cells.index, dtype="str")
            added[own] = there.mask(there == "", pd.Series(texts, index=cells.index, dtype="str"))
    if problems:
        raise StudyError(problems, sheet.source)
    return replace(sheet, cells=cells.assign(**added))


def checked(sheet: Sheet) -> Sheet:
    """The sheet, with what NONMEM's ``IGNORE=C`` hides (a C in the column C) excluded.

    Raises
    ------
    StudyError
        When one name is used for subjects of two studies (a column such as ``STUDYID`` changes within it).
    """
    cells = sheet.cells
    subject = next((name for name in cells.columns if meaning_of(name) == "subject"), None)
    study = next((name for name in cells.columns if plain(name) in ("study", "studyid", "study_id")), None)
    if subject is not None and study is not None:
        said = cells[[subject, study]][(cells[study] != "") & (cells[subject] != "")].drop_duplicates()
        problems = [
            Problem(None, str(name), None, f"it is in the studies {', '.join(those)}", "Give each patient a name.")
            for name, those in said.groupby(subject, sort=False)[study]
            if len(those) > 1
        ]
        if problems:
            raise StudyError(problems, sheet.source)
    if "C" in cells and not any(meaning_of(name) == "excluded" for name in cells.columns):
        hidden = cells["C"].str.casefold() == "c"
        if hidden.any() and cells.loc[~hidden, "C"].isin(["", "0"]).all():
            excluded = pd.Series(np.where(hidden, "C in the column C", ""), index=cells.index, dtype="str")
            return replace(sheet, cells=cells.drop(columns="C").assign(excluded=excluded))
    return sheet


def _uses_commas(cells: pd.DataFrame) -> bool:
    return any(cells[name].str.fullmatch(r"[<>\s]*[+-]?\d+,\d+(e[+-]?\d+)?", case=False).any() for name in cells)


def limit_of_rows(limit: Limit, name: str, output: pd.Series, problems: list[Problem]) -> Floats:
    """One limit, or those of the outputs, for (n,) rows; an output that is not there is a problem."""
    if not isinstance(limit, Mapping):
        return np.full(len(output), np.nan if limit is None else limit)
    there = output.unique().tolist()
    wanted = {str(key): value for key, value in limit.items()}
    for key in wanted:
        if key not in there:
            remedy = f"There are {', '.join(there)}. {suggest(key, there)}".rstrip()
            problems.append(Problem(None, None, None, f"{name}= has a limit for {key!r}, which is no output", remedy))
    return np.array([wanted.get(name, np.nan) for name in output], dtype=np.float64)


def averaged(observations: pd.DataFrame) -> pd.DataFrame:
    """The mean of the wells of each sample (subject, day, output, reason) on the log scale.

    Of a censored well only the two ends are known, and so of the mean: its ends are the geometric means of the
    wells' ends. Of 5 and below 3 the mean is below 3.87; of 8 and between 1 and 2 it is between 2.83 and 4. A
    column ``wells_averaged`` says how many there were; other columns are kept where the wells agree.
    """
    key = ["subject", "day", "output", "excluded"]
    groups = observations.groupby(key, sort=False, dropna=False)
    number = groups["row"].transform("size").to_numpy()
    if (number == 1).all():
        return observations
    kept = observations.loc[~observations.duplicated(key)].copy()
    place = groups.ngroup().to_numpy()
    said = (observations["status"] != "missing").to_numpy()

    def mean(name: str) -> Floats:
        with np.errstate(divide="ignore"):
            logs = np.log(observations[name].to_numpy(dtype=float))
        sums = np.bincount(place[said], weights=logs[said], minlength=len(kept))
        wells = np.bincount(place[said], minlength=len(kept))
        means = np.exp(np.divide(sums, wells, out=np.full(len(kept), np.nan), where=wells > 0))
        # Wells that agree have their number as the mean, to the last digit.
        ends = observations.loc[said, name].groupby(place[said]).agg(["min", "max"]).reindex(range(len(kept)))
        return np.where(ends["min"] == ends["max"], ends["min"], means)

    many = (groups["row"].size() > 1).to_numpy()
    lower, upper = mean("lower"), mean("upper")
    all_read = (groups["value"].count() == groups["row"].size()).to_numpy()
    status = np.select(
        [np.isnan(lower) & np.isnan(upper), all_read, np.isinf(upper) | np.isnan(lower), lower > 0],
        ["missing", "quantified", "above", "interval"],
        "below",
    )
    limit = groups["lloq"].max().to_numpy()
    limit = np.where(status == "below", np.fmax(limit, np.where(np.isnan(upper), limit, upper)), limit)
    new = {"value": np.where(status == "quantified", mean("value"), np.nan), "lower": lower, "upper": upper}
    for name, values in (new | {"lloq": limit}).items():
        kept[name] = np.where(many, values, kept[name])
    kept["status"] = pd.Series(np.where(many, status, kept["status"]), index=kept.index, dtype="str")
    for name in list(observations.columns)[list(observations.columns).index("row") + 1 :]:
        same = (groups[name].nunique(dropna=False) == 1).to_numpy()
        kept[name] = kept[name].where(same)
    return kept.assign(wells_averaged=groups["row"].size().to_numpy())
