"""What is given to patients ahead: doses that are asked for, in words, and what a population says nothing of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.errors import ModelError
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.dosing import Doses, as_doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.typical import first_dose
from cellkinetics.population.patients import Patients
from cellkinetics.words import dose_text

FAR_DAYS = 7.0  # beyond the days on which something was given in the study, from which on it is said
FAR_DOSE = 3.0  # times the largest dose of the population, from which on it is said


class Regimen(NamedTuple):
    """Doses of a model, the first dose of cells, how many infusions of cells there are, and all of it in words."""

    doses: Doses
    first: float
    infusions: int
    words: str


def regimen_of(model: Model, asked: Any, whose: str) -> Regimen:
    """Doses as `simulate` takes them.

    Raises
    ------
    ModelError
        No dose of cells, or what can be no dose.
    """
    cells = asked.get("cells") if isinstance(asked, Mapping) else asked
    given = as_doses(cells, ("cells",))  # refused as elsewhere where it can be no dose
    if not np.asarray(given.amounts).any() and given.rates is None:
        raise ModelError(f"{whose} has no dose of cells. Give 1e6, or (day, amount) pairs.", name="doses")
    infusions = int(np.isfinite(given.times).sum())
    return Regimen(model.doses(asked if model.channels else None), first_dose(cells), infusions, _in_words(asked))


def first_alone(model: Model, whose: str) -> str:
    """What is said where several infusions meet a model that takes none."""
    return (
        f"{model.name} takes no dose: of the infusions of {whose} its curve knows the first alone, where the dose "
        "drives a parameter"
    )


def unseen(patients: Patients, regimens: Mapping[str, Regimen]) -> list[str]:
    """What the population says nothing of.

    First doses far from its own; what was not given, not as often, or, but for cells, on days far from these.
    """
    model, table, arms = patients.model, patients.study.doses, list(regimens)
    several = [name for name, one in regimens.items() if one.infusions > 1 and not takes_doses(model)]
    notes = [first_alone(model, ", ".join(several))] if several else []
    most = np.max([_times_given(problem.doses) for problem in patients.problems], axis=0)
    more = np.array([_times_given(one.doses) for one in regimens.values()]) > most
    for channel, had, whose in zip(model.channels, most, more.T, strict=True):
        if whose.any():
            often = "" if had == 0 else " more than once" if had == 1 else f" more than {had} times"
            names = ", ".join(name for name, own in zip(arms, whose, strict=True) if own)
            notes.append(f"no patient was given {channel}{often}, as in {names}: nothing was seen of it")
    notes += _on_other_days(patients, regimens, more)
    had = table.loc[table["kind"] == "cells", "amount"].to_numpy(float)
    had = had[had > 0]
    far = [
        name
        for name, one in regimens.items()
        if len(had) and not had.min() / FAR_DOSE <= one.first <= FAR_DOSE * had.max()
    ]
    if far:
        notes.append(
            f"the dose of {', '.join(far)} is far from the {had.min():.3g} to {had.max():.3g} of these patients: "
            "nothing was seen there"
        )
    return notes


def _on_other_days(patients: Patients, regimens: Mapping[str, Regimen], said: Flags) -> list[str]:
    """Of what is given, but for cells, far before or after the days of the study; ``said`` (arms, channels) before."""
    notes = []
    for at, channel in enumerate(patients.model.channels):
        seen = np.concatenate([_days_given(problem.doses, at) for problem in patients.problems])
        if channel == "cells" or not len(seen):
            continue
        first, last = seen.min(), seen.max()
        asked = {name: _days_given(one.doses, at) for name, one in regimens.items()}
        far = [
            name for (name, days), known in zip(asked.items(), said[:, at], strict=True)
            if not known and ((days > last + FAR_DAYS) | (days < first - FAR_DAYS)).any()
        ]  # fmt: skip
        if far:
            when = f"{first:g}" if first == last else f"{first:g} to {last:g}"
            notes.append(
                f"no patient was given {channel} on a day far from {when}, as in {', '.join(far)}: nothing was seen "
                "of it"
            )
    return notes


def _days_given(doses: Doses, channel: int) -> Floats:
    """Since the first infusion."""
    return np.asarray(doses.times)[_given(doses)[:, channel]]


def _times_given(doses: Doses) -> Ints:
    """(channels,) how often each was given."""
    return _given(doses).sum(axis=0)


def _given(doses: Doses) -> Flags:
    """(events, channels) whether each is given."""
    given = np.asarray(doses.amounts) > 0
    return given if doses.rates is None else given | (np.asarray(doses.rates) > 0)


def _in_words(regimen: Any) -> str:
    """1e6 cells/kg on day 0; lymphodepletion on days -5, 23."""
    by_channel = regimen if isinstance(regimen, Mapping) else {"cells": regimen}
    texts = []
    for channel, events in by_channel.items():
        given = list(events) if isinstance(events, list | tuple) or np.ndim(events) else [(0.0, events)]
        parts = [f"{dose_text(float(event[1]))} on day {float(event[0]):g}" if channel == "cells"
                 else f"day {float(event[0]):g}" for event in given]  # fmt: skip
        texts.append(f"{'' if channel == 'cells' else f'{channel} on '}{', '.join(parts)}")
    return "; ".join(texts)
