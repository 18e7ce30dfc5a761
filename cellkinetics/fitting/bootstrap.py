"""The bootstrap of one patient's fit: samples drawn again, all refits in a few batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.lazily import pandas as pd
from cellkinetics.meaning.placing import status_of
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.optimising.chunks import climbed_by
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.samples import Samples
from cellkinetics.progress import bar
from cellkinetics.running.digest import digest
from cellkinetics.running.phases import Phases
from cellkinetics.running.run import Run
from cellkinetics.saving import UNSAVED, Saves, storable
from cellkinetics.words import count

if TYPE_CHECKING:
    from cellkinetics.fitting.result import Fit

BOOTSTRAPS = ("parametric", "case")


@storable
@dataclass(frozen=True)
class Bootstrap(Saves, HandsOutCopies):
    """Refits of samples that were drawn again.

    Parameters
    ----------
    draws
        one row a refit that has an optimum inside the bounds, one column a parameter or sd, natural scale: the free
        ones first, then what the fit had fixed or tied, so that `simulate` takes the table as it is.
    intervals
        by parameter: value (of the fit), lower, upper (percentiles of the draws); NaN where there are fewer draws
        than 1/(1 - level), 20 for 95%. Where the value itself lies outside the interval is widened to it: of a
        parameter at its bound, of which the refits that end there too are left out, or of an sd when few samples are
        drawn with replacement.
    failed : refits without such an optimum; they are in no interval.
    kind, level, seed : as asked.
    problem : of the fit; `simulate` takes the doses from there. It is in no file: give doses to a loaded bootstrap's.
    origin : of which fit it is.
    note : that it was interrupted, and how far it came; whose interval is widened; "" where there is nothing to say.
    """

    draws: pd.DataFrame
    intervals: pd.DataFrame
    failed: int
    kind: str
    level: float
    seed: int
    problem: Problem | None = field(default=None, repr=False, metadata=UNSAVED)
    origin: Provenance = field(default=Provenance(), repr=False)
    note: str = ""


def asked_of(fits: Sequence[Fit], kind: str, seed: int) -> dict[str, Any]:
    """What a checkpoint is of; of more refits the first are the same."""
    own: dict[str, Any] = {"verb": "bootstrap"}
    if len(fits) == 1:
        own |= {"data": fits[0].study.sha256, "subject": fits[0].subject}
    else:
        own |= {"data": digest([(fit.subject, fit.study.sha256) for fit in fits])}
    own |= fits[0].request.asked if fits else {}
    return {**own, "kind": kind, "seed of the draws": seed}


def bootstrap(fit: Fit, n: int, kind: str, level: float, seed: int, run: Run, *, progress: bool) -> Bootstrap:
    """See `Fit.bootstrap`."""
    phases = Phases()
    n, level, seed = domains.count(n, "n"), domains.level(level), domains.seed(seed)
    progress = domains.flag(progress, "progress")
    fit.must_stand_alone("bootstrap")
    if kind not in BOOTSTRAPS:
        raise ValueError(f"kind={kind!r}: take one of {', '.join(BOOTSTRAPS)}.")
    if fit.problem.priors:
        raise ValueError("a bootstrap of a fit with priors draws its samples, not its priors. Fit without prior=.")
    options = {"n": n, "kind": kind, "level": level, "seed": seed, "fit": fit.request.options}
    names = fit.problem.names
    if not fit.fitted:
        nothing = pd.DataFrame(np.nan, index=pd.Index(names, name="parameter"), columns=["value", "lower", "upper"])
        origin = Provenance(fit.subject, fit.study.sha256, fit.model, options)
        return Bootstrap(pd.DataFrame(columns=names, dtype=float), nothing, 0, kind, level, seed, fit.problem, origin)
    rng = np.random.default_rng(seed)
    ln_f = fit.problem.curve(fit.x, 0).value
    with phases("drawing"):
        drawn = [_cases(fit.problem.samples, rng) if kind == "case" else _simulated(fit, rng, ln_f) for _ in range(n)]
        problems = [replace(fit.problem, samples=samples) for samples in drawn]
    ends: dict[int, Any] = {}
    with suppress(KeyboardInterrupt), phases("refitting"), bar(n, progress, "refitting") as advance:
        climbed_by(run, "bootstrap", problems, [fit.x] * n, finished=lambda p: (ends.update(p), advance(len(p))))
    if not ends:
        raise KeyboardInterrupt
    done = [ends[at] for at in sorted(ends)]
    kept = [end.x for end in done if end is not None and end.converged and not end.held.any()]
    others = [name for name in fit.model.parameters if name not in names]
    draws = pd.DataFrame([_natural(fit, x) for x in kept], columns=[*names, *others], dtype=float)
    rows = {"value": fit.parameters.loc[names, "value"].astype(float)}
    # Of fewer draws the outermost would be taken for percentiles that lie beyond them.
    enough = len(draws) >= round(1 / (1 - level), 9)
    for side, share in (("lower", (1 - level) / 2), ("upper", (1 + level) / 2)):
        rows[side] = draws[names].quantile(share) if enough else pd.Series(np.nan, index=names)
    intervals = pd.DataFrame(rows).loc[names].rename_axis("parameter")
    outside = (intervals["value"] < intervals["lower"]) | (intervals["value"] > intervals["upper"])
    # The refits that end at a bound are in no interval; the value that does is.
    intervals["lower"] = np.where(outside, np.fmin(intervals["lower"], intervals["value"]), intervals["lower"])
    intervals["upper"] = np.where(outside, np.fmax(intervals["upper"], intervals["value"]), intervals["upper"])
    timings = phases.done(f"bootstrap of {fit.subject}, {len(done)} refits of {fit.model.name}")
    origin = Provenance(fit.subject, fit.study.sha256, fit.model, options, phases.total, timings)
    # For `simulate`: the curves of these draws are in the unit of the study.
    draws.attrs["unit"] = fit.study.unit
    notes = [] if len(done) == n else [f"interrupted after {len(done)} of {count(n, 'refit')}"]
    if outside.any():
        whose = ", ".join(intervals.index[outside])
        notes.append(f"the interval of {whose} is widened to the fit's own value, which the refits leave out")
    note = "; ".join(notes)
    return Bootstrap(draws, intervals, len(done) - len(kept), kind, level, seed, fit.problem, origin, note)


def _natural(fit: Fit, x: Floats) -> dict[str, float]:
    """Every parameter and free sd at an estimate; sds corrected as that of the fit is."""
    problem = fit.problem
    own = {name: problem.natural_of(at, x[at]) for at, name in enumerate(problem.names)}
    sds = {name: fit.inflation * own[name] for name in problem.names[len(problem.free) :] if name not in problem.few}
    return {**own, **sds, **problem.natural(x)}


def _cases(samples: Samples, rng: np.random.Generator) -> Samples:
    """As many samples, drawn with replacement."""
    return samples.taken(np.sort(rng.integers(len(samples), size=len(samples))))


def _simulated(fit: Fit, rng: np.random.Generator, known: Floats | None = None) -> Samples:
    """New values around the fitted curve, censored at the limits of each sample.

    The sd is that of the fit times its inflation: the maximum-likelihood one is too small with few samples.
    """
    problem = fit.problem
    ln_f = problem.curve(fit.x, 0).value if known is None else known
    sds = fit.inflation * np.exp(problem.ln_sds(fit.x))
    return drawn_about(problem, ln_f[: len(problem.samples)], sds, rng).censored(fit.censoring)


def drawn_about(problem: Problem, ln_f: Floats, sds: Floats, rng: np.random.Generator) -> Samples:
    """New values of all samples around a curve ln f (n,), sds (parts, outputs), censored at the limits of each."""
    _, lower, upper = ends_about(problem, ln_f, sds, rng)
    return replace(problem.samples, lower=lower, upper=upper, status=status_of(lower, upper))


def ends_about(problem: Problem, ln_f: Floats, sds: Floats, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """New copies of all samples around curves ln f (..., n), and their ends as the limits of each sample leave them.

    sds : (parts, outputs), or (parts, ..., outputs) where they differ between curves.
    """
    samples = problem.samples
    limit = samples.lloq
    if problem.error.needs_mass:
        # Without a limit what has no molecule is known to be less than one.
        limit = np.where(np.isnan(limit), 1 / samples.mass, limit)
    copies = problem.error.drawn(np.exp(ln_f), sds[..., samples.output], samples.mass, ~(limit > 0), rng)
    # A censored sample is its own witness of the limits: the upper end of "below", both ends of an interval.
    low = np.where(np.isfinite(samples.upper) & ~samples.quantified, samples.upper, np.nan_to_num(limit, nan=0.0))
    between = np.where(~samples.quantified & np.isfinite(samples.upper), samples.lower, 0.0)
    high = np.where(np.isinf(samples.upper), samples.lower, np.nan_to_num(samples.uloq, nan=np.inf))
    lower = np.where(copies >= high, high, np.where(copies >= low, copies, np.where(copies >= between, between, 0.0)))
    upper = np.where(copies >= high, np.inf, np.where(copies >= low, copies, np.where(copies >= between, low, between)))
    return copies, lower, upper
