import copy
import dataclasses
import math
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cellkinetics.data.example import example
from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError, StudyWarning

DATA = Path(__file__).parents[3] / "shared" / "data"
TRIAL = """\
# Simulated data, seed 1
#  two cohorts
subject,day,copies_per_ug,dose,cohort,lloq,lod,until,until_reason,weight,well
P02,0,0,,A,3,,,,70,
P02,0,,1e6,A,,,,,,
P02,0,400,,A,3,,,,70,1
P02,7,5120,,A,3,,,,70,1
P02,7,5080,,A,3,,,,70,2
P02,14,>1e6,,A,3,,,,70,1
P02,180,<3,,A,3,,,,70,1
P02,270,<3,,A,3,1,,,70,1
P01,0,,3e6,B,,,60,relapse,,
P01,28,80,,B,3,,60,relapse,61.5,1
P01,90,,,B,3,,60,relapse,61.5,1
P01,91,12,,B,3,,60,relapse,61.5,1
P03,28,8.25,,B,3,,,,64,1
P03,29,8.5,,B,3,,,,64,2
"""


@pytest.fixture
def read(tmp_path):
    """Write a text to trial.csv and read it."""

    def write_and_read(text, **options):
        (tmp_path / "trial.csv").write_text(text, encoding="utf-8")
        return read_study(tmp_path / "trial.csv", **options)

    return write_and_read


@pytest.fixture
def trial(read):
    return read(TRIAL)


@pytest.fixture
def again(tmp_path):
    """Write a study and read it back without options."""

    def write_and_read(study):
        study.to_csv(tmp_path / "again.csv")
        return read_study(tmp_path / "again.csv")

    return write_and_read


def assert_equal(one, other):
    """Everything but the line numbers and the name of the file."""
    for name in ("observations", "doses"):
        tables = (getattr(study, name).drop(columns="row") for study in (one, other))
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    pd.testing.assert_frame_equal(one.covariates, other.covariates, check_exact=True)
    for name in ("subjects", "unit", "dose_unit", "lloq", "note"):
        assert getattr(one, name) == getattr(other, name)


def curve(*cells, header):
    """A file of one subject, sampled on days 7, 14, ..., with the rest of each line as given."""
    return "\n".join([header, *(f"P01,{7 * week},{cell}" for week, cell in enumerate(cells, start=1))])


def test_the_columns_of_the_tables_stand_in_their_documented_order(read):
    study = read(curve("5,2,60,a", "6,3,60,b", header="subject,day,dv,nominal_day,weight,note"))
    assert list(study.observations.columns) == [
        *("subject", "day", "output", "value", "lower", "upper", "status", "lloq", "excluded", "row"),
        *("nominal_day", "note"),
    ]
    assert list(study.doses.columns) == ["subject", "day", "amount", "kind", "unit", "row"]
    assert list(study.covariates.columns) == ["cohort", "dose", "until", "until_reason", "weight"]
    assert study.covariates.index.name == "subject"


def test_a_column_has_the_same_type_whether_it_is_filled_or_empty(read, trial):
    bare = read("ID,TIME,DV\n1,7,5\n")
    for name in ("observations", "doses", "covariates"):
        full = getattr(trial, name).dtypes
        empty = getattr(bare, name).dtypes
        common = empty.index.intersection(full.index)
        assert empty[common].tolist() == full[common].tolist()


def test_constant_columns_become_covariates_and_others_stay_with_the_samples(read):
    lines = [
        "subject,day,dv,dose,sex,weight,well,comment",
        *("P01,0,,1e6,,70.5,,", "P01,7,5,,F,,1,", "P01,8,6,,F,,2,late"),
        *("P02,0,,1e6,,60,,", "P02,7,5,,M,,1,"),
    ]
    study = read("\n".join(lines))
    assert study.covariates[["sex", "weight"]].values.tolist() == [["F", 70.5], ["M", 60.0]]
    assert study.observations["well"].tolist() == [1.0, 2.0, 1.0]
    assert study.observations["comment"].fillna("-").tolist() == ["-", "late", "-"]


def test_a_code_with_a_leading_zero_is_no_number(read):
    study = read(curve("5,01,1.5", "6,01,1.5", header="subject,day,dv,site,age"))
    assert study.covariates[["site", "age"]].values.tolist() == [["01", 1.5]]


def test_a_column_that_has_the_name_of_one_of_ours_is_carried_under_another(read):
    study = read("subject,t,dv,day,status\nP01,7,5,x,a\nP01,8,6,y,a\n", columns={"day": "t"})
    assert study.observations["day_in_file"].tolist() == ["x", "y"]
    assert study.observations["status"].tolist() == ["quantified", "quantified"]
    assert study.covariates["status_in_file"].tolist() == ["a"]


def test_a_second_unit_of_the_same_samples_is_carried_and_not_confused_with_the_value(read):
    study = read(curve("5,90", "6,80", header="patient,day,copies_per_ug_dna,copies_per_ml_blood"))
    assert study.observations["value"].tolist() == [5.0, 6.0]
    assert study.observations["copies_per_ml_blood"].tolist() == [90.0, 80.0]


def test_the_unit_may_stand_in_the_file(read):
    study = read(curve("5,cells/uL,1e6,cells", "6,cells/uL,1e6,", header="ID,day,dv,unit,dose,dose_unit"))
    assert (study.unit, study.dose_unit) == ("cells/uL", "cells")
    assert study.doses["unit"].tolist() == ["cells"]


def test_outputs_may_differ_in_unit_and_the_first_by_name_gives_that_of_the_study(read):
    study = read(curve("5,il15,pg/mL", "6,copies,copies/ug", header="ID,day,dv,dvid,unit"))
    assert study.unit == "copies/ug"
    assert study.observations["unit"].tolist() == ["pg/mL", "copies/ug"]


@pytest.mark.parametrize("said", ["unit", "dose_unit"])
def test_a_unit_that_contradicts_the_file_is_refused(read, said):
    with pytest.raises(StudyError, match=f"the column {said} says mL and {said}='uL'"):
        read(curve("5,mL", header=f"ID,day,dv,{said}"), **{said: "uL"})


def test_the_counts_are_of_the_samples_that_are_used(trial):
    assert trial.counts == {"quantified": 6, "below": 1, "interval": 1, "above": 1}
    assert len(trial.used) == 9
    assert trial.exclusions == {"pre-dose": 1, "no value": 1, "after day 60: relapse": 1}


def test_the_summary_says_what_is_used_what_is_not_and_why(trial):
    assert repr(trial).split("\n") == [
        "Study of 3 subjects (trial.csv)",
        "  samples used      9: 6 quantified, 1 below, 1 interval, 1 above",
        "  samples excluded  3: 1 pre-dose, 1 no value, 1 after day 60: relapse",
        "  unit              copies/ug, lower limit 3",
        "  infusions         2 (cells/kg)",
        "  simulated data",
    ]


def test_the_summary_of_measured_data_without_a_limit_says_so(read):
    shown = repr(read("ID,TIME,DV\n1,7,5\n"))
    assert "lower limit none known" in shown
    assert "simulated" not in shown


def test_the_summary_says_that_rows_differ_in_their_limit(read):
    assert "lower limit 2 to 3.5" in repr(read(curve("5,2", "5,3.5", header="ID,day,dv,lloq")))


@pytest.mark.parametrize(
    ("note", "simulated"), [("SIMULATED with seed 1", True), ("", False), ("not dissimulated", False)]
)
def test_a_study_is_simulated_when_its_note_has_the_word(trial, note, simulated):
    assert dataclasses.replace(trial, note=note).simulated is simulated


def test_the_infusion_day_is_that_of_the_first_cells_and_0_without_any(read):
    study = read("ID,TIME,DV,AMT,ADM\n1,3,,9,rimiducid\n1,5,,1e6,\n1,12,,1e6,\n1,13,5,,\n2,3,,9,rimiducid\n")
    assert (study.infusion_day("1"), study.infusion_day("2")) == (5.0, 0.0)
    with pytest.raises(StudyError, match=r"there is no subject '3'. There are 1, 2\."):
        study.infusion_day("3")


def test_a_study_is_compared_by_identity_and_cannot_be_changed(trial):
    assert trial != copy.copy(trial)
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial.unit = "cells/uL"


def test_a_study_survives_the_way_to_a_worker_process(trial):
    assert_equal(pickle.loads(pickle.dumps(trial)), trial)


def test_select_keeps_the_order_of_the_file(trial):
    part = trial.select(subjects=["P01", "P02"])
    assert part.subjects == ("P02", "P01")
    assert part.observations["subject"].unique().tolist() == ["P02", "P01"]
    assert part.doses["subject"].tolist() == ["P02", "P01"]
    assert part.observations.index.tolist() == list(range(10))
    assert trial.subjects == ("P02", "P01", "P03")


def test_one_name_is_one_subject_and_not_its_letters(trial):
    assert trial.select("P01").subjects == ("P01",)
    assert trial.select(cohort="B").subjects == ("P01", "P03")


def test_subjects_and_cohort_select_those_that_are_in_both(trial):
    assert trial.select(["P02", "P03"], cohort=["B"]).subjects == ("P03",)
    with pytest.raises(StudyError, match="nobody is in"):
        trial.select("P02", cohort="B")
    with pytest.raises(StudyError, match="nobody is in"):
        trial.select([])


def test_an_unknown_name_is_asked_for_with_the_nearest(trial):
    with pytest.raises(StudyError, match=r"no subject 'p_03'. There are P02, P01, P03. Did you mean P03\?"):
        trial.select(["P01", "p_03"])
    with pytest.raises(StudyError, match=r"no cohort 'C'. There are A, B\."):
        trial.select(cohort="C")


def test_select_until_excludes_later_rows_of_everybody_with_the_reason(trial):
    part = trial.select(until=28)
    reasons = part.observations["excluded"]
    assert (reasons[part.observations["day"] > 28] != "").all()
    assert part.exclusions["after day 28: select(until=28)"] == 3
    assert part.exclusions["after day 60: relapse"] == 1
    assert (part.observations["day"] == 28).sum() == 2
    assert (part.used["day"] == 28).sum() == 2


def test_select_until_infinity_uses_the_rows_after_the_end_of_the_follow_up_again(trial):
    part = trial.select(until=28).select(until=math.inf)
    assert part.exclusions == {"pre-dose": 1, "no value": 1}
    assert part.covariates["until"].isna().all()
    assert trial.exclusions["after day 60: relapse"] == 1
    with pytest.raises(StudyError, match="until is NaN"):
        trial.select(until=math.nan)


def test_a_written_study_is_read_back_equal(trial, again):
    assert_equal(again(trial), trial)


def test_a_written_study_reads_like_the_table_of_the_documentation(trial, tmp_path):
    trial.to_csv(tmp_path / "plain.csv")
    lines = (tmp_path / "plain.csv").read_text(encoding="utf-8").split("\n")
    assert lines[:4] == [
        "# Simulated data, seed 1",
        "#  two cohorts",
        "subject,day,copies_per_ug,lloq,lod,dose,cohort,until,until_reason,excluded,postdose,well,weight",
        "P02,0,<3,3,,,A,,,pre-dose,,,70",
    ]
    assert lines[4] == "P02,0,,,,1000000,A,,,,,,70"
    assert lines[5] == "P02,0,400,3,,,A,,,,1,1,70"
    assert "P02,270,<3,3,1,,A,,,,,1,70" in lines


@pytest.mark.parametrize(
    "text",
    [
        "ID,TIME,DV\n1,0,0\n1,0,0.5\n1,7,5\n",
        "ID,TIME,DV,dose\n1,0,0,1e6\n1,0,4,1e6\n1,7,5,1e6\n",
        "ID,TIME,DV,AMT,EVID\n1,0,.,1e6,1\n2,3,.,.,2\n3,7,5,.,0\n",
        "ID,TIME,DV,CENS,LIMIT\n1,7,1e6,-1,2e6\n1,8,1e6,-1,.\n1,9,3,1,1\n1,9,9,1,2\n",
        "ID,TIME,DV,DVID,unit\n1,7,5,cells,cells/uL\n1,7,5,il15,pg/mL\n",
        "ID,TIME,DV,unit,dose,dose_unit\n1,7,5,cells/uL,1e6,cells\n1,8,6,cells/uL,1e6,cells\n",
        "ID,TIME,DV,AMT,ADM,dose_unit\n1,0,.,0.4,rimiducid,mg/kg\n1,0,.,1e6,cells,\n1,1,9,.,.,\n",
        "ID,TIME,DV,AMT,ADM,dose_unit\n1,0,.,0.4,rimiducid,mg/kg\n1,0,.,1e6,cells,cells\n1,1,9,.,.,\n",
        "ID,TIME,DV,AMT,DOSE\n1,0,.,9.4e5,1e6\n1,7,50,.,1e6\n",
        "ID,TIME,DV,AMT\n1,3,.,1e6\n1,9,.,1e6\n",
        "ID,TIME,DV,dose\n1,3,.,1e6\n1,9,.,1e6\n2,9,5,1e6\n",
        'ID,TIME,DV,cohort,comment\n1,7,5,"A, first","said ""no"""\n1,8,6,,"two\nlines"\n',
        "ID,TIME,DV,excluded\n1,7,5,haemolysed\n1,8,ND,haemolysed\n1,9,>ULOQ,x\n1,9,8,\n",
        "ID,TIME,DV,replicate\n1,7,5,1\n1,7,6,2\n",
        "ID,TIME,DV,NTIME\n1,7.25,0.1,7\n1,14.1,3e-7,14\n",
    ],
)
def test_unusual_tables_are_written_and_read_back_equal(read, again, text):
    study = read(text)
    assert_equal(again(study), study)


def test_part_of_a_study_with_its_cut_is_read_back_equal(trial, again):
    part = trial.select(["P02", "P03"], until=28)
    assert_equal(again(part), part)
    assert (part.lloq, trial.select("P01").lloq) == (3.0, 3.0)
    lifted = trial.select(until=math.inf)
    assert_equal(again(lifted), lifted)


def test_censored_wells_that_are_alike_are_told_apart_by_a_number(read, again):
    study = read("ID,TIME,DV,lloq\n1,7,0,3\n1,7,ND,3\n1,7,2,3\n1,8,5,3\n")
    back = again(study)
    assert back.counts == study.counts == {"quantified": 1, "below": 3, "interval": 0, "above": 0}
    assert back.observations["replicate"].tolist()[:3] == [1.0, 2.0, 3.0]


def test_an_unknown_style_is_refused_with_those_there_are(trial, tmp_path):
    with pytest.raises(ValueError, match=r"no style 'plian'; it has plain, monolix, .*\. Did you mean plain\?"):
        trial.to_csv(tmp_path / "plain.csv", style="plian")
    assert list(tmp_path.glob("*plain*")) == []


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(trial, tmp_path):
    target = tmp_path / "study.csv"
    target.write_text("old")
    broken = dataclasses.replace(trial, note="\ud800")
    with pytest.raises(UnicodeEncodeError):
        broken.to_csv(target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.csv", "trial.csv"]


VALUES = st.one_of(
    st.floats(1e-3, 1e7).map(repr),
    st.sampled_from(["0", "ND", "BLQ", "<3", "<7.5", "", ">1e6", ">ULOQ", "2", "0.5"]),
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["P1", "02", "C"]),
        st.one_of(st.sampled_from([-1.0, 0.0, 5.0, 30.0]), st.floats(-10, 400)),
        VALUES,
        st.sampled_from(["", "", "given"]),
        st.sampled_from(["cells", "rimiducid", "lymphodepletion"]),
        st.sampled_from(["", "", "1"]),
        st.sampled_from(["1", "il15"]),
    ),
    max_size=12,
)


@pytest.mark.filterwarnings("ignore::cellkinetics.errors.StudyWarning")  # a drawn number may repeat as a limit does
@settings(deadline=None, max_examples=60)
@given(rows=ROWS, lod=st.sampled_from([None, 1.0]), constant=st.booleans(), until=st.sampled_from(["", "20"]))
def test_any_study_that_is_written_is_read_back_equal(tmp_path_factory, rows, lod, constant, until):
    rows = [*rows, ("P1", 40.0, "50", "", "", "", "1"), ("P1", 41.0, "BLQ", "", "", "", "1")]
    table = pd.DataFrame(rows, columns=["subject", "day", "copies", "dose", "kind", "postdose", "output"])
    table["well"] = np.arange(len(table)) + 1
    # Two doses that are alike are refused as a row that stands there twice.
    table["dose"] = table["well"].astype("str").where(table["dose"] == "given", "") + "e5"
    table["dose"] = table["dose"].replace("e5", "")
    # A day of lymphodepletion needs no amount; a dose of anything else does.
    marked = (table["kind"] == "lymphodepletion") & ~table.duplicated(["subject", "day", "kind"])
    table["kind"] = table["kind"].where(marked | (table["dose"] != ""), "")
    table["until"] = until
    if constant:
        table = table.assign(dose="1e6", kind="")
    try:
        study = read_study(table, lloq=3, lod=lod, uloq=1e6)
    except StudyError as error:
        # Rows in any order may look like a second course, and a dose on a sample's row has no day: both are refused.
        known = ("again, after later samples", "stands on the row of a sample", "begin again", "stand on each other")
        assume(not all(any(text in problem.found for text in known) for problem in error.problems))
        raise
    path = tmp_path_factory.mktemp("written") / "study.csv"
    study.to_csv(path)
    assert_equal(read_study(path), study)


def published(name):
    if not DATA.is_dir():
        pytest.skip(f"the published curves are not beside this checkout: no folder {DATA}")
    return DATA / name


def test_the_weekly_curves_of_sjcar19_are_read_without_options(again):
    path = published("sjcar19_weekly.csv")
    study = read_study(path)
    assert len(study.subjects) == 14
    assert study.counts == {"quantified": 42, "below": 0, "interval": 0, "above": 0}
    assert study.observations["day"].unique().tolist() == [7.0, 14.0, 21.0]
    assert study.observations["value"].tolist() == pd.read_csv(path)["copies_per_ug_dna"].tolist()
    assert study.doses["day"].unique().tolist() == [0.0]
    assert study.covariates["dose"].value_counts().to_dict() == {3e6: 8, 1e6: 6}
    assert study.unit == "copies/ug"
    assert_equal(again(study), study)


def test_the_remission_curves_are_read_with_their_unit_only(again):
    # A few values of the first output are lower than the limit of detection, which stands there for the others.
    likely = r"16 of 127 values of output 1 are 0\.2 cells/uL, far more often"
    with (
        pytest.warns(StudyWarning, match=likely),
        pytest.warns(StudyWarning, match=r"19 of 56 values of output 2 are 0\.2 cells/uL, the lowest"),
    ):
        study = read_study(published("b_all_remission.csv"), unit="cells/uL")
    assert len(study.subjects) == 14
    assert set(study.observations["output"]) == {"1", "2"}
    assert study.exclusions == {"pre-dose": 14}
    begin = study.observations[study.observations["day"] == 0]
    assert (begin["excluded"] == "").equals(begin["status"] == "quantified")
    assert study.doses.empty
    with pytest.warns(StudyWarning):
        back = again(study)
    assert_equal(back, study)


def test_a_text_for_a_column_of_numbers_says_which_numbers_there_are():
    study = example()
    with pytest.raises(StudyError, match=r"dose='1e6': dose is a number, 100000, 250000, 1000000, .*select\(dose="):
        study.select(dose="1e6")
    assert study.select(dose=1e6).subjects == ("P05", "P06", "P07")
