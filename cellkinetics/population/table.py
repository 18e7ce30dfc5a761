"""The parameter table of a population fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellkinetics.joint.design import BY_DOSE
from cellkinetics.modelling.levels import unit_of
from cellkinetics.population.design import Effect
from cellkinetics.population.importance import mean_of
from cellkinetics.population.modes import problem_given
from cellkinetics.population.schedule import labels_of
from cellkinetics.words import dose_text

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit

TABLE_COLUMNS = [
    "kind", "value", "stderr", "rse", "lower", "upper", "unit", "estimate", "estimate_stderr", "shrinkage", "mc_error",
    "status", "source",
]  # fmt: skip
MEAN, COEFFICIENT, SD_BETWEEN, CORRELATION, SD, OTHER = (
    "mean", "coefficient", "sd between", "correlation", "sd", "fixed",
)  # fmt: skip
NORMAL = 1.959963984540054  # half width of a 95% interval in standard errors


def parameters(fit: PopulationFit) -> pd.DataFrame:
    """See `PopulationFit.parameters`."""
    design, model, polished = fit.design, fit.model, fit.polished
    labels, v = labels_of(fit.population), polished.v
    variance = np.diag(polished.covariance)
    errors = np.where(polished.moving & (variance > 0), np.sqrt(np.maximum(variance, 0.0)), np.nan)
    noise = polished.mc_errors
    # Where nothing varies, draws of what varies tell next to nothing of the mean.
    p = len(design.effects)
    still = {name for at, name in enumerate(design.random) if not polished.moving[p + at]}
    errors[:p] = np.where([effect.parameter in still for effect in design.effects], np.nan, errors[:p])
    kinds = _kinds(fit)
    rows = {}
    for at, (label, kind) in enumerate(zip(labels, kinds, strict=True)):
        name = design.effects[at].parameter if at < len(design.effects) else label
        row = _row(fit, kind, name, float(v[at]), float(errors[at]))
        row |= {"estimate": float(v[at]), "estimate_stderr": float(errors[at]), "mc_error": float(noise[at])}
        status = "free" if polished.moving[at] else "at bound"
        if kind == SD and not fit.patients.sd_free[labels[-len(fit.patients.sd_names) :].index(label)]:
            status = "fixed"
        elif polished.moving[at] and np.isnan(variance[at]):
            status = "not identifiable"
        row |= {"status": status, "source": _source(fit, kind, at, status)}
        rows[label] = row
    for name, shrinkage in fit.shrinkage.items():
        rows[f"sd between {name}"]["shrinkage"] = shrinkage
    for name, parameter in model.parameters.items():
        if name in design.names:
            continue
        tied = name in dict(fit.patients.problems[0].ties)
        value = fit.natural_at(np.asarray(polished.theta.beta))[name]
        rows[name] = {
            "kind": OTHER, "value": value, "unit": unit_of(model, name, fit.study.unit),
            "status": "tied" if tied else "fixed",
            "source": "tied" if tied else "fixed by the user" if name in fit.request.fixed else parameter.source,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=TABLE_COLUMNS).rename_axis("parameter")


def residuals(fit: PopulationFit) -> pd.DataFrame:
    """See `PopulationFit.residuals`."""
    means = mean_of(fit.design.matrix, fit.polished.theta, fit.population.random)
    tables = {}
    for at, (subject, one) in enumerate(fit.each.items()):
        own = one.residuals
        typical = problem_given(fit.patients, fit.design, fit.polished.theta, at).curve(means[at], 0).value
        own.insert(list(own.columns).index("predicted") + 1, "population", np.exp(typical[: len(own)]))  # pyright: ignore[reportArgumentType]
        tables[subject] = own
    return pd.concat(tables, names=["subject"]).reset_index(level="subject").reset_index(drop=True)


def influence(fit: PopulationFit) -> pd.DataFrame:
    """See `PopulationFit.influence`."""
    polished, labels = fit.polished, labels_of(fit.population)
    covariance = np.nan_to_num(polished.covariance)
    free, errors = np.diag(covariance) > 0, np.sqrt(np.diag(covariance))
    moves = -(polished.scores @ covariance)
    with np.errstate(divide="ignore", invalid="ignore"):
        shifts = np.where(free, moves / errors, np.nan)
    cook = np.einsum("nd,de,ne->n", polished.scores, covariance, polished.scores) / max(int(free.sum()), 1)
    samples = [len(problem.samples) for problem in fit.patients.problems]
    table = pd.DataFrame(shifts[:, free], columns=np.array(labels, object)[free], index=list(fit.subjects))
    table.insert(0, "samples", samples)
    table.insert(1, "log_likelihood", [fit.likelihood.each[subject] for subject in fit.subjects])
    return table.assign(cook=cook).rename_axis("subject")


def _kinds(fit: PopulationFit) -> list[str]:
    """Of each of `labels_of`."""
    design = fit.design
    return [
        *(COEFFICIENT if effect.covariate else MEAN for effect in design.effects),
        *[SD_BETWEEN] * len(design.random), *[CORRELATION] * len(design.pairs), *[SD] * len(fit.patients.sd_names),
    ]  # fmt: skip


def _row(fit: PopulationFit, kind: str, name: str, at: float, se: float) -> dict[str, Any]:
    """Value, standard error and interval on the natural scale; intervals are formed on the estimation scale."""
    row: dict[str, Any] = {"kind": kind, "shrinkage": np.nan}
    ends = (at - NORMAL * se, at + NORMAL * se)
    if kind == MEAN:
        parameter = fit.model.parameters[name]
        value = parameter.from_estimation(at)
        lower, upper = (parameter.from_estimation(end) if np.isfinite(end) else np.nan for end in ends)
        row |= {"value": value, "stderr": abs(parameter.slope(value)) * se, "lower": lower, "upper": upper}
        row["unit"] = unit_of(fit.model, name, fit.study.unit)
    elif kind == COEFFICIENT:
        scale = fit.model.parameters[name].scale
        row |= {"value": at, "stderr": se, "lower": ends[0], "upper": ends[1]}
        row["unit"] = {"log": "ln", "logit": "logit"}.get(scale, unit_of(fit.model, name, fit.study.unit))
    elif kind == CORRELATION:
        value = np.tanh(at)
        row |= {"value": value, "stderr": (1 - value**2) * se, "lower": np.tanh(ends[0]), "upper": np.tanh(ends[1])}
        row["unit"] = "1"
    else:
        value = np.exp(at)
        row |= {"value": value, "stderr": value * se, "lower": np.exp(ends[0]), "upper": np.exp(ends[1])}
        row["unit"] = _unit_of_spread(fit, name) if kind == SD_BETWEEN else _unit_of_sd(fit, name)
    row["rse"] = 100 * row["stderr"] / abs(row["value"]) if row["value"] else np.nan
    return row


def _unit_of_spread(fit: PopulationFit, label: str) -> str:
    name = label.removeprefix("sd between ")
    scale = fit.model.parameters[name].scale
    return {"log": "ln", "logit": "logit"}.get(scale, unit_of(fit.model, name, fit.study.unit))


def _unit_of_sd(fit: PopulationFit, name: str) -> str:
    error, outputs = fit.request.error_model, len(fit.model.outputs)
    at = fit.patients.sd_names.index(name)
    return fit.study.unit if error.additive(outputs)[at] else error.sd_unit


def _source(fit: PopulationFit, kind: str, at: int, status: str) -> str:
    if status == "fixed":
        return "fixed by the user"
    text = "estimated"
    if kind == MEAN:
        effect = fit.design.effects[at]
        if effect.parameter in fit.request.prior:
            text += f" with the prior {fit.request.prior[effect.parameter]}"
        others = [e for e in fit.design.effects if e.parameter == effect.parameter and e.covariate]
        at_values = dict.fromkeys(map(_centre, others))
        text += f" at {', '.join(at_values)}" if at_values else ""
    if kind == COEFFICIENT and fit.design.effects[at].level:
        text += f": difference from {fit.design.effects[at].reference}"
    return text


def _centre(effect: Effect) -> str:
    """Where a covariate changes nothing."""
    if effect.level:
        return f"{effect.covariate} {effect.reference}"
    if effect.covariate == BY_DOSE:
        return f"a dose of {dose_text(float(f'{effect.centre:.3g}'))}"
    return f"{effect.covariate} {effect.centre:.4g}"
