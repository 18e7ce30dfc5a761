"""The errors of samples that a plan has before any is taken: an error model, and its sds taken as known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellkinetics import domains
from cellkinetics.errors import ModelError
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.likelihood.error_models import LOG, of

SD_OF_LN = 0.5  # sd of ln copies


def errors_planned(
    error: str | None, sd: float | Mapping[str, float] | None, known: tuple[str, tuple[float, ...]] | None
) -> tuple[ErrorModel, tuple[float, ...]]:
    """The error model and its sds, in the order of its parts.

    Parameters
    ----------
    error : its name; that of the population where neither it nor ``sd`` is given, else the log-normal one.
    sd : a number, or {part: number} of an error with several; that of the population, or 0.5 of ln copies, where None.
    known : what a population says of both.

    Raises
    ------
    ModelError
        Errors of counts; no sd of an error that has no usual one; not the parts that the error has.
    """
    if sd is None and known is not None and error in (None, known[0]):
        model, sds = of(known[0]), known[1]
    else:
        model = of(LOG if error is None else error)
        sds = _given(model, sd)
    if not model.plannable:
        raise ModelError(
            f"error={model.name!r}: what a sample tells depends on the mass of DNA in its wells, which a plan does not "
            "know. Give sd=, the sd of ln copies, with error='log'.",
            name="error",
        )
    return model, sds


def _given(model: ErrorModel, sd: Any) -> tuple[float, ...]:
    parts = [*model.parts]
    if sd is None:
        if model.name != LOG:
            example = "0.3" if len(parts) == 1 else f"{{{', '.join(f'{part!r}: ...' for part in parts)}}}"
            raise ModelError(f"error={model.name!r} has no usual sd. Give sd={example}.", name="sd")
        return (SD_OF_LN,)
    if not isinstance(sd, Mapping):
        if len(parts) > 1:
            example = ", ".join(f"{part!r}: ..." for part in parts)
            raise ModelError(f"sd={sd!r}: error={model.name!r} has {' and '.join(parts)}. Give sd={{{example}}}.", "sd")
        sd = {parts[0]: sd}
    if {*sd} != {*parts}:
        raise ModelError(f"sd has {', '.join(map(str, sd))}: error={model.name!r} has {' and '.join(parts)}.", "sd")
    if len(parts) > 1:
        return tuple(domains.not_negative(sd[part], part, SD_OF_LN) for part in parts)
    return (domains.number(sd[parts[0]], "sd", SD_OF_LN),)
