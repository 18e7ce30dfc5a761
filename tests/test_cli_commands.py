"""The commands beside fit and check: compare, nca, simulate, profile, report."""

import inspect
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import cli
from cellkinetics.cli import compare, nca, profile, simulate
from cellkinetics.cli.app import BAD, DONE, NONE_FITTED, STOPPED, app
from cellkinetics.cli.asked import Acting, command
from cellkinetics.cohorts import answer
from cellkinetics.fitting.fits import Fits

EXAMPLE = ck.example()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A file of three patients of the example, and the study in it."""
    path = tmp_path_factory.mktemp("few") / "few.csv"
    EXAMPLE.select(subjects=["P06", "P07", "P08"]).to_csv(path)
    return path, ck.read_study(path)


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return stopped.value.code


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


def test_compare_prints_and_writes_what_compare_cohorts_finds(folder, capsys):
    asked = ["--by", "response", "--days", 28, 90, "--windows", "0-28", "28:180", "days_above_lloq", "--tolerance", 5]
    assert run("compare", *asked) == 0
    out = folder / "cellkinetics-compare-1"
    assert names(out) == {"summary.txt", "comparison.csv", "values.csv", "comparison.png", "comparison.json"}
    windows = [(0.0, 28.0), (28.0, 180.0), "days_above_lloq"]
    found = ck.compare_cohorts(EXAMPLE, "response", days=[28, 90], windows=windows, tolerance=5)
    printed = capsys.readouterr().out
    assert found.summary().rstrip() in printed
    assert (out / "summary.txt").read_text(encoding="utf-8").rstrip() == found.summary().rstrip()
    written = pd.read_csv(out / "comparison.csv")
    assert np.allclose(written["p"], found.table["p"], equal_nan=True)
    assert ck.load(out / "comparison.json").table.equals(found.table)
    values = pd.read_csv(out / "values.csv")
    assert len(values) == len(found.results) * 11
    peak = values[values["kind"] == "peak"].set_index("subject")
    assert peak.loc["P01", "lower"] == found.results[0].window.values.loc["P01", "lower"]
    assert set(peak["group"]) == set(found.names)


def test_compare_takes_several_models_an_error_and_a_prior(folder, few, capsys):
    asked = [
        "--by",
        "dose",
        "--parameters",
        "alpha",
        "--permutations",
        2,
        "--error",
        "student",
        "--prior",
        "alpha=0.2,1",
    ]
    two = ["--model", "nk_decline", "--model", "stein_2019_tisagenlecleucel"]
    assert run("compare", few[0], *asked, *two, "--out", "o") == 0
    said = capsys.readouterr().out
    top = {"summary.txt", "comparison.csv", "values.csv", "comparison.png", "comparison.json"}
    assert names("o") == top | {"nk_decline", "stein_2019_tisagenlecleucel"}
    prior = {"alpha": ck.LogNormal(0.2, 1)}
    for name in two[1::2]:
        found = ck.compare_cohorts(
            few[1], "dose", model=ck.models.load(name), parameters=["alpha"], permutations=2, error="student",
            prior=prior, progress=False,
        ).model_based  # fmt: skip
        assert found.summary() in said and "error student; prior of alpha" in " ".join(found.summary().split())
        written = ck.load(f"o/{name}/comparison.json").model_based
        pd.testing.assert_frame_equal(written.table, found.table)
        assert {"summary.txt", "parameters.csv", "comparison.json"} <= names(f"o/{name}")
    assert run("compare", few[0], "--by", "dose", "--out", "o", "--force") == 0
    assert names("o") == top  # models of the run before are gone
    assert run("compare", few[0], "--by", "dose", *two[:2], *two[:2]) == BAD
    assert "nk_decline is there twice" in capsys.readouterr().err


def test_compare_takes_tables_with_the_options_of_reading(folder, few, capsys):
    pd.read_csv(few[0], comment="#").rename(columns={"day": "drawn"}).to_csv("table.csv", index=False)
    assert run("compare", "table.csv", "--by", "dose") == 2
    assert "day" in capsys.readouterr().err
    assert run("compare", "table.csv", "--by", "dose", "--day", "drawn", "--out", "results") == 0
    assert (folder / "results" / "comparison.png").stat().st_size > 10_000


def test_a_comparison_by_a_model_that_ctrl_c_ends_early_says_how_far_it_came(folder, few, monkeypatch, capsys):
    def stopped(*_arguments):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("cellkinetics.joint.comparison.Test.refit", stopped)
    asked = ["--by", "dose", "--model", "nk_decline", "--parameters", "F", "--permutations", 20]
    assert run("compare", few[0], *asked, "--out", "results") == 130
    said = " ".join(capsys.readouterr().out.split())
    assert "Stopped by Ctrl-C: the windows are all done" in said
    assert "parameters.csv" in names("results")


def test_nca_is_written_as_the_function_gives_it_and_summed_up_by_group(folder, capsys):
    assert run("nca", "--by", "response", "--window", 0, 14) == 0
    out = folder / "cellkinetics-nca-1"
    table = ck.nca(EXAMPLE, window=(0, 14))
    assert names(out) == {"nca.csv", "nca_summary.csv", "nca.png"}
    written = pd.read_csv(out / "nca.csv")
    assert list(written.columns) == [*table.columns, "response"]
    assert np.allclose(written["auc_0_14"], table["auc_0_14"], equal_nan=True)
    summary = pd.read_csv(out / "nca_summary.csv")
    assert set(summary["group"]) == {"responder", "non-responder"}
    printed = capsys.readouterr().out
    # P03 is quantified to the end, day 268.6: it falls below the limit after that.
    assert "> 268.6" in printed and "577,000" in printed
    heading = next(line for line in printed.splitlines() if "subject" in line)
    assert "response" in heading and "cohort" not in heading
    row = next(line for line in printed.splitlines() if "P03" in line)
    assert EXAMPLE.covariates.loc["P03", "response"] in row


def test_simulate_writes_the_curve_of_the_doses_and_values(folder, capsys):
    code = run(
        "simulate", "nk_decline", "--dose", "0=1e6", "7=2e6", "--set", "beta=0.05", "--days", 1, 7, 14, "--out", "s",
    )  # fmt: skip
    assert code == 0
    model = ck.models.load("nk_decline")
    expected = ck.simulate(model, {"beta": 0.05}, [1, 7, 14], doses=[(0, 1e6), (7, 2e6)])
    assert names("s") == {"simulation.csv", "simulation.png"}
    assert np.allclose(pd.read_csv("s/simulation.csv"), expected)
    assert "copies/ug" in capsys.readouterr().out
    assert run("simulate", "nk_decline", "--dose", 1e6) == 0
    assert pd.read_csv("cellkinetics-simulate-1/simulation.csv")["day"].tolist() == list(range(366))


@pytest.mark.parametrize(
    ("asked", "dose"),
    [
        (["--dose", 1, "--dose-unit", "1e6 cells/kg"], 1e6),
        (["--dose", 7e7, "--dose-unit", "cells", "--weight", 70], 1e6),
        (["--dose", "0=70", "7=35", "--dose-unit", "1e6 cells", "--weight", 70], [(0, 1e6), (7, 5e5)]),
    ],
)
def test_simulate_takes_doses_in_other_units(folder, asked, dose):
    assert run("simulate", "nk_decline", *asked, "--days", 7, 14, "--out", "s") == 0
    expected = ck.simulate(ck.models.load("nk_decline"), {}, [7, 14], doses=dose)
    assert np.allclose(pd.read_csv("s/simulation.csv"), expected, rtol=1e-12)


def test_comedication_reaches_a_model_and_its_administrations_are_doses(folder, capsys):
    acting = ["--comedication", "tocilizumab=rho", "steroids=rho,alpha", "--lasts", "steroids=2"]
    doses = ["--dose", "1e6", "tocilizumab:5=1", "steroids:7=1"]
    values = ["--set", "tocilizumab_on_rho=1.2", "steroids_on_alpha=1.5"]
    code = run("simulate", "effector_memory", *acting, *doses, *values, "--days", 5, 9, 28, "--out", "s")
    assert code == 0
    given = {"tocilizumab": ["rho"], "steroids": ["rho", "alpha"]}
    model = ck.models.load("effector_memory").with_(comedication=given, lasts={"steroids": 2})
    expected = ck.simulate(
        model, {"tocilizumab_on_rho": 1.2, "steroids_on_alpha": 1.5}, [5, 9, 28],
        doses={"cells": 1e6, "tocilizumab": [(5, 1)], "steroids": [(7, 1)]},
    )  # fmt: skip
    assert np.allclose(pd.read_csv("s/simulation.csv"), expected)
    assert Acting(["tocilizumab=rho", "steroids=rho,alpha"], ["steroids=2"]).on(
        ck.models.load("effector_memory")
    ).changes == {"comedication": given, "lasts": {"steroids": 2.0}}
    capsys.readouterr()
    for asked, text in (
        (["compare", "--comedication", "tocilizumab=rho"], "act on a model. Give --model"),
        (["fit", "--comedication", "tocilizumab="], "write name=value, such as tocilizumab=rho"),
        (["fit", "--comedication", "tocilizumb"], "no ready effect of 'tocilizumb'"),
        (["fit", "--comedication", "tocilizumab", "tocilizumab=rho"], "tocilizumab is given twice"),
        (["fit", "--comedication", "tocilizumab=,"], "comedication 'tocilizumab' has no rate"),
        (["fit", "--lasts", "steroids=1"], "Give comedication={'steroids': rate} with it"),
        (
            ["fit", "--model", "nk_decline", "--comedication", "tocilizumab"],
            "expansion, which nk_decline does not have",
        ),
        (
            ["simulate", "stein_2019_tisagenlecleucel", "--comedication", "tocilizumab", "--dose", "1e6"],
            "takes no dose but tocilizumab. Leave it out, or name it: tocilizumab:5=1",
        ),
    ):
        assert run(*asked) == BAD
        assert text in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("words", [["tocilizumab", "N-803"], ["tocilizumab,N-803"]])
def test_a_name_alone_is_the_ready_effect(words):
    model = ck.models.load("il15_persistence")
    acting = Acting([*words, "steroids=rho"]).on(model)
    assert acting.changes == {"comedication": {"tocilizumab": None, "N-803": None, "steroids": ["rho"]}}
    assert list(acting.comedication) == ["tocilizumab_on_rho", "N_803_on_mu0", "steroids_on_rho"]
    assert acting.parameters["tocilizumab_on_rho"].value == 1.2


def test_simulate_with_a_ready_effect_is_the_model_with_it(folder):
    asked = ["--comedication", "tocilizumab", "--dose", "1e6", "tocilizumab:5=1", "--days", 9, 28]
    assert run("simulate", "effector_memory", *asked, "--out", "s") == 0
    model = ck.models.load("effector_memory").with_(comedication="tocilizumab")
    expected = ck.simulate(model, {}, [9, 28], doses={"cells": 1e6, "tocilizumab": [(5, 1)]})
    assert np.allclose(pd.read_csv("s/simulation.csv"), expected)
    assert not np.allclose(expected, ck.simulate(ck.models.load("effector_memory"), {}, [9, 28], doses=1e6))


def test_comedication_reaches_a_fit_and_stands_in_its_command(folder, few, monkeypatch, capsys):
    seen = []

    def caught(model, *_others, **_asked):
        seen.append(model)
        raise ValueError("seen")

    monkeypatch.setattr("cellkinetics.cli.fit.fit_each", caught)
    monkeypatch.setattr("cellkinetics.cli.profile.fit_each", caught)
    for verb in ("fit", "profile"):
        asked = ["--model", "effector_memory", "--comedication", "tocilizumab=rho"]
        assert run(verb, few[0], *asked, "--out", "f") == BAD
    assert [list(model.comedication) for model in seen] == [["tocilizumab_on_rho"]] * 2
    assert command("fit", None, Acting(["tocilizumab=rho"])) == "cellkinetics fit --comedication tocilizumab=rho"


def test_simulate_in_another_unit_wants_the_level_in_it_and_names_its_column(folder, capsys):
    asked = ["simulate", "stein_2019_tisagenlecleucel", "--unit", "cells/uL", "--days", 7, 14, "--out", "s"]
    assert run(*asked) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "gives copies/ug; c_max is" in said
    assert "Give its level in cells/uL: --set c_max=..." in said
    assert run(*asked, "--set", "c_max=40") == 0
    expected = ck.simulate(ck.models.load("stein_2019_tisagenlecleucel"), {"c_max": 40.0}, [7, 14])
    written = pd.read_csv("s/simulation.csv")
    assert list(written) == ["day", "cells_per_ul"]
    assert np.allclose(written["cells_per_ul"], expected["copies_per_ug"])
    assert "cells_per_ul (cells/uL)" in capsys.readouterr().out


def test_fit_and_report_tell_groups_by_any_covariate(folder, capsys):
    EXAMPLE.to_csv("all.csv")
    asked = ["fit", "all.csv", "--model", "nk_decline", "--starts", 1, "--out", "f"]
    assert run(*asked, "--by", "respons") == 2
    assert "there is no covariate 'respons'. Did you mean response" in " ".join(capsys.readouterr().err.split())
    assert not Path("f").exists()
    assert run(*asked, "--by", "response") == 0
    assert run("report", "f/fits.json", "--by", "response", "--out", "again.html") == 0
    pages = [Path(name).read_text(encoding="utf-8") for name in ("f/report.html", "again.html")]
    answers = [re.findall(r"<h2>(?:Does|Compared).*</h2>\n<p><strong>(.*?)</strong></p>", page)[0] for page in pages]
    found = ck.compare_cohorts(EXAMPLE, by="response")
    assert answers == [f"{(said := answer.of(found))[0].upper()}{said[1:]}."] * 2
    assert "<h2>Compared by response</h2>" in pages[0]
    assert "cellkinetics fit all.csv --model nk_decline --by response --starts 1" in pages[0]
    assert "cellkinetics report f/fits.json --by response" in pages[1]
    assert '<th scope="col">response</th>' in pages[0]


def test_doses_of_other_channels_are_named():
    model = ck.models.load("il15_persistence")
    assert simulate.events(model, ["1e6", "14=2e6", "rimiducid:30=0.4"]) == {
        "cells": [(0.0, 1e6), (14.0, 2e6)],
        "rimiducid": [(30.0, 0.4)],
    }
    assert simulate.events(ck.models.load("stein_2019_tisagenlecleucel"), None) is None


def test_profile_writes_intervals_points_and_a_figure_of_each_patient(folder, few, capsys):
    asked = ["--model", "nk_decline", "--subject", "P06", "P08", "--parameters", "F", "--seed", 3, "--by", "response"]
    assert run("profile", few[0], *asked) == 0
    out = folder / "cellkinetics-profile-1"
    pictures = {"profile-1.png", "profile-2.png", "intervals_F.png"}
    assert names(out) == {"intervals.csv", "profiles.csv", "profiles.json", *pictures}
    both = few[1].select(subjects=["P06", "P08"])
    fits = ck.fit_each(ck.models.load("nk_decline"), both, seed=3, progress=False)
    written = pd.read_csv(out / "intervals.csv").set_index("subject")
    for subject, fit in fits.items():
        expected = fit.profile(["F"]).intervals.loc["F"]
        assert written.loc[subject, "shape"] == expected["shape"]
        for end in ("value", "lower", "upper"):
            assert written.loc[subject, end] == pytest.approx(expected[end], rel=1e-9, nan_ok=True)
    assert "95% profile intervals" in capsys.readouterr().out


def test_profile_of_several_models_has_a_folder_of_each_with_what_it_estimates(folder, few, capsys):
    two = ["--model", "nk_decline", "--model", "stein_2019_tisagenlecleucel"]
    asked = ["profile", few[0], *two, "--subject", "P06", "--starts", 2]
    assert run(*asked, "--parameters", "F", "alpha", "--out", "two") == 0
    models = ("nk_decline", "stein_2019_tisagenlecleucel")
    assert names(folder / "two") == set(models)
    tables = [pd.read_csv(folder / "two" / model / "intervals.csv") for model in models]
    assert [set(table["parameter"]) for table in tables] == [{"F", "alpha"}, {"alpha"}]
    fit = ck.fit(ck.models.load(models[1]), few[1].select(subjects="P06"), starts=2)
    expected = fit.profile("alpha").intervals.loc["alpha"]
    assert tables[1]["lower"][0] == pytest.approx(expected["lower"], rel=1e-9, nan_ok=True)
    said = capsys.readouterr().out
    assert all(f"{model}: 95% profile intervals" in said for model in models)
    assert run(*asked, "--parameters", "F", "--out", "two", "--force") == 0
    assert names(folder / "two") == {"nk_decline"}
    assert "stein_2019_tisagenlecleucel has no free F." in capsys.readouterr().out
    assert run(*asked, "--parameters", "alhpa") == 2
    assert "--parameters alhpa: no model has it. Did you mean alpha" in " ".join(capsys.readouterr().err.split())


def test_profiles_that_are_finished_outlast_ctrl_c(folder, few, monkeypatch, capsys):
    whole, done = Fits.profile, []

    def stopped(fits, *arguments, **options):
        if done:
            signal.raise_signal(signal.SIGINT)
        done.append(fits)
        return whole(fits, *arguments, **options)

    monkeypatch.setattr(Fits, "profile", stopped)
    asked = ["--model", "nk_decline", "--parameters", "F", "--subject", "P06", "P08"]
    assert run("profile", few[0], *asked, "--out", "results") == 130
    assert "the profiles of 1 of 2 patients are finished" in capsys.readouterr().out
    assert set(pd.read_csv("results/intervals.csv")["subject"]) == {"P06"}


def test_report_makes_the_page_of_saved_fits_without_fitting(folder, few, monkeypatch, capsys):
    fits = ck.fit_each(ck.models.load("nk_decline"), few[1], progress=False)
    fits.save("mine.json")
    fits["P06"].save("one.json")
    ck.save(ck.nca(EXAMPLE), "table.json")
    monkeypatch.setattr("cellkinetics.fitting.each.fit_each", lambda *_args, **_kwargs: pytest.fail("fitted"))
    assert run("report", "mine.json") == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "nk_decline fitted to 3 patients<" in page
    assert "cellkinetics report mine.json" in page
    assert run("report", "one.json") == 2
    assert "exists already: add --force" in capsys.readouterr().err
    assert run("report", "one.json", "--force") == 0
    assert "nk_decline fitted to 1 patient<" in Path("report.html").read_text(encoding="utf-8")
    assert run("report", "table.json", "--out", "other.html") == 2
    assert "holds a DataFrame: a report is made of fits" in capsys.readouterr().err
    assert run("report", "nobody.json", "--out", "other.html") == 2
    assert not Path("other.html").exists()


@pytest.mark.parametrize(
    ("command", "function", "others"),
    [
        (compare.compare, ck.compare_cohorts, {"of", "progress", "checkpoint", "n_jobs", "population"}),
        (nca.nca, ck.nca, {"study"}),
        (profile.profile, Fits.profile, {"self", "progress", "checkpoint", "n_jobs"}),
    ],
)
def test_commands_take_what_the_functions_take_with_their_defaults(command, function, others):
    shown = inspect.signature(command).parameters
    for name, argument in inspect.signature(function).parameters.items():
        if name not in others:
            assert shown[name].default == argument.default, name


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compare", "--by", "respons"], "Did you mean response"),
        (["compare", "--windows", "28-x"], "no quantity '28-x'"),
        (["compare", "--days", "early"], "early"),
        (["nca", "--by", "respons"], "Did you mean response"),
        (["nca", "--window", "5", "2"], "two days that rise"),
        (["simulate", "nk_declin"], "Did you mean nk_decline"),
        (["simulate", "nk_decline"], "needs a dose: --dose 1e6"),
        (["simulate", "nk_decline", "--dose", "day=1e6"], "'day' is not a number"),
        (["simulate", "nk_decline", "--dose", "drug:1=1e6"], "no dosing channel 'drug'"),
        (["simulate", "nk_decline", "--dose", "1e6", "--set", "beat=1"], "Did you mean beta"),
        (["simulate", "stein_2019_tisagenlecleucel", "--dose", "1e6"], "takes no dose"),
        (["simulate", "nk_decline", "--dose", "1e6", "--dose-unit", "cells"], "Give the patient's weight: --weight 70"),
        (["simulate", "nk_decline", "--dose", "1", "--dose-unit", "mg"], "give cells/kg, cells, or a multiple such as"),
        (["simulate", "nk_decline", "--dose", "1", "--weight", "70"], "give --dose-unit cells with it"),
        (["compare", "--prior", "published"], "is of a model's parameters. Give --model"),
        (["compare", "--error", "student"], "error='student' is of a model: give model="),
        (["profile", "--by", "respons"], "Did you mean response"),
        (["profile", "--subject", "P99"], "no subject 'P99'"),
        (["report", "gone.json"], "gone.json"),
    ],
)
def test_bad_input_ends_with_a_message_and_exit_code_2(folder, capsys, arguments, text):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert text in " ".join((captured.err + captured.out).split())
    assert list(folder.iterdir()) == []


PAGE = (Path(__file__).parents[1] / "docs" / "command_line.rst").read_text(encoding="utf-8")
LINES = [line.strip() for line in PAGE.splitlines() if line.startswith("   cellkinetics ")]


@pytest.mark.parametrize("line", LINES)
def test_the_page_of_the_command_line_shows_commands_that_are_understood(line):
    command, _, _ = app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)
    assert command.__name__ == line.split()[1]


def test_every_command_and_exit_code_is_on_its_page():
    for name in app:
        assert name.startswith("-") or f"cellkinetics {name}" in PAGE
    for code in (DONE, NONE_FITTED, BAD, STOPPED):
        assert f"   * - {code}\n" in PAGE


H = "subject,day,copies_per_ug,dose"
WARNED = {
    "logarithms above the header": (
        f"values are log10 copies/ug\n{H}\nA,7,5,1e6\nA,14,3.2,1e6\n",
        "speaks of logarithms",
    ),
    "another unit above the header": (f"all in copies/mL\n{H}\nA,7,5,1e6\nA,14,32,1e6\n", "speaks of another unit"),
    "a day that is a code": (f"{H}\nA,7,5000,1e6\nA,14,800,1e6\nA,28,5,1e6\nA,999,5,1e6\n", "samples is 999"),
    "a visit": (f"{H},visit\nA,7,5000,1e6,Day 7\nA,60,800,1e6,Day 14\n", "visit says Day 14"),
    "below the limit on day 0": ("subject,day,copies_per_ug\nA,0,<3\nA,7,5000\n", "taken as drawn before the infusion"),
    "letters that are no UTF-8": (f"{H}\nM\xfcller,7,5000,1e6\n", "read as Windows-1252"),
}


@pytest.mark.parametrize(("text", "said"), WARNED.values(), ids=WARNED)
def test_check_prints_what_reading_warns_of(folder, capsys, text, said):
    (folder / "table.csv").write_text(text, encoding="cp1252")
    with pytest.warns(UserWarning, match=said):
        ck.read_study(folder / "table.csv", lloq=3)
    assert run("check", "table.csv", "--lloq", 3) == DONE
    printed = capsys.readouterr().out
    assert printed.count(said) == 1 and "look at" in printed


def test_check_prints_a_likely_limit_once_and_its_option_in_the_words_of_the_command_line(folder, capsys):
    rows = "".join(
        f"A,{day},{value},1e6\n" for day, value in zip(range(7, 56, 7), [700, 90, 30, 5, 5, 5, 5], strict=True)
    )
    (folder / "table.csv").write_text(f"{H}\n{rows}")
    assert run("check", "table.csv") == DONE
    printed = capsys.readouterr().out
    assert "give --floor 5, with --lloq where" in printed
    assert "floor=" not in printed and printed.count("the lowest") == 1
    assert run("check", "table.csv", "--floor", 5) == DONE
    assert "look at" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["fit", "profile"])
def test_a_limit_that_is_missing_is_asked_for_once_and_as_an_option(command, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("subject,day,copies_per_ug\nA,7,5000\nA,14,<30\nA,28,BLQ\nA,60,BLQ\nB,7,300\nB,14,BLQ\n")
    assert run(command, table, "--model", "nk_decline") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "read_study" not in said and said.count("--lloq 30.") == 1
    assert "table.csv, rows 3, 4, 5, 7: copies_per_ug is '<30' and no limit is known" in said
