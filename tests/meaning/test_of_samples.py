"""Columns that say how samples came to their values, whatever their name, and neighbours that say nothing of it."""

import pandas as pd
import pytest
from told import refusal, silently

from cellkinetics import read_study

ROWS = [
    (p, d, f * v) for p, f in (("A", 1), ("B", 0.6)) for d, v in ((7, 5200), (14, 1810), (28, 97), (60, 12), (90, 7))
]


def table(name, *cells):
    """Two patients with five samples each, and a column of five cells."""
    frame = pd.DataFrame(ROWS, columns=["ID", "TIME", "DV"])
    return frame.assign(**{name: [*cells] * 2})


CONTROLS = {
    "SampleType": ("", "", "", "QC low", ""),
    "content": ("Unkn", "Unkn", "Std-3", "Unkn", "Unkn"),
    "lane": ("s1", "s2", "s3", "s4", "neg. control"),
    "Rolle der Probe": ("Probe", "Probe", "Probe", "Leerwert", "Probe"),
    "row class": ("calibrator 2", "x", "x", "x", "x"),
}
TARGETS = {
    "probe set": ("FMC63", "RPP30", "FMC63", "FMC63", "RPP30"),
    "Locus": ("WPRE", "psi", "WPRE", "psi", "WPRE"),
    "organism": ("human", "murine", "human", "murine", "human"),
    "x": ("CAR", "GAPDH", "CAR", "GAPDH", "CAR"),
    "constructs": ("CD19", "CD22", "CD22", "CD19", "CD22"),
}
DILUTIONS = {
    "dilution": ("1:20", "1:20", "neat", "neat", "neat"),
    "DNA dil. factor": ("4", "4", "1", "1", "1"),
    "Verdünnungsfaktor": ("10x", "10x", "1x", "1x", "1x"),
    "sample dilution": ("5-fold",) * 5,
}
DERIVED = {
    "imputation method": ("", "", "", "WOCF", ""),
    "DTYPE": ("", "MEAN", "", "", ""),
    "Herkunft": ("gemessen", "gemessen", "berechnet", "gemessen", "gemessen"),
    "interpolated": ("N", "N", "Y", "N", "N"),
    "comment": ("", "", "", "value carried forward from day 14", ""),
}
SPOILT = {
    "haemolysis index": ("none", "mild", "gross", "none", "none"),
    "PCR inhibition": ("no", "no", "no", "yes", "no"),
    "clots": ("0", "0", "1", "0", "0"),
    "Hämolyse": ("-", "-", "++", "-", "-"),
    "lipemia grade": ("0", "1", "3", "0", "0"),
}
MARKED = {
    "FLAG": ("", "*", "", "", ""),
    "row_status": ("#", "", "", "", ""),
    "duplicate": ("", "yes", "", "", ""),
    "is dup": ("0", "0", "1", "0", "0"),
}
WELLS = {
    "hits": ("3 of 3", "3 of 3", "3 of 3", "2 of 3", "1 of 3"),
    "positive wells": ("4", "4", "4", "4", "2"),
    "replicates detected": ("2/2", "2/2", "2/2", "2/2", "1/2"),
    "Positive Reps": ("3", "3", "3", "3", "1"),
}
KINDS = {
    "controls or standards": CONTROLS,
    "tells measurements apart": TARGETS,
    "looks like a dilution": DILUTIONS,
    "not measured as they stand": DERIVED,
    "spoilt": SPOILT,
    "not to be used": MARKED,
    "not all wells": WELLS,
}


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, names in KINDS.items() for name in names])
def test_what_a_sample_is_or_how_it_came_to_its_value_is_refused_with_two_remedies(what, name):
    frame = table(name, *KINDS[what][name])
    said = refusal(frame)
    assert what in said
    assert f"ignore=[{name!r}]" in said
    assert len(silently(frame, ignore=[name]).used) == 10


def test_the_remedies_that_use_a_column_give_the_study_that_was_meant():
    frame = table("target", "CAR", "ALB", "CAR", "ALB", "CAR")
    assert read_study(frame, columns={"output": "target"}).used["output"].value_counts().to_dict() == {
        "CAR": 6,
        "ALB": 4,
    }
    frame = table("dup", "", "Y", "", "", "")
    assert read_study(frame, columns={"excluded": "dup"}).used["day"].tolist() == [7, 28, 60, 90] * 2


HARMLESS = {
    "study arm": ("control",) * 5,
    "care": ("standard", "standard", "intensive", "intensive", "standard"),
    "sample_type": ("unknown",) * 5,
    "target": ("CAR",) * 5,
    "dilution": ("1", "1:1", "neat", "1x", "undiluted"),
    "source": ("ward", "ward", "clinic", "clinic", "clinic"),
    "type": ("EDTA", "EDTA", "heparin", "EDTA", "EDTA"),
    "hemolysis": ("none", "mild", "none", "(+)", "none"),
    "haemolysis index": ("12", "8", "35", "7", "9"),
    "checkpoint inhibition": ("no", "no", "yes", "yes", "no"),
    "positive droplets": ("5100", "1800", "96", "12", "7"),
    "hits": ("3/3",) * 5,
    "wells": ("A1", "A2", "A3", "A4", "A5"),
    "duplicate": ("1", "2", "1", "2", "1"),
    "ECOG": ("1/4", "1/4", "2/4", "1/4", "1/4"),
    "note": ("drawn at home", "", "", "second tube", ""),
    "mean arterial pressure": ("80", "82", "79", "90", "85"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_says_nothing_of_a_value_passes_without_a_word(name):
    assert len(silently(table(name, *HARMLESS[name])).used) == 10


@pytest.mark.parametrize("name", ["C", "c"])
@pytest.mark.parametrize("other", ["", "0", ".", "-"])
def test_rows_that_nonmem_leaves_out_by_a_c_are_not_used(name, other):
    study = silently(table(name, other, "C", other, other, "c"))
    assert study.used["day"].tolist() == [7, 28, 60] * 2
    assert study.exclusions == {f"C in the column {name}": 4}
    beside = table(name, other, "C", other, other, other).assign(excluded="")
    assert f"ignore=[{name!r}]" in refusal(beside)


def test_another_letter_in_that_column_is_a_level_of_something():
    assert len(silently(table("C", "C", "A", "B", "B", "C")).used) == 10
