"""The power of a design in words that a clinician can read."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from cellkinetics.cohorts.power import AIM, QUESTIONS, Power
from cellkinetics.cohorts.values import EARLY
from cellkinetics.lazily import pandas as pd
from cellkinetics.words import WIDE, count, dose_text, fold, labelled_wide, number_text

TREND, ADJUSTED, B_NOT_0, EQUIVALENCE = QUESTIONS


def of_power(found: Power) -> str:
    """What was simulated, the chances with the cohorts asked for, and the patients that 80% takes."""
    plan = found.plan
    doses = ", ".join(dose_text(float(dose)) for dose in plan.doses)
    n, studies = sum(found.sizes), int(found.table["studies"].min())
    lines = [f"Power of {count(n, 'patient')}, {', '.join(map(str, found.sizes))} at {doses} cells/kg"]
    lines += labelled_wide("studies", _studies(found, studies))
    lines += labelled_wide("model", f"{plan.model.name}, {plan.output}; {_effect(found)}")
    spread = ", ".join(f"{name} {sd:g}" for name, sd in plan.between.items()) or "none"
    limit = "no limit" if plan.lloq is None else f"limit {plan.lloq:g} {plan.model.outputs[plan.output]}"
    lines += labelled_wide(
        "spread", f"between patients, SD on the scale of estimation: {spread}; of a sample {plan.errors}"
    )
    lines += labelled_wide("samples", f"days {', '.join(number_text(day) for day in plan.days)}; {limit}")
    first = int(found.table["patients"].min())
    own = found.table[found.table["patients"] == (n if (found.table["patients"] == n).any() else first)]
    if int(own["patients"].iloc[0]) != n:
        text = f"of {count(first, 'patient')}; {n} is not among the numbers tried"
        lines += labelled_wide("chances", text)
    lines.append("")
    lines += _table(found, own.set_index(["window", "question"])).to_string().splitlines()
    lines.append("")
    said: dict[str, list[str]] = {}
    for name, change in found.truth["change"].items():
        said.setdefault(_sentence(found, float(change)), []).append(str(name))
    for sentence, names in said.items():
        lines += _wrapped(f"{'; '.join(names)}: {sentence}")
    lost = own.groupby("window", sort=False)["not_estimable"].max()
    if lost.any():
        without = "; ".join(f"{name} {n}" for name, n in lost.items() if n)
        lines += _wrapped(f"Studies without an answer, counted as not shown: {without} of {studies}.")
    return "\n".join([*lines, "", *_wrapped(_legend(found))]) + "\n"


def _studies(found: Power, studies: int) -> str:
    error = 100 * 0.5 / math.sqrt(studies)
    draws = "" if found.plan.drawn is None else "each at another draw of the posterior, "
    text = f"{studies} simulated (seed {found.seed}), {draws}standard error of a chance at most {error:.1f}%"
    return text if studies == found.asked else f"{text}; interrupted, {found.asked} were asked for"


def _effect(found: Power) -> str:
    plan = found.plan
    added = ", ".join(f"{name} x dose^{exponent:.3g}" for name, exponent in plan.effect.items())
    own = "the dose acts as in the model" if plan.model.channels else "the model takes no dose"
    return f"{own}, and besides by {added}" if added else own


def _table(found: Power, own: pd.DataFrame) -> pd.DataFrame:
    needed = {(row.window, row.question): row for row in found.needed.itertuples()}
    most, chance = int(found.table["patients"].max()), own["power"].to_dict()
    rows = {}
    for name, b, below in found.truth[["exponent", "share_below"]].itertuples():
        chances = {question: f"{100 * chance[name, question]:.0f}%" for question in QUESTIONS}
        rows[name] = {
            "true b": f"{b:.2f}", "below": f"{100 * below:.0f}%",
            "trend": chances[TREND], "adjusted": chances[ADJUSTED], "b not 0": chances[B_NOT_0],
            "equivalent": chances[EQUIVALENCE],
            f"n for {100 * AIM:.0f}%: trend": _patients(needed[name, TREND], most),
            "b": _patients(needed[name, B_NOT_0], most),
            "equivalence": _patients(needed[name, EQUIVALENCE], most),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def _patients(row: Any, most: int) -> str:
    if math.isnan(row.patients):
        return f"> {most}"
    return f"<= {row.patients:.0f}" if row.note else f"{row.patients:.0f}"


def _sentence(found: Power, change: float) -> str:
    margin = found.margin
    size = max(change, 1 / change) if change > 0 else math.nan
    span = fold(float(found.plan.doses[-1] / found.plan.doses[0]))
    way = "rises" if change >= 1 else "falls"
    text = f"the typical value {way} {fold(float(f'{size:.2g}'))} over the {span} dose range"
    if size < 1.005:
        return "the typical value does not change with the dose: a trend found is a false one, equivalence is right."
    if size >= margin:
        return f"{text}, more than the margin of {margin:g}-fold: equivalence would be a wrong answer."
    return f"{text}, less than the margin of {margin:g}-fold: equivalence would be right."


def _legend(found: Power) -> str:
    kind = "Wilcoxon-Mann-Whitney" if len(found.sizes) == 2 else "Jonckheere-Terpstra"
    return (
        "true b: exponent of the typical curves. below: values that the limit hides. "
        f"trend: exact {kind} test, p at most 0.05 if this were the only window; adjusted: by Holm, the "
        f"peak, the exposure of the first {EARLY[1]:g} days and persistence each by itself. "
        "b not 0: the calibrated 95% interval of the dose exponent leaves out 0. "
        "equivalent: its 90% interval lies within the margin. Patients for 80% are interpolated between those tried. "
        "All of it holds if the patients are like the model's."
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDE, subsequent_indent="  ")
