"""Make example.csv, the eleven simulated patients of ``ck.example()``: ``python make_example.py`` beside it.

Seed and constants were fixed before the first run, but for one change, which the header tells: in the first version
mu0 did not differ by response, and no sample fell below the limit of quantification.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq

from cellkinetics import models
from cellkinetics.lazily import pandas as pd
from cellkinetics.solving.simulation import simulate

SEED = 2020
LLOQ = 3.0
RESIDUAL_SD = 0.5  # residual, ln scale
VARIABILITY = {"F": 0.5, "rho": 0.06, "r": 0.10, "mu0": 0.3, "N": 0.4}  # between patients, SD on the ln scale
DOSES = [1e5] * 3 + [0.25e6] + [1e6] * 3 + [1e7] * 4  # cells/kg
COHORTS = ["1e5/kg"] * 3 + ["1e6/kg"] * 4 + ["1e7/kg"] * 4  # patient 4 belongs to the 1e6 cohort
NON_RESPONDERS = {1, 2, 4}  # one choice that the printed counts allow
PEAK_MEDIANS = {"responder": 31744.0, "non-responder": 903.0}  # copies/ug
NOMINAL_DAYS = [0, 1, 3, 7, 10, 14, 21, 28, 42, 60, 90, 120, 180, 270, 365]
MU0_NON_RESPONDERS = 3.0  # times that of responders: shorter persistence, as in Nat Med 2024;30:772 (size assumed)
CHANCE_MISSING = 0.05  # chance that a sample after day 3 was not taken
# Follow-up in months: minimum, median and maximum are printed, what lies between is assumed.
FOLLOW_UP = [13.8, 20.0, 15.1, 9.6, 17.2, 14.5, 11.3, 12.7, 2.8, 6.4, 18.4]
# Month 9 and week 6 are printed; the other days of post-remission therapy are assumed.
UNTIL = {3: (270, "post-remission therapy"), 5: (120, "post-remission therapy"), 7: (42, "post-remission therapy"),
         8: (90, "transplantation"), 11: (120, "transplantation")}  # fmt: skip

HEADER = """\
Simulated data: eleven simulated patients, not measurements of anybody.
Made by make_example.py (seed {seed}) from the model il15_persistence of cellkinetics.
The study whose design is copied (Liu et al., N Engl J Med 2020;382:545-53)
  does not publish individual values.
Put in:
  doses of 1e5 (P01-P03), 0.25e6 (P04, in the 1e6 cohort), 1e6 (P05-P07) and
  1e7 (P08-P11) cells/kg; lower limit of quantification 3 copies/ug;
  follow-up of 2.8 to 20 months with median 13.8, cut at 12 months;
  post-remission therapy after month 9 (P03) and week 6 (P07); for P05, P08 and
  P11 on assumed days (the simulated curve goes on unchanged);
  responders P03 and P05-P11, non-responders P01, P02 and P04 (one choice that
  the published counts allow);
  medians of the peaks within 28 days, 31,744 (responders) and 903
  (non-responders) copies/ug: one factor on F in each group;
  mu0 three times as high in non-responders (shorter persistence; size assumed).
Versions: in a first one, with the same seed, mu0 did not depend on response and
  no sample was below the limit; no other was tried.
Between patients, SD on the ln scale: {variability};
  all else at the defaults of the model. Residual SD {sd} on the ln scale.
Samples: nominal days {days};
  actual days differ; {missing:.0%} of those after day 3 are missing."""


def draw(rng: np.random.Generator) -> pd.DataFrame:
    """Parameters of the eleven, with F calibrated to the two medians of the peaks."""
    model = models.load("il15_persistence")
    table = pd.DataFrame(
        {
            name: model.parameters[name].value * np.exp(sd * rng.normal(size=len(DOSES)))
            for name, sd in VARIABILITY.items()
        }
    )
    response = np.array(["non-responder" if i + 1 in NON_RESPONDERS else "responder" for i in range(len(DOSES))])
    table.loc[response == "non-responder", "mu0"] *= MU0_NON_RESPONDERS
    days = [day for day in NOMINAL_DAYS if 0 < day <= 28]
    for group, target in PEAK_MEDIANS.items():
        members = np.flatnonzero(response == group)

        def excess(ln_factor: float, members: np.ndarray = members, target: float = target) -> float:
            peaks = [
                simulate(model, {**table.loc[i], "F": table.loc[i, "F"] * np.exp(ln_factor)}, days, DOSES[i])[
                    "copies_per_ug"
                ].max()
                for i in members
            ]
            return float(np.log(np.median(peaks) / target))

        ln_factor: Any = brentq(excess, -2.5, 2.5, xtol=1e-6)
        table.loc[members, "F"] *= np.exp(ln_factor)
    return table.assign(response=response)


def sampled(rng: np.random.Generator, number: int) -> list[tuple[float, float]]:
    """(nominal, actual) days of one patient, to the end of follow-up or 12 months."""
    last = min(FOLLOW_UP[number - 1] * 365.25 / 12, 366.0)
    days = []
    for nominal in NOMINAL_DAYS:
        spread = 0.0 if nominal == 0 else 0.1 if nominal <= 3 else 0.5 if nominal <= 28 else 4.0
        actual = round(nominal + spread * rng.uniform(-1, 1), 1)
        taken = nominal <= 3 or rng.uniform() >= CHANCE_MISSING
        if taken and nominal <= last:
            days.append((float(nominal), actual))
    return days


def main() -> pd.DataFrame:
    """All rows, as text."""
    rng = np.random.default_rng(SEED)
    model = models.load("il15_persistence")
    truth = draw(rng)
    rows = []
    for i, dose in enumerate(DOSES):
        days = sampled(rng, i + 1)
        values = {name: float(truth[name].to_numpy()[i]) for name in VARIABILITY}
        curve = simulate(model, values, [actual for _, actual in days], dose)["copies_per_ug"].to_numpy()
        noisy = curve * np.exp(RESIDUAL_SD * rng.normal(size=len(curve)))
        until, reason = UNTIL.get(i + 1, ("", ""))
        for (nominal, actual), value in zip(days, noisy, strict=True):
            shown = "0" if nominal == 0 else "<3" if value < LLOQ else f"{float(f'{value:.3g}'):g}"
            rows.append(
                (
                    f"P{i + 1:02d}",
                    nominal,
                    actual,
                    shown,
                    LLOQ,
                    dose,
                    COHORTS[i],
                    truth.loc[i, "response"],
                    until,
                    reason,
                )
            )
    names = [
        "subject",
        "nominal_day",
        "day",
        "copies_per_ug",
        "lloq",
        "dose",
        "cohort",
        "response",
        "until",
        "until_reason",
    ]
    return pd.DataFrame(rows, columns=names)


def text() -> str:
    """The file."""
    variability = ", ".join(f"{name} {sd:g}" for name, sd in VARIABILITY.items())
    header = HEADER.format(
        seed=SEED,
        variability=variability,
        sd=RESIDUAL_SD,
        missing=CHANCE_MISSING,
        days=", ".join(map(str, NOMINAL_DAYS)),
    )
    table = main()
    for name in ("nominal_day", "day", "lloq", "dose"):
        table[name] = table[name].map(lambda number: f"{number:.12g}")
    return "".join(f"# {line}\n" for line in header.splitlines()) + table.to_csv(index=False, lineterminator="\n")


if __name__ == "__main__":
    (Path(__file__).parent / "example.csv").write_text(text(), encoding="utf-8")
