"""Where a result comes from, which its file keeps beside its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cellkinetics.saving import storable

if TYPE_CHECKING:
    from cellkinetics.modelling.model import Model


@storable
@dataclass(frozen=True, eq=False)
class Provenance:
    """What a result was computed from.

    Parameters
    ----------
    subject : of whom it is; "" where it is of no one patient.
    data : `Study.sha256` of the samples; "" where there are none.
    model : whose result it is; None where there is none, or the result names it itself.
    options : {argument: value} as asked, the seed among them.
    seconds : that the computation took; NaN where that is not known.
    timings : {phase: seconds}, with "compiling" for what of them the compiler took; empty where not known.
    """

    subject: str = ""
    data: str = ""
    model: Model | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = float("nan")
    timings: Mapping[str, float] = field(default_factory=dict)
