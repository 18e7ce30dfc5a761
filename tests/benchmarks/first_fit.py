"""Seconds from the start of a process to its first fit, import included, without and with compiled programs kept.

    python tests/benchmarks/first_fit.py [il15_persistence | stein_2019_tisagenlecleucel ...]

Each time a process of its own fits the example's first patient with the defaults (four starts) and ends. Cold: the
cache is an empty folder. Cached: the folder of a cold run. Median of 3 each. `each` is `fit_each` of the eleven
patients. The package's bytecode lies where pip has put it; until 2026-11-29 the package was compiled in each process
(0.5 s) where an editable install did not keep it. Writes first_fit.csv.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import machine, renew

RUNS = 3
ONE = "ck.fit(model, ck.example().select('P01'))"
EACH = "ck.fit_each(model, ck.example(), progress=False)"
MODELS = ("il15_persistence", "stein_2019_tisagenlecleucel")


def seconds(name, call, cache):
    """Of a whole process."""
    code = f"import cellkinetics as ck; model = ck.models.load({name!r}); {call}"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env={**environment, "CELLKINETICS_CACHE": cache})
    return time.perf_counter() - began


def row(name):
    """Medians of whole processes."""
    found = {"model": name}
    for label, call in (("one", ONE), ("each", EACH)):
        cold, cached = [], []
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as folder:
                cold.append(seconds(name, call, folder))
                cached.append(seconds(name, call, folder))
        found |= {f"{label}_cold_s": statistics.median(cold), f"{label}_cached_s": statistics.median(cached)}
    imported = [seconds(name, "None", "off") for _ in range(RUNS)]
    return found | {"import_s": statistics.median(imported)}


if __name__ == "__main__":
    for one in sys.argv[1:] or MODELS:
        renewed = row(one) | machine()
        renew(Path(__file__).with_suffix(".csv"), renewed)
        print("\n".join(f"{key}: {value}" for key, value in renewed.items()), flush=True)
