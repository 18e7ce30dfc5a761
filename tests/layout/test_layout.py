"""How tables are laid out: what may mean two things is refused with a remedy, and the remedy gives the study."""

import gzip
import runpy
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellkinetics import StudyError, read_study
from cellkinetics.data import groups
from cellkinetics.layout import packed
from cellkinetics.layout.dates import seconds_of
from cellkinetics.layout.visits import day_of, nearly

MUTATED = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "mutated_files.py"))
HEAD = "subject,day,copies_per_ug"


REPEATED = "dose is 1000000 on {} samples and empty on {}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{HEAD},dose\nA,1,50,1e6\nA,7,500,1e6\nA,14,80,\n", "dose is 1000000 on 2 samples and empty on 1"),
        (f"{HEAD},dose\nA,1,50,1e6\nA,7,60,1e6\nA,28,80,2e6\n", "dose is 1000000, then 2000000 on 3 samples"),
        ("ID,TIME,DV,AMT\n1,1,50,1e6\n1,7,500,1e6\n1,14,9,1e6\n", "AMT is 1000000 on 3 samples and empty on 0"),
        (f"{HEAD},dose,course\nA,0,,1e6,1\nA,7,50,,1\nA,0,,2e6,2\nA,7,60,,2\n", r"courses \(course 1, 2\) lie on each"),
        (f"{HEAD},dose\nA,0,,1e6\nA,7,50,\nA,0,,2e6\nA,7,60,\n", r"infused on day 0 again.*\(rows 2 and 4\)"),
        ("ID,TIME,DV,AMT\n1,0,,1e6\n1,7,5,\n2,0,,1e6\n2,7,5,\n1,0,,2e6\n1,7,9,\n", r"again.*\(rows 2 and 6\)"),
        (f"{HEAD}\npt1,7,50\nPT1,28,5\n", "'pt1', 'PT1' .* look like one patient"),
        (f"{HEAD}\n001,7,50\n1,28,5\n1.0,60,5\n", "'001', '1', '1.0' .* look like one patient"),
        (f"{HEAD}\nP-01,7,50\nP_1,28,5\n", "'P-01', 'P_1' .* look like one patient"),
        ("subject,d7,d28,EOT\nA,50,5,4\n", "the column EOT holds numbers and its heading names no day"),
        ("subject,Baseline,d7,d28\nA,1,50,5\n", "the column Baseline holds numbers"),
        ("subject,d7,d28,Day 60 or 61\nA,1,50,5\n", "the column Day 60 or 61 holds numbers"),
        ("subject;day;copies_per_ug\nA;7;12.500\nA;14;5.120\nA;28;20\n", "12500 or 12.500: nothing says which"),
        ("subject;day;copies_per_ug\nA;7;5,120\nA;28;20\n", "5120 or 5.120: nothing says which"),
        ("subject;day;copies_per_ug\nA;1,095;5\n", "1095 or 1.095: nothing says which"),
        (f'{HEAD},c\nA,7,50,"x\nA,8,60,\nB,7,5,"\n', "a quotation mark that opens on line 2"),
        (f'{HEAD},c\n"A,7,50,\nB,8,60,\n', "a quotation mark that opens on line 2"),
        (f'{HEAD},c\nA,7,50,\nA,8,60,"\nB,7,5,"ok"\n', "a quotation mark that opens on line 3"),
        ("ID,ADY,DV\n1,8,5\n1,0,6\n", "ADY is 0, and study days have no day 0"),
        ("subject,Entnahme,dv\nA,2024-03-09,5\n", "Entnahme has dates. Say which is which"),
        ("subject,date,infusion_date,dv\nA,3/4/2024,2/4/2024,5\n", "'3/4/2024', which is not an ISO date"),
        ("subject,visit,dv\nA,Day 7,5\nA,EOT,6\n", "visit is 'EOT', which names no day"),
        ("A study\npat,tag,wert\nA,7,5\n", "line 1 is no header: it has 1 cells between ',', 'A study' the first"),
        (f"{HEAD},lower,upper\nA,28,,3,1\n", "lower is '3' and upper is '1'. They are the ends of one value"),
    ],
)
def test_what_may_mean_two_things_is_refused(read, text, found):
    with pytest.raises(StudyError, match=f"(?s){found}"):
        read(text)


def used(study):
    rows = study.used
    return [tuple(row) for row in rows[["subject", "day"]].assign(value=rows["value"].fillna(rows["upper"])).values]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (f"{HEAD},dose\nA,0,,1e6\nA,1,50,\nA,7,500,\nA,14,80,\n", [("A", 1, 50), ("A", 7, 500), ("A", 14, 80)]),
        (f"{HEAD},dose\nA-1,0,,1e6\nA-1,7,5,\nA-2,0,,2e6\nA-2,7,6,\n", [("A-1", 7, 5), ("A-2", 7, 6)]),
        (f"{HEAD}\nP 1,7,50\nP\u00a01,28,5\nP  1,60,4\n", [("P 1", 7, 50), ("P 1", 28, 5), ("P 1", 60, 4)]),
        ("subject,Day 7 (±1),Day 14 (±2)\nA,50,5\n", [("A", 7, 50), ("A", 14, 5)]),
        ("subject,D+7,1M,3 months\nA,5,6,7\n", [("A", 7, 5), ("A", 30.4375, 6), ("A", 91.3125, 7)]),
        ("subject;day;copies_per_ug\nA;7;5,120\nA;28;0,5\n", [("A", 7, 5.12), ("A", 28, 0.5)]),
        ("subject;day;copies_per_ug\nA;7;5120\nA;28;20\n", [("A", 7, 5120), ("A", 28, 20)]),
        (f'{HEAD},c\nA,7,50,"two\nlines, one comma"\nB,8,60,\n', [("A", 7, 50), ("B", 8, 60)]),
        ("USUBJID,PCDY,DV,dose\nA,-1,2,1e6\nA,8,50,1e6\nA,15,5,1e6\n", [("A", 7, 50), ("A", 14, 5)]),
        (f"{HEAD}\nA,0,50\nA,7,60\nB,0,0\n", [("A", 0, 50), ("A", 7, 60)]),
        ("subject,DateCollected,Infusion Date,dv\nA,9 March 2024,2 Mar 2024,5\n", [("A", 7, 5)]),
        ("USUBJID,PCDTC,RFXSTDTC,dv\nA,2024-03-09T08:00,2024-03-02T08:00,5\n", [("A", 7, 5)]),
        ("subject,date,infusion_date,dv\nA,45360,45353,5\n", [("A", 7, 5)]),
        ("subject,visit,dv\nA,Week 1,5\nA,Month 3,6\n", [("A", 7, 5), ("A", 91.3125, 6)]),
        ("subject,day,dv\nA,Day 14 (+/-2),5\nA,28,6\n", [("A", 14, 5), ("A", 28, 6)]),
        (f"A study\n\n{HEAD}\nA,7,5\n", [("A", 7, 5)]),
        (f"sep=;\n{HEAD.replace(',', ';')}\nA;7;0,5\n", [("A", 7, 0.5)]),
        ("subject,day,lower,upper\nA,7,50,50\nA,28,0,3\nA,60,1,3\n", [("A", 7, 50), ("A", 28, 3), ("A", 60, 3)]),
        (f"{HEAD},lower,upper\nA,7,50,40,60\nA,28,,0,3\n", [("A", 7, 50), ("A", 28, 3)]),
    ],
)
def test_what_means_one_thing_is_read(read, text, rows):
    got = used(read(text, lloq=3 if "lower" in text or "B,0,0" in text else None))
    assert [name for name, *_ in got] == [name for name, *_ in rows]
    assert [row[1:] for row in got] == [pytest.approx(row[1:]) for row in rows]


def test_the_columns_of_dates_are_named_as_the_remedy_says(read):
    text = "subject,Entnahme,Gabe,dv\nA,2024-03-09,2024-03-02,5\n"
    assert used(read(text, columns={"date": "Entnahme", "infusion_date": "Gabe"})) == [("A", 7, 5)]


@pytest.mark.parametrize(
    "text",
    ["2024-03-09", "2024/03/09", "20240309", "09-Mar-2024", "09MAR2024", "9 March 2024", "Mar 9, 2024", "2024-3-9"],
)
def test_a_date_of_one_meaning_is_read(text):
    assert seconds_of(text) == (pd.Timestamp("2024-03-09").timestamp(), False)
    assert seconds_of("2024-03-09T08:00:00+02:00") == (pd.Timestamp("2024-03-09T06:00").timestamp(), True)


@pytest.mark.parametrize("text", ["3/4/2024", "09-03-24", "2024-13-01", "20241301", "9 Foo 2024", "2024"])
def test_a_date_of_two_meanings_or_none_is_not(text):
    assert seconds_of(text) is None


def test_names_of_days_and_names_that_are_nearly_days_are_told_apart():
    assert [day_of(name) for name in ("C1D8", "CD19", "weight", "EOT")] == [None] * 4
    assert [nearly(name) for name in ("C1D8", "EOT", "pre-infusion", "CD19", "D-dimer", "age")] == [True] * 3 + [
        False
    ] * 3


def test_own_observations_are_read_back_as_the_same_study(read):
    first = read(f"{HEAD},dose\nA,0,1,1e6\nA,7,5000,\nA,28,<3,\nA,60,0.5,\nA,90,>1e6,\nA,99,,\n", lloq=3, lod=1)
    again = read_study(first.observations)
    columns = ["subject", "day", "output", "value", "lower", "upper", "status", "lloq", "excluded"]
    pd.testing.assert_frame_equal(again.observations[columns], first.observations[columns])
    assert first.counts == {"quantified": 1, "below": 1, "interval": 1, "above": 1}


@pytest.mark.parametrize("name", ["log10_copies_per_ug", "LNDV", "log_copies", "lnCopies"])
def test_logarithms_are_not_proposed_as_the_value(read, name):
    with pytest.raises(StudyError, match="holds logarithms") as said:
        read(f"subject,day,{name}\nA,7,3.7\n")
    assert "columns=" not in str(said.value)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("copies_per_cell", "copies/cell"), ("copies_per_ml", "copies/mL"), ("copies_per_50_ng", "copies/50 ng")],
)
def test_another_unit_is_proposed_with_the_column_and_followed_gives_that_unit(read, name, unit):
    text = f"subject,day,{name}\nA,7,3.7\n"
    with pytest.raises(StudyError) as said:
        read(text)
    assert f"read_study(..., columns={{'value': {name!r}}}, unit={unit!r})" in str(said.value)
    assert read(text, unit=unit, columns={"value": name}).unit == unit


def test_tables_of_cdisc_are_told_what_to_map(read):
    text = "USUBJID,CPTESTCD,CPTEST,CPSTRESN,CPSTRESC,CPSTRESU,CPLLOQ,CPDY\nA,CAR,CAR,5,5,copies/ug,3,8\n"
    text += "A,CAR,CAR,,BLQ,copies/ug,3,15\n"
    with pytest.raises(StudyError, match="looks like an SDTM CP table") as said:
        read(text)
    columns = {"subject": "USUBJID", "value": "CPSTRESC", "lloq": "CPLLOQ", "unit": "CPSTRESU", "day": "CPDY"}
    columns["output"] = "CPTESTCD"
    assert f"columns={columns}" in str(said.value)
    assert used(read(text, columns=columns)) == [("A", 7, 5), ("A", 14, 3)]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (f"{HEAD},dose,weight\nA,7,5,7e7,70\n", {"dose_unit": "cells"}),
        (f"{HEAD},dose,dose_unit,Weight (kg)\nA,7,5,7e7,cells,70\n", {}),
        ("ID,TIME,DV,AMT,WT\nA,0,.,7e7,70\nA,7,5,.,.\n", {"dose_unit": "cells"}),
    ],
)
def test_doses_in_cells_and_a_weight_are_cells_per_kg(read, text, options):
    study = read(text, **options)
    assert study.doses["amount"].tolist() == [1e6]
    assert (study.dose_unit, study.doses["unit"].tolist()) == ("cells/kg", ["cells/kg"])
    assert "Doses in cells were divided by" in study.note


def test_a_dose_in_cells_without_a_weight_is_a_problem(read):
    with pytest.raises(StudyError, match="dose is in cells and weight is ''"):
        read(f"{HEAD},dose,weight\nA,7,5,7e7,\n", dose_unit="cells")


def test_packed_files_are_read_up_to_a_limit(read, tmp_path, monkeypatch):
    text = f"{HEAD}\nA,7,5\n"
    assert used(read(gzip.compress(text.encode()), "table.csv.gz")) == [("A", 7, 5)]
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("table.csv", text)
    assert used(read(archive.read_bytes(), "table.zip")) == [("A", 7, 5)]
    monkeypatch.setattr(packed, "UNPACKED", 10)
    for content in (gzip.compress(text.encode()), archive.read_bytes()):
        with pytest.raises(StudyError, match="it unpacks to more than"):
            read(content, "table.gz")
    monkeypatch.undo()
    with pytest.raises(StudyError, match="it cannot be unpacked"):
        read(gzip.compress(text.encode() * 99)[:-20], "table.csv.gz")


def test_cohorts_with_numbers_stand_in_the_order_of_the_numbers(read):
    study = read(f"{HEAD},cohort\nA,7,5,10\nB,7,5,2\nC,7,5,1\n")
    assert groups.of(study).known == ["1", "2", "10"]
    assert sorted(["Cohort 10", "Cohort 2", "Cohort 1b"], key=groups.counted) == ["Cohort 1b", "Cohort 2", "Cohort 10"]
    assert sorted(["1e7", "1e6", "3e6"], key=groups.counted) == ["1e6", "3e6", "1e7"]


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**9))
def test_every_row_of_a_mutated_file_is_used_excluded_or_refused(tmp_path_factory, seed):
    text, separator, _ = MUTATED["mutated"](seed)
    path = tmp_path_factory.mktemp("mutated") / "table.csv"
    path.write_text(text, encoding="utf-8")
    assert not MUTATED["lost"](path, text, separator)


def test_one_patient_with_and_without_a_stroke_is_refused_and_two_numbers_are_two(read):
    with pytest.raises(StudyError, match=r"'P-01', 'P1' .*look like one patient"):
        read("subject,day,dv\nP-01,7,5\nP1,14,4\n")
    assert read("subject,day,dv\n1-1,7,5\n11,14,4\n").subjects == ("1-1", "11")


def test_ends_alone_are_the_limits_of_their_rows(read):
    study = read("subject,day,lower,upper\nA,7,500,500\nA,28,0,3\nA,60,1,3\nA,90,-inf,2\nA,99,1e6,inf\n")
    assert study.counts == {"quantified": 1, "below": 2, "interval": 1, "above": 1}
    assert study.observations["upper"].tolist() == [500, 3, 3, 2, float("inf")]


@pytest.mark.parametrize("text", ["13/03/2024", "3/13/2024", "13.03.2024", "2024-03-13"])
def test_a_date_whose_month_could_only_be_one_is_read(read, text):
    assert used(read(f"subject,date,infusion_date,dv\nA,{text},2024-03-06,5\n")) == [("A", 7, 5)]


def test_a_column_that_names_no_day_is_left_out_when_told_so(read):
    text = "subject,D7,M3,EOT\nA,5,4,3\n"
    with pytest.raises(StudyError, match=r"the column EOT holds numbers .*ignore=\['EOT'\]"):
        read(text)
    assert used(read(text, ignore=["EOT"])) == [("A", 7, 5), ("A", 3 * 365.25 / 12, 4)]


def test_the_weight_divides_the_cells_and_no_other_drug(read):
    rows = "ID,TIME,DV,AMT,ADM,AMTU,WT\nA,0,.,7e7,cells,cells,70\nA,7,5,.,,,70\nA,9,.,0.4,rimiducid,mg/kg,70\n"
    doses = read(rows).doses
    assert doses["amount"].tolist() == [1e6, 0.4]
    assert doses["unit"].tolist() == ["cells/kg", "mg/kg"]


@pytest.mark.parametrize("name", ["mean", "Median", "TOTAL", "Mean (SD)", "Mittelwert", "geometric mean"])
def test_a_row_that_sums_others_up_is_no_patient(read, name):
    with pytest.raises(StudyError, match="is the name of a statistic and no patient"):
        read(f"{HEAD}\nA,7,50\nB,7,60\n{name},7,55\n")


@pytest.mark.parametrize("name", ["SE", "MAX-1", "Meanwood-3", "SD", "T1"])
def test_initials_and_sites_are_patients(read, name):
    assert read(f"{HEAD}\nA,7,50\n{name},7,55\n").subjects == ("A", name)


@pytest.mark.parametrize("stroke", ["\u2013", "\u2014", "\u2011", "\u2212"])
def test_a_stroke_of_another_length_is_one_patient(read, stroke):
    with pytest.raises(StudyError, match="look like one patient"):
        read(f"{HEAD}\nA-1,7,50\nA{stroke}1,28,5\n")
