"""What other columns, and the rest of a cell, say of a measurement."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest

from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError, StudyWarning


def read(text, **options):
    return read_study(pd.read_csv(io.StringIO(text), dtype="str", keep_default_na=False), **options)


def ends(study):
    used = study.used
    return list(zip(used["status"], used["lower"], used["upper"], strict=True))


def refusal(text, **options):
    with pytest.raises(StudyError) as caught:
        read(text, **options)
    return str(caught.value)


HIGH, LOW = ("quantified", 50.0, 50.0), ("below", 0.0, 3.0)


@pytest.mark.parametrize(
    ("name", "no", "yes"),
    [("BLQ", "0", "1"), ("bloq_flag", "N", "Y"), ("BQL", "", "x"), ("is_blq", "False", "True"), ("BLQ", "no", "BLOQ")],
)
@pytest.mark.parametrize("number", ["1.5", "3", "", "0"])
def test_a_flag_says_below_the_limit_whatever_number_stands_there(name, no, yes, number):
    text = f"ID,TIME,DV,LLOQ,{name}\n1,7,50,3,{no}\n1,28,{number},3,{yes}\n"
    assert ends(read(text)) == [HIGH, LOW]


def test_a_flag_without_a_limit_and_one_against_the_value_are_refused():
    assert "BLQ is 1 and no limit is known" in refusal("ID,TIME,DV,BLQ\n1,7,50,0\n1,28,1.5,1\n")
    assert "is below the limit 3 and DV is 50" in refusal("ID,TIME,DV,BLQ\n1,7,50,1\n", lloq=3)
    assert "BLQ is 0 and DV is below" in refusal("ID,TIME,DV,BLQ\n1,7,<3,0\n", lloq=3)
    assert "BLQ is '7'" in refusal("ID,TIME,DV,BLQ\n1,7,50,7\n", lloq=3)


@pytest.mark.parametrize(
    ("name", "sign"), [("qualifier", "<"), ("comparator", "LT"), ("result_qualifier", "≤"), ("less_than", "<=")]
)
def test_a_sign_beside_the_number_makes_it_a_limit(name, sign):
    assert ends(read(f"subject,day,copies,{name}\nA,7,50,\nA,28,3,{sign}\n", lloq=3)) == [HIGH, LOW]


def test_a_sign_of_the_other_side_and_a_word_are_read_too():
    text = "subject,day,copies,qualifier\nA,7,50,=\nA,14,900,>\nA,28,3,BLQ\nA,60,,<\n"
    assert ends(read(text, lloq=3)) == [HIGH, ("above", 900.0, np.inf), LOW, LOW]
    assert "qualifier is 'J'" in refusal("subject,day,copies,qualifier\nA,7,50,J\n")
    assert "qualifier is '=' and copies is '<3'" in refusal("subject,day,copies,qualifier\nA,7,<3,=\n", lloq=3)


@pytest.mark.parametrize(
    ("name", "cell", "number"),
    [("result", "<3", "3"), ("AVALC", "<3", "1.5"), ("PCSTRESC", "BLQ", ""), ("value_text", "pos <3", "3")],
)
def test_the_result_as_text_wins_over_the_number(name, cell, number):
    assert ends(read(f"subject,day,copies,{name}\nA,7,50,50\nA,28,{number},{cell}\n", lloq=3)) == [HIGH, LOW]


def test_a_result_that_contradicts_the_number_is_refused():
    assert "result is '<3' and copies is 50" in refusal("subject,day,copies,result\nA,7,50,<3\n", lloq=3)
    assert "result is '60' and copies is 50" in refusal("subject,day,copies,result\nA,7,50,60\n")
    assert "result is 'lost'" in refusal("subject,day,copies,result\nA,7,50,lost\n")
    assert ends(read("subject,day,copies,result\nA,7,50,detected\n")) == [HIGH]


@pytest.mark.parametrize(
    "words", [("none", "left"), ("FALSE", "TRUE"), ("no", "yes"), ("none", "bloq"), ("observed", "below")]
)
def test_words_for_cens(words):
    assert ends(read(f"subject,day,copies,cens\nA,7,50,{words[0]}\nA,28,3,{words[1]}\n")) == [HIGH, LOW]


def test_cens_above_by_its_word_and_one_that_is_unknown():
    assert ends(read("subject,day,copies,cens\nA,7,50,right\n")) == [("above", 50.0, np.inf)]
    assert "1 for below (or left, TRUE)" in refusal("subject,day,copies,cens\nA,7,50,interval\n")


@pytest.mark.parametrize("number", ["1.5", "2.12", "1"])
def test_cens_beside_less_than_the_limit_of_the_row_is_below_that_limit(number):
    assert ends(read(f"ID,TIME,DV,CENS,LLOQ\n1,7,50,0,3\n1,28,{number},1,3\n")) == [HIGH, LOW]


def test_cens_at_the_lod_and_an_interval_stay_what_they_say():
    assert ends(read("ID,TIME,DV,CENS,LLOQ,LOD\n1,28,1,1,3,1\n")) == [("below", 0.0, 1.0)]
    assert ends(read("ID,TIME,DV,CENS,LLOQ,LIMIT\n1,28,2,1,3,0.5\n")) == [("interval", 0.5, 2.0)]
    assert ends(read("ID,TIME,DV,CENS\n1,28,1.5,1\n", lloq=3)) == [LOW]
    assert ends(read("ID,TIME,DV,CENS\n1,28,1,1\n", lloq=3)) == [("below", 0.0, 1.0)]


@pytest.mark.parametrize(
    "name",
    ["LLQ", "Lower limit of quantification", "assay_LLOQ", "PCLLOQ", "Limit of Quantitation", "quantification limit"],
)
def test_a_limit_has_many_names(name):
    assert ends(read(f"subject,day,copies,{name}\nA,7,50,3\nA,28,1.2,3\n")) == [HIGH, LOW]


@pytest.mark.parametrize("name", ["ULQ", "PCULOQ", "Upper limit of quantification"])
def test_an_upper_limit_has_many_names(name):
    assert ends(read(f"subject,day,copies,{name}\nA,7,5000,900\n")) == [("above", 900.0, np.inf)]


@pytest.mark.parametrize("name", ["IGNORE", "EXCLFL", "exclude", "IGNORED_OBSERVATION"])
@pytest.mark.parametrize("mark", ["1", "Y", "x"])
def test_rows_that_are_marked_are_excluded(name, mark):
    study = read(f"ID,TIME,DV,{name}\n1,7,50,\n1,14,123,{mark}\n1,28,20,0\n")
    assert study.used["value"].tolist() == [50.0, 20.0]
    assert study.exclusions == {"excluded in the file": 1}


@pytest.mark.parametrize(
    "cell", ["DNQ", "pos <3", "Detected <LLOQ", "detected, not quantifiable", "Positive (<3)", "UQ"]
)
def test_what_was_seen_and_not_quantified_lies_between_the_limits(cell):
    frame = pd.DataFrame({"subject": "A", "day": [7, 28], "copies": ["50", cell]})
    assert ends(read_study(frame, lloq=3, lod=1))[1] == ("interval", 1.0, 3.0)
    assert ends(read_study(frame, lloq=3))[1] == LOW


@pytest.mark.parametrize(
    "cell", ["<3 copies/ug", "BLQ (<3)", "<LLOQ (3)", "<3 (BLQ)", "BLQ (LLOQ 3)", "<3 copies/µg DNA"]
)
def test_a_limit_stands_in_the_cell(cell):
    assert ends(read(f"subject,day,copies\nA,7,50 copies/ug\nA,28,{cell}\n", lloq=3)) == [HIGH, LOW]


def test_another_unit_in_a_cell_is_refused_until_it_is_said():
    text = "subject,day,value\nA,7,50 copies/mL\nA,28,20 copies/mL\n"
    assert "value is '50 copies/mL' and the study is in copies/ug" in refusal(text)
    assert read(text, unit="copies/mL").unit == "copies/mL"


@pytest.mark.parametrize("cell", ["1.2x10^4", "1.2×10⁴", "1.2*10^4", "1.2 x 10^4", "1.2E4", "1.2·10⁴", "12x10^3"])
def test_powers_of_ten_are_read_as_papers_print_them(cell):
    assert ends(read(f"subject,day,copies,dose\nA,7,{cell},1x10^6\n"))[0][1] == 12000.0
    assert read(f"subject,day,copies,dose\nA,7,{cell},1x10^6\n").doses["amount"].tolist() == [1e6]


def test_powers_of_ten_with_decimal_commas():
    frame = pd.DataFrame({"subject": "A", "day": [7], "copies": ["1,2E4"]})
    assert "not a number" in refusal('subject,day,copies\nA,7,"1,2E4"\n')
    frame.to_csv(path := io.StringIO(), sep=";", index=False)
    assert "1,2E4" in path.getvalue()


@pytest.mark.parametrize("name", ["units", "AVALU", "DVU", "PCSTRESU"])
def test_a_column_of_units_has_many_names(name):
    assert read(f"subject,day,value,{name}\nA,7,50,copies/mL\n").unit == "copies/mL"
    assert read(f"subject,day,value,{name}\nA,7,50,Copies/µg gDNA\nA,8,40,copies/ug\n").unit == "copies/ug"
    assert "is a logarithm" in refusal(f"subject,day,value,{name}\nA,7,3.7,log10 copies/ug\n")


@pytest.mark.parametrize("name", ["TIMEU", "time_unit", "Time Units"])
@pytest.mark.parametrize("word", ["HR", "hours", "h"])
def test_a_column_of_time_units_is_checked(name, word):
    text = f"ID,TIME,{name},DV\n1,168,{word},50\n1,336,{word},20\n"
    assert "time_unit='hour'" in refusal(text)
    assert read(text, time_unit="hour").used["day"].tolist() == [7.0, 14.0]
    assert read(text.replace(word, "days")).used["day"].tolist() == [168.0, 336.0]


def test_time_units_that_differ_are_refused():
    assert "Give all times in days" in refusal("ID,TIME,TIMEU,DV\n1,168,h,50\n1,14,d,20\n")


@pytest.mark.parametrize(
    ("heading", "unit"),
    [("copies per 100 ng", "copies/100 ng"), ("CAR copies/mL", "copies/mL"), ("cells_per_ul", "cells/uL")],
)
def test_a_column_that_is_named_by_the_user_keeps_the_unit_of_its_heading(heading, unit):
    text = f"subject,day,{heading}\nA,7,50\n"
    assert f"says {unit}, and the study is in copies/ug" in refusal(text, columns={"value": heading})
    assert read(text, columns={"value": heading}, unit=unit).unit == unit


def test_a_dose_in_cells_is_not_taken_for_cells_per_kg():
    text = "subject,day,copies,Dose (cells)\nA,7,50,7e7\n"
    assert "says cells, and the doses are in cells/kg" in refusal(text, columns={"dose": "Dose (cells)"})
    assert read(text, columns={"dose": "Dose (cells)"}, dose_unit="cells").dose_unit == "cells"
    text = "subject,day,copies,dose,dose_units\nA,7,50,7e7,cells\n"
    assert read(text).dose_unit == "cells"


@pytest.mark.parametrize("heading", ["log10_copies_per_ug", "LNDV", "log_copies", "DV (log10 copies/ug)"])
def test_no_remedy_takes_a_logarithm_for_a_value(heading):
    said = refusal(f"subject,day,{heading}\nA,7,3.7\n")
    assert "columns=" not in said
    assert "logarithm" in said
    assert "logarithm" in refusal(f"subject,day,{heading}\nA,7,3.7\n", columns={"value": heading})


def test_the_counts_of_two_outputs_are_not_mixed():
    text = "ID,TIME,DV,DVID,LLOQ\n1,7,50,1,3\n1,7,12,2,\n1,28,<3,1,3\n1,28,350,2,\n"
    summary = read(text).summary()
    assert "1: 1 quantified, 1 below the limit; 2: 2 quantified" in summary
    assert "no cohort, output 1" in summary


def test_a_measured_row_without_a_limit_below_that_of_all_others_is_refused():
    rows = {"subject": "A", "day": [7, 14, 28, 60], "copies_per_ug": [50, 2, 2, 1.5], "lloq": [3, None, 3, None]}
    with pytest.raises(StudyError) as caught:
        read_study(pd.DataFrame(rows))
    assert [(each.row, each.day) for each in caught.value.problems] == [(3, 14), (5, 60)]
    assert "copies_per_ug is 2 and lloq is empty" in str(caught.value) and "lloq=..." in str(caught.value)
    # The remedies: a limit for those rows, or the value itself as the limit of a row that was measured.
    assert read_study(pd.DataFrame(rows), lloq=1.5).used["status"].tolist()[:2] == ["quantified", "quantified"]
    assert read_study(pd.DataFrame(rows), lloq=3).used["status"].tolist()[1:] == ["below"] * 3
    assert read_study(pd.DataFrame(rows | {"lloq": [3, 2, 3, 3]})).used["status"].tolist()[1] == "quantified"


def test_a_measured_row_without_a_limit_between_those_of_others_is_named():
    rows = {"subject": "A", "day": [7, 14, 28], "copies_per_ug": [50, 10, 4], "lloq": [20, None, 5]}
    with pytest.warns(StudyWarning, match=r"1 sample is taken as measured \(row 3\): lloq is empty there"):
        study = read_study(pd.DataFrame(rows))
    assert study.used["status"].tolist() == ["quantified", "quantified", "below"]


def test_a_row_without_a_mass_of_dna_below_the_limits_of_the_others_is_refused():
    rows = {"subject": "A", "day": [7, 14, 28], "copies_per_ug": [6000, 5, 5], "dna_ug": [0.2, None, 0.1]}
    with pytest.raises(StudyError, match=r"row 3.* 5 and dna_ug is empty.* limit of the other rows, 15 and more"):
        read_study(pd.DataFrame(rows), lloq_copies_per_well=3)


@pytest.mark.parametrize("more", [{"CENS": [0, 0, 1]}, {"BLQ": [0, 0, 1]}, {}])
def test_a_limit_of_censored_rows_alone_asks_nothing_of_the_others(more):
    value = 2 if more else 4
    rows = {"subject": "A", "day": [7, 14, 28], "DV": [50, value, 3], "lloq": [None, None, 3]}
    with warnings.catch_warnings():
        warnings.simplefilter("error", StudyWarning)
        study = read_study(pd.DataFrame(rows | more))
    assert study.used["value"].tolist()[:2] == [50, value]
