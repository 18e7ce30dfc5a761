"""What needs a look, each kind of it once, with those whom it concerns."""

from __future__ import annotations

from dataclasses import dataclass

from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.misfit import ADVICE
from cellkinetics.fitting.result import Fit
from cellkinetics.optimising.status import Status
from cellkinetics.words import count

MOST_NAMED = 24  # patients of a kind; the table of outcomes has all
_APART = "Why, and what to do, stands with each patient."
# What the outcomes of several patients, which name parameters and days, have in common.
_KINDS = {
    Status.AT_BOUND: "a parameter is at its bound. Fix it, or see whether a simpler model does.",
    Status.NOT_IDENTIFIABLE: "the samples do not determine what was free. Fix one parameter more (fixed=), free fewer, "
    "or add samples where their effects differ.",
    Status.RIDGE: "not converged: parameters move together along a ridge of the likelihood. Fix one of them (fixed=), "
    "free fewer, or add samples where their effects differ.",
    Status.NOT_SOLVED: "the model was not solved at any start. Give initial=, or fix parameters.",
    Status.NO_SAMPLE: "there is no sample to fit.",
    Status.NO_QUANTIFIED_SAMPLE: "no sample is quantified: the level is only bounded. Report the limit, or fit the "
    "patients together with others.",
}


@dataclass(frozen=True)
class Concern:
    """What needs a look: ``text`` says it, with advice; ``subjects`` whom it concerns, in the order of the study.

    named : the first of them, for a page. others : how many more there are, in words, "" where there are none.
    """

    text: str
    subjects: tuple[str, ...]

    @property
    def named(self) -> tuple[str, ...]:
        """See above."""
        return self.subjects[:MOST_NAMED]

    @property
    def others(self) -> str:
        """See above."""
        return count(len(self.subjects) - MOST_NAMED, "other") if len(self.subjects) > MOST_NAMED else ""


def of(fits: Fits) -> list[Concern]:
    """What needs a look, what most need it for first; a patient may need it for two.

    An outcome that all of a kind share stands word for word.
    """
    kinds: dict[str, dict[str, str]] = {}
    for subject, fit in fits.items():
        for kind, words in _kinds(fit):
            kinds.setdefault(kind, {})[subject] = words
    found = [Concern(_text(kind, set(words.values())), tuple(words)) for kind, words in kinds.items()]
    return sorted(found, key=lambda each: -len(each.subjects))


def _kinds(fit: Fit) -> list[tuple[str, str]]:
    """(kind, words) of a fit: how its curve misses the samples, and how the optimiser ended."""
    words = fit.outcome
    if not fit.misfit:
        return [(fit.status, words)] if fit.needs_look else []
    # As `misfit.joined` puts the two together.
    words = words.removeprefix(f"{fit.misfit.words} After that: ").removesuffix(f" And {fit.misfit.words}")
    return [("misfit", fit.misfit.words), *([] if fit.converged else [(fit.status, words)])]


def _text(kind: str, words: set[str]) -> str:
    if len(words) == 1:
        return next(iter(words))
    if kind == "misfit":
        return f"the curve misses samples; which, and how far, stands with each patient. {ADVICE}"
    return _KINDS.get(Status(kind)) or f"{kind}. {_APART}"
