"""Fits in words: method, counts, what was fixed and why, estimates, how it ended."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.fitting import few
from cellkinetics.fitting.table import FIXED, FREE, NOT_IDENTIFIABLE, prior_text
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling import levels
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.words import count, digits, labelled

if TYPE_CHECKING:
    from cellkinetics.fitting.fits import Fits
    from cellkinetics.fitting.result import Fit

CENSORING_TEXTS = {
    "m3": "probability of lying below the limit (M3)",
    "m4": "probability of lying below the limit, given a positive value (M4; equals M3 under a log-normal error)",
    "drop": "dropped (M1): biased, for comparison only",
    "half": "set to half the limit (M5): biased, for comparison only",
}


def of_fit(fit: Fit) -> str:
    """One patient's fit."""
    table = fit.parameters
    lines = [
        f"{fit.subject}: {fit.model.name}" + (" (simulated data)" if fit.study.simulated else ""),
        *labelled("outcome", fit.outcome),
        *labelled("samples", _samples(fit)),
        *labelled("censored", censored(fit)),
        *labelled("error", fit.problem.error.words),
        *_unit(fit),
    ]
    if fit.fitted:
        lines += [
            *labelled("method", _method(fit)),
            *labelled(
                "ln L",
                f"{fit.log_likelihood:.3f} (of ln copies {fit.log_likelihood_ln:.3f}), "
                + (
                    "no AIC: with priors this is not the maximum of the likelihood"
                    if fit.problem.priors
                    else f"AIC {fit.aic:.2f}, AICc {fit.aicc:.2f}, BIC {fit.bic:.2f}"
                ),
            ),
            *_priors(fit),
            *labelled("intervals", _intervals(fit)),
            *labelled("doses", _doses(fit)),
        ]
    estimated = table[table["status"] != FIXED]
    lines += ["", estimates(estimated), ""] if len(estimated) else [""]
    return "\n".join(lines + _fixed(table)) + "\n"


def _unit(fit: Fit) -> list[str]:
    """That the model was written in another unit than the study is in, and which parameters are in the study's."""
    model, unit = fit.model, fit.study.unit
    if unit in model.outputs.values():
        return []
    names = ", ".join(levels.levels(model))
    own = ", ".join(sorted(set(model.outputs.values())))
    text = f"the study is in {unit}, and so is {names} here; {model.name} was written in {own}"
    if fit.request.free is None:
        usual = model.default_free(fit.study)
        freed = [name for name in levels.levels(model) if name in fit.problem.free and name not in usual]
        text += f", so that the default of {', '.join(freed)} says nothing and it is estimated" if freed else ""
    return labelled("unit", text)


def _priors(fit: Fit) -> list[str]:
    """A line a prior."""
    estimated = fit.parameters.index[fit.parameters["status"].isin([FREE, NOT_IDENTIFIABLE])]
    texts = [
        f"{name}: {prior_text(name, fit.problem, fit.request, fit.spread)}" if name in estimated else name
        for name in dict.fromkeys([*fit.problem.priors, *fit.problem.few])
    ]
    texts += [f"correlation of {one} and {other}: {rho:.3g}" for (one, other), rho in fit.request.correlation]
    return [*labelled("priors", "; ".join(texts)), *labelled("", few.words(fit.problem))] if texts else []


def of_fits(fits: Fits) -> str:
    """A study's fits: counts, who needs a look, medians of the estimates."""
    everyone = list(fits.values())
    if not everyone:
        return "no subject\n"
    first = everyone[0]
    look = [fit for fit in everyone if fit.needs_look]
    totals = [sum(getattr(fit, name) for fit in everyone) for name in ("n_quantified", "n_censored", "n_excluded")]
    lines = [
        f"{first.model.name}, {count(len(everyone), 'subject')}"
        + (" (simulated data)" if fits.study.simulated else ""),
        *labelled(
            "outcome",
            f"{sum(fit.converged for fit in everyone)} converged"
            + (f", {len(look)} {'needs' if len(look) == 1 else 'need'} a look:" if look else ""),
        ),
        *[line for text in _grouped(look) for line in labelled("", text)],
        *labelled("samples", "{} quantified, {} censored, {} excluded".format(*totals)),
        *labelled("censored", censored(first)),
        *labelled("error", first.problem.error.words),
        *_sds_of_few(everyone),
        *_one_by_one(everyone),
        *_unit(first),
    ]
    free = fits.parameters[fits.parameters["status"] == FREE]
    if len(free):
        lines += ["", medians(free), ""]
    return "\n".join(lines + _fixed(fits.parameters.set_index("parameter"), len(everyone))) + "\n"


def _one_by_one(fits: Sequence[Fit]) -> list[str]:
    """Whom the batch could not bring to an end."""
    alone = sum(fit.one_by_one > 0 for fit in fits)
    return labelled("alone", f"{count(alone, 'subject')} went on one by one after the batch") if alone else []


def _sds_of_few(fits: Sequence[Fit]) -> list[str]:
    """For whom the sd has a prior."""
    names = [fit.subject for fit in fits if fit.fitted and fit.problem.few]
    return labelled("sd", f"with a prior, too few quantified samples: {', '.join(names)}") if names else []


def censored(fit: Fit) -> str:
    """How values below the limit entered."""
    if fit.problem.error.given_positive:
        return "probability of lying below the limit, given a positive value (M4)"
    return CENSORING_TEXTS[fit.censoring]


def estimates(table: pd.DataFrame) -> str:
    """Estimates with their intervals, as text."""
    shown = table[["value", "stderr", "lower", "upper", "unit", "status"]]
    return shown.to_string(float_format=digits, index_names=False, na_rep="-")


def medians(table: pd.DataFrame) -> str:
    """Estimates of many subjects, one row a parameter: how many, median, lowest, highest, as text."""
    groups = table.groupby("parameter", sort=False)
    values = groups["value"]
    shown = pd.DataFrame(
        {"subjects": values.size(), "median": values.median(), "lowest": values.min(), "highest": values.max()}
    )
    shown["unit"] = groups["unit"].first()
    return shown.to_string(float_format=digits, index_names=False)


def _grouped(fits: Sequence[Fit]) -> list[str]:
    """One text an outcome, with all who share it."""
    subjects: dict[str, list[str]] = {}
    for fit in fits:
        subjects.setdefault(fit.outcome, []).append(fit.subject)
    return [f"{', '.join(names)}: {outcome}" for outcome, names in subjects.items()]


def left_out(fit: Fit) -> list[str]:
    """Why samples are not in the likelihood, with how many."""
    reasons = [f"{count} {reason}" for reason, count in fit.study.exclusions.items()]
    other = fit.n_excluded - sum(fit.study.exclusions.values())
    if other and fit.censoring == "m3":
        reasons.append(f"{other} of an output that the model does not have")
    elif other:
        reasons.append(f"{other} dropped or of an output that the model does not have")
    return reasons


def _samples(fit: Fit) -> str:
    reasons = left_out(fit)
    counts = f"{fit.n_quantified} quantified, {fit.n_censored} censored, {fit.n_excluded} excluded"
    return counts + (f" ({', '.join(reasons)})" if reasons else "")


def _method(fit: Fit) -> str:
    reached, started = fit.starts
    text = "censored nonlinear least squares on ln copies, exact Hessian; "
    if not fit.problem.error.least_squares:
        text = "least squares on ln copies as a start, then Newton steps of its own likelihood, exact Hessian; "
    text += f"{reached} of {count(started, 'start')} reached the best optimum"
    if fit.solved_implicitly:
        text += f"; {count(fit.solved_implicitly, 'solve')} needed the implicit stepper"
    if fit.one_by_one:
        text += "; went on by Newton steps one by one"
    return text + ". The chisqr, redchi and aic of fit.lmfit come from root-deviances and are not the values above."


def _intervals(fit: Fit) -> str:
    if np.isfinite(fit.degrees_of_freedom):
        text = f"95%, Student t with {fit.degrees_of_freedom:.1f} degrees of freedom"
        if fit.problem.few:
            of_prior = sum(prior.degrees for prior in fit.problem.few.values())
            text += f", {of_prior:.1f} of them from the prior of sd"
            return text + "; df/(1 - s) of a parameter where a share s of what is known of it is a prior's"
        return (
            f"{text}; standard errors and sd times {fit.inflation:.2f} because the curve used up samples "
            "(ln L and AIC are at the maximum-likelihood sd)"
        )
    return "95%, normal, on the estimation scale; the sd was not estimated"


def _doses(fit: Fit) -> str:
    given = fit.study.doses
    if not takes_doses(fit.model) and not {*given["kind"]} & {*fit.model.channels}:
        return f"ignored: {fit.model.name} has none" if len(given) else "none"
    if fit.request.doses is not None:
        return f"as given: {fit.request.doses}"
    known = given[given["kind"].isin(fit.model.channels)]
    text = ", ".join(
        # "cells/kg" says what they are.
        f"{amount:g} {unit or 'of'}" + ("" if unit.startswith(kind) else f" {kind}") + f" on day {day:g}"
        for amount, unit, kind, day in known[["amount", "unit", "kind", "day"]].to_numpy()
    )
    other = sorted(set(given["kind"]) - set(fit.model.channels))
    return text + (f" (not in the model: {', '.join(other)})" if other else "")


def _fixed(table: pd.DataFrame, subjects: int = 1) -> list[str]:
    """What was fixed, by where its value comes from; for how many where not for all."""
    fixed = table[table["status"] == FIXED]
    if fixed.empty:
        return []
    lines = ["fixed:"]
    for source, rows in fixed.groupby("source", sort=False):
        counts = Counter(zip(map(str, rows.index), rows["value"].to_numpy(float).tolist(), strict=True))
        values = ", ".join(
            f"{name} {value:g}" + (f" for {count} of {subjects} subjects" if count < subjects else "")
            for (name, value), count in counts.items()
        )
        lines += textwrap.wrap(f"{values} ({source})", 80, initial_indent="  ", subsequent_indent="    ")
    return lines
