"""Small scripts beside the checkout that exit 0 where the library does right: reads, refuses, warns, keeps, loads."""

import runpy
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases"
NUMBERS = [
    *("01", "02", "04", "05", "07", "08", "09", "11", "13", "15", "16", "18", "20", "22", "23", "25", "27", "28"),
    *("30", "31", "33", "35", "37", "38", "40", "41", "42", "43", "44", "46", "47", "48", "50", "f01", "f20"),
    *("f02", "f04", "f05", "f06", "f08", "f09", "f11", "f13", "f17", "f19"),
]


@pytest.mark.parametrize("number", NUMBERS)
def test_nothing_goes_wrong_without_a_word(number):
    if not CASES.is_dir():
        pytest.skip(f"the scripts are not beside this checkout: no folder {CASES}")
    (script,) = CASES.glob(f"{number}_*.py")
    code: object = None  # of a script that runs to its end
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    assert code in (None, 0)
