import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellkinetics.meaning.cells import mark_of, marks, number_of, numbers
from cellkinetics.meaning.placing import Limits, place, written
from cellkinetics.words import number_text

NAN = np.nan


def place_one(cell, *, cens=NAN, limit=NAN, lloq=NAN, lod=NAN, uloq=NAN, own_lloq=NAN):
    """Status, lower, upper, limit in force and fault of one cell."""
    mark, number = marks(np.array([cell], dtype=object))
    row = [np.array([end], dtype=float) for end in (lloq, lod, uloq, own_lloq)]
    placed = place(mark, number, np.array([float(cens)]), np.array([float(limit)]), Limits(*row))
    return placed.status[0], placed.lower[0], placed.upper[0], placed.lloq[0], placed.fault[0]


@given(st.floats(allow_nan=False))
def test_a_number_written_is_read_as_the_same_number(number):
    assert number_of(number_text(number)) == number


@pytest.mark.parametrize(
    ("number", "text"), [(3.0, "3"), (1e6, "1000000"), (0.1, "0.1"), (1e300, "1e+300"), (-0.0, "0")]
)
def test_a_number_is_written_in_its_shortest_form(number, text):
    assert number_text(number) == text


@pytest.mark.parametrize("text", ["1e6", "+3", ".5", "5.", "1E-3", "007"])
def test_numbers_are_read_in_every_usual_form(text):
    assert number_of(text) == float(text)


@pytest.mark.parametrize("text", ["1_000", "1,5", "3 4", "0x10", "1e", "٣", "--3", "seven"])
def test_text_is_no_number_even_where_python_takes_it_for_one(text):
    assert number_of(text) is None


def test_with_decimal_commas_a_point_is_refused_because_it_may_separate_thousands():
    assert number_of("1,5", ",") == 1.5
    assert number_of("1.234", ",") is None


def test_empty_cells_are_nan_and_text_is_reported():
    values, unreadable = numbers(np.array(["", "2", "two", "2", "-inf"], dtype=object))
    np.testing.assert_array_equal(values, [NAN, 2, NAN, 2, -np.inf])
    np.testing.assert_array_equal(unreadable, [False, False, True, False, False])


@pytest.mark.parametrize("cell", ["<3", "< 3", "<=3", "≤3", "<3.0"])
def test_a_value_under_a_named_limit_is_recognised(cell):
    assert mark_of(cell) == ("below", 3.0)


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["BLQ", "bloq", "BQL", "<LLOQ", "< lloq", "<LOQ"], "blq"),
        (["ND", "nd", "<LOD", "not detected", "Undetectable"], "nd"),
        (["ALQ", ">ULOQ", "> uloq"], "alq"),
        (
            [
                "",
            ],
            "missing",
        ),
        (["positive", "<", "<x", "<-3", "<0", ">inf", "3 copies", "<>3"], "unreadable"),
    ],
)
def test_words_are_recognised_in_any_case(cells, mark):
    assert [mark_of(cell)[0] for cell in cells] == [mark] * len(cells)


def test_a_value_above_a_named_limit_is_recognised():
    assert mark_of("> 1e6") == ("above", 1e6)


@pytest.mark.parametrize("cell", ["0", "0.4", "2.99", "ND", "BLQ", "<3"])
def test_under_the_limit_without_lod_everything_lies_between_zero_and_the_limit(cell):
    assert place_one(cell, lloq=3) == ("below", 0, 3, 3, "")


@pytest.mark.parametrize(("cell", "value"), [("3", 3), ("3.01", 3.01), ("5120", 5120)])
def test_at_and_above_the_limit_a_value_is_quantified(cell, value):
    assert place_one(cell, lloq=3) == ("quantified", value, value, 3, "")


@pytest.mark.parametrize("cell", ["0", "ND", "0.99", "<1"])
def test_with_a_lod_what_was_not_detected_lies_under_the_lod(cell):
    assert place_one(cell, lloq=3, lod=1) == ("below", 0, 1, 3, "")


@pytest.mark.parametrize("cell", ["1", "2.99", "BLQ", "<3"])
def test_with_a_lod_what_was_detected_and_not_quantified_lies_between_the_two(cell):
    assert place_one(cell, lloq=3, lod=1) == ("interval", 1, 3, 3, "")


@pytest.mark.parametrize("lod", [3, 5])
def test_a_lod_that_is_not_under_the_lloq_is_no_limit_of_its_own(lod):
    assert place_one("ND", lloq=3, lod=lod) == ("below", 0, 3, 3, "")


def test_a_lod_alone_is_the_limit_of_what_was_not_detected():
    assert place_one("ND", lod=1) == ("below", 0, 1, 1, "")
    assert place_one("0.5", lod=1) == ("below", 0, 1, 1, "")
    assert place_one("2", lod=1) == ("quantified", 2, 2, 1, "")
    assert place_one("BLQ", lod=1)[-1] == "no lower limit"


def test_cens_1_is_below_with_dv_the_limit_and_limit_the_other_end():
    assert place_one("3", cens=1) == ("below", 0, 3, 3, "")
    assert place_one("3", cens=1, limit=0) == ("below", 0, 3, 3, "")
    assert place_one("3", cens=1, limit=1) == ("interval", 1, 3, 3, "")


def test_cens_minus_1_is_above_with_dv_the_limit_and_limit_the_other_end():
    assert place_one("1e6", cens=-1, lloq=3) == ("above", 1e6, np.inf, 3, "")
    assert place_one("1e6", cens=-1, limit=2e6, lloq=3) == ("interval", 1e6, 2e6, 3, "")


@pytest.mark.parametrize("cell", ["", "0", "BLQ"])
def test_cens_1_without_a_number_lies_under_the_known_limit(cell):
    assert place_one(cell, cens=1, lloq=3) == ("below", 0, 3, 3, "")


def test_cens_0_leaves_a_number_under_the_limit_censored():
    assert place_one("2", cens=0, lloq=3) == ("below", 0, 3, 3, "")


@pytest.mark.parametrize("cell", [">1e6", "1000001", ">ULOQ"])
def test_above_the_upper_limit_a_value_is_open_upwards(cell):
    assert place_one(cell, lloq=3, uloq=1e6) == ("above", 1e6, np.inf, 3, "")


def test_a_limit_named_in_the_cell_wins_over_that_of_the_study():
    assert place_one("<8", lloq=3) == ("below", 0, 8, 8, "")
    assert place_one(">1e4", uloq=1e6)[:3] == ("above", 1e4, np.inf)


def test_an_empty_cell_is_missing():
    assert place_one("", lloq=3) == (
        "missing",
        pytest.approx(NAN, nan_ok=True),
        pytest.approx(NAN, nan_ok=True),
        3,
        "",
    )


@pytest.mark.parametrize(
    ("cell", "given", "fault"),
    [
        ("<3", {}, "no lower limit"),
        ("BLQ", {}, "no lower limit"),
        ("0", {}, "no lower limit"),
        ("", {"cens": 1}, "no lower limit"),
        (">ULOQ", {}, "no upper limit"),
        ("<3", {"cens": 0, "lloq": 3}, "cens"),
        (">9", {"cens": 1, "lloq": 3}, "cens"),
        ("ND", {"cens": -1, "lloq": 3}, "cens"),
        ("50", {"cens": 1, "lloq": 3, "own_lloq": 3}, "over"),
        ("<50", {"lloq": 3, "own_lloq": 3}, "over"),
        ("3", {"cens": 1, "limit": 3}, "side"),
        ("3", {"cens": 1, "limit": 5}, "side"),
        ("1e6", {"cens": -1, "limit": 3}, "side"),
    ],
)
def test_a_censored_cell_that_makes_no_sense_has_its_fault_named(cell, given, fault):
    assert place_one(cell, **given)[-1] == fault


def test_an_interval_that_ends_at_the_lloq_is_written_with_a_lod_and_any_other_with_cens_and_limit():
    table = pd.DataFrame(
        {"status": "interval", "value": NAN, "lower": [1.0, 1e6], "upper": [3.0, 2e6], "lloq": [3.0, 3.0]}
    )
    cells = written(table)
    assert cells.loc[0].to_dict() == {"value": "<3", "cens": "", "limit": "", "lloq": "3", "lod": "1"}
    assert cells.loc[1].to_dict() == {
        "value": "1000000",
        "cens": "-1",
        "limit": "2000000",
        "lloq": "3",
        "lod": "",
    }
