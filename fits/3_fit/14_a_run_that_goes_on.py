"""
A run that is stopped goes on, and is shared among processes
============================================================

A study that takes hours meets a queue that ends, a laptop that is closed, or Ctrl-C. With ``checkpoint=`` what is
finished lies in a folder, and the same call goes on from there to the same numbers, bit for bit. The patients of the
example are **simulated**.
"""

# %%
# Finished work is kept
# ---------------------
# Two patients make a chunk here, so that something is on disk soon; with 512, the default, all would be one chunk.

import tempfile
from pathlib import Path

import cellkinetics as ck
from cellkinetics import models

folder = Path(tempfile.mkdtemp())
study, model = ck.example().select(["P05", "P06", "P07", "P08"]), models.load("stein_2019_tisagenlecleucel")
options = {"starts": 1, "progress": False, "chunk": 2}
fits = ck.fit_each(model, study, **options, checkpoint=folder / "fits")
print(*sorted(file.name.split("-")[0] for file in (folder / "fits").iterdir()))

# %%
# The same call again only reads
# ------------------------------
# Not a single patient is fitted anew. The table is the same to the last bit.

again = ck.fit_each(model, study, **options, checkpoint=folder / "fits")
print(again.parameters.equals(fits.parameters))

# %%
# More of the same
# ----------------
# A bootstrap of 200 is looked at first, and 200 more are added to it: those that are there are not drawn again.

fit = fits["P06"]
few = fit.bootstrap(200, checkpoint=folder / "bootstrap", progress=False)
more = fit.bootstrap(400, checkpoint=folder / "bootstrap", progress=False)
print(more.draws.head(len(few.draws)).equals(few.draws))
print(more.intervals)

# %%
# Another question at the same place is refused
# ---------------------------------------------

try:
    ck.fit_each(model, study, **options, seed=7, checkpoint=folder / "fits")
except ValueError as error:
    print(str(error).replace(str(folder), "..."))

# %%
# More than one process
# ---------------------
# ``n_jobs=2`` shares the chunks among two processes, and ``joblib.parallel_config(backend="dask")`` among the machines
# of a cluster: the same call, the same numbers. :doc:`/long_runs` has the lines for SLURM, Kubernetes and Ray.

figure = fits.plot()
