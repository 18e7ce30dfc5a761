"""Whether a population fit gives back the population that its patients were simulated from.

    python tests/benchmarks/population_recovery.py [two_phases | il15_persistence [minutes [kept.jsonl]]]

Simulated studies of 11, 24 or 100 patients, spread evenly over 1e5, 1e6 and 1e7 cells/kg. two_phases: a biexponential
decline whose four parameters vary and whose level follows dose^0.5, 12 samples, noise 0.4 on the ln scale.
il15_persistence: F, rho, r, mu0 and N vary, 14 samples, noise 0.5. The limit is put where 0, 20 or 45% of all samples
lie below it. m3: the probability of lying below; half: values below set to half the limit.

A row is one thing estimated, on its estimation scale (ln, of sds their ln): truth, bias (mean of estimate - truth) with
its Monte Carlo error, rmse, stderr (mean of the reported one), coverage of the 95% interval, studies, and those whose
outcome has a note or is not "converged" (most often a spread that cannot be told from 0; they count all the same).
cpu_seconds: of a fit, the mean without the first. Studies are fitted in rounds, one of each row, until each row has as
many as it is to have (rows of 100 patients take part in one round of five) or the minutes are over; a row says how many
it has. Writes population_recovery.csv; rows of a model that was not asked for stay. Fits kept in a file of an earlier
run are read from it, and new ones added: it is of one state of the package.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics import models

sys.path.insert(0, str(Path(__file__).parents[1] / "population"))

import populations  # pyright: ignore[reportMissingImports]

SEED, MANY, ONE_ROUND_OF = 2020, 100, 5
NORMAL = 1.959964
TWO_PHASES, IL15 = populations.biexponential(), models.load("il15_persistence")
DAYS = {
    "two_phases": np.array([0.5, 1, 3, 7, 14, 21, 28, 42, 60, 90, 120, 180]),
    "il15_persistence": np.array([0.04, 1, 3, 7, 10, 14, 21, 28, 60, 90, 120, 180, 270, 365]),
}
BETWEEN = {
    "two_phases": {"a": 0.6, "fast": 0.3, "b": 0.7, "slow": 0.4},
    "il15_persistence": {"F": 0.6, "rho": 0.1, "r": 0.2, "mu0": 0.5, "N": 0.6},
}
NOISE = {"two_phases": 0.4, "il15_persistence": 0.5}
EXPONENT = {"two_phases": {"a": 0.5}, "il15_persistence": {}}
# model, patients, share below the limit, how such samples enter, studies.
DESIGNS = [
    (model, patients, share, "m3", 40 if patients == MANY else 200)
    for model in (TWO_PHASES, IL15)
    for patients in (11, 24, MANY)
    for share in (0.0, 0.2, 0.45)
]
DESIGNS.append((TWO_PHASES, 24, 0.45, "half", 200))


def doses_of(patients):
    """(patients,) cells/kg, in the order of the dose."""
    return np.sort(np.resize([1e7, 1e6, 1e5], patients))


def copies(model, doses, rng):
    """(patients, days) noisy copies/ug of new patients."""
    found, days = [], DAYS[model.name]
    for dose in doses:
        values = {
            name: model.parameters[name].value * np.exp(sd * rng.normal()) for name, sd in BETWEEN[model.name].items()
        }
        for name, exponent in EXPONENT[model.name].items():
            values[name] *= (dose / 1e6) ** exponent
        found.append(np.asarray(model.solve(days, values, dose if model.channels else None)["copies_per_ug"]))
    return np.array(found) * np.exp(NOISE[model.name] * rng.normal(size=(len(doses), len(days))))


def limit_of(model, doses, share, rng):
    """The limit below which a share of many samples lies; next to 0 where none does."""
    pilot = np.concatenate([copies(model, doses, rng) for _ in range(20)])
    return float(np.quantile(pilot, share)) if share else 1e-6


def study_of(model, doses, values, limit):
    days = DAYS[model.name]
    table = pd.DataFrame(
        {
            "subject": np.repeat([f"P{i + 1:02d}" for i in range(len(doses))], len(days)),
            "day": np.tile(days, len(doses)),
            "copies_per_ug": [f"<{limit:.6g}" if value < limit else f"{value:.8g}" for value in values.ravel()],
            "dose": np.repeat(doses, len(days)),
        }
    )
    return ck.read_study(table, lloq=limit)


def truth_of(model):
    """{label: truth on its estimation scale}; the level is that at a dose of 1e6."""
    parameters = model.parameters
    truth = {name: parameters[name].to_estimation(parameters[name].value) for name in BETWEEN[model.name]}
    truth |= {f"{name}:dose": exponent for name, exponent in EXPONENT[model.name].items()}
    truth |= {f"sd between {name}": np.log(sd) for name, sd in BETWEEN[model.name].items()}
    return truth | {"sd": np.log(NOISE[model.name])}


class Row:
    """A design with its studies so far."""

    def __init__(self, model, patients, share, censoring, studies):
        self.model, self.share, self.censoring, self.studies = model, share, censoring, studies
        self.doses, self.rng = doses_of(patients), np.random.default_rng(SEED)
        self.limit = limit_of(model, self.doses, share, self.rng)
        self.tables, self.seconds, self.unsure = [], [], 0

    @property
    def key(self):
        """What names it in a file."""
        return f"{self.model.name} {len(self.doses)} {self.share:g} {self.censoring}"

    def one_more(self, kept, file):
        """Another study, unless it is ``kept`` (by key and number) already."""
        model, number = self.model, len(self.tables)
        values = copies(model, self.doses, self.rng)
        line = kept.get(f"{self.key} {number}")
        if line is None:
            line = self.fitted(study_of(model, self.doses, values, self.limit), number)
            if file is not None:
                with file.open("a") as lines:
                    lines.write(json.dumps({"of": f"{self.key} {number}", **line}) + "\n")
        self.seconds.append(line["seconds"])
        self.unsure += line["outcome"] != "converged"
        self.tables.append(pd.DataFrame(line["table"], index=line["labels"], dtype=float))

    def fitted(self, study, number):
        """Estimates and errors of one study."""
        model = self.model
        began = time.process_time()
        fit = ck.fit_population(
            model, study, free=tuple(BETWEEN[model.name]), censoring=self.censoring, seed=number, progress=False,
            covariates=dict.fromkeys(EXPONENT[model.name], "dose") or None,
        )  # fmt: skip
        seconds, table = time.process_time() - began, fit.parameters
        columns = {
            name: [None if pd.isna(v) else float(v) for v in table[name]] for name in ("estimate", "estimate_stderr")
        }
        return {"seconds": seconds, "outcome": fit.outcome, "labels": list(table.index), "table": columns}

    def rows(self):
        """One for each thing estimated; the mean of a parameter is that at the geometric mean of these doses."""
        name, centre = self.model.name, np.log(self.doses / 1e6).mean()
        for label, truth in truth_of(self.model).items():
            truth = truth + EXPONENT[name].get(label, 0.0) * centre
            estimate = np.array([table.loc[label, "estimate"] for table in self.tables], float)
            error = np.array([table.loc[label, "estimate_stderr"] for table in self.tables], float)
            away = estimate - truth
            known = np.isfinite(error)
            yield {
                "model": name, "patients": len(self.doses), "share_below": self.share, "censoring": self.censoring,
                "what": label, "truth": truth, "bias": away.mean(),
                "monte_carlo_error": away.std(ddof=1) / np.sqrt(len(away)), "rmse": np.sqrt(np.mean(away**2)),
                "stderr": np.nanmean(error), "coverage": np.mean(np.abs(away)[known] < NORMAL * error[known]),
                "studies": len(away), "with_a_note": self.unsure, "cpu_seconds": np.mean(self.seconds[1:]),
                "seed": SEED,
            }  # fmt: skip


def main():
    asked = sys.argv[1:2] or list(DAYS)
    ends = time.monotonic() + 60 * float(sys.argv[2] if len(sys.argv) > 2 else np.inf)
    file = Path(__file__).with_suffix(".csv")
    keeping = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    lines = keeping.read_text().splitlines() if keeping is not None and keeping.exists() else []
    kept = {line.pop("of"): line for line in map(json.loads, lines)}
    others = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["model"])
    others = others[~others["model"].isin(asked)]
    every = [Row(*design) for design in DESIGNS if design[0].name in asked]
    for number in range(max(row.studies for row in every)):
        if time.monotonic() > ends:
            break
        for row in every:
            takes_part = len(row.doses) < MANY or number % ONE_ROUND_OF == 0
            if takes_part and len(row.tables) < row.studies and time.monotonic() < ends:
                row.one_more(kept, keeping)
        table = pd.DataFrame([line for row in every if len(row.tables) > 1 for line in row.rows()])
        table = table.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
        pd.concat([table, others]).to_csv(file, index=False)
        print(number + 1, [len(row.tables) for row in every], flush=True)


if __name__ == "__main__":
    main()
