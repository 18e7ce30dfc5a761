"""Simulated patients for misfit.py: clean ones, and five ways in which a curve can miss its samples.

Parameters are log-normal around the defaults (SDs of batch_fit.py, and for nk_decline those below), residual SD 0.5 on
the ln scale, one infusion of 1e6 cells/kg, 15 or 9 samples; the lower limit is the 0, 30 or 60% quantile of all clean
values. Seeds, days, SDs and what is planted were fixed before the first run.
"""

from typing import NamedTuple

import batch_fit
import numpy as np
from patients import drawn as patients_of

import cellkinetics as ck
from cellkinetics import models

SEED, DOSE, SD = 2020, 1e6, 0.5
STEIN, IL15, DECLINE = "stein_2019_tisagenlecleucel", "il15_persistence", "nk_decline"
SPREADS = {**batch_fit.SPREADS, DECLINE: {"F": 0.5, "alpha": 0.3, "f_b": 0.5, "beta": 0.3}}
# A decline without expansion is over in five weeks.
DAYS = {
    15: {
        STEIN: batch_fit.DAYS,
        IL15: batch_fit.DAYS,
        DECLINE: np.array([0.1, 0.25, 0.5, 1, 2, 3, 5, 7, 10, 14, 17, 21, 24, 28, 35]),
    },
    9: {
        STEIN: np.array([3, 7, 10, 14, 28, 60, 90, 180, 365.0]),
        IL15: np.array([3, 7, 10, 14, 28, 60, 90, 180, 365.0]),
        DECLINE: np.array([0.25, 1, 2, 3, 5, 7, 10, 14, 21]),
    },
}
OUTLIER, ABOVE_PEAK, SECOND, LOW_PEAK = 15.0, 4.0, 20.0, 4.0


class Patients(NamedTuple):
    """Simulated patients.

    study : of them all. days : {subject: days that were planted}, none of a clean patient.
    """

    study: ck.Study
    days: dict[str, list[float]]


def clean(name, samples, share, *, patients=500, sd=SD, seed=SEED):
    """Patients of the model that is fitted."""
    table = drawn(name, DAYS[samples][name], patients, sd, seed)
    return Patients(read(table, share), {subject: [] for subject in table["subject"].unique()})


def drawn(name, days, patients, sd, seed, same=()):
    """A table of clean patients, with the ``curve`` behind each value; what is the ``same`` in all at its default."""
    return patients_of(models.load(name), SPREADS[name], patients, days, seed=seed, sd=sd, same=same)[0]


def read(table, share, limit=None):
    """The study, with its limit at the quantile ``share`` of all values."""
    limit = float(table["copies_per_ug"].quantile(share)) if limit is None else limit
    return ck.read_study(table.drop(columns="curve"), lloq=limit)


def changed(name, samples, share, change, *, patients=500, seed=SEED + 1):
    """Clean patients with something planted: ``change`` (one patient's table) gives copies and the days of it."""
    table = drawn(name, DAYS[samples][name], patients, SD, seed)
    limit, days = float(table["copies_per_ug"].quantile(share)), {}
    for subject, own in table.groupby("subject"):
        copies, days[subject] = change(own)
        table.loc[own.index, "copies_per_ug"] = copies
    return Patients(read(table, share, limit), days)


def outlier(own):
    """The middle sample 15 times as high."""
    copies, middle = own["copies_per_ug"].to_numpy(copy=True), len(own) // 2
    copies[middle] *= OUTLIER
    return copies, [float(own["day"].iloc[middle])]


def outlier_peak(own):
    """The second sample after the highest is four times as high as that."""
    copies = own["copies_per_ug"].to_numpy(copy=True)
    at = min(int(np.argmax(copies)) + 2, len(own) - 1)
    copies[at] = ABOVE_PEAK * copies.max()
    return copies, [float(own["day"].iloc[at])]


def second_peak(own):
    """A second expansion of 20-fold over the curve: it sets in on day 45, is highest on day 90, and over on day 180."""
    days = own["day"].to_numpy()
    rise = np.interp(days, [45.0, 90.0, 180.0], [0.0, 1.0, 0.0])
    return own["copies_per_ug"].to_numpy() * SECOND**rise, days[rise > 0].tolist()


def low_peak(own):
    """The highest sample of the curve four times as high: a peak sharper than the model can have."""
    copies, at = own["copies_per_ug"].to_numpy(copy=True), int(np.argmax(own["curve"]))
    copies[at] *= LOW_PEAK
    return copies, [float(own["day"].iloc[at])]


def wrong_model(samples, share, *, patients=500, seed=SEED + 2):
    """Stein's patients, for nk_decline: no day is planted, all of the curve is wrong."""
    return clean(STEIN, samples, share, patients=patients, seed=seed)
