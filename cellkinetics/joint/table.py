"""The parameter table and the words of a joint fit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.fitting.summary import CENSORING_TEXTS, estimates, medians
from cellkinetics.fitting.table import (
    AT_BOUND,
    DRIVEN_BY_DOSE,
    ESTIMATE_COLUMNS,
    FIXED,
    FREE,
    NOT_IDENTIFIABLE,
    SHARED,
    by_prior,
)
from cellkinetics.joint.design import ALL, BY_DOSE, Column
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.likelihood.sd_prior import SdPrior
from cellkinetics.optimising.uncertainty import Uncertainty
from cellkinetics.words import WIDE, count, dose_text, labelled

if TYPE_CHECKING:
    from cellkinetics.joint.result import JointFit

_labelled = partial(labelled, width=WIDE)


def parameters(fit: JointFit) -> pd.DataFrame:
    """See `JointFit.parameters`."""
    tables = {subject: each.parameters for subject, each in fit.each.items()}
    first = next(iter(tables.values()))
    once = [name for name in fit.shared if fit.shared[name] not in (BY_DOSE,)]
    rows: list[dict[str, Any]] = []
    for k, column in enumerate(fit.columns):
        rows.append(_shared_row(fit, k, column, first))
    said = {*once, *(fit.request.error_model.sd_names(fit.model.outputs) if fit.common_sd else ())}
    constant = [name for name in first.index if name not in said and _same(tables, name)]
    for subject, table in tables.items():
        own = table[~table.index.isin([*said, *constant])]
        for name, row in own.iterrows():
            rows.append({"subject": subject, "parameter": name, **row})
            if name in fit.shared:
                rows[-1] |= {"status": DRIVEN_BY_DOSE, "source": "estimated from the shared values"}
    fixed = set(first.index[first["status"] == FIXED])
    shown = [name for name in first.index if name in constant or (name in said and name in fixed)]
    rows += [{"subject": ALL, "parameter": name, **first.loc[name]} for name in shown]
    return pd.DataFrame(rows, columns=["subject", "parameter", *ESTIMATE_COLUMNS])


def _same(tables: dict[str, pd.DataFrame], name: str) -> bool:
    """Whether the parameter is fixed at one value in everybody."""
    rows = [table.loc[name] for table in tables.values()]
    return all(row["status"] == FIXED and row["value"] == rows[0]["value"] for row in rows)


def _shared_row(fit: JointFit, k: int, column: Column, first: pd.DataFrame) -> dict[str, Any]:
    """One shared value with its interval, formed on the estimation scale."""
    name, at = column.parameter, float(fit.s[k])
    parameter = fit.model.parameters.get(name)
    variance = float(fit.covariance[k, k])
    se = np.sqrt(variance) if variance > 0 else np.nan
    half = by_prior(_known(fit), _share_of_prior(fit, column, variance)) * se
    row: dict[str, Any] = {"subject": _whose(fit, column), "parameter": column.label}
    held = variance == 0.0
    status = AT_BOUND if held else NOT_IDENTIFIABLE if np.isnan(variance) else SHARED
    source = "estimated"
    if column.slope:
        unit = "1" if parameter is not None and parameter.scale == "log" else "per ln dose"
        row |= {"value": at, "stderr": se, "lower": at - half, "upper": at + half, "unit": unit}
    elif parameter is None:
        # The maximum-likelihood sd is too small with few samples: value and interval are corrected alike.
        sd = np.exp(at) * fit.inflation
        row |= {"value": sd, "stderr": sd * se, "lower": sd * np.exp(-half), "upper": sd * np.exp(half)}
        row["unit"] = first.loc[name, "unit"]
        source += f": {np.exp(at):.3g} by maximum likelihood, times {fit.inflation:.3g}" if fit.inflation > 1 else ""
    else:
        to = parameter.from_estimation
        slope = (to(at + 1e-6) - to(at - 1e-6)) / 2e-6
        row |= {"value": to(at), "stderr": abs(slope) * se, "lower": to(at - half), "upper": to(at + half)}
        row["unit"] = first.loc[name, "unit"]
        if fit.shared[name] == BY_DOSE:
            source += f" at a dose of {dose_text(fit.reference_dose)}"
    if name in fit.request.prior and not column.slope:
        source += f" with the prior {fit.request.prior[name]}"
    return row | {"status": status, "source": source}


def _whose(fit: JointFit, column: Column) -> str:
    """Everybody, or a group with the covariate's name in front."""
    if column.of in (ALL, BY_DOSE):
        return ALL
    return f"{fit.shared[column.parameter]} {column.of}"


def _known(fit: JointFit) -> Uncertainty:
    return Uncertainty(fit.covariance, fit.degrees_of_freedom, fit.inflation, ())


def _share_of_prior(fit: JointFit, column: Column, variance: float) -> float:
    """How much of what is known of a shared value is its prior's."""
    sd = np.inf
    if column.parameter in fit.request.prior and not column.slope:
        sd = fit.request.prior[column.parameter].sd
    elif fit.sd_by and column.parameter not in fit.model.parameters:
        sd = SdPrior().sd
    return float(np.clip(variance / sd**2, 0.0, 1.0))


def summary(fit: JointFit) -> str:
    """See `JointFit.summary`."""
    table = fit.parameters
    what = [name if how == ALL else f"{name} by {how}" for name, how in fit.shared.items()]
    sd = "one residual sd for all" if fit.common_sd else "an sd for each subject"
    lines = [
        f"{fit.model.name}, {count(len(fit.each), 'subject')} in one fit"
        + (" (simulated data)" if fit.study.simulated else ""),
        *_labelled("outcome", fit.outcome),
        *_labelled("shared", f"{', '.join(what) or 'nothing'}; {sd}"),
        *[line for text in _left_out(fit) for line in _labelled("left out", text)],
        *_labelled("samples", f"{fit.n_quantified} quantified, {fit.n_censored} censored, {fit.n_excluded} excluded"),
        *_labelled("censored", CENSORING_TEXTS[fit.censoring]),
        *([] if fit.request.error == LOG else _labelled("error", fit.request.error_model.words)),
        *_labelled(
            "method",
            "maximum of the joint likelihood" + (" and priors" if fit.request.prior else "")
            + f": damped scoring, then exact Newton steps; {fit.starts[0]} of "
            f"{count(fit.starts[1], 'start')} reached the best",
        ),
        *_labelled("ln L", _criteria(fit)),
        *_labelled("intervals", _intervals(fit)),
    ]  # fmt: skip
    ours = table[table["status"].isin([SHARED, AT_BOUND, NOT_IDENTIFIABLE]) & ~table["subject"].isin(fit.each)]
    if len(ours):
        names = [
            f"{row.parameter} ({row.subject})" if row.subject != ALL else row.parameter for row in ours.itertuples()
        ]
        lines += ["", estimates(ours.set_index(pd.Index(names)))]
    own = table[table["subject"].isin(fit.each) & table["status"].isin([FREE, DRIVEN_BY_DOSE])]
    if len(own):
        lines += ["", medians(own)]
    fixed = table[table["status"] == FIXED]
    texts = [f"{row.parameter} {row.value:.4g} {row.unit}" for row in fixed[fixed["subject"] == ALL].itertuples()]
    lines += ["", *_labelled("fixed", "; ".join(texts) or "nothing")]
    return "\n".join(lines) + "\n"


def _left_out(fit: JointFit) -> list[str]:
    return [f"{subject}: {reason}" for subject, reason in fit.left_out.items()]


def _criteria(fit: JointFit) -> str:
    if fit.request.prior:
        return f"{fit.log_likelihood:.3f}, no AIC: with priors this is not the maximum of the likelihood"
    n_free = count(fit.n_free, "value")
    return f"{fit.log_likelihood:.3f}; {n_free}; AIC {fit.aic:.2f}, AICc {fit.aicc:.2f}, BIC {fit.bic:.2f}"


def _intervals(fit: JointFit) -> str:
    if np.isinf(fit.degrees_of_freedom):
        return "95%, exact Hessian, normal (sd was given)"
    text = f"95%, exact Hessian, t with {fit.degrees_of_freedom:.1f} degrees of freedom, sd enlarged by "
    text += f"{fit.inflation:.2f}. A shared value is taken to be the same in all: its interval knows of no "
    return text + "difference between patients, and is too short where there is one"
