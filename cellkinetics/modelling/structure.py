"""The ways in which a model is solved, and what a model brings that is solved by the structure of its equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from cellkinetics.modelling.dosing import Doses

if TYPE_CHECKING:
    from cellkinetics.modelling.functions import Function
    from cellkinetics.modelling.model import Model
    from cellkinetics.modelling.parameter import Parameter


class Structure(Protocol):
    """A solution of an ODE by its structure, such as closed forms and quadratures, for ``Model(structure=...)``.

    It says itself whether it may be trusted; where it may not, it is asked again with the next fineness, then the
    steppers.
    """

    @property
    def finenesses(self) -> int:
        """How many there are to answer with, 3 at most; 0 is the coarsest."""
        ...

    @property
    def rough(self) -> bool:
        """Whether it also solves with the fineness 3, coarser than 0: good enough to search with, never to answer."""
        ...

    def solve(
        self, times: Any, values: Mapping[str, Any], doses: Doses, prepared: Any, fineness: int, /
    ) -> tuple[dict[str, Any], Any]:
        """{output: (n,)} at ``times`` (n,) days, finite numbers, and whether they may be trusted. Pure JAX.

        Without ``prepared`` (None) it is made inside, from times and doses that may be traced.
        """
        ...

    def prepare(self, times: Any, doses: Doses, fineness: int, size: int, /) -> Any:
        """What `solve` takes as ``prepared``, made from numbers.

        At least of ``size``, as `size_of` it, so that patients share one program.
        """
        ...

    def size_of(self, prepared: Any, /) -> int:
        """The length of what `prepare` made."""
        ...


@dataclass(frozen=True, eq=False)
class Equations:
    """The curve of a closed form as an ODE, for ``Model(equations=...)``: what it is solved by with comedication.

    A rate in a closed form is one number for the whole curve; in its equations it is one at each moment.

    Parameters
    ----------
    states, rhs, observe, start, dosing, switches : as of `Model`.
    parameters, ties
        {name: Parameter} and {name: function of the model's parameters} of rates that the closed form does not have by
        name, such as the growth rate ln(fold)/t_max of ``stein_2019_tisagenlecleucel``.
    """

    states: tuple[str, ...]
    rhs: Function
    observe: Function
    start: Mapping[str, str | Function] = field(default_factory=dict)
    dosing: Mapping[str, tuple[str | tuple[str, ...], str | Function]] = field(default_factory=dict)
    switches: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    ties: Mapping[str, Function] = field(default_factory=dict)


class Method(StrEnum):
    """A way to solve a model."""

    CLOSED_FORM = "closed form"
    STRUCTURE = "structure"
    FINER_STRUCTURE = "finer structure"
    FINEST_STRUCTURE = "finest structure"
    ROUGH_STRUCTURE = "rough structure"
    EXPLICIT = "explicit"
    IMPLICIT = "implicit"

    @property
    def fineness(self) -> int | None:
        """Of the structure, from 0 on; None for other methods."""
        return _FINENESSES.index(self) if self in _FINENESSES else None


_FINENESSES = (Method.STRUCTURE, Method.FINER_STRUCTURE, Method.FINEST_STRUCTURE, Method.ROUGH_STRUCTURE)


def of_structure(structure: Structure) -> tuple[Method, ...]:
    """The methods of a structure, the coarsest first."""
    return _FINENESSES[: structure.finenesses]


def searching(model: Model, method: Method) -> Method:
    """How to search for what ``method`` is to answer: more roughly, where the structure can."""
    rough = method is Method.STRUCTURE and model.structure is not None and model.structure.rough
    return Method.ROUGH_STRUCTURE if rough else method


def methods(model: Model) -> tuple[Method, ...]:
    """The ways in which a model is solved, in the order in which they are tried."""
    if model.curve is not None:
        return (Method.CLOSED_FORM,)
    own = of_structure(model.structure) if model.structure is not None else ()
    return (*own, Method.IMPLICIT) if model.stiff else (*own, Method.EXPLICIT, Method.IMPLICIT)
