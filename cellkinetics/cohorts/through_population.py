"""Cohorts through a population: what the dose, or a group, does to the parameters that vary between patients.

Each parameter's coefficients are tested twice: by a likelihood ratio against the population without them, which is
asymptotic, and by giving the doses (groups) to other patients. The latter takes the score of each patient, the slope of
its log-likelihood by its own mean, in the population without the coefficients: a function of the samples alone, so that
under no effect every arrangement of the doses over these scores is as likely. All are taken where there are no more
than `MOST_ARRANGEMENTS`. Of few patients the likelihood ratio itself is permuted besides, each arrangement fitted anew
(`permuting`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.cohorts import through_population_text
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.groups import NOBODY
from cellkinetics.data.groups import of as groups_of
from cellkinetics.data.study import Study
from cellkinetics.joint.design import BY_DOSE
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import takes_doses
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.request import Request
from cellkinetics.permuting.refits import refitted
from cellkinetics.population import prediction
from cellkinetics.population.fit import FITTED_BY, fit_population
from cellkinetics.population.patients import patients_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.table import NORMAL
from cellkinetics.saving import UNSAVED, Saves, storable
from cellkinetics.solving.simulation import simulate
from cellkinetics.statistics import arrangements
from cellkinetics.statistics.ranks import holm

if TYPE_CHECKING:
    from cellkinetics.population.design import Design

MOST_ARRANGEMENTS = 20_000  # arrangements
TIED_STATISTICS = 1e-9  # of a statistic: nearer ones are tied
SHIFTED = 0.05  # standard errors, of differences by coefficients
DAYS_OF_PEAK = 400  # days on which the highest point of a curve is looked for
COEFFICIENT_COLUMNS = [
    "parameter", "effect", "estimate", "lower", "upper", "level", "lr", "lr_error", "df", "p_lr", "p", "p_holm",
    "smallest_p", "arrangements", "p_refits", "refits", "attained", "n", "note",
]  # fmt: skip
OF_MEDIAN_CURVE = ["quantity", "effect", "estimate", "lower", "upper", "level"]
ALIKE = 1e-12  # of a change: a difference of changes below is rounding
HIGHEST, LATE_LESS_PEAK, LATE_OVER_PEAK = "peak", "persistence less peak", "persistence over peak"


@storable
@dataclass(frozen=True, eq=False, repr=False)
class PopulationComparison(Saves, HandsOutCopies):
    """What the dose, or a group, moves in a population.

    Parameters
    ----------
    by : what may drive the parameters. model : its name. n : patients.
    table : DataFrame
        One row a coefficient: parameter, effect ("dose exponent", "ratio high : low", "change ..."), estimate, lower,
        upper (95%, Wald), lr (likelihood ratio against the population without the parameter's coefficients), lr_error
        (its Monte Carlo error), df, p_lr (chi-squared), p (permutation of scores), p_holm (over the parameters),
        smallest_p, arrangements, p_refits (of the likelihood ratio among those of refits; NaN with more than 50
        patients, or 15 where a parameter has one value for all), refits (how many), attained (the largest level up to
        5% that it can have), n, note.
    curves : DataFrame
        The same of the curve of the median patient over the range of doses (last group : first): quantity ("peak",
        "level on day ...", the latter less the former, or of ratios over it), effect, estimate, lower, upper. Empty
        where it could not be had.
    every : whether all arrangements of the doses were taken.
    outcome : of the population with all coefficients. converged : whether all of the populations did.
    infused : whether the model takes the doses, which stay with the patients.
    share_below : of the samples, those that are censored.
    method : of the populations, whose likelihoods the ratios are of.
    fit : the population with all coefficients; None of one read from a file.
    """

    by: str
    model: str
    n: int
    table: pd.DataFrame
    curves: pd.DataFrame
    every: bool
    outcome: str
    converged: bool
    infused: bool
    share_below: float
    method: str = FITTED_BY[0]
    fit: PopulationFit | None = field(default=None, metadata=UNSAVED)

    @property
    def answer(self) -> str:
        """One line: what is shown, and for what nothing is."""
        return through_population_text.answer(self)

    def summary(self) -> str:
        """The comparison in words."""
        return through_population_text.summary(self)

    def __repr__(self) -> str:
        return f"<PopulationComparison by {self.by}, {self.model}, {self.n} patients: {self.answer}>"


def through_population(
    study: Study,
    by: str,
    population: Model | Mapping[str, Any] | PopulationFit,
    *,
    seed: int,
    progress: bool,
    permutations: int = 200,
) -> PopulationComparison:
    """See `compare_cohorts`.

    Raises
    ------
    TypeError, ValueError
        ``population`` is none of what it may be, of another study, or has an argument that `fit_population` has not.
    """
    full = _fitted(study, by, population, seed, progress)
    names = tuple(dict.fromkeys(effect.parameter for effect in full.design.effects if effect.covariate == by))
    rows, every, converged = [], True, full.converged
    for name in names:
        smaller = full.without(f"{name}:{by}")
        converged &= smaller.converged
        ratio = full.likelihood_ratio(smaller)
        test = permuted(_scores(smaller, name), _weights(full.design, name, by), seed)
        again = refitted(full, smaller, name, by, permutations, seed)
        every &= test.every
        for coefficient in _coefficients(full, name, by):
            rows.append(
                coefficient
                | {
                    "lr": max(float(ratio["statistic"]), 0.0), "lr_error": ratio["error"], "df": int(ratio["df"]),
                    "p_lr": ratio["p"], "p": test.p, "smallest_p": test.smallest_p, "arrangements": test.arrangements,
                    "p_refits": again.p if again else math.nan, "refits": again.refits if again else 0,
                    "attained": again.attained if again else math.nan, "n": len(full.subjects),
                    "note": _note(full, smaller),
                }
            )  # fmt: skip
    table = pd.DataFrame(rows, columns=[name for name in COEFFICIENT_COLUMNS if name != "p_holm"])
    adjusted = dict(zip(names, holm(table.groupby("parameter", sort=False)["p"].first()), strict=True))
    table.insert(COEFFICIENT_COLUMNS.index("p_holm"), "p_holm", table["parameter"].map(adjusted))
    return PopulationComparison(
        by, full.model.name, len(full.subjects), table, _curves(full, by), every, full.outcome, converged,
        takes_doses(full.model), full.n_censored / max(full.n, 1), full.asked["method"], full,
    )  # fmt: skip


def _fitted(
    study: Study, by: str, population: Model | Mapping[str, Any] | PopulationFit, seed: int, progress: bool
) -> PopulationFit:
    """The population with coefficients of what is compared."""
    if isinstance(population, PopulationFit):
        if population.study.sha256 != study.sha256:
            raise ValueError("population= is a fit of another study. Give the model, or fit this study.")
        if any(effect.covariate == by for effect in population.design.effects):
            return population
        model, asked = population.model, dict(population.asked)
    elif isinstance(population, Model):
        model, asked = population, {}
    elif isinstance(population, Mapping):
        asked = dict(population)
        model = asked.pop("model", None)
        known = [name for name in inspect.signature(fit_population).parameters if name not in ("model", "study")]
        for name in asked:
            if name not in known:
                raise ValueError(f"population={{{name!r}: ...}}: fit_population has no {name}. It takes {known}.")
        if not isinstance(model, Model):
            raise ValueError("population={...} has no model: give {'model': models.load(name), ...}.")
    else:
        text = f"population={type(population).__name__}: give a model, {{'model': model, ...}} or a PopulationFit."
        raise TypeError(text)
    covariates = dict(asked.get("covariates") or {})
    if not any(by in ((how,) if isinstance(how, str) else how) for how in covariates.values()):
        for name in _varying(study, model, asked):
            given = covariates.get(name, ())
            covariates[name] = [*((given,) if isinstance(given, str) else given), by]
    return fit_population(model, study, **{"seed": seed, "progress": progress, **asked, "covariates": covariates})


def _varying(study: Study, model: Model, asked: Mapping[str, Any]) -> Sequence[str]:
    """What varies between patients where nothing else is said."""
    if asked.get("random") is not None:
        return tuple(asked["random"])
    passed = {name: asked[name] for name in ("fixed", "free", "tie", "doses", "error") if asked.get(name) is not None}
    return patients_of(Request.of(model, **passed), study, None).names


def _column(design: Design, name: str) -> int:
    return next(i for i, effect in enumerate(design.effects) if effect.parameter == name and not effect.covariate)


def _weights(design: Design, name: str, by: str) -> Floats:
    """(n, coefficients) what the parameter's coefficients are multiplied with."""
    mine = [i for i, effect in enumerate(design.effects) if effect.parameter == name and effect.covariate == by]
    return design.matrix[:, design.names.index(name), :][:, mine]


def _scores(smaller: PopulationFit, name: str) -> Floats:
    """(n,) slopes of each patient's log-likelihood by its mean of the parameter."""
    return smaller.polished.scores[:, _column(smaller.design, name)]


@dataclass(frozen=True)
class Permuted:
    """A test by giving weights to other patients; the smallest p that these scores can have."""

    p: float
    smallest_p: float
    arrangements: int
    every: bool


def permuted(scores: Floats, weights: Floats, seed: int) -> Permuted:
    """Two-sided test of scores (n,) against weights (n, w), by the score statistic.

    Examples
    --------
    >>> import numpy as np
    >>> found = permuted(np.array([-1.0, -0.5, 0.2, 1.3]), np.array([[0.0], [0.0], [1.0], [1.0]]), 1)
    >>> found.p, found.arrangements
    (0.3333333333333333, 6)
    """
    levels, of = np.unique(weights, axis=0, return_inverse=True)
    sizes = np.bincount(of.reshape(-1)).tolist()
    count = arrangements.count(sizes)
    every = count <= MOST_ARRANGEMENTS
    rng = np.random.default_rng(seed)
    given = arrangements.all_of(sizes) if every else arrangements.sampled(sizes, MOST_ARRANGEMENTS, rng)
    centred = levels - weights.mean(axis=0)
    own = weights - weights.mean(axis=0)
    inverse = np.linalg.pinv(own.T @ own)
    sums = np.stack([column[given] @ scores for column in centred.T], axis=1)
    statistic = np.einsum("mw,wv,mv->m", sums, inverse, sums)
    observed = float((own.T @ scores) @ inverse @ (own.T @ scores))
    as_large = int((statistic >= observed * (1 - TIED_STATISTICS)).sum())
    if every:
        smallest = float(np.mean(statistic >= statistic.max() * (1 - TIED_STATISTICS)))
        return Permuted(max(as_large, 1) / count, smallest, count, True)
    return Permuted((1 + as_large) / (1 + len(given)), 1 / (1 + len(given)), len(given), False)


def _coefficients(fit: PopulationFit, name: str, by: str) -> list[dict[str, Any]]:
    """Estimate and interval of each, as a factor where it is one of a group."""
    scale, found = fit.patients.parameters[name].scale, []
    for effect in fit.design.effects:
        if effect.parameter != name or effect.covariate != by:
            continue
        row = fit.parameters.loc[effect.label]
        ends = np.array([row["value"], row["lower"], row["upper"]], float)
        if by == BY_DOSE:
            what = "dose exponent" if scale == "log" else f"change of the {scale} a unit of ln dose"
        elif effect.level:
            kind = {"log": "ratio", "logit": "odds ratio", "identity": "difference"}[scale]
            what = f"{kind} {effect.level} : {effect.reference}"
            ends = np.exp(ends) if scale != "identity" else ends
        else:
            what = f"change on the {scale} scale a unit of {by}"
        ends = dict(zip(("estimate", "lower", "upper"), map(float, ends), strict=True))
        found.append({"parameter": name, "effect": what, **ends, "level": 0.95})
    return found


def _note(full: PopulationFit, smaller: PopulationFit) -> str:
    notes = [] if full.converged else [f"with it: {full.outcome}"]
    notes += [] if smaller.converged else [f"without it: {smaller.outcome}"]
    return "; ".join(notes)


def _curves(fit: PopulationFit, by: str) -> pd.DataFrame:
    """Peak and late level of the median patient, from the lowest to the highest dose or the first to the last group."""
    ends = _ends(fit, by)
    if ends is None:
        return pd.DataFrame(columns=OF_MEDIAN_CURVE)
    last_days = [float(problem.samples.day.max()) for problem in fit.patients.problems]
    late = float(np.median(last_days))
    first = min(float(problem.samples.day.min()) for problem in fit.patients.problems)
    days = np.unique(
        np.append(np.linspace(first, late, DAYS_OF_PEAK), np.linspace(first, min(late, 40.0), DAYS_OF_PEAK))
    )
    beta = np.asarray(fit.polished.theta.beta, float)
    covariance = np.nan_to_num(fit.polished.covariance[: len(beta), : len(beta)])
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    moved = [beta, *(beta + side * SHIFTED * np.diag(errors)[i] for i in range(len(beta)) for side in (1, -1))]
    ln = np.stack([_ln_peak_and_level(fit, covariates, doses, days, moved) for _, covariates, doses in ends])
    change = (ln[1] - ln[0]) / ends[1][0]
    less = change[:, 1] - change[:, 0]
    # Where the model has both move alike, rounding is all that is left.
    change = np.column_stack([change, np.where(np.abs(less) < ALIKE * np.abs(change).max(axis=1), 0.0, less)])
    step = np.where(errors > 0, 2 * SHIFTED * errors, 1.0)[:, None]
    slopes = (change[1::2] - change[2::2]) / step
    half = NORMAL * np.sqrt(np.maximum(np.einsum("pk,pq,qk->k", slopes, covariance, slopes), 0.0))
    if by == BY_DOSE:
        what = "dose exponent"
        three = np.stack([change[0], change[0] - half, change[0] + half])
    else:
        known = groups_of(fit.study, by).known
        what = f"ratio {known[-1]} : {known[0]}"
        three = np.exp(np.stack([change[0], change[0] - half, change[0] + half]))
    quantities = (HIGHEST, f"level on day {late:g}", LATE_LESS_PEAK if by == BY_DOSE else LATE_OVER_PEAK)
    rows = [(quantity, what, *three[:, i], 0.95) for i, quantity in enumerate(quantities)]
    return pd.DataFrame(rows, columns=OF_MEDIAN_CURVE)


End = tuple[float, dict[str, Any], object]


def _ends(fit: PopulationFit, by: str) -> tuple[End, End] | None:
    """Both ends of what is compared: over what the change is divided, covariates, doses; None where there are none."""
    doses = fit.study.covariates[BY_DOSE].astype(float).reindex(list(fit.subjects))
    if by == BY_DOSE:
        low, high = float(doses.min()), float(doses.max())
        over = math.log(high / low)
        given = [low, high]
        each = [{BY_DOSE: low}, {BY_DOSE: high}]
    elif by in fit.study.covariates and any(effect.covariate == by and effect.level for effect in fit.design.effects):
        members = groups_of(fit.study, by)
        of = members.members.reindex(list(fit.subjects))
        known = [name for name in members.known if (of == name).any() and name != NOBODY]
        usual = float(np.exp(np.log(doses[doses > 0]).mean())) if (doses > 0).any() else math.nan
        # A cohort goes with its dose; other groups are compared at the same one.
        given = [float(doses[of == name].median()) if by == "cohort" else usual for name in (known[0], known[-1])]
        over, each = 1.0, [{by: known[0]}, {by: known[-1]}]
    else:
        return None
    takes = takes_doses(fit.model)
    if takes and not all(np.isfinite(given)):
        return None
    taken = given if takes else [None, None]
    low_end, high_end = ((over, one, dose) for one, dose in zip(each, taken, strict=True))
    return low_end, high_end


def _ln_peak_and_level(
    fit: PopulationFit, covariates: dict[str, Any], doses: object, days: Floats, moved: Sequence[Floats]
) -> Floats:
    """(coefficients moved, 2) ln of the peak, and of the last day's level, of the first output."""
    known = {effect.column for effect in fit.design.effects}
    given = {name: value for name, value in covariates.items() if name in known}
    problem, sds = fit.patients.problems[0], np.zeros(int(fit.patients.sd_free.sum()))
    drawn = [problem.natural(np.append(prediction.estimates(fit, given, beta), sds)) for beta in moved]
    table = simulate(fit.model, pd.DataFrame(drawn), days, doses)
    values = table[next(iter(fit.model.outputs))].to_numpy().reshape(len(moved), len(days))
    with np.errstate(divide="ignore"):
        return np.log(np.column_stack([values.max(axis=1), values[:, -1]]))
