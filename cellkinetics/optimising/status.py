"""How a fit ended: a status for programs, and words with advice for people."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from cellkinetics.saving import storable


@storable
class Status(StrEnum):
    """How a fit ended, for programs; ``fit.outcome`` says the same in words, with advice.

    A member compares equal to its text: ``fit.status == "converged"``.

    Attributes
    ----------
    CONVERGED : at an optimum inside the bounds.
    AT_BOUND : at an optimum, with a parameter at one of its bounds.
    PART_AT_BOUND : at an optimum, where one of two parts of the error has gone to its lower bound.
    SD_AT_BOUND : an sd at its lower bound: the curve goes through every sample, and there is no optimum.
    NOT_IDENTIFIABLE : the samples do not determine what was free; too few of them, and nothing was fitted.
    RIDGE : not converged, on a ridge of the likelihood.
    NOT_CONVERGED : the optimiser stopped before the likelihood was flat.
    NOT_SOLVED : the model could not be solved at any start.
    NO_SAMPLE : every row is excluded or of an output that the model does not have.
    NO_QUANTIFIED_SAMPLE : all samples are beyond their limit.
    NO_DOSE : the model takes one, and the subject has none.
    NO_MASS : counting noise needs the mass of DNA of each sample.
    INTERRUPTED : from the keyboard, before this subject was finished.
    NOT_FITTED : something is wrong with this subject's numbers.
    """

    CONVERGED = "converged"
    AT_BOUND = "at bound"
    PART_AT_BOUND = "part of the error at bound"
    SD_AT_BOUND = "sd at bound"
    NOT_IDENTIFIABLE = "not identifiable"
    RIDGE = "ridge"
    NOT_CONVERGED = "not converged"
    NOT_SOLVED = "not solved"
    NO_SAMPLE = "no sample"
    NO_QUANTIFIED_SAMPLE = "no quantified sample"
    NO_DOSE = "no dose"
    NO_MASS = "no mass of DNA"
    INTERRUPTED = "interrupted"
    NOT_FITTED = "not fitted"

    @property
    def is_maximum(self) -> bool:
        """Whether the likelihood of a fit that has estimates is a maximum, which may be compared."""
        return self not in (Status.RIDGE, Status.NOT_CONVERGED, Status.SD_AT_BOUND)


class Outcome(NamedTuple):
    """A status and its words."""

    status: Status
    words: str


def not_fitted(error: Exception) -> Outcome:
    """The outcome of a subject with whose numbers something is wrong."""
    return Outcome(Status.NOT_FITTED, f"not fitted: {error}")
