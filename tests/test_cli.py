"""The command line: what it writes, what it prints, how it refuses."""

import inspect
import json
import re
import signal
import subprocess
import sys
from typing import get_args, get_type_hints

import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import cli
from cellkinetics.cli.asked import Fitting, Reading, priors
from cellkinetics.likelihood.error_models import ERRORS
from cellkinetics.optimising import chunks
from cellkinetics.optimising.chunks import optima_by
from cellkinetics.optimising.samples import CENSORINGS

FILES = {"fits.json", "fits.png", "outcomes.csv", "parameters.csv", "predictions.csv", "report.html", "summary.txt"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def patients(folder):
    """A file of two patients whom a decline fits quickly; the second is below the limit throughout."""
    days = [0.1, 0.5, 1, 2, 3, 4, 7, 12]
    copies = [380, 190, 95, 31, 18, 12, 8, "<3"]
    table = pd.DataFrame({"subject": "A", "day": days, "copies_per_ug": copies, "dose": 1e6, "cohort": "low"})
    below = table.assign(subject="B", copies_per_ug="<3")
    path = folder / "patients.csv"
    pd.concat([table, below]).to_csv(path, index=False)
    return path


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return stopped.value.code


def test_a_fit_writes_tables_figure_and_fits_into_a_new_folder(patients, folder, capsys):
    assert run("fit", patients, "--lloq", 3, "--model", "nk_decline") == 0
    out = folder / "cellkinetics-fit-1"
    assert {path.name for path in out.iterdir()} == FILES
    printed = capsys.readouterr().out
    assert "nk_decline: 2 patients" in printed
    assert "no quantified sample" in printed
    parameters = pd.read_csv(out / "parameters.csv")
    assert set(parameters["parameter"]) == {"F", "alpha", "f_b", "beta", "sd"}
    assert set(pd.read_csv(out / "predictions.csv")["subject"]) == {"A", "B"}
    again = ck.load(out / "fits.json")
    assert again["A"].outcome == pd.read_csv(out / "outcomes.csv", index_col="subject").loc["A", "outcome"]
    assert (out / "fits.png").stat().st_size > 10_000


def test_each_run_without_out_makes_the_next_numbered_folder(patients, folder):
    run("fit", patients, "--lloq", 3, "--model", "nk_decline")
    run("fit", patients, "--lloq", 3, "--model", "nk_decline")
    assert (folder / "cellkinetics-fit-2" / "fits.json").is_file()


def test_an_existing_folder_is_refused_unless_forced(patients, folder, capsys):
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("keep")
    assert run("fit", patients, "--lloq", 3, "--model", "nk_decline", "--out", "mine") == 2
    assert "exists already: add --force" in capsys.readouterr().err
    assert run("fit", patients, "--lloq", 3, "--model", "nk_decline", "--out", "mine", "--force") == 0
    assert (folder / "mine" / "notes.txt").read_text() == "keep"
    assert (folder / "mine" / "fits.json").is_file()


def test_nothing_half_written_is_left_when_writing_fails(patients, folder, monkeypatch, capsys):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cellkinetics.fitting.fits.Fits.save", full)
    assert run("fit", patients, "--lloq", 3, "--model", "nk_decline") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["patients.csv"]


def test_options_reach_the_fit(patients, folder):
    code = run(
        "fit", patients, "--lloq", 3, "--model", "nk_decline", "--fixed", "beta=0.2", "sd=0.4", "--free", "F", "alpha",
        "--censoring", "half", "--out", "results",
    )  # fmt: skip
    assert code == 0
    saved = json.loads((folder / "results" / "fits.json").read_text())["request"]
    assert saved["fixed"] == {"beta": 0.2, "sd": 0.4}
    assert saved["free"] == ["F", "alpha"]
    assert saved["censoring"] == "half"


def test_columns_of_another_name_are_given_by_pairs(patients, folder):
    text = patients.read_text().replace("day", "visit", 1).replace("copies_per_ug", "result", 1)
    patients.write_text(text)
    renamed = ["--columns", "day=visit", "copies_per_ug=result"]
    assert run("fit", patients, "--lloq", 3, "--model", "nk_decline", *renamed) == 0


def test_times_in_hours_are_fitted_as_days_and_the_command_says_so(patients, folder):
    table = pd.read_csv(patients)
    table["day"] *= 24
    table.rename(columns={"day": "TIME (h)"}).to_csv(patients, index=False)
    assert run("fit", patients, "--lloq", 3, "--model", "nk_decline") == 2
    arguments = ["--lloq", 3, "--model", "nk_decline", "--time-unit", "hour", "--out", "results"]
    assert run("fit", patients, *arguments) == 0
    assert pd.read_csv(folder / "results" / "predictions.csv")["day"].max() == 12
    assert "--time-unit hour" in (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert run("check", patients, "--lloq", 3, "--time-unit", "hour") == 0


def test_an_out_without_permission_or_that_is_a_file_is_refused_first(patients, folder, monkeypatch, capsys):
    monkeypatch.setattr("cellkinetics.cli.fit.fit_each", lambda *_args, **_kwargs: pytest.fail("fitted before"))
    assert run("fit", patients, "--lloq", 3, "--out", "patients.csv") == 2
    assert "it is a file; name a folder" in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda *_: False)
    assert run("fit", patients, "--lloq", 3, "--out", "results") == 2
    assert "no permission to write in" in capsys.readouterr().err
    assert not (folder / "results").exists()


def test_a_model_of_the_user_is_read_from_its_file(patients, folder):
    (folder / "mine.py").write_text(
        '"""One rate."""\nimport jax.numpy as jnp\nfrom cellkinetics import Model, Parameter\n'
        "def curve(t, c_0, k):\n    return c_0 * jnp.exp(-k * t)\n"
        'model = Model(name="one_rate", parameters={"c_0": Parameter(100.0, "copies/ug", "assumption"),\n'
        '    "k": Parameter(0.5, "1/day", "assumption")}, outputs={"copies_per_ug": "copies/ug"}, curve=curve)\n'
    )
    assert run("fit", patients, "--lloq", 3, "--model", "mine.py", "--out", "results") == 0
    assert ck.load(folder / "results" / "fits.json")["A"].model.name == "one_rate"


def test_no_patient_fitted_ends_with_exit_code_1(patients, folder):
    lines = [line for line in patients.read_text().splitlines() if not line.startswith("A")]
    patients.write_text("\n".join(lines) + "\n")
    assert run("fit", patients, "--lloq", 3, "--model", "nk_decline") == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["fit", "nobody.csv"], "there is no file nobody.csv"),
        (["fit", "patients.csv"], "no limit is known"),
        (["fit", "patients.csv", "--lloq", "3", "--model", "nk_declin"], "Did you mean nk_decline"),
        (["fit", "patients.csv", "--lloq", "3", "--model", "gone.py"], "no such model file"),
        (["fit", "patients.csv", "--lloq", "3", "--fixed", "beta"], "write name=value"),
        (["fit", "patients.csv", "--lloq", "3", "--fixed", "beta=slow"], "'slow' is not a number"),
        (["fit", "patients.csv", "--lloq", "3", "--fixed", "rh=1"], "no parameter rh"),
        (["fit", "patients.csv", "--lloq", "three"], "three"),
        (["fit", "patients.csv", "--lloq", "3", "--unit", "log10 copies/ug"], "logarithm"),
        (["model", "stein_2019"], "no model 'stein_2019'"),
    ],
)
def test_bad_input_ends_with_a_message_and_exit_code_2(patients, capsys, arguments, text):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert text in " ".join((captured.err + captured.out).split())
    assert "Traceback" not in captured.err + captured.out


def test_check_says_what_is_in_a_table(patients, capsys):
    assert run("check", patients, "--lloq", 3) == 0
    assert "Study of 2 subjects" in capsys.readouterr().out


def test_check_lists_every_problem_at_once(folder, capsys):
    (folder / "bad.csv").write_text("subject,day,copies_per_ug,lloq\nA,1,abc,3\nA,x,5,3\nB,2,-4,3\n")
    assert run("check", "bad.csv") == 1
    printed = capsys.readouterr().out
    assert "3 problems in bad.csv" in printed
    assert all(found in printed for found in ("abc", "x", "-4"))


def test_models_are_listed_by_their_whole_names(capsys):
    assert run("models") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ck.models.names())


def test_a_model_is_shown_with_equations_units_and_sources(capsys):
    assert run("model", "nk_decline") == 0
    printed = capsys.readouterr().out
    assert ".. math::" in printed
    assert "copies/ug per" in printed


def test_help_and_version_run_in_a_process_of_their_own():
    for option, text in (("--help", "fit"), ("--version", ck.__version__)):
        done = subprocess.run(
            [sys.executable, "-m", "cellkinetics.cli", option], capture_output=True, text=True, check=True
        )
        assert text in done.stdout


def test_check_says_one_thing_once_and_reads_as_it_is_told(tmp_path, capsys):
    path = tmp_path / "table.csv"
    rows = "".join(f"P{at},{at},5 {at}00\n" for at in range(1, 90))
    path.write_text(f"subject,T,copies_per_ug\n{rows}", encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        cli.main(["check", str(path), "--day", "T"])
    said = capsys.readouterr().out
    assert end.value.code == 1
    assert "89 problems" in said
    assert len(said.splitlines()) < 15
    path.write_text("subject,T,v,dose,weight\nP1,24,5,7e7,70\n", encoding="utf-8")
    words = ["--day", "T", "--columns", "value=v", "--unit", "cells/uL", "--dose-unit", "cells", "--time-unit", "hour"]
    with pytest.raises(SystemExit) as end:
        cli.main(["check", str(path), *words])
    assert end.value.code == 0
    assert "(cells/kg)" in capsys.readouterr().out


DECLINE = ["--lloq", 3, "--model", "nk_decline"]


def test_every_option_of_a_fit_reaches_it(patients, folder):
    more = ["--error", "student", "--prior", "beta=0.2,0.5", "sd=0.4,0.3", "--starts", 2, "--pool-sd", "--seed", 7]
    assert run("fit", patients, *DECLINE, *more, "--out", "results") == 0
    saved = json.loads((folder / "results" / "fits.json").read_text())["request"]
    assert (saved["error"], saved["starts"], saved["seed"]) == ("student", 2, 7)
    # beta is estimated on the log scale, and so is every sd.
    fits = ck.load(folder / "results" / "fits.json")
    assert fits["A"].request.prior == {"beta": ck.LogNormal(0.2, 0.5), "sd": ck.LogNormal(0.4, 0.3)}
    page = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "--error student" in page and "--pool-sd" in page


def test_published_priors_are_asked_for_by_that_word(folder):
    assert priors(ck.models.load("stein_2019_tisagenlecleucel"), ["published"]) == "published"
    with pytest.raises(ValueError, match="published alone"):
        priors(ck.models.load("stein_2019_tisagenlecleucel"), ["published", "beta=1,1"])


def test_errors_and_censorings_that_can_be_asked_for_are_those_of_the_library():
    hints = get_type_hints(Fitting, include_extras=True)
    assert get_args(hints["censoring"]) == tuple(CENSORINGS)


def test_an_error_model_that_is_not_known_is_refused_with_those_that_are(tmp_path, capsys):
    assert run("fit", "--error", "laplace", "--out", tmp_path / "out") == 2
    assert ", ".join(ERRORS) in " ".join("".join(capsys.readouterr()).split())


def test_defaults_of_the_command_line_are_those_of_the_library():
    of_reading = inspect.signature(ck.read_study).parameters
    shown = inspect.signature(Reading).parameters
    assert {name: shown[name].default for name in ("unit", "dose_unit", "replicates", "lloq")} == {
        name: of_reading[name].default for name in ("unit", "dose_unit", "replicates", "lloq")
    }
    assert inspect.signature(Fitting).parameters["pool_sd"].default is False


def test_several_models_are_fitted_each_in_a_folder_and_compared(patients, folder, capsys):
    again = ["--model", "exponential.py", "--out", "results"]
    (folder / "exponential.py").write_text(
        '"""One rate."""\nimport jax.numpy as jnp\nfrom cellkinetics import Model, Parameter\n'
        "def curve(t, c_0, k):\n    return c_0 * jnp.exp(-k * t)\n"
        'model = Model(name="exponential", parameters={"c_0": Parameter(100.0, "copies/ug", "assumption"),\n'
        '    "k": Parameter(0.5, "1/day", "assumption")}, outputs={"copies_per_ug": "copies/ug"}, curve=curve)\n'
    )
    assert run("fit", patients, *DECLINE, *again) == 0
    out = folder / "results"
    assert {path.name for path in out.iterdir()} == {"nk_decline", "exponential", "models.csv", "models.html"}
    assert all({path.name for path in (out / name).iterdir()} == FILES for name in ("nk_decline", "exponential"))
    table = pd.read_csv(out / "models.csv").set_index(["subject", "model"])
    mine = [ck.load(out / name / "fits.json") for name in ("nk_decline", "exponential")]
    expected = ck.compare_models(mine)
    assert table.loc[("A", "nk_decline"), "bic"] == pytest.approx(expected.loc[("A", "nk_decline"), "bic"])
    printed = capsys.readouterr().out
    assert "Models compared" in printed
    page = (out / "models.html").read_text(encoding="utf-8")
    assert {f"{expected.loc[('all', name), 'bic']:.4g}" for name in ("nk_decline", "exponential")} <= set(
        re.findall(r"<td[^>]*>([^<]*)</td>", page)
    )
    assert all((out / link).is_file() for link in re.findall(r'href="([^"]*)"', page)) and page.count("href=") == 2
    assert page.count("data:image/png;base64,") == 1
    # One model is forced over the two: nothing of the other one stays.
    assert run("fit", patients, *DECLINE, "--out", "results", "--force") == 0
    assert {path.name for path in out.iterdir()} == FILES


def test_a_model_that_is_refused_costs_no_other_its_fit(patients, monkeypatch, capsys):
    monkeypatch.setattr("cellkinetics.cli.fit.fit_each", lambda *_args, **_kwargs: pytest.fail("fitted before"))
    two = [*DECLINE, "--model", "stein_2019_tisagenlecleucel"]
    assert run("fit", patients, *two, "--fixed", "fold=3") == 2
    assert "no parameter fold" in capsys.readouterr().err
    assert run("fit", patients, *DECLINE, "--model", "nk_decline") == 2
    assert "is there twice" in capsys.readouterr().err


def test_ctrl_c_writes_who_is_finished_and_marks_the_others(patients, folder, monkeypatch, capsys):
    def stopped(how, stage, problems, initial, *others):
        yield from optima_by(how, stage, problems[:1], initial[:1], *others)
        signal.raise_signal(signal.SIGINT)

    table = pd.read_csv(patients)
    both = [table[table["subject"] == "A"].assign(subject=name) for name in ("A", "C")]
    pd.concat(both).to_csv(patients, index=False)
    monkeypatch.setattr("cellkinetics.fitting.each.optima_by", stopped)
    assert run("fit", patients, *DECLINE, "--out", "results") == 130
    printed = " ".join(capsys.readouterr().out.split())
    assert "Stopped by Ctrl-C: nk_decline: 1 of 2 patients are finished" in printed
    outcomes = pd.read_csv(folder / "results" / "outcomes.csv", index_col="subject")["outcome"]
    assert "interrupted" not in outcomes["A"]
    assert outcomes["C"].startswith("not fitted: interrupted")


def test_ctrl_c_before_anybody_is_finished_writes_nothing(patients, folder, monkeypatch, capsys):
    def stopped(*_arguments):
        signal.raise_signal(signal.SIGINT)
        yield {}

    table = pd.read_csv(patients)
    table[table["subject"] == "A"].to_csv(patients, index=False)
    monkeypatch.setattr("cellkinetics.fitting.each.optima_by", stopped)
    assert run("fit", patients, *DECLINE) == 130
    assert "before a patient was fitted. Nothing is written" in capsys.readouterr().out
    monkeypatch.setattr("cellkinetics.cli.fit.fit_each", lambda *_args, **_kwargs: signal.raise_signal(signal.SIGINT))
    assert run("fit", patients, *DECLINE) == 130
    assert "nothing is written" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["patients.csv"]


def test_ctrl_c_while_results_are_written_lets_them_be_written(patients, folder, monkeypatch, capsys):
    save = ck.Fits.save

    def pressed(times):
        def saved(fits, path):
            save(fits, path)
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

        return saved

    monkeypatch.setattr(ck.Fits, "save", pressed(2))
    assert run("fit", patients, *DECLINE, "--out", "results") == 130
    assert [path.name for path in folder.iterdir()] == ["patients.csv"]
    monkeypatch.setattr(ck.Fits, "save", pressed(1))
    assert run("fit", patients, *DECLINE, "--out", "results") == 130
    assert {path.name for path in (folder / "results").iterdir()} == FILES
    assert "2 of 2 patients are finished" in capsys.readouterr().out


def test_the_handler_of_ctrl_c_is_given_back(patients):
    before = signal.getsignal(signal.SIGINT)
    run("models")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_number_that_another_run_has_taken_meanwhile_is_passed_over(patients, folder, monkeypatch):
    save = ck.Fits.save

    def taken(fits, path):
        save(fits, path)
        (folder / "cellkinetics-fit-1").mkdir(exist_ok=True)
        (folder / "cellkinetics-fit-1" / "fits.json").write_text("another's")

    monkeypatch.setattr(ck.Fits, "save", taken)
    assert run("fit", patients, *DECLINE) == 0
    assert (folder / "cellkinetics-fit-1" / "fits.json").read_text() == "another's"
    assert {path.name for path in (folder / "cellkinetics-fit-2").iterdir()} == FILES


def test_a_folder_that_another_process_has_made_meanwhile_costs_nobody_their_results(
    patients, folder, monkeypatch, capsys
):
    save = ck.Fits.save

    def taken(fits, path):
        save(fits, path)
        (folder / "mine").mkdir()
        (folder / "mine" / "fits.json").write_text("another's")

    monkeypatch.setattr(ck.Fits, "save", taken)
    assert run("fit", patients, *DECLINE, "--out", "mine") == 0
    assert (folder / "mine" / "fits.json").read_text() == "another's"
    assert {path.name for path in (folder / "mine-1").iterdir()} == FILES
    assert "mine was made by another process meanwhile: these results are in mine-1." in capsys.readouterr().err


def test_a_fit_that_is_stopped_or_killed_goes_on_from_its_checkpoint(patients, folder, monkeypatch, capsys):
    table = pd.read_csv(patients)
    both = [table[table["subject"] == "A"].assign(subject=name) for name in ("A", "C")]
    pd.concat(both).to_csv(patients, index=False)
    kept = ["--checkpoint", "kept", "--chunk", 1]
    each = chunks._optima
    seen = []

    def stopped(problems, *others):
        seen.append(len(problems))
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)
        return each(problems, *others)

    monkeypatch.setattr(chunks, "_optima", stopped)
    with monkeypatch.context() as one_by_one:
        one_by_one.setattr(chunks, "side_by_side", lambda work, numbers, _: ((n, work(n)) for n in numbers))
        assert run("fit", patients, *DECLINE, *kept, "--out", "first") == 130
    outcomes = pd.read_csv(folder / "first" / "outcomes.csv", index_col="subject")["outcome"]
    assert outcomes["C"].startswith("not fitted: interrupted")
    printed = " ".join(capsys.readouterr().out.split())
    assert "What is finished is kept in kept: the same command goes on from there." in printed
    seen.clear()
    seen.extend([0, 0])
    assert run("fit", patients, *DECLINE, *kept, "--out", "second") == 0
    assert seen == [0, 0, 1]
    assert run("fit", patients, *DECLINE, "--out", "third") == 0
    for name in ("parameters.csv", "outcomes.csv"):
        assert (folder / "second" / name).read_text() == (folder / "third" / name).read_text()
    assert run("fit", patients, *DECLINE, "--seed", 7, *kept) == 2
    assert "seed is 2020 there and 7 here" in capsys.readouterr().err


def test_two_processes_are_asked_for_on_the_command_line(patients, monkeypatch):
    asked = {}
    whole = ck.fit_each

    def heard(*given, n_jobs, **more):
        asked["n_jobs"] = n_jobs
        return whole(*given, **more)

    monkeypatch.setattr("cellkinetics.cli.fit.fit_each", heard)
    assert run("fit", patients, *DECLINE, "--n-jobs", 2) == 0
    assert asked == {"n_jobs": 2}
    assert run("fit", patients, *DECLINE, "--n-jobs", -1) == 0
    assert asked == {"n_jobs": -1}
