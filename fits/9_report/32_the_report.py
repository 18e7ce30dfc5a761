"""
The report of a study
=====================

A page to open in any browser and to send: outcomes, estimates, the comparison of the cohorts, non-compartmental values
and the curves. It needs no network, runs no script and can be printed. The patients are **simulated**: the example that
comes with the library.
"""

# %%
# From Python
# -----------
# Fits are saved in one file, and the report is made from it, without fitting again.

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cellkinetics as ck
from cellkinetics import models

folder = Path(tempfile.mkdtemp())
study = ck.example()
fits = ck.fit_each(models.load("il15_persistence"), study, progress=False)
fits.save(folder / "fits.json")

# %%
# From the command line
# ---------------------
# ``cellkinetics report fits.json`` writes ``report.html``; the colours and the comparison are by cohort, or ``--by``
# any covariate. ``cellkinetics fit patients.csv`` writes the same page beside the fits.

command = [sys.executable, "-m", "cellkinetics.cli", "report", "fits.json", "--by", "response"]
done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
print(done.stdout)

# %%
# What stands in it
# -----------------

page = (folder / "report.html").read_text(encoding="utf-8")
for heading in re.findall(r"<h2[^>]*>(.*?)</h2>", page):
    print(heading)
print(f"{len(page) / 1e6:.1f} MB, with its pictures")

# %%
# The picture that it opens with, by response:

figure = fits.plot(by="response")
