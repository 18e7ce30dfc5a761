"""Ready effects of comedication: which rates of a library's model each acts on, from where, and what is published.

Stein 2019 (doi:10.1002/psp4.12388) multiplies the rate of expansion by 1.2 from the day of tocilizumab on, and by 1.0
from that of corticosteroids, neither of which it tells from 1. Of all else no value is published: the factor starts at
1, which is no effect, and the direction is what is expected and no bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cellkinetics.errors import ModelError, suggest
from cellkinetics.modelling.parameter import Parameter

if TYPE_CHECKING:
    from cellkinetics.modelling.model import Model

EXPANSION, CONTRACTION, PERSISTENCE = "expansion", "loss of expanding cells", "loss of persistent cells"
# {model: {role: its rate}}, of the models that are fitted; nk_decline has no expansion.
RATES_BY_ROLE: dict[str, dict[str, str]] = {
    "barros_2021_cartmath": {EXPANSION: "phi", CONTRACTION: "rho", PERSISTENCE: "mu"},
    **{
        name: {EXPANSION: "rho", CONTRACTION: "alpha", PERSISTENCE: "beta"}
        for name in (
            "effector_memory",
            "four_phase",
            "logistic_expansion",
            "ogasawara_2021_liso_cel",
            "qpcr_and_flow",
            "stein_2019_tisagenlecleucel",
        )
    },
    "nk_decline": {CONTRACTION: "alpha", PERSISTENCE: "beta"},
    "il15_full": {EXPANSION: "rho", CONTRACTION: "delta", PERSISTENCE: "mu0"},
    "il15_persistence": {EXPANSION: "rho", CONTRACTION: "delta", PERSISTENCE: "mu0"},
    "singh_2021_bb2121": {EXPANSION: "K_max", CONTRACTION: "Kel_e", PERSISTENCE: "Kel_m"},
}
BOUNDS_OF_READY = (0.1, 10.0)


class ReadyEffect(NamedTuple):
    """A factor on the rate of a role: where it starts, and what is known of it."""

    role: str
    value: float
    known: str


STEIN = "Stein 2019, not told from 1"
NOTHING_PUBLISHED = "no published value: 1 is no effect; expected"
READY: dict[str, tuple[ReadyEffect, ...]] = {
    "tocilizumab": (ReadyEffect(EXPANSION, 1.2, STEIN),),
    "steroids": (
        ReadyEffect(EXPANSION, 1.0, STEIN),
        ReadyEffect(CONTRACTION, 1.0, f"{NOTHING_PUBLISHED} above 1, faster loss"),
    ),
    "IL-2": (ReadyEffect(PERSISTENCE, 1.0, f"{NOTHING_PUBLISHED} below 1, slower loss"),),
    "N-803": (ReadyEffect(PERSISTENCE, 1.0, f"{NOTHING_PUBLISHED} below 1, slower loss"),),
}


def by_what(given: str | Iterable[str] | Mapping[str, str | Sequence[str] | None] | None) -> dict[str, Any]:
    """{what is given: its rates, or None for the ready ones}."""
    if isinstance(given, Mapping):
        return dict(given)
    return dict.fromkeys((given,) if isinstance(given, str) else given or ())


def ready_of(model: Model, what: str) -> dict[str, Parameter]:
    """{rate: the factor on it} of a comedication by its name.

    Raises
    ------
    ModelError
        There is no ready effect of this name, or none on this model.
    """
    example = f"comedication={{{what!r}: rate}}"
    if what not in READY:
        text = f"there is no ready effect of {what!r}. Ready are {', '.join(READY)}. {suggest(what, READY)}".rstrip()
        raise ModelError(f"{text} Of anything else say what it multiplies: {example}.", name="comedication")
    roles = RATES_BY_ROLE.get(model.name)
    if roles is None:
        text = (
            f"which rate of {model.name} {what} acts on is not known to the library, but of {', '.join(RATES_BY_ROLE)}."
        )
        raise ModelError(f"{text} Give {example}.", name="comedication")
    if lacking := [effect.role for effect in READY[what] if effect.role not in roles]:
        rates = ", ".join(f"{rate} ({role})" for role, rate in roles.items())
        text = f"{what} acts on {' and '.join(lacking)}, which {model.name} does not have; it has {rates}."
        raise ModelError(f"{text} Give {example} to say that it acts there.", name="comedication")
    return {
        roles[effect.role]: Parameter(effect.value, "1", f"{effect.known} ({effect.role})", *BOUNDS_OF_READY)
        for effect in READY[what]
    }
