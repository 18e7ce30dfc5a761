"""Covariates of a product: numbers on the ln scale, and groups that have numbers as names; simulated."""

import numpy as np
import populations
import pytest

import cellkinetics as ck

DAYS = np.array([1.0, 3, 7, 14, 21, 28])


def of_products(n=24):
    """The level follows VCN^0.6 and differs between donors, which have numbers; simulated."""
    rng = np.random.default_rng(2020)
    vcn, donor = np.exp(rng.normal(0.7, 0.6, n)), rng.permutation(np.resize([3, 11, 20], n))
    ln_c = np.log(300.0) + 0.6 * (np.log(vcn) - 0.7) + 0.8 * (donor == 11) + 0.3 * rng.normal(size=n)
    columns = {"vcn": vcn, "donor": donor, "ln_vcn": np.log(vcn)}
    return populations.study_of(ln_c[:, None] - 0.1 * DAYS, DAYS, 0.3, rng, limit=5.0, columns=columns)


@pytest.fixture(scope="module")
def of_product():
    asked = {"random": ["c"], "method": "focei", "progress": False}
    return ck.fit_population(
        populations.line(), of_products(), covariates={"c": ["ln vcn", "groups of donor"]}, **asked
    )


def test_ln_of_a_covariate_is_about_its_geometric_mean_and_numbers_can_be_names(of_product):
    effects, matrix = of_product.design.effects, of_product.design.matrix[:, 0]
    assert [effect.label for effect in effects] == [
        "c", "c:ln vcn", "c:groups of donor 11", "c:groups of donor 20", "k"
    ]  # fmt: skip
    study = of_product.study
    ln_vcn = study.covariates["ln_vcn"].astype(float)
    assert matrix[:, 1] == pytest.approx((ln_vcn - ln_vcn.mean()).to_numpy())
    assert effects[1].centre == pytest.approx(np.exp(ln_vcn.mean()))
    assert matrix[:, 2].tolist() == (study.covariates["donor"] == 11).astype(float).tolist()
    table = of_product.parameters
    for label, truth in (("c:ln vcn", 0.6), ("c:groups of donor 11", 0.8), ("c:groups of donor 20", 0.0)):
        assert table.loc[label, "lower"] < truth < table.loc[label, "upper"]
        assert table.loc[label, "value"] == pytest.approx(truth, abs=0.35)
    assert table.loc["c", "source"] == f"estimated at vcn {np.exp(ln_vcn.mean()):.4g}, donor 3"


def test_predictions_and_effects_take_the_covariate_itself(of_product):
    b = of_product.parameters.loc["c:ln vcn", "value"]
    centre = of_product.design.effects[1].centre
    at = [of_product.predict([0.0], covariates=given)["copies_per_ug"].iloc[0]
          for given in ({}, {"vcn": 3 * centre}, {"donor": 11.0, "vcn": centre})]  # fmt: skip
    assert at[1] / at[0] == pytest.approx(3**b)
    assert np.log(at[2] / at[0]) == pytest.approx(of_product.parameters.loc["c:groups of donor 11", "value"])
    effects = of_product.effects()
    row = effects.query("covariate == 'vcn'").iloc[-1]
    assert row["ratio"] == pytest.approx((row["at"] / row["reference"]) ** b)
    assert effects.query("covariate == 'donor'")["at"].tolist() == ["11", "20"]
    given = {("c", "ln vcn"): b, ("c", "groups of donor 11"): 0.8, ("c", "groups of donor 20"): 0.0}
    asked = {"mean": {"c": 300.0, "k": 0.1}, "between": {"c": 0.3}, "sd": 0.3, "coefficients": given}
    found = ck.population_log_likelihood(populations.line(), of_product.study, method="focei", **asked)
    assert found.value < of_product.log_likelihood_ln + 0.1
    with pytest.raises(ck.ModelError, match=r"vcn=0: ln vcn is on the ln scale, give a number above 0"):
        of_product.predict([0.0], covariates={"vcn": 0.0})
