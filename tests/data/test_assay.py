from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck

DATA = Path(__file__).parents[3] / "shared" / "data"
PATIENTS = pd.DataFrame(
    {
        "subject": ["A", "A", "A", "A", "A", "B", "B"],
        "day": [0, 7, 14, 28, 60, 7, 14],
        "copies_per_ug": ["0", "30303", ">1e5", "<3", "", "<3", "1515.15"],
        "lod": [1, 1, 1, 1, 1, "", ""],
        "dose": [1e6, 1e6, 1e6, 1e6, 1e6, 2e6, 2e6],
    }
)


@pytest.fixture
def study():
    return ck.read_study(PATIENTS, lloq=3.0)


def row(study, subject, day):
    rows = study.observations
    return rows[(rows["subject"] == subject) & (rows["day"] == day)].iloc[0]


def test_a_microgram_is_151_515_genomes():
    assert ck.Assay().genomes_per_ug == pytest.approx(151_515, abs=0.5)
    assert ck.Assay(vcn=2.0).most_copies_per_ug == pytest.approx(303_030, abs=0.5)


def test_every_cell_transduced_with_two_copies_is_all_the_leukocytes():
    assay = ck.Assay(vcn=2.0, genome_mass_pg=5.0)
    assert assay.to_cells_per_ul(400_000, 5000) == pytest.approx(5000)
    assert assay.to_copies_per_ug(5000, 5000) == pytest.approx(400_000)


def test_three_copies_are_one_cell_in_50_505():
    assert ck.Assay().to_cells_per_ul(3.0, 50_505) == pytest.approx(1.0, rel=1e-5)


def test_an_array_of_leukocytes_belongs_to_its_samples():
    cells = ck.Assay(genome_mass_pg=10.0).to_cells_per_ul([100.0, 1000.0, 0.0, np.inf], [1000.0, 100.0, 5.0, 5.0])
    assert cells.tolist() == [1.0, 1.0, 0.0, np.inf]


@pytest.mark.parametrize("kind", ["table", "series", "unsorted"])
def test_a_time_course_is_interpolated_in_its_logarithm(kind):
    table = pd.DataFrame({"day": [0.0, 10.0], "wbc": [100.0, 10_000.0]})
    course = {"table": table, "series": table.set_index("day")["wbc"], "unsorted": table[::-1]}[kind]
    # Halfway between 100 and 10,000 on a log scale is 1,000.
    cells = ck.Assay(genome_mass_pg=10.0).to_cells_per_ul(100.0, course, days=[0, 5, 10])
    assert cells == pytest.approx([0.1, 1.0, 10.0])


def test_there_and_back_is_the_same():
    assay, course = ck.Assay(vcn=1.7), pd.Series({0.0: 50.0, 28.0: 4000.0, 365.0: 6100.0})
    days, copies = np.array([0.0, 3.3, 100.0]), np.array([0.0, 3.0, 51_234.0])
    cells = assay.to_cells_per_ul(copies, course, days)
    assert assay.to_copies_per_ug(cells, course, days) == pytest.approx(copies, rel=1e-14)


@pytest.mark.parametrize(
    ("leukocytes", "days", "text"),
    [
        (pd.Series({0.0: 50.0, 28.0: 400.0}), [7, 60.5], "day 0 to day 28, not on day 60.5"),
        (pd.Series({0.0: 50.0, 28.0: 400.0}), None, "give the days"),
        (pd.Series({0.0: 50.0, 28.0: 0.0}), [7], "leukocytes per uL are 0, not positive"),
        (pd.DataFrame({"day": [0.0, 0.0], "wbc": [5.0, 6.0]}), [0], "has day 0 twice"),
        (pd.DataFrame({"day": [0.0], "wbc": [5.0], "x": [1.0]}), [0], "this table has 3"),
        (pd.Series(dtype=float), [0], "is empty"),
        (-4.0, None, "leukocytes per uL are -4"),
        ([4.0, np.nan], None, "leukocytes per uL are nan"),
    ],
)
def test_leukocytes_that_are_not_known_are_refused(leukocytes, days, text):
    with pytest.raises(ValueError, match=text):
        ck.Assay().to_cells_per_ul(100.0, leukocytes, days)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"unit": "copies/µg"}, "knows copies/ug, cells/uL. Did you mean copies/ug"),
        ({"unit": "cells/ul"}, "Did you mean cells/uL"),
        ({"vcn": 0.0}, "at least 1 copy"),
        ({"vcn": np.nan}, "at least 1 copy"),
        ({"genome_mass_pg": 0.0}, "not a positive mass"),
        ({"lloq": -3.0}, "lloq=-3 is not a positive limit"),
        ({"lloq": 3.0, "lod": 10.0}, "limits out of order: lod 10, lloq 3"),
    ],
)
def test_an_assay_that_cannot_be_is_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        ck.Assay(**arguments)


def test_its_limits_read_a_study():
    study = ck.read_study(PATIENTS.drop(columns="lod"), **ck.Assay(lloq=3.0, lod=1.0).limits)
    assert row(study, "B", 7)["lower"] == 1.0
    assert study.lloq == 3.0


def test_a_study_is_converted_with_its_bounds_and_limits(study):
    cells = ck.Assay(vcn=2.0).convert(study, 5000)
    # 30,303 / 303,030 of 5,000 cells.
    quantified = row(cells, "A", 7)
    assert [quantified[name] for name in ("value", "lower", "upper")] == pytest.approx([500.0] * 3, rel=1e-4)
    limit = 3 / 303_030 * 5000
    interval, below, above = row(cells, "A", 28), row(cells, "B", 7), row(cells, "A", 14)
    assert [interval["lower"], interval["upper"]] == pytest.approx([limit / 3, limit], rel=1e-4)
    assert [below["lower"], below["upper"]] == pytest.approx([0, limit], rel=1e-4)
    assert [above["lower"], above["upper"]] == pytest.approx([1650.0, np.inf], rel=1e-4)
    assert cells.unit == "cells/uL"
    assert cells.lloq == pytest.approx(limit, rel=1e-4)
    assert cells.observations["status"].tolist() == study.observations["status"].tolist()
    assert cells.counts == study.counts
    assert "Converted from copies/ug to cells/uL: VCN 2" in cells.note
    assert study.unit == "copies/ug", "the study that was given is as it was"


def test_a_converted_study_comes_back(study):
    assay = ck.Assay(vcn=1.5)
    each = {"A": pd.Series({0.0: 200.0, 60.0: 6000.0}), "B": 4000}
    cells = assay.convert(study, each)
    # With leukocytes that change, one limit in copies is a limit of its own on each day.
    assert cells.lloq is None
    again = assay.convert(cells, each, to="copies/ug")
    used = study.observations["status"] != "missing"
    pd.testing.assert_frame_equal(again.observations[used], study.observations[used], rtol=1e-12)
    assert again.observations["lloq"].dropna().tolist() == pytest.approx([3.0] * int(used.sum()))


def test_a_converted_study_is_written_and_read(study, tmp_path):
    cells = ck.Assay().convert(study, 5000)
    cells.to_csv(tmp_path / "cells.csv")
    again = ck.read_study(tmp_path / "cells.csv")
    assert again.unit == "cells/uL"
    assert again.counts == study.counts


def test_an_array_has_a_value_for_each_row(study):
    counts = np.arange(1, len(study.observations) + 1) * 1000.0
    one = ck.Assay().convert(study, counts)
    assert one.observations["lower"].iloc[1] == pytest.approx(30303 / 151_515 * 2000, rel=1e-4)
    own = {subject: counts[study.observations["subject"] == subject] for subject in study.subjects}
    pd.testing.assert_frame_equal(ck.Assay().convert(study, own).observations, one.observations)
    with pytest.raises(ValueError, match="2 leukocytes for the 7 rows of the study"):
        ck.Assay().convert(study, [1.0, 2.0])


def test_outputs_in_another_unit_stay_as_they_are():
    table = pd.DataFrame(
        {
            "subject": "A",
            "day": [7, 7],
            "value": [3.0, 250.0],
            "output": ["car", "il15"],
            "unit": ["copies/ug", "pg/mL"],
        }
    )
    cells = ck.Assay(genome_mass_pg=10.0).convert(ck.read_study(table), 1e5)
    assert dict(zip(cells.observations["output"], cells.observations["value"], strict=True)) == {
        "car": pytest.approx(3.0),
        "il15": 250.0,
    }
    assert cells.observations["unit"].tolist() == ["cells/uL", "pg/mL"]


def test_samples_outside_the_time_course_are_named(study):
    with pytest.raises(ck.StudyError, match=r"row 5, patient A, day 28: leukocytes are known from day 0 to day 20"):
        ck.Assay().convert(study, pd.Series({0.0: 100.0, 20.0: 1000.0}))
    with pytest.raises(ck.StudyError, match="patient B: there are no leukocytes"):
        ck.Assay().convert(study, {"A": 5000})
    counts = np.full(len(study.observations), 1000.0)
    counts[1] = np.nan
    with pytest.raises(ck.StudyError, match="row 3, patient A, day 7: leukocytes are missing"):
        ck.Assay().convert(study, counts)


def test_unknown_units_are_refused(study):
    with pytest.raises(ValueError, match=r"to is 'cells/ul'; an assay knows .* Did you mean cells/uL"):
        ck.Assay().convert(study, 5000, to="cells/ul")
    pg = ck.read_study(PATIENTS.drop(columns="lod").rename(columns={"copies_per_ug": "value"}), lloq=3.0, unit="pg/mL")
    with pytest.raises(ValueError, match="the study's unit is 'pg/mL'"):
        ck.Assay().convert(pg, 5000)
    with pytest.raises(ValueError, match="Convert it first"):
        ck.Assay().check(ck.Assay().convert(study, 5000))


def test_a_study_in_the_unit_that_is_asked_for_is_itself(study):
    assert ck.Assay().convert(study, 5000, to="copies/ug") is study


def test_a_possible_study_is_not_warned_about(study):
    assert ck.Assay().check(study).empty


def test_impossible_samples_are_named_by_row_subject_and_day(study):
    table = PATIENTS.assign(copies_per_ug=["0", "151516", ">4e5", "151515", "", "<3", "5"])
    study = ck.read_study(table, lloq=3.0)
    with pytest.warns(UserWarning, match=r"row 3, patient A, day 7: 151,516; row 4, patient A, day 14: 400,000\."):
        found = ck.Assay().check(study)
    assert found["day"].tolist() == [7.0, 14.0]
    assert found["ratio"].tolist() == pytest.approx([1.00001, 2.64], rel=1e-4)
    with pytest.warns(UserWarning, match="1 sample has more than 303,030"):
        ck.Assay(vcn=2.0).check(study)
    assert ck.Assay(vcn=3.0).check(study).empty


def test_real_children_have_impossible_rows():
    if not DATA.is_dir():
        pytest.skip(f"no published data at {DATA}")
    study = ck.read_study(DATA / "sjcar19_weekly.csv")
    with pytest.warns(UserWarning, match="patient SJCAR19-13, day 14: 2,193,043"):
        found = ck.Assay().check(study)
    values = pd.read_csv(DATA / "sjcar19_weekly.csv")["copies_per_ug_dna"]
    assert len(found) == (values > 1e6 / 6.6).sum() > 1
    worst = found.loc[found["ratio"].idxmax()]
    assert (worst["subject"], worst["day"], worst["copies_per_ug"]) == ("SJCAR19-13", 14.0, 2_193_043)
    assert worst["ratio"] == pytest.approx(14.47, abs=0.01)
    with pytest.warns(UserWarning, match="1 sample has"):
        ck.Assay(vcn=5.0).check(study)


def test_real_children_in_cells_agree_with_the_published_copies_per_ml():
    """Copies/mL of the file = copies/ug x DNA per mL, so cells/uL from the implied cells/mL are copies/mL / 1000."""
    if not DATA.is_dir():
        pytest.skip(f"no published data at {DATA}")
    table = pd.read_csv(DATA / "sjcar19_weekly.csv")
    study = ck.read_study(DATA / "sjcar19_weekly.csv")
    cells = ck.Assay().convert(study, table["implied_diploid_cells_per_ml"].to_numpy() / 1000)
    assert cells.observations["value"].to_numpy() == pytest.approx(table["copies_per_ml_blood"] / 1000, rel=1e-3)
