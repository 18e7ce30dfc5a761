"""A population fit in words: how it ended, with advice, and its summary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.fitting.summary import CENSORING_TEXTS
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.population import table
from cellkinetics.population.design import SD_BETWEEN, Design
from cellkinetics.population.importance import APPROXIMATED_BY, FEW_EFFECTIVE, LogLikelihood
from cellkinetics.population.marginal import QUADRATURE
from cellkinetics.population.polish import Polished
from cellkinetics.population.schedule import WINDOW, Path, labels_of
from cellkinetics.words import WIDE, count, labelled

if TYPE_CHECKING:
    from cellkinetics.population.result import PopulationFit
    from cellkinetics.population.running import Population

STILL = 0.1  # standard errors that a last step, or other draws, may move an estimate
HARDLY_KNOWN = 1.0  # standard error of the ln of an sd whose interval is of no use

ALL_BUT_ONE = 0.99  # a correlation of effects beyond which they are not told apart
FEWER_CORRELATED = "give correlated= with fewer names"
ILL_CONDITIONED = 1000.0  # of correlations of the estimates

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
        *_wide("method", _method(fit)),
        *_wide("ln L", _criteria(fit)),
        *_wide("condition", _condition(fit)),
        "",
        estimates(fit),
        "",
        *_wide("fixed", _fixed(fit)),
    ]
    return "\n".join(lines) + "\n"


def _blocks(fit: PopulationFit) -> str:
    return "; ".join(" with ".join(block) for block in fit.design.correlated)


def _method(fit: PopulationFit) -> str:
    if (by := fit.approximation) is not None:
        of = f" with {fit.asked['nodes']} nodes for each random effect" if by.method == QUADRATURE else ""
        return f"{APPROXIMATED_BY[by.method]}{of}, maximised in {count(len(fit.trace), 'step')} on its exact gradient"
    chains = count(fit.path.chains, "chain")
    cut = f", cut off while {', '.join(fit.path.moved)} drifted" if fit.path.moved else ""
    return (
        f"SAEM, {len(fit.trace)} iterations of {chains} a patient{cut}, then Newton steps on the likelihood by "
        "importance sampling"
    )


def _condition(fit: PopulationFit) -> str:
    number = fit.condition_number
    if np.isnan(number):
        return "number not known: an estimate has no standard error"
    text = f"number {number:.3g} (correlations of the estimates)"
    return text if number < ILL_CONDITIONED else f"{text}: some go together, and are not told apart"


def _criteria(fit: PopulationFit) -> str:
    sampled = f"{fit.log_likelihood:.2f} +- {fit.log_likelihood_error:.2f} by importance sampling"
    sampled += f", {fit.likelihood.draws:,} draws; {count(fit.n_free, 'value')}"
    if (by := fit.approximation) is not None:
        value = by.value - fit.sum_ln_quantified
        sampled += (
            f" (its maximum lies elsewhere); {value:.2f} by {APPROXIMATED_BY[by.method]}, which is compared with "
        )
        sampled += "values of the same approximation only"
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


def one_for_all(names: Sequence[str]) -> str:
    """What to do where nothing varies."""
    return f"take ck.fit(model, study, shared={[*names]})"


def unsure_of(polished: Polished) -> Flags:
    """(d,) which estimates other draws would move so far that those of two seeds may be `STILL` apart."""
    errors = np.sqrt(np.maximum(np.diag(polished.covariance), 0.0))
    return polished.moving & ~(polished.mc_errors <= 0.5 * STILL * errors)


def outcome_of(path: Path, polished: Polished, likelihood: LogLikelihood, zeros: dict[str, float]) -> Outcome:
    """The most important first."""
    labels = np.array(labels_of(path.population))
    notes = []
    if likelihood.smallest_ess < FEW_EFFECTIVE:
        notes.append(f"{likelihood.uneven}; give random= with fewer names, or look at that patient's samples")
    for name, worse in zeros.items():
        own, alone = name in path.population.patients.own_sds, len(zeros) == len(path.population.design.random)
        advice = "leave common_sd=False out" if own else f"give random= without {name}"
        advice = one_for_all(path.population.patients.names) if alone else advice
        notes.append(
            f"between-patient sd of {name} cannot be told from 0 (log-likelihood at 0 differs by {max(worse, 0):.2f}): "
            f"{advice}"
        )
    design, omega = path.population.design, np.asarray(polished.theta.omega)
    for pair, rho in design.correlation(omega).items():
        if abs(rho) > ALL_BUT_ONE and not zeros.keys() & set(pair):
            notes.append(f"correlation of {' and '.join(pair)} at {rho:+.3f}: give correlated= without it")
    singular = _singular(design, omega)
    for block, least in singular.items():
        notes.append(
            f"the covariance of {', '.join(block)} is next to singular (smallest eigenvalue of its correlations "
            f"{least:.1g}): {FEWER_CORRELATED}"
        )
    notes += _hardly_known(path.population, polished)
    if path.unsolved:
        notes.append(path.unsolved)
    outside = outside_bounds(path.population, polished)
    if outside:
        notes.append(f"the population reaches beyond the bounds of {', '.join(outside)}, which do not truncate it")
    lost = labels[np.isnan(np.diag(polished.covariance)) & polished.moving]
    if path.interrupted:
        text = f"interrupted: these are the estimates after {len(path.trace)} iterations"
        text += f", without a standard error of {', '.join(lost)}" if len(lost) else ""
        return Outcome(Status.INTERRUPTED, "; ".join([text, *notes]))
    if len(lost):
        advice = FEWER_CORRELATED.capitalize() if singular else "Fix it (fixed=), or free fewer"
        text = f"not identifiable: the samples do not determine {', '.join(lost)}. {advice}"
        return Outcome(Status.NOT_IDENTIFIABLE, "; ".join([text, *notes]))
    moving = polished.still_moves > STILL
    unsure = unsure_of(polished)
    if moving.any():
        names = ", ".join(labels[moving])
        drifted = f" ({', '.join(path.moved)} over the last {WINDOW} iterations)" if path.moved else ""
        text = f"not converged: {names} still moved by more than {STILL} SE{drifted}. Give initial=, or free fewer"
        return Outcome(Status.NOT_CONVERGED, "; ".join([text, *notes]))
    if unsure.any():
        notes.append(f"other draws would move {', '.join(labels[unsure])} by up to {STILL} SE and more")
    if exact := _sds_at_floor(path.population, polished):
        text = f"{', '.join(exact)} at its lower bound: curves go through the samples. Look for values that were copied"
        return Outcome(Status.SD_AT_BOUND, "; ".join([f"{text}, or fix it (fixed=)", *notes]))
    p, q = len(path.population.design.effects), len(path.population.design.random)
    if not polished.moving[p : p + q].all():
        known = {f"{SD_BETWEEN} {name}" for name in zeros}
        held = [label for label in _held(path, polished) if label not in known]
        notes = [f"{', '.join(held)} at its lower bound", *notes] if held else notes
        return Outcome(Status.AT_BOUND, "; ".join(notes))
    return Outcome(Status.CONVERGED, "; ".join(["converged", *notes]))


def _singular(design: Design, omega: Floats) -> dict[tuple[str, ...], float]:
    """{block of three and more: smallest eigenvalue of its correlations}, where that is next to 0."""
    found = {}
    for block in design.correlated:
        at = [design.random.index(name) for name in block]
        part = omega[np.ix_(at, at)]
        spread = np.sqrt(np.diag(part))
        least = float(np.linalg.eigvalsh(part / np.outer(spread, spread))[0])
        if len(block) > 2 and least < 1 - ALL_BUT_ONE:
            found[block] = least
    return found


def _hardly_known(population: Population, polished: Polished) -> list[str]:
    """Sds of the error that have a lower end next to 0 and an upper one far above."""
    names, patients = labels_of(population), population.patients
    first, variance = len(names) - len(patients.common_sds), np.diag(polished.covariance)
    return [
        f"{name} is hardly told by the samples (standard error of its ln {np.sqrt(variance[at]):.1f}): fix it "
        "(fixed=), or take another error="
        for at, name in enumerate(names)
        if at >= first and polished.moving[at] and variance[at] > HARDLY_KNOWN**2
    ]


def outside_bounds(population: Population, polished: Polished) -> list[str]:
    """Parameters whose mean lies beyond a bound that holds in a fit of one patient."""
    design, parameters = population.design, population.patients.parameters
    found = []
    for effect, value in zip(design.effects, np.asarray(polished.theta.beta), strict=True):
        lower, upper = parameters[effect.parameter].bounds
        if not effect.covariate and not lower <= value <= upper:
            found.append(effect.parameter)
    return found


def _sds_at_floor(population: Population, polished: Polished) -> list[str]:
    """Sds of the error that are estimated, and as low as they may be; an additive part may be nothing."""
    patients = population.patients
    additive = patients.request.error_model.additive(len(patients.model.outputs))
    may = dict(zip(patients.sd_names, ~np.array(additive, bool), strict=True))
    names = patients.common_sds
    moving = polished.moving[len(polished.moving) - len(names) :]
    return [name for name, free, moves in zip(names, patients.sd_free, moving, strict=True)
            if free and not moves and may[name]]  # fmt: skip


def _held(path: Path, polished: Polished) -> list[str]:
    """Spreads too small to matter."""
    return [label for label, moving in zip(labels_of(path.population), polished.moving, strict=True)
            if not moving and label.startswith(SD_BETWEEN)]  # fmt: skip
