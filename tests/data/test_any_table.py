"""Whatever a table holds, it is a study or an error that says what is wrong; nothing else, and soon."""

import io
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cellkinetics.data.cleaning import clean
from cellkinetics.data.columns import SYNONYMS
from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError

NEEDED = ("subject", "day", "value")
MORE = [names[0] for meaning, names in SYNONYMS.items() if meaning not in NEEDED]
MORE += ["copies_per_well", "dna_ng", "lloq_copies_per_well", "RATE", "SS", "C", "studyid", "weight", "well", "", "row"]
HEADINGS = [
    *MORE,
    "id",
    "subject",
    "day",
    "dv",
    "y",
    "TIME (h)",
    "weeks",
    "date",
    "infusion_date",
    "d0",
    "14",
    "week 3",
]
HEADINGS += ["DV (cells/uL)", "Dose (cells)", "loq", "adm", "amt"]
CELLS = ["", ".", "0", "1", "2", "7", "7.5", "7,5", "1,234", "-1", "1e6", "1e400", "<3", ">1e6", "BLQ", "ND", "inf"]
CELLS += ["nan", "lymphodepletion", "rimiducid", "cells", "2024-02-28", "3/4/2024", "12:30", "<script>", "=cmd()"]
CELLS += ["Åsa 李", "#1", '"', "a b", "P1", "P2", "3", "4", "-99", "copies/ug", "\u0661"]
NUMBERS = ["", "", "0", "1", "2", "3", "7.5"]


def rows_of(header):
    """Rows for a header, most of which make sense in their first three columns."""
    subject, value = st.sampled_from(["P1", "P2"]), st.sampled_from(["5", "<3", "0", "80"])
    when = st.integers(0, 400).map(lambda day: f"{day / 2:g}")
    anything, number = st.sampled_from(CELLS), st.sampled_from(NUMBERS)
    usual = st.tuples(subject, when, value, *(number for _ in header[3:]))
    odd = st.tuples(*(anything for _ in header), *(anything for _ in range(3 - len(header))))
    half = st.tuples(subject, when, anything, *(anything for _ in header[3:]))
    clean, mixed = st.lists(usual, min_size=1, max_size=8), st.lists(st.one_of(usual, half, odd), max_size=8)
    return st.tuples(st.just(header), st.one_of(clean, clean, mixed))


# Most tables have the three columns that are needed, or one column a day.
TABLES = st.one_of(
    *(
        st.lists(st.sampled_from(more), max_size=4, unique=True).map(lambda more, first=first: [*first, *more])
        for first, more in ((["ID", "TIME", "DV"], MORE), (["patient", "d0", "d7"], MORE), ([], HEADINGS))
    )
).flatmap(rows_of)
ODD_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "lloq": st.sampled_from([{"1": 3.0}, -1.0]),
        "lod": st.just(1.0),
        "unit": st.just("cells/uL"),
        "time_unit": st.sampled_from(["hour", "week", "day"]),
        "columns": st.sampled_from([{"day": "weeks"}, {"value": "copies_per_well"}, {"subject": "ID"}]),
        "lloq_copies_per_well": st.just(10.0),
        "dna_ug": st.just(0.2),
        "replicates": st.just("mean"),
    },
)
OPTIONS = st.one_of(st.just({"lloq": 3.0}), st.just({"lloq": 3.0, "dna_ug": 0.2, "replicates": "mean"}), ODD_OPTIONS)


def read(table, options):
    """The study, or None when the table was refused with its problems."""
    begun = time.monotonic()
    try:
        return read_study(table, **options)
    except StudyError as error:
        assert error.problems
        assert all(problem.found and problem.line() for problem in error.problems)
        return None
    finally:
        assert time.monotonic() - begun < 10


def agrees(study):
    """What holds of every study."""
    rows = study.used
    assert set(rows["subject"]) <= set(study.subjects)
    assert (rows["lower"] <= rows["upper"]).all()
    assert np.isfinite(rows["day"]).all() and np.isfinite(study.doses["day"]).all()
    quantified = rows[rows["status"] == "quantified"]
    assert (quantified["value"] == quantified["lower"]).all() and (quantified["value"] > 0).all()
    assert sum(study.counts.values()) + sum(study.exclusions.values()) == len(study.observations)
    assert study.summary()


@pytest.mark.filterwarnings("ignore::cellkinetics.errors.StudyWarning")  # a drawn number may repeat as a limit does
@pytest.mark.filterwarnings("ignore:.*Windows-1252:UserWarning")
@settings(deadline=None, max_examples=120)
@given(table=TABLES, options=OPTIONS, separator=st.sampled_from([",", ";", "\t", "|", " "]), windows=st.booleans())
def test_any_file_is_a_study_or_an_error(tmp_path_factory, table, options, separator, windows):
    header, rows = table
    lines = [header, *(row[: len(header)] for row in rows)]
    text = "\n".join(separator.join(line) for line in lines)
    path = tmp_path_factory.mktemp("any") / "any.csv"
    path.write_bytes(text.encode("cp1252" if windows else "utf-8", errors="replace"))
    study = read(path, options)
    event("a study" if study is not None else "an error")
    if study is None:
        return
    agrees(study)
    again = path.with_name("again.csv")
    study.to_csv(again)
    back = read_study(again)
    assert back.counts == study.counts
    assert back.subjects == study.subjects
    assert back.doses.drop(columns="row").equals(study.doses.drop(columns="row"))


@pytest.mark.filterwarnings("ignore::cellkinetics.errors.StudyWarning")  # a drawn number may repeat as a limit does
@settings(deadline=None, max_examples=60)
@given(table=TABLES, options=OPTIONS)
def test_any_data_frame_is_a_study_or_an_error(table, options):
    header, rows = table
    width = len(header)
    study = read(pd.DataFrame([row[:width] for row in rows], columns=header[:width], dtype=object), options)
    if study is not None:
        agrees(study)


@pytest.mark.filterwarnings("ignore::cellkinetics.errors.StudyWarning")  # a drawn number may repeat as a limit does
@pytest.mark.filterwarnings("ignore:.*Windows-1252:UserWarning")
@settings(deadline=None, max_examples=60)
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_a_study_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "any.csv"
    path.write_bytes(b"ID,TIME,DV\n" + content if content[:1] < b"\x60" else content)
    read(path, {})


@settings(deadline=None, max_examples=60)
@given(table=TABLES)
def test_any_file_is_cleaned_or_refused_and_never_changed(tmp_path_factory, table):
    header, rows = table
    path = tmp_path_factory.mktemp("any") / "any.csv"
    pd.DataFrame([row[: len(header)] for row in rows], columns=header).to_csv(path, index=False)
    before = path.read_bytes()
    try:
        cleaned, _, _ = clean(path)
        assert io.StringIO(cleaned.read_text(encoding="utf-8")).readline().strip()
    except StudyError as error:
        assert error.problems
    assert path.read_bytes() == before


def test_what_is_wrong_with_dates_masses_and_values_of_different_patients_is_said_at_once():
    table = pd.DataFrame(
        {
            "subject": ["A", "A", "B", "B", "C", "C"],
            "date": ["2024-01-01", "2024-01-99", "2024-01-01", "2024-01-08", "2024-01-02", "2024-01-09"],
            "infusion_date": ["2024-01-01"] * 4 + ["2024-01-02"] * 2,
            "copies_per_well": ["5", "6", "-3", "7", "8", "9"],
            "dna_ug": [0.3, 0.3, 0.3, 0.3, 0.3, 0.0],
        }
    )
    with pytest.raises(StudyError) as caught:
        read_study(table, lloq_copies_per_well=1)
    assert {(problem.row, problem.subject) for problem in caught.value.problems} == {(3, "A"), (4, "B"), (7, "C")}
