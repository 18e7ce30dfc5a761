"""From a file or a DataFrame to a `Study`; everything that is wrong with it is said at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellkinetics.columns import RESERVED, Rows, load, plain, resolve
from cellkinetics.errors import Problem, StudyError
from cellkinetics.notation import (
    Flags,
    Floats,
    Limits,
    Measurements,
    Texts,
    marks,
    number_text,
    numbers,
    place,
)
from cellkinetics.preparing import Limit, averaged, checked, dated, limit_of_rows, with_limits_of_wells
from cellkinetics.study import DOSE_UNIT, UNIT, Study, common_limit, cut_reason, infusions

Ints = npt.NDArray[np.intp]

_YES, _NO = ["1", "yes", "y", "true", "x"], ["", "0", "no", "n", "false"]
# Monolix numbers its administrations; the first is that of the cells.
_CELLS = ["", "0", "1", "cell", "cells"]
_LEADING_ZERO = re.compile(r"[+-]?0\d.*")


def read_study(
    table: str | os.PathLike[str] | pd.DataFrame,
    *,
    lloq: Limit = None,
    lod: Limit = None,
    uloq: Limit = None,
    unit: str = UNIT,
    dose_unit: str = DOSE_UNIT,
    columns: Mapping[str, str] | None = None,
    lloq_copies_per_well: float | None = None,
    replicates: str = "each",
) -> Study:
    """Read the samples, doses and covariates of a study.

    Parameters
    ----------
    table : path or DataFrame
        One row a sample or a dose, times in days. Cells are separated by comma, semicolon or tab; with
        semicolons, decimal commas are read. Lines that begin with ``#`` above the header are kept as the note.
        The columns go by many names (``cellkinetics.columns.SYNONYMS``), in any case: ID, TIME, DV, AMT, EVID,
        CENS, LIMIT, ADM, COHORT or subject, day, copies_per_ug, lloq, lod, dose, cohort. Required are the
        subject, the day and the value. Other columns are carried along. In place of days, ISO dates are read,
        with the date of the infusion in a column ``infusion_date`` or on the row of the dose.
    lloq, lod, uloq : float or mapping, optional
        Lower limit of quantification, limit of detection and upper limit of quantification, in `unit`. A
        column of that name wins, row by row. A value under the limit (0 included) is censored and its number
        is not used; with a lod under the lloq it lies under the lod or between the two. A mapping gives the
        limit of each output, ``{"1": 3, "2": 0.5}``.
    unit : str
        Of the values. A column ``unit`` wins over the default.
    dose_unit : str
        Of the infused cells. A column ``dose_unit`` wins over the default. Other drugs have the unit that
        their row says, or "".
    columns : mapping, optional
        ``{ours: theirs}``, such as ``{"day": "T"}``, for a name that is not known or several of one meaning.

    lloq_copies_per_well : float, optional
        Lower limit in copies per well, for rows with the mass of DNA in the well (``dna_ug`` or ``dna_ng``) and no
        limit of their own. A column of that name wins.
    replicates : "each" or "mean"
        Whether each well is a sample, or the wells of one sample are averaged on the log scale. Of a censored
        well only the two ends are known, and the mean then lies between the means of the ends: of 5 and below 3
        it is below 3.87.

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
    of its row. A dose of 0 is none. A subject without a dose is taken as infused on day 0. Rows with EVID 2
    or EVID 3 are no samples, nor are those with MDV 1, unless a column ``excluded`` says why.

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
    sheet = with_limits_of_wells(dated(checked(load(table, columns)), columns), lloq_copies_per_well)
    names, problems = resolve(list(sheet.cells.columns), columns)
    given = (lloq, lod, uloq)
    for key in {str(key) for limit in given if isinstance(limit, Mapping) for key in limit} or {""}:
        problems = [*_check_arguments(*(_of_output(limit, key) for limit in given)), *problems]
    if problems:
        raise StudyError([*sheet.problems, *problems], sheet.source)
    problems = list(sheet.problems)
    rows = Rows(sheet, names, problems)

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
    measured, zero = _measure(rows, limits, skipped)
    empty = measured.status == "missing"
    dosing = _doses(rows, evid, empty)
    # A NONMEM table fills the DV of a dose row with 0.
    sample = ~skipped & ~(dosing.any & empty) & ~(dosing.event & zero)
    excluded = _exclusions(rows, dosing.doses, empty)
    _report_faults(rows, measured, sample, excluded == "")
    excluded, until = _cut(rows, excluded)
    cohort = rows.constant("cohort")

    unit, units_differ = _unit(rows, output, sample, unit)
    dose_unit = _dose_unit(rows, dosing, dose_unit)
    observations = pd.DataFrame({"subject": rows.subject, "day": rows.day, "output": output})
    for name in ("value", "lower", "upper", "status", "lloq"):
        observations[name] = getattr(measured, name)
    observations = observations.assign(excluded=excluded, row=rows.row)
    observations = observations.astype(dict.fromkeys(("subject", "output", "status", "excluded"), "str"))
    varying, steady = _carried(rows, sample, dosing.spare, units_differ)
    observations = pd.concat([observations, varying], axis=1)
    _report_repeats(rows, observations, sample & ~empty, dosing)
    if problems:
        raise StudyError(sorted(problems, key=lambda problem: problem.row or 0), sheet.source)

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
        source=sheet.source,
        note=sheet.note,
    )


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


def _events(rows: Rows) -> tuple[Floats, Flags]:
    """EVID, and the rows that are no samples whatever stands in them."""
    evid = rows.choice("evid", (0, 1, 2, 3, 4))
    # A sample that is excluded for a stated reason is one, whatever MDV tells other programs.
    reason = ~rows.text("excluded").str.casefold().isin([*_YES, *_NO]).to_numpy()
    return evid, np.isin(evid, (2, 3)) | ((rows.choice("mdv", (0, 1)) == 1) & ~reason)


def _measure(rows: Rows, limits: Limits, skipped: Flags) -> tuple[Measurements, Flags]:
    """The measurement of each row, and where it is the number 0."""
    name, text = rows.names["value"], rows.text("value").mask(skipped, "").to_numpy(dtype=object)
    mark, number = marks(text, rows.decimal)
    remedy = f"Write a number{rows.comma}, <3, >1e6, BLQ or ND, or leave the cell empty."
    rows.report(mark == "unreadable", lambda at: f"{name} is {text[at]!r}, which is not a number", remedy)
    remedy = "Give the values untransformed; 0, BLQ or <3 where nothing was measured."
    rows.report((mark == "number") & (number < 0), lambda at: f"{name} is {text[at]}, which is negative", remedy)
    rows.report(np.isposinf(number), lambda at: f"{name} is {text[at]}", "Write >1e6 for a value above the range.")
    cens = np.where(skipped, np.nan, rows.choice("cens", (-1, 0, 1)))
    return place(mark, number, cens, rows.number("limit", 0), limits), (mark == "number") & (number == 0)


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


@dataclass(frozen=True)
class _Dosing:
    """The doses, with `at`, the row they were read from, and `position`, infinite if no row can follow them.

    (n,) flags: `event`, AMT or EVID says dose; `any`, the row is a dose; `other`, one that is not cells;
    `spare`, a cell of the column dose that is no dose because the subject has AMT.
    """

    doses: pd.DataFrame
    event: Flags
    any: Flags
    other: Flags
    spare: Flags


def _doses(rows: Rows, evid: Floats, empty: Flags) -> _Dosing:
    amount, dose = rows.number("amount", 0), rows.number("dose", 0)
    amount[amount == 0], dose[dose == 0] = np.nan, np.nan
    kind = rows.text("kind_name").mask(rows.text("kind_name") == "", rows.text("kind"))
    kind = kind.mask(kind.str.casefold().isin(_CELLS), "cells").to_numpy(dtype=object)
    says_dose = np.isin(evid, (1, 4))
    event = (~np.isnan(amount) & (says_dose | np.isnan(evid))) | (says_dose & ~np.isnan(dose))
    column = rows.names.get("evid")
    rows.report(
        says_dose & ~event & ~rows.reported,
        lambda at: f"{column} is {evid[at]:g} and no amount is given",
        "Give the amount, or evid 0 for a sample.",
    )
    rows.report(
        ~np.isnan(amount) & ~says_dose & ~np.isnan(evid),
        lambda at: f"{column} is {evid[at]:g} and {rows.names['amount']} is {number_text(amount[at])}",
        "A dose has evid 1; a sample has no amount.",
    )
    more = rows.number("addl", 0)
    rows.report(more > 0, lambda at: f"{rows.names['addl']} is {more[at]:g}", "Give each dose a row of its own.")

    def each(where: Flags) -> Ints:
        return np.bincount(rows.code[where], minlength=len(rows.subjects))

    eventful = each(event & (kind == "cells")) > 0
    filled = ~event & ~np.isnan(dose)
    by_subject = pd.Series(np.where(filled, dose, np.nan)).groupby(rows.code)
    same = (by_subject.min() == by_subject.max()).to_numpy()
    every = each(filled) == each(~event)
    # A subject without any value may have rows of doses only, or missing samples: it is read like the others.
    doses_have_rows = ((each(filled) > 0) & ~every).any()
    constant = ~eventful & same & every & ((each(~event & ~empty) > 0) | ~doses_have_rows)
    infused = filled & ~(eventful | constant)[rows.code]
    repeating = np.flatnonzero(filled & constant[rows.code])
    _, first = np.unique(rows.code[repeating], return_index=True)
    given = event | infused
    at = np.concatenate([np.flatnonzero(given), repeating[first]])
    once = given[at]
    doses = pd.DataFrame(
        {
            "subject": pd.Series(rows.subject[at], dtype="str"),
            "day": np.where(once, rows.day[at], 0.0),
            "amount": np.where(event & ~np.isnan(amount), amount, dose)[at],
            "kind": pd.Series(np.where(once, kind[at], "cells"), dtype="str"),
            "unit": rows.text("dose_unit").iloc[at].to_numpy(),
            "row": rows.row[at],
            "at": at,
            "position": np.where(once, at, np.inf),
        }
    )
    doses = doses.iloc[np.lexsort((at, doses["day"], rows.code[at]))].reset_index(drop=True)
    return _Dosing(doses, event, given, given & (kind != "cells"), filled & eventful[rows.code])


def _exclusions(rows: Rows, doses: pd.DataFrame, empty: Flags) -> Texts:
    """Why each row is not used, but for the end of the follow-up; "" when it is."""
    given = infusions(doses, rows.subjects)
    given["position"] = doses["position"].reindex(given.index).where(given["amount"].notna(), np.inf)
    own = pd.DataFrame({"subject": rows.subject, "day": rows.day}).astype({"subject": "str"})
    first = own["subject"].map(given.groupby("subject")["day"].min()).to_numpy()
    last = given.groupby(["subject", "day"], as_index=False)["position"].max()
    position = own.merge(last, how="left", on=["subject", "day"])["position"].to_numpy(dtype=float)
    mark = rows.text("postdose").str.casefold()
    text = rows.text("postdose").to_numpy(dtype=object)
    rows.report(
        ~mark.isin([*_YES, *_NO]).to_numpy(),
        lambda at: f"{rows.names['postdose']} is {text[at]!r}",
        "It is 1 for a sample after the infusion, else 0 or empty.",
    )
    follows = (np.arange(len(own)) > position) | mark.isin(_YES).to_numpy()
    stated = rows.text("excluded")
    ours = stated.str.startswith("after_day_") | stated.isin(["before_the_first_infusion", "no_value"])
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


def _dose_unit(rows: Rows, dosing: _Dosing, dose_unit: str) -> str:
    """The unit of the cells; it is put on their doses."""
    said = rows.text("dose_unit")[~dosing.other]
    units = said[said != ""].unique().tolist()
    if len(units) > 1 or (units and dose_unit not in (DOSE_UNIT, units[0])):
        found = f"the column {rows.names['dose_unit']} says {', '.join(units)}" + f" and dose_unit={dose_unit!r}"
        rows.problems.append(Problem(None, None, None, found, "The cells of a study have one unit."))
    unit = units[0] if units else dose_unit
    dosing.doses["unit"] = dosing.doses["unit"].mask(dosing.doses["kind"] == "cells", unit).astype("str")
    return unit


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
    samples = np.bincount(rows.code[sample], minlength=len(rows.subjects))
    for name, text in texts.items():
        filled = (text != "").to_numpy()
        pairs = pd.DataFrame({"code": rows.code[filled], "text": text[filled]}).drop_duplicates()
        on_samples = np.bincount(rows.code[filled & sample], minlength=len(rows.subjects))
        if pairs["code"].is_unique and np.isin(on_samples - samples * (on_samples > 0), 0).all():
            each = pairs.set_index("code")["text"].reindex(range(len(rows.subjects)), fill_value="")
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
    values, unreadable = numbers(text.to_numpy(dtype=object), decimal)
    code = text.str.fullmatch(_LEADING_ZERO)
    if unreadable.any() or np.isinf(values).any() or np.isnan(values).all() or code.any():
        return text.replace("", np.nan)
    return pd.Series(values, index=text.index)


def _report_repeats(rows: Rows, observations: pd.DataFrame, where: Flags, dosing: _Dosing) -> None:
    """Say which samples and doses stand there twice, with nothing that tells them apart."""
    said = observations.drop(columns=["row", "excluded"]).assign(said=rows.text("value"))
    number, _ = numbers(said["said"].to_numpy(dtype=object), rows.decimal)
    said["said"] = said["said"].mask(~np.isnan(number), "")
    said["number"] = number
    remedy = "Remove it, or tell replicates apart by a column such as well."
    _report_same(rows, said[where], remedy)
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
