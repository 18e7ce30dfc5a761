"""Cellular kinetics of CAR-NK and CAR-T cells: models, censored fits of qPCR curves, dose cohorts compared."""

import jax

# Copies/ug span seven decades and second derivatives are taken: single precision is not enough.
jax.config.update("jax_enable_x64", True)

__version__ = "0.1.0"

from cellkinetics import models
from cellkinetics.assay import Assay
from cellkinetics.errors import ModelError, StudyError
from cellkinetics.fits import Fits, fit_each
from cellkinetics.fitting import fit
from cellkinetics.model import Model, Parameter, load_model
from cellkinetics.reading import read_study
from cellkinetics.result import Fit
from cellkinetics.simulated import example
from cellkinetics.simulation import simulate
from cellkinetics.storage import load
from cellkinetics.study import Study

__all__ = [
    "Assay",
    "Fit",
    "Fits",
    "Model",
    "ModelError",
    "Parameter",
    "Study",
    "StudyError",
    "example",
    "fit",
    "fit_each",
    "load",
    "load_model",
    "models",
    "read_study",
    "simulate",
]
