"""A study in words and tables: patients, samples, limits, follow-up, doses, what was left out and why."""

from __future__ import annotations

import re
import textwrap

import numpy as np

from cellkinetics.data import groups
from cellkinetics.data.columns import mass_of, plain
from cellkinetics.data.groups import NOBODY
from cellkinetics.data.study import AFTER, COVARIATES, OBSERVATIONS, Study, contradictory, infusions, likely_numbers
from cellkinetics.data.wells import NUMBER_OF_WELLS
from cellkinetics.layout.weights import DIVIDED
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.synonyms import TIME_UNITS
from cellkinetics.words import count, labelled, number_text, percent

# Days since the first infusion, both ends included; a day belongs to the first that has it.
WINDOWS = {"0-28 d": 28.0, "28-90 d": 90.0, "90-365 d": 365.0, "later": np.inf}
# A reason can name a day and a free text of the file: a study of many patients can have one for each.
REASONS = 12


def of_study(study: Study) -> str:
    """The study as text of at most 80 columns, tables aside."""
    title = f"Study of {count(len(study.subjects), 'patient')} ({study.source})"
    lines = [title + (", simulated data" if study.simulated else "")]
    for label, text in facts(study).items():
        lines += labelled(label, text)
    lines += ["", "samples below the limit, by days since the first infusion:"]
    lines += textwrap.indent(below(study).to_string(index_names=False), "  ").splitlines()
    lines += ["", "infusions of cells:"]
    lines += textwrap.indent(doses(study).to_string(index_names=False), "  ").splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def facts(study: Study) -> dict[str, str]:
    """What can be said of the whole study, a label and a sentence each."""
    counts, excluded = study.counts, study.exclusions
    names = {"quantified": "quantified", "below": "below the limit", "interval": "detected, below the LLOQ"}
    names["above"] = "above the upper limit"
    status = [f"{n} {names[name]}" for name, n in counts.items() if n or name in ("quantified", "below")]
    ends = [f"{len(who)} {why} ({', '.join(who[:6])}{', ...' if len(who) > 6 else ''})" for why, who in cut(study)]
    cut_off = sum(len(who) for _, who in cut(study))
    reasons = [f"{n} {reason}" for reason, n in list(excluded.items())[:REASONS]]
    if len(excluded) > REASONS:
        reasons.append(count(len(excluded) - REASONS, "more reason"))
    more = {}
    if study.used["output"].nunique() > 1:
        # Counts of qPCR and B cells together say nothing of either.
        each = study.used.groupby("output", sort=False)["status"].value_counts().unstack(fill_value=0)
        texts = [f"{name}: {_by_status(row, names)}" for name, row in each.iterrows()]
        more["outputs"] = "; ".join(texts)
    unread = carried_along(study)
    likely = likely_numbers(study)
    found = {
        "patients": _cohorts_text(study),
        "samples": f"{sum(counts.values())} used: {', '.join(status)}",
        "excluded": f"{sum(excluded.values())}: {', '.join(reasons)}" if excluded else "none",
        "limits": _limits(study),
        "follow-up": _follow_up_text(study),
        "cut": f"{cut_off} of {count(len(study.subjects), 'curve')}: {'; '.join(ends)}" if ends else "no curve",
    }
    if more:
        found = {**dict(list(found.items())[:2]), **more, **dict(list(found.items())[2:])}
    if given := _cells_given(study):
        found["doses"] = given
    if unread:
        found["not read"] = f"{count(len(unread), 'column')}, carried along: {', '.join(unread)}"
    if likely:
        found["likely"] = "; ".join(likely)
    if against := contradictory(study):
        found["look at"] = "; ".join(against)
    return found


def _divided(study: Study) -> tuple[str, ...]:
    """The columns of the weight that divided the doses and of the cells as they were given; none otherwise."""
    said = re.search(rf"^{DIVIDED} (.*), in kg: .* and (\w+) has what was given", study.note, re.MULTILINE)
    return said.groups() if said else ()


def _cells_given(study: Study) -> str:
    """What was given in cells beside what it is in cells/kg, "" where no weight divided it."""
    if not (divided := _divided(study)):
        return ""
    tables = [table[divided[1]] for table in (study.covariates, study.observations) if divided[1] in table]
    cells = pd.to_numeric(tables[0], errors="coerce").dropna() if tables else pd.Series(dtype=float)
    amounts = study.doses["amount"][study.doses["kind"] == "cells"]
    spans = [
        f"{number_text(each.min())} to {number_text(each.max())}"
        if each.min() < each.max()
        else number_text(each.max())
        for each in (cells, amounts)
        if len(each)
    ]
    if len(spans) < 2:
        return f"divided by {divided[0]}"
    return f"{spans[0]} cells, divided by {divided[0]}: {spans[1]} {study.dose_unit}"


def carried_along(study: Study) -> list[str]:
    """The columns of the file that nothing reads, in the order of the study's tables."""
    own = {*OBSERVATIONS, *COVARIATES, "nominal_day", "unit", *NUMBER_OF_WELLS}
    own |= {"SIMULATED", "ID_NAME"}
    # A weight that divided the cells was read.
    own |= set(_divided(study))
    names = map(str, dict.fromkeys([*study.observations.columns, *study.covariates.columns]))
    return [name for name in names if not (name in own or mass_of(name) or plain(name) in TIME_UNITS)]


def _by_status(counts: pd.Series, names: dict[str, str]) -> str:
    return ", ".join(f"{n} {names[str(status)]}" for status, n in counts.items() if n)


def cohorts(study: Study) -> pd.Series:
    """The cohort of each subject, "no cohort" where there is none, categories from the lowest dose to the highest."""
    cohort = groups.of(study)
    return cohort.members.astype("str").astype(pd.CategoricalDtype(list(cohort.names)))


def below(study: Study) -> pd.DataFrame:
    """Samples below the limit (or below the LLOQ though detected) of all samples used, by cohort and window.

    Returns
    -------
    DataFrame
        One row a cohort and, when there are several, one of all, for each output when there are several; a column for
        each of `WINDOWS`: "3/40 (8%)", "-" where there is no sample.
    """
    rows = since_infusion(study)
    window = pd.cut(rows["since"], [-np.inf, *WINDOWS.values()], labels=list(WINDOWS))
    censored = rows["status"].isin(["below", "interval"])
    group = rows["subject"].map(cohorts(study)).astype(cohorts(study).dtype)
    each = [(name, group == name) for name in group.cat.categories]
    each += [("all", pd.Series(True, index=rows.index))] if len(each) > 1 else []
    outputs = rows["output"].unique()
    if len(outputs) > 1:
        each = [(f"{name}, output {o}", member & (rows["output"] == o)) for o in outputs for name, member in each]

    def share(chosen: pd.Series) -> str:
        n, k = int(chosen.sum()), int((chosen & censored).sum())
        return f"{k}/{n} ({percent(k, n)})" if n else "-"

    cells = {name: {label: share(member & (window == label)) for label in WINDOWS} for name, member in each}
    return pd.DataFrame.from_dict(cells, orient="index", columns=list(WINDOWS)).rename_axis("cohort")


def doses(study: Study) -> pd.DataFrame:
    """Infusions of cells by cohort: patients, infusions, the lowest, median and highest amount, the unit."""
    given = infusions(study.doses, study.subjects).dropna(subset="amount")
    group = cohorts(study)
    rows = {}
    for name in group.cat.categories:
        members = group.index[group == name]
        amounts = given.loc[given["subject"].isin(members), "amount"]
        ends = [amounts.min(), amounts.median(), amounts.max()] if len(amounts) else [np.nan] * 3
        rows[name] = [len(members), len(amounts), *(_amount(float(end)) for end in ends), study.dose_unit]
    columns = ["patients", "infusions", "lowest", "median", "highest", "unit"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("cohort")


def follow_up(study: Study) -> pd.Series:
    """Days from the first infusion to the last sample used, by subject; NaN for a subject without one."""
    rows = since_infusion(study)
    return rows.groupby("subject")["since"].max().reindex(list(study.subjects)).rename("follow_up")


def cut(study: Study) -> list[tuple[str, list[str]]]:
    """Why curves were cut, and whose, by the earliest end: of the column ``until`` or of ``select(until=)``."""
    table, excluded = study.covariates, study.observations["excluded"]
    late = study.observations[excluded.str.startswith(AFTER)].groupby("subject")["excluded"]
    reasons = {subject: texts.unique() for subject, texts in late}
    found: dict[str, list[str]] = {}
    for subject in study.subjects:
        # Rows tell of the day and the reason, also of one that `select` made; a curve without late rows has neither.
        ends = [text.removeprefix(AFTER).split(": ", 1) for text in reasons.get(subject, ())]
        ends.append([str(table.at[subject, "until"]), str(table.at[subject, "until_reason"]) or "end of follow-up"])
        known = [(float(day), why) for day, why in ends if day != "nan"]
        if known:
            found.setdefault(min(known)[1], []).append(subject)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def since_infusion(study: Study) -> pd.DataFrame:
    """The samples used, with the days since each subject's first infusion."""
    rows = study.used
    first = {subject: study.infusion_day(subject) for subject in study.subjects}
    return rows.assign(since=rows["day"] - rows["subject"].map(first).astype(float))


def _cohorts_text(study: Study) -> str:
    sizes = cohorts(study).value_counts(sort=False)
    total = str(len(study.subjects))
    return total if list(sizes.index) == [NOBODY] else f"{total}: " + ", ".join(f"{n} in {c}" for c, n in sizes.items())


def _limits(study: Study) -> str:
    used = study.used
    limits, upper = used["lloq"], used.loc[used["status"] == "above", "lower"]
    values, without = sorted(limits.dropna().unique()), int(limits.isna().sum())
    above = f"; upper {number_text(upper.min())} {study.unit}" if len(upper) else ""
    if not values:
        return f"no lower limit known ({study.unit}){above}"
    ends = [number_text(float(f"{value:.6g}")) for value in values]
    text = ends[0] + (f" to {ends[-1]}" if len(values) > 1 else "")
    text = f"lower {text} {study.unit}" + (f" ({len(values)} different ones)" if len(values) > 1 else "")
    return text + (f"; {count(without, 'sample')} without one" if without else "") + above


def _follow_up_text(study: Study) -> str:
    days = follow_up(study)
    known = days.dropna()
    if known.empty:
        return "no sample is used"
    text = f"median {known.median():.0f} days, {known.min():.0f} to {known.max():.0f} (last sample used)"
    missing = len(days) - len(known)
    return text + (f"; {count(missing, 'patient')} without a sample" if missing else "")


def _amount(amount: float) -> str:
    return "-" if np.isnan(amount) else f"{amount:.4g}".replace("e+0", "e").replace("e+", "e")
