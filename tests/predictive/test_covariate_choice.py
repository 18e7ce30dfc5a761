"""Covariates chosen stepwise by BICc, and what they do as ratios, on simulated patients."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import populations
import pytest

import cellkinetics as ck
from cellkinetics.optimising.status import Status
from cellkinetics.predictive import covariate_choice

DAYS = np.array([1.0, 3, 7, 14])
FIT = covariate_choice.fit_population


def study_of(seed=5, n=24):
    """Levels follow one and two, losses the age; dose, weight and arm do nothing, and both is near one plus two."""
    rng = np.random.default_rng(seed)
    doses, age, weight, x, y = np.resize([1e5, 1e6, 1e7], n), *rng.normal([60, 75, 0, 0], [10, 12, 1, 1], (n, 4)).T
    arm = rng.permutation(np.resize(["A", "B"], n))
    ln_c = np.log(300) + x + y + 0.2 * rng.normal(size=n)
    k = 0.1 + 0.001 * (age - 60) + 0.03 * rng.normal(size=n)
    columns = {"age": age, "weight": weight, "arm": arm, "one": x, "two": y, "both": x + y + 0.5 * rng.normal(size=n)}
    columns |= {"twice": 2 * weight, "SIMULATED": np.ones(n)}
    return populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, 0.2, rng, doses=doses, columns=columns)


@pytest.fixture(scope="module")
def study():
    return study_of()


@pytest.fixture(scope="module")
def fit(study):
    covariates = {"c": ["dose", "arm"], "k": "age"}
    return ck.fit_population(populations.line(), study, covariates=covariates, progress=False)


@pytest.fixture(scope="module")
def choice(study):
    return ck.choose_covariates(populations.line(), study, {"c": ["both", "one", "two"]}, progress=False)


@pytest.fixture
def made(monkeypatch):
    """Lets a test change what fits say, each of which is made once."""
    kept = {}

    def use(change):
        def fitted(model, study, *, covariates, **asked):
            key = str(covariates)
            kept[key] = kept.get(key) or FIT(model, study, covariates=covariates, **asked)
            return change(kept[key], covariates)

        monkeypatch.setattr(covariate_choice, "fit_population", fitted)

    return use


def test_on_the_log_scale_a_ratio_is_the_coefficient_over_the_way_to_the_median(fit, study):
    table, estimates = fit.effects(0.9).set_index(["covariate", "what"]), fit.parameters
    dose = estimates.loc["c:dose"]
    ends = [np.exp(np.log(10) * (dose["estimate"] + z * dose["estimate_stderr"])) for z in (0, -1.6449, 1.6449)]
    row = table.loc[("dose", "highest")]
    assert (row["at"], row["reference"]) == (1e7, 1e6)
    assert row[["ratio", "lower", "upper"]].to_numpy(float) == pytest.approx(ends, rel=1e-4)
    low = table.loc[("dose", "lowest"), ["ratio", "lower", "upper"]].to_numpy(float)
    assert 1 / low[[0, 2, 1]] == pytest.approx(ends, rel=1e-4)
    own = table.loc[("arm", "group")]
    assert own[["at", "reference"]].tolist() == ["B", "A"]
    assert np.log(own["ratio"]) == pytest.approx(estimates.loc["c:arm B", "estimate"])
    age = np.sort(study.covariates["age"])
    ends = table.loc[[("age", "5th percentile"), ("age", "95th percentile")]]
    assert ends["at"].tolist() == [age[1], age[22]]  # the 2nd and 23rd of 24
    assert ends["reference"].tolist() == [age[11]] * 2


def test_off_the_log_scale_the_interval_is_that_of_drawn_coefficients(fit, study):
    row = fit.effects().set_index(["parameter", "what"]).loc[("k", "95th percentile")]
    age = study.covariates["age"].to_numpy()
    names, rng = ["k", "k:age"], np.random.default_rng(1)
    drawn = rng.multivariate_normal(fit.parameters.loc[names, "estimate"], fit.covariance.loc[names, names], 200_000)
    there, here = (drawn[:, 0] + drawn[:, 1] * (at - age.mean()) for at in (row["at"], row["reference"]))
    assert np.log(row["ratio"]) == pytest.approx(np.median(np.log(there / here)), abs=0.003)
    ends = np.quantile(np.log(there / here), [0.025, 0.975])
    assert np.log(row["upper"] / row["lower"]) == pytest.approx(ends[1] - ends[0], rel=0.03)


def test_where_there_is_no_ratio_or_no_interval_the_note_says_why(fit):
    theta = fit.polished.theta
    below = fit.design.labels.index("k")
    beta = np.where(np.arange(len(theta.beta)) == below, -1.0, theta.beta)
    down = replace(fit, polished=replace(fit.polished, theta=theta._replace(beta=beta)))
    own = down.effects().set_index("parameter").loc["k"]
    assert own["ratio"].isna().all()
    assert own["note"].tolist() == ["no ratio: k is not above 0 in both"] * 2
    moving = fit.polished.moving & (np.array(list(fit.covariance)) != "c:dose")
    unknown = replace(fit, polished=replace(fit.polished, moving=moving))
    row = unknown.effects().iloc[0]
    assert row["note"] == "no interval: c:dose has no standard error"
    assert np.isnan(row["lower"])
    assert row["ratio"] == fit.effects()["ratio"].iloc[0]
    texts = [text.get_text() for text in down.plot_forest().axes[0].texts]
    assert "no ratio: k is not above 0 in both" in texts
    plt.close("all")


def test_the_forest_has_a_point_an_interval_and_the_numbers_of_each_row(fit, study):
    table = fit.effects()
    ax = fit.plot_forest().axes[0]
    points = [line.get_xdata()[0] for line in ax.lines if line.get_gid() == "value"]
    assert points == pytest.approx(table["ratio"].to_numpy())
    spans = [part.get_segments()[0][:, 0] for part in ax.collections if part.get_gid() == "interval"]
    assert np.array(spans) == pytest.approx(table[["lower", "upper"]].to_numpy())
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert [names[0], names[-3]] == ["c", "k"]
    assert names[1:4] == ["dose 1e5 : 1e6 (lowest)", "dose 1e7 : 1e6 (highest)", "arm B : A"]
    assert sum(text.get_text().endswith(")") for text in ax.texts) == len(table)
    plt.close("all")
    with pytest.raises(ck.ModelError, match=r"no covariate drives a parameter.*Give covariates="):
        ck.fit_population(populations.line(), study, progress=False).plot_forest()


def test_what_is_near_the_drivers_comes_in_first_and_goes_out_when_they_are_in(choice):
    steps = choice.steps
    taken = steps[steps["status"] == "chosen"]
    assert taken["tried"].iloc[0] == "c:both"
    assert set(taken["tried"].iloc[1:3]) == {"c:one", "c:two"}
    assert taken[["tried", "change"]].iloc[-1].tolist() == ["c:both", "removed"]
    assert {name: sorted(hows) for name, hows in choice.chosen.items()} == {"c": ["one", "two"]}
    assert choice.outcome == "ended"
    assert steps["step"].unique().tolist() == list(range(steps["step"].max() + 1))
    # Each step begins where the last one ended.
    bicc = steps["bicc"].iloc[0]
    for _, rows in steps[steps["step"] > 0].groupby("step"):
        assert (rows["bicc"] - rows["difference"]).to_numpy() == pytest.approx(bicc)
        bicc = rows.loc[rows["status"] == "chosen", "bicc"].min() if (rows["status"] == "chosen").any() else bicc
    assert bicc == choice.fit.bicc


def test_the_chosen_population_is_the_one_that_is_fitted_by_itself(choice, study):
    alone = ck.fit_population(populations.line(), study, covariates=choice.chosen, progress=False)
    apart = (choice.fit.parameters["estimate"] - alone.parameters["estimate"]) / alone.parameters["estimate_stderr"]
    assert apart.abs().max() < 0.1
    assert abs(choice.fit.bicc - alone.bicc) < 3 * 2 * np.hypot(
        choice.fit.log_likelihood_error, alone.log_likelihood_error
    )


def test_the_summary_and_a_file_have_every_step(choice, tmp_path):
    said = choice.summary()
    assert "Covariates of line by BICc, 24 patients, 3 candidates" in said
    assert all(f"{row['bicc']:.2f}" in said for _, row in choice.steps.iterrows())
    choice.save(tmp_path / "choice.json")
    again = ck.load(tmp_path / "choice.json")
    assert again.summary() == said
    assert again.fit is None
    assert again.chosen == choice.chosen


def test_a_difference_within_its_error_or_of_no_maximum_is_not_taken_and_is_told(study, made):
    model, candidates = populations.line(), {"c": ["both", "weight"]}

    made(lambda fit, _: replace(fit, likelihood=replace(fit.likelihood, error=50.0)))
    unsure = ck.choose_covariates(model, study, candidates, progress=False)
    assert unsure.chosen == {}
    assert unsure.undecided["status"].unique() == [covariate_choice.WITHIN_ERROR]
    assert unsure.outcome == f"undecided in step 1: c:both added ({covariate_choice.WITHIN_ERROR})"

    def lost(fit, covariates):
        stuck = covariates is not None and "both" in covariates["c"]
        return replace(fit, status=Status.NOT_CONVERGED, outcome="not converged: c") if stuck else fit

    made(lost)
    stuck = ck.choose_covariates(model, study, candidates, progress=False)
    assert stuck.chosen == {}
    assert stuck.outcome == "undecided in step 1: c:both added (not converged: c)"
    assert stuck.steps["status"].tolist() == ["start", "not converged: c", "not better"]

    made(lambda fit, covariates: replace(fit, status=Status.INTERRUPTED) if covariates else fit)
    ended = ck.choose_covariates(model, study, candidates, progress=False)
    assert ended.outcome.startswith("interrupted: this is the choice so far")
    assert ended.steps["status"].tolist() == ["start", "interrupted"]


def test_a_fit_that_ends_at_no_maximum_is_made_anew_from_the_first_start(study, monkeypatch):
    started = []

    def fitted(model, study, *, covariates, initial, **asked):
        fit = FIT(model, study, covariates=covariates, initial=initial, **asked)
        if not covariates:
            return fit
        started.append(initial)
        # From the estimates so far it is less likely than without.
        return replace(fit, log_likelihood_ln=fit.log_likelihood_ln - 100) if len(started) == 1 else fit

    monkeypatch.setattr(covariate_choice, "fit_population", fitted)
    found = ck.choose_covariates(populations.line(), study, {"c": "both"}, progress=False)
    assert sorted(started[0]) == ["c", "k", "sd"]
    assert started[1:] == [None]
    assert found.chosen == {"c": ["both"]}

    monkeypatch.setattr(
        covariate_choice, "fit_population",
        lambda *given, covariates, **asked: replace(
            (fit := FIT(*given, covariates=covariates, **asked)),
            log_likelihood_ln=fit.log_likelihood_ln - 100 * bool(covariates),
        ),
    )  # fmt: skip
    found = ck.choose_covariates(populations.line(), study, {"c": "both"}, progress=False)
    assert found.outcome == f"undecided in step 1: c:both added ({covariate_choice.NO_MAXIMUM})"


def test_what_tells_the_same_is_not_fitted_and_said(study):
    found = ck.choose_covariates(
        populations.line(), study, {"c": "twice"}, covariates={"c": ["weight", "dose"]}, progress=False
    )
    assert found.steps["status"].iloc[1].startswith("not fitted: covariates tell the same of these patients")
    assert found.outcome.startswith("undecided in step 1: c:twice added")
    assert found.fit is not None


def test_what_cannot_be_chosen_from_is_refused(study):
    model = populations.line()
    with pytest.raises(ck.ModelError, match=r"covariates=\{'c': 'wieght'\}.*Did you mean weight"):
        ck.choose_covariates(model, study, {"c": "wieght"}, progress=False)
    with pytest.raises(ck.ModelError, match=r"with priors there is no BICc"):
        ck.choose_covariates(model, study, {"c": "dose"}, prior={"c": ck.LogNormal(100, 1)}, progress=False)
    with pytest.raises(ck.ModelError, match=r"candidates=\['dose'\]: give \{parameter"):
        ck.choose_covariates(model, study, ["dose"], progress=False)
    with pytest.raises(ck.ModelError, match=r"candidates= is empty"):
        ck.choose_covariates(model, study, {"c": "dose"}, covariates={"c": "dose"}, progress=False)


def test_every_fit_that_was_tried_has_a_row_in_the_picture_of_the_steps(choice, tmp_path):
    (ax,) = choice.plot().axes
    tried = choice.steps[choice.steps["step"] > 0]
    marks = [line for line in ax.lines if line.get_gid() == "value"]
    assert sorted(float(mark.get_xdata()[0]) for mark in marks) == pytest.approx(sorted(tried["difference"]))
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names[:2] == ["step 1, forward", "+ c:both"]
    taken = {
        mark.get_markerfacecolor() for mark, status in zip(marks, tried["status"], strict=True) if status == "chosen"
    }
    others = {
        mark.get_markerfacecolor() for mark, status in zip(marks, tried["status"], strict=True) if status != "chosen"
    }
    assert len(taken) == 1 and not taken & others
    choice.save(tmp_path / "choice.json")
    again = ck.load(tmp_path / "choice.json")
    assert again.simulated
    assert again.plot().get_suptitle() == "simulated"
