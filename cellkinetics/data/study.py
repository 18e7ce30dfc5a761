"""A study: samples with their limits, doses, covariates."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.domains import Size
from cellkinetics.errors import Finding, StudyError, one_problem, suggest
from cellkinetics.layout.agreement import contradictions
from cellkinetics.layout.doses import of_few_cells
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning import titles
from cellkinetics.meaning.floors import SHORT_CODES, Likely, likely, out_of_line
from cellkinetics.saving import Saves, storable
from cellkinetics.words import count, number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OBSERVATIONS = ("subject", "day", "output", "value", "lower", "upper", "status", "lloq", "excluded", "row")
COVARIATES = ("cohort", "dose", "until", "until_reason")
UNIT, DOSE_UNIT = "copies/ug", "cells/kg"
AFTER = "after day "


# Of a study whose tables are cut out later: what does that, and how many samples it has.
_LATER, _ROWS = "_later", "_rows"


@storable
@dataclass(frozen=True, eq=False, repr=False)
class Study(Saves, HandsOutCopies):
    """Samples, doses and covariates, as `read_study` makes them. Its tables are copies: the study stays as it is.

    Parameters
    ----------
    observations : DataFrame
        One row a sample, by subject in the order of the file, then by day:

        - subject (text), day (as in the file: the actual one where it is given, else the nominal one),
          output (text, "1" where the file names none);
        - value (in `unit`; NaN unless quantified), lower and upper (in `unit`): quantified, both the value;
          below, 0 and the limit; interval, both ends; above, the limit and infinity; an end is NaN where no
          limit is known, which is so on excluded rows only;
        - status: "quantified", "below", "interval", "above", or "missing" on a row without a value;
        - lloq (in `unit`): the limit in force for the row, NaN where none is known;
        - excluded: "" when the row is used, else the reason;
        - row: line of the file (its first line is 1); in a DataFrame the position + 2, its line as a CSV;
        - then nominal_day and other columns of the file that vary within a subject.
    doses : DataFrame
        One row a dose, in the same order: subject, day, amount (in the unit beside it), kind ("cells" or the
        name of the drug), unit ("" where none is said), row.
    covariates : DataFrame
        One row a subject, index "subject": cohort (text or missing), dose (amount of cells given on the day
        of the first infusion; NaN when none), until (day on which the follow-up ends, NaN when it does not),
        until_reason (text, "" when none), then the other columns of the file that are constant within each
        subject.
    unit, dose_unit : str
        Of the values, of the cells.
    lloq : float or None
        The lower limit, when all rows that have one have the same; else None.
    source : str
        Name of the file, or "DataFrame".
    note : str
        The comment lines above the header.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> study = ck.example()
    >>> len(study), study.unit, len(study["P07"].used)
    (11, 'copies/ug', 7)
    """

    observations: pd.DataFrame
    doses: pd.DataFrame
    covariates: pd.DataFrame
    unit: str = UNIT
    dose_unit: str = DOSE_UNIT
    lloq: float | None = None
    source: str = "DataFrame"
    note: str = ""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # Tables of one of many are cut out when they are first asked for: see `each`.
            later = vars(self).pop(_LATER, None)
            if later is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            vars(self).update(later())
            return getattr(self, name)

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __len__(self) -> int:
        """How many subjects there are."""
        return len(self.covariates)

    def __iter__(self) -> Iterator[str]:
        return iter(self.subjects)

    def __getitem__(self, subject: str) -> Study:
        """The study of one subject; `select` takes several, a cohort, or another covariate."""
        if not isinstance(subject, str):
            text = f"study[{subject!r}] is not the name of one subject"
            raise one_problem(text, "Several are study.select(subjects=[...]).", self.source)
        self._known("subject", [subject], self.subjects)
        return self.select(subject)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects, in the order of the file."""
        return tuple(self.covariates.index)

    @property
    def n_rows(self) -> int:
        """How many samples there are, used or not."""
        # Without cutting the table out, or the copy that an attribute hands out: of many patients these take long.
        own = vars(self)
        return own[_ROWS] if _ROWS in own else len(own["observations"])

    @property
    def simulated(self) -> bool:
        """Whether the note, or a column ``SIMULATED`` that is 1, says that the data are simulated."""
        said = "SIMULATED" in self.covariates and (self.covariates["SIMULATED"].astype("str") == "1.0").any()
        return bool(said) or re.search(r"\bsimulated\b", self.note, re.IGNORECASE) is not None

    @property
    def sha256(self) -> str:
        """Hash of samples, doses, covariates and units, by which a saved result knows the data it is of."""
        digest = hashlib.sha256(f"{self.unit}\n{self.dose_unit}".encode())
        for table in (self.observations, self.doses, self.covariates.reset_index()):
            for name, column in table.items():
                numeric = isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"
                missing = column.isna().to_numpy(bool)
                texts = [] if numeric else ["" if gone else str(v) for v, gone in zip(column, missing, strict=True)]
                digest.update(repr([str(name), len(column), texts]).encode())
                # One NaN is as good as another, and so are the two zeros.
                digest.update(np.where(missing, np.nan, column.to_numpy(float) + 0.0).tobytes() if numeric else b"")
        return digest.hexdigest()

    @property
    def digested(self) -> str:
        """The hash, for what a run that goes on must find unchanged."""
        return self.sha256

    @property
    def used(self) -> pd.DataFrame:
        """The observations that are not excluded."""
        return self.observations[self.observations["excluded"] == ""]

    @property
    def counts(self) -> dict[str, int]:
        """Samples used, by status: quantified, below, interval, above (0 included)."""
        found = self.used["status"].value_counts()
        return {status: int(found.get(status, 0)) for status in ("quantified", "below", "interval", "above")}

    @property
    def exclusions(self) -> dict[str, int]:
        """Samples not used, by reason, the most frequent first."""
        reasons = self.observations["excluded"]
        return {str(reason): int(n) for reason, n in reasons[reasons != ""].value_counts().items()}

    def infusion_day(self, subject: str) -> float:
        """Day of the subject's first infusion of cells; 0.0 when the study has none for the subject.

        Raises
        ------
        StudyError
            When there is no such subject.
        """
        self._known("subject", [subject], self.subjects)
        days = self.doses.loc[(self.doses["subject"] == subject) & (self.doses["kind"] == "cells"), "day"]
        return float(days.min()) if len(days) else 0.0

    def select(
        self,
        subjects: str | Iterable[str] | None = None,
        cohort: str | Iterable[str] | None = None,
        until: float | None = None,
        **by: Any,
    ) -> Study:
        """A part of the study, in the same order.

        Parameters
        ----------
        subjects, cohort : str or iterable of str, optional
            Those to keep; with both, the subjects that are in both.
        **by : value or iterable of values, optional
            Those to keep by any other column of `covariates`, as in ``select(response="CR", dose=1e6)``.
        until : float, optional
            Rows after this day are excluded, for every subject, with the reason. Infinity uses again the rows
            after the day in the file's column ``until`` (and after an earlier ``until=`` of this function).

        Returns
        -------
        Study

        Raises
        ------
        StudyError
            When there is no such subject or cohort, nobody is left, or `until` lies before every infusion.
        """
        keep = pd.Series(True, index=self.covariates.index)
        if subjects is not None:
            wanted = [subjects] if isinstance(subjects, str) else [str(name) for name in subjects]
            self._known("subject", wanted, self.subjects)
            keep &= keep.index.isin(wanted)
        if cohort is not None:
            wanted = [cohort] if isinstance(cohort, str) else [str(name) for name in cohort]
            there = self.covariates["cohort"].dropna().unique()
            if wanted and wanted[0] in self.subjects and wanted[0] not in there:
                text = f"cohort={cohort!r} is a subject"
                raise one_problem(text, "Several subjects are one list: select(subjects=[...]).", self.source)
            self._known("cohort", wanted, there)
            keep &= self.covariates["cohort"].isin(wanted)
        for name, asked in by.items():
            self._known("covariate", [name], self.covariates.columns)
            wanted: list[Any] = [asked] if isinstance(asked, str) or not isinstance(asked, Iterable) else list(asked)
            column = self.covariates[name]
            if pd.api.types.is_numeric_dtype(column):
                wanted = self._numbers(name, wanted, column)
            self._known(name, map(str, wanted), column.dropna().unique())
            keep &= column.astype(object).map(str).isin(map(str, wanted))
        if not keep.any():
            given = {"subjects": subjects, "cohort": cohort} | by
            text = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
            raise one_problem(f"nobody is in {text}", "", self.source)
        names = keep.index[keep]
        observations, covariates = self.observations, self.covariates[keep]
        if until is not None:
            until = float(domains.days(until, "until", finite=False)[0])
            if math.isnan(until):
                raise one_problem("until is NaN", "Give a day or math.inf.", self.source)
            first = min(self.infusion_day(name) for name in names)
            if until < first:
                text = f"until={number_text(until)} lies before the first infusion, day {number_text(first)}"
                raise one_problem(text, "No sample would be left. Give a day after it.", self.source)
            excluded = observations["excluded"]
            if until == math.inf:
                excluded = excluded.mask(excluded.str.startswith(AFTER), "")
                covariates = covariates.assign(until=np.nan, until_reason="")
            late = (excluded == "") & (observations["day"] > until)
            reason = cut_reason(until, f"select(until={number_text(until)})")
            observations = observations.assign(excluded=excluded.mask(late, reason))
        observations = observations[observations["subject"].isin(names)].reset_index(drop=True)
        return replace(
            self,
            observations=observations,
            doses=self.doses[self.doses["subject"].isin(names)].reset_index(drop=True),
            covariates=covariates.astype({"until_reason": "str"}),
            lloq=common_limit(observations),
        )

    def _numbers(self, name: str, wanted: Sequence[Any], column: pd.Series[Any]) -> list[float]:
        """Numbers that are asked for of a column of numbers; a StudyError that says which there are."""
        known = [number_text(float(value)) for value in sorted(column.dropna().unique())]
        shown = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
        for value in wanted:
            if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
                remedy = f"Give one of them, such as select({name}={known[0]})." if known else ""
                raise one_problem(f"{name}={value!r}: {name} is a number, {shown}", remedy, self.source)
        return [float(value) for value in wanted]

    def each(self) -> Callable[[str], Study]:
        """The function subject -> study of that subject alone, in a time that does not grow with the others."""
        place = {subject: at for at, subject in enumerate(self.subjects)}
        tables, ends = [], []
        for table in (self.observations, self.doses):
            code = places_of(self.subjects, table)
            order = np.argsort(code, kind="stable")
            tables.append(table.iloc[order])
            ends.append(np.searchsorted(code[order], np.arange(len(place) + 1)))

        limits = tables[0]["lloq"].to_numpy(float)
        covariates = self.covariates

        def cut(at: int) -> dict[str, pd.DataFrame]:
            # Slices of sorted tables are views: a take for each subject costs more than its fit.
            parts = [table.iloc[end[at] : end[at + 1]] for table, end in zip(tables, ends, strict=True)]
            for part in parts:
                part.index = pd.RangeIndex(len(part))
            return {"observations": parts[0], "doses": parts[1], "covariates": covariates.iloc[at : at + 1]}

        said = {name: getattr(self, name) for name in ("unit", "dose_unit", "source", "note")}

        def alone(subject: str) -> Study:
            at = place[subject]
            first, last = ends[0][at], ends[0][at + 1]
            one = object.__new__(type(self))
            later = {_LATER: partial(cut, at), _ROWS: int(last - first)}
            vars(one).update(said, lloq=_shared(limits[first:last]), **later)
            return one

        return alone

    def to_csv(self, path: str | os.PathLike[str], style: str = "plain") -> None:
        """Write the study as a file that `read_study` reads without options.

        The study that is read back is equal but for `row` and `source`, with two exceptions: what a carried
        column is (a covariate when it is constant within every subject, a number when all of its cells are)
        is read from the part that is written, and censored wells of one sample that are alike are told apart
        by a column ``replicate``. The styles other than plain lose a little more, as said below.

        Parameters
        ----------
        path : path
            Written under a temporary name first, so that it is never half a file.
        style : str
            A line for each dose and for each sample, as

            - "plain": subject, day, copies_per_ug (``<3``, with the limit in lloq and lod), dose, cohort ...;
            - "monolix": ID, TIME, DV, AMT, EVID, CENS, LIMIT, ADM, DVID, MDV, LLOQ, COHORT ..., ``.`` for an empty
              cell, ADM 1 for the cells, other drugs from 2 on with their name in ADM_NAME, no
              note (a column SIMULATED where it says so);
            - "nlmixr2": the same, with NA for an empty cell;
            - "nonmem": like "monolix", with ``#`` before the note and the header (what NM-TRAN ignores by
              default), whole numbers for ID and DVID with the names beside them in ID_NAME and DVID_NAME, and
              ``_`` for the blanks, commas and quotation marks of a text.

            CENS is 1 for below (DV is the limit, LIMIT the lower end of an interval), -1 for above. Samples that
            are excluded have MDV 1, and the reason in EXCLUDED.

        Raises
        ------
        ValueError
            When there is no such style.
        """
        from cellkinetics.data.writing import write

        write(self, Path(path), style)

    def summary(self) -> str:
        """The study in words: patients, samples, shares below the limit, follow-up, doses, what is excluded and why.

        Follow-up is the day of a subject's last sample used, since the first infusion; windows are 0-28, 28-90,
        90-365 days and later, the later end included.
        """
        from cellkinetics.data import overview

        return overview.of_study(self)

    @domains.picture
    def plot(
        self, axes: Axes | None = None, by: str = "cohort", *, tolerance: float | None = None, size: Size = None
    ) -> Axes:
        """All samples against the days since the first infusion, on a log axis; returns the axes.

        Parameters
        ----------
        axes : to draw on; a new figure when not given. size : its width and height in mm.
        by : what the colour says: "cohort", "dose", or another covariate.
        tolerance
            days by which a sample may lie from the middle of its visit, for the medians, as in `compare_cohorts`; half
            the gap to the next sample when not given. The legend says what was matched.
        """
        from cellkinetics.figures import study as study_plot

        return study_plot.plot_study(self, axes, by, tolerance)

    def __repr__(self) -> str:
        counts, excluded = self.counts, self.exclusions
        lines = [f"Study of {count(len(self.subjects), 'subject')} ({self.source})"]
        status = ", ".join(f"{n} {status}" for status, n in counts.items() if n or status in ("quantified", "below"))
        lines.append(f"  samples used      {sum(counts.values())}: {status}")
        if excluded:
            shown = [f"{n} {reason}" for reason, n in list(excluded.items())[:5]]
            more = [count(len(excluded) - 5, "more reason")] if len(excluded) > 5 else []
            lines.append(f"  samples excluded  {sum(excluded.values())}: {', '.join(shown + more)}")
        limits = self.observations["lloq"].dropna()
        ends = dict.fromkeys(number_text(limit) for limit in (limits.min(), limits.max()))
        limit = " to ".join(ends) if len(limits) else "none known"
        lines.append(f"  unit              {self.unit}, lower limit {limit}")
        cells = int((self.doses["kind"] == "cells").sum())
        lines.append(f"  infusions         {cells}" + (f" ({self.dose_unit})" if cells else ""))
        return "\n".join(lines + ["  simulated data"] * self.simulated)

    def _known(self, what: str, names: Iterable[str], there: Iterable[str]) -> None:
        there = [str(name) for name in there]
        listed = ", ".join(there[:20]) + (", ..." if len(there) > 20 else "")
        has = f"There are {listed}." if there else f"It has no {what}."
        problems = [
            Finding(None, None, None, f"there is no {what} {name!r}", f"{has} {suggest(name, there)}".rstrip())
            for name in dict.fromkeys(names)
            if name not in there
        ]
        if problems:
            raise StudyError(problems, self.source)


def cut_reason(day: float, why: str) -> str:
    """The reason of a row after the end of a follow-up: "after day 42: transplantation"."""
    return f"{AFTER}{number_text(day)}: {why or 'end of follow-up'}"


def common_limit(observations: pd.DataFrame) -> float | None:
    """The lower limit that all rows with one share, or None."""
    return _shared(observations["lloq"].to_numpy(float))


def _shared(limits: Floats) -> float | None:
    known = limits[~np.isnan(limits)]
    return float(known[0]) if len(known) and np.all(known == known[0]) else None


def likely_numbers(study: Study) -> list[str]:
    """What looks like a limit written as a value, or like a code for no value, among the values used; a text each."""
    table, texts = study.observations, []
    # Columns one by one: a table of the rows used would be a second study in memory.
    quantified = ((table["excluded"] == "") & (table["status"] == "quantified")).to_numpy(dtype=bool)
    values, output = table["value"].to_numpy(dtype=float)[quantified], table["output"][quantified]
    outputs = output.unique().tolist()
    for name in outputs:
        own = (output == name).to_numpy(dtype=bool)
        unit = str(table["unit"][quantified][own].iloc[0]) if "unit" in table else study.unit
        found = likely(values[own], name if len(outputs) > 1 else "")
        for number in _lone_codes(table, quantified, name) - {each.number for each in found}:
            found.append(Likely("code", number, 1, int(own.sum()), name if len(outputs) > 1 else ""))
        texts += [each.text(unit) for each in found]
    return texts


def _lone_codes(table: pd.DataFrame, quantified: npt.NDArray[np.bool_], output: str) -> set[float]:
    """Codes of three digits, 999, that are the value of one sample alone which its neighbours in time contradict."""
    there = quantified & np.isin(table["value"].to_numpy(dtype=float), SHORT_CODES)
    found: set[float] = set()
    for at in np.flatnonzero(there).tolist():
        number, subject = float(table["value"].iloc[at]), table["subject"].iloc[at]
        own = (table["subject"] == subject) & (table["output"] == output) & (table["excluded"] == "")
        own &= table["status"] != "missing"
        if table["output"].iloc[at] != output or (there & (table["value"] == number)).sum() > 1:
            continue
        curve = table[own].sort_values("day", kind="stable")
        # Of a sample below the limit it is known that it is below its upper end.
        level = curve["value"].fillna(curve["upper"]).to_numpy(dtype=float)
        place = int(np.flatnonzero(curve.index == table.index[at])[0])
        before, after = (level[side] if 0 <= side < len(level) else np.nan for side in (place - 1, place + 1))
        if out_of_line(before, number, after):
            found.add(number)
    return found


def doubts(study: Study) -> list[str]:
    """What is to be looked at: likely limits and codes, few cells, days that others contradict, lines above a table."""
    return [*likely_numbers(study), *of_few_cells(study.doses), *contradictory(study)]


def contradictory(study: Study) -> list[str]:
    """What contradicts the days, limits and units of a study: other columns, and the lines above the header."""
    texts = contradictions(study.observations, study.covariates, study.doses)
    if not study.note:
        return texts
    limits = study.observations["lloq"].dropna().unique().tolist()
    return [*texts, *titles.doubts(study.note, study.unit, study.dose_unit, limits)]


def infusions(doses: pd.DataFrame, subjects: Iterable[str]) -> pd.DataFrame:
    """Infusions of cells: subject, day, amount; for a subject without any, one of unknown amount on day 0."""
    given = doses.loc[doses["kind"] == "cells", ["subject", "day", "amount"]]
    treated = set(given["subject"])
    without = [subject for subject in subjects if subject not in treated]
    assumed = pd.DataFrame({"subject": pd.Series(without, dtype="str"), "day": 0.0, "amount": np.nan})
    return pd.concat([part for part in (given, assumed) if len(part)] or [given])


def places_of(subjects: Sequence[str], table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """(rows of the table,) which of the subjects each row is of."""
    # Not by an index of pandas: of one patient it takes as long as a tenth of the fit.
    place = {subject: at for at, subject in enumerate(subjects)}
    return np.array([place[subject] for subject in table["subject"].to_numpy(object)], np.int64)
