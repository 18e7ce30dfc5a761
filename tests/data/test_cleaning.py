"""The cleaned copy of a table, and what is left alone."""

import pytest

from cellkinetics import cli
from cellkinetics.data.cleaning import clean
from cellkinetics.data.reading import read_study
from cellkinetics.errors import StudyError

MESSY = """\
# simulated
Patient ID;Day;Copies/ug;LLOQ (copies/ug);weight
P01;14;6,5;3;70,5
P01; 7;5,25;3;70,5
P01;7;5,25;3;70,5
P01;28;<3;3;70,5
P02;7;8;3;60
"""


@pytest.fixture
def messy(tmp_path):
    path = tmp_path / "messy.csv"
    path.write_text(MESSY, encoding="utf-8")
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return stopped.value.code


def test_the_copy_is_sorted_without_repeats_commas_and_unknown_names_and_the_table_is_untouched(messy):
    cleaned, log, changes = clean(messy)
    assert cleaned.name == "messy.cleaned.csv"
    assert cleaned.read_text(encoding="utf-8") == (
        "# simulated\nsubject;Day;copies_per_ug;lloq;weight\n"
        "P01;7;5.25;3;70.5\nP01;14;6.5;3;70.5\nP01;28;<3;3;70.5\nP02;7;8;3;60\n"
    )
    assert messy.read_text(encoding="utf-8") == MESSY
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "messy.csv -> messy.cleaned.csv"
    assert "row 4: blanks dropped: ' 7' -> '7'" in lines
    assert "row 3: decimal comma in Copies/ug: '6,5' -> '6.5'" in lines
    assert "row 5: removed, it repeats row 4: 'P01;7;5.25;3;70.5' -> ''" in lines
    assert "row 4: sorted by subject and day: 'line 4' -> 'line 3'" in lines
    assert "header: column renamed: 'Patient ID' -> 'subject'" in lines
    assert len(lines) == len(changes) + 1


def test_the_copy_is_read_as_the_table_would_be(messy):
    study = read_study(clean(messy)[0])
    assert study.counts == {"quantified": 3, "below": 1, "interval": 0, "above": 0}
    assert study.covariates["weight"].tolist() == [70.5, 60.0]
    assert study.simulated


def test_nothing_is_written_over(messy):
    log = messy.with_name("messy.cleaned.log")
    log.write_text("mine")
    with pytest.raises(FileExistsError, match=r"messy\.cleaned\.log exists already"):
        clean(messy)
    assert log.read_text() == "mine"
    assert not messy.with_name("messy.cleaned.csv").exists()


def test_points_among_decimal_commas_stay_and_are_still_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("subject;day;copies\nP01;7,5;5.120\n")
    cleaned, _, changes = clean(path)
    assert changes == []
    with pytest.raises(StudyError, match=r"5\.120"):
        read_study(cleaned)


def test_rows_of_one_day_stay_in_their_order_and_two_bags_stay_two_doses(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("subject,day,copies,dose\nP01,7,5,\nP01,0,2,\nP01,0,,1e6\nP01,0,,1e6\nP01,0,400,\n")
    cleaned, _, _ = clean(path)
    assert cleaned.read_text().splitlines()[1:] == ["P01,0,2,", "P01,0,,1e6", "P01,0,,1e6", "P01,0,400,", "P01,7,5,"]


def test_rows_with_an_unreadable_day_are_not_sorted_and_a_row_of_the_wrong_length_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("subject,day,copies\nP01,7,5\nP01,d1,6\nP01,3,9\n")
    assert clean(path)[2] == []
    broken = tmp_path / "broken.csv"
    broken.write_text("subject,day,copies\nP01,7\n")
    with pytest.raises(StudyError, match="it has 2 cells"):
        clean(broken)
    assert not broken.with_name("broken.cleaned.csv").exists()


def test_check_fix_writes_the_copy_and_checks_it(messy, capsys):
    assert run("check", messy, "--fix") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "listed in messy.cleaned.log" in printed
    assert "Study of 2 subjects (messy.cleaned.csv)" in printed
    assert run("check", messy, "--fix") == 2
    assert "exists already" in capsys.readouterr().err


def test_what_needs_a_decision_is_listed_and_one_problem_is_one(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("subject,day,copies\nP01,7,many\nP01,3,9\n")
    assert run("check", path, "--fix") == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 problem in t.cleaned.csv" in printed
    assert "many" in printed
