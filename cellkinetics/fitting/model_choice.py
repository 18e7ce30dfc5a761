"""Models compared on the same samples: information criteria, weights, likelihood ratios, and forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

import jax.numpy as jnp
import numpy as np
import scipy

from cellkinetics import domains
from cellkinetics.data.study import Study
from cellkinetics.errors import one_problem
from cellkinetics.fitting.each import fit_each
from cellkinetics.fitting.few import words
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import FIXED
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.model import Model
from cellkinetics.notebook import table_with_card
from cellkinetics.optimising.request import Asked
from cellkinetics.optimising.samples import Samples, samples_each
from cellkinetics.solving.sensitivity import curve
from cellkinetics.words import count

EVERYONE = "all"
AICC, BIC = "AICc", "BIC"
MIXED = f"{AICC} where samples are enough for it, else {BIC}"
# Of samples, less what is estimated: from more on AICc finds the truth more often than BIC (docs, "Which model?").
ROOM = 5
CHOICE_COLUMNS = ["n", "n_free", "log_likelihood", "aic", "aicc", "bic", "delta", "weight"]
CHOICE_COLUMNS += ["nested_in", "ratio", "p", "note", "outcome"]


def compare_models(fits: Sequence[Fit] | Sequence[Fits]) -> pd.DataFrame:
    """Compare fits of several models to the same samples.

    Parameters
    ----------
    fits
        of one subject each, or the results of several `fit_each` of the same study: then one block a subject, and
        under the subject "all" the sums over those whom every model could fit.

    Returns
    -------
    DataFrame
        A `ModelTable`, with a card in a notebook. One row a model (its name, with what was fixed or freed where two
        share it): samples n, free parameters, log-likelihood of the copies, AIC, AICc and BIC; ``delta`` and
        ``weight`` by AICc where every model leaves at least six samples, n - k > 5, or has an sd that is given, and
        by BIC otherwise and where the sd is given in some and estimated in others, which AICc does not compare
        (``.attrs["criterion"]`` says which): by what finds the model that made the samples, see "Which model?" in the
        guide. For a model that is another one of the list with parameters fixed: ``nested_in``, the likelihood ratio
        2 (ln L1 - ln L0), its p by chi-squared, and ``note`` (which also names an sd that is fixed, or has a prior,
        in one fit and is estimated in another). Where one parameter is fixed at its bound half of that p is given
        (Self and Liang 1987); where several are, p is an upper bound. A fit without an optimum keeps its row and has
        no weight.

    Raises
    ------
    TypeError
        No list of fits.
    ValueError
        Fewer than two fits, fits and `Fits` mixed, a patient of a joint fit.
    StudyError
        Fits of different samples, subjects, units or ways of handling values below the limit: their likelihoods do
        not compare. Those of different error models do: each is the density of the same copies.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> patient, model = ck.example().select("P07"), ck.models.load("nk_decline")
    >>> fits = [ck.fit(model, patient, starts=1), ck.fit(model, patient, fixed={"f_b": 0.01}, starts=1)]
    >>> table = ck.compare_models(fits)
    >>> table["n_free"].to_list(), table.attrs["criterion"]
    ([5, 4], 'BIC')
    >>> table["nested_in"].iloc[1] == table.index[0]
    True
    """
    if isinstance(fits, Study | Model | str) or not isinstance(fits, Sequence | Mapping | Fit):
        text = f"compare_models takes fits, such as [fit_a, fit_b], not a {type(fits).__name__}."
        raise TypeError(f"{text} Fit each model first, with ck.fit or ck.fit_each.")
    if isinstance(fits, Fit | Mapping):
        raise ValueError("compare_models takes a list of fits, such as [fit_a, fit_b], not one fit or a dictionary.")
    if len(fits) < 2:
        raise ValueError(f"compare_models takes at least two fits and got {len(fits)}.")
    if not all(isinstance(fit, type(fits[0])) for fit in fits) or not isinstance(fits[0], Fit | Fits):
        raise ValueError("compare_models takes a list of Fit, or a list of Fits (of fit_each), not both.")
    alone, each = [f for f in fits if isinstance(f, Fit)], [f for f in fits if isinstance(f, Fits)]
    if alone:
        return _shown(_of_one(alone, _labels([[fit] for fit in alone])), alone[0].study)
    subjects = list(each[0])
    for other in each[1:]:
        if list(other) != subjects:
            raise one_problem("the fits are of different subjects", "Fit every model to the same study.")
    # Which parameters are free may differ between patients, and what a list of fits is called may not.
    names = _labels([list(fits.values()) for fits in each])
    tables = {subject: _of_one([fit[subject] for fit in each], names) for subject in subjects}
    whole = {EVERYONE: _summed(list(tables.values())), **tables}
    criteria = {table.attrs["criterion"] for table in whole.values()}
    joined = pd.concat(whole, names=["subject"])
    joined.attrs["criterion"] = criteria.pop() if len(criteria) == 1 else MIXED
    return _shown(joined, each[0].study)


def _is_whole(table: pd.DataFrame) -> bool:
    """Whether it has the columns that a card shows, and a row of each model."""
    return set(CHOICE_COLUMNS) <= set(table) and "model" in table.index.names and "criterion" in table.attrs


def _kind() -> type[pd.DataFrame]:
    """The class of the table: `ModelTable`."""
    return table_with_card("ModelTable", __name__, _is_whole)


def __getattr__(name: str) -> type[pd.DataFrame]:
    if name == "ModelTable":
        return _kind()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def _shown(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """With a card, which says whether the samples are simulated."""
    made = _kind()(table)
    made.attrs = table.attrs | {"verb": "compare_models", "simulated": study.simulated}
    return made


def forecast_error(
    models: Sequence[Model], study: Study, *, until: float, progress: bool = False, **asked: Unpack[Asked]
) -> pd.DataFrame:
    """How well models fitted to the early samples foretell the late ones.

    Parameters
    ----------
    models : those to compare.
    study : any number of subjects.
    until : day after which samples are held back, as in the study.
    progress : whether bars are shown on the terminal.
    asked : further arguments of `fit_each`.

    Returns
    -------
    DataFrame
        By model and subject: ``outcome`` of the early fit, held-back samples ``n_quantified`` and ``n_censored``,
        ``log_score`` (mean log density of ln copies at the estimates, censored samples with their probability;
        higher is better) and ``absolute_error`` (mean distance of ln y from ln f, of the quantified
        ones). NaN where the early
        samples could not be fitted or nothing was held back.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> patient, model = ck.example().select("P07"), ck.models.load("nk_decline")
    >>> table = ck.forecast_error([model], patient, until=14, starts=1)
    >>> table.loc[("nk_decline", "P07"), ["n_quantified", "n_censored"]].to_list()
    [3, 0]
    """
    if isinstance(models, Model | Study):
        raise TypeError("a list of models comes first: ck.forecast_error([model_a, model_b], study, until=28).")
    domains.instance(study, Study, "study", "Take ck.read_study(path) or ck.example().")
    domains.some(models, "models", "[model_a, model_b]")
    early = study.select(until=until)
    tables = {}
    for model in models:
        fits = fit_each(model, early, progress=progress, **asked)
        held_back = samples_each(model, study)
        rows = {subject: _forecast(fit, held_back[subject], until) for subject, fit in fits.items()}
        tables[model.name] = pd.DataFrame.from_dict(rows, orient="index")
    return pd.concat(tables, names=["model", "subject"])


def _of_one(fits: Sequence[Fit], names: Sequence[str]) -> pd.DataFrame:
    _check_same(fits)
    rows = []
    for fit in fits:
        row = {name: getattr(fit, name) for name in ("n", "n_free", "log_likelihood", "aic", "aicc", "bic", "outcome")}
        if not _has_optimum(fit):
            row |= dict.fromkeys(("log_likelihood", "aic", "aicc", "bic"), np.nan)
        row |= _nested(fit, fits, names)
        if (text := _sd_fixed(fit)) and not all(map(_sd_fixed, fits)):
            row["note"] = "; ".join(filter(None, (str(row["note"]), text)))
        rows.append(row)
    table = pd.DataFrame(rows, index=pd.Index(names, name="model"))
    compared = [fit for fit in fits if _has_optimum(fit)]
    # AICc corrects for an sd that is estimated, and is AIC where it is given: of one list only the one or the other.
    alike = len({fit.sd_is_known for fit in compared}) <= 1
    return _weighted(table, AICC if alike and all(map(_room_for_aicc, compared)) else BIC)


def _room_for_aicc(fit: Fit) -> bool:
    """Whether the correction of AICc is one: with fewer samples it outgrows what a model with more parameters gains."""
    return fit.sd_is_known or fit.n - fit.n_free > ROOM


def _weighted(table: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """With differences and weights by a criterion."""
    by = criterion.lower()
    delta = table[by] - table[by].min()
    likelihood = np.exp(-delta / 2)
    weighted = table.assign(delta=delta, weight=(likelihood / likelihood.sum()).fillna(0.0))[CHOICE_COLUMNS]
    weighted.attrs["criterion"] = criterion
    return weighted


def _summed(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Sums over the subjects whom every model could fit; AICc of the whole is the sum of those of its parts."""
    complete = [table for table in tables if table["aic"].notna().all()]
    columns = ["n", "n_free", "log_likelihood", "aic", "aicc", "bic"]
    names = pd.Index(dict.fromkeys(name for table in tables for name in table.index), name="model")
    total = pd.DataFrame(0.0, index=names, columns=columns)
    for table in complete:
        total = total.add(table[columns].astype(float).reindex(names), fill_value=np.nan)
    if not complete:
        total = total * np.nan
    total = total.assign(nested_in="", ratio=np.nan, p=np.nan, note="")
    outcome = f"{len(complete)} of {count(len(tables), 'subject')} fitted by every model"
    by_aicc = all(table.attrs["criterion"] == AICC for table in complete)
    return _weighted(total.assign(outcome=outcome), AICC if by_aicc else BIC)


def _has_optimum(fit: Fit) -> bool:
    """Whether the likelihood has a maximum there that may be compared."""
    return fit.fitted and fit.status.is_maximum


def _labels(each: Sequence[Sequence[Fit]]) -> list[str]:
    """Names of models, with the error model where those differ; what is estimated where two share a name.

    each : for each model its fits, of one patient or of several: what is estimated in one of them is named.
    """
    first = [fits[0] for fits in each]
    several = len({fit.error for fit in first}) > 1
    names = [f"{fit.model.name} ({fit.error})" if several else fit.model.name for fit in first]
    free = [",".join(_estimated(fits)) for fits in each]
    full = [f"{name} [{own}]" if names.count(name) > 1 else name for name, own in zip(names, free, strict=True)]
    return [name if full.count(name) == 1 else f"{name} #{at + 1}" for at, name in enumerate(full)]


def _estimated(fits: Sequence[Fit]) -> list[str]:
    """What is free in any of them, in the order of the model."""
    known = {name for fit in fits for name in fit.problem.names}
    ordered = [*fits[0].model.parameters, *fits[0].problem.sd_names]
    return [name for name in ordered if name in known]


def _nested(fit: Fit, fits: Sequence[Fit], names: Sequence[str]) -> dict[str, object]:
    """The smallest fit of the list of which this one is a special case, and their likelihood ratio."""
    nothing: dict[str, object] = {"nested_in": "", "ratio": np.nan, "p": np.nan, "note": ""}
    within = [
        (len(other.problem.names), name, other)
        for other, name in zip(fits, names, strict=True)
        if other is not fit and _is_part(fit, other)
    ]
    if not within or not _has_optimum(fit):
        return nothing
    _, name, other = min(within, key=lambda one: one[0])
    # With a prior of the sd in one of the two alone their likelihoods are no ratio.
    if not _has_optimum(other) or bool(fit.problem.few) != bool(other.problem.few):
        return nothing
    own = _names_in(fit, other)
    more = [parameter for parameter in other.problem.names if parameter not in own]
    ratio = max(2 * (other.log_likelihood - fit.log_likelihood), 0.0)
    p = float(scipy.stats.chi2.sf(ratio, len(more)))
    held = [parameter for parameter in more if _at_bound(fit, other, parameter)]
    note = ""
    if held:
        note = f"{', '.join(held)} fixed at a bound: p is "
        note += "half of that of chi-squared" if len(more) == 1 else "an upper bound"
        p = p / 2 if len(more) == 1 and ratio > 0 else p
    return {"nested_in": name, "ratio": ratio, "p": p, "note": note}


def _sd_fixed(fit: Fit) -> str:
    """What to say of a fit that was not free to choose its sd, beside others that were."""
    if fit.problem.few:
        return f"{words(fit.problem)}; without it in others: fix it in all (fixed=) to compare the curves alone"
    sds = fit.parameters.loc[~fit.parameters.index.isin(list(fit.model.parameters))]
    held = sds[sds["status"] == FIXED]
    if held.empty:
        return ""
    said = ", ".join(f"{name} fixed at {value:.3g}" for name, value in held["value"].items())
    return f"{said}, estimated in others: fix it in all (fixed=) to compare the curves alone"


def _is_part(small: Fit, large: Fit) -> bool:
    """Whether ``small`` is ``large`` with some of its parameters fixed."""
    same = small.model.name == large.model.name and small.model.rhs == large.model.rhs
    same &= small.model.curve == large.model.curve
    free_small, free_large = set(_names_in(small, large)), set(large.problem.names)
    if not same or not _same_errors(small, large) or not free_small < free_large:
        return False
    tied = set(small.request.tie)
    both = [name for name in small.model.parameters if name not in free_large | tied]
    return all(small.problem.values[name] == large.problem.values[name] for name in both)


def _same_errors(small: Fit, large: Fit) -> bool:
    """Whether the error of the first is that of the second, with some of its sds fixed; 0 where it has no part."""
    if small.error == large.error:
        fixed = zip(small.problem.sd, large.problem.sd, ~small.problem.sd_free & ~large.problem.sd_free, strict=True)
        return all(one == other for one, other, both in fixed if both)
    return small.error == large.problem.error.simpler


def _names_in(small: Fit, large: Fit) -> list[str]:
    """What is free in ``small``; its sds by their names in ``large``, of which it may have no additive part."""
    if small.error != large.problem.error.simpler:
        return small.problem.names
    additive = large.problem.error.additive(len(large.model.outputs))
    others = [name for name, adds in zip(large.problem.sd_names, additive, strict=True) if not adds]
    there = dict(zip(small.problem.sd_names, others, strict=True)) if len(others) == len(small.problem.sd_names) else {}
    return [there.get(name, name) for name in small.problem.names]


def _at_bound(fit: Fit, other: Fit, name: str) -> bool:
    """Whether what ``other`` estimates more is at a bound in ``fit``."""
    if name not in fit.model.parameters:
        # An sd that is fixed at 0, or that a proportional error does not have.
        additive = other.problem.error.additive(len(other.model.outputs))
        return additive[other.problem.sd_names.index(name)] or fit.request.fixed.get(name) == 0
    parameter, value = fit.model.parameters[name], fit.problem.values[name]
    return value in (parameter.min, parameter.max)


def _check_same(fits: Sequence[Fit]) -> None:
    """Refuse likelihoods that do not compare."""
    first = fits[0]
    for fit in fits:
        fit.must_stand_alone("comparison of models")
        if fit.problem.priors:
            found = f"{fit.model.name} was fitted with priors: its likelihood is not at its maximum"
            raise one_problem(found, "Compare fits without priors, or forecasts (ck.forecast_error).")
    for other in fits[1:]:
        if other.censoring != first.censoring:
            found = f"values below the limit were handled by {first.censoring!r} and by {other.censoring!r}"
            raise one_problem(found, "Fit every model with the same censoring=.")
        if other.study.unit != first.study.unit:
            raise one_problem(
                f"the fits are in {first.study.unit} and in {other.study.unit}", "Convert one of the studies."
            )
        mine, theirs = (_rows(fit) for fit in (first, other))
        if not mine.equals(theirs):
            found = f"{first.model.name} has {count(len(mine), 'sample')} and {other.model.name} {len(theirs)}"
            found = found if len(mine) != len(theirs) else "the fits are of the same number of different samples"
            raise one_problem(f"{found}: their likelihoods do not compare", "Fit every model to the same rows.")


def _rows(fit: Fit) -> pd.DataFrame:
    samples = fit.problem.samples
    ends = {"day": samples.day, "lower": samples.lower, "upper": samples.upper}
    table = pd.DataFrame({"output": [list(fit.model.outputs)[i] for i in samples.output], **ends})
    if len(fit.model.outputs) == 1:
        table["output"] = ""
    return table.assign(subject=fit.subject)


def _forecast(fit: Fit, samples: Samples, until: float) -> dict[str, object]:
    late = samples.taken(samples.day + fit.study.infusion_day(fit.subject) > until)
    quantified = late.quantified
    row: dict[str, object] = {"outcome": fit.outcome, "n_quantified": int(quantified.sum())}
    row |= {"n_censored": int((~quantified).sum()), "log_score": np.nan, "absolute_error": np.nan}
    if not len(late) or not fit.fitted:
        return row
    problem, free = fit.problem, fit.x[: len(fit.problem.free)]
    found, _ = curve(fit.model, problem.ties, free, problem.inputs_at(late.day, late.output), 0)
    predicted = jnp.asarray(found.value[: len(late)])
    ln_sd = problem.ln_sds(fit.x)[:, late.output]
    density = problem.error.log_density(predicted, ln_sd, late.rows(mass=True))
    row["log_score"] = float(np.mean(np.asarray(density)))
    if quantified.any():
        row["absolute_error"] = float(np.mean(np.abs(np.log(late.upper) - np.asarray(predicted))[quantified]))
    return row
