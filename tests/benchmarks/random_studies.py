"""Random valid studies through fit_each: an outcome for everybody, and no NaN or infinity where it says converged.

    python tests/benchmarks/random_studies.py [studies] [begin]

A study is made of its number alone (SEED was fixed before anything was run), and goes to model n modulo 4: one to three
patients of 1 to 25 samples. Three of five studies are plausible: curves of the model itself with its free parameters
drawn about their defaults (SD 0.3 on the scale of estimation), log-normal scatter of 0.2 to 0.7, days drawn on a log
scale, a limit that is 1e-5 to 1e-1 of the peak. The other two are extreme: samples from day 0 to 20 years, levels from
1e-3 to 1e9 copies, scatter from none to hundredfold, limits below all, among or above the values, zeros, doses from 1e2
to 1e10. Studies that `read_study` refuses are counted and left out. Everything is asked of each fit: parameters,
log-likelihood, predictions on the days of its samples and at 20 years, `identifiability`, `summary`; of each study
`nca`, of those with two patients or more `compare_cohorts`, and of every 25th a `power` of odd doses, cohorts, days and
limits, which may refuse with a StudyError or ValueError. `wrong` counts NaN or infinity under "converged" and patients
without an outcome, `raised` studies that ended in any other error; both are printed with the number of the study.
Counts of outcomes are of patients. The longest study in seconds includes compilations. Writes random_studies.csv.
"""

import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.optimising.status import Status

SEED = 19
MODELS = ("nk_decline", "stein_2019_tisagenlecleucel", "il15_persistence", "smooth_switch")
OTHERS = ("ridge", "not identifiable", "at bound", "not converged", "no quantified sample")
LAST_DAY = {"nk_decline": 60}  # of plausible studies; 365 of other models
EVERY = 20  # studies from one writing of the table to the next
EVERY_POWER = 25
BLOCK = 400


def table_of(number):
    """The table of a study, and its limit."""
    rng = np.random.default_rng([SEED, number])
    return plausible(rng, number) if number // 4 % 5 < 3 else extreme(rng)


def plausible(rng, number):
    name = MODELS[number % 4]
    model, tables, limits = models.load(name), [], []
    free, share = model.default_free(ck.example()), 10 ** rng.uniform(-5, -1)
    scatter = rng.uniform(0.2, 0.7)
    for patient in range(rng.integers(1, 4)):
        values = model.values()
        for each in free:
            p = model.parameters[each]
            moved = p.from_estimation(p.to_estimation(p.value) + 0.3 * rng.normal())
            values[each] = float(np.clip(moved, p.min, p.max))
        days, dose = 10 ** rng.uniform(-0.3, np.log10(LAST_DAY.get(name, 365)), int(rng.integers(8, 26))), 1e6
        days = np.unique(np.round(days, 2))
        # Of one length, so that one program draws them all.
        curve = np.asarray(model.solve(np.pad(days, (0, 25 - len(days)), "edge"), values, dose)["copies_per_ug"])
        copies = curve[: len(days)] * np.exp(scatter * rng.normal(size=len(days)))
        limits.append(share * copies.max())
        tables.append((patient, days, copies, dose))
    limit = max(limits)
    return pd.concat([table(*each, limit) for each in tables], ignore_index=True), limit


def table(patient, days, values, dose, limit):
    cells = [f"<{limit:g}" if value < limit else f"{value:.6g}" for value in values]
    return pd.DataFrame({
        "subject": f"S{patient}", "day": days, "copies_per_ug": cells, "dose": dose, "cohort": "AB"[patient % 2],
    })  # fmt: skip


def extreme(rng):
    tables, level = [], 10 ** rng.uniform(-3, 9)
    limit = level * 10 ** rng.choice([-6.0, -1.0, 0.0, 1.0, 6.0])
    scatter = rng.choice([0.0, 0.3, 1.0, np.log(100)])
    longest = 10 ** rng.uniform(0.5, np.log10(7300))
    for patient in range(rng.integers(1, 4)):
        samples = int(rng.integers(1, 26))
        days = np.unique(np.round(rng.uniform(0.01, 1, samples) ** 2 * longest, 3))
        curve = level * np.exp(-days / longest * rng.uniform(-3, 12)) * np.exp(-np.abs(days - longest / 10) / longest)
        values = curve * np.exp(rng.normal(0, 1, len(days)) * scatter)
        values = np.where(rng.random(len(days)) < 0.02, 0.0, values)
        tables.append(table(patient, days, values, 10 ** rng.uniform(2, 10), limit))
    return pd.concat(tables, ignore_index=True), limit


def unsound(fit):
    """What is NaN or infinite of a fit that is called converged."""
    found = []
    free = fit.parameters[fit.parameters["status"] == "free"]
    if not np.isfinite(fit.parameters["value"].astype(float)).all():
        found.append("value")
    if not np.isfinite(free["stderr"].astype(float)).all():
        found.append("stderr")
    if not np.isfinite(fit.log_likelihood):
        found.append("log_likelihood")
    days = [*fit.study.used["day"], 7300.0]
    if not np.isfinite(fit.predict(days).select_dtypes("number").iloc[:, 1]).all():
        found.append("predict")
    return found


def refusable(what):
    try:
        what()
    except (ck.StudyError, ValueError):
        return "refused"
    return "done"


def tried(number):
    """What became of a study: counts, and sentences of what is wrong."""
    counts, wrong = Counter(), []
    table, limit = table_of(number)
    try:
        study = ck.read_study(table, lloq=limit, progress=False)
    except ck.StudyError:
        return Counter(unreadable=1), []
    counts["studies"] += 1
    fits = ck.fit_each(models.load(MODELS[number % 4]), study, starts=1, progress=False)
    for subject in study.subjects:
        fit = fits[subject]
        counts["patients"] += 1
        counts[str(fit.status)] += 1
        if not fit.outcome:
            wrong.append(f"{number} {subject}: no outcome")
        if fit.status is Status.CONVERGED:
            wrong += [f"{number} {subject}: {each} under 'converged'" for each in unsound(fit)]
        fit.identifiability().summary()
        fit.summary()
    counts["nca " + refusable(lambda: ck.nca(study))] += 1
    if len(study.subjects) > 1:
        counts["comparison " + refusable(lambda: ck.compare_cohorts(study, by="cohort", progress=False))] += 1
    if number // 4 % EVERY_POWER == 0:
        counts["power " + refusable(lambda: odd_power(number))] += 1
    return counts, wrong


def odd_power(number):
    rng, model = np.random.default_rng([SEED, number, 1]), models.load(MODELS[number % 4])
    doses = 10 ** rng.uniform(2, 10, int(rng.integers(1, 5)))
    days = np.unique(np.round(10 ** rng.uniform(-1, 3.5, int(rng.integers(1, 12))), 2))
    return ck.power(
        model, doses.tolist(), rng.integers(1, 5, len(doses)).tolist(), days.tolist(), lloq=10 ** rng.uniform(-3, 9),
        between=dict.fromkeys(model.default_free(ck.example())[:2], rng.choice([0.0, 0.5, 3.0])), studies=20,
        progress=False,
    )  # fmt: skip


def main(number, begin=0):
    from table import machine

    rows = {name: Counter() for name in MODELS}
    longest = dict.fromkeys(MODELS, 0.0)
    # Model by model: programs of one are still there.
    order = sorted(range(begin, begin + number), key=lambda each: (each // BLOCK, each % 4, each))
    for done, each in enumerate(order, start=1):
        name, began = MODELS[each % 4], time.perf_counter()
        try:
            counts, wrong = tried(each)
        except Exception as error:
            counts, wrong = Counter(raised=1), []
            print(f"{each} {name}: {type(error).__name__}: {error}", flush=True)
        longest[name] = max(longest[name], time.perf_counter() - began)
        rows[name] += counts + Counter(wrong=len(wrong), tried=1)
        print(*wrong, sep="\n", end="\n" if wrong else "", flush=True)
        if done % EVERY == 0:
            write(rows, longest, machine())
            print(f"{done} of {number}", flush=True)
    write(rows, longest, machine())
    return any(row["wrong"] or row["raised"] for row in rows.values())


def write(rows, longest, machine):
    shown = ("tried", "unreadable", "studies", "patients", "converged", *OTHERS, "wrong", "raised")
    more = ("nca done", "nca refused", "comparison done", "comparison refused", "power done", "power refused")
    table = [
        {"model": name} | {key: row[key] for key in (*shown, *more)} | {"longest_s": round(longest[name], 1)} | machine
        for name, row in rows.items()
    ]
    pd.DataFrame(table).to_csv(Path(__file__).with_suffix(".csv"), index=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(*map(int, sys.argv[1:] or ["2000"])))
