"""Which parameters hold the level of a curve, and when a model takes a study in another unit."""

from dataclasses import replace

import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics.modelling import levels


def rescaled(study, factor, unit):
    """The study with all values and limits times a factor."""
    table = study.observations.copy()
    for name in ("value", "lower", "upper", "lloq"):
        table[name] = table[name] * factor
    return replace(study, observations=table, unit=unit)


@pytest.fixture(scope="module")
def one():
    study = ck.example()
    return study.select(subjects=[study.covariates.index[study.covariates["dose"] >= 1e6][0]])


def test_the_levels_are_those_in_the_unit_of_the_output():
    assert levels.levels(ck.models.load("il15_persistence")) == ("F", "N")
    assert levels.levels(ck.models.load("nk_decline")) == ("F",)
    assert levels.levels(ck.models.load("stein_2019_tisagenlecleucel")) == ("c_max",)


@pytest.mark.parametrize("name", ["nk_decline", "il15_persistence"])
def test_a_fit_in_another_unit_is_the_same_fit(one, name):
    model = ck.models.load(name)
    fit, other = ck.fit(model, one), ck.fit(model, rescaled(one, 1e-3, "cells/uL"))
    assert other.log_likelihood_ln == pytest.approx(fit.log_likelihood_ln, abs=1e-4)
    for parameter in levels.levels(model):
        assert other.parameters.loc[parameter, "value"] == pytest.approx(
            1e-3 * fit.parameters.loc[parameter, "value"], rel=1e-2
        )
        assert str(other.parameters.loc[parameter, "unit"]).startswith("cells/uL")
    text = " ".join(other.summary().split())
    assert "the study is in cells/uL" in text
    assert "the study is in" not in fit.summary()


def test_a_level_that_is_fixed_by_default_is_estimated_in_another_unit(one):
    model = ck.models.load("four_phase")
    assert "F" not in model.default_free(one)
    fit = ck.fit(model, rescaled(one, 1e-3, "cells/uL"))
    assert fit.parameters.loc["F", "status"] != "fixed"
    assert "default of F says nothing and it is estimated" in " ".join(fit.summary().split())


def test_a_level_that_the_user_leaves_fixed_is_refused(one):
    cells = rescaled(one, 1e-3, "cells/uL")
    with pytest.raises(ck.StudyError, match="with N at 150 copies/ug"):
        ck.fit(ck.models.load("il15_persistence"), cells, free=["F", "rho"])


@pytest.mark.parametrize("name", ck.models.names())
def test_no_model_takes_a_logarithm(one, name):
    logs = replace(one, unit="log10 copies/ug")
    with pytest.raises(ck.StudyError, match="logarithm"):
        ck.fit(ck.models.load(name), logs)


def test_the_quantities_of_a_curve_are_in_the_unit_of_the_study(one):
    fit = ck.fit(ck.models.load("nk_decline"), rescaled(one, 1e-3, "cells/uL"))
    assert "cells/uL" in set(fit.derived()["unit"])
    assert np.isfinite(fit.log_likelihood)


def test_curves_of_a_fit_in_another_unit_go_by_that_unit(one):
    model, cells = ck.models.load("nk_decline"), rescaled(one, 1e-3, "cells/uL")
    fit, own = ck.fit(model, cells), ck.fit(model, one)
    days = [7.0, 21.0]
    expected = 1e-3 * own.predict(days)["copies_per_ug"].to_numpy()
    predicted = fit.predict(days)
    assert list(predicted) == ["day", "cells_per_ul", "cells_per_ul_lower", "cells_per_ul_upper"]
    np.testing.assert_allclose(predicted["cells_per_ul"], expected, rtol=1e-3)
    assert set(fit.residuals["output"]) == {"cells_per_ul"}
    assert fit.derived(output="cells_per_ul").equals(fit.derived())
    drawn = fit.bootstrap(3)
    tables = fit.parameters, fit.parameters["value"], fit.estimates
    for given in (fit, *tables, drawn, drawn.draws, {"P": fit}):
        assert list(ck.simulate(model, given, days, doses=1e6))[-1] == "cells_per_ul"
    since = np.array(days) - fit.study.infusion_day(fit.subject)
    np.testing.assert_allclose(ck.simulate(model, fit, since)["cells_per_ul"], expected, rtol=1e-3)
    assert (
        list(ck.simulate(model, own, days)) == list(ck.simulate(model, {}, days, doses=1e6)) == ["day", "copies_per_ug"]
    )
    with pytest.raises(ck.StudyError, match="the fits are in cells/uL and in copies/ug"):
        ck.simulate(model, {"P": fit, "Q": own}, days)


def test_a_table_of_parameters_that_was_read_from_a_file_still_says_its_unit(one):
    model, stein = ck.models.load("nk_decline"), ck.models.load("stein_2019_tisagenlecleucel")
    for each in (model, stein):
        read = ck.fit(each, rescaled(one, 1e-3, "cells/uL")).parameters
        read.attrs = {}
        doses = 1e6 if each.channels else None
        assert list(ck.simulate(each, read, [7.0], doses=doses)) == ["day", "cells_per_ul"]
