"""The parameter table of a population fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special
from cellkinetics.population.design import SD_BETWEEN, Effect
from cellkinetics.population.importance import mean_of
from cellkinetics.population.individuals import problem_given
from cellkinetics.population.schedule import labels_of
from cellkinetics.sameness import made_of
from cellkinetics.words import dose_text

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit

TABLE_COLUMNS = [
    "kind", "value", "stderr", "rse", "lower", "upper", "unit", "estimate", "estimate_stderr", "shrinkage", "mc_error",
    "status", "source",
]  # fmt: skip
MEAN, COEFFICIENT, CORRELATION, SD, OTHER = "mean", "coefficient", "correlation", "sd", "fixed"
EFFECT_TABLE = ["parameter", "covariate", "what", "at", "reference", "ratio", "lower", "upper", "note"]
FROM_PERCENTILE, TO_PERCENTILE, GROUP = "5th percentile", "95th percentile", "group"
WHILE_GIVEN = "while given"  # of a comedication
NORMAL = 1.959963984540054  # half width of a 95% interval in standard errors


def parameters(fit: PopulationFit) -> pd.DataFrame:
    """See `PopulationFit.parameters`."""
    design, model, polished = fit.design, fit.model, fit.polished
    labels, v = labels_of(fit.population), polished.v
    variance = np.diag(polished.covariance)
    errors = np.where(polished.moving & (variance > 0), np.sqrt(np.maximum(variance, 0.0)), np.nan)
    noise = polished.mc_errors
    kinds = _kinds(fit)
    given = [name for name in fit.patients.common_sds if name in fit.request.fixed]
    rows = {}
    for at, (label, kind) in enumerate(zip(labels, kinds, strict=True)):
        name = design.effects[at].parameter if at < len(design.effects) else label
        row = _row(fit, kind, name, float(v[at]), float(errors[at]))
        row |= {"estimate": float(v[at]), "estimate_stderr": float(errors[at]), "mc_error": float(noise[at])}
        status = "free" if polished.moving[at] else "at bound"
        if label in given:
            status = "fixed"
        elif polished.moving[at] and np.isnan(variance[at]):
            status = "not identifiable"
        row |= {"status": status, "source": _source(fit, kind, at, status)}
        rows[label] = row
    for name, shrinkage in fit.shrinkage.items():
        rows[f"sd between {name}"]["shrinkage"] = shrinkage
    outputs = list(model.outputs)
    for at, name in enumerate(fit.patients.sd_names):
        rows[name]["shrinkage"] = fit.residual_shrinkage.get(outputs[at % len(outputs)], np.nan)
    for name, parameter in model.parameters.items():
        if name in design.names:
            continue
        tied = name in dict(fit.patients.problems[0].ties)
        value = fit.natural_at(np.asarray(polished.theta.beta))[name]
        rows[name] = {
            "kind": OTHER, "value": value, "unit": fit.patients.unit_of(name),
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


def effects(fit: PopulationFit, level: float) -> pd.DataFrame:
    """See `PopulationFit.effects`."""
    design, estimates = fit.design, fit.parameters
    driven = dict.fromkeys((effect.parameter, effect.column) for effect in design.effects if effect.covariate)
    rows = []
    for name, covariate in driven:
        parameter = fit.patients.parameters[name]
        own = [at for at, effect in enumerate(design.effects) if effect.parameter == name]
        beta, columns = np.asarray(fit.polished.theta.beta)[own], [design.effects[at] for at in own]
        covariance = fit.polished.covariance[np.ix_(own, own)]
        errors = estimates.loc[[effect.label for effect in columns], "estimate_stderr"].to_numpy(float)
        median = {effect.column: _median(fit, effect) for effect in columns if effect.covariate}
        usual = _weights(columns, median)
        for what, there in _places(fit, columns, covariate):
            weights = _weights(columns, {**median, covariate: there})
            ends = [parameter.from_estimation(float(row @ beta)) for row in (weights, usual)]
            row = {"parameter": name, "covariate": covariate, "what": what, "at": there, "reference": median[covariate]}
            if not min(ends) > 0:
                row["note"] = f"no ratio: {name} is not above 0 in both"
                rows.append(row)
                continue
            # Of the ln of a natural value by the coefficients: on the log scale the mean cancels.
            slopes = [parameter.slope(value) / value for value in ends]
            gradient = slopes[0] * weights - slopes[1] * usual
            used = gradient != 0
            lost = [effect.label for effect, moves, se in zip(columns, used, errors, strict=True)
                    if moves and np.isnan(se)]  # fmt: skip
            spread = np.nan if lost else np.sqrt(gradient[used] @ covariance[np.ix_(used, used)] @ gradient[used])
            row |= _between(ends[0] / ends[1], spread, level)
            row["note"] = f"no interval: {lost[0]} has no standard error" if lost else ""
            rows.append(row)
    rows += _of_comedication(fit, level)
    table = pd.DataFrame(rows, columns=EFFECT_TABLE)
    return table.astype({"at": object, "reference": object, "ratio": float, "lower": float, "upper": float})


def _between(ratio: float, spread: Any, level: float) -> dict[str, float]:
    """A ratio and its interval, whose ln has this standard error."""
    half = float(special.ndtri(0.5 + level / 2)) * spread
    return {"ratio": ratio, "lower": ratio * np.exp(-half), "upper": ratio * np.exp(half)}


def _of_comedication(fit: PopulationFit, level: float) -> list[dict[str, Any]]:
    """Factors of comedication that were estimated: the ratio of each rate while it is given to that without it."""
    rows = []
    for name, each in fit.model.comedication.items():
        if name not in fit.design.names:
            continue
        row: dict[str, Any] = fit.parameters.loc[name].to_dict()  # pyright: ignore[reportAssignmentType]
        # What drives a factor has rows of its own: this is the one of the median patient where that changes nothing.
        spread = float(row["estimate_stderr"])
        rows.append({
            "parameter": each.rate, "covariate": each.what, "what": WHILE_GIVEN, "at": "given",
            "reference": "not given", **_between(float(row["value"]), spread, level),
            "note": f"no interval: {name} has no standard error" if np.isnan(spread) else "",
        })  # fmt: skip
    return rows


def _median(fit: PopulationFit, effect: Effect) -> float | str:
    """The value of the median patient, one that a patient has; of groups the reference."""
    return effect.reference if effect.level else float(np.quantile(_seen(fit, effect), 0.5, method="inverted_cdf"))


def _seen(fit: PopulationFit, effect: Effect) -> Floats:
    """Values of a number, of the patients."""
    return fit.study.covariates[effect.column].reindex(list(fit.subjects)).to_numpy(float)


def _places(fit: PopulationFit, columns: Sequence[Effect], covariate: str) -> list[tuple[str, float | str]]:
    """Where a covariate is looked at, but for its reference: percentiles of a number, groups."""
    own = [effect for effect in columns if effect.column == covariate]
    if own[0].level:
        return [(GROUP, effect.level) for effect in own]
    seen = _seen(fit, own[0])
    middle, *ends = np.quantile(seen, [0.5, 0.05, 0.95], method="inverted_cdf")
    if ends[0] == ends[1]:  # what fewer than one in twenty have
        ends = [seen.min(), seen.max()]
    whats = ("lowest", "highest") if ends[0] == seen.min() and ends[1] == seen.max() else (
        FROM_PERCENTILE, TO_PERCENTILE
    )  # fmt: skip
    return [(what, float(end)) for what, end in zip(whats, ends, strict=True) if end != middle]


def _weights(columns: Sequence[Effect], values: Mapping[str, float | str]) -> Floats:
    """Of the columns of one parameter, in a patient with these values."""
    return np.array([effect.weight(values[effect.column]) if effect.covariate else 1.0 for effect in columns])


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
    design, own = fit.design, fit.patients.own_sds
    return [
        *(COEFFICIENT if effect.covariate else SD if effect.parameter in own else MEAN for effect in design.effects),
        *[SD_BETWEEN] * len(design.random), *[CORRELATION] * len(design.pairs), *[SD] * len(fit.patients.common_sds),
    ]  # fmt: skip


def _row(fit: PopulationFit, kind: str, name: str, at: float, se: float) -> dict[str, Any]:
    """Value, standard error and interval on the natural scale; intervals are formed on the estimation scale."""
    row: dict[str, Any] = {"kind": kind, "shrinkage": np.nan}
    ends = (at - NORMAL * se, at + NORMAL * se)
    if kind == MEAN:
        parameter = fit.patients.parameters[name]
        value = parameter.from_estimation(at)
        lower, upper = (parameter.from_estimation(end) if np.isfinite(end) else np.nan for end in ends)
        row |= {"value": value, "stderr": abs(parameter.slope(value)) * se, "lower": lower, "upper": upper}
        row["unit"] = fit.patients.unit_of(name)
    elif kind == COEFFICIENT:
        row |= {"value": at, "stderr": se, "lower": ends[0], "upper": ends[1], "unit": _unit_of_effect(fit, name)}
    elif kind == CORRELATION:
        value = np.tanh(at)
        row |= {"value": value, "stderr": (1 - value**2) * se, "lower": np.tanh(ends[0]), "upper": np.tanh(ends[1])}
        row["unit"] = "1"
    else:
        value = np.exp(at)
        row |= {"value": value, "stderr": value * se, "lower": np.exp(ends[0]), "upper": np.exp(ends[1])}
        varies = name.removeprefix(f"{SD_BETWEEN} ")
        row["unit"] = _unit_of_effect(fit, varies) if kind == SD_BETWEEN else fit.patients.unit_of(name)
    row["rse"] = 100 * row["stderr"] / abs(row["value"]) if row["value"] else np.nan
    return row


def _unit_of_effect(fit: PopulationFit, name: str) -> str:
    """Of what is added on the estimation scale."""
    patients = fit.patients
    return {"log": "ln", "logit": "logit"}.get(patients.parameters[name].scale, patients.unit_of(name))


def _source(fit: PopulationFit, kind: str, at: int, status: str) -> str:
    if status == "fixed":
        return "fixed by the user"
    text = "estimated"
    if (label := labels_of(fit.population)[at]) in fit.request.prior:
        text += f" with the prior {fit.request.prior[label]}"
    text += ", of the median patient" if label in fit.patients.own_sds else ""
    if kind in (MEAN, SD) and at < len(fit.design.effects):
        effect = fit.design.effects[at]
        others = [e for e in fit.design.effects if e.parameter == effect.parameter and e.covariate]
        at_values = dict.fromkeys(map(_centre, others))
        text += f" at {', '.join(at_values)}" if at_values else ""
    if kind == COEFFICIENT and fit.design.effects[at].level:
        text += f": difference from {fit.design.effects[at].reference}"
    return text


def _centre(effect: Effect) -> str:
    """Where a covariate changes nothing."""
    if effect.level:
        return f"{effect.column} {effect.reference}"
    if effect.column == BY_DOSE:
        return f"a dose of {dose_text(float(f'{effect.centre:.3g}'))}"
    return f"{effect.column} {effect.centre:.4g}"


def ratio(fit: PopulationFit, smaller: PopulationFit) -> pd.Series[float]:
    """See `PopulationFit.likelihood_ratio`."""
    same = fit.subjects == smaller.subjects and fit.n == smaller.n and fit.request.error == smaller.request.error
    df = fit.n_free - smaller.n_free
    if not same or df < 1 or fit.design.random != smaller.design.random:
        raise ModelError(
            "a likelihood ratio is of two fits of the same samples and random effects, the second with fewer "
            "coefficients. Take fit.likelihood_ratio(fit.without(...))."
        )
    if differs := _asked_apart(fit, smaller):
        raise ModelError(
            f"a likelihood ratio is of two fits that differ in their coefficients alone: these were asked with another "
            f"{', '.join(differs)}. Take fit.likelihood_ratio(fit.without(...))."
        )
    ours, theirs = (fit.asked["method"], fit.asked["nodes"]), (smaller.asked["method"], smaller.asked["nodes"])
    one, other = fit.approximation, smaller.approximation
    if (one is None) != (other is None) or (one is not None and ours != theirs):
        raise ModelError(
            f"a likelihood ratio is of two maxima of one thing: these are by method={ours[0]!r} and {theirs[0]!r}"
            f"{'' if ours[0] != theirs[0] else ' with other nodes'}. Fit both alike."
        )
    first, second = one or fit.likelihood, other or smaller.likelihood
    statistic = 2 * (first.value - second.value)
    error = 2 * float(np.hypot(first.error, second.error))
    p = float(special.chdtrc(df, max(statistic, 0.0)))
    return pd.Series({"statistic": statistic, "error": error, "df": float(df), "p": p})


def _asked_apart(fit: PopulationFit, smaller: PopulationFit) -> list[str]:
    """What of two fits is not alike, that a likelihood ratio takes for the same."""
    one, other = fit.request, smaller.request
    parts: dict[str, tuple[Any, Any]] = {"model": (fit.model, smaller.model)}
    parts |= {name: (getattr(one, name), getattr(other, name)) for name in ("tie", "censoring", "doses", "prior")}
    # A parameter that only the smaller one holds is one estimate less: that is nested.
    parts["fixed"] = (one.fixed, {name: value for name, value in other.fixed.items() if name in one.fixed})
    return [f"{name}=" for name, (ours, theirs) in parts.items() if made_of(ours) != made_of(theirs)]
