"""Time and memory of `read_study` on large files, made here from the curve of a simulated patient and random errors.

    python tests/benchmarks/large_file.py

Each file is read in a process of its own. Seconds are those of the processor. The peak memory is that of the process
(resident set); an import of the library without reading anything takes the part said in the first line. Writes
large_file.csv. The files go into a temporary folder and are removed.
"""

import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

import cellkinetics

SEED = 2020
# Subjects, samples of each, whether every row also holds what a laboratory adds to it.
FILES = {"nothing": (0, 0, False), "15 samples each": (50_000, 15, False), "200 MB": (50_000, 56, True)}
HEADER = "subject,day,copies_per_ug,lloq,dose,cohort"
MORE = ",sample_id,operator,dna_ng,comment"
READ = """
import resource, sys, time
import cellkinetics as ck
start = time.process_time()
rows = len(ck.read_study(sys.argv[1]).observations) if len(sys.argv) > 1 else 0
print(rows, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write(path, subjects, samples, more):
    """Write a file, 1,000 subjects at a time."""
    rng = np.random.default_rng(SEED)
    days = np.linspace(1, 365, samples)
    curve = 5e3 * np.exp(-np.abs(days - 9) / 6) + 100 * np.exp(-days / 150)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"# simulated with seed {SEED}\n{HEADER}{MORE if more else ''}\n")
        for first in range(0, subjects, 1000):
            value = curve * np.exp(rng.normal(0, 1, (1000, samples)))
            actual = days + rng.normal(0, 0.1, (1000, samples))
            for place in range(1000):
                name = f"P{first + place:05d}"
                end = f",3,{10 ** (5 + place % 3):.0e},{'ABC'[place % 3]}"
                for at in range(samples):
                    copies = f"{value[place, at]:.6g}" if value[place, at] >= 3 else "<3"
                    line = f"{name},{actual[place, at]:.3f},{copies}{end}"
                    file.write(
                        f"{line},{name}-{at:03d},jk,{200 + at},first run of the plate\n" if more else f"{line}\n"
                    )


def measured(name, subjects, samples, more):
    """One row of the table: the file, and what reading it took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        if subjects:
            write(path, subjects, samples, more)
        command = [sys.executable, "-c", READ, *([str(path)] if subjects else [])]
        rows, seconds, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        size = path.stat().st_size / 1e6 if subjects else 0.0
    row = {"file": name, "MB": round(size), "subjects": subjects, "rows": int(rows)}
    return row | {"cpu_seconds": round(float(seconds), 1), "peak_MiB": round(float(peak))}


def main():
    """Measure every file and write the table."""
    table = pd.DataFrame([measured(name, *file) for name, file in FILES.items()])
    target = Path(__file__).with_suffix(".csv")
    said = f"# {date.today()}, cellkinetics {cellkinetics.__version__}, Python {platform.python_version()}, "
    said += f"pandas {pd.__version__}, {platform.machine()}\n"
    target.write_text(said + table.to_csv(index=False), encoding="utf-8")
    print(target.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
