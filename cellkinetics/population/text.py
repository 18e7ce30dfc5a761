"""A population fit in words."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.fitting.summary import CENSORING_TEXTS
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.population import table
from cellkinetics.words import WIDE, count, labelled

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit

_wide = partial(labelled, width=WIDE)


def summary(fit: PopulationFit) -> str:
    """See `PopulationFit.summary`."""
    design = fit.design
    one_for_all = [name for name in design.names if name not in design.random]
    covariates = [effect.label for effect in design.effects if effect.covariate]
    lines = [
        f"{fit.model.name}, a population of {count(len(fit.subjects), 'patient')}"
        + (" (simulated data)" if fit.study.simulated else ""),
        *_wide("outcome", fit.outcome),
        *_wide("varying", ", ".join(design.random) + ("; correlated: " + _blocks(fit) if design.pairs else "")),
        *(_wide("for all", ", ".join(one_for_all)) if one_for_all else []),
        *(_wide("driven", ", ".join(covariates)) if covariates else []),
        *[line for who, why in fit.left_out.items() for line in _wide("left out", f"{who}: {why}")],
        *_wide("samples", f"{fit.n_quantified} quantified, {fit.n_censored} censored"),
        *_wide("censored", CENSORING_TEXTS[fit.request.censoring]),
        *([] if fit.request.error == LOG else _wide("error", fit.request.error_model.words)),
        *_wide(
            "method",
            f"SAEM, {len(fit.trace)} iterations of {count(len(fit.path.state.chains.phi), 'chain')} a patient, then "
            "Newton steps on the likelihood by importance sampling",
        ),
        *_wide("ln L", _criteria(fit)),
        "",
        estimates(fit),
        "",
        *_wide("fixed", _fixed(fit)),
    ]
    return "\n".join(lines) + "\n"


def _blocks(fit: PopulationFit) -> str:
    return "; ".join(" with ".join(block) for block in fit.design.correlated)


def _criteria(fit: PopulationFit) -> str:
    sampled = f"{fit.log_likelihood:.2f} +- {fit.log_likelihood_error:.2f} by importance sampling"
    sampled += f", {fit.likelihood.draws:,} draws; {count(fit.n_free, 'value')}"
    if fit.has_priors:
        return f"{sampled}; no AIC: with priors this is not the maximum of the likelihood"
    return f"{sampled}; AIC {fit.aic:.2f}, BICc {fit.bicc:.2f}"


def estimates(fit: PopulationFit) -> str:
    """The table of what is estimated."""
    rows = fit.parameters[fit.parameters["kind"] != table.OTHER]
    shown = rows[["value", "stderr", "rse", "lower", "upper", "unit", "shrinkage"]].copy()
    for name in ("value", "stderr", "lower", "upper"):
        shown[name] = [f"{value:.4g}" if np.isfinite(value) else "" for value in rows[name]]
    shown["rse"] = [f"{value:.0f}%" if np.isfinite(value) else "" for value in rows["rse"]]
    shown["shrinkage"] = [f"{value:.0%}" if np.isfinite(value) else "" for value in rows["shrinkage"]]
    return shown.rename_axis(None).to_string()


def _fixed(fit: PopulationFit) -> str:
    rows = fit.parameters[fit.parameters["kind"] == table.OTHER]
    return "; ".join(f"{name} {row['value']:.4g} {row['unit']}" for name, row in rows.iterrows()) or "nothing"
