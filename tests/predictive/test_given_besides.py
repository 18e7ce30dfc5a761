"""Comedication as a candidate of the choice of covariates, as a ratio, and as groups of a check; simulated patients."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck

DAYS, GIVEN_ON = np.array([1.0, 7, 14, 21]), 5.0
FACTOR = "IL_2_on_k"


def losing():
    """C falls at the rate k, which IL-2 multiplies from its day on."""
    return ck.Model(
        name="losing",
        parameters={
            "F": ck.Parameter(1e-4, "copies/ug per cell/kg", "this test"),
            "k": ck.Parameter(0.1, "1/day", "this test"),
        },
        outputs={"copies_per_ug": "copies/ug"},
        states=("C",), rhs=lambda C, k: (-k * C,), observe=lambda C: C, dosing={"cells": ("C", "F")},
    ).with_(comedication={"IL-2": "k"})  # fmt: skip


def study_of(effect, seed, n=8):
    """Every other patient has IL-2 on day 5."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(n):
        level, given = 300 * np.exp(0.4 * rng.normal()), number % 2 == 0
        lost = 0.1 * (np.minimum(DAYS, GIVEN_ON) + (effect if given else 1.0) * np.maximum(DAYS - GIVEN_ON, 0))
        values = level * np.exp(-lost + 0.2 * rng.normal(size=len(DAYS)))
        doses = [(0.0, 1e6, "cells"), *([(GIVEN_ON, 1.0, "IL-2")] if given else [])]
        who = f"P{number + 1:02d}"
        rows += [{"ID": who, "TIME": day, "AMT": amount, "EVID": 1, "ADM": kind} for day, amount, kind in doses]
        rows += [{"ID": who, "TIME": day, "DV": value, "EVID": 0} for day, value in zip(DAYS, values, strict=True)]
    return ck.read_study(pd.DataFrame(rows).assign(SIMULATED=1), lloq=1.0)


@pytest.fixture(scope="module")
def chosen():
    return ck.choose_covariates(losing(), study_of(0.5, 11), {"k": "IL-2"}, random="F", progress=False)


def test_a_comedication_with_an_effect_is_chosen_and_the_population_has_its_factor(chosen):
    table = chosen.steps.set_index("change")
    assert chosen.chosen == {"k": ["IL-2"]}
    assert table.loc["added", ["tried", "status"]].tolist() == ["k:IL-2", "chosen"]
    fit, smaller = chosen.fit, table.loc["removed"]
    assert fit.design.random == ("F",)
    assert fit.parameters.loc[FACTOR, "status"] == "free"
    assert table.loc["added", "n_free"] == smaller["n_free"] + 1
    # One value for all: by the samples, and the difference of log-likelihoods.
    gained = table.loc["added", "log_likelihood"] - smaller["log_likelihood"]
    assert table.loc["added", "difference"] == pytest.approx(np.log(fit.n) - 2 * gained)
    assert smaller["status"] == "not better"
    truth = fit.parameters.loc[FACTOR]
    assert truth["lower"] < 0.5 < truth["upper"]


def test_a_comedication_without_an_effect_is_not_chosen():
    found = ck.choose_covariates(losing(), study_of(1.0, 12), {"k": "IL-2"}, random="F", progress=False)
    assert found.chosen == {}
    assert found.fit is not None
    assert found.fit.parameters.loc[FACTOR, ["value", "status"]].tolist() == [1.0, "fixed"]


def test_the_effect_of_a_comedication_is_its_factor_and_is_drawn_beside_those_of_covariates(chosen):
    fit = chosen.fit
    (row,) = fit.effects(0.9).to_dict("records")
    assert [row[name] for name in ("parameter", "covariate", "what", "at", "reference", "note")] == [
        "k", "IL-2", "while given", "given", "not given", "",
    ]  # fmt: skip
    own = fit.parameters.loc[FACTOR]
    by_hand = [np.exp(own["estimate"] + z * own["estimate_stderr"]) for z in (0, -1.6448536, 1.6448536)]
    assert [row["ratio"], row["lower"], row["upper"]] == pytest.approx(by_hand)
    ax = fit.plot_forest().axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["k", "IL-2 given : not given"]
    assert {0.8, 1.0, 1.25} <= {line.get_xdata()[0] for line in ax.lines}
    assert ax.get_xlabel().startswith("ratio to days without the comedication")
    plt.close("all")


def test_a_saved_population_with_a_comedication_is_the_same_when_read(chosen, tmp_path):
    chosen.fit.save(tmp_path / "population")
    read = ck.load(tmp_path / "population")
    assert read.design.random == ("F",)
    pd.testing.assert_frame_equal(read.effects(), chosen.fit.effects())


def test_the_population_without_a_comedication_has_its_factor_at_one(chosen):
    asked = {}
    replace(chosen.fit, refit=lambda *_, **more: asked.update(more)).without("k:IL-2")
    assert asked["covariates"] is None
    assert asked["fixed"] == {FACTOR: 1.0}


def test_checks_are_stratified_by_who_was_ever_given_it(chosen):
    study = chosen.fit.study
    given = set(study.doses.loc[study.doses["kind"] == "IL-2", "subject"])
    check = chosen.fit.vpc(replicates=20, by="IL-2")
    members = check.samples.groupby("stratum")["subject"].agg(set)
    assert list(dict.fromkeys(check.table["stratum"])) == ["IL-2 never given", "IL-2 given"]
    assert members["IL-2 given"] == given
    assert members["IL-2 never given"] == set(study.subjects) - given
    assert [ax.get_title(loc="left") for ax in check.plot().axes] == ["IL-2 never given", "", "IL-2 given", ""]
    plt.close("all")
    assert chosen.fit.npde(replicates=100, by="IL-2").strata["stratum"].tolist() == ["IL-2 never given", "IL-2 given"]


def test_a_factor_that_is_fixed_and_a_comedication_of_nobody_are_refused():
    study = study_of(0.5, 11, n=4)
    with pytest.raises(ck.ModelError, match=r"'k': 'IL-2'.*IL_2_on_k, which is fixed"):
        ck.fit_population(losing(), study, covariates={"k": "IL-2"}, fixed={FACTOR: 1.0}, progress=False)
    nobody = study.select(subjects=["P02", "P04"])
    with pytest.raises(ck.ModelError, match="nobody in the study was given IL-2"):
        ck.fit_population(losing(), nobody, covariates={"k": "IL-2"}, progress=False)
