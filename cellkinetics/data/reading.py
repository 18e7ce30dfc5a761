"""From a file or a DataFrame to a `Study`; everything that is wrong with it is said at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Flags, Floats
from cellkinetics.data.administrations import Dosing, doses_of, unit_of_cells
from cellkinetics.data.carried import Carried, carried
from cellkinetics.data.columns import UNTRANSFORMED, SheetRows, check_units, mass_of, meaning_of, resolve
from cellkinetics.data.days import dated, timed, visited
from cellkinetics.data.first_look import Limit, checked, limit_of_rows, prepared
from cellkinetics.data.measuring import limits_of, measure, report_faults, without_limit
from cellkinetics.data.repeats import report_repeats
from cellkinetics.data.study import DOSE_UNIT, UNIT, Study, common_limit, cut_reason, doubts, infusions
from cellkinetics.data.wells import averaged, per_ug
from cellkinetics.data.wide import tall
from cellkinetics.errors import Finding, StudyError, StudyWarning
from cellkinetics.layout.dates import INFUSION_DATES, heading
from cellkinetics.layout.doses import named_dose
from cellkinetics.layout.ends import own
from cellkinetics.layout.loading import Arrow, load
from cellkinetics.layout.sheet import Sheet
from cellkinetics.layout.subjects import one_clock, one_spelling
from cellkinetics.layout.weights import per_kg
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import NO, YES, Texts
from cellkinetics.meaning.placing import Measurements
from cellkinetics.meaning.units import canonical, is_log, other_unit_said, strange

Step = Callable[[Sheet], tuple[Sheet, Mapping[str, str] | None]]

# Reasons of ours as NM-TRAN's files hold them, which have no blanks.
_OURS = ["before_the_first_infusion", "no_value", "MDV_1", "EVID_2", "EVID_3"]


def read_study(
    table: str | os.PathLike[str] | pd.DataFrame | Arrow,
    *,
    lloq: Limit = None,
    lod: Limit = None,
    uloq: Limit = None,
    unit: str | None = None,
    dose_unit: str = DOSE_UNIT,
    time_unit: str | None = None,
    columns: Mapping[str, str] | None = None,
    lloq_copies_per_well: float | None = None,
    dna_ug: float | None = None,
    replicates: str = "each",
    ignore: Sequence[str] = (),
    floor: float | None = None,
    missing: float | Sequence[float] = (),
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
    unit : str, optional
        Of the values. Where it is not said it is that of a column ``unit``, else copies/ug; of a value by `columns`
        whose heading may say another one it must be said.
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
    ignore : sequence of str
        Columns of the table that say nothing about the values: they are left out, whatever they look like.
    floor : float, optional
        A number that stands for values below the limit, such as the limit itself or half of it: rows with it are
        censored at their lloq, or at the number where no lloq (or a smaller one) is known.
    missing : float or sequence of float
        Numbers that stand for no value, such as -9 or 999.
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

    Warns
    -----
    StudyWarning
        Where a number that repeats looks like a limit or a code for no value, or a date or the name of a visit
        contradicts the day of its row; the summary says so too.

    Notes
    -----
    A ``dose`` that stands on every row of a subject, the same, is one infusion on day 0; otherwise each
    filled cell is an infusion on the day of its row. The first one on the row of a sample after day 0 is
    refused, because nothing says on which day it was given. AMT, with EVID 1 or without EVID, is a dose on the day
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
    for name, said in (("unit", unit), ("dose_unit", dose_unit)):
        if said is not None and not isinstance(said, str):
            raise ValueError(
                f"{name}={said!r}: give a unit as text, such as {'cells/kg' if name == 'dose_unit' else UNIT!r}."
            )
    is_said = unit is not None
    unit, dose_unit = canonical(unit or UNIT), canonical(dose_unit)
    # What stands in the file, one row a sample and one name a patient, without what the user says is nothing.
    loaded = own(prepared(load(table, columns, progress, sheet), columns, ignore, time_unit))
    loaded = one_spelling(checked(tall(loaded, columns, time_unit)), columns)
    # Dates, visits and hours become days, cells become cells/kg, and copies per well copies/ug, before anything is
    # read: later steps know one time and one unit.
    loaded, asked = _set_aside(lambda sheet: dated(sheet, columns), loaded, columns)
    loaded, visits = _set_aside(lambda sheet: visited(sheet, asked, time_unit), loaded, asked)
    loaded, in_days = _set_aside(lambda sheet: timed(sheet, visits, time_unit), loaded, visits)
    mean = replicates == "mean"
    loaded = _set_aside(lambda sheet: (one_clock(sheet, in_days, mean), None), loaded, in_days)[0]
    in_days, dose_unit = named_dose(loaded, in_days, dose_unit, DOSE_UNIT)
    loaded, dose_unit, given_in = per_kg(loaded, in_days, dose_unit)
    meant = in_days
    if unit == UNIT:
        loaded, meant = _set_aside(lambda sheet: per_ug(sheet, in_days, lloq_copies_per_well, dna_ug), loaded, in_days)
    # Without the columns there are no rows to speak of: what is wrong with the whole table is said first.
    names, problems = resolve(list(loaded.cells.columns), meant)
    given = (lloq, lod, uloq)
    for key in {str(key) for limit in given if isinstance(limit, Mapping) for key in limit} or {""}:
        problems = [*_check_arguments(*(_of_output(limit, key) for limit in given)), *problems]
    if problems:
        raise StudyError([*loaded.problems, *problems], loaded.source)
    rows = SheetRows(loaded, names, list(loaded.problems))

    # The limits come before the measurements, because a number below its limit is none.
    output = rows.text("output").replace("", "1")
    output = rows.text("output_name").mask(rows.text("output_name") == "", output)
    limits = limits_of(
        rows,
        [limit_of_rows(*limit, output, rows.problems) for limit in zip(given, ("lloq", "lod", "uloq"), strict=True)],
    )
    evid, skipped = _events(rows)
    codes = [missing] if isinstance(missing, int | float) else missing
    written = measure(rows, limits, skipped != "", floor, codes)
    empty = written.measured.status == "missing"
    seen = written.measured.status == "quantified"
    dosing = doses_of(rows, evid, empty | (skipped != ""), seen & ~written.zero)
    sample = _samples(skipped, empty, written.zero, dosing)
    excluded = np.where(skipped == "", _exclusions(rows, dosing.doses, empty, seen), skipped).astype(object)
    unit, units_differ = _unit(rows, output, sample, unit)
    dose_unit = unit_of_cells(rows, dosing, dose_unit)
    check_units(rows, asked, unit, given_in or dose_unit, is_said)
    report_faults(rows, written, sample, excluded == "", unit)
    of_wells = "" if lloq_copies_per_well is None else next(filter(mass_of, rows.cells.columns), "")
    unlimited = without_limit(rows, written, limits, output, sample & (excluded == ""), of_wells)
    excluded, until = _cut(rows, excluded)
    cohort = rows.constant("cohort")

    # What nothing has read is looked at last, when it is known which rows are samples.
    unsaid = excluded == "no value"
    others = carried(
        rows, output, written, sample, dosing, unit, units_differ, time_unit, given_in or dose_unit, unsaid
    )
    observations = _observations(rows, output, written.measured, excluded, others)
    report_repeats(rows, observations, sample & ~empty, dosing)
    if rows.problems:
        raise StudyError(sorted(rows.problems, key=lambda problem: problem.row or 0), loaded.source)

    order = np.lexsort((rows.day, rows.code))
    observations = observations.iloc[order[sample[order]]].reset_index(drop=True)
    observations = averaged(observations).reset_index(drop=True) if replicates == "mean" else observations
    study = Study(
        observations=observations,
        doses=dosing.doses.drop(columns=["at", "position"]),
        covariates=_covariates(rows, dosing, cohort, until, others),
        unit=unit,
        dose_unit=dose_unit,
        lloq=common_limit(observations),
        source=loaded.source,
        note=loaded.note,
    )
    for doubt in [*doubts(study), *_taken_as_before(rows, study, written.zero), *unlimited]:
        warnings.warn(f"{loaded.source}: {doubt}.", StudyWarning, stacklevel=2)
    return study


def _taken_as_before(rows: SheetRows, study: Study, zero: Flags) -> list[str]:
    """What is said of samples below the limit on day 0 of a table that says nothing of an infusion: a text, or none.

    They are taken as drawn before it, as what was seen is taken as drawn after it; a column ``postdose`` says which.
    A plain 0, by `zero` (rows,), is what tables have before the infusion, and is not spoken of.
    """
    table = study.observations
    if not study.doses.empty:
        return []
    dated = any(heading(name) in INFUSION_DATES for name in rows.cells.columns)
    if dated or {"postdose", "excluded"} & rows.names.keys():
        return []
    there = table[(table["excluded"] == "pre-dose") & table["status"].isin(["below", "interval"])]
    there = there[~there["row"].isin(rows.row[zero])]
    if there.empty:
        return []
    are = "sample below the limit on day 0 is" if len(there) == 1 else "samples below the limit on day 0 are"
    first = ", ".join(map(str, there["row"].head(3)))
    return [
        f"{len(there)} {are} taken as drawn before the infusion and not used (row{'s' * (len(there) > 1)} {first}"
        f"{', ...' if len(there) > 3 else ''}), because the table says no dose: say it in a column postdose, 1 for "
        "samples after the infusion and 0 before it, or give the infusion a row"
    ]


def _samples(skipped: Texts, empty: Flags, zero: Flags, dosing: Dosing) -> Flags:
    """Which rows are samples; a NONMEM table fills the DV of a dose row, or of another event, with 0."""
    other = np.isin(skipped, ["EVID 2", "EVID 3"]) & (empty | zero)
    return ~other & ~(dosing.any & (empty | (skipped != ""))) & ~(dosing.event & zero)


def _observations(
    rows: SheetRows, output: pd.Series, measured: Measurements, excluded: Texts, others: Carried
) -> pd.DataFrame:
    """One line a row of the table, with the columns of `Study.observations`."""
    table = pd.DataFrame({"subject": rows.subject, "day": rows.day, "output": output})
    for name in ("value", "lower", "upper", "status", "lloq"):
        table[name] = getattr(measured, name)
    table = table.assign(excluded=excluded, row=rows.row)
    table = table.astype(dict.fromkeys(("subject", "output", "status", "excluded"), "str"))
    return pd.concat([table, others.varying], axis=1)


def _covariates(
    rows: SheetRows, dosing: Dosing, cohort: pd.Series, until: pd.DataFrame, others: Carried
) -> pd.DataFrame:
    """One line a subject; the dose is all that was given on the day of the first infusion."""
    first = infusions(dosing.doses, rows.subjects).sort_values("day", kind="stable")
    first = first[first["day"] == first.groupby("subject")["day"].transform("first")]
    amount = first.groupby("subject")["amount"].sum(min_count=1).reindex(rows.subjects)
    table = pd.DataFrame({"cohort": cohort, "dose": amount}).join([until, others.steady])
    return table.rename_axis("subject")


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


def _check_arguments(lloq: float | None, lod: float | None, uloq: float | None) -> list[Finding]:
    given = {"lloq": lloq, "lod": lod, "uloq": uloq}
    for name, limit in given.items():
        if limit is not None:
            domains.number(limit, name, 3)
    problems = [
        Finding(None, None, None, f"{name}={limit!r} was given", "A limit is a finite number above 0.")
        for name, limit in given.items()
        if limit is not None and not 0 < limit < np.inf
    ]
    for low, high in (("lod", "lloq"), ("lloq", "uloq"), ("lod", "uloq")):
        lower, upper = given[low], given[high]
        if lower is not None and upper is not None and lower > upper:
            found = f"{low}={lower!r} is above {high}={upper!r}"
            problems.append(Finding(None, None, None, found, "Correct one of them."))
    return problems


def _events(rows: SheetRows) -> tuple[Floats, Texts]:
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
    stated = ~rows.text("excluded").str.casefold().isin([*YES, *NO]).to_numpy()
    hidden = (rows.choice("mdv", (0, 1)) == 1) & ~stated
    return evid, np.select([evid == 2, evid == 3, hidden], ["EVID 2", "EVID 3", "MDV 1"], "").astype(object)


def _exclusions(rows: SheetRows, doses: pd.DataFrame, empty: Flags, seen: Flags) -> Texts:
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
        ~mark.isin([*YES, *NO]).to_numpy(),
        lambda at: f"{rows.names['postdose']} is {text[at]!r}",
        "It is 1 for a sample after the infusion, else 0 or empty.",
    )
    follows = (np.arange(len(own)) > position) | mark.isin(YES).to_numpy()
    dated = any(heading(name) in INFUSION_DATES for name in rows.cells.columns)
    if doses.empty and "postdose" not in rows.names and not dated:
        # Of a table that says nothing of the infusion, cells that were seen on day 0 had been infused.
        follows |= seen
    stated = rows.text("excluded")
    ours = stated.str.startswith("after_day_") | stated.isin(_OURS)
    stated = stated.mask(ours, stated.str.replace("_", " "))
    low = stated.str.casefold()
    stated = stated.mask(low.isin(NO), "").mask(low.isin(YES), "excluded in the file").to_numpy(dtype=object)
    return np.select(
        [stated != "", empty, rows.day < first, ~np.isnan(position) & ~follows],
        [stated, "no value", "before the first infusion", "pre-dose"],
        "",
    ).astype(object)


def _cut(rows: SheetRows, excluded: Texts) -> tuple[Texts, pd.DataFrame]:
    """Exclude the rows after the end of a subject's follow-up; the ends, one row a subject."""
    until = pd.DataFrame({"until": rows.constant("until", True), "until_reason": rows.constant("until_reason")})
    until["until_reason"] = until["until_reason"].fillna("")
    day, why = (until[name].to_numpy()[rows.code] for name in until)
    late = (excluded == "") & (rows.day > day)
    excluded = excluded.copy()
    excluded[late] = [cut_reason(*end) for end in zip(day[late], why[late], strict=True)]
    return excluded, until


def _unit(rows: SheetRows, output: pd.Series, sample: Flags, unit: str) -> tuple[str, bool]:
    """The unit of the study, that of its first output by name, and whether outputs differ in it."""
    said = pd.DataFrame({"output": output, "unit": rows.text("unit")})[sample]
    said = said[said["unit"] != ""].drop_duplicates().sort_values("output")
    units = said["unit"].unique().tolist()
    _report_partly(rows, output, sample, unit)
    logs = [each for each in (units or [unit]) if is_log(each)]
    if logs:
        rows.problems.append(Finding(None, None, None, f"the unit {logs[0]} is a logarithm", UNTRANSFORMED))
    for odd in (each for each in (units or [unit]) if strange(each)):
        found, remedy = (
            f"the unit {odd} has a factor, or a word that is not known",
            "Give the values multiplied by it, ",
        )
        rows.problems.append(Finding(None, None, None, found, f"{remedy}in a unit without it, such as {UNIT}."))
    for name in pd.unique(output[sample]):
        own = said["unit"][said["output"] == name].tolist() or [unit]
        others = [other_unit_said(name, each) for each in own]
        if all(others):
            rows.problems.append(_of_another_unit(rows, name, others[0], own[0]))
    if said.empty:
        return unit, False
    if said["output"].duplicated().any() or (unit != UNIT and unit not in units):
        found = f"the column {rows.names['unit']} says {', '.join(units)}" + f" and unit={unit!r}" * (unit != UNIT)
        rows.problems.append(Finding(None, None, None, found, "Values of one output have one unit."))
    return units[0], len(units) > 1


def _report_partly(rows: SheetRows, output: pd.Series, sample: Flags, unit: str) -> None:
    """Report values that say no unit beside others of their output that say another one than that of the study."""
    if "unit" not in rows.names:
        return
    text = rows.text("unit")
    measured = sample & (rows.text("value") != "").to_numpy()
    for name in pd.unique(output[measured & (text != "")]):
        own = measured & (output == name).to_numpy()
        units = [each for each in pd.unique(text[own]) if each not in ("", unit)]
        bare = int((text[own] == "").sum())
        if units and bare:
            found = f"the column {rows.names['unit']} says {', '.join(units)} of some values and nothing of {bare}"
            remedy = f"Say the unit of each value; where all are in {units[0]}, write it on all rows."
            rows.problems.append(Finding(None, None, None, found, remedy))


def _of_another_unit(rows: SheetRows, name: str, said: str, unit: str) -> Finding:
    """The problem of an output whose name says another unit than that of its values."""
    column = rows.names.get("output_name", rows.names.get("output"))
    found = f"the column {column} says {name!r} of values that are read in {unit}"
    if said == "logarithms":
        return Finding(None, None, None, found, UNTRANSFORMED)
    remedy = "Say the unit of each row in a column unit, or read the rows of each measurement as a study of its own, "
    return Finding(None, None, None, found, f"{remedy}read_study(..., unit=...).")
