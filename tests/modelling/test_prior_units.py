"""Priors in units of their own: converted to that of the parameter in the study, or refused."""

import numpy as np
import pandas as pd
import populations
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.bayes.target import priors_for
from cellkinetics.meaning.units import factor_between
from cellkinetics.modelling.prior import in_own_unit

STEIN = models.load("stein_2019_tisagenlecleucel")


@pytest.mark.parametrize(
    ("unit", "other", "factor"),
    [
        ("1/week", "1/day", 1 / 7),
        ("1/h", "1/day", 24.0),
        ("week^-1", "1/day", 1 / 7),
        ("per week", "1/day", 1 / 7),
        ("hours", "day", 1 / 24),
        ("copies/mL", "copies/\u00b5L", 1e-3),
        ("copies/100 ng", "copies/ug", 10.0),
        ("copies/\u00b5g gDNA", "copies/ug", 1.0),
        ("copies/ug per 1e6 cells/kg", "copies/ug per cell/kg", 1e-6),
        ("%", "1", 0.01),
        ("IL-15, healthy = 1", "IL-15, healthy = 1", 1.0),
        ("copies per transduced cell", "copies per cell", None),
        ("cells/uL", "copies/ug", None),
        ("copies/ug per cell", "copies/ug per cell/kg", None),
        ("log10 copies/ug", "copies/ug", None),
        ("furlong", "day", None),
        ("1/day", "day", None),
    ],
)
def test_units_of_one_kind_have_a_factor_and_others_none(unit, other, factor):
    assert factor_between(unit, other) == (None if factor is None else pytest.approx(factor, rel=1e-12))
    if factor:
        assert factor_between(other, unit) == pytest.approx(1 / factor, rel=1e-12)


def study(unit="copies/ug", factor=1.0):
    days = np.array([2.0, 4, 7, 9, 11, 14, 21, 28])
    curve = np.asarray(STEIN.solve(days)["copies_per_ug"]) * np.exp(0.3 * np.random.default_rng(7).normal(size=8))
    table = pd.DataFrame({"subject": "A", "day": days, "value": curve * factor, "SIMULATED": 1})
    return ck.read_study(table, lloq=1.0, unit=unit)


def test_a_fit_with_a_prior_in_weeks_is_that_with_it_in_days():
    own = {"alpha": ck.LogNormal(0.16, 0.3), "t_max": ck.LogNormal(9.3, 0.2), "c_max": ck.LogNormal(2e4, 0.5),
           "f_b": ck.LogitNormal(0.01, 0.5)}  # fmt: skip
    other = {"alpha": ck.LogNormal(7 * 0.16, 0.3, unit="1/week"), "t_max": ck.LogNormal(9.3 * 24, 0.2, "hour"),
             "c_max": ck.LogNormal(2e3, 0.5, "copies/100 ng"), "f_b": ck.LogitNormal(1.0, 0.5, "%")}  # fmt: skip
    fixed = {"beta": 0.003, "sd": 0.3}
    fit, again = (ck.fit(STEIN, study(), prior=prior, fixed=fixed, starts=1) for prior in (own, other))
    np.testing.assert_allclose(again.x, fit.x, atol=1e-8)
    np.testing.assert_allclose(again.parameters["stderr"], fit.parameters["stderr"], rtol=1e-6)
    assert again.request.prior["alpha"].unit == ""
    assert again.request.prior["alpha"].median == pytest.approx(0.16)


def test_a_level_is_in_the_unit_of_the_study():
    per_ul = study("copies/uL", 1e-3)
    prior = ck.LogNormal(2e4, 0.5, unit="copies/mL")
    assert in_own_unit(STEIN, "c_max", prior, per_ul.unit).median == pytest.approx(20.0)
    asked = {"fixed": {"beta": 0.003, "f_b": 0.008, "sd": 0.3}, "starts": 1}
    fit = ck.fit(STEIN, per_ul, prior={"c_max": prior}, **asked)
    same = ck.fit(STEIN, per_ul, prior={"c_max": ck.LogNormal(20.0, 0.5)}, **asked)
    np.testing.assert_allclose(fit.x, same.x, atol=1e-8)
    with pytest.raises(ck.ModelError, match=r"unit='copies/ug'\), and c_max is in copies/uL: .* Give it in copies/uL"):
        ck.fit(STEIN, per_ul, prior={"c_max": ck.LogNormal(2e4, 0.5, unit="copies/ug")}, **asked)


def test_of_a_normal_prior_both_numbers_are_converted():
    lag = models.load("effector_memory")
    found = in_own_unit(lag, "lag", ck.Normal(12.0, 24.0, "hour"), "copies/ug")
    assert found == ck.Normal(0.5, 1.0)
    assert repr(ck.Normal(12.0, 24.0, "hour")) == "Normal(mean=12.0, sd=24.0, unit='hour')"


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (
            {"alpha": ck.LogNormal(1.0, 0.3, "week")},
            r"unit='week'\), and alpha is in 1/day: the one cannot be converted",
        ),
        ({"alpha": ck.LogNormal(1.0, 0.3, "1/wekk")}, "alpha is in 1/day: the one cannot be converted"),
        ({"sd": ck.LogNormal(0.5, 0.3, "1/day")}, "and sd has no unit. Leave unit= out"),
        ({"f_b": ck.LogitNormal(150.0, 0.3, "%")}, r"which is LogitNormal\(median=1.5, sd=0.3\) in 1: give a centre"),
    ],
)
def test_a_unit_that_cannot_be_is_refused(prior, message):
    for tried in (ck.fit, ck.fit_each):
        with pytest.raises(ck.ModelError, match=message):
            tried(STEIN, study(), prior=prior)


def test_a_population_and_its_posterior_take_them():
    rng = np.random.default_rng(2020)
    days = np.array([1.0, 7, 14, 28])
    ln_f = np.log(300.0) + 0.4 * rng.normal(size=(8, 1)) - 0.1 * days
    data = populations.study_of(ln_f, days, 0.3, rng, limit=1.0)
    asked = {"random": ["c"], "method": "focei", "progress": False}
    fit = ck.fit_population(populations.line(), data, prior={"k": ck.Normal(0.7, 0.07, "1/week")}, **asked)
    assert fit.parameters.loc["k", "source"] == "estimated with the prior Normal(mean=0.1, sd=0.01)"
    # An information of 1/0.01^2 is the prior's.
    assert fit.population.prior[0][1] == 0.1
    assert fit.population.prior[1][1] == pytest.approx(1e4)
    numbers, words = priors_for(fit, {"k": ck.Normal(0.07, 0.014, "1/hour")})
    assert (numbers.beta_mean[1], words["k"]) == (pytest.approx(1.68), "Normal(mean=1.68, sd=0.336)")
    with pytest.raises(ck.ModelError, match="sd between c has no unit"):
        priors_for(fit, {"sd between c": ck.LogNormal(0.5, 0.5, "1/day")})
