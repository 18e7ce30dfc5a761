"""The page `report.html`: what needs a look, the study, figures, parameters, and what makes it again."""

from __future__ import annotations

import base64
import hashlib
import platform
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from cellkinetics.cohorts import answer
from cellkinetics.cohorts.comparison import compare_cohorts
from cellkinetics.cohorts.nca import nca
from cellkinetics.data import groups, overview
from cellkinetics.data.groups import NOBODY
from cellkinetics.data.study import Study
from cellkinetics.errors import Doubt
from cellkinetics.figures import fits as fits_plot
from cellkinetics.figures.drawing import png
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.summary import CENSORING_TEXTS, left_out
from cellkinetics.fitting.table import FIXED
from cellkinetics.lazily import pandas as pd
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.table import OTHER
from cellkinetics.reporting import looks
from cellkinetics.words import count

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure, SubFigure

Asked = TypeVar("Asked")
REPORT_NAME = "report.html"
TEMPLATE = Path(__file__).parents[1] / "_data" / "report.html.jinja"
PACKAGES = ("jax", "lmfit", "numpy", "scipy", "pandas", "matplotlib")
NONE = "–"
COHORT = "cohort"
# Patients with a picture of their own; the others are in the figures of all patients, and have their tables.
PICTURES = 120
MOST_REASONS = 3  # for which values are missing, that a page names
_DOI = re.compile(r"doi:(10\.\d{4,9}/[-._;()/:A-Za-z0-9]*[A-Za-z0-9])")


@dataclass(frozen=True)
class Origin:
    """Where a fit comes from.

    Parameters
    ----------
    command : str
        That makes it again.
    source : str
        The input file, as it was named.
    sha256 : str
        Of its bytes, "" when it is no file.
    """

    command: str
    source: str
    sha256: str

    @classmethod
    def of(cls, path: Path, command: str, name: str | None = None) -> Origin:
        """The origin of a study that has just been read from `path`."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        return cls(command, name or str(path), digest)


def page(
    fits: Fits,
    figures: Sequence[bytes],
    origin: Origin | None = None,
    population: PopulationFit | None = None,
    by: str = COHORT,
) -> str:
    """The report as one HTML page that needs no other file and no network.

    Parameters
    ----------
    fits : Fits
        Of one model.
    figures : sequence of bytes
        PNG pictures of all patients, one a page of `fits_plot.plot_fits`.
    origin : Origin, optional
        Command, input file and its hash; said to be unknown when not given.
    population : PopulationFit, optional
        Whose patients at their modes ``fits`` are: it has a section of its own.
    by : str
        The covariate by which colours, comparison and what was measured are told; the dose is compared instead of the
        cohort where not everybody has one.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    unmeasured: list[str] = []
    environment.filters |= {"number": number, "linked": linked}
    study, first = fits.study, next(iter(fits.values()))
    numbers = {subject: place for place, subject in enumerate(fits, start=1)}
    # Those who need a look first: a page of a thousand pictures opens on no phone.
    pictured = set(sorted(fits, key=lambda subject: not fits[subject].needs_look)[:PICTURES])
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        fits=fits,
        study=study,
        model=first.model,
        request=first.request,
        title=first.model.description.strip().partition("\n")[0],
        numbers=numbers,
        looks=looks.of(fits),
        needing=sum(fit.needs_look for fit in fits.values()),
        facts=overview.facts(study),
        tables=[
            ("Samples below the limit, by days since the first infusion", overview.below(study).reset_index()),
            ("Infusions of cells", overview.doses(study).reset_index()),
        ],
        cohorts=overview.cohorts(study),
        compared=_compared(study, by),
        population=None if population is None else _population(population),
        measured=_measured(study, by, unmeasured),
        unmeasured=unmeasured,
        outputs=list(dict.fromkeys(study.used["output"])),
        statuses=_statuses(fits),
        method=CENSORING_TEXTS[first.censoring],
        fixed=_fixed(fits),
        figures=[_encoded(figure) for figure in figures],
        estimates=_estimates(fits, by),
        picture=_picture(study.plot(by=by).figure),
        per_figure=fits_plot.PER_PAGE,
        pictured=len(pictured),
        patients=[_patient(fit, subject in pictured) for subject, fit in fits.items()],
        origin=origin,
        versions=versions(),
    )


def _estimates(fits: Fits, by: str) -> str:
    """The picture of all estimates by group; nothing for one patient, or where nobody was fitted."""
    if sum(fit.fitted for fit in fits.values()) < 2:
        return ""
    shown = _asked(lambda: fits.plot_parameters(by))
    return "" if shown is None else _picture(shown)


def _compared(study: Study, by: str) -> dict[str, str] | None:
    """The answer, its picture and its words; None where all were given one dose, or there is nothing to compare."""
    if by == COHORT and study.covariates["dose"].nunique() < 2:
        return None
    if by == COHORT and not study.covariates[COHORT].notna().all():
        by = "dose"
    found = _asked(lambda: compare_cohorts(study, by=by))
    if found is None:
        return None
    text, picture = answer.of(found), _picture(found.plot())
    return {"by": by, "answer": text[0].upper() + text[1:], "picture": picture, "summary": found.summary()}


def _population(population: PopulationFit) -> dict[str, Any]:
    """What the section of a population shows: its table, checks, and effects with their shrinkage."""
    table = population.parameters.reset_index()
    check, errors = population.vpc(), population.npde()
    driven = any(effect.covariate for effect in population.design.effects)
    return {
        "outcome": population.outcome, "summary": population.summary(), "check": check.summary(),
        "errors": errors.summary(), "npde": _picture(errors.plot()), "trace": _picture(population.plot_trace()),
        "forest": _picture(population.plot_forest()) if driven else "",
        "influence": _picture(population.plot_influence()),
        "rows": table[table["kind"] != OTHER].to_dict("records"), "vpc": _picture(check.plot()),
        "effects": _picture(population.plot_effects()), "predicted": _picture(population.plot_predicted()),
    }  # fmt: skip


def _measured(study: Study, by: str, reasons: list[str]) -> list[dict[str, str]]:
    """Peak, area, half-life and persistence of each patient as texts, by the heads of their columns.

    reasons : why a study allows none, or why values are missing, is added to them.
    """
    table = _asked(lambda: nca(study), reasons)
    # Of several outputs each has its table by `cellkinetics nca`; the page says so.
    if table is None or table["subject"].duplicated().any():
        return []
    heads = {
        "cmax": f"Cmax, {study.unit}", "tmax": "tmax, days", "auc_0_28": f"AUC 0-28, {study.unit} x day",
        "half_life": "half-life, days", "days_above_lloq": "days above the limit",
    }  # fmt: skip
    reasons += [text for name, head in heads.items() if (text := _missing(table, name, head))]
    members, _ = groups.of(study, by)
    return [
        {"patient": row["subject"], by: "" if members[row["subject"]] == NOBODY else members[row["subject"]]}
        | {head: _ends(row, name) for name, head in heads.items()}
        for row in table.to_dict("records")
    ]


def _missing(table: pd.DataFrame, name: str, head: str) -> str:
    """How many have no value, nor ends of one, and the most frequent reasons."""
    known = [column for column in (name, f"{name}_lower") if column in table]
    why = table.loc[table[known].isna().all(axis=1), f"{name}_reason"].value_counts()
    if why.empty:
        return ""
    more = f", and {count(len(why) - MOST_REASONS, 'more reason')}" if len(why) > MOST_REASONS else ""
    said = "; ".join(f"{reason} ({n})" for reason, n in why.head(MOST_REASONS).items())
    return f"{head}: no value in {int(why.sum())} of {len(table)}: {said}{more}"


def _asked(work: Callable[[], Asked], reasons: list[str] | None = None) -> Asked | None:
    """What a page shows besides its fits, without warnings; None where the study does not allow it, for a reason."""
    with warnings.catch_warnings():
        # What is doubtful stands in the summary.
        warnings.simplefilter("ignore", Doubt)
        try:
            return work()
        except ValueError as error:  # a StudyError among them: two patients, one group
            if reasons is not None:
                reasons.append(str(error).rstrip("."))
            return None


def _ends(row: Mapping[Any, Any], name: str) -> str:
    """A value, or the ends between which it lies."""
    low, high = row.get(f"{name}_lower", row[name]), row.get(f"{name}_upper", row[name])
    if low == high or np.isnan([low, high]).any():
        return number(row[name])
    return f"{number(low)} to {number(high)}"


def versions() -> dict[str, str]:
    """Of the library, of what it computes with, and of Python."""
    import cellkinetics

    found = {"cellkinetics": cellkinetics.__version__}
    found |= {name: metadata.version(name) for name in PACKAGES}
    return found | {"python": platform.python_version()}


def number(value: float) -> str:
    """Four digits of a number, grouped where it is large; an en dash for NaN."""
    value = float(value)
    if np.isnan(value):
        return NONE
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if 1e4 <= abs(value) < 1e7:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e7 or value == 0 else f"{value:.3g}"


def linked(text: str) -> Markup:
    """The text with each DOI in it as a link; all else escaped."""
    from markupsafe import Markup, escape

    parts, end = [], 0
    for found in _DOI.finditer(str(text)):
        parts.append(escape(text[end : found.start()]))
        parts.append(Markup('<a href="https://doi.org/{0}">doi:{0}</a>').format(found[1]))
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _patient(fit: Fit, pictured: bool) -> dict[str, Any]:
    """What the section of one patient shows."""
    table = fit.parameters.reset_index()
    return {
        "fit": fit,
        "cohort": fit.study.covariates["cohort"].fillna("").iloc[0],
        "picture": _picture(fit.plot().figure) if pictured else "",
        "estimated": table[table["status"] != FIXED].to_dict("records"),
        "fixed": table[table["status"] == FIXED].to_dict("records"),
        "sd": max(fit.sd.values()) if isinstance(fit.sd, dict) else fit.sd,
    }


def _statuses(fits: Fits) -> list[dict[str, Any]]:
    """Counts of samples by patient, and why others were left out."""
    rows = []
    for subject, fit in fits.items():
        reasons = "; ".join(left_out(fit))
        rows.append({"subject": subject, **fit.study.counts, "in_fit": fit.n_quantified + fit.n_censored})
        rows[-1] |= {"excluded": fit.n_excluded, "reasons": reasons}
    return rows


def _fixed(fits: Fits) -> list[dict[str, Any]]:
    """What was not estimated: one row a parameter, value and reason, with those whom it was fixed for."""
    tables = fits.parameters
    fixed = tables[tables["status"] == FIXED]
    rows = []
    for (name, value, unit, source), group in fixed.groupby(
        ["parameter", "value", "unit", "source"], sort=False, dropna=False
    ):
        whom = "everybody" if len(group) == len(fits) else ", ".join(group["subject"])
        rows.append({"parameter": name, "value": value, "unit": unit, "source": source, "whom": whom})
    order = list(pd.unique(tables["parameter"]))
    return sorted(rows, key=lambda row: order.index(row["parameter"]))


def _picture(figure: Figure | SubFigure) -> str:
    """A figure as base64 of a PNG; it is closed."""
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    return _encoded(png(figure, dpi=130))


def _encoded(png: bytes) -> str:
    return base64.b64encode(png).decode("ascii")
