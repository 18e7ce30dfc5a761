"""How many programs are compiled by a first fit, the first command and each page of the gallery, and for how long.

    python tests/benchmarks/programs.py [first_fit | fit_each | command | 01_one_patient ...]

Each in a process of its own with an empty cache; pages of the gallery run as they are, without the documentation. What
XLA compiles in less than 0.1 s (a sum, a slice) is counted apart. Renews rows of programs.csv.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from table import machine

ROOT, FILE = Path(__file__).parents[2], Path(__file__).with_suffix(".csv")
LONG = 0.1  # seconds
COUNT = """
import atexit, json, sys
import matplotlib
from jax import monitoring
matplotlib.use("agg")
seen, told = [], sys.argv.pop()
monitoring.register_event_duration_secs_listener(lambda name, seconds, **_: seen.append((name, seconds)))
def tell():
    with open(told, "w") as file:
        json.dump([seconds for name, seconds in seen if name.endswith("backend_compile_duration")], file)
atexit.register(tell)
"""
MODEL = "import cellkinetics as ck; model = ck.models.load('il15_persistence'); "
CALLS = {
    "first_fit": MODEL + "ck.fit(model, ck.example().select('P01'))",
    "fit_each": MODEL + "len(ck.fit_each(model, ck.example(), progress=False).outcomes)",
    "command": "from cellkinetics.cli import main; sys.argv = ['cellkinetics', 'fit']; main()",
}


def row(what):
    """Of one process."""
    pages = {page.stem: page for page in (ROOT / "fits").rglob("*.py")}
    call = CALLS.get(what) or f"import runpy; runpy.run_path({str(pages[what])!r}, run_name='__main__')"
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "compiled.json"
        environment = {**os.environ, "CELLKINETICS_CACHE": f"{folder}/cache", "PYTHONPATH": str(ROOT)}
        code = [sys.executable, "-W", "ignore", "-c", COUNT + call, str(told)]
        subprocess.run(code, check=True, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
        took = json.loads(told.read_text())
    long = [seconds for seconds in took if seconds >= LONG]
    return {"what": what, "programs": len(long), "small": len(took) - len(long), "compiler_s": f"{sum(took):.1f}"}


if __name__ == "__main__":
    every = [*CALLS, *sorted(page.stem for page in (ROOT / "fits").rglob("*.py"))]
    for one in sys.argv[1:] or every:
        new = pd.DataFrame([row(one) | machine()])
        print(new.iloc[:, :4].to_string(index=False, header=False), flush=True)
        if FILE.exists():
            old = pd.read_csv(FILE, dtype=str, keep_default_na=False)
            new = pd.concat([old[old["what"] != one], new])
        new[new["what"].isin(every)].sort_values("what", key=lambda names: names.map(every.index)).to_csv(
            FILE, index=False
        )
