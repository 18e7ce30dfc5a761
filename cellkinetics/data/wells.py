"""Wells of a qPCR plate: copies per well and the mass of DNA in it as copies/ug, and the means of replicate wells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.data.columns import MEANING, mass_of, meaning_of, per_well, plain
from cellkinetics.data.study import UNIT, Study
from cellkinetics.errors import Finding, StudyError
from cellkinetics.layout.sheet import Sheet
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.cells import cell_of, marks, numbers
from cellkinetics.meaning.placing import status_of

NUMBER_OF_WELLS = ("wells_averaged", "wells")


def per_ug(
    sheet: Sheet,
    columns: Mapping[str, str] | None = None,
    lloq: float | None = None,
    dna_ug: float | None = None,
) -> tuple[Sheet, dict[str, str]]:
    """The sheet with copies/ug where it has copies per well and the mass of DNA in the well.

    Parameters
    ----------
    sheet : Sheet
        With the mass of DNA in a column such as ``dna_ug`` or ``dna_ng``, and the values in one such as
        ``copies_per_well`` (used when no column has copies/ug) or the limits in one such as
        ``lloq_copies_per_well``. A cell of ``lloq`` in copies/ug wins over the limit per well.
    columns : mapping, optional
        ``{ours: theirs}``, as in `resolve`.
    lloq : float, optional
        Lower limit of quantification in copies per well, for rows without their own.
    dna_ug : float, optional
        Mass of DNA in a well, for rows without their own.

    Returns
    -------
    Sheet
        Values in a new column; that of copies per well is kept.
    dict
        `columns`, with the new column as the value when there is one.

    Raises
    ------
    StudyError
        A value or a limit per well without a mass, a mass or a limit that is not a number above 0, a limit beside
        values per well that does not say in what unit it is.
    """
    cells, given = sheet.cells, {MEANING.get(plain(ours), ours): theirs for ours, theirs in (columns or {}).items()}
    known = {meaning_of(name): name for name in reversed(cells.columns)} | given
    masses = [name for name in cells.columns if mass_of(name)]
    wells = {per_well(name): name for name in reversed(cells.columns)}
    value = known.get("value", wells.get("value"))
    value = value if value is not None and value in cells and per_well(value) == "value" else None
    limits = {kind: wells[kind] for kind in ("lloq", "lod", "uloq") if kind in wells}
    # Where the values are in another unit, a mass of DNA says nothing of them.
    said = cells[known["unit"]] if known.get("unit") in cells else pd.Series(dtype="str")
    elsewhere = bool((~said.isin(["", UNIT])).any())
    if elsewhere or (value is None and lloq is None and dna_ug is None and not limits):
        return sheet, dict(columns or {})
    wells_of = _Wells(sheet, known, masses, value, limits, set(given.values()))
    # Nothing can be divided by a mass that is not known, or known twice: that is said first, alone.
    wells_of.refuse_arguments(lloq, dna_ug)
    wells_of.take_mass(dna_ug)
    wells_of.take_limits(lloq)
    if value is not None:
        wells_of.report_bare_limits()
        wells_of.take_values()
        known["value"] = given["value"] = _free("copies_per_ug", cells)
    wells_of.raise_problems()
    return replace(sheet, cells=cells.assign(**wells_of.added)), given


class _Wells:
    """The columns of a sheet per well, and what is added to it per ug of DNA."""

    def __init__(
        self,
        sheet: Sheet,
        known: Mapping[str | None, str],
        masses: list[str],
        value: str | None,
        limits: Mapping[str, str],
        given: set[str],
    ) -> None:
        self.sheet, self.cells, self.known, self.given = sheet, sheet.cells, known, given
        self.masses, self.value, self.limits = masses, value, limits
        self.mass = np.full(len(sheet.cells), np.nan)
        self.added: dict[str, pd.Series] = {}
        self.problems: list[Finding] = []

    def report(self, at: int | None, found: str, remedy: str) -> None:
        """Note a problem of the row at a place, or of the whole table."""
        row, subject = (None, None) if at is None else (int(self.sheet.row[at]), self.known.get("subject"))
        name = None if subject not in self.cells or at is None else self.cells[subject].iloc[at] or None
        self.problems.append(Finding(row, name, None, found, remedy))

    def raise_problems(self) -> None:
        """End here when there is a problem."""
        if self.problems:
            raise StudyError(self.problems, self.sheet.source)

    def positive(self, name: str) -> Floats:
        """(n,) numbers above 0 of a column, NaN where empty; anything else is a problem."""
        number, unreadable = numbers(self.cells[name].to_numpy(dtype=object), self.sheet.decimal)
        wrong = unreadable | (number <= 0) | np.isinf(number)
        for at in np.flatnonzero(wrong).tolist():
            found = f"{name} is {self.cells[name].iloc[at]!r}"
            self.report(at, found, "Give a number above 0, or leave the cell empty.")
        return np.where(wrong, np.nan, number)

    def refuse_arguments(self, lloq: float | None, dna_ug: float | None) -> None:
        """Say what is wrong with the table and the arguments as a whole."""
        for name, number in (("lloq_copies_per_well", lloq), ("dna_ug", dna_ug)):
            if number is not None and not 0 < number < np.inf:
                self.report(None, f"{name}={number!r} was given", "Give a finite number above 0.")
        if len(self.masses) > 1:
            found = f"the columns {', '.join(self.masses)} all mean the mass of DNA"
            self.report(None, found, "Rename all but one.")
        elif not self.masses and dna_ug is None:
            what = f"{self.value} has" if self.value else "a limit is in"
            remedy = "Give it in a column dna_ug or dna_ng, or as read_study(..., dna_ug=...)."
            self.report(None, f"{what} copies per well and the mass of DNA is not known", remedy)
        self.raise_problems()

    def take_mass(self, dna_ug: float | None) -> None:
        """The mass of DNA in each row's well, ug: its own, else that of the study."""
        name, unit = ("dna_ug", 1.0) if not self.masses else (self.masses[0], mass_of(self.masses[0]) or 1.0)
        if self.masses:
            self.mass = self.positive(name) * unit
        if dna_ug is not None:
            # Said in the table, so that it stands in a file that is written of it.
            text = cell_of(dna_ug / unit, self.sheet.decimal)
            everywhere = pd.Series(text, index=self.cells.index, dtype="str")
            self.added[name] = self.cells[name].mask(self.cells[name] == "", text) if self.masses else everywhere
            self.mass = np.where(np.isnan(self.mass), dna_ug, self.mass)

    def take_limits(self, lloq: float | None) -> None:
        """Limits per well become limits per ug, where the row does not say one per ug itself."""
        for kind in {**self.limits, **({"lloq": ""} if lloq is not None else {})}:
            of_well = self.positive(self.limits[kind]) if kind in self.limits else np.full(len(self.cells), np.nan)
            if kind == "lloq" and lloq is not None:
                of_well = np.where(np.isnan(of_well), lloq, of_well)
            texts = pd.Series([cell_of(limit, self.sheet.decimal) for limit in of_well / self.mass], dtype="str")
            own = self.known.get(kind, kind)
            if (texts != "").any():
                self.added[own] = self.cells[own].mask(self.cells[own] == "", texts) if own in self.cells else texts

    def report_bare_limits(self) -> None:
        """A column called ``lloq`` beside values per well may be per well too: its name has to say."""
        for kind in ("lloq", "lod", "uloq"):
            own = self.known.get(kind, "")
            if own in self.cells and MEANING.get(plain(own)) == kind and own not in self.given:
                found = f"{self.value} has copies per well, and the column {own} does not say in what it is"
                self.report(None, found, f"Call it {kind}_copies_per_well, or {kind} (copies/ug).")

    def take_values(self) -> None:
        """Values per well become values per ug in a new column; marks such as ``<`` stay."""
        # DV and LIMIT are two ends of one interval: LIMIT is per well too, unless it says another unit.
        limit = next((name for name in self.cells.columns if MEANING.get(plain(name)) == "limit"), None)
        for name, target in ((self.value, _free("copies_per_ug", self.cells)), (limit, limit)):
            if name is None or target is None:
                continue
            mark, number = marks(self.cells[name].to_numpy(dtype=object), self.sheet.decimal)
            there = np.isin(mark, ["number", "below", "above"])
            # 0 copies are 0 copies/ug, whatever the mass.
            for at in np.flatnonzero(there & np.isnan(self.mass) & (number != 0)).tolist():
                found = f"{name} is {self.cells[name].iloc[at]} and the mass of DNA is not known"
                self.report(at, found, "Give it in the row, or read_study(..., dna_ug=...).")
            sign = np.select([mark == "below", mark == "above"], ["<", ">"], "")
            with np.errstate(invalid="ignore"):
                per_mass = np.where(number == 0, 0.0, number / self.mass)
            texts = [s + cell_of(n, self.sheet.decimal) for s, n in zip(sign, per_mass, strict=True)]
            self.added[target] = self.cells[name].mask(there, pd.Series(texts, dtype="str"))


def _free(name: str, cells: pd.DataFrame) -> str:
    return name if name not in cells else f"{name}_of_wells"


def dna_mass(study: Study) -> Floats:
    """(rows of the observations,) ug of DNA in all wells of each sample; NaN where the study does not say.

    The mass in a well, from a column such as ``dna_ug`` or ``dna_ng`` of the table, times the number of wells: those
    that were averaged, or a column ``wells``, or one. That the molecules of averaged wells count as those of one
    larger well holds to first order.
    """
    table, each = study.observations, study.observations["subject"]
    mass = np.full(len(table), np.nan)

    def column(name: str) -> Floats:
        # A column that is the same for all samples of a subject is a covariate.
        cells = table[name] if name in table else each.map(study.covariates[name])
        return pd.to_numeric(cells, errors="coerce").to_numpy(float)

    columns = [*table.columns, *study.covariates.columns]
    for name in (str(name) for name in columns if mass_of(str(name))):
        mass = np.where(np.isnan(mass), column(name) * (mass_of(name) or 1.0), mass)
    for name in NUMBER_OF_WELLS:
        if name in columns:
            wells = column(name)
            mass = mass * np.where(wells > 0, wells, 1.0)
            break
    return np.where(mass > 0, mass, np.nan)


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
    status = status_of(lower, upper, all_read)
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
