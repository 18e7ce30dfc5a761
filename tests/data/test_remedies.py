"""Every call that an error prints, followed: it gives the study that was meant, or another error, never a wrong one."""

import re

import numpy as np
import pytest

from cellkinetics import StudyError, read_study

# What was measured, by how the table says it: (values in the unit of the study, unit).
RIGHT = {"copies/ug": (5120.0, 90.0), "copies/100 ng": (512.0, 9.0), "copies/mL": (20480.0, 360.0)}
TIMES = (7.0, 28.0)
H = "subject,day"
TABLES = {
    "a value by another name": f"{H},qPCR copies\nA,7,5120\nA,28,90\n",
    "per 100 ng": f"{H},copies_per_100_ng\nA,7,512\nA,28,9\n",
    "per 100 ng in brackets": f"{H},DV (copies/100 ng)\nA,7,512\nA,28,9\n",
    "per mL": f"{H},copies_per_ml\nA,7,20480\nA,28,360\n",
    "log10": f"{H},log10_copies_per_ug\nA,7,3.70927\nA,28,1.954243\n",
    "ln in brackets": f"{H},DV (ln copies/ug)\nA,7,8.540910\nA,28,4.499810\n",
    "a flag": f"{H},dv,lims,lloq\nA,7,5120,,3\nA,28,90,,3\nA,60,1.5,BLQ,3\n",
    "a code for no value": f"{H},dv\nA,7,5120\nA,28,90\nA,60,-9\n",
    "hours by heading": "subject,TIME (h),dv\nA,168,5120\nA,672,90\n",
    "weeks by heading": "subject,weeks,dv\nA,1,5120\nA,4,90\n",
    "hours by a column": "subject,time,timeu,dv\nA,168,h,5120\nA,672,h,90\n",
    "SDTM": "USUBJID,PCTESTCD,PCSTRESC,PCSTRESN,PCSTRESU,PCLLOQ,PCDY\n"
    "A,CAR,5120,5120,copies/ug,3,8\nA,CAR,90,90,copies/ug,3,29\nA,CAR,BLQ,,copies/ug,3,61\n",
    "ADaM": "USUBJID,PARAMCD,AVAL,AVALU,ADY\nA,CAR,5120,copies/ug,8\nA,CAR,90,copies/ug,29\n",
    "a name of a test": "subject,day,CPTEST,CPSTRESU,RES\nA,7,CAR,copies/ug,5120\nA,28,CAR,copies/ug,90\n",
    "two columns of values": f"{H},dv,copies_per_ug\nA,7,5120,5120\nA,28,90,90\n",
    "a visit without a day": "subject,D7,D28,EOT\nA,5120,90,4\n",
    "dates by another name": "subject,drawn,infusion_date,dv\nA,2024-03-09,2024-03-02,5120\n"
    "A,2024-03-30,2024-03-02,90\n",
    "doses in cells": f"{H},dv,Dose (cells)\nA,7,5120,7e7\nA,28,90,7e7\n",
    "doses in cells and a weight": f"{H},dv,Dose (cells),weight_kg\nA,7,5120,7e7,70\nA,28,90,7e7,70\n",
    "a censored value": f"{H},dv\nA,7,5120\nA,28,90\nA,60,<3\n",
    "another unit in a cell": f"{H},dv\nA,7,20480 copies/mL\nA,28,360 copies/mL\n",
    "transgenes per genome": f"{H},transgene_per_genome\nA,7,0.0338\nA,28,0.000594\n",
}


def calls(error):
    """The arguments of each ``read_study(...)`` in the remedies of an error."""
    found = []
    for problem in error.problems:
        for said in re.findall(r"read_study\(\.\.\., (.*?)\)(?:[.,;? ]|$)", problem.remedy):
            if "..." not in said:
                found.append(eval(f"dict({said})", {"__builtins__": {"dict": dict}}))
    return found


def followed(path, given, depth=0):
    """Each study that comes of following remedies, alone and one after the other, with what was given."""
    try:
        yield read_study(path, progress=False, **given), given
    except StudyError as error:
        for more in calls(error) if depth < 4 else []:
            columns = given.get("columns", {}) | more.get("columns", {})
            both = {**given, **more} | ({"columns": columns} if columns else {})
            if both != given:
                yield from followed(path, both, depth + 1)


@pytest.mark.filterwarnings("ignore::cellkinetics.errors.StudyWarning")
@pytest.mark.parametrize("name", TABLES)
def test_a_remedy_that_is_followed_gives_no_wrong_study(tmp_path, name):
    path = tmp_path / "table.csv"
    path.write_text(TABLES[name], encoding="utf-8")
    if name != "ADaM":
        with pytest.raises(StudyError):
            read_study(path, progress=False)
    studies = list(followed(path, {}))
    for study, given in studies:
        if given.get("ignore") == ["lims"]:
            # Said to be nothing, the flag is not read: 1.5 is below the row's limit all the same.
            assert study.counts["below"] == 1
        used = study.used[study.used["status"] == "quantified"]
        np.testing.assert_allclose(used["day"], TIMES)
        if study.unit == "copies/genome":
            np.testing.assert_allclose(used["value"], (0.0338, 0.000594))
            continue
        assert study.unit in RIGHT, given
        np.testing.assert_allclose(used["value"], RIGHT[study.unit], rtol=1e-5)
        if "weight" in name:
            assert (study.dose_unit, study.doses["amount"].tolist()) == ("cells/kg", [1e6])
        elif "cells" in name:
            assert (study.dose_unit, study.doses["amount"].tolist()) == ("cells", [7e7])
    # Logarithms, and a column whose name says nothing, have no call that would read them.
    assert bool(studies) == (name not in ("log10", "ln in brackets", "a name of a test")), studies


@pytest.mark.parametrize(("cell", "limit"), [("<3,5", "3.5"), ("<0,5", "0.5"), ("< 3", "3"), ("BLQ (<2,5)", "2.5")])
def test_the_limit_of_a_remedy_is_that_of_the_cell_with_decimal_commas(tmp_path, cell, limit):
    (tmp_path / "a.csv").write_text(f"subject;day;copies_per_ug\nA;7;28,1\nA;28;{cell}\n")
    with pytest.raises(StudyError, match=rf"read_study\(\.\.\., lloq={re.escape(limit)}\)"):
        read_study(tmp_path / "a.csv")
