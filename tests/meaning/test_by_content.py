"""Specimens, infusions, limits, exclusions and comments under headings that nobody foresaw, and their neighbours."""

import pandas as pd
import pytest
from told import refusal, silently

DAYS, VALUES = [7, 14, 28, 60, 90], ["5210", "1830", "421", "37.2", "6.1"]


def table(name, cells):
    """Two subjects with a dose row and five samples each; `cells` are those of the dose row and the samples."""
    rows = []
    for subject in "AB":
        days = zip([0, *DAYS], ["", *VALUES], ["1e6"] + [""] * 5, cells, strict=True)
        rows += [(subject, str(day), value, dose, cell) for day, value, dose, cell in days]
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", name])


def dosed(cell):
    return [cell] + [""] * 5


def one(cell, others=""):
    return ["", others, others, cell, others, others]


SPECIMENS = [
    ("sample_source", one("bm asp", "blood")),
    ("source", one("bone marrow aspirate (BMA)", "PB")),
    ("site_of_draw", one("iliac crest", "arm vein")),
    ("Entnahme", one("KM-Punktat", "Blut")),
    ("origin", one("marrow aspirate", "peripheral")),
]
LENGTHS = [
    ("inf_h", dosed("48")),
    ("t_inf", dosed("2")),
    ("infusion_len", dosed("3 d")),
    ("infusion_len_d", dosed("3")),
    ("infus_h", dosed("30")),
    ("tinfh", dosed("30")),
    ("perf_jours", dosed("2")),
]
LIMITS = [
    ("Q_limit", ["10"] * 6),
    ("assay_min", ["10"] * 6),
    ("LLD", ["10"] * 6),
    ("qlim", ["10"] * 6),
    ("lowest_measurable", ["10"] * 6),
    ("min_q", ["", "10", "10", "10", "5", "5"]),
    ("assay_max", ["1e5"] * 6),
]
EXCLUSIONS = [
    ("skip", one("1", "0")),
    ("mask", one("1", "0")),
    ("nofit", one("1")),
    ("QC_pass", one("N", "Y")),
    ("in_fit", one("0", "1")),
    ("dont_use", one("x")),
    ("leave_out", one("1")),
    ("masked", one("T", "F")),
]
COMMENTS = [
    ("note", one("sample clotted")),
    ("note", one("mislabelled tube")),
    ("remark", one("QC failed, repeat needed")),
    ("note", one("below range")),
    ("Bemerkung", one("Probe vertauscht")),
    ("note", one("drawn from bone marrow")),
    ("comment", one("not for analysis")),
    ("commentaire", one("ne pas utiliser")),
]


@pytest.mark.parametrize(("name", "cells"), [*SPECIMENS, *LENGTHS, *LIMITS, *EXCLUSIONS, *COMMENTS])
def test_what_changes_a_value_is_refused_with_what_to_do(name, cells):
    frame = table(name, cells)
    assert f"the column {name} is not read and" in refusal(frame)
    assert len(silently(frame, ignore=[name]).used) == 10


@pytest.mark.parametrize(
    ("name", "meaning", "below"),
    [("Q_limit", "lloq", 2), ("LLD", "lod", 2), ("det_lim", "lod", 2), ("assay_max", "uloq", 0)],
)
def test_the_remedy_of_a_limit_is_the_limit_that_it_is(name, meaning, below):
    frame = table(name, ["4000" if meaning == "uloq" else "10"] * 6)
    assert f"columns={{{meaning!r}: {name!r}}}" in refusal(frame)
    used = silently(frame, columns={meaning: name}).used
    assert (used["status"] == "below").sum() == below
    assert (used["status"] == "above").sum() == (2 if meaning == "uloq" else 0)


@pytest.mark.parametrize(("name", "cells"), [("skip", one("1", "0")), ("nofit", one("1")), ("mask", one("1", "0"))])
def test_the_remedy_of_an_exclusion_leaves_out_what_it_marks(name, cells):
    study = silently(table(name, cells), columns={"excluded": name})
    assert study.used["day"].tolist() == [7, 14, 60, 90] * 2


NEIGHBOURS = [
    ("sample_source", one("periph", "CVC")),
    ("site_of_draw", one("left arm", "arm vein")),
    ("inf_min", dosed("20")),
    ("inf_h", dosed("2")),
    ("t_inf", dosed("0")),
    ("infusion_len", dosed("30 min")),
    ("infection_days", dosed("3")),
    ("min_age", ["18"] * 6),
    ("assay_no", ["1", "1", "1", "2", "2", "2"]),
    ("fit", ["yes"] * 6),
    ("masked", ["1"] * 6),
    ("exclude_from_fit", ["", "0", "0", "0", "0", "0"]),
    ("passport", one("1", "0")),
    ("hiding", one("1", "0")),
    ("comment", one("patient well")),
    ("comment", one("drawn late from left arm")),
    ("comment", one("line clotted and replaced")),
    ("comment", one("failed prior therapy")),
    ("comment", one("relapse in the marrow")),
    ("comment", one("WBC out of range")),
    ("comment", one("estimated blood loss 20 mL")),
    ("comment", one("control visit by phone")),
]


@pytest.mark.parametrize(("name", "cells"), NEIGHBOURS)
def test_neighbours_of_what_changes_a_value_pass_without_a_word(name, cells):
    assert len(silently(table(name, cells)).used) == 10
