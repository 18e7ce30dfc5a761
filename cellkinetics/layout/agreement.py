"""Columns of one table that contradict each other: a day beside its date, or beside the visit that its row names."""

from __future__ import annotations

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.layout import visits
from cellkinetics.layout.dates import DATES, INFUSION_DATES, heading, seconds_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.floors import LEAST_CODE, is_code
from cellkinetics.meaning.synonyms import plain
from cellkinetics.meaning.units import DAYS_IN
from cellkinetics.words import count, number_text

VISITS = (
    "visit",
    "visit_name",
    "visitname",
    "avisit",
    "timepoint",
    "time_point",
    "pctpt",
    "cptpt",
    "atpt",
    "visit_day",
)
# Days that a date may differ from the day beside it: hours of a draw, and study days that begin with day 1.
DATES_APART = 1.5
# A sample may be this far from its visit, in days and as a share of it, before anything is said.
VISIT_APART, SHARE_APART = 7.0, 0.25
# A day, dose or limit of 999 stands for nothing where the others are so many times smaller or larger.
DAY_APART, DOSE_APART, LIMIT_APART = 1.5, 100.0, 10.0
# Samples in each of two blocks of rows before anything is said of days that go back between them.
FEWEST_IN_RUN = 3


def contradictions(observations: pd.DataFrame, covariates: pd.DataFrame, doses: pd.DataFrame) -> list[str]:
    """What does not agree with the days of a study, and days, doses and limits that look like codes; a text each.

    Parameters
    ----------
    observations, covariates, doses : DataFrame
        As a `Study` has them; the columns of the file that nothing reads are among those of the first two.
    """
    used = (observations["excluded"] == "").to_numpy(dtype=bool)
    found = [*_dates(observations, covariates, used), *_visits(observations, used), *_codes(observations, doses, used)]
    return [*found, *_goes_back(observations, doses)]


def _goes_back(table: pd.DataFrame, doses: pd.DataFrame) -> list[str]:
    """Subjects whose days rise twice in the order of the file: two courses under one clock, or rows in two blocks.

    Rows that are only unsorted go back more often than once, or by a few rows; a second infusion has a dose.
    """
    if "row" not in table or not len(table):
        return []
    subject = pd.factorize(table["subject"].to_numpy(dtype=object))[0]
    output = pd.factorize(table["output"].to_numpy(dtype=object))[0]
    row, day = table["row"].to_numpy(dtype=np.int64), table["day"].to_numpy(dtype=float)
    within = (np.diff(subject) == 0) & (np.diff(output) == 0)
    if not (within & (np.diff(row) < 0)).any():
        return []
    order = np.lexsort((row, output, subject))
    key, day = (subject * (output.max() + 1) + output)[order], day[order]
    back = np.flatnonzero((np.diff(key) == 0) & (np.diff(day) < 0)) + 1
    once = back[np.bincount(key[back], minlength=int(key.max()) + 1)[key[back]] == 1]
    first, last = np.searchsorted(key, key[once]), np.searchsorted(key, key[once], side="right")
    long = (once - first >= FEWEST_IN_RUN) & (last - once >= FEWEST_IN_RUN)
    # Days that are all there before are wells of one sample, which a column tells apart.
    runs = zip(once[long].tolist(), first[long].tolist(), last[long].tolist(), strict=True)
    once = [at for at, begin, end in runs if 2 * np.isin(day[at:end], day[begin:at]).sum() <= end - at]
    again = doses.loc[doses["kind"] == "cells", "subject"].value_counts()
    names = table["subject"].to_numpy(dtype=object)[order]
    once = [at for at in once if again.get(names[at], 0) < 2]
    if not once:
        return []
    at = once[0]
    these = list(dict.fromkeys(str(names[each]) for each in once))
    who = ", ".join(these[:3]) + (f" and {len(these) - 3} more" if len(these) > 3 else "")
    return [
        f"the days of {who} go back once in the order of the file (of {names[at]} from {number_text(day[at - 1])} to "
        f"{number_text(day[at])} in row {row[order][at]}) and are read as one course: if a second begins there, give "
        "its infusion a row and all days since the first infusion; rows that are only unsorted, sort by day"
    ]


def _dates(table: pd.DataFrame, covariates: pd.DataFrame, used: Flags) -> list[str]:
    date = next((name for name in map(str, table.columns) if heading(name) in DATES), None)
    names = [*map(str, covariates.columns), *map(str, table.columns)]
    infusion = next((name for name in names if heading(name) in INFUSION_DATES), None)
    if date is None or infusion is None:
        return []
    begin = table["subject"].map(covariates[infusion]) if infusion in covariates else table[infusion]
    apart = _moments(table[date]) - _moments(begin) - table["day"].to_numpy(dtype=float)
    wrong = used & (np.abs(apart) > DATES_APART)
    if not wrong.any():
        return []
    at = int(np.flatnonzero(wrong)[0])
    day = number_text(table["day"].iloc[at])
    return [
        f"{count(int(wrong.sum()), 'sample')} {'has' if wrong.sum() == 1 else 'have'} a day that {date} and {infusion} "
        f"contradict: row {table['row'].iloc[at]} is day {day}, and {date} {table[date].iloc[at]} is day "
        f"{number_text(round(float(apart[at] + table['day'].iloc[at]), 2))}"
    ]


def _moments(cells: pd.Series) -> Floats:
    """Days since 1970, to the day; NaN where there is no date that can be read."""
    codes, texts = pd.factorize(cells.astype("str").to_numpy(dtype=object))
    read = [seconds_of(text) for text in texts]
    return np.array([*(np.nan if said is None else said[0] // 86400 for said in read), np.nan])[codes]


def _visits(table: pd.DataFrame, used: Flags) -> list[str]:
    name = next((name for name in map(str, table.columns) if plain(name) in VISITS), None)
    if name is None:
        return []
    codes, texts = pd.factorize(table[name].to_numpy(dtype=object))
    said = [visits.day_of(str(text)) for text in texts]
    planned = np.array([*(each[0] * DAYS_IN[each[1]] if each and each[1] else np.nan for each in said), np.nan])
    known = np.unique(planned[~np.isnan(planned)])
    if not len(known):
        return []
    day, visit = table["day"].to_numpy(dtype=float), planned[codes]
    apart = np.abs(day - visit)
    after = np.clip(np.searchsorted(known, day), 1, max(len(known) - 1, 1))
    # The planned days on either side of each sample.
    sides = (known[after - 1], known[np.minimum(after, len(known) - 1)])
    nearest = np.minimum(*(np.abs(day - side) for side in sides))
    twice = np.maximum(day, visit) > 2 * np.minimum(day, visit)
    wrong = used & (apart > np.maximum(VISIT_APART, SHARE_APART * visit)) & ((nearest < apart) | twice)
    if not wrong.any():
        return []
    at = int(np.flatnonzero(wrong)[0])
    return [
        f"{count(int(wrong.sum()), 'sample')} {'is' if wrong.sum() == 1 else 'are'} far from the visit that {name} "
        f"names: row {table['row'].iloc[at]} is day {number_text(day[at])}, and {name} says {table[name].iloc[at]}"
    ]


def _codes(table: pd.DataFrame, doses: pd.DataFrame, used: Flags) -> list[str]:
    texts: list[str] = []
    for what, numbers, where in (
        ("day", table["day"].to_numpy(dtype=float)[used], "samples"),
        ("dose", doses["amount"].to_numpy(dtype=float), "infusions"),
        ("limit", table["lloq"].to_numpy(dtype=float)[used], "samples"),
    ):
        # In most tables nothing is so large, and a million days need not be sorted.
        if not (numbers >= LEAST_CODE).any():
            continue
        distinct, times = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
        code = np.array([each >= LEAST_CODE and is_code(each) for each in distinct], dtype=bool)
        for number, n in zip(distinct[code], times[code], strict=True):
            others = distinct[~code]
            if not len(others):
                continue
            if what == "day":
                near = np.abs(others / number - 1) < 0.1
                out = number > DAY_APART * others.max() or (n > 1 and not near.any())
            elif what == "dose":
                out = number * DOSE_APART < others.min() or number > DOSE_APART * others.max()
            else:
                out = number > LIMIT_APART * others.max()
            if out:
                texts.append(
                    f"the {what} of {n} of {len(numbers)} {where} is {number_text(number)}: "
                    f"if it stands for no {what}, leave the cell empty, or take these rows out"
                )
    return texts
