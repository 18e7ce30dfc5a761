"""A comparison through a population in words."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from cellkinetics.lazily import pandas as pd
from cellkinetics.population.importance import APPROXIMATED_BY
from cellkinetics.statistics.ranks import ALPHA
from cellkinetics.words import WIDE, count, labelled_wide, p_equals, p_text

if TYPE_CHECKING:
    from cellkinetics.cohorts.through_population import PopulationComparison


def answer(found: PopulationComparison) -> str:
    """See `PopulationComparison.answer`."""
    if found.table.empty:
        return "nothing is compared"
    what = "the dose" if found.by == "dose" else found.by
    shown, rest = [], []
    for name, rows in found.table.groupby("parameter", sort=False):
        p = float(rows["p_holm"].iloc[0])
        if p <= ALPHA * (1 + 1e-12):
            shown.append(f"{name} ({_effect(rows.iloc[-1])}; {p_equals(p)} adjusted)")
        else:
            rest.append(str(name))
    said = [f"{what} moves {', '.join(shown)}"] if shown else []
    if rest:
        nothing = "neither an effect nor that there is none is shown"
        said.append(f"{nothing} for {', '.join(rest)}" if shown else f"{nothing} of {what} on {', '.join(rest)}")
    return "; ".join(said) + ("" if found.converged else " (not every population converged)")


def summary(found: PopulationComparison) -> str:
    """See `PopulationComparison.summary`."""
    title = f"Through a population of {count(found.n, 'patient')}, {found.model}, by {found.by}: {answer(found)}"
    lines = textwrap.wrap(title, WIDE, subsequent_indent=" " * 6)
    lines += labelled_wide("outcome", found.outcome)
    for name, rows in found.table.groupby("parameter", sort=False):
        for _, row in rows.iterrows():
            lines += labelled_wide(str(name), f"{_effect(row)}{_note(row)}")
        lines += labelled_wide("", _tests(rows.iloc[0], found.every))
    if not found.curves.empty:
        lines += ["", "Curve of the median patient:"]
        for _, row in found.curves.iterrows():
            lines += labelled_wide("", f"{row['quantity']}: {_effect(row)}")
    lines += ["", *textwrap.wrap(_legend(found), WIDE)]
    return "\n".join(lines) + "\n"


def _effect(row: pd.Series) -> str:
    if math.isnan(row["lower"]):
        return f"{row['effect']} {row['estimate']:.3g}, without an interval"
    return f"{row['effect']} {row['estimate']:.3g} (95% interval {row['lower']:.3g} to {row['upper']:.3g})"


def _note(row: pd.Series) -> str:
    return f"; {row['note']}" if row["note"] else ""


def _tests(row: pd.Series, every: bool) -> str:
    error = f" +- {row['lr_error']:.2f}" if row["lr_error"] > 0 else ""
    text = f"likelihood ratio {row['lr']:.2f}{error}, {p_equals(row['p_lr'])} by chi-squared; "
    kind = "p" if every else "Monte Carlo p"
    text += f"{p_equals(row['p'], kind)} over {int(row['arrangements']):,} arrangements"
    if not math.isnan(row["p_holm"]):
        text += f", {p_text(row['p_holm'])} adjusted (Holm)"
    if (again := int(row.get("refits", 0))) > 0:
        text += (
            f"; {p_equals(row['p_refits'])} of the likelihood ratio among those of {count(again, 'refit')}, a level of "
        )
        text += f"{row['attained']:.1%} can be attained"
    if not every:
        return text
    text += f"; smallest possible {p_equals(row['smallest_p'])}"
    if row["smallest_p"] > ALPHA:
        text += ". With these sizes no result can be below 0.05: the test shows nothing"
    return text


def _legend(found: PopulationComparison) -> str:
    what = "doses" if found.by == "dose" else "groups"
    if by := APPROXIMATED_BY.get(found.method, ""):
        text = f"Likelihood ratios are of values by {by}, each at its own maximum"
    else:
        text = "Likelihood ratios are by importance sampling, +- their Monte Carlo error"
    text += "; chi-squared and Wald intervals hold for many patients, with eleven they are too sure. "
    text += f"The permutation gives the {what} to other patients, over the scores of the population without "
    text += "the effect: all arrangements" if found.every else "the effect: arrangements at random"
    text += ", none fitted anew. "
    if found.table.get("refits", pd.Series([0])).max() > 0:
        text += (
            f"Refits give the {what} to other patients at random, or in all ways where these are few, and have each "
        )
        text += "likelihood at its maximum, by importance sampling with the same draws: a check of the scores, which "
        text += "the adjusted p is of. "
    text += "A p above 0.05 is not evidence of no effect."
    if found.infused:
        text += " The model takes the doses as infusions, which stay with the patients"
        text += f"; {found.share_below:.0%} of the samples are censored, where doses may change what a patient tells: "
        text += "then the permutation is not exact."
    return text
