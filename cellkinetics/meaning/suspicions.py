"""Columns that nothing reads: whether one looks as if it changed what a value means, by its cells and its heading."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from cellkinetics.errors import Finding
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import of_doses, of_samples, vocabulary
from cellkinetics.meaning.cells import NO, VAGUE, YES, mark_of, number_of
from cellkinetics.meaning.comments import in_comment
from cellkinetics.meaning.lowest import FEWEST_MARKED, at_the_floor, flagged, on_empty, on_the_lowest
from cellkinetics.meaning.of_values import cycles, scales, value_units
from cellkinetics.meaning.suspects import KINDS, LOOKED_AT, Likeness, Suspect, Values, shown, use, use_unit, varies
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import (
    canonical,
    is_log,
    other_unit_said,
    time_unit_of,
    unit_of_heading,
    unit_of_limit,
    words_of,
)
from cellkinetics.meaning.vocabulary import below_in_words, folded
from cellkinetics.words import number_text


def suspicion(column: Suspect, rows: Values) -> Finding | None:
    """What a column that nothing reads looks like, when that would change the meaning of a value; else None.

    The first rule that holds is named, with what to do: ``columns=`` to use the column, ``ignore=`` to say that it is
    nothing. The limits, units and results of another laboratory value are its own.
    """
    another = vocabulary.of_another(column.name, column.words)
    for rule in (cycles,) if another else _RULES:
        found = rule(column, rows)
        if found is not None:
            what, remedy = found
            nothing = f"read_study(..., ignore=[{column.name!r}]) when it says nothing about the values."
            text = f"the column {column.name} is not read and {what}"
            # A remedy that is a whole sentence is the only one: what it says is not nothing.
            if remedy.endswith("."):
                return Finding(None, None, None, text, remedy)
            return Finding(None, None, None, text, f"{remedy} {nothing}".lstrip())
    return None


def _qualifiers(column: Suspect, rows: Values) -> Likeness | None:
    texts = column.texts
    if texts and set(texts) <= vocabulary.QUALIFIERS and set(texts) - {"=", "eq"}:
        return f"looks like the sign of a limit ({shown(texts)})", use("qualifier", column)
    return None


def _marks(column: Suspect, rows: Values) -> Likeness | None:
    """Cells such as BLQ or <3; a laboratory value with limits of its own, such as CRP <5, is none of ours."""
    marked = [mark_of(text, rows.decimal)[0] for text in column.texts]
    sure = [
        at
        for at, mark in zip(column.looked, marked, strict=True)
        if mark in vocabulary.CENSORED and not _vague(column, at)
    ]
    vague = [at for at in column.looked if _vague(column, at)]
    numbers = [at for at, mark in zip(column.looked, marked, strict=True) if mark == "number"]
    if not sure and not vague:
        return None
    if numbers:
        agree, of = _agreement(column, rows, numbers)
        if agree < 0.5 * of:
            return None
        return f"has the result as text ({shown([str(column.cells[at]) for at in sure or vague])})", use(
            "result", column
        )
    said = shown([str(column.cells[at]) for at in sure or vague])
    if not sure and not on_the_lowest(column, rows, vague):
        return None
    if not sure:
        return f"says {said} where the values are lowest or empty", use("result", column)
    if not varies(column, rows):
        return None
    above = any(mark in ("above", "alq") for mark in marked)
    return f"says of values that they are censored ({said})", use(
        "result" if above or _named(column, sure) else "blq", column
    )


def _vague(column: Suspect, at: int) -> bool:
    text = str(column.cells[at])
    return re.sub(r"[\s_]", "", text).casefold() in VAGUE or below_in_words(text) == "unseen"


def _named(column: Suspect, cells: list[int]) -> bool:
    return any(re.search(r"\d", str(column.cells[at])) for at in cells)


def _agreement(column: Suspect, rows: Values, numbers: list[int]) -> tuple[int, int]:
    """How many rows have the number of the cell as their value, of how many that have both."""
    number = np.full(len(column.cells), np.nan)
    for at in numbers:
        read = number_of(str(column.cells[at]), rows.decimal)
        number[at] = np.nan if read is None else read
    said = number[column.code]
    both = column.sample & ~np.isnan(said) & ~np.isnan(rows.value)
    return int(np.isclose(said[both], rows.value[both], rtol=0.02).sum()), int(both.sum())


def _comments(column: Suspect, rows: Values) -> Likeness | None:
    cells = [str(column.cells[at]) for at in column.looked]
    # A specimen that one comment names, where the other rows say nothing; "whole blood" is what is measured anyway.
    specimens = [cell for cell in cells if _specimen(folded(cell)) not in ("", "blood", "pbmc", "dna")]
    if specimens and varies(column, rows):
        remedy = "Say it in a column output (blood, marrow), or"
        return f"says of values that they are of another specimen ({shown(specimens)})", remedy
    found = [cell for cell in cells if in_comment(folded(cell))]
    if found:
        remedy = "Write into the rows what it says (<3 or BLQ as the value; a column excluded with the reason), or"
        return f"says of values that they are censored or not valid ({found[0]!r})", remedy
    return None


def _limits(column: Suspect, rows: Values) -> Likeness | None:
    words = column.words
    named = words & vocabulary.LIMIT_WORDS or any(word[-4:] in ("lloq", "uloq") for word in words)
    like = words & vocabulary.LIMIT_LIKE and not set(words_of(column.name)) - vocabulary.LIMIT_LIKE - (
        vocabulary.BESIDE_LIMITS | vocabulary.OF_LIMITS | vocabulary.LIMIT_WORDS
    )
    few = len(column.looked) <= max(6, column.sample.sum() // 4)
    phrase = few and vocabulary.LIMIT_PHRASES.search(re.sub(r"[^a-z0-9]+", "_", folded(plain(column.name)))) is not None
    if (
        not named
        and not (like and few)
        and not phrase
        and not ({"limit", "limits"} & words and words & vocabulary.OF_LIMITS)
    ):
        return None
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    # A flag of 0 and 1 is no limit; a column of 1 throughout is one.
    real = [number for number in numbers if number is not None]
    if not real or len(real) < len(numbers) or min(real) <= 0:
        return None
    upper = words & vocabulary.UPPER or any(word.endswith("uloq") for word in words)
    lod = words & vocabulary.DETECTING
    other = unit_of_limit(column.name, rows.unit)
    if other:
        return f"looks like a limit in {other}", f"Give it in {rows.unit}, or"
    return "looks like a limit", use("uloq" if upper else "lod" if lod else "lloq", column)


def _written_limits(column: Suspect, rows: Values) -> Likeness | None:
    """A number that stands on several of the lowest values, or is twice as much: a limit that was put there."""
    numbers = [number_of(text, rows.decimal) for text in column.texts]
    if not numbers or len(numbers) > KINDS or any(number is None or not 0 < number < np.inf for number in numbers):
        return None
    limit = np.full(len(column.cells), np.nan)
    limit[column.looked] = np.array(numbers, dtype=float)
    there = column.sample & (rows.value > 0) & ~np.isnan(limit[column.code])
    value, said = rows.value[there], limit[column.code][there]
    for share in (1.0, 0.5):
        on = np.isclose(value, said * share, rtol=1e-6, atol=0)
        # A count, as of wells or cycles, is a small whole number too, on which a rounded value may lie.
        counts = bool((said[on] % 1 == 0).all() and (said[on] < 10).all()) and len(np.unique(said[on])) < 2
        if on.sum() >= FEWEST_MARKED and not counts and (value >= said * share * (1 - 1e-6)).all() and not on.all():
            what = f"{'the value' if share == 1 else 'twice the value'} of {int(on.sum())} of the lowest samples"
            remedy = use("lloq", column)
            if len(np.unique(value[on])) == 1:
                asked = f"columns={{'lloq': {column.name!r}}}, floor={number_text(value[on][0])}"
                remedy = f"read_study(..., {asked}) when the number stands for what is below it, or"
            return f"looks like a limit ({what}: {number_text(said[on][0])})", remedy
    return None


def _units(column: Suspect, rows: Values) -> Likeness | None:
    words = column.words
    about = any(
        word in ("unit", "units") or word.endswith(("unit", "units")) for word in words
    ) or column.name.endswith("U")
    units = {canonical(str(column.cells[at])) for at in column.looked}
    # What is per kg, and the unit of a dose, is none of a value.
    if of_doses.about_units(words) and of_doses.about_doses({*words, *words_of(column.name)}):
        return None
    ours = {unit for unit in units if (is_log(unit) and (about or "cop" in unit)) or unit_of_heading(unit)}
    if ours and ours != {rows.unit} and len(ours) == len(units):
        return f"looks like a unit of the values ({shown(sorted(ours))})", use_unit(column)
    texts = column.texts
    about = about or bool(words & vocabulary.OF_TIMES)
    times = {time_unit_of(text) for text in texts}
    # One letter, as W for women, says a unit under a heading that speaks of units or of time only.
    worded = about or all(len(text) > 1 for text in texts)
    if (
        worded
        and times
        and "" not in times
        and times != {"day"}
        and times != {rows.time_unit}
        and rows.time_unit != "day"
    ):
        unit = next(iter(times)) if len(times) == 1 else ""
        taken = unit in ("hour", "week", "month") and rows.time_unit is None
        remedy = f"read_study(..., time_unit={unit!r}) when the times are in it, or" if taken else ""
        if taken and rows.says_days:
            remedy = f"Call the column of the times TIME and give read_study(..., time_unit={unit!r}), or"
        said = shown([str(column.cells[at]) for at in column.looked])
        return f"looks like a unit of the times ({said})", remedy or "Give the times in days, or"
    return None


def _flags(column: Suspect, rows: Values) -> Likeness | None:
    """A flag of few codes whose heading speaks of limits, and that changes within a subject or says nothing else."""
    words, texts = column.words, set(column.texts)
    named = words & vocabulary.FLAG_WORDS
    named |= words & vocabulary.OF_FLAGS if words & vocabulary.UNDER_WORDS else set()
    if not named or column.of_a_number or not texts or len(texts) > 4 or len(column.levels) < 2:
        return None
    small = {*YES, *NO, "-1", "2", "3", "below", "above", "left", "right"}
    if not texts <= small | vocabulary.POSITIVE | vocabulary.NEGATIVE | vocabulary.FLAG_SEEN | vocabulary.FLAG_UNSEEN:
        return None
    alone = (
        not set(words_of(column.name))
        - vocabulary.FLAG_WORDS
        - vocabulary.OF_FLAGS
        - vocabulary.UNDER_WORDS
        - (vocabulary.OF_ROWS | vocabulary.CODES | vocabulary.BESIDE_FLAGS)
    )
    if not alone and (named <= {"below"} or not varies(column, rows)):
        return None
    if words & vocabulary.UPPER_FLAGS:
        remedy = "Write > and the upper limit as the values that it marks, or"
    elif words & vocabulary.SEEN_WORDS or texts - {*YES, *NO} or _inverted(column, rows):
        remedy = "Say it in a column blq, 1 for below the limit and 0 elsewhere, or"
    else:
        remedy = use("blq", column)
    return f"looks like a mark of censored values ({shown(column.texts)})", remedy


def _inverted(column: Suspect, rows: Values) -> bool:
    """Whether yes means measured, as of "over LLOQ": its heading says so, or no stands on the lowest values."""
    if column.words & vocabulary.OVER_WORDS:
        return True
    no = [at for at in column.looked if str(column.cells[at]).casefold() in NO]
    return on_the_lowest(column, rows, no)


def _exclusions(column: Suspect, rows: Values) -> Likeness | None:
    """Yes and no of a heading that speaks of leaving out or using; or cells that do."""
    words_of_heading = set(words_of(column.name))
    texts, words = {folded(text) for text in column.texts}, words_of_heading | column.words
    beside = words_of_heading - vocabulary.OF_ROWS - vocabulary.OUT - vocabulary.IN
    beside -= {word for word in beside if vocabulary.USED_FLAGS.fullmatch(word)}
    out = [text for text in column.texts if folded(text) in vocabulary.OUT_CELLS]
    if words & (vocabulary.CODES - {"type", "note", "remark"}):
        out += [text for text in column.texts if folded(text) in vocabulary.REPEAT_CELLS]
    # Poor is a sample, and a venous access too.
    if not words_of_heading - vocabulary.OF_ROWS - vocabulary.OUT - vocabulary.IN - vocabulary.CODES:
        out += [text for text in column.texts if folded(text) in vocabulary.LOOSE_OUT_CELLS]
    changes = varies(column, rows)
    letters = {text for text in texts if any(map(str.isalpha, text))}
    if plain(column.name) == "c" and letters == {"c"} and len(column.levels) > 1:
        return "looks like NONMEM's mark of rows that are not to be used", use("excluded", column)
    if out and not words & vocabulary.HARMLESS and (changes or not beside):
        remedy = "Say it in a column excluded, with the reason or 1, or"
        return f"says of values that they are not to be used ({shown(out)})", remedy
    yes, no = {folded(each) for each in YES}, {folded(each) for each in NO}
    if texts == {"1", "2"} and words & vocabulary.REPLICATES:
        return None
    if texts == {"1", "2"}:
        # Yes and no as SAS and SPSS code them.
        no = no | {"2"}
    if texts <= {"t", "f"}:
        yes, no = yes | {"t"}, no | {"f"}
    if not texts or not texts <= yes | no or (beside and not changes):
        return None
    if words & vocabulary.HARMLESS and not (words & vocabulary.OUT) - vocabulary.LOOSE_WORDS:
        return None

    def named(some: frozenset[str]) -> bool:
        found = words & some - (frozenset() if changes else vocabulary.OF_A_SAMPLE)
        if some is vocabulary.IN and changes:
            found |= {word for word in words if vocabulary.USED_FLAGS.fullmatch(word)}
            found |= {"in"} if "in" in words and words & {"analysis", "set", "population", "fit", "model"} else set()
        return bool(found - vocabulary.LOOSE_WORDS) or (bool(found) and not beside)

    negated = words & {"not", "nicht", "non", "no", "ne", "pas", "dont"} and named(vocabulary.IN)
    left_out = "out" in words and words & {"leave", "left", "take", "taken"} and changes
    if (named(vocabulary.OUT) or negated or left_out) and texts & yes:
        # Of a column excluded any text but yes and no is a reason.
        remedy = use("excluded", column)
        if not set(column.texts) <= {*YES, *NO}:
            remedy = "Say it in a column excluded, with the reason or 1, or"
        return "looks like a mark of rows that are not to be used", remedy
    empty = any(column.cells[at] == "" for at in column.levels)
    if named(vocabulary.IN) and not negated and not words & vocabulary.OUT and (texts & no or (empty and texts & yes)):
        remedy = "Leave out the rows that it does not mark (a column excluded with 1), or"
        return "looks like a mark of rows that are to be used", remedy
    return None


def _endpoints(column: Suspect, rows: Values) -> Likeness | None:
    """Kinds of measurement: by heading, by words for specimens and analytes, or because they share days."""
    levels = [at for at in column.levels if column.cells[at] != ""]
    if not 2 <= len(levels) <= LOOKED_AT:
        return None
    texts = [folded(str(column.cells[at])) for at in levels]
    specimens = [_specimen(text) for text in texts]
    of_specimens = all(specimens) and len(set(specimens)) > 1
    if len(levels) > KINDS and not of_specimens:
        return None
    words = set(words_of(column.name))
    named = bool(words & vocabulary.ENDPOINTS) and not words - vocabulary.ENDPOINTS - vocabulary.OF_ENDPOINTS
    named |= plain(column.name).replace("_", "") in vocabulary.ENDPOINTS
    analytes = all(vocabulary.ANALYTES.search(text) for text in texts)
    within = varies(column, rows)
    # Nearly one level a row names rows, and two readers or two runs are one measurement twice.
    many = len(levels) * 2 > int((column.sample & (column.cells[column.code] != "")).sum())
    paired = (
        not words & vocabulary.REPLICATES
        and not many
        and not all(vocabulary.REPLICATE_CELLS.fullmatch(text) for text in texts)
        and all(re.search(r"[a-z]{2}", text) for text in texts)
        and _shares_days(column, rows)
    )
    if not (of_specimens or (within and (named or analytes or paired))):
        return None
    if _follows_output(column, rows):
        return None
    said = shown([str(column.cells[at]) for at in levels])
    if of_specimens and len(set(specimens)) < len(levels):
        named_alike = ", ".join(sorted(set(specimens)))
        return f"tells measurements apart ({said})", f"Say which is which in a column output ({named_alike}), or"
    if len(np.unique(rows.output[column.sample])) > 1:
        return (
            f"tells measurements of one output apart ({said})",
            "Give each its own name in the column of outputs, or",
        )
    remedy = use("output", column)
    if any(other_unit_said(text, rows.unit) for text in texts):
        remedy = f"Say the unit of each in a column unit, and {remedy}"
    return f"tells measurements apart ({said})", remedy


def _specimen(text: str) -> str:
    """Which specimen a cell names; "" for another text, such as "blood type A"."""
    words = re.findall(r"[a-z]+", text)
    found = [vocabulary.SPECIMENS[word] for word in words if word in vocabulary.SPECIMENS]
    beside = {word for word in words if word not in vocabulary.BESIDE_SPECIMENS and not time_unit_of(word)}
    return found[-1] if found and not beside - {*vocabulary.SPECIMENS} else ""


def _shares_days(column: Suspect, rows: Values) -> bool:
    """Whether most days of a subject have several rows, all different in this column, in turn of all its levels."""
    filled = column.sample & (column.cells[column.code] != "")
    table = pd.DataFrame({"subject": rows.subject[filled], "day": rows.day[filled], "code": column.code[filled]})
    table["output"] = rows.output[filled]
    groups = table.groupby(["subject", "day", "output"])["code"]
    size, different = groups.size(), groups.nunique()
    several = size > 1
    return bool(several.sum() >= 2 and (size[several] == different[several]).all() and several.mean() > 0.3)


def _follows_output(column: Suspect, rows: Values) -> bool:
    """Whether it says no more than the column of outputs does."""
    each = pd.Series(column.code[column.sample]).groupby(rows.output[column.sample])
    return bool((each.min() == each.max()).all())


_RULES: tuple[Callable[[Suspect, Values], Likeness | None], ...] = (
    _qualifiers,
    _marks,
    _limits,
    _written_limits,
    value_units,
    of_doses.amounts,
    _units,
    scales,
    _flags,
    _exclusions,
    of_doses.drugs,
    of_doses.durations,
    of_doses.splits,
    of_doses.shares,
    of_doses.repeats,
    of_samples.controls,
    of_samples.dilutions,
    of_samples.hits,
    of_samples.derived,
    of_samples.spoilt,
    _endpoints,
    _comments,
    on_empty,
    at_the_floor,
    flagged,
)
