"""Columns on the rows of doses that would change what an infusion is: how long, how fast, how much of it, and when."""

import pandas as pd
import pytest
from told import silently

from cellkinetics import StudyError, read_study


def table(name, cell, day="0"):
    rows = [("A", day, "", "1e6", cell), ("A", "7", "5000", "", ""), ("A", "28", "100", "", "")]
    rows += [("B", day, "", "1e6", cell), ("B", "7", "900", "", ""), ("B", "28", "20", "", "")]
    return pd.DataFrame(rows, columns=["subject", "day", "DV", "dose", name])


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("infusion_hours", "48"),
        ("inf_time_h", "30"),
        ("D1", "2"),
        ("Infusionsdauer", "2 d"),
        ("duree de perfusion", "2 j"),
        ("infusion_duration_min", "600"),
        ("durata infusione (h)", "20"),
        ("EXDUR", "P2D"),
    ],
)
def test_a_long_infusion_is_named_whatever_its_column_is_called(name, cell):
    with pytest.raises(StudyError, match="looks like the duration of an infusion"):
        read_study(table(name, cell))


@pytest.mark.parametrize(("name", "cell"), [("infusion_end_day", "2"), ("stop_time", "2"), ("EXENDY", "3")])
def test_a_late_end_of_an_infusion_is_named(name, cell):
    with pytest.raises(StudyError, match="looks like the end of an infusion"):
        read_study(table(name, cell))


@pytest.mark.parametrize(
    ("name", "cell", "what"),
    [
        ("rate_per_day", "5e5", "rate of an infusion"),
        ("TLAG", "1", "lag of an infusion"),
        ("ALAG1", "2", "lag of an infusion"),
        ("F1", "0.3", "share of a dose that counts"),
        ("bioavailability", "0.3", "share of a dose that counts"),
    ],
)
def test_what_changes_a_dose_is_named(name, cell, what):
    with pytest.raises(StudyError, match=what):
        read_study(table(name, cell))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("infusion_hours", "1"),
        ("infusion_duration_min", "30"),
        ("EXENDY", "1"),
        ("infusion_end_day", "0"),
        ("ALAG1", "0"),
        ("F1", "1"),
        ("heart_rate", "88"),
        ("lot", "L12"),
        ("viability", "88"),
        ("dose_level", "2"),
        ("product", "NK-19"),
        ("days_in_hospital", "21"),
    ],
)
def test_what_changes_no_dose_passes(name, cell):
    assert read_study(table(name, cell)).doses["amount"].tolist() == [1e6, 1e6]


def test_the_remedy_reads_the_study_as_before():
    plain = read_study(table("lot", "x"))
    ignored = read_study(table("infusion_hours", "48"), ignore=["infusion_hours"])
    assert ignored.used[["subject", "day", "value"]].equals(plain.used[["subject", "day", "value"]])


def everywhere(name, cell, dose="1e6"):
    """Two patients whose dose, and one more column, stand on all rows."""
    rows = [(p, d, v, dose, cell) for p in "AB" for d, v in (("7", "5200"), ("28", "410"), ("90", "6.3"))]
    columns = ["subject", "day", "DV", "dose", name]
    return pd.DataFrame(rows, columns=columns) if dose else pd.DataFrame(rows, columns=columns).drop(columns="dose")


@pytest.mark.parametrize(
    ("name", "cell", "what"),
    [
        ("duree perfusion (h)", "36", "duration of an infusion"),
        ("EXDUR", "P2D", "duration of an infusion"),
        ("infusion_period_days", "4", "duration of an infusion"),
        ("D1", "3", "duration of an infusion"),
        ("infusion stop day", "4", "end of an infusion"),
        ("day_of_last_dose", "5", "end of an infusion"),
        ("day of infusion", "3", "day of an infusion"),
        ("rate_per_hour", "4000", "rate of an infusion"),
        ("F1", "0.4", "share of a dose that counts"),
        ("fractionated dose", "y", "given in parts"),
        ("split infusion", "1", "given in parts"),
        ("number of fractions", "3", "given in parts"),
        ("regimen", "20%, 30%, 50%", "given in parts"),
        ("comment", "dose divided over two days", "given in parts"),
        ("dose days", "d0, d1, d2", "given in parts"),
    ],
)
def test_what_changes_a_dose_that_stands_on_every_row_is_named(name, cell, what):
    with pytest.raises(StudyError, match=what) as caught:
        read_study(everywhere(name, cell))
    assert f"ignore=[{name!r}]" in str(caught.value)
    assert silently(everywhere(name, cell), ignore=[name]).doses["amount"].tolist() == [1e6, 1e6]


def test_one_long_infusion_among_short_ones_is_named():
    frame = everywhere("infusion_hours", "1")
    frame.loc[frame["subject"] == "B", "infusion_hours"] = "96"
    with pytest.raises(StudyError, match=r"duration of an infusion \(96\)"):
        read_study(frame)


def test_a_long_infusion_is_named_where_no_column_says_the_dose():
    with pytest.raises(StudyError, match="duration of an infusion"):
        read_study(everywhere("infusion_hours", "48", dose=""))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("infusion_minutes", "30"),
        ("day of infusion", "0"),
        ("infusion stop (h)", "2"),
        ("response duration (days)", "90"),
        ("schedule", "single"),
        ("lymphodepletion schedule", "d-5, d-4, d-3"),
        ("ejection fraction", "60"),
        ("dose fraction", "1"),
        ("infusion_end", "11:00"),
        ("last_followup_day", "365"),
        ("last visit day", "90"),
        ("bags", "2"),
        ("comment", "seen over 3 years"),
        ("dose unit", "cells/kg"),
    ],
)
def test_what_changes_no_dose_passes_where_the_dose_stands_on_every_row(name, cell):
    assert silently(everywhere(name, cell)).doses["amount"].tolist() == [1e6, 1e6]


def test_the_day_of_a_second_infusion_is_that_of_its_row():
    frame = table("infusion day", "")
    frame.loc[len(frame)] = ["A", "30", "", "1e6", "30"]
    assert silently(frame).doses["day"].tolist() == [0, 30, 0]


@pytest.mark.parametrize("name", ["UnitsOfDose", "AmountUnit", "unit (infusion)", "Dosiseinheit", "dosing unit text"])
@pytest.mark.parametrize("cell", ["cells", "cells/m2"])
def test_a_unit_of_doses_is_never_proposed_as_that_of_the_values(name, cell):
    with pytest.raises(StudyError) as caught:
        read_study(everywhere(name, cell))
    assert f"columns={{'dose_unit': {name!r}}}" in str(caught.value)
    assert read_study(everywhere(name, cell), columns={"dose_unit": name}).dose_unit == cell
    assert "'unit':" not in str(caught.value)
    silently(everywhere(name, cell, dose=""))


def given(name, *cells, amounts=("400", "2e6")):
    """One patient with two rows of doses, on days -4 and 0, and one more column."""
    rows = [("A", day, "", amount, cell) for day, amount, cell in zip(("-4", "0"), amounts, cells, strict=True)]
    rows += [("A", "7", "5000", "", ""), ("A", "28", "100", "", "")]
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", name])


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("Wirkstoff", ("Bendamustin", "CAR-NK")),
        ("EXTRT", ("CYCLOPHOSPHAMIDE", "AXICABTAGENE CILOLEUCEL")),
        ("therapy", ("anakinra", "NK cells")),
        ("z", ("alemtuzumab", "CAR T-cells")),
        ("given", ("melphalan", "")),
        ("agent", ("X-101", "Y-202")),
        ("medication", ("IL-15", "cart")),
    ],
)
def test_another_drug_on_a_row_of_a_dose_is_refused_and_its_remedy_keeps_it_from_the_cells(name, cells):
    frame = given(name, *cells)
    with pytest.raises(StudyError) as caught:
        read_study(frame)
    assert f"columns={{'kind': {name!r}}}" in str(caught.value)
    doses = read_study(frame, columns={"kind": name}).doses
    infused = doses[doses["kind"] == "cells"]
    if name != "agent":
        assert infused[["day", "amount", "unit"]].to_numpy().tolist() == [[0, 2e6, "cells/kg"]]
    else:
        assert infused.empty


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("lot", ("L1", "L2")),
        ("product", ("CAR-NK", "CAR-NK")),
        ("bag", ("first", "second")),
        ("premedication", ("paracetamol", "")),
        ("lymphodepletion", ("Flu/Cy", "")),
        ("comment", ("", "given after fludarabine on day -4")),
        ("nurse", ("mm", "jk")),
    ],
)
def test_what_names_no_other_drug_passes_on_rows_of_doses(name, cells):
    assert silently(given(name, *cells, amounts=("1e6", "2e6"))).doses["kind"].tolist() == ["cells", "cells"]


def test_two_products_in_two_patients_are_cells():
    frame = table("product", "NK-19")
    frame.loc[frame["subject"] == "B", "product"] = "NK-22"
    assert silently(frame).doses["amount"].tolist() == [1e6, 1e6]


@pytest.mark.parametrize("unit", ["10^7 cells", "x10^6/kg", "million cells/m2", "Mio Zellen", "1e6/kg"])
@pytest.mark.parametrize("name", ["unit", "amtu", "dosing units", "Unit of Dose"])
def test_a_unit_of_doses_with_a_factor_is_refused_in_whatever_column_it_stands(name, unit):
    with pytest.raises(StudyError, match="Write the cells out"):
        read_study(given(name, unit, unit, amounts=("", "5")))
    with pytest.raises(StudyError, match="unit with a factor"):
        read_study(given("lot", "", ""), dose_unit=unit)


@pytest.mark.parametrize("name", ["DoseM", "dose x10e6", "Dose_mln", "doseK", "Cell Dose (x 10^6)"])
@pytest.mark.parametrize("on_all_rows", [False, True])
def test_a_heading_of_doses_with_a_factor_is_no_covariate(name, on_all_rows):
    frame = everywhere(name, "5", dose="") if on_all_rows else table(name, "5").drop(columns="dose")
    with pytest.raises(StudyError, match="Write the cells out"):
        read_study(frame)


def test_the_unit_column_of_the_values_says_what_a_dose_is_in_too():
    frame = given("unit", "", "cells", amounts=("", "7e7"))
    with pytest.raises(
        StudyError, match=r"says 'cells' on rows of doses, which are read in cells/kg.*dose_unit='cells'"
    ):
        read_study(frame)
    assert silently(frame, dose_unit="cells").dose_unit == "cells"
    with pytest.raises(StudyError, match="column kind"):
        read_study(given("unit", "mg/kg", "", amounts=("30", "1e6")))
    assert silently(given("unit", "", "cells/kg", amounts=("", "1e6"))).doses["amount"].tolist() == [1e6]


@pytest.mark.parametrize(("few", "refused"), [("30", True), ("5.5", True), ("2e4", False), ("0", False)])
def test_a_dose_that_is_no_number_of_cells_beside_one_that_is_needs_a_name(few, refused):
    frame = given("lot", "", "", amounts=(few, "1e6"))
    if refused:
        with pytest.raises(StudyError, match=r"row 2, patient A, day -4.*beside one of many cells"):
            read_study(frame)
        assert len(read_study(frame.assign(kind=["fludarabine", "", "", ""])).doses) == 2
    else:
        assert silently(frame).doses["amount"].max() == 1e6
