"""The limits of samples whose rows name none, for what simulates them: those of the study."""

from __future__ import annotations

import numpy as np

from cellkinetics.arrays import Floats, Ints


def in_force(limit: Floats, known: Floats, subject: Ints, output: Ints, day: Floats) -> Floats:
    """Lower limits (n,) with those of the study where a sample names none.

    A file may name its limit on the censored rows alone (CENS 1 and the limit as the value). A value that was
    quantified was so by the same assay: it has the limit of the rows of its output. Where these have several it is
    that of the patient's row nearest in time, or where the patient has none the one that most rows have. A limit above
    the value is not its own: it would have been censored.

    Parameters
    ----------
    limit : copies, NaN where the row names none.
    known : copies that the sample is known not to lie below.
    subject, output, day : of each sample, by subject.
    """
    found = limit.copy()
    for one in np.unique(output[np.isnan(limit)]):
        named, without = (np.flatnonzero((output == one) & each) for each in (~np.isnan(limit), np.isnan(limit)))
        limits, rows = np.unique(limit[named], return_counts=True)
        if len(limits) == 1:
            found[without] = np.where(known[without] >= limits[0], limits[0], np.nan)
            continue
        if not len(limits):
            continue
        first, last = (np.searchsorted(subject[named], subject[without], side) for side in ("left", "right"))
        for at, begin, end in zip(without, first, last, strict=True):
            own = named[begin:end]
            own = own[limit[own] <= known[at]]
            if len(own):
                found[at] = limit[own[np.argmin(np.abs(day[own] - day[at]))]]
            elif (under := limits <= known[at]).any():
                # Of those that equally many rows have the one nearest to the value.
                found[at] = limits[under][::-1][np.argmax(rows[under][::-1])]
    return found
