"""A population of a model with two outputs and a covariate over time, at its truth."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd

import cellkinetics as ck
from cellkinetics.optimising.request import Request
from cellkinetics.population.design import design_of, prior_of
from cellkinetics.population.patients import patients_of
from cellkinetics.population.running import Population
from cellkinetics.population.saem import Theta

SD, BETWEEN = (0.3, 0.4), 0.5
DAYS, LEUKOCYTES = np.array([4.0, 14, 28, 60]), [(0.0, 500.0), (14.0, 4000.0)]


def both(t, leukocytes, c, k, vcn):
    """Cells that are lost at one rate, as both assays see them."""
    cells = c * jnp.exp(-k * t)
    return {"copies_per_ug": 1e5 * cells * vcn / leukocytes, "cells_per_ul": cells}


MODEL = ck.Model(
    name="both assays", reference="this test",
    parameters={
        "c": ck.Parameter(40.0, "cells/uL", "this test"), "k": ck.Parameter(0.05, "1/day", "this test"),
        "vcn": ck.Parameter(3.0, "1", "this test"),
    },
    outputs={"copies_per_ug": "copies/ug", "cells_per_ul": "cells/uL"}, inputs={"leukocytes": "cells/uL"}, curve=both,
)  # fmt: skip


def study_of(*courses):
    """Four patients, each with the next of the courses of leukocytes."""
    rng, rows = np.random.default_rng(8), []
    for number in range(4):
        course = courses[number % len(courses)]
        truth = {"c": 40 * np.exp(0.4 * rng.normal())}
        curves = ck.simulate(MODEL, truth, DAYS, inputs={"leukocytes": course})
        for at, name in enumerate(MODEL.outputs):
            values = curves[name] * np.exp(0.3 * rng.normal(size=len(DAYS)))
            cells = np.interp(DAYS, *np.transpose(course))
            rows.append(pd.DataFrame({"day": DAYS, "DVID": at + 1, "value": values, "leukocytes": cells}))
            rows[-1]["subject"] = f"P{number + 1}"
    return ck.read_study(pd.concat(rows).assign(SIMULATED=1), lloq={"1": 1e-3, "2": 1e-3})


def moved_to(fit, study):
    """A fit of another model at the truth."""
    request = Request.of(MODEL, free=["c", "vcn"])
    patients = patients_of(request, study, ("c",))
    design = design_of(patients, ["c"], None)
    theta = Theta(jnp.log(jnp.array([40.0, 3.0])), jnp.array([[BETWEEN**2]]), jnp.log(jnp.array(SD)))
    population = Population(patients, design, prior_of(patients, design), patients.method)
    polished = replace(fit.polished, theta=theta)
    return replace(
        fit, request=request, study=study, patients=patients, design=design, population=population, polished=polished
    )
