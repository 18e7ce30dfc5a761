"""What a notebook shows of each result, and which of its attributes are for the library alone."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from functools import partial, singledispatch

from cellkinetics.bayes.posterior import PopulationPosterior
from cellkinetics.charts import models, values
from cellkinetics.cohorts import answer
from cellkinetics.cohorts.comparison import Comparison
from cellkinetics.cohorts.nca import NCATable, shown_of, words_of
from cellkinetics.cohorts.power import Power
from cellkinetics.cohorts.through_population import PopulationComparison
from cellkinetics.data import overview
from cellkinetics.data.study import Study
from cellkinetics.fitting.bootstrap import Bootstrap
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.identifiability import Identifiability
from cellkinetics.fitting.model_choice import EVERYONE, ModelTable
from cellkinetics.fitting.profile import Profile
from cellkinetics.fitting.profiles import Profiles
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import FIXED
from cellkinetics.joint.comparison import ModelComparison
from cellkinetics.joint.result import JointFit
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.model import Model
from cellkinetics.notebook import Card
from cellkinetics.population.importance import LogLikelihood
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.table import OTHER
from cellkinetics.predictive.covariate_choice import CovariateChoice
from cellkinetics.predictive.forecast import Forecast
from cellkinetics.predictive.npde import NPDE
from cellkinetics.predictive.trial import VirtualTrial
from cellkinetics.predictive.vpc import VPC
from cellkinetics.words import count

MOST_DRAWN = 200  # whose samples take more than a moment to draw
OUTCOME, BRIEF = 90, 40  # characters of an outcome in the table of a study, and beside many columns
ESTIMATES = ["value", "lower", "upper", "unit", "status"]
# Attributes of a result that other parts of the library read, and a user has no question for.
_OF_ALL = frozenset({"digested"})
_INNER = {
    "Study": {"each", "n_rows"},
    "Fit": {
        "columns", "degrees_of_freedom", "has_priors", "inflation", "kept", "ln_curve", "must_stand_alone",
        "one_by_one", "output_names", "problem", "request", "sd_is_known", "solved_implicitly", "spread",
        "sum_ln_quantified", "x",
    },
    "Fits": {"by_subject"},
    "JointFit": {
        "as_fits", "columns", "degrees_of_freedom", "has_priors", "inflation", "reference_dose", "request", "s",
        "sd_by", "sd_is_known", "sum_ln_quantified",
    },
    "Model": {
        "alternatives", "canonical", "changes", "corners", "curve", "default_free", "description", "doses", "dosing",
        "file", "held", "initial", "lags", "linear_in_dose", "look_again", "made_of", "markers", "natural", "observe",
        "path", "require", "rhs", "rtol", "scale_free", "sha256", "simulator", "start", "states", "stiff", "structure",
        "switches", "values",
    },
    "Comparison": {"checked", "individual", "names", "with_model", "with_population"},
    "Profiles": {"by_subject"},
    "Bootstrap": {"problem"},
    "PopulationFit": {
        "as_fits", "asked", "conditional_covariance", "conditional_mean", "design", "has_priors", "like_zero",
        "natural_at", "path", "patients", "polished", "population", "population_means", "refit", "request",
        "sd_is_known", "sum_ln_quantified",
    },
    "PopulationPosterior": {"labels", "natural", "phi", "random", "v"},
    "LogLikelihood": {"uneven"},
    "Forecast": {"drawn", "ln_curves", "weights"},
    "VirtualTrial": {"drawn", "ln_curves", "typical"},
}  # fmt: skip


def inner_of(result: object) -> frozenset[str]:
    """Attributes that `dir` leaves out."""
    return _OF_ALL.union(*(_INNER.get(kind.__name__, ()) for kind in type(result).__mro__))


@singledispatch
def of(result: object) -> Card | None:
    """The card of a result; None where a notebook shows its text."""
    del result


@of.register
def _(study: Study) -> Card:
    facts = pd.DataFrame(list(overview.facts(study).items()), columns=["", " "])
    return Card(f"Study ({study.source})", _simulated(study), facts, study.plot)


@of.register
def _(model: Model) -> Card:
    return Card(model.name, f"{model.reference}; {model.population}", model.parameters.table, model.plot)


@of.register
def _(fit: Fit) -> Card:
    picture = fit.plot if fit.fitted else None
    words = _also_simulated(fit.outcome, fit.study.simulated)
    return Card(f"{fit.subject}: {fit.model.name}", words, _estimated(fit.parameters), picture)


@of.register
def _(fits: Fits) -> Card:
    table = fits.outcomes.drop(columns=["n_excluded", "n_free"])
    return Card(repr(fits).strip("<>"), _simulated(fits.study), _outcome_last(table), _predicted(fits))


@of.register
def _(fit: JointFit) -> Card:
    words = _also_simulated(fit.outcome, fit.study.simulated)
    title, of = repr(fit).strip("<>").removesuffix(f": {fit.outcome}"), fit.as_fits
    return Card(title, words, _estimated(fit.parameters), _predicted(of))


@of.register(ModelTable)
def _(table: pd.DataFrame) -> Card:
    each = table.index.nlevels > 1
    whole = table.loc[EVERYONE] if each else table
    best, criterion = whole["weight"].idxmax(), table.attrs["criterion"]
    words = f"{best} has the largest weight, {whole['weight'].max():.2f} by {criterion}"
    words = words if whole["weight"].any() else "no model has a weight: outcomes say why"
    nested = ["nested_in", "p"] if table["nested_in"].any() else []
    shown = table[["n", "n_free", "log_likelihood", "delta", "weight", *nested, "outcome"]]
    shown = _outcome_last(shown.reset_index() if each else shown, BRIEF)
    picture = partial(models.weights, table) if each and len(table) <= MOST_DRAWN else None
    return Card(f"Comparison of {count(len(whole), 'model')}", _also_simulated(words, table.attrs["simulated"]), shown,
                picture)  # fmt: skip


@of.register
def _(found: Comparison) -> Card:
    table = found.table[["window", "quantity", "estimate", "lower", "upper", "p", "p_holm", "n"]]
    return Card(f"Comparison by {found.by}", answer.of(found), table, found.plot)


@of.register
def _(found: ModelComparison) -> Card:
    shown = found.table[["parameter", "effect", "estimate", "lower", "upper", "p", "p_holm", "n"]]
    return Card(f"{found.model.name} by {found.by}", found.reason, shown, found.plot)


@of.register
def _(profile: Profile) -> Card:
    words = _also_simulated(profile.method, profile.simulated)
    return Card("Profile likelihood", words, profile.intervals, profile.plot)


@of.register
def _(profiles: Profiles) -> Card:
    simulated = any(profile.simulated for profile in profiles.values())
    table = profiles.intervals
    picture = partial(profiles.plot, str(table["parameter"].iloc[0])) if len(table) else None
    return Card(repr(profiles).strip("<>"), "simulated data" if simulated else "", table, picture)


@of.register
def _(drawn: Bootstrap) -> Card:
    kept = f"{len(drawn.draws)} draws, {drawn.failed} without an optimum inside the bounds"
    return Card(f"Bootstrap ({drawn.kind})", "; ".join(filter(None, (kept, drawn.note))), drawn.intervals)


@of.register
def _(found: Identifiability) -> Card:
    return Card("Identifiability", found.reason, found.parameters)


@of.register
def _(found: Power) -> Card:
    return Card("Power", f"{found.asked} studies a number of patients, simulated", found.needed, found.plot)


@of.register
def _(population: PopulationFit) -> Card:
    table = population.parameters
    shown = table.loc[table["kind"] != OTHER, ["kind", "value", "rse", "lower", "upper", "shrinkage", "unit", "status"]]
    title = f"Population of {count(len(population.subjects), 'subject')}: {population.model.name}"
    picture = population.plot_predicted if len(population.subjects) <= MOST_DRAWN else None
    return Card(title, population.outcome, shown.rename_axis("parameter"), picture)


@of.register
def _(found: VPC) -> Card:
    shown = found.below[["stratum", "day", "n", "observed", "low", "high", "outside"]]
    return Card(repr(found).strip("<>"), "share of samples below the limit, beside the simulated", shown, found.plot)


@of.register
def _(found: NPDE) -> Card:
    return Card(repr(found).strip("<>"), "", found.tests, found.plot)


@of.register
def _(found: Forecast) -> Card:
    return Card(f"Forecast of {found.subject}", found.outcome, found.table, found.plot)


@of.register
def _(found: VirtualTrial) -> Card:
    title = f"Virtual trial of {found.patients:,} patients an arm"
    return Card(title, _also_simulated(found.outcome, found.simulated), found.last_day(), found.plot)


@of.register
def _(found: PopulationPosterior) -> Card:
    table = found.parameters[["mean", "sd", "lower", "upper", "unit", "ess_bulk", "r_hat"]].rename_axis("parameter")
    words = _also_simulated(found.outcome, found.simulated)
    return Card(f"Posterior of a population of {count(len(found.subjects), 'subject')}", words, table, found.plot)


@of.register
def _(found: LogLikelihood) -> Card:
    outcome = f"importance weights are {found.outcome}" if found.outcome == "even" else found.outcome
    each = pd.DataFrame(list(found.each.items()), columns=["subject", "log-likelihood"])
    return Card(repr(found).strip("<>"), outcome, each)


@of.register(NCATable)
def _(table: pd.DataFrame) -> Card:
    unit = table.attrs.get("unit", "")
    title = f"Non-compartmental analysis ({unit}, days)" if unit else "Non-compartmental analysis"
    picture = partial(values.plot_nca, table) if table["cmax_lower"].notna().any() else None
    return Card(title, words_of(table), shown_of(table), picture)


@of.register
def _(choice: CovariateChoice) -> Card:
    shown = choice.steps[["step", "tried", "change", "bicc", "difference", "error", "status"]]
    return Card(repr(choice).strip("<>"), choice.outcome, shown, choice.plot)


@of.register
def _(found: PopulationComparison) -> Card:
    shown = found.table[["parameter", "effect", "estimate", "lower", "upper", "lr", "p_lr", "p", "p_holm"]]
    return Card(f"{found.model} by {found.by}", found.answer, shown)


def _predicted(fits: Fits) -> Callable[[], object] | None:
    """Samples against curves, where they take no more than a moment."""
    return fits.plot_predicted if len(fits) <= MOST_DRAWN else None


def _outcome_last(table: pd.DataFrame, most: int = OUTCOME) -> pd.DataFrame:
    """With the first words of each outcome: all of them would be a page a patient."""
    words = [textwrap.shorten(str(words), most, placeholder=" ...") for words in table["outcome"]]
    return table.drop(columns="outcome").assign(outcome=words)


def _estimated(parameters: pd.DataFrame) -> pd.DataFrame:
    """What was estimated; the rows of a joint fit say whose they are."""
    first = [name for name in ("subject", "parameter") if name in parameters]
    return parameters.loc[parameters["status"] != FIXED, [*first, *ESTIMATES]]


def _simulated(study: Study) -> str:
    return "simulated data" if study.simulated else ""


def _also_simulated(outcome: str, simulated: bool) -> str:
    return f"{outcome}; simulated data" if simulated else outcome
