"""Ways into the library, each as its page has it, word for word, in an empty folder.

What Python shows is compared with what the page says it shows; blocks of Python and of a terminal are run.
"""

import ast
import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import cellkinetics as ck
from cellkinetics.cli import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
PARTS = re.compile(r"^\.\. code-block:: (python|bash|r)\n\n((?:   .*\n|\n)+)", re.MULTILINE)
R = shutil.which("Rscript")


def parts(page):
    """(language, text) of a page in its order; "shown" is Python with what it shows."""
    text, at, found = (DOCS / page).read_text(encoding="utf-8"), 0, []
    for block in PARTS.finditer(text):
        found += [("shown", text[at : block.start()]), (block[1], textwrap.dedent(block[2]))]
        at = block.end()
    return [*found, ("shown", text[at:])]


def follow(page, **known):
    """Run a page from its top to its end in the folder one is in; the names that it leaves."""
    names, flags = dict(known), doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    before = ""
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for number, (language, text) in enumerate(parts(page)):
        if language == "shown":
            test = doctest.DocTestParser().get_doctest(text, names, f"{page}, part {number}", page, 0)
            wrong = io.StringIO()
            assert runner.run(test, out=wrong.write, clear_globs=False).failed == 0, wrong.getvalue()
            names = test.globs
        elif language == "python":
            exec(compile(text, f"{page}, part {number}", "exec"), names)
        elif language == "r" and R:
            # What a block makes the next one knows: each run begins with the blocks before it.
            before += text
            Path("blocks.R").write_text(before, encoding="utf-8")
            subprocess.run([R, "blocks.R"], check=True, capture_output=True)
        elif language == "bash":
            for line in text.splitlines():
                if line.startswith("cellkinetics "):
                    run(shlex.split(line, comments=True)[1:])
    return names


def run(arguments):
    """A command, which may end by the status 0."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except SystemExit as ended:
            assert not ended.code, arguments


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    plt.close("all")


def test_from_a_file_to_an_answer_in_python_and_in_a_terminal(folder):
    ck.example().select(subjects=["P01", "P04", "P07"]).to_csv(folder / "patients.csv")
    follow("from_file_to_answer.rst")
    made = set(os.listdir(folder))
    assert {"dose.pdf", "fits.pdf", "parameters.csv", "derived.csv", "fits.json"} <= made
    (report,) = folder.glob("cellkinetics-fit-*/report.html")
    assert "P07" in report.read_text(encoding="utf-8")


def commands(page):
    """The command lines of a page, in its order."""
    blocks = [text for language, text in parts(page) if language == "bash"]
    return [line for text in blocks for line in text.splitlines() if line.startswith("cellkinetics ")]


def test_from_the_command_line_only_up_to_the_first_fit_and_its_report(folder):
    study = ck.example()
    page, fit = commands("command_line.rst"), "cellkinetics fit patients.csv --lloq 3"
    report = "cellkinetics report cellkinetics-fit-1/fits.json --out page.html"
    assert {fit, report} <= set(page)
    for line in page:
        without = line.split()[1] in ("check", "compare", "nca")
        if line == fit:
            # The patients of the page above, whose programs are there; cohorts are compared of all.
            study.select(subjects=["P01", "P04", "P07"]).to_csv(folder / "patients.csv")
        elif without:
            study.to_csv(folder / "patients.csv")
        if line in (fit, report) or (without and "--model" not in line):
            run(shlex.split(line)[1:])
    made = set(os.listdir(folder))
    assert {"page.html", "cellkinetics-fit-1", "cellkinetics-compare-1", "cellkinetics-compare-2"} <= made
    assert "P07" in (folder / "page.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_from_the_command_line_only_the_whole_page(folder):
    study = ck.example()
    study.to_csv(folder / "patients.csv")
    model = ck.models.load("nk_decline")
    ck.fit_population(model, study, free=["F"], method="focei", progress=False).save(folder / "population.json")
    follow("command_line.rst")
    made = set(os.listdir(folder))
    assert {"page.html", "by_response.html", "population.html", "patients.kept", "cellkinetics-profile-1"} <= made


def test_an_ode_of_ones_own(folder):
    names = follow("own_ode.rst")
    assert names["fit"].converged


def test_three_models_compared():
    names = follow("three_models.rst")
    assert len(names["each"]) == 3


def test_a_regimen_that_was_not_given():
    names = follow("another_regimen.rst")
    curve = names["again"]
    assert (curve["copies_per_ug_lower"] < curve["copies_per_ug"]).all()


def test_every_cell_of_the_notebook_page_runs_and_shows_a_card_or_a_table(folder):
    names, shown = {}, []
    for language, text in parts("in_a_notebook.rst"):
        if language == "python" and not text.startswith("%"):
            tree = ast.parse(text)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "in_a_notebook.rst", "exec"), names)
            if last is not None:
                assert isinstance(last, ast.Expr)
                shown.append(eval(compile(ast.Expression(last.value), "in_a_notebook.rst", "eval"), names))
    assert [type(each).__name__ for each in shown] == ["Study", "Fits", "Fit", "NCATable", "DataFrame"]
    assert all("<table" in each._repr_html_() for each in shown)
    assert names["fits"].parameters.equals(ck.load(folder / "fits.json").parameters)


@pytest.mark.slow
def test_a_job_on_a_cluster_goes_on_and_parts_put_together_are_the_whole(folder):
    names = follow("on_a_cluster.rst")
    (part,) = folder.glob("parameters-*.csv")
    assert part.name == "parameters-0.csv"
    whole = ck.load(folder / "fits.json").parameters
    assert set(names["parameters"]["subject"]) == {"P01", "P05", "P09"}
    for row in names["parameters"].query("status == 'free'").to_dict("records"):
        same = whole[(whole["subject"] == row["subject"]) & (whole["parameter"] == row["parameter"])].iloc[0]
        assert row["value"] == pytest.approx(same["value"], rel=1e-6)


def test_in_r_and_back(folder):
    if R is None:
        follow_python = [text for language, text in parts("in_r.rst") if language == "python"]
        exec(follow_python[0], {})
        assert {"samples.csv", "parameters.csv", "curves.csv", "nca.csv", "fits.json"} <= set(os.listdir(folder))
        pytest.skip("no Rscript: what R reads was written, and not read by R")
    names = follow("in_r.rst")
    assert names["back"].subjects == names["study"].subjects
    assert len(names["back"].doses) == 11


def test_figures_for_a_paper(folder):
    study = ck.example()
    fits = ck.fit_each(ck.models.load("il15_persistence"), study.select(subjects=["P05", "P06"]), progress=False)
    page = (DOCS / "figures.rst").read_text(encoding="utf-8")
    (first, *_) = [text for language, text in parts("figures.rst") if language == "python"]
    # Arial is not on every machine; what matters is that a name goes through.
    exec(first.replace('"Arial"', '"DejaVu Sans"'), {"ck": ck, "study": study, "fits": fits})
    assert {"curves.pdf", "parameters.svg"} <= set(os.listdir(folder))
    shown = re.findall(r"`(?:\w+\.)+(plot\w*)\(", page)
    assert {"plot_nca", "plot_waterfall", "plot_parameters", "plot_covariates", "plot_predicted"} <= set(shown)
