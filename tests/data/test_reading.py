import numpy as np
import pandas as pd
import pytest

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError

UPPER = """\
ID,TIME,DV,AMT,EVID,CENS,LIMIT,ADM,COHORT
P01,0,.,1e6,1,.,.,cells,B
P01,7,5120,.,0,0,.,.,B
P01,180,3,.,0,1,.,.,B
P01,270,3,.,0,1,1,.,B
"""
LOWER = """\
subject,day,copies_per_ug,lloq,lod,dose,cohort
P01,0,,,,1e6,B
P01,7,5120,3,,,B
P01,180,<3,3,,,B
P01,270,<3,3,1,,B
"""


@pytest.fixture
def read(tmp_path):
    """Write a text to liu.csv and read it."""

    def write_and_read(text, **options):
        path = tmp_path / "liu.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_study(path, **options)

    return write_and_read


@pytest.fixture
def problems(read):
    """The problems of a text, as (row, subject, day, "found. remedy")."""

    def problems_of(text, **options):
        with pytest.raises(StudyError) as caught:
            read(text, **options)
        return [(p.row, p.subject, p.day, f"{p.found}. {p.remedy}") for p in caught.value.problems]

    return problems_of


def curve(*cells, header="subject,day,copies_per_ug", days=None):
    """A file of one subject, sampled on days 7, 14, ..., with the rest of each line as given."""
    days = days or [7 * week for week in range(1, len(cells) + 1)]
    return "\n".join([header, *(f"P01,{day},{cell}" for day, cell in zip(days, cells, strict=True))])


def reasons(study):
    return study.observations["excluded"].tolist()


def test_both_spellings_of_one_table_are_the_same_samples_and_doses(read):
    upper, lower = read(UPPER), read(LOWER)
    expected = pd.DataFrame(
        {
            "day": [7.0, 180.0, 270.0],
            "value": [5120.0, np.nan, np.nan],
            "lower": [5120.0, 0.0, 1.0],
            "upper": [5120.0, 3.0, 3.0],
            "status": ["quantified", "below", "interval"],
        }
    )
    for study in (upper, lower):
        pd.testing.assert_frame_equal(study.observations[list(expected.columns)], expected)
        assert study.doses[["subject", "day", "amount", "kind", "unit", "row"]].values.tolist() == [
            ["P01", 0.0, 1e6, "cells", "cells/kg", 2]
        ]
        assert study.covariates.loc["P01", ["cohort", "dose"]].tolist() == ["B", 1e6]
    pd.testing.assert_frame_equal(upper.covariates, lower.covariates)
    assert lower.lloq == 3.0


def test_spellings_can_be_mixed_and_case_does_not_count(read):
    study = read("USUBJID,Day,Copies per ug DNA,CENS\n01,7,3,1\n01,14,9,0\n")
    assert study.subjects == ("01",)
    assert study.observations["status"].tolist() == ["below", "quantified"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_comma_semicolon_and_tab_separate_cells(read, separator):
    assert read(LOWER.replace(",", separator)).observations["value"][0] == 5120.0


def test_with_semicolons_decimal_commas_are_read(read):
    study = read("subject;day;copies;lloq\nP01;7,5;5,12e3;3,5\nP01;14;<3,5;3,5\n")
    assert study.observations["day"].tolist() == [7.5, 14.0]
    assert study.observations["upper"].tolist() == [5120.0, 3.5]


def test_points_between_decimal_commas_are_refused_because_they_may_separate_thousands(problems):
    found = problems("subject;day;copies\nP01;7,5;5.120\n")
    assert found == [
        (
            *(2, "P01", 7.5),
            "copies is '5.120', which is not a number. Write a number (decimals with a comma, as elsewhere "
            "in the file), <3, >1e6, BLQ or ND, or leave the cell empty.",
        )
    ]


def test_rows_are_numbered_as_in_the_file_whatever_stands_between_them(read):
    study = read('# a\n\n# b\nsubject,day,dv,note\nP01,7,5,\n\n,,,\nP01,14,6,\'x\nP01,21,7,"two\nlines"\nP01,28,8,\n')
    assert study.observations["row"].tolist() == [5, 8, 9, 11]
    assert study.note == "a\nb"


def test_a_header_may_begin_with_a_hash_and_is_no_comment(read):
    study = read("# simulated with seed 1\n#ID,TIME,DV\nP01,7,5\n")
    assert study.note == "simulated with seed 1"
    assert study.observations["row"].tolist() == [3]


def test_a_comment_that_lists_the_columns_above_the_header_stays_a_comment(read):
    assert read("# subject, day, value\nsubject,day,value\nP01,7,5\n").note == "subject, day, value"


def test_windows_line_ends_and_a_byte_order_mark_are_read(read):
    assert read(b"\xef\xbb\xbf" + LOWER.replace("\n", "\r\n").encode()).observations["row"].tolist() == [
        3,
        4,
        5,
    ]


def test_samples_are_sorted_by_day_within_a_subject_and_keep_their_line(read):
    study = read("id,time,dv\nB,14,1\nA,7,2\nB,7,3\nB,14,4\n")
    assert study.subjects == ("B", "A")
    assert study.observations[["subject", "day", "value", "row"]].values.tolist() == [
        ["B", 7.0, 3.0, 4],
        ["B", 14.0, 1.0, 2],
        ["B", 14.0, 4.0, 5],
        ["A", 7.0, 2.0, 3],
    ]


def test_the_actual_day_is_used_where_there_is_one_and_the_nominal_day_is_kept(read):
    study = read(curve("5,7", "6,14", header="subject,actual_day,dv,nominal_day", days=[8, ""]))
    assert study.observations["day"].tolist() == [8.0, 14.0]
    assert study.observations["nominal_day"].tolist() == [7.0, 14.0]


def test_the_limit_of_a_row_wins_over_that_of_the_study(read):
    study = read(curve("4,", "4,5", "4,2", header="subject,day,dv,lloq"), lloq=3)
    assert study.observations["status"].tolist() == ["quantified", "below", "quantified"]
    assert study.observations["lloq"].tolist() == [3.0, 5.0, 2.0]
    assert study.lloq is None


def test_the_lod_of_the_study_says_nothing_about_a_row_with_a_lower_lloq(read):
    study = read(curve("ND,0.5", "ND,", header="subject,day,dv,lloq"), lloq=3, lod=1)
    assert study.observations["upper"].tolist() == [0.5, 1.0]


def test_the_samples_of_several_outputs_keep_its_name(read):
    study = read(curve("5,1", "6,bcells", "7,", header="ID,TIME,DV,DVID"))
    assert study.observations["output"].tolist() == ["1", "bcells", "1"]


def test_a_dose_on_every_row_is_one_infusion_on_day_0(read):
    study = read(curve("5,1e6", "6,1e6", header="subject,nominal_day,dv,dose_per_kg"))
    assert study.doses[["day", "amount", "row"]].values.tolist() == [[0.0, 1e6, 2]]
    assert study.covariates["dose"].tolist() == [1e6]


def test_a_dose_on_some_rows_is_an_infusion_on_each_of_them(read):
    study = read(curve("0,1e6", "6,", ",2e6", "8,0", header="subject,day,dv,dose", days=[0, 3, 7, 9]), lloq=3)
    assert study.doses[["day", "amount"]].values.tolist() == [[0.0, 1e6], [7.0, 2e6]]
    assert study.observations["day"].tolist() == [0.0, 3.0, 9.0]
    assert study.covariates["dose"].tolist() == [1e6]


def test_a_subject_without_any_value_has_its_dose_read_like_those_of_the_others(read):
    rows = read("subject,day,dv,dose\nP01,2,,1e6\nP02,2,,1e6\nP02,9,5,\n")
    assert rows.doses["day"].tolist() == [2.0, 2.0]
    assert rows.observations["subject"].tolist() == ["P02"]
    repeated = read("subject,day,dv,dose\nP01,2,,1e6\nP01,9,,1e6\nP02,9,5,1e6\n")
    assert repeated.doses[["subject", "day"]].values.tolist() == [["P01", 0.0], ["P02", 0.0]]
    assert reasons(repeated) == ["no value", "no value", ""]


def test_two_bags_on_one_day_are_one_first_dose(read):
    study = read("subject,day,dv,dose\nP01,0,,1e6\nP01,0,,2e6\nP01,7,,9e6\nP01,8,5,\n")
    assert study.covariates["dose"].tolist() == [3e6]
    assert len(study.doses) == 3


def test_amt_without_evid_is_a_dose_and_amt_0_is_none(read):
    study = read("ID,TIME,DV,AMT\n1,0,.,1e6\n1,7,50,0\n")
    assert study.doses["day"].tolist() == [0.0]
    assert study.observations["day"].tolist() == [7.0]


def test_a_dose_level_beside_amt_is_a_covariate_and_no_infusion(read):
    study = read("ID,TIME,DV,AMT,DOSE\n1,0,.,9.4e5,1e6\n1,7,50,.,1e6\n")
    assert study.doses["amount"].tolist() == [9.4e5]
    assert study.covariates["DOSE_in_file"].tolist() == [1e6]


def test_other_drugs_have_their_name_and_do_not_count_as_the_infusion(read):
    text = "ID,TIME,DV,AMT,ADM\n1,0,.,1e6,1\n1,1,0,0.4,rimiducid\n1,1,50,.,.\n2,0,.,0.4,rimiducid\n2,0,0,.,.\n"
    study = read(text)
    assert study.doses[["kind", "unit"]].values.tolist() == [
        ["cells", "cells/kg"],
        ["rimiducid", ""],
        ["rimiducid", ""],
    ]
    assert study.covariates["dose"].isna().tolist() == [False, True]
    assert reasons(study) == ["", "pre-dose"]


def test_a_repeated_dose_of_cells_stands_beside_the_row_of_another_drug(read):
    study = read("ID,TIME,DV,dose,AMT,ADM\n1,0,.,1e6,0.4,rimiducid\n1,7,5,1e6,.,.\n1,8,6,1e6,.,.\n")
    assert study.doses[["amount", "kind", "row"]].values.tolist() == [[0.4, "rimiducid", 2], [1e6, "cells", 3]]


def test_values_with_mdv_1_or_evid_2_are_not_used_and_counted(read):
    study = read("ID,TIME,DV,EVID,MDV\n1,7,5,0,0\n1,8,6,0,1\n1,9,7,2,\n1,10,not read,2,1\n1,11,.,0,1\n1,12,-99,0,1\n")
    assert study.used["day"].tolist() == [7.0]
    assert study.exclusions == {"MDV 1": 3, "EVID 2": 1}
    assert study.observations["value"].tolist() == pytest.approx([5, 6, 7, np.nan, np.nan], nan_ok=True)


def test_an_event_without_a_value_is_no_sample(read):
    assert len(read("ID,TIME,DV,EVID\n1,7,5,0\n1,8,.,2\n1,9,0,2\n").observations) == 1


def test_a_reason_that_is_stated_wins_over_mdv(read):
    study = read("ID,TIME,DV,MDV,EXCLUDED\n1,7,5,0,.\n1,8,6,1,haemolysed\n")
    assert study.exclusions == {"haemolysed": 1}


def test_the_zero_that_fills_the_dv_of_a_dose_row_is_no_sample(read):
    study = read("ID,TIME,DV,AMT,EVID\n1,0,0,1e6,1\n1,7,50,0,0\n")
    assert study.observations["day"].tolist() == [7.0]


def test_a_row_with_a_dose_and_a_value_is_both(read):
    study = read("subject,day,dv,dose\nP01,0,12,1e6\nP01,7,50,\n")
    assert len(study.doses) == 1
    assert reasons(study) == ["pre-dose", ""]


def test_at_the_time_of_the_infusion_a_row_before_the_dose_is_pre_dose_and_one_after_it_is_not(read):
    study = read("subject,day,dv,dose\nP01,0,0,\nP01,0,,1e6\nP01,0,400,\nP01,7,50,\n")
    assert reasons(study) == ["pre-dose", "", ""]


def test_a_row_marked_postdose_is_used_wherever_it_stands(read):
    study = read("subject,day,dv,dose,postdose\nP01,0,400,,1\nP01,0,0,1e6,0\nP01,7,50,,\n")
    assert reasons(study) == ["", "pre-dose", ""]


def test_without_a_dose_row_day_0_is_pre_dose(read):
    study = read("subject,day,dv\nP01,-7,1\nP01,0,0\nP01,7,50\n")
    assert reasons(study) == ["before the first infusion", "pre-dose", ""]
    constant = read("subject,day,dv,dose\nP01,-7,1,1e6\nP01,0,0,1e6\nP01,7,50,1e6\n")
    assert reasons(constant) == reasons(study)


def test_rows_before_a_late_first_infusion_are_excluded(read):
    study = read("subject,day,dv,dose\nP01,0,1,\nP01,3,2,\nP01,5,,1e6\nP01,5,3,\n")
    assert reasons(study) == ["before the first infusion", "before the first infusion", ""]


def test_a_trough_before_a_second_infusion_is_pre_dose_and_before_another_drug_it_is_not(read):
    study = read("subject,day,dv,amt,adm\nP01,0,,1e6,\nP01,7,50,,\nP01,7,,1e6,\nP01,9,60,,\nP01,9,,1,rimiducid\n")
    assert reasons(study) == ["pre-dose", ""]


def test_an_excluded_zero_needs_no_limit(read):
    zero = read("subject,day,dv\nP01,0,0\nP01,7,50\n").observations.loc[0]
    assert zero["status"] == "below"
    assert np.isnan(zero["upper"])


def test_a_row_without_value_and_dose_is_excluded_with_its_reason(read):
    study = read(curve("5", ".", "NA"), lloq=3)
    assert reasons(study) == ["", "no value", "no value"]
    assert study.observations["status"].tolist() == ["quantified", "missing", "missing"]


def test_rows_after_the_end_of_a_follow_up_are_excluded_with_its_reason(read):
    text = curve("5,10.5,relapse", "6,,", header="subject,day,dv,until,until_reason") + "\nP02,14,5,,\nP03,14,5,7,\n"
    study = read(text)
    assert reasons(study) == ["", "after day 10.5: relapse", "", "after day 7: end of follow-up"]
    assert study.covariates["until"].tolist() == [10.5, pytest.approx(np.nan, nan_ok=True), 7.0]
    assert study.covariates["until_reason"].tolist() == ["relapse", "", ""]


def test_a_censored_row_after_the_end_still_needs_a_limit_because_select_can_use_it_again(problems):
    assert len(problems(curve("5,10", "<3,10", header="subject,day,copies,until"))) == 1


def test_a_row_can_be_excluded_in_the_file(read):
    study = read(curve("5,", "6,haemolysed", "7,1", "8,0", header="subject,day,dv,excluded"))
    assert reasons(study) == ["", "haemolysed", "excluded in the file", ""]


def test_a_data_frame_and_its_csv_are_the_same_study(tmp_path):
    frame = pd.DataFrame(
        {
            "ID": [1.0, 1.0, 2.0, 2.0],
            "TIME": [0, 7, 0, 7],
            "DV": [np.nan, 5120.5, None, 2],
            "AMT": [1e6, np.nan, 1e6, np.nan],
            "sex": pd.Categorical(["F", "F", "M", "M"]),
            "late": [False, False, True, False],
        }
    )
    frame.to_csv(tmp_path / "liu.csv", index=False)
    from_frame = read_study(frame, lloq=3)
    from_file = read_study(tmp_path / "liu.csv", lloq=3)
    assert from_frame.subjects == ("1", "2")
    assert from_file.subjects == ("1.0", "2.0")
    for name in ("observations", "doses"):
        with_numbers = getattr(from_file, name).replace({"subject": {"1.0": "1", "2.0": "2"}})
        pd.testing.assert_frame_equal(getattr(from_frame, name), with_numbers)
    assert (from_frame.source, from_file.source) == ("DataFrame", "liu.csv")


def test_the_index_of_a_data_frame_may_hold_the_subject_and_the_day():
    frame = pd.DataFrame({"subject": ["01", "01"], "day": [7, 14], "dv": [5, 6]})
    study = read_study(frame.set_index(["subject", "day"]))
    pd.testing.assert_frame_equal(study.observations, read_study(frame).observations)


def test_all_problems_of_a_file_are_raised_at_once_in_the_order_of_its_rows(read):
    text = "patient,day,copies\n4,7,500\n4,14,many\n,21,40\n4,,30\n4,180,<3\n"
    with pytest.raises(StudyError) as caught:
        read(text)
    assert str(caught.value).split("\n") == [
        "liu.csv, row 3, patient 4, day 14: copies is 'many', which is not a number. "
        "Write a number, <3, >1e6, BLQ or ND, or leave the cell empty.",
        "liu.csv, row 4, day 21: patient is empty. Say whose row it is.",
        "liu.csv, row 5, patient 4: day is empty. Give the day of the row.",
        "liu.csv, row 6, patient 4, day 180: copies is '<3' and no limit is known. "
        "Give the column lloq, or read_study(..., lloq=3).",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (curve("-5"), "copies_per_ug is -5, which is negative"),
        (curve("inf"), "copies_per_ug is inf"),
        (curve("-inf"), "copies_per_ug is -inf, which is negative"),
        (curve("5", days=["inf"]), "day is inf"),
        (curve("5", days=["early"]), "day is 'early', which is not a number"),
        (curve("5,x", header="ID,day,dv,lloq"), "lloq is 'x', which is not a number"),
        (curve("5,0", header="ID,day,dv,lloq"), "lloq is 0"),
        (curve("5,-1", header="ID,day,dv,lod"), "lod is -1"),
        (curve("5,-1", header="ID,day,dv,limit"), "limit is -1"),
        (curve("5,-1", header="ID,day,dv,dose"), "dose is -1"),
        (curve("5,3,9", header="ID,day,dv,lloq,lod"), "lod is 9, above the lloq 3"),
        (curve("5,3,2", header="ID,day,dv,lloq,uloq"), "lloq is 3, above the uloq 2"),
        (curve("5,2", header="ID,day,dv,cens"), "cens is 2"),
        (curve("5,7", header="ID,day,dv,evid"), "evid is 7"),
        (curve("5,1", header="ID,day,dv,evid"), "evid is 1 and no amount is given"),
        (curve("5,0,9", header="ID,day,dv,evid,amt"), "evid is 0 and amt is 9"),
        (curve(",9,3", header="ID,day,dv,amt,addl"), "addl is 3"),
        (curve("5,maybe", header="ID,day,dv,postdose"), "postdose is 'maybe'"),
        (curve("BLQ"), "copies_per_ug is 'BLQ' and no limit is known"),
        (curve("0"), "copies_per_ug is '0' and no limit is known"),
        (curve(",1", header="ID,day,dv,cens"), "cens is 1, dv is empty and no limit is known"),
        (curve(">ULOQ"), "copies_per_ug is '>ULOQ' and no upper limit is known"),
        (curve("<3,0,3", header="ID,day,dv,cens,lloq"), "cens is 0 and dv is '<3'"),
        (
            curve("50,1,3", header="ID,day,dv,cens,lloq"),
            "cens is 1, dv is '50', a limit above the row's lloq, 3",
        ),
        (
            curve("3,1,5", header="ID,day,dv,cens,limit"),
            "cens is 1, dv is '3' and limit is 5, on the wrong side",
        ),
    ],
)
def test_a_cell_that_makes_no_sense_is_one_problem_with_its_row(problems, text, found):
    [(row, subject, _, said)] = problems(text)
    assert (row, subject) == (2, "P01")
    assert said.startswith(f"{found}. ")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("cohort", "cohort is B and was A"),
        ("until_reason", "until_reason is B and was A"),
    ],
)
def test_what_changes_within_a_subject_and_must_not_is_named_where_it_changes(problems, header, found):
    text = curve("5,A", "6,", "7,B", "8,B", header=f"ID,day,dv,{header}")
    assert [(row, said.split(". ")[0]) for row, _, _, said in problems(text)] == [(4, found)]


def test_two_ends_of_one_follow_up_are_a_problem(problems):
    assert problems(curve("5,30", "6,40", header="ID,day,dv,until"))[0][3].startswith("until is 40 and was 30. ")


def test_a_row_that_stands_there_twice_is_named_and_replicates_are_fine(problems, read):
    twice = curve("5,3", "5.0,3", "<3,3", "<3,3", header="ID,day,dv,lloq", days=[7, 7, 14, 14])
    assert [(row, said.split(". ")[0]) for row, _, _, said in problems(twice)] == [
        (3, "it repeats row 2"),
        (5, "it repeats row 4"),
    ]
    wells = curve("5,1", "5,2", "ND,1", "ND,2", header="ID,day,dv,well", days=[7, 7, 14, 14])
    assert len(read(wells, lloq=3).used) == 4
    assert len(read(curve("1.2", "2.1", "0", "ND", days=[7] * 4), lloq=3).used) == 4


def test_a_dose_that_stands_there_twice_is_named(problems):
    [(row, _, _, said)] = problems("ID,TIME,DV,AMT\n1,0,.,1e6\n1,0,.,1e6\n1,7,5,.\n")
    assert row == 3
    assert said.startswith("it repeats row 2. ")


def test_a_row_that_was_commented_out_is_not_taken_for_another_subject(problems):
    assert problems("ID,TIME,DV\nP01,7,5\n#P01,14,6\n")[0][3].startswith("the row is commented out. ")


def test_a_missing_column_is_asked_for_with_the_nearest_name(problems):
    assert [said for *_, said in problems("patient,Tme,result\nP01,7,5\n")] == [
        "there is no column for the day. Is it Tme? Then read_study(..., columns={'day': 'Tme'}).",
        "there is no column for the value. There are patient, Tme, result. "
        "Say which one, read_study(..., columns={'value': ...}).",
    ]


def test_two_columns_of_one_meaning_are_a_problem_that_columns_solves(problems, read):
    text = "ID,patient,day,dv\nx,P01,7,5\n"
    [(*_, said)] = problems(text)
    assert said == (
        "the columns ID, patient all mean subject. Say which one, read_study(..., columns={'subject': 'ID'})."
    )
    assert read(text, columns={"subject": "patient"}).subjects == ("P01",)


def test_columns_names_what_is_not_there(problems):
    found = problems("ID,T0,DV\n1,7,5\n", columns={"day": "t_0", "subjct": "ID"})
    assert "there is no column 't_0'. There are ID, T0, DV. Did you mean T0?" in [said for *_, said in found]
    assert [said for *_, said in found if "columns= has no 'subjct'" in said and "Did you mean subject?" in said]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n\n", "the file is empty"),
        (b"ID,TIME,DV\n", "it has a header and no rows"),
        (b"ID,TIME,DV\n,,\n", "it has a header and no rows"),
        (b"%PDF-1.7\n", "it is a PDF, not a table of text"),
        (b"PK\x03\x04rest", "it cannot be unpacked: File is not a zip file"),
        (b"ID,TIME,DV\n1,\0,2\n", "it is a binary file (it holds NUL bytes), not a table of text"),
        ("ID,TIME,DV\n1,7,5\n".encode("utf-16"), "it is UTF-16 text, not a table of text"),
        (b"ID,TIME,DV\n\xe9\x81,7,5\n", "it is neither UTF-8 nor Windows-1252 text, not a table of text"),
        (b"ID,TIME,DV\n1,7\n", "it has 2 cells and the header has 3"),
        (b"ID,TIME,DV\n1,7,5,6\n", "it has 4 cells and the header has 3"),
        (b"ID,TIME,DV,x,x\n1,7,5,6,7\n", "two columns are called 'x'"),
        (b"ID-TIME-DV\n1-7-5\n", "the header has one cell, 'ID-TIME-DV'"),
    ],
)
def test_what_is_no_table_is_said_to_be_none(problems, content, found):
    [(*_, said)] = problems(content)
    assert said.startswith(f"{found}. ")


def test_empty_cells_beyond_the_header_are_what_a_spreadsheet_leaves_there(read):
    study = read("ID,TIME,DV,\n1,7,5,,\n1,8,6,\n")
    assert "column_4" not in study.observations
    assert len(study.used) == 2


def test_a_row_of_the_wrong_length_does_not_hide_the_other_problems(problems):
    assert [row for row, *_ in problems("ID,TIME,DV\n1,7\n1,8,x\n")] == [2, 3]


def test_an_empty_data_frame_is_said_to_be_empty():
    with pytest.raises(StudyError, match="DataFrame: it has no rows"):
        read_study(pd.DataFrame({"ID": [], "TIME": [], "DV": []}))


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"liu\.csv"):
        read_study(tmp_path / "liu.csv")


@pytest.mark.parametrize(
    "limits", [{"lloq": 0}, {"lod": -1}, {"uloq": np.inf}, {"lloq": np.nan}, {"lloq": 3, "lod": 4}]
)
def test_limits_that_cannot_be_are_refused(read, limits):
    with pytest.raises(StudyError, match=r"limit is a finite number above 0|is above lloq=3"):
        read(LOWER, **limits)
