"""Covariates of a product: numbers on the ln scale, and groups that have numbers as names; simulated."""

import matplotlib.pyplot as plt
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


def test_a_trial_draws_whole_rows_of_covariates_and_has_the_mean_over_them(of_product):
    beta = of_product.parameters["value"]
    sd = float(beta["sd between c"])
    table = of_product.study.covariates
    ln_c = np.log(beta["c"]) + beta["c:ln vcn"] * np.log(table["vcn"] / of_product.design.effects[1].centre)
    ln_c += table["donor"].map({3: 0.0, 11: beta["c:groups of donor 11"], 20: beta["c:groups of donor 20"]})
    ln_c, n = ln_c.to_numpy(float), 20_000
    asked = {"patients": n, "populations": 0}
    trial = of_product.virtual_trial([0.0, 7.0], {"a": 1e6, "b": 1e7}, covariates=of_product.study, **asked)
    drawn = trial.ln_curves[:, 0, 0].astype(float)
    spread = np.hypot(np.std(ln_c), sd)
    assert np.mean(drawn) == pytest.approx(np.mean(ln_c), abs=4 * spread / np.sqrt(n))
    assert np.std(drawn) == pytest.approx(spread, rel=4 / np.sqrt(n))
    # The mean effect is the integral over the covariates, and not the effect of their mean.
    integral = np.mean(np.exp(ln_c + sd**2 / 2))
    error = np.std(np.exp(drawn)) / np.sqrt(n)
    assert np.mean(np.exp(drawn)) == pytest.approx(integral, abs=4 * error)
    assert abs(np.exp(np.mean(ln_c) + sd**2 / 2) - integral) > 10 * error
    # The median patient is at the mean of the rows; the same patients are in both arms.
    assert np.log(trial.table["typical"][0]) == pytest.approx(np.mean(ln_c), abs=1e-6)
    np.testing.assert_array_equal(trial.ln_curves[:, 0], trial.ln_curves[:, 1])
    assert "between patients, with covariates drawn from 24 rows; estimates taken as known" in trial.summary()
    # Rows are drawn whole, whatever they are given as.
    both = {"vcn": table["vcn"].to_numpy(float), "donor": table["donor"].to_numpy()}
    for given in (both, table, table.assign(dose=1e9)):
        again = of_product.virtual_trial([0.0], {"a": 1e6}, covariates=given, **asked)
        np.testing.assert_array_equal(again.ln_curves[:, 0, 0], trial.ln_curves[:, 0, 0])
    two = {"vcn": [1.0, 9.0], "donor": [3, 11]}
    halves = of_product.virtual_trial([0.0], {"a": 1e6}, covariates=two, **asked).ln_curves[:, 0, 0]
    apart = beta["c:ln vcn"] * np.log(9) + beta["c:groups of donor 11"]
    assert np.var(halves) == pytest.approx(sd**2 + apart**2 / 4, rel=0.05)


def test_draws_of_the_estimates_meet_rows_of_covariates(of_product):
    given = {"vcn": [1.0, 9.0], "donor": 3}
    trial = of_product.virtual_trial([0.0], {"a": 1e6}, covariates=given, patients=4000, populations=400)
    ends = [of_product.virtual_trial([0.0], {"a": 1e6}, covariates={"vcn": v, "donor": 3}, patients=4000,
                                     populations=400) for v in (1.0, 9.0)]  # fmt: skip
    # The same effects and estimates, at one end or the other.
    low, high = (one.ln_curves[:, 0, 0] for one in ends)
    own = trial.ln_curves[:, 0, 0]
    is_low, is_high = np.isclose(own, low, atol=1e-5), np.isclose(own, high, atol=1e-5)
    assert np.all(is_low | is_high)
    assert np.mean(is_low) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))
    np.testing.assert_allclose(trial.typical, (ends[0].typical + ends[1].typical) / 2, atol=1e-5)


def test_rows_that_do_not_do_are_refused(of_product):
    def tried(covariates):
        return of_product.virtual_trial([0.0], {"a": 1e6}, covariates=covariates, patients=20, populations=0)

    table = of_product.study.covariates
    for given, kind, message in (
        (table.drop(columns="vcn"), ck.ModelError, "row P01 of covariates has no vcn, which drives c"),
        (table.assign(donor=99), ck.ModelError, "donor of row P01 of covariates is 99: the population knows 3, 11, 20"),
        ({"vcn": [1.0, 2.0], "donor": [3, 11, 20]}, ValueError, "covariates has 2 of vcn and 3 of donor: whole rows"),
        ({"vcn": [1.0, np.nan], "donor": 3}, ck.ModelError, "row 1 of covariates has no vcn"),
        ({"age": [1.0, 2.0]}, ck.ModelError, "age drives nothing here"),
        (table[:0], ValueError, "covariates has no row"),
        ([1.0, 2.0], TypeError, "covariates is a list: give"),
    ):
        with pytest.raises(kind, match=message):
            tried(given)


def test_correlations_of_the_estimates_are_drawn_as_they_are(of_product):
    table = of_product.correlations
    sds = of_product.parameters["estimate_stderr"].reindex(table.index)
    moving = sds.index[sds > 0]
    whole = of_product.covariance.loc[moving, moving].to_numpy() / np.outer(sds[moving], sds[moving])
    np.testing.assert_allclose(table.loc[moving, moving], whole, atol=1e-8)
    ax = of_product.plot_correlations()
    (image,) = ax.images
    shown = image.get_array()
    assert len(shown) == len(moving) >= 5
    rows, columns = np.tril_indices(len(moving), -1)
    np.testing.assert_allclose(shown[rows, columns], whole[rows, columns], atol=1e-8)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(moving[1:])
    plt.close(ax.figure)
