"""A model-based comparison in words: what moves with the dose, and what the test cannot show."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellkinetics.joint.design import ALL, BY_DOSE
from cellkinetics.likelihood.error_models import LOG
from cellkinetics.statistics.ranks import ALPHA
from cellkinetics.words import WIDE, labelled_wide, p_equals, p_text

if TYPE_CHECKING:
    from cellkinetics.joint.comparison import ModelComparison

MANY_PARAMETERS = (
    0.4  # share beyond a limit from which on the summary warns; measured in tests/benchmarks/joint_size.py
)
SHOWS_NOTHING = "This shows nothing: neither an effect nor that there is none"


def of_model(comparison: ModelComparison) -> str:
    """The paragraph of the summary."""
    driven = "the dose (a x dose^b)" if comparison.by == BY_DOSE else f"{comparison.by} (a value for each group)"
    others = "each patient's own" if comparison.others == "individual" else "shared by all"
    asked = comparison.origin.options
    also = "" if asked.get("error", LOG) == LOG else f"; error {asked['error']}"
    also += f"; prior of {', '.join(asked['prior'])}" if asked.get("prior") else ""
    lines = textwrap.wrap(
        f"model {comparison.model.name}: each parameter shared by all patients, or driven by {driven}; the others are "
        f"{others}, one residual sd{also}",
        WIDE,
        subsequent_indent="  ",
    )
    for text in _left_out(comparison):
        lines += labelled_wide("left out", text)
    if comparison.reason:
        return "\n".join([*lines, *labelled_wide("caution", f"nothing is compared: {comparison.reason}")]) + "\n"
    if comparison.missed:
        lines += labelled_wide("caution", _missed(comparison.missed))
    rows: list[Any] = list(comparison.table.itertuples())
    for text in _tests(comparison, rows):
        lines += labelled_wide("test", text)
    for row in rows:
        lines += textwrap.wrap(_parameter(row), WIDE, initial_indent="  ", subsequent_indent=" " * 6)
    effect = "an effect of the dose" if comparison.by == BY_DOSE else f"a difference by {comparison.by}"
    shown = [str(row.parameter) for row in rows if row.p_holm <= ALPHA]
    rest = [str(row.parameter) for row in rows if not row.p_holm <= ALPHA]
    lines += labelled_wide("in short", f"{effect} is shown for: {', '.join(shown) or 'no parameter'} (p adjusted)")
    if rest:
        lines += labelled_wide(
            "", f"nothing is shown, neither an effect nor that there is none, for: {', '.join(rest)}"
        )
    return "\n".join(lines) + "\n"


def _left_out(comparison: ModelComparison) -> list[str]:
    """Why, with all of whom it is true."""
    by_reason: dict[str, list[str]] = {}
    for subject, reason in comparison.left_out.items():
        by_reason.setdefault(reason, []).append(subject)
    texts = [f"{', '.join(subjects)}: {reason}" for reason, subjects in by_reason.items()]
    if texts:
        texts.append("What is missing may depend on the dose: these patients are not in what follows.")
    return texts


def _missed(missed: Sequence[str]) -> str:
    """That curves miss their samples."""
    subjects = [name for name in missed if name != ALL]
    whose = (
        f"the curve of {subjects[0]} misses its"
        if len(subjects) == 1
        else f"the curves of {', '.join(subjects)} miss their"
    )
    whose = whose if subjects else "the curves miss their"
    text = f"{whose} samples whichever parameter is driven, and what is said of parameters rests on the curves"
    if ALL in missed:
        text += "; the residual sd of all is above a factor of 2"
    return f"{text}. Look at ck.fit(model, study, shared=...), or try another model."


def _tests(comparison: ModelComparison, rows: list[Any]) -> list[str]:
    """Which arrangements were taken, and the smallest p that they can give."""
    which = "doses" if comparison.by == BY_DOSE else "groups"
    done = min((int(row.permutations) for row in rows), default=0)
    taken = (
        f"all {comparison.arrangements:,}"
        if comparison.every
        else f"{comparison.asked:,} of {comparison.arrangements:,}"
    )
    smallest = max((float(row.smallest_p) for row in rows), default=math.nan)
    text = f"{taken} arrangements of the {which} over the patients; smallest possible p {p_text(smallest)}"
    if smallest > ALPHA:
        text += ". With these sizes no result can be below 0.05: the test shows nothing"
    said = [text]
    if comparison.share_below > MANY_PARAMETERS:
        below = f"{100 * comparison.share_below:.0f}%"
        said.append(
            f"{below} of the samples are beyond a limit: patients say different amounts of a "
            "parameter then, and p is not exact (in simulations with 60% below the limit 5% became 7 to 9%)"
        )
    if done < comparison.asked:
        said.append(f"INTERRUPTED after {done} of {comparison.asked} arrangements: p is of those")
    return said


def _parameter(row: Any) -> str:
    text = f"{row.parameter}: {row.effect}" if row.effect else f"{row.parameter}:"
    if not math.isnan(row.estimate):
        text += f" {row.estimate:.3g}"
        text += "" if math.isnan(row.lower) else f" ({100 * row.level:.0f}% {row.lower:.3g} to {row.upper:.3g})"
    if row.values:
        text += f" [{row.values}]"
    if math.isnan(row.p):
        return f"{text} not tested, {row.note or 'the fits failed'}"
    text += f"; likelihood ratio {row.lr:.1f} on {row.df:.0f}, {p_equals(row.p)}, {p_text(row.p_holm)} adjusted (Holm)"
    if row.note:
        text += f" ({row.note})"
    return text if row.p <= ALPHA else f"{text}. {SHOWS_NOTHING}"
