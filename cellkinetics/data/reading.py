"""From a file or a DataFrame to a `Study`; everything that is wrong with it is said at once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from cellkinetics.arrays import Flags, Floats
from cellkinetics.data.administrations import Dosing, doses_of, unit_of_cells
from cellkinetics.data.columns import RESERVED, Rows, meaning_of, plain, resolve
from cellkinetics.data.days import dated, timed, visited
from cellkinetics.data.first_look import Limit, checked, limit_of_rows
from cellkinetics.data.layout.dates import INFUSION_DATES, heading
from cellkinetics.data.layout.ends import own
from cellkinetics.data.layout.subjects import one_clock, one_spelling
from cellkinetics.data.layout.weights import per_kg
from cellkinetics.data.notation import Limits, Measurements, Texts, marks, number_of, numbers, place
from cellkinetics.data.sheet import Arrow, Sheet, load
from cellkinetics.data.study import DOSE_UNIT, UNIT, Study, common_limit, cut_reason, infusions
from cellkinetics.data.wells import averaged, per_ug
from cellkinetics.data.wide import tall
from cellkinetics.errors import Problem, StudyError
from cellkinetics.words import number_text

Step = Callable[[Sheet], tuple[Sheet, Mapping[str, str] | None]]

_YES, _NO = ["1", "yes", "y", "true", "x"], ["", "0", "no", "n", "false"]
# Reasons of ours as NM-TRAN's files hold them, which have no blanks.
_OURS = ["before_the_first_infusion", "no_value", "MDV_1", "EVID_2", "EVID_3"]
_LEADING_ZERO = re.compile(r"[+-]?0\d.*")


def read_study(
    table: str | os.PathLike[str] | pd.DataFrame | Arrow,
    *,
    lloq: Limit = None,
    lod: Limit = None,
    uloq: Limit = None,
    unit: str = UNIT,
    dose_unit: str = DOSE_UNIT,
    time_unit: str | None = None,
    columns: Mapping[str, str] | None = None,
    lloq_copies_per_well: float | None = None,
    dna_ug: float | None = None,
    replicates: str = "each",
    sheet: str | None = None,
    progress: bool = True,
) -> Study:
    """Read the samples, doses and covariates of a study.

    Parameters
    ----------
    table : path, DataFrame, or a table of polars or pyarrow
        One row a sample or a dose, times in days. Cells are separated by comma, semicolon, tab, ``|`` or blanks;
        where it is not the comma, decimal commas are read. Text is UTF-8; other text is read as Windows-1252, with
        a warning. Lines above the header, titles and those that begin with ``#``, are kept as the note. Workbooks
        (.xlsx, .xls, .ods), .xpt and .sas7bdat are read too, and files that are packed (gzip, bzip2, xz, zip).
        The columns go by many names (``cellkinetics.data.columns.SYNONYMS``), in any case: ID, TIME, DV, AMT, EVID,
        CENS, LIMIT, ADM, COHORT or subject, day, copies_per_ug, lloq, lod, dose, cohort. Required are the
        subject, the day and the value. Other columns are carried along. In place of days, dates of one meaning
        are read (2024-03-09, 09-Mar-2024), with the date of the infusion in a column ``infusion_date`` or on the row
        of the dose, names of visits (Day 7, Week 2, M3), and study days without a day 0 (``PCDY``). A table of one row
        a subject with a column for each day (``d0``, ``d7`` ... or ``0``, ``7`` ...) is read as well.
    lloq, lod, uloq : float or mapping, optional
        Lower limit of quantification, limit of detection and upper limit of quantification, in `unit`. A
        column of that name wins, row by row. A value under the limit (0 included) is censored and its number
        is not used; with a lod under the lloq it lies under the lod or between the two. A mapping gives the
        limit of each output, ``{"1": 3, "2": 0.5}``.
    unit : str
        Of the values. A column ``unit`` wins over the default.
    dose_unit : str
        Of the infused cells. A column ``dose_unit`` wins over the default. Doses in "cells" become cells/kg where a
        column has the weight in kg; ``dose_cells`` then has what was given. Other drugs have the unit that
        their row says, or "".
    time_unit : "day", "hour", "week" or "month", optional
        Of the times, which become days (a month is 365.25 / 12 of them). A heading that says another unit, such as
        ``TIME (h)`` or ``weeks``, is refused when it is not asked for; "day" takes the numbers as days whatever the
        heading says.
    columns : mapping, optional
        ``{ours: theirs}``, such as ``{"day": "T"}``, for a name that is not known or several of one meaning.
    lloq_copies_per_well : float, optional
        Lower limit in copies per well, for rows with the mass of DNA in the well (``dna_ug`` or ``dna_ng``) and no
        limit of their own. A column of that name wins. Values in a column such as ``copies_per_well`` become
        copies/ug with the same mass.
    dna_ug : float, optional
        Mass of DNA in each well, ug, for rows that do not have it in a column.
    replicates : "each" or "mean"
        Whether each well is a sample, or the wells of one sample are averaged on the log scale. Of a censored
        well only the two ends are known, and the mean then lies between the means of the ends: of 5 and below 3
        it is below 3.87.
    sheet : str, optional
        Name of the worksheet, where a workbook has several.
    progress : bool
        Whether a bar is shown on the terminal while a file above 20 MB is read.

    Returns
    -------
    Study
        With every row that is a sample, those that are not used with their reason: "before the first
        infusion", "pre-dose" (at the time of an infusion of cells, unless its row follows the row of the dose
        or a column ``postdose`` marks it), "no value", after the day in the column ``until``, or the text in
        a column ``excluded``.

    Raises
    ------
    StudyError
        With all that is wrong in ``.problems``.
    FileNotFoundError
        When there is no such file.

    Notes
    -----
    A ``dose`` that stands on every row of a subject, the same, is one infusion on day 0; otherwise each
    filled cell is an infusion on the day of its row. AMT, with EVID 1 or without EVID, is a dose on the day
    of its row. A dose of 0 is none. A subject without a dose is taken as infused on day 0; where no row has a dose,
    what is quantified on day 0 is taken as drawn after it. ADM (or ``kind``)
    names other drugs: "rimiducid", with its amount, and "lymphodepletion", a day that needs no amount (1 is put
    there). A value with EVID 2 or MDV 1 is not used and counted as that, unless a column ``excluded`` says why;
    EVID 4 is a dose and EVID 3 nothing on the first row of a subject, and an error later, because nothing resets a
    patient.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"subject": "P01", "day": [0, 7, 180], "copies_per_ug": ["", "5120", "<3"],
    ...                       "dose": [1e6, None, None]})
    >>> read_study(table, lloq=3).observations[["day", "value", "upper", "status"]]
         day   value   upper      status
    0    7.0  5120.0  5120.0  quantified
    1  180.0     NaN     3.0       below
    """
    if replicates not in ("each", "mean"):
        raise ValueError(f"replicates={replicates!r}: take 'each' or 'mean'.")
    loaded = own(load(table, columns, progress, sheet))
    loaded = one_spelling(checked(tall(loaded, columns)), columns)
    loaded, asked = _set_aside(lambda sheet: dated(sheet, columns), loaded, columns)
    loaded, named = _set_aside(lambda sheet: visited(sheet, asked, time_unit), loaded, asked)
    loaded, in_days = _set_aside(lambda sheet: timed(sheet, named, time_unit), loaded, named)
    loaded = _set_aside(lambda sheet: (one_clock(sheet, in_days), None), loaded, in_days)[0]
    loaded, dose_unit = per_kg(loaded, in_days, dose_unit)
    columns = in_days
    if unit == UNIT:
        loaded, columns = _set_aside(
            lambda sheet: per_ug(sheet, in_days, lloq_copies_per_well, dna_ug), loaded, in_days
        )
    names, problems = resolve(list(loaded.cells.columns), columns)
    given = (lloq, lod, uloq)
    for key in {str(key) for limit in given if isinstance(limit, Mapping) for key in limit} or {""}:
        problems = [*_check_arguments(*(_of_output(limit, key) for limit in given)), *problems]
    if problems:
        raise StudyError([*loaded.problems, *problems], loaded.source)
    problems = list(loaded.problems)
    rows = Rows(loaded, names, problems)

    output = rows.text("output").replace("", "1")
    output = rows.text("output_name").mask(rows.text("output_name") == "", output)
    limits = _limits(
        rows,
        [
            limit_of_rows(*limit, output, problems)
            for limit in zip((lloq, lod, uloq), ("lloq", "lod", "uloq"), strict=True)
        ],
    )
    evid, skipped = _events(rows)
    measured, zero = _measure(rows, limits, skipped != "")
    empty = measured.status == "missing"
    dosing = doses_of(rows, evid, empty | (skipped != ""))
    # A NONMEM table fills the DV of a dose row, or of another event, with 0.
    other = np.isin(skipped, ["EVID 2", "EVID 3"]) & (empty | zero)
    sample = ~other & ~(dosing.any & (empty | (skipped != ""))) & ~(dosing.event & zero)
    seen = measured.status == "quantified"
    excluded = np.where(skipped == "", _exclusions(rows, dosing.doses, empty, seen), skipped).astype(object)
    _report_faults(rows, measured, sample, excluded == "")
    excluded, until = _cut(rows, excluded)
    cohort = rows.constant("cohort")

    unit, units_differ = _unit(rows, output, sample, unit)
    dose_unit = unit_of_cells(rows, dosing, dose_unit)
    observations = pd.DataFrame({"subject": rows.subject, "day": rows.day, "output": output})
    for name in ("value", "lower", "upper", "status", "lloq"):
        observations[name] = getattr(measured, name)
    observations = observations.assign(excluded=excluded, row=rows.row)
    observations = observations.astype(dict.fromkeys(("subject", "output", "status", "excluded"), "str"))
    varying, steady = _carried(rows, sample, dosing.spare, units_differ)
    observations = pd.concat([observations, varying], axis=1)
    _report_repeats(rows, observations, sample & ~empty, dosing)
    if problems:
        raise StudyError(sorted(problems, key=lambda problem: problem.row or 0), loaded.source)

    order = np.lexsort((rows.day, rows.code))
    observations = observations.iloc[order[sample[order]]].reset_index(drop=True)
    observations = averaged(observations).reset_index(drop=True) if replicates == "mean" else observations
    doses = dosing.doses.drop(columns=["at", "position"])
    first = infusions(doses, rows.subjects).sort_values("day", kind="stable")
    first = first[first["day"] == first.groupby("subject")["day"].transform("first")]
    amount = first.groupby("subject")["amount"].sum(min_count=1).reindex(rows.subjects)
    covariates = pd.DataFrame({"cohort": cohort, "dose": amount}).join([until, steady])
    return Study(
        observations=observations,
        doses=doses,
        covariates=covariates.rename_axis("subject"),
        unit=unit,
        dose_unit=dose_unit,
        lloq=common_limit(observations),
        source=loaded.source,
        note=loaded.note,
    )


def _set_aside(step: Step, sheet: Sheet, columns: Mapping[str, str] | None) -> tuple[Sheet, Mapping[str, str] | None]:
    """What a step makes of the sheet without the subjects in whose rows it finds a problem.

    The problems are kept with the sheet, and the rows of the others are looked at too: all is said at once.
    """
    try:
        return step(sheet)
    except StudyError as error:
        problems = [*sheet.problems, *error.problems]
        rows, subjects = {problem.row for problem in error.problems}, {problem.subject for problem in error.problems}
        keep = ~np.isin(sheet.row, [row for row in rows if row is not None])
        for name in sheet.cells.columns:
            if meaning_of(name) == "subject" or name == (columns or {}).get("subject"):
                keep &= ~sheet.cells[name].isin(subjects).to_numpy()
        if None in rows or not keep.any():
            raise StudyError(problems, sheet.source) from None
        rest = replace(sheet, cells=sheet.cells[keep].reset_index(drop=True), row=sheet.row[keep], problems=problems)
        return step(rest)


def _of_output(limit: Limit, output: str) -> float | None:
    return {str(key): value for key, value in limit.items()}.get(output) if isinstance(limit, Mapping) else limit


def _check_arguments(lloq: float | None, lod: float | None, uloq: float | None) -> list[Problem]:
    given = {"lloq": lloq, "lod": lod, "uloq": uloq}
    problems = [
        Problem(None, None, None, f"{name}={limit!r} was given", "A limit is a finite number above 0.")
        for name, limit in given.items()
        if limit is not None and not 0 < limit < np.inf
    ]
    for low, high in (("lod", "lloq"), ("lloq", "uloq"), ("lod", "uloq")):
        lower, upper = given[low], given[high]
        if lower is not None and upper is not None and lower > upper:
            found = f"{low}={lower!r} is above {high}={upper!r}"
            problems.append(Problem(None, None, None, found, "Correct one of them."))
    return problems


def _limits(rows: Rows, study: list[Floats]) -> Limits:
    """The limits of each row: those of its columns, else those of the study (lloq, lod, uloq)."""
    own = {name: rows.number(name) for name in ("lloq", "lod", "uloq")}
    for name, limit in own.items():
        found, remedy = (
            f"{rows.names.get(name)} is ",
            "A limit is above 0; leave the cell empty where none is known.",
        )
        rows.report(limit <= 0, lambda at, found=found, limit=limit: found + number_text(limit[at]), remedy)
    used = {name: np.where(np.isnan(own[name]), other, own[name]) for name, other in zip(own, study, strict=True)}
    for low, high in (("lod", "lloq"), ("lloq", "uloq")):
        # The lloq of a row may lie under the lod of the study, which then says nothing about the row.
        own_pair = ~np.isnan(own["lod"]) if low == "lod" else ~np.isnan(own["lloq"]) | ~np.isnan(own["uloq"])
        rows.report(
            own_pair & (used[low] > used[high]),
            lambda at, low=low, high=high: (
                f"{low} is {number_text(used[low][at])}, above the {high} {number_text(used[high][at])}"
            ),
            "Correct one of them.",
        )
    return Limits(used["lloq"], used["lod"], used["uloq"], own["lloq"])


def _events(rows: Rows) -> tuple[Floats, Texts]:
    """EVID, and why a row is no sample that is used, whatever stands in it: "EVID 2", "EVID 3", "MDV 1"."""
    evid = rows.choice("evid", (0, 1, 2, 3, 4))
    order = np.lexsort((rows.day, rows.code))
    begins = np.zeros(len(order), dtype=bool)
    begins[order[np.unique(rows.code[order], return_index=True)[1]]] = True
    rows.report(
        np.isin(evid, (3, 4)) & ~begins,
        lambda at: f"{rows.names['evid']} is {evid[at]:g}, which resets the curve of a subject",
        "Give what follows as another subject, or evid 1 for a dose that adds to the first.",
    )
    # A sample that is excluded for a stated reason keeps it, whatever MDV tells other programs.
    stated = ~rows.text("excluded").str.casefold().isin([*_YES, *_NO]).to_numpy()
    hidden = (rows.choice("mdv", (0, 1)) == 1) & ~stated
    return evid, np.select([evid == 2, evid == 3, hidden], ["EVID 2", "EVID 3", "MDV 1"], "").astype(object)


def _measure(rows: Rows, limits: Limits, skipped: Flags) -> tuple[Measurements, Flags]:
    """The measurement of each row, and where it is the number 0; what makes no sense on a skipped row is missing."""
    name, text = rows.names["value"], rows.text("value").to_numpy(dtype=object)
    mark, number = marks(text, rows.decimal)
    senseless = (mark == "unreadable") | ((mark == "number") & ((number < 0) | np.isinf(number)))
    mark[skipped & senseless], number[skipped & senseless] = "missing", np.nan
    remedy = f"Write a number{rows.comma}, <3, >1e6, BLQ or ND, or leave the cell empty."
    rows.report(mark == "unreadable", lambda at: f"{name} is {text[at]!r}, which is not a number", remedy)
    remedy = "Give the values untransformed; 0, BLQ or <3 where nothing was measured."
    rows.report((mark == "number") & (number < 0), lambda at: f"{name} is {text[at]}, which is negative", remedy)
    rows.report(np.isposinf(number), lambda at: f"{name} is {text[at]}", "Write >1e6 for a value above the range.")
    measured = place(mark, number, rows.choice("cens", (-1, 0, 1)), rows.number("limit", 0), limits)
    return measured, (mark == "number") & (number == 0)


def _report_faults(rows: Rows, measured: Measurements, sample: Flags, used: Flags) -> None:
    """Say what `place` found, on rows that have no other fault; a row that is not used needs no limit."""
    name, text = rows.names["value"], rows.text("value").to_numpy(dtype=object)
    cens, limit = rows.text("cens").to_numpy(dtype=object), rows.text("limit").to_numpy(dtype=object)
    lloq = rows.text("lloq").to_numpy(dtype=object)

    def said(at: int) -> str:
        censored = f"{rows.names['cens']} is {cens[at]}, " if cens[at] in ("1", "-1") else ""
        return f"{censored}{name} is {text[at]!r}" if text[at] else f"{censored}{name} is empty"

    def named(at: int) -> str:
        return re.sub(r"[^\d.eE+-]", "", text[at]) if text[at][:1] in "<≤" and text[at][-1:].isdigit() else "..."

    faults = {
        "no lower limit": (
            lambda at: f"{said(at)} and no limit is known",
            lambda at: f"Give the column lloq, or read_study(..., lloq={named(at)}).",
        ),
        "no upper limit": (
            lambda at: f"{said(at)} and no upper limit is known",
            "Give the column uloq, or read_study(..., uloq=...).",
        ),
        "cens": (
            lambda at: f"{rows.names['cens']} is {cens[at]} and {name} is {text[at]!r}",
            "Let the two agree: cens is 1 for below, -1 for above; or leave cens empty.",
        ),
        "over": (
            lambda at: f"{said(at)}, a limit above the row's {rows.names['lloq']}, {lloq[at]}",
            "A censored row holds its limit, not a measured value: correct one of them.",
        ),
        "side": (
            lambda at: f"{said(at)} and {rows.names['limit']} is {limit[at]}, on the wrong side",
            "LIMIT is the other end: under DV when cens is 1, above it when cens is -1.",
        ),
    }
    clean = sample & ~rows.reported & (used | ~np.isin(measured.fault, ["no lower limit", "no upper limit"]))
    for fault, (found, remedy) in faults.items():
        rows.report(clean & (measured.fault == fault), found, remedy)


def _exclusions(rows: Rows, doses: pd.DataFrame, empty: Flags, seen: Flags) -> Texts:
    """Why each row is not used, but for the end of the follow-up; "" when it is."""
    given = infusions(doses, rows.subjects)
    given["position"] = doses["position"].reindex(given.index).where(given["amount"].notna(), np.inf)
    given["code"] = pd.Index(rows.subjects).get_indexer(pd.Index(given["subject"]))
    own = pd.DataFrame({"code": rows.code, "day": rows.day})
    first = given.groupby("code")["day"].min().reindex(range(len(rows.subjects))).to_numpy()[rows.code]
    last = given.groupby(["code", "day"], as_index=False)["position"].max()
    position = own.merge(last, how="left", on=["code", "day"])["position"].to_numpy(dtype=float)
    mark = rows.text("postdose").str.casefold()
    text = rows.text("postdose").to_numpy(dtype=object)
    rows.report(
        ~mark.isin([*_YES, *_NO]).to_numpy(),
        lambda at: f"{rows.names['postdose']} is {text[at]!r}",
        "It is 1 for a sample after the infusion, else 0 or empty.",
    )
    follows = (np.arange(len(own)) > position) | mark.isin(_YES).to_numpy()
    dated = any(heading(name) in INFUSION_DATES for name in rows.cells.columns)
    if doses.empty and "postdose" not in rows.names and not dated:
        # Of a table that says nothing of the infusion, cells that were seen on day 0 had been infused.
        follows |= seen
    stated = rows.text("excluded")
    ours = stated.str.startswith("after_day_") | stated.isin(_OURS)
    stated = stated.mask(ours, stated.str.replace("_", " "))
    low = stated.str.casefold()
    stated = stated.mask(low.isin(_NO), "").mask(low.isin(_YES), "excluded in the file").to_numpy(dtype=object)
    return np.select(
        [stated != "", empty, rows.day < first, ~np.isnan(position) & ~follows],
        [stated, "no value", "before the first infusion", "pre-dose"],
        "",
    ).astype(object)


def _cut(rows: Rows, excluded: Texts) -> tuple[Texts, pd.DataFrame]:
    """Exclude the rows after the end of a subject's follow-up; the ends, one row a subject."""
    until = pd.DataFrame({"until": rows.constant("until", True), "until_reason": rows.constant("until_reason")})
    until["until_reason"] = until["until_reason"].fillna("")
    day, why = (until[name].to_numpy()[rows.code] for name in until)
    late = (excluded == "") & (rows.day > day)
    excluded = excluded.copy()
    excluded[late] = [cut_reason(*end) for end in zip(day[late], why[late], strict=True)]
    return excluded, until


def _unit(rows: Rows, output: pd.Series, sample: Flags, unit: str) -> tuple[str, bool]:
    """The unit of the study, that of its first output by name, and whether outputs differ in it."""
    said = pd.DataFrame({"output": output, "unit": rows.text("unit")})[sample]
    said = said[said["unit"] != ""].drop_duplicates().sort_values("output")
    if said.empty:
        return unit, False
    units = said["unit"].unique().tolist()
    if said["output"].duplicated().any() or (unit != UNIT and unit not in units):
        found = f"the column {rows.names['unit']} says {', '.join(units)}" + f" and unit={unit!r}" * (unit != UNIT)
        rows.problems.append(Problem(None, None, None, found, "Values of one output have one unit."))
    return units[0], len(units) > 1


def _carried(rows: Rows, sample: Flags, spare: Flags, units_differ: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The columns that mean nothing here: those that vary within a subject, and those that do not."""
    known = set(rows.names.values())
    texts = {name: rows.cells[name] for name in rows.cells.columns if name not in known}
    taken = {name for name in texts if plain(name) not in RESERVED}
    for name in [name for name in texts if name not in taken]:
        texts[_free(name, taken)] = texts.pop(name)
    if spare.any():
        texts[_free(rows.names["dose"], taken)] = rows.text("dose").where(spare, "")
    varying: dict[str, pd.Series] = {}
    steady: dict[str, pd.Series] = {}
    if "nominal_day" in rows.names:
        varying["nominal_day"] = pd.Series(rows.nominal_day)
    if units_differ:
        varying["unit"] = rows.text("unit").replace("", np.nan)
    size = len(rows.subjects)
    samples = np.bincount(rows.code[sample], minlength=size)
    for name, text in texts.items():
        filled = (text != "").to_numpy(dtype=bool)
        said = pd.Series(pd.factorize(text)[0][filled]).groupby(rows.code[filled])
        on_samples = np.bincount(rows.code[filled & sample], minlength=size)
        if (said.min() == said.max()).all() and np.isin(on_samples - samples * (on_samples > 0), 0).all():
            each = text[filled].groupby(rows.code[filled]).first().reindex(range(size), fill_value="")
            steady[name] = _typed(each, rows.decimal)
        else:
            varying[name] = _typed(text.where(sample, ""), rows.decimal)
    constant = pd.DataFrame(steady, index=range(len(rows.subjects)))
    return pd.DataFrame(varying, index=rows.cells.index), constant.set_axis(list(rows.subjects), axis=0)


def _free(name: str, taken: set[str]) -> str:
    """A name for a column whose own name means something here."""
    name = f"{name}_in_file"
    while name in taken:
        name = f"{name}_in_file"
    taken.add(name)
    return name


def _typed(text: pd.Series, decimal: str) -> pd.Series:
    """Numbers where every filled cell is one (01 is a code, not a number), else text; missing where empty."""
    places, distinct = pd.factorize(text.to_numpy(dtype=object))
    # A column of text says so by its first cell; a name for each sample need not be looked at a million times.
    if any(number_of(cell, decimal) is None for cell in distinct[:2]):
        return text.mask(text == "")
    values, unreadable = numbers(distinct, decimal)
    code = any(_LEADING_ZERO.fullmatch(cell) for cell in distinct)
    if unreadable.any() or np.isinf(values).any() or np.isnan(values).all() or code:
        return text.mask(text == "")
    return pd.Series(values[places], index=text.index)


def _report_repeats(rows: Rows, observations: pd.DataFrame, where: Flags, dosing: Dosing) -> None:
    """Say which samples and doses stand there twice, with nothing that tells them apart."""
    same = pd.DataFrame({"code": rows.code, "day": rows.day})[where].duplicated(keep=False)
    at = np.flatnonzero(where)[same.to_numpy()]
    said = observations.iloc[at].drop(columns=["row", "excluded"]).assign(said=rows.text("value").iloc[at])
    number, _ = numbers(said["said"].to_numpy(dtype=object), rows.decimal)
    said["said"] = said["said"].mask(~np.isnan(number), "")
    said["number"] = number
    _report_same(rows, said, "Remove it, or tell replicates apart by a column such as well.")
    doses = dosing.doses.set_index("at")[["subject", "day", "amount", "kind"]]
    _report_same(rows, doses, "Remove it, or give the sum in one row.")


def _report_same(rows: Rows, table: pd.DataFrame, remedy: str) -> None:
    same = table[table.duplicated(keep=False)]
    if same.empty:
        return
    at = pd.Series(same.index, index=same.index)
    first = at.groupby([same[name] for name in same], dropna=False).transform("first")
    again = np.zeros(len(rows.row), dtype=bool)
    again[at[at != first]] = True
    rows.report(again, lambda row: f"it repeats row {rows.row[first[row]]}", remedy)
