"""What a qPCR assay measures: its unit and limits, and copies/ug of DNA as cells/uL of blood."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study, common_limit
from cellkinetics.errors import LINES, AssayWarning, Finding, StudyError, suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.words import number_text

COPIES, CELLS = "copies/ug", "cells/uL"
ASSAY_UNITS = (COPIES, CELLS)
REMEDY = "Give leukocytes for that day; they are not extrapolated."

TimeCourse: TypeAlias = "pd.DataFrame | pd.Series"
Leukocytes: TypeAlias = "npt.ArrayLike | TimeCourse"


@dataclass(frozen=True)
class Assay:
    r"""A qPCR assay of the transgene in genomic DNA.

    Parameters
    ----------
    unit : str
        Of the limits below: "copies/ug" (of genomic DNA) or "cells/uL" (of blood).
    lloq, lod, uloq : float, optional
        Lower limits of quantification and of detection, upper limit of quantification. ``read_study`` takes them
        with the unit: ``ck.read_study(path, **assay.limits)``.
    vcn : float
        Vector copy number: copies in one transduced cell, 1 or more.
    genome_mass_pg : float
        DNA of one diploid human genome, pg.
    dna_ug : float, optional
        Mass of DNA in a well, ug, where the table does not say: what counting noise needs.

    Raises
    ------
    ValueError
        An unknown unit, a number that is not positive, limits out of order.

    Notes
    -----
    One ug of DNA is that of ``1e6 / genome_mass_pg`` leukocytes, 151,515 at 6.6 pg, so that

    .. math:: \text{cells/uL} = \frac{\text{copies/ug}}{\text{VCN} \times 151\,515} \times \text{leukocytes/uL}

    This takes all DNA to be that of diploid leukocytes, and the cells counted to be those that the DNA was drawn
    from: for DNA of mononuclear cells, give lymphocytes + monocytes.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> assay = ck.Assay(lloq=3.0, vcn=2.0)
    >>> round(assay.genomes_per_ug)
    151515
    >>> float(assay.to_cells_per_ul(30303.0, leukocytes_per_ul=5000).round(1))
    500.0
    """

    unit: str = COPIES
    lloq: float | None = None
    lod: float | None = None
    uloq: float | None = None
    vcn: float = 1.0
    genome_mass_pg: float = 6.6
    dna_ug: float | None = None

    def __post_init__(self) -> None:
        _known(self.unit, "unit")
        examples = {"vcn": 1, "genome_mass_pg": 6.6, "dna_ug": 0.3, "lod": 1, "lloq": 3, "uloq": 1e6}
        for name, example in examples.items():
            if (given := getattr(self, name)) is not None:
                domains.number(given, name, example)
        if not (math.isfinite(self.vcn) and self.vcn >= 1):
            raise ValueError(f"vcn={self.vcn:g}: a transduced cell has at least 1 copy.")
        if not (math.isfinite(self.genome_mass_pg) and self.genome_mass_pg > 0):
            raise ValueError(
                f"genome_mass_pg={self.genome_mass_pg:g} is not a positive mass; a human genome has 6.6 pg."
            )
        if self.dna_ug is not None and not (math.isfinite(self.dna_ug) and self.dna_ug > 0):
            raise ValueError(f"dna_ug={self.dna_ug:g} is not a positive mass of DNA.")
        limits = {name: limit for name in ("lod", "lloq", "uloq") if (limit := getattr(self, name)) is not None}
        for name, limit in limits.items():
            if not (math.isfinite(limit) and limit > 0):
                raise ValueError(f"{name}={limit:g} is not a positive limit.")
        if sorted(limits.values()) != list(limits.values()):
            written = ", ".join(f"{name} {number_text(limit)}" for name, limit in limits.items())
            raise ValueError(f"limits out of order: {written}; lod, lloq and uloq rise in this order.")

    @property
    def genomes_per_ug(self) -> float:
        """Diploid genomes, thus leukocytes, in one ug of DNA."""
        return 1e6 / self.genome_mass_pg

    @property
    def most_copies_per_ug(self) -> float:
        """Copies per ug of DNA if every cell were transduced: more is impossible."""
        return self.vcn * self.genomes_per_ug

    @property
    def limits(self) -> dict[str, str | float | None]:
        """Unit and limits, and the mass of DNA where it is known, under the names that `read_study` has for them."""
        limits = {"unit": self.unit, "lloq": self.lloq, "lod": self.lod, "uloq": self.uloq}
        return limits if self.dna_ug is None else {**limits, "dna_ug": self.dna_ug}

    def molecules(self, copies_per_ug: npt.ArrayLike, wells: int = 1) -> Floats:
        """Copies of the transgene in the DNA of so many wells: 3 copies/ug in 0.3 ug are one molecule.

        >>> float(Assay(dna_ug=0.3).molecules(10.0))
        3.0
        """
        if self.dna_ug is None:
            raise ValueError("the mass of DNA in a well is not known. Give Assay(dna_ug=0.3).")
        return np.asarray(copies_per_ug, float) * self.dna_ug * wells

    def to_cells_per_ul(
        self, copies: npt.ArrayLike, leukocytes_per_ul: Leukocytes, days: npt.ArrayLike | None = None
    ) -> Floats:
        """Transduced cells per uL of blood.

        Parameters
        ----------
        copies : number or (n,) array
            Copies per ug of genomic DNA; 0 stays 0, infinity infinity, NaN NaN.
        leukocytes_per_ul : number, (n,) array, or time course
            Of the same sample. A time course is a DataFrame of two columns, day and leukocytes per uL, or a Series
            of leukocytes with the day as index; between its days, ln(leukocytes) is interpolated.
        days : number or (n,) array
            Days of the samples; needed with a time course.

        Returns
        -------
        (n,) array of float
            With no axis when all that is given are numbers.

        Raises
        ------
        ValueError
            A day outside the time course, leukocytes that are not positive.
        """
        return np.asarray(copies, float) * (_leukocytes(leukocytes_per_ul, days) / self.most_copies_per_ug)

    def to_copies_per_ug(
        self, cells_per_ul: npt.ArrayLike, leukocytes_per_ul: Leukocytes, days: npt.ArrayLike | None = None
    ) -> Floats:
        """Copies per ug of genomic DNA: the inverse of `to_cells_per_ul`, with the same arguments."""
        return np.asarray(cells_per_ul, float) / (_leukocytes(leukocytes_per_ul, days) / self.most_copies_per_ug)

    def check(self, study: Study) -> pd.DataFrame:
        """Find samples with more copies than DNA of transduced cells alone can have.

        Parameters
        ----------
        study : Study
            In copies/ug. Excluded samples are looked at too; outputs in another unit are not.

        Returns
        -------
        DataFrame
            One row an impossible sample: row, subject, day, copies_per_ug (the limit of a sample above it), most,
            ratio (of the two; the VCN would have to be so many times higher), excluded.

        Warns
        -----
        AssayWarning
            When there are any, with the row, subject and day of each.

        Raises
        ------
        ValueError
            The study is not in copies/ug.
        """
        if study.unit != COPIES:
            _known(study.unit, "the study's unit")
            raise ValueError(
                f"the study is in {study.unit}: only copies/ug have a largest possible value. "
                "Convert it first: assay.convert(study, leukocytes, to='copies/ug')."
            )
        rows = study.observations
        rows = rows[_in_unit(study) & (rows["lower"] > self.most_copies_per_ug)]
        table = rows[["row", "subject", "day"]].assign(
            copies_per_ug=rows["lower"],
            most=self.most_copies_per_ug,
            ratio=rows["lower"] / self.most_copies_per_ug,
            excluded=rows["excluded"],
        )
        if len(table):
            named = [
                f"row {row}, patient {subject}, day {number_text(day)}: {copies:,.0f}"
                for row, subject, day, copies in table[["row", "subject", "day", "copies_per_ug"]].to_numpy()[:LINES]
            ]
            more = [f"and {len(table) - LINES} more"] if len(table) > LINES else []
            count = f"{len(table)} sample{' has' if len(table) == 1 else 's have'}"
            warnings.warn(
                f"{study.source}: {count} more than {self.most_copies_per_ug:,.0f} copies/ug, which "
                f"{self.vcn:g} {'copy' if self.vcn == 1 else 'copies'} in every cell would give: "
                f"{'; '.join(named + more)}. Is the VCN higher, or the unit or the mass of DNA another?",
                AssayWarning,
                stacklevel=2,
            )
        return table.reset_index(drop=True)

    def convert(self, study: Study, leukocytes: Leukocytes | Mapping[str, Leukocytes], to: str = CELLS) -> Study:
        """The study in the other unit: values, bounds and limits; what is censored stays censored.

        Parameters
        ----------
        study : Study
            In copies/ug or cells/uL. Its outputs in other units are left as they are.
        leukocytes : number, (n,) array, time course, or {subject: one of these}
            Per uL of blood, as in `to_cells_per_ul`. An array has one value for each row of
            ``study.observations`` (a subject's: for each of the subject's rows), so that a column of the file is
            ``study.observations["wbc"].to_numpy()``. Days are those of the study.
        to : str
            "cells/uL" or "copies/ug".

        Returns
        -------
        Study
            With a line in its note that says what was done. A limit in copies/ug becomes one of its own for every
            sample whose leukocytes differ; ``.lloq`` is None then.

        Raises
        ------
        StudyError
            A sample outside the time course, with its row, subject and day; a subject without leukocytes.
        ValueError
            An unknown unit.
        """
        _known(to, "to")
        _known(study.unit, "the study's unit")
        if to == study.unit:
            return study
        rows = study.observations
        change = _in_unit(study) & (rows["status"] != "missing")
        per_row = _of_rows(study, rows[change], leukocytes)
        converted = self.to_cells_per_ul if to == CELLS else self.to_copies_per_ug
        rows = rows.copy()
        for name in ("value", "lower", "upper", "lloq"):
            rows.loc[change, name] = converted(rows.loc[change, name].to_numpy(), per_row)
        # A limit of a row without a value says nothing in a unit that the row cannot be converted to.
        rows.loc[_in_unit(study) & ~change, "lloq"] = np.nan
        if "unit" in rows:
            rows.loc[_in_unit(study), "unit"] = to
        said = f"Converted from {study.unit} to {to}: VCN {self.vcn:g}, {self.genome_mass_pg:g} pg DNA a genome."
        return replace(
            study, observations=rows, unit=to, lloq=common_limit(rows), note=f"{study.note}\n{said}".lstrip("\n")
        )


def _known(unit: str, name: str) -> None:
    if unit not in ASSAY_UNITS:
        text = f"{name} is {unit!r}; an assay knows {', '.join(ASSAY_UNITS)}. {suggest(unit, ASSAY_UNITS)}"
        raise ValueError(text.rstrip())


def _in_unit(study: Study) -> pd.Series:
    """Which rows are in the unit of the study: outputs can have units of their own."""
    rows = study.observations
    if "unit" not in rows:
        return pd.Series(True, index=rows.index)
    return rows["unit"].isna() | (rows["unit"] == study.unit)


def _leukocytes(given: Leukocytes, days: npt.ArrayLike | None) -> Floats:
    """Leukocytes per uL of each sample."""
    if not isinstance(given, pd.DataFrame | pd.Series):
        return _positive(_numbers(given))
    course_days, counts = _course(given)
    if days is None:
        raise ValueError("leukocytes are a time course: give the days of the samples too, days=...")
    at = np.asarray(days, float)
    outside = ~((at >= course_days[0]) & (at <= course_days[-1]))
    if outside.any():
        first, last = number_text(course_days[0]), number_text(course_days[-1])
        found = ", ".join(dict.fromkeys(number_text(day) for day in at[outside].ravel()))
        raise ValueError(f"leukocytes are known from day {first} to day {last}, not on day {found}. {REMEDY}")
    return np.exp(np.interp(at, course_days, np.log(counts)))


def _course(given: TimeCourse) -> tuple[Floats, Floats]:
    """Days in order, and leukocytes on them."""
    if isinstance(given, pd.Series):
        days, counts = given.index.to_numpy(float), given.to_numpy(float)
    elif given.shape[1] == 2:
        days, counts = given.to_numpy(float).T
    else:
        raise ValueError(f"a time course has two columns, day and leukocytes per uL; this table has {given.shape[1]}.")
    known = ~(np.isnan(days) | np.isnan(counts))
    days, counts = days[known], _positive(counts[known])
    if not len(days):
        raise ValueError("the time course of leukocytes is empty.")
    if len(np.unique(days)) < len(days):
        twice = number_text(pd.Series(days)[pd.Series(days).duplicated()].iloc[0])
        raise ValueError(f"the time course of leukocytes has day {twice} twice.")
    order = np.argsort(days)
    return days[order], counts[order]


def _numbers(given: npt.ArrayLike) -> Floats:
    """Leukocytes as they are given; a text or a truth value is no number."""
    found = np.asarray(given)
    wrong = next((one for one in found.ravel().tolist() if isinstance(one, (str, bytes, bool))), None)
    if wrong is not None:
        raise ValueError(f"leukocytes={wrong!r}: give a number per uL, such as 5000.")
    return np.asarray(found, dtype=np.float64)


def _positive(counts: Floats) -> Floats:
    wrong = ~(np.isfinite(counts) & (counts > 0))
    if wrong.any():
        raise ValueError(f"leukocytes per uL are {np.atleast_1d(counts)[np.atleast_1d(wrong)][0]:g}, not positive.")
    return counts


def _of_rows(study: Study, rows: pd.DataFrame, leukocytes: Leukocytes | Mapping[str, Leukocytes]) -> Floats:
    """Leukocytes per uL of these rows; everything that is wrong in one error."""
    everything = study.observations
    if not isinstance(leukocytes, Mapping):
        return _of_part(study, everything, rows, leukocytes, None)
    missing = [subject for subject in rows["subject"].unique() if subject not in leukocytes]
    if missing:
        remedy = "Give a number, an array or a time course for each subject."
        problems = [Finding(None, subject, None, "there are no leukocytes", remedy) for subject in missing]
        raise StudyError(problems, study.source)
    counts = pd.Series(np.nan, index=rows.index)
    for subject, own in rows.groupby("subject", sort=False):
        part = everything[everything["subject"] == subject]
        counts[own.index] = _of_part(study, part, own, leukocytes[str(subject)], str(subject))
    return np.asarray(counts, dtype=np.float64)


def _of_part(
    study: Study, everything: pd.DataFrame, rows: pd.DataFrame, leukocytes: Leukocytes, subject: str | None
) -> Floats:
    days = rows["day"].to_numpy(float)
    whose = f"the {len(everything)} rows of " + ("the study" if subject is None else f"patient {subject}")
    if isinstance(leukocytes, pd.DataFrame | pd.Series):
        known, _ = _course(leukocytes)
        outside = rows[~((days >= known[0]) & (days <= known[-1]))]
        found = f"leukocytes are known from day {number_text(known[0])} to day {number_text(known[-1])} only"
        if len(outside):
            raise StudyError(_problems(outside, found), study.source)
        return _leukocytes(leukocytes, days)
    counts = _numbers(leukocytes)
    if counts.ndim == 0:
        return np.full(len(rows), float(_positive(counts)))
    if counts.shape != (len(everything),):
        raise ValueError(f"there are {counts.size} leukocytes for {whose}: give one for each.")
    chosen = counts[everything.index.get_indexer(rows.index)]
    wrong = rows[~(np.isfinite(chosen) & (chosen > 0))]
    if len(wrong):
        raise StudyError(_problems(wrong, "leukocytes are missing or not positive"), study.source)
    return chosen


def _problems(rows: pd.DataFrame, found: str) -> list[Finding]:
    places = zip(rows["row"], rows["subject"], rows["day"], strict=True)
    return [Finding(row, subject, day, found, REMEDY) for row, subject, day in places]
