"""One course of cells seen by two assays: what leukopenia does to copies/ug, and what a joint fit gives back."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp

import cellkinetics as ck
from cellkinetics import models

MODEL = models.load("qpcr_and_flow")
STEIN = models.load("stein_2019_tisagenlecleucel")
P = MODEL.values()
DAYS = np.array([0, 1, 4, 7, 9, 9.3, 10, 12, 14, 21, 28, 60, 180, 365.0])
# Simulated: leukocytes/uL after a lymphodepletion, recovering steeply in the second week.
LEUKOCYTES = [(0.0, 300.0), (3.0, 80.0), (7.0, 100.0), (10.0, 900.0), (14.0, 4000.0), (28.0, 5000.0)]
INPUTS = {"leukocytes": LEUKOCYTES}
# A slow expansion: leukocytes recover faster than the CAR cells grow.
SLOW = {"fold": 100.0, "t_max": 14.0, "c_max": 120.0, "f_b": 0.05, "beta": 0.01, "vcn": 3.0}
SAMPLED = np.array([1, 3, 5, 7, 8, 9, 10, 12, 14, 16, 18, 21, 28, 60, 120.0])


def curves(days, values=None, leukocytes=LEUKOCYTES):
    found = MODEL.solve(np.asarray(days, float), values, inputs={"leukocytes": leukocytes})
    return tuple(np.asarray(found[name]) for name in ("copies_per_ug", "cells_per_ul"))


def peak(days, curve):
    return days[np.argmax(curve)]


@pytest.fixture(scope="module")
def table():
    """Simulated patient: 15 samples of each assay, sd 0.3 and 0.2, limits 3 copies/ug and 2 cells/uL."""
    rng = np.random.default_rng(2020)
    rows = []
    for output, sd, limit in (("copies_per_ug", 0.3, 3.0), ("cells_per_ul", 0.2, 2.0)):
        exact = curves(SAMPLED, SLOW)[output == "cells_per_ul"]
        for day, value in zip(SAMPLED, exact * np.exp(sd * rng.normal(size=len(SAMPLED))), strict=True):
            rows.append((day, output, f"<{limit:g}" if value < limit else value, limit))
    found = pd.DataFrame(rows, columns=["day", "DVID", "DV", "lloq"]).assign(subject="simulated")
    return found.assign(leukocytes=np.interp(found["day"], *zip(*LEUKOCYTES, strict=True)))


@pytest.fixture(scope="module")
def study(table):
    return ck.read_study(table)


@pytest.fixture(scope="module")
def copies_alone(table):
    return table[table["DVID"] == "copies_per_ug"].drop(columns="DVID")


@pytest.fixture(scope="module")
def joint(study):
    return ck.fit(MODEL, study)


@pytest.mark.parametrize("changed", [{}, SLOW])
def test_the_closed_form_solves_its_own_ode(changed):
    p = {**P, **changed}
    rise, fall = [t for t in DAYS if t < p["t_max"]], [t for t in DAYS if t >= p["t_max"]]
    accuracy = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}
    rho = np.log(p["fold"]) / p["t_max"]
    up = solve_ivp(
        lambda t, c: rho * c, (0, p["t_max"]), [p["c_max"] / p["fold"]], t_eval=[*rise, p["t_max"]], **accuracy
    )
    start = up.y[0, -1] * np.array([1 - p["f_b"], p["f_b"]])
    down = solve_ivp(
        lambda t, s: [-p["alpha"] * s[0], -p["beta"] * s[1]], (p["t_max"], DAYS[-1]), start, t_eval=fall, **accuracy
    )
    cells = np.concatenate([up.y[0, :-1], down.y.sum(axis=0)])
    copies = cells * p["vcn"] * (1e6 / 6.6) / np.interp(DAYS, *zip(*LEUKOCYTES, strict=True))
    np.testing.assert_allclose(curves(DAYS, changed)[1], cells, rtol=1e-9)
    np.testing.assert_allclose(curves(DAYS, changed)[0], copies, rtol=1e-9)


def test_the_two_outputs_are_converted_into_each_other_by_the_assay():
    copies, cells = curves(DAYS, leukocytes=2500.0)
    np.testing.assert_allclose(ck.Assay(vcn=P["vcn"]).to_cells_per_ul(copies, 2500.0), cells, rtol=1e-12)


def test_with_constant_leukocytes_both_assays_peak_on_t_max():
    days = np.linspace(0, 28, 2801)
    copies, cells = curves(days, SLOW, leukocytes=5000.0)
    assert peak(days, copies) == peak(days, cells) == pytest.approx(14.0)


def test_under_leukopenia_the_copies_peak_a_week_before_the_cells():
    days = np.linspace(0, 28, 2801)
    copies, cells = curves(days, SLOW)
    assert peak(days, cells) == pytest.approx(14.0)
    assert peak(days, copies) == pytest.approx(7.0, abs=0.05)


def test_no_sample_of_the_simulated_patient_has_more_car_cells_than_leukocytes():
    cells = curves(SAMPLED, SLOW)[1]
    assert np.all(cells < 0.2 * np.interp(SAMPLED, *zip(*LEUKOCYTES, strict=True)))


def test_leukocytes_have_to_be_given():
    with pytest.raises(ck.ModelError, match=r"needs leukocytes \(cells/uL\)"):
        MODEL.solve([7.0])


@pytest.mark.parametrize("output", ["copies_per_ug", "cells_per_ul"])
@pytest.mark.parametrize("day", [1.0, 9.2, 9.3, 9.4, 60.0])
def test_derivatives_are_those_of_differences_on_both_sides_of_the_peak_and_at_it(day, output, slopes):
    forward, differences = slopes(MODEL, day, output=output, inputs=INPUTS)
    assert forward == pytest.approx(differences, rel=1e-5, abs=1e-7)


def test_the_guess_reads_the_level_of_the_cells_through_the_leukocytes(study):
    guess = MODEL.guess(study)
    assert 0.2 * SLOW["c_max"] < guess["c_max"] < 5 * SLOW["c_max"]
    assert guess["t_max"] in (12.0, 14.0, 16.0)


def test_the_joint_fit_recovers_c_max_and_vcn(joint, recovered):
    assert recovered(joint, MODEL.values(SLOW))
    found = joint.parameters
    assert found.value["c_max"] == pytest.approx(SLOW["c_max"], rel=0.25)
    assert found.value["vcn"] == pytest.approx(SLOW["vcn"], rel=0.25)
    assert found.value["t_max"] == pytest.approx(SLOW["t_max"], rel=0.1)
    assert joint.n_censored > 0


def test_each_assay_has_its_sd(joint):
    assert set(joint.sd) == {"copies_per_ug", "cells_per_ul"}
    assert joint.parameters.status[["sd_copies_per_ug", "sd_cells_per_ul"]].tolist() == ["free", "free"]


def test_stein_fitted_to_the_copies_alone_misses_the_day_of_the_peak(copies_alone):
    fit = ck.fit(STEIN, ck.read_study(copies_alone))
    assert fit.outcome == "converged"
    assert fit.parameters.upper["t_max"] < SLOW["t_max"] - 3


def test_without_flow_c_max_and_vcn_are_confounded(copies_alone):
    fit = ck.fit(MODEL, ck.read_study(copies_alone))
    assert fit.outcome.startswith("not identifiable: ")
    assert {"c_max", "vcn"} <= set(fit.outcome.replace(",", "").split())
