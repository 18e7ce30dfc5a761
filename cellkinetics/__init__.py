"""Cellular kinetics of CAR-NK and CAR-T cells: models, censored fits of qPCR curves, dose cohorts compared."""

import jax

# Copies/ug span seven decades and second derivatives are taken: single precision is not enough.
jax.config.update("jax_enable_x64", True)

__version__ = "0.1.0"

from cellkinetics import models
from cellkinetics.assay import Assay
from cellkinetics.cohort_curves import cohort_curves
from cellkinetics.comparison import Comparison, compare_cohorts
from cellkinetics.errors import ModelError, StudyError
from cellkinetics.fits import Fits, fit_each
from cellkinetics.fitting import fit
from cellkinetics.identifiability import Identifiability, identifiability
from cellkinetics.joint import JointFit
from cellkinetics.joint_comparison import ModelComparison
from cellkinetics.loading import load_model
from cellkinetics.model import Check, Model
from cellkinetics.model_choice import compare_models, forecast_error, plot_models
from cellkinetics.nca import nca
from cellkinetics.nca_summary import nca_summary
from cellkinetics.parameter import Parameter, Parameters
from cellkinetics.power import Power, power
from cellkinetics.prior import LogitNormal, LogNormal, Normal
from cellkinetics.reading import read_study
from cellkinetics.result import Fit
from cellkinetics.simulated import example
from cellkinetics.simulation import simulate
from cellkinetics.storage import load
from cellkinetics.study import Study

__all__ = [
    "Assay",
    "Check",
    "Comparison",
    "Fit",
    "Fits",
    "Identifiability",
    "JointFit",
    "LogNormal",
    "LogitNormal",
    "Model",
    "ModelComparison",
    "ModelError",
    "Normal",
    "Parameter",
    "Parameters",
    "Power",
    "Study",
    "StudyError",
    "cohort_curves",
    "compare_cohorts",
    "compare_models",
    "example",
    "fit",
    "fit_each",
    "forecast_error",
    "identifiability",
    "load",
    "load_model",
    "models",
    "nca",
    "nca_summary",
    "plot_models",
    "power",
    "read_study",
    "simulate",
]
