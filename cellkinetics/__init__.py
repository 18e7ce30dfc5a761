"""Cellular kinetics of CAR-NK and CAR-T cells: models, censored fits of qPCR curves, dose cohorts compared."""

import warnings
from importlib import import_module, util
from typing import TYPE_CHECKING, Any

import jax

# Copies/ug span seven decades and second derivatives are taken: single precision is not enough.
jax.config.update("jax_enable_x64", True)

__version__ = "0.2.0"

from cellkinetics import models
from cellkinetics.bayes.posterior import PopulationPosterior
from cellkinetics.bayes.sample import sample_posterior
from cellkinetics.charts.models import plot_models
from cellkinetics.charts.values import plot_nca, plot_waterfall
from cellkinetics.cohorts.comparison import Comparison, WindowResult, compare_cohorts
from cellkinetics.cohorts.curves import cohort_curves
from cellkinetics.cohorts.nca import nca
from cellkinetics.cohorts.nca_summary import nca_summary
from cellkinetics.cohorts.power import Power, power
from cellkinetics.cohorts.through_population import PopulationComparison
from cellkinetics.data.assay import Assay
from cellkinetics.data.example import example
from cellkinetics.data.reading import read_study
from cellkinetics.data.study import Study
from cellkinetics.errors import (
    AssayWarning,
    DoseWarning,
    Doubt,
    FileWarning,
    ModelError,
    ModelWarning,
    StudyError,
    StudyWarning,
    TextWarning,
    TimeWarning,
)
from cellkinetics.figures.paper import style
from cellkinetics.fitting.each import fit_each
from cellkinetics.fitting.fit import fit
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.identifiability import Identifiability, identifiability
from cellkinetics.fitting.model_choice import compare_models, forecast_error
from cellkinetics.fitting.result import Fit
from cellkinetics.joint.comparison import ModelComparison
from cellkinetics.joint.result import JointFit
from cellkinetics.modelling.loading import load_model
from cellkinetics.modelling.model import Check, Model
from cellkinetics.modelling.parameter import Parameter, Parameters, ParameterSet
from cellkinetics.modelling.prior import LogitNormal, LogNormal, Normal
from cellkinetics.modelling.structure import Equations
from cellkinetics.optimising.status import Status
from cellkinetics.population.fit import fit_population
from cellkinetics.population.importance import LogLikelihood
from cellkinetics.population.likelihood import population_log_likelihood
from cellkinetics.population.result import PopulationFit
from cellkinetics.predictive.covariate_choice import CovariateChoice, choose_covariates
from cellkinetics.predictive.forecast import Forecast, forecast
from cellkinetics.predictive.npde import NPDE, npde
from cellkinetics.predictive.trial import VirtualTrial, virtual_trial
from cellkinetics.predictive.vpc import VPC, vpc
from cellkinetics.reporting.results import load, save
from cellkinetics.solving.simulating import simulate

__all__ = [
    "NPDE",
    "VPC",
    "Assay",
    "AssayWarning",
    "Check",
    "Comparison",
    "CovariateChoice",
    "DoseWarning",
    "Doubt",
    "Equations",
    "FileWarning",
    "Fit",
    "Fits",
    "Forecast",
    "Identifiability",
    "JointFit",
    "LogLikelihood",
    "LogNormal",
    "LogitNormal",
    "Model",
    "ModelComparison",
    "ModelError",
    "ModelWarning",
    "Normal",
    "Parameter",
    "ParameterSet",
    "Parameters",
    "PopulationComparison",
    "PopulationFit",
    "PopulationPosterior",
    "Power",
    "Status",
    "Study",
    "StudyError",
    "StudyWarning",
    "TextWarning",
    "TimeWarning",
    "VirtualTrial",
    "WindowResult",
    "choose_covariates",
    "cohort_curves",
    "compare_cohorts",
    "compare_models",
    "example",
    "fit",
    "fit_each",
    "fit_population",
    "forecast",
    "forecast_error",
    "identifiability",
    "load",
    "load_model",
    "models",
    "nca",
    "nca_summary",
    "npde",
    "plot_models",
    "plot_nca",
    "plot_waterfall",
    "population_log_likelihood",
    "power",
    "read_study",
    "sample_posterior",
    "save",
    "simulate",
    "style",
    "virtual_trial",
    "vpc",
]


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A module by the name that it had before there were rooms, with a warning that says where it is."""
        rooms = ("fitting", "optimising", "joint", "cohorts", "data", "reporting", "likelihood", "modelling", "solving",
                 "statistics", "figures")  # fmt: skip
        for room in () if name.startswith("_") else rooms:
            place = f"{__name__}.{room}.{name}"
            if util.find_spec(place):
                warnings.warn(f"{__name__}.{name} is {place} now.", DeprecationWarning, stacklevel=2)
                return import_module(place)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
