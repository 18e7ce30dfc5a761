"""Comedication, such as tocilizumab, steroids or IL-2: what is given multiplies a rate while it acts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cellkinetics.errors import DoseWarning, ModelError, suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.functions import Function, call, names_of
from cellkinetics.modelling.parameter import Parameter
from cellkinetics.modelling.ready import ready_of

if TYPE_CHECKING:
    from cellkinetics.data.study import Study
    from cellkinetics.modelling.model import Model

FROM_THEN_ON = float("inf")
BOUNDS_OF_FACTORS = (0.01, 100.0)


class Comedication(NamedTuple):
    """What is given (a channel of doses), the rate that it multiplies, and days that an administration acts."""

    what: str
    rate: str
    lasts: float = FROM_THEN_ON


def comedicated(model: Model, given: Mapping[str, Any], lasts: Mapping[str, float]) -> Model:
    """The model with a factor for each rate that something given changes, and with structure left to the stepper.

    given : {what: a rate, or several, or None for the ready effects of that name}.

    Raises
    ------
    ModelError
        A closed form without equations; what is no rate of the right-hand side; a name that is taken; days that are not
        above 0.
    """
    if model.rhs is None:
        model = _by_equations(model)
    known = days_acting(model)
    for what, days in lasts.items():
        if what not in (*known, *given):
            advice = suggest(what, [*known, *given]) or f"Give comedication={{{what!r}: rate}} with it."
            raise ModelError(f"lasts names {what}, which is no comedication. {advice}")
        if not days > 0:
            raise ModelError(f"lasts={{{what!r}: {days:g}}}: give days above 0; leave it out for 'from then on'.")
    parameters, found = dict(model.parameters), dict(model.comedication)
    for what, rates in given.items():
        taken = (*model.dosing, *model.markers, *model.states, *model.inputs, "cells")
        begin = re.sub(r"[^0-9a-zA-Z]+", "_", what).strip("_")
        if not begin.isidentifier() or what in taken:
            raise ModelError(f"comedication {what!r}: {model.name} has this name already, or it is none. Take another.")
        ready = ready_of(model, what) if rates is None else {}
        rates = (rates,) if isinstance(rates, str) else tuple(ready if rates is None else rates)
        if not rates:
            raise ModelError(f"comedication {what!r} has no rate: name one or several that it multiplies.")
        for rate in rates:
            _check_rate(model, what, rate)
            name = f"{begin}_on_{rate}"
            if name in parameters and name not in found:
                raise ModelError(
                    f"{model.name} has a parameter {name} already. Take another name for {what}.", name=name
                )
            found[name] = Comedication(what, rate)
            source = f"assumption: {what} does not change {rate}"
            parameters.setdefault(name, ready.get(rate, Parameter(1.0, "1", source, *BOUNDS_OF_FACTORS)))
    acting = {**known, **lasts}
    found = {name: each._replace(lasts=acting.get(each.what, FROM_THEN_ON)) for name, each in found.items()}
    free = model.free if model.free is None or callable(model.free) else (*model.free, *found)
    free = free if free is None or callable(free) else tuple(dict.fromkeys(free))
    # The structure of the equations is that of constant rates.
    return replace(model, parameters=parameters, comedication=found, free=free, structure=None)


def _by_equations(model: Model) -> Model:
    """A closed form as the ODE that it is the solution of."""
    same = model.equations
    if same is None:
        raise ModelError(
            f"{model.name} is a closed form without equations: a rate in it is one number for the whole curve and "
            "cannot change while something is given. Take a model that is an ODE or has equations, such as "
            "il15_persistence or stein_2019_tisagenlecleucel, or give yours equations=ck.Equations(...).",
            name="comedication",
        )
    return replace(
        model,
        curve=None,
        parameters={**model.parameters, **same.parameters},
        ties={**same.ties, **model.ties},
        states=same.states,
        rhs=same.rhs,
        observe=same.observe,
        start=same.start,
        dosing=same.dosing,
        switches=same.switches,
    )


def _check_rate(model: Model, what: str, rate: str) -> None:
    model.require(rate)
    assert model.rhs is not None
    moves = _rates(model)
    if rate in moves and model.parameters[rate].scale != "logit":
        return
    could = [name for name in moves if model.parameters[name].scale != "logit" and name not in model.comedication]
    why = "not in the right-hand side"
    if rate in names_of(model.rhs):
        why = "a share" if model.parameters[rate].scale == "logit" else "no rate: times a factor it changes no slope"
    remedy = f"Take one of {', '.join(could)}."
    if rate in names_of(model.rhs) and not model.parameters[rate].value:
        why = "0, which it stays times a factor"
        remedy += f" Or give it a value first, model.with_(values={{{rate!r}: ...}})."
    text = f"comedication={{{what!r}: {rate!r}}}: {rate} of {model.name} is {why}. {remedy}"
    raise ModelError(text, name=rate)


def _rates(model: Model) -> tuple[str, ...]:
    """Parameters of the right-hand side by which a slope of a state changes, with the values that the model has.

    The day of a switch, which the phases tell, changes none, and neither does what others that are 0 switch off. What
    is 0 and may be estimated is looked at elsewhere.
    """
    assert model.rhs is not None
    values = {name: float(value) for name, value in model.values().items()}
    names = tuple(name for name in names_of(model.rhs) if name in values)
    for name in names:
        parameter = model.parameters[name]
        held = name in model.held or not (model.free is None or callable(model.free) or name in model.free)
        if not values[name] and not held:
            values[name] = min(1.0, parameter.max / 2)
    return _moving(model.rhs, model.states, len(model.switches), names, tuple(values[name] for name in names))


@lru_cache(maxsize=64)
def _moving(
    rhs: Function, states: Sequence[str], switches: int, names: tuple[str, ...], values: tuple[float, ...]
) -> tuple[str, ...]:
    """Which of the parameters change a slope at one of many days and levels, when they are a little larger."""
    import jax
    import jax.numpy as jnp

    others = [name for name in names_of(rhs) if name not in (*names, "t", "phase", *states)]
    days = np.concatenate([np.arange(0.25, 60.0, 1.5), [90.0, 180.0, 365.0]])
    # Levels of each state and input, small beside large in every order.
    levels = 10.0 ** ((np.arange(7)[:, None] * np.arange(1, len(states) + len(others) + 1)) % 9 - 2)
    at = np.indices((switches + 1, len(days), len(levels))).reshape(3, -1)

    def slopes(given: Any, phase: Any, day: Any, level: Any) -> Any:
        known = dict(zip(names, given, strict=True)) | {"phase": phase, "t": day}
        return jnp.stack([*map(jnp.asarray, call(rhs, known | dict(zip((*states, *others), level, strict=True))))])

    given = np.array(values) * np.vstack([np.ones(len(names)), 1 + 1e-3 * np.eye(len(names))])
    over_places = jax.vmap(slopes, (None, 0, 0, 0))
    found = jax.jit(jax.vmap(over_places, (0, None, None, None)))(given, at[0], days[at[1]], levels[at[2]])
    usual, moved = np.asarray(found[:1]), np.asarray(found[1:])
    differs = (usual != moved) & np.isfinite(usual) & np.isfinite(moved)
    return tuple(name for name, any_ in zip(names, differs.any(axis=(1, 2)), strict=True) if any_)


def days_acting(model: Model) -> dict[str, float]:
    """{what is given: days that an administration acts}, of a model's comedications."""
    return {each.what: each.lasts for each in model.comedication.values()}


def factor_of(model: Model, rate: str, what: str) -> str | None:
    """The factor on a rate of what is given; None where the model has no such comedication."""
    found = (name for name, each in model.comedication.items() if (each.rate, each.what) == (rate, what))
    return next(found, None)


def without_factors(asked: Mapping[str, Any], factors: Sequence[str]) -> dict[str, Any]:
    """Arguments of a fit with these factors at 1, which is no effect."""
    found = dict(asked)
    for name in ("free", "random"):
        if found.get(name) is not None:
            names = (found[name],) if isinstance(found[name], str) else found[name]
            found[name] = [each for each in names if each not in factors]
    for name in ("initial", "prior"):
        if found.get(name):
            found[name] = {each: value for each, value in found[name].items() if each not in factors}
    if factors:
        found["fixed"] = {**(found.get("fixed") or {}), **dict.fromkeys(factors, 1.0)}
    return found


def takes_doses(model: Model) -> bool:
    """Whether cells, or what else is no comedication, can be given."""
    return not {*model.channels} <= {*days_acting(model)}


def without_effect(model: Model, doses: object) -> None:
    """Warn of doses that are given in a call for a model that takes none: its curve is the same without them."""
    comedicated = isinstance(doses, Mapping) and not {*model.channels}.isdisjoint(doses)
    if doses is not None and not takes_doses(model) and not comedicated:
        warnings.warn(
            f"{model.name} takes no dose: doses= has no effect on its curve. Leave it out, or take a model with a "
            "dose, such as il15_persistence.",
            DoseWarning,
            stacklevel=4,
        )


def not_given(model: Model, kinds: Sequence[str]) -> set[str]:
    """Factors of what is not among the kinds of doses of a patient: nothing there says what they are."""
    return {name for name, each in model.comedication.items() if each.what not in kinds}


def from_columns(model: Model, study: Study) -> dict[str, list[tuple[float, str, float]]]:
    """{subject: (day, what, days)} of what the study's columns of such names say, of its own days.

    A column that is above 0 for a patient throughout says that it was given from the first infusion on (day -inf); one
    that changes that it was given from a sample at which it is above 0 to the next one at which it is 0.

    Raises
    ------
    ModelError
        A column of text.
    """
    found: dict[str, list[tuple[float, str, float]]] = {subject: [] for subject in study.subjects}
    for what in days_acting(model):
        steady = what in study.covariates
        if not steady and what not in study.observations:
            continue
        column = study.covariates[what] if steady else study.observations[what]
        if not (pd.api.types.is_numeric_dtype(column) or column.isna().all()):
            raise ModelError(f"column {what} has texts: write 1 while {what} is given and 0 while not.", name=what)
        if steady:
            for subject in column.index[column.astype(float) > 0]:
                found[str(subject)].append((-np.inf, what, np.inf))
            continue
        rows = pd.DataFrame({"subject": study.observations["subject"], "day": study.observations["day"], "on": column})
        for subject, own in rows.dropna().groupby("subject", sort=False):
            last = own.sort_values("day", kind="stable").drop_duplicates("day", keep="last")
            day, on = last["day"].to_numpy(float), last["on"].to_numpy(float) > 0
            turns = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]])))
            for begin, end in turns.reshape(-1, 2).tolist():
                stop = day[end] if end < len(day) else np.inf
                found[str(subject)].append((float(day[begin]), what, float(stop - day[begin])))
    return found


def with_factors(model: Model, values: Mapping[str, Any], acts: Any) -> dict[str, Any]:
    """Parameters with each rate times the factors of what ``acts`` (comedications,), 1 or 0, now."""
    import jax.numpy as jnp

    found = dict(values)
    for at, (name, each) in enumerate(model.comedication.items()):
        found[each.rate] = found[each.rate] * jnp.where(acts[..., at] > 0, values[name], 1.0)
    return found
