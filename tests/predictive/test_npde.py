"""`npde`: against the exact errors of a model whose ln samples are normal, and another engine's algorithm in numpy."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from at_truth import BETWEEN, DAYS, EXPONENT, MEAN, SD, fitted, moved_to, named_where_censored, simulated
from scipy.stats import norm

import cellkinetics as ck
from cellkinetics.predictive.npde import errors_of
from cellkinetics.predictive.replicates import of_population, strata_of

REFERENCE = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="module")
def fit():
    return fitted()


@pytest.fixture(scope="module")
def censored(fit):
    """A quarter of the samples below the limit."""
    return moved_to(fit, simulated(n=24, seed=11, limit=40.0))


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def moments(dose):
    """Mean (days,) and covariance of ln samples of `populations.line` at the truth."""
    design = np.column_stack([np.ones(len(DAYS)), -DAYS])
    mean = np.log(MEAN["c"]) + EXPONENT * np.log(dose / 1e6) - MEAN["k"] * DAYS
    between = np.diag([BETWEEN["c"] ** 2, BETWEEN["k"] ** 2])
    return mean, design @ between @ design.T + SD**2 * np.eye(len(DAYS))


def of_the_samples_themselves(drawn, seed, imputations):
    """npde (imputations, N) as published, in numpy: ln samples are decorrelated, not their scores.

    What is censored takes a value of the sorted simulations at a uniform share of those below the limit, in the data
    and in the simulations alike.
    """
    rng, found = np.random.default_rng(seed), np.full((imputations, len(drawn.rows)), np.nan)
    for at in range(len(drawn.subjects)):
        mine = drawn.place == at
        own, k = drawn.rows[mine], len(drawn.copies)
        raw = np.log(drawn.copies[:, mine])
        ordered = np.sort(raw, axis=0)
        limit = np.log(own["lloq"].to_numpy(float))
        share = (raw < limit).mean(axis=0)
        for number in range(imputations):
            y, ysim = np.log(own["upper"].to_numpy(float)), raw.copy()
            for column in range(len(y)):
                hidden = np.flatnonzero(raw[:, column] < limit[column])
                place = (rng.uniform(0, share[column], len(hidden)) * k).astype(int)
                ysim[hidden, column] = ordered[place, column]
                if own["status"].iloc[column] == "below":
                    y[column] = ordered[int(rng.uniform(0, share[column]) * k), column]
            root = np.linalg.inv(np.linalg.cholesky(np.cov(ysim.T)))
            seen, others = root @ (y - ysim.mean(axis=0)), (ysim - ysim.mean(axis=0)) @ root.T
            pde = np.clip((others < seen).mean(axis=0), 1 / (2 * k), 1 - 1 / (2 * k))
            found[number, mine] = norm.ppf(pde)
    return found


def test_without_limits_they_are_the_exact_errors_of_a_normal_model(fit):
    study = simulated(n=24, seed=8, limit=1e-9)
    found = moved_to(fit, study).npde(replicates=4000)
    doses = study.covariates["dose"]
    exact, marginal = [], []
    for subject, own in study.used.groupby("subject", sort=False):
        mean, covariance = moments(doses[subject])
        away = np.log(own["value"].to_numpy(float)) - mean
        exact.append(np.linalg.solve(np.linalg.cholesky(covariance), away))
        marginal.append(away / np.sqrt(np.diag(covariance)))
    assert found.imputations == 1
    # A rank among 4,000 has a standard error of 0.02 at a score of 0 and of 0.05 at 2; neighbouring samples, correlated
    # by 0.9, make twice as much of it when they are decorrelated.
    for name, known, error in (("npd", marginal, 0.05), ("npde", exact, 0.1)):
        known = np.concatenate(known)
        inner = np.abs(known) < 2
        away = found.table[name].to_numpy()[inner] - known[inner]
        assert np.sqrt(np.mean(away**2)) < error
        assert np.abs(away).max() < 4 * error
    assert (found.table["npde_spread"] == 0).all()
    assert found.table["pit"].to_numpy() == pytest.approx(norm.cdf(found.table["npd"]))


def test_with_limits_they_are_those_of_the_published_algorithm_written_out_in_numpy(censored):
    found = censored.npde(replicates=400, imputations=20)
    drawn = of_population(censored.population, censored.polished.theta, 400, 2020)
    other = of_the_samples_themselves(drawn, 5, 20)
    quantified = (found.table["status"] == "quantified").to_numpy()
    assert 0.2 < (~quantified).mean() < 0.3
    mine, theirs = found.table["npde"].to_numpy(), other.mean(axis=0)
    assert np.corrcoef(mine, theirs)[0, 1] > 0.97
    assert np.abs(mine - theirs)[quantified].max() < 0.6
    assert found.tests.loc["variance", "statistic"] == pytest.approx(other.var(axis=1, ddof=1).mean(), abs=0.06)
    assert found.tests.loc["mean", "statistic"] == pytest.approx(other.mean(), abs=0.03)


@pytest.mark.parametrize("limit", [0.0, 30.0])
def test_they_are_those_of_the_published_algorithm_in_base_r(limit):
    """Same samples, same simulations; of 50 imputations each where there is a limit."""
    table = pd.read_csv(REFERENCE / "npde_samples.csv")
    known = pd.read_csv(REFERENCE / "npde.csv").query("limit == @limit")
    y, copies = np.exp(table["ln_y"].to_numpy()), np.exp(table.iloc[:, 3:].to_numpy().T)
    ends = [(np.where(each < limit, 0.0, each), np.where(each < limit, limit, each)) for each in (y, copies)]
    subjects, place = np.unique(table["subject"], return_inverse=True)
    rows = pd.DataFrame({"lower": ends[0][0], "upper": ends[0][1]})
    drawn = SimpleNamespace(
        rows=rows, subjects=subjects, place=place, copies=copies, lower=ends[1][0], upper=ends[1][1],
        solved=np.ones((len(copies), len(subjects)), bool),
    )  # fmt: skip
    z, _ = errors_of(drawn, 50, np.random.default_rng(1))
    npd, npde = z.mean(axis=1)
    quantified = y >= limit
    assert (~quantified).mean() == (0.2 if limit else 0)
    # A discrepancy is the same but for its ends: 1 of 400.
    share = norm.cdf(npd) - norm.cdf(known["npd"])
    assert np.abs(share[quantified]).max() < 2 / 400
    assert np.corrcoef(npde, known["npde"])[0, 1] > 0.97
    assert np.abs(npde - known["npde"].to_numpy())[quantified].max() < 0.6
    assert npde.mean() == pytest.approx(known["npde"].mean(), abs=0.03)
    assert z[1].var(axis=1, ddof=1).mean() == pytest.approx(known["variance"].iloc[0], abs=0.06)


def test_a_right_model_with_many_samples_a_patient_has_a_variance_of_one():
    n, patients, k = 100, 12, 400
    rng, day = np.random.default_rng(2020), np.arange(n)
    factor = np.linalg.cholesky(0.3 * np.eye(n) + 0.6 * np.exp(-np.abs(day[:, None] - day) / 20.0))
    ln_y = rng.normal(size=(k + 1, patients, n)) @ factor.T
    copies = np.exp(ln_y.reshape(k + 1, -1))
    drawn = SimpleNamespace(
        rows=pd.DataFrame({"lower": copies[0], "upper": copies[0]}), subjects=np.arange(patients),
        place=np.repeat(np.arange(patients), n), copies=copies[1:], lower=copies[1:], upper=copies[1:],
        solved=np.ones((k, patients), bool),
    )  # fmt: skip
    z, _ = errors_of(drawn, 1, rng)
    # As if the correlations were known the variance would be 1.31 on average; its own error is 0.04.
    assert z[1].var() == pytest.approx(1.0, abs=0.12)
    np.testing.assert_allclose(np.mean((1 - np.arange(1, n + 1) / k) ** -2.0), 1.31, atol=0.03)


def test_too_few_replicates_for_the_samples_of_a_patient_are_refused(fit, monkeypatch):
    module = sys.modules["cellkinetics.predictive.npde"]
    monkeypatch.setattr(module, "LEAST_REPLICATES", 40)
    with pytest.raises(ValueError, match=r"replicates=100: one patient has \d+ samples.*Give replicates=1000"):
        fit.npde(replicates=100)


def test_a_covariate_with_too_many_values_and_a_list_of_them_are_refused(fit):
    with pytest.raises(TypeError, match="give the name of one covariate"):
        fit.npde(by=["dose", "cohort"])
    ages = fit.study.covariates.assign(age=np.arange(24))
    with pytest.raises(ValueError, match="by='age' has 24 values: each would have a panel"):
        strata_of(SimpleNamespace(covariates=ages, doses=fit.study.doses), fit.subjects, "age", fit.model)


def test_of_samples_above_different_upper_limits_they_are_standard_normal(fit):
    """Simulated studies, each taken for the samples in its turn, with limits that hide a half and a tenth."""
    drawn = of_population(fit.population, fit.polished.theta, 210, 4)
    high = np.quantile(drawn.copies, np.where(np.arange(drawn.copies.shape[1]) % 2, 0.5, 0.9), axis=0).diagonal()
    above = drawn.copies >= high
    lower, upper = np.where(above, high, drawn.copies), np.where(above, np.inf, drawn.copies)
    seen = []
    for one in range(10):
        rows = pd.DataFrame({"lower": lower[one], "upper": upper[one]})
        rest = SimpleNamespace(
            rows=rows, lower=lower[10:], upper=upper[10:], copies=drawn.copies[10:], solved=drawn.solved[10:],
            place=drawn.place, subjects=drawn.subjects,
        )  # fmt: skip
        seen.append(errors_of(rest, 1, np.random.default_rng(one))[0])
    npd, npde = np.concatenate(seen, axis=1)
    for z in (npd, npde):
        assert z.mean() == pytest.approx(0.0, abs=0.08)
        assert z.var() == pytest.approx(1.0, abs=0.1)


def test_npd_are_drawn_in_the_place_of_npde(fit):
    found = fit.npde(replicates=100)
    for which in ("npde", "npd"):
        over_time, over_curve, quantiles, counts = found.plot(which=which).axes
        assert [over_time.get_ylabel(), over_curve.get_ylabel(), counts.get_xlabel()] == [which] * 3
        shown = np.concatenate([line.get_ydata() for line in quantiles.lines if line.get_linestyle() == "None"])
        assert np.sort(shown) == pytest.approx(np.sort(found.drawn()[which]))
    with pytest.raises(ValueError, match="which='pd': give 'npde' or 'npd'"):
        found.plot(which="pd")


def test_a_censored_sample_is_drawn_between_the_ends_of_what_is_known(censored):
    found = censored.npde(replicates=300, imputations=8)
    drawn = of_population(censored.population, censored.polished.theta, 300, 2020)
    below = (found.table["status"] == "below").to_numpy()
    share = (drawn.copies < drawn.rows["upper"].to_numpy(float)).mean(axis=0)
    pits = norm.cdf(found.draws.pivot_table(index="imputation", columns="row", values="npd").to_numpy())
    assert (pits[:, below] <= share[below] + 1 / 300).all()
    assert (found.table.loc[below, "npd_spread"] > 0).all()
    assert found.drawn(3)["npde"].tolist() == found.draws[found.draws["imputation"] == 3]["npde"].tolist()


def test_tests_see_a_model_that_is_wrong_in_its_mean_or_in_its_spread(fit, censored):
    right = censored.npde(replicates=500, imputations=5)
    assert right.tests.loc["global", "p"] > 0.05
    assert "none is seen in mean, variance and shape" in right.summary()
    # Of a level that is wrong most goes into the first sample of each patient: the others follow it.
    shifted = moved_to(fit, censored.study, mean={"c": 1500.0}).npde(replicates=500, imputations=5)
    assert shifted.tests.loc["mean", "p"] < 0.01
    assert shifted.tests.loc["mean", "statistic"] < -0.2
    assert "the model is not right" in shifted.summary()
    wide = moved_to(fit, censored.study, sd=0.6).npde(replicates=500, imputations=5)
    assert wide.tests.loc["variance", "p"] < 1e-4
    assert wide.tests.loc["variance", "statistic"] < 0.7


def test_an_effect_that_the_model_lacks_shows_in_its_groups(fit, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr("at_truth.EXPONENT", 0.0)
        study = simulated(n=24, seed=3)
    # The model has the level follow dose^0.5; in these patients it does not.
    found = moved_to(fit, study).npde(replicates=300, imputations=2, by="dose")
    assert found.strata["stratum"].tolist() == ["1e5 cells/kg", "1e6 cells/kg", "1e7 cells/kg"]
    assert found.strata["n"].sum() == len(found.table)
    low, middle, high = found.strata["mean"]
    assert low > 0.2 > middle > -0.2 > high
    assert found.strata["p"].iloc[[0, 2]].max() < 0.01
    own = found.table["stratum"] == "1e5 cells/kg"
    assert found.table.loc[own, "npde"].mean() == pytest.approx(low)
    assert "1e5 cells/kg: 48 samples, mean " in " ".join(found.summary().split())
    figure = found.plot()
    assert [ax.get_title(loc="left") for ax in figure.axes[::2]] == found.strata["stratum"].tolist()
    assert len(figure.axes) == 6
    found.save(tmp_path / "npde.json")
    assert ck.load(tmp_path / "npde.json").strata.equals(found.strata)
    right = moved_to(fit, simulated(n=24, seed=3)).npde(replicates=300, imputations=2, by="dose")
    assert right.strata["p"].min() > 0.05
    with pytest.raises(ValueError, match=r"there is no covariate 'nope'\. The study has .*dose"):
        moved_to(fit, study).npde(by="nope")


def test_it_is_saved_and_drawn(censored, tmp_path):
    found = censored.npde(replicates=200, imputations=3)
    found.save(tmp_path / "npde.json")
    pd.testing.assert_frame_equal(ck.load(tmp_path / "npde.json").table, found.table)
    figure = found.plot()
    assert [ax.get_ylabel() for ax in figure.axes] == ["npde", "npde", "npde", "samples"]
    assert all(any(area.get_gid() == "band" for area in figure.axes[at].collections) for at in (0, 1, 3))
    with pytest.raises(ValueError, match="replicates=50: give a whole number of at least 100"):
        censored.npde(replicates=50)
    with pytest.raises(ValueError, match="imputation=5: there are 3 imputations, numbered from 0"):
        found.drawn(5)
    with pytest.raises(ck.ModelError, match=r"npde ranks each sample among those of other patients .* have none"):
        ck.npde(censored.as_fits)
    with pytest.raises(TypeError, match=r"Give what ck\.fit_population or ck\.sample_posterior"):
        ck.npde(censored.study)


def test_a_right_model_is_not_refused_where_only_censored_rows_name_the_limits(fit):
    """Half of the samples below 20 or above 120: to impute the data alone would double their variance."""
    found = moved_to(fit, named_where_censored(simulated(n=48, seed=8, limit=20.0), 120.0))
    found = found.npde(replicates=400, imputations=5)
    statuses = found.table["status"].value_counts()
    assert statuses["below"] > 60
    assert statuses["above"] > 40
    assert found.tests.loc["variance", "statistic"] == pytest.approx(1.0, abs=0.2)
    assert (found.tests["p"] > 0.05).all()


def test_days_of_few_samples_are_told(censored):
    found = censored.npde(replicates=100, imputations=1)
    last = found.table.index[found.table["day"] == DAYS[-1]]
    few = replace(found, table=found.table.drop(index=last[9:]), over_time=pd.DataFrame())
    words = "no band on days of fewer than 10 samples"
    assert words in [text.get_text() for text in few.plot().legends[0].get_texts()]
    assert words not in [text.get_text() for text in found.plot().legends[0].get_texts()]
    assert "over time not looked at: it takes two bins of days of 10 samples" in few.summary()
