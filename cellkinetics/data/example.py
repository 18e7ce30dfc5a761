"""The example that comes with the library: eleven simulated patients."""

from __future__ import annotations

from pathlib import Path

from cellkinetics.data.reading import read_study
from cellkinetics.data.study import Study


def example() -> Study:
    """Eleven **simulated** patients with the doses of the study that this library grew from.

    The individual values of the study (N Engl J Med 2020;382:545-53) are not public: these are simulated from
    ``il15_persistence`` and are not measurements of patients. What was put in (doses, follow-up, labels of response,
    medians of the peaks, variability, seed) is listed in ``example().note``.

    Returns
    -------
    Study
        In copies/ug, lower limit of quantification 3 copies/ug, doses in cells/kg, cohorts named by dose.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> study = ck.example()
    >>> len(study.subjects), study.lloq, study.simulated
    (11, 3.0, True)
    """
    return read_study(Path(__file__).parents[1] / "_data" / "example.csv")
