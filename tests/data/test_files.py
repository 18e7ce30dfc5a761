"""Tables as other programs write them; see files/README.md."""

from pathlib import Path

import numpy as np
import pytest

from cellkinetics.data.reading import read_study

FILES = Path(__file__).parents[1] / "files"
# File: limit that it does not state, subjects, samples used by status, excluded, infusions.
EXPECTED = {
    "monolix.csv": (None, 2, (2, 1, 1, 1), {}, 2),
    "nlmixr2.csv": (None, 1, (2, 0, 1, 0), {}, 1),
    "nonmem.csv": (None, 2, (3, 0, 0, 0), {}, 2),
    "phoenix.csv": (3.0, 2, (2, 1, 0, 0), {"pre-dose": 2}, 2),
    "lims.csv": (None, 2, (2, 2, 0, 0), {"before the first infusion": 1}, 0),
    "spreadsheet.csv": (3.0, 2, (2, 1, 0, 0), {}, 2),
    "clinical_dates.csv": (3.0, 2, (3, 1, 0, 0), {"before the first infusion": 1}, 0),
    "per_well.csv": (None, 1, (3, 2, 0, 0), {}, 0),
    "tabs.txt": (None, 1, (1, 0, 1, 0), {"after day 60: transplantation": 1}, 0),
    "two_infusions.csv": (None, 1, (2, 0, 0, 0), {}, 2),
}


def test_every_file_is_read_here():
    assert {path.name for path in FILES.iterdir() if path.suffix != ".json"} == {"README.md", *EXPECTED}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_table_of_another_program_is_read_and_comes_back(name, tmp_path):
    lloq, subjects, counts, exclusions, infusions = EXPECTED[name]
    study = read_study(FILES / name, lloq=lloq)
    assert len(study.subjects) == subjects
    assert tuple(study.counts.values()) == counts
    assert study.exclusions == exclusions
    assert (study.doses["kind"] == "cells").sum() == infusions
    for style in ("plain", "monolix", "nlmixr2", "nonmem"):
        study.to_csv(tmp_path / "again.csv", style=style)
        assert read_study(tmp_path / "again.csv").counts == study.counts


def test_days_and_limits_of_the_tables_are_those_that_they_state():
    dates = read_study(FILES / "clinical_dates.csv", lloq=3)
    assert dates.observations["day"].tolist() == [-1.0, 7.0, 28.0, 7.0, 91.0]
    assert dates.covariates["Response"].tolist() == ["CR", "PR"]
    wells = read_study(FILES / "per_well.csv", replicates="mean")
    assert wells.observations["upper"].tolist() == pytest.approx([np.sqrt(5120 * 4980), np.sqrt(50 * 61), 100.0])
    assert read_study(FILES / "lims.csv").lloq == 3.5
    assert read_study(FILES / "phoenix.csv", lloq=3).observations["day"].tolist() == [0.0, 7.2, 27.9, 0.0, 6.9]
