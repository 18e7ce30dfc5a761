"""How a population fit ended, in words with advice."""

from __future__ import annotations

import numpy as np

from cellkinetics.optimising.status import Outcome, Status
from cellkinetics.population.importance import FEW_EFFECTIVE, LogLikelihood
from cellkinetics.population.polish import Polished
from cellkinetics.population.running import UNSOLVED
from cellkinetics.population.schedule import WINDOW, Path, labels_of

STILL = 0.1  # standard errors that a last step may move an estimate, and twice that in other draws


def outcome_of(path: Path, polished: Polished, likelihood: LogLikelihood, zeros: dict[str, float]) -> Outcome:
    """The most important first."""
    labels = np.array(labels_of(path.population))
    notes = []
    if likelihood.smallest_ess < FEW_EFFECTIVE:
        notes.append(likelihood.outcome)
    for name, worse in zeros.items():
        notes.append(
            f"between-patient sd of {name} cannot be told from 0 (log-likelihood at 0 differs by {max(worse, 0):.2f}): "
            f"give random= without {name}"
        )
    if path.refused > UNSOLVED:
        notes.append(f"{path.refused:.0%} of proposed curves could not be solved")
    outside = outside_bounds(path)
    if outside:
        notes.append(f"the population reaches beyond the bounds of {', '.join(outside)}, which do not truncate it")
    if path.interrupted:
        text = f"interrupted: these are the estimates after {len(path.trace)} iterations"
        return Outcome(Status.INTERRUPTED, "; ".join([text, *notes]))
    lost = labels[np.isnan(np.diag(polished.covariance)) & polished.moving]
    if len(lost):
        text = f"not identifiable: the samples do not determine {', '.join(lost)}. Fix it (fixed=), or free fewer"
        return Outcome(Status.NOT_IDENTIFIABLE, "; ".join([text, *notes]))
    moving = polished.still_moves > STILL
    unsure = polished.mc_errors > 2 * STILL * np.sqrt(np.maximum(np.diag(polished.covariance), 0.0))
    if moving.any():
        names = ", ".join(labels[moving])
        drifted = f" ({', '.join(path.moved)} over the last {WINDOW} iterations)" if path.moved else ""
        text = f"not converged: {names} still moved by more than {STILL} SE{drifted}. Give initial=, or free fewer"
        return Outcome(Status.NOT_CONVERGED, "; ".join([text, *notes]))
    p, q = len(path.population.design.effects), len(path.population.design.random)
    if not polished.moving[p : p + q].all():
        return Outcome(Status.AT_BOUND, "; ".join(notes or [f"{', '.join(_held(path, polished))} at its lower bound"]))
    if np.nan_to_num(unsure).any():
        names = ", ".join(labels[np.nan_to_num(unsure).astype(bool)])
        notes.append(f"other draws would move {names} by up to {2 * STILL} SE and more")
    return Outcome(Status.CONVERGED, "; ".join(["converged", *notes]))


def outside_bounds(path: Path) -> list[str]:
    """Parameters whose mean lies beyond a bound that holds in a fit of one patient."""
    design, parameters = path.population.design, path.population.patients.model.parameters
    found = []
    for effect, value in zip(design.effects, np.asarray(path.theta.beta), strict=True):
        lower, upper = parameters[effect.parameter].bounds
        if not effect.covariate and not lower <= value <= upper:
            found.append(effect.parameter)
    return found


def _held(path: Path, polished: Polished) -> list[str]:
    """Spreads too small to matter."""
    return [label for label, moving in zip(labels_of(path.population), polished.moving, strict=True)
            if not moving and label.startswith("sd between")]  # fmt: skip
