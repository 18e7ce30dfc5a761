"""Where the time of the README's first command goes, and how long five journeys take to their first result.

    python tests/benchmarks/first_command.py [--no-install]

The command: install into a new virtual environment (with what pip has downloaded before), then `cellkinetics fit` on
the example, in a process with an empty cache of programs and once more with the programs of that run. Its parts are
those of a process that makes the same calls in the same order: import, reading, fitting (and what of it the compiler
took), tables with bands, figures, report. The journeys are the pages of the guide, each in a process of its own, from
its start to the line that answers, without programs kept (cold) and with them (cached). Seconds on the wall and of the
processors, which other work on the machine changes less. Writes first_command.csv.
"""

import doctest
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import machine, shown

ROOT = Path(__file__).resolve().parents[2]
# The line of each page whose result is the answer to its question.
JOURNEYS = {
    "a file to an answer": ("from_file_to_answer.rst", "answer.summary()"),
    "an ODE of one's own": ("own_ode.rst", "fit.outcome"),
    "three models compared": ("three_models.rst", 'table.loc["all"'),
    "a regimen that was not given": ("another_regimen.rst", "for name, doses in regimens.items()"),
}
PARTS = """
import json, sys, time
marks = [("", time.perf_counter(), time.process_time())]
def mark(name):
    marks.append((name, time.perf_counter(), time.process_time()))
from cellkinetics import cli
from cellkinetics.cli import fit as _
import cellkinetics as ck
mark("import")
study, model = ck.example(), ck.models.load("il15_persistence")
mark("reading")
fits = ck.fit_each(model, study, progress=False)
mark("fitting")
fits.parameters, fits.predict(), fits.outcomes, fits.summary()
[fit.summary() for fit in fits.values()]
mark("tables")
from cellkinetics.figures import fits as fits_plot
from cellkinetics.figures.drawing import png
pictures = [png(fits_plot.plot_fits(fits, page=page)) for page in range(fits_plot.pages(fits))]
mark("figures")
from cellkinetics.reporting import report
report.page(fits, pictures)
mark("report")
seconds = {name: (at - before, cpu - cpu_before) for (_, before, cpu_before), (name, at, cpu) in zip(marks, marks[1:])}
print(json.dumps(seconds | {"of fitting, the compiler": (fits.timings.get("compiling", 0.0), None)}))
"""


def run(words, folder, **environment):
    """Seconds of a process on the wall and of the processors, and what it printed."""
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(
        words, check=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return (time.perf_counter() - began, cpu), done.stdout


def command(install):
    """(what, state, (seconds, of processors)) of the first command."""
    with tempfile.TemporaryDirectory() as folder:
        if install:
            venv = f"{folder}/venv"
            seconds = run([sys.executable, "-m", "venv", venv], folder)[0]
            yield "first command: a virtual environment", "", seconds
            asked = [f"{venv}/bin/pip", "install", "-q", str(ROOT)]
            yield "first command: pip install", "downloaded before", run(asked, folder, PYTHONPATH="")[0]
        for state in ("cold", "cached"):
            kept = {"CELLKINETICS_CACHE": f"{folder}/cache"}
            words = [sys.executable, "-m", "cellkinetics.cli", "fit", "--out", f"{folder}/{state}"]
            yield "first command: cellkinetics fit, whole", state, run(words, folder, **kept)[0]
        for state in ("cold", "cached"):
            told = run([sys.executable, "-c", PARTS], folder, CELLKINETICS_CACHE=f"{folder}/cache of parts")[1]
            for name, seconds in json.loads(told.splitlines()[-1]).items():
                yield f"first command: {name}", state, seconds


def journey(page, line):
    """Follow the Python of a page up to the line that answers."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    names = {}
    for example in doctest.DocTestParser().get_examples(text):
        exec(compile(example.source, page, "single"), names)
        if line in example.source:
            return
    raise SystemExit(f"{page} has no line with {line!r}")


def journeys():
    """(what, state, (seconds, of processors)) of each page, and of the terminal."""
    for name, (page, _) in JOURNEYS.items():
        with tempfile.TemporaryDirectory() as folder:
            for state in ("cold", "cached"):
                words = [sys.executable, str(Path(__file__).resolve()), "--journey", page]
                yield f"journey: {name}", state, run(words, folder, CELLKINETICS_CACHE=f"{folder}/cache")[0]
    with tempfile.TemporaryDirectory() as folder:
        for state in ("cold", "cached"):
            words = [sys.executable, "-m", "cellkinetics.cli", "compare", "--by", "dose", "--out", f"{folder}/{state}"]
            seconds = run(words, folder, CELLKINETICS_CACHE=f"{folder}/cache")[0]
            yield "journey: from the command line (compare)", state, seconds


if __name__ == "__main__":
    if "--journey" in sys.argv:
        import matplotlib

        matplotlib.use("Agg")
        journey(sys.argv[-1], dict(JOURNEYS.values())[sys.argv[-1]])
        raise SystemExit
    found = [*command("--no-install" not in sys.argv), *journeys()]
    shown(__file__, [{"what": what, "programs": state, "seconds": wall, "processor_s": cpu} | machine()
                     for what, state, (wall, cpu) in found])  # fmt: skip
