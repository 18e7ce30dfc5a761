"""Runs killed at ten random moments each, and gone on with to the end: is the result the same, bit for bit?

    python tests/benchmarks/killed.py [verb ...]

Each verb is run once without being disturbed. Then ten times: a new folder, a process that is killed (SIGKILL) at a
moment drawn evenly from the time between its first finished chunk and the end of the undisturbed run, and a second
process that goes on to the end. The seed of the moments was fixed before. On a busy machine a run may be done before
its moment: another one is drawn then. `the same` counts results that are equal to the undisturbed one in every bit of
every table; `kept`, the chunks on disk when it was killed; `lost_s`, the time from the last writing to the kill.
Writes killed.csv.

    python tests/benchmarks/killed.py VERB CHECKPOINT RESULT

does one verb with a checkpoint and writes its tables: what the processes above do.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import cellkinetics as ck
from cellkinetics import codec, models

SEED, TIMES = 2020, 10
STEIN, IL15, DECLINE = "stein_2019_tisagenlecleucel", "il15_persistence", "nk_decline"
FREE = {"fold": 0.8, "t_max": 0.2, "c_max": 0.65, "alpha": 0.4, "f_b": 0.5, "beta": 0.5}


def many(patients=600):
    """Simulated patients of Stein 2019."""
    from patients import drawn

    days = [1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0]
    table, _ = drawn(models.load(STEIN), FREE, patients, pd.array(days).to_numpy(float), seed=SEED, digits=4)
    return ck.read_study(table.drop(columns="curve"), lloq=100.0)


def fit_each(checkpoint):
    fits = ck.fit_each(models.load(STEIN), many(), starts=1, progress=False, checkpoint=checkpoint, chunk=60)
    return [fits.parameters, fits.outcomes]


def bootstrap(checkpoint):
    fit = ck.fit(models.load(DECLINE), ck.example().select("P06"), starts=1)
    found = fit.bootstrap(6 * 512, checkpoint=checkpoint)
    return [found.draws, found.intervals]


def profile(checkpoint):
    fits = ck.fit_each(models.load(DECLINE), ck.example(), starts=1, progress=False)
    found = fits.profile(checkpoint=checkpoint)
    return [found.intervals, found.table]


def power(checkpoint):
    found = ck.power(
        models.load(IL15), [1e5, 1e6, 1e7], [3, 4, 4], [1, 3, 7, 10, 14, 21, 28, 60, 180, 365],
        between={"F": 0.5, "rho": 0.06}, lloq=3, studies=500, progress=False, checkpoint=checkpoint,
    )  # fmt: skip
    return [found.table, found.needed, found.truth]


def compare_cohorts(checkpoint):
    found = ck.compare_cohorts(
        ck.example(), by="dose", model=models.load(DECLINE), parameters=["alpha"], permutations=699, progress=False,
        checkpoint=checkpoint,
    )  # fmt: skip
    return [found.model_based.table]


VERBS = {verb.__name__: verb for verb in (fit_each, bootstrap, profile, power, compare_cohorts)}


def one(verb, checkpoint, result):
    tables = codec.Writer().plain(VERBS[verb](checkpoint))
    Path(result).write_text(json.dumps(tables), encoding="utf-8")


def started(verb, folder):
    return subprocess.Popen([sys.executable, __file__, verb, folder / "kept", folder / "result.json"])


def newest(kept):
    """When a chunk was last put on disk, None before the first."""
    return max((file.stat().st_mtime for file in kept.glob("[!c.]*.json")), default=None)


def watched(verb, folder):
    """Seconds of the whole process, and until its first chunk was on disk."""
    began, process, first = time.time(), started(verb, folder), None
    while process.poll() is None:
        if first is None and (folder / "kept").is_dir() and newest(folder / "kept"):
            first = time.time() - began
        time.sleep(0.02)
    assert process.returncode == 0
    return time.time() - began, first


def killed(verb, after, folder):
    """Kill a run so many seconds after its first chunk; how many chunks are kept, and seconds since the last one.

    None where it was done before.
    """
    process, kept, first = started(verb, folder), folder / "kept", None
    while process.poll() is None and (first is None or time.time() < first + after):
        if first is None and kept.is_dir() and newest(kept):
            first = time.time()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.returncode != -signal.SIGKILL:
        return None
    lost = time.time() - newest(kept)
    there = sum(len(json.loads(file.read_text().split("\n")[0])["chunks"]) for file in kept.glob("[!c.]*.json"))
    return there, lost


def made(folder):
    folder.mkdir()
    return folder


def row(verb):
    moments, found = random.Random(f"{SEED} {verb}"), []
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        watched(verb, made(Path(place) / "first"))  # compiles
        seconds, first = watched(verb, made(whole))
        right = (whole / "result.json").read_text()
        assert right == (Path(place) / "first" / "result.json").read_text()
        while len(found) < TIMES:
            folder = made(Path(tempfile.mkdtemp(dir=place)) / "one")
            stopped = killed(verb, moments.uniform(0, 0.9) * (seconds - first), folder)
            if stopped is None:
                continue
            kept, lost = stopped
            began = time.time()
            process = started(verb, folder)
            assert process.wait() == 0
            same = (folder / "result.json").read_text() == right
            found.append((kept, lost, time.time() - began, same))
    kept, lost, rest, same = zip(*found, strict=True)
    return {
        "verb": verb,
        "killed": TIMES,
        "the same": sum(same),
        "kept": f"{min(kept)} to {max(kept)}",
        "lost_s": f"{min(lost):.1f} to {max(lost):.1f}",
        "whole_s": round(seconds, 1),
        "rest_s": f"{min(rest):.1f} to {max(rest):.1f}",
    }


def main(verbs):
    from table import machine

    path = Path(__file__).with_suffix(".csv")
    for verb in verbs:
        old = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame(columns=["verb"])
        new = row(verb) | machine()
        print(new, flush=True)
        rows = {each["verb"]: each for each in [*old.to_dict("records"), new]}
        pd.DataFrame([rows[name] for name in VERBS if name in rows]).to_csv(path, index=False)


if __name__ == "__main__":
    if len(sys.argv) == 4 and "/" in sys.argv[2]:
        one(*sys.argv[1:])
    else:
        main(sys.argv[1:] or VERBS)
