"""Model-based comparison of cohorts: what moves with the dose is found and named, and nothing else is claimed."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.joint import permutations as joint_permutations
from cellkinetics.joint.comparison import model_based


@pytest.fixture(scope="module")
def moving(cohorts):
    return cohorts(exponent=-0.15, between=0.1, seed=5)


@pytest.fixture(scope="module")
def compared(loss, moving):
    return ck.compare_cohorts(moving, by="dose", model=loss, permutations=199, progress=False)


def samples_of(study):
    """Its samples as a table to be read again; a censored one is 0."""
    seen = study.observations["status"] == "quantified"
    return study.observations[["subject", "day"]].assign(copies_per_ug=study.observations["value"].where(seen, 0.0))


def test_a_dose_effect_on_one_parameter_is_found_and_named(compared):
    table = compared.model_based.table.set_index("parameter")
    assert table.loc["k", "p_holm"] <= 0.05 < table.loc["F", "p_holm"]
    assert table.loc["k", "lower"] < -0.15 < table.loc["k", "upper"] < 0
    text = " ".join(compared.summary().split())
    assert "an effect of the dose is shown for: k (p adjusted)" in text
    assert "nothing is shown, neither an effect nor that there is none, for: F" in text


def test_the_smallest_possible_p_is_said(compared):
    found = compared.model_based
    assert found.arrangements == 11550 and not found.every
    assert (found.table["smallest_p"] == 1 / 200).all()
    assert "199 of 11,550 arrangements of the doses over the patients; smallest possible p 0.0050" in found.summary()


def test_the_same_seed_gives_the_same_p(loss, moving, compared):
    again = model_based(moving, "dose", loss, parameters=["k"], permutations=199, progress=False)
    expected = compared.model_based.table.query("parameter == 'k'").drop(columns="p_holm").reset_index(drop=True)
    pd.testing.assert_frame_equal(again.table.drop(columns="p_holm"), expected)


def test_p_is_that_of_nested_fits_of_every_arrangement(loss, cohorts):
    """Four patients in two pairs have 6 arrangements: each fitted by `ck.fit` with its cohorts written in the table."""
    study = cohorts({"low": [1e6] * 2, "high": [3e6] * 2}, exponent=-0.5)
    found = model_based(study, "cohort", loss, parameters=["k"], progress=False)
    without = ck.fit(loss, study, shared=["k"])
    ratios = {}
    for cohorts in set(permutations(study.covariates["cohort"])):
        table = samples_of(study)
        table["dose"] = table["subject"].map(study.covariates["dose"])
        table["cohort"] = table["subject"].map(dict(zip(study.subjects, cohorts, strict=True)))
        moved = ck.read_study(table, lloq=10.0)
        ratios[cohorts] = 2 * (ck.fit(loss, moved, shared={"k": "cohort"}).log_likelihood - without.log_likelihood)
    ours = ratios[tuple(study.covariates["cohort"])]
    (row,) = found.table.itertuples()
    assert found.every and row.permutations == len(ratios) == 6
    assert row.lr == pytest.approx(ours, abs=1e-4)
    assert row.p == pytest.approx(np.mean([ratio >= ours - 1e-4 for ratio in ratios.values()]))
    # Low and high can change names: each likelihood ratio is there twice.
    assert row.smallest_p == pytest.approx(2 / 6)
    assert "With these sizes no result can be below 0.05: the test shows nothing" in " ".join(found.summary().split())


def test_patients_who_are_all_alike_have_p_1(loss, cohorts):
    one = samples_of(cohorts({"A": [1e6]}))
    rows = [one.assign(subject=f"P{i}", cohort="AB"[i % 2]) for i in range(6)]
    study = ck.read_study(pd.concat(rows).assign(dose=1e6), lloq=10.0)
    found = model_based(study, "cohort", loss, parameters=["k"], progress=False)
    assert found.table.loc[0, "lr"] == pytest.approx(0.0, abs=1e-4) and found.table.loc[0, "p"] == 1.0


def test_a_cohort_of_one_patient_has_an_estimate_and_no_interval(loss, cohorts):
    study = cohorts({"A": [1e6] * 4, "B": [1e7]})
    row = model_based(study, "cohort", loss, parameters=["k"], progress=False).table.loc[0]
    assert row["effect"] == "ratio B : A" and row["estimate"] > 0
    assert np.isnan(row["lower"]) and row["smallest_p"] == pytest.approx(1 / 5) and row["p"] >= 1 / 5


def test_a_cohort_below_the_limit_is_left_out_with_its_reason(loss, cohorts):
    study = cohorts({"1e3": [1e3] * 3, "1e6": [1e6] * 4, "1e7": [1e7] * 4})
    found = model_based(study, "cohort", loss, permutations=20, progress=False)
    assert set(found.left_out) == {"P00", "P01", "P02"} and (found.table["n"] == 8).all()
    text = " ".join(found.summary().split())
    assert "P00, P01, P02: no quantified sample" in text and "What is missing may depend on the dose" in text
    alone = model_based(study.select(cohort=["1e3", "1e6"]), "cohort", loss, progress=False)
    assert alone.reason == "those who can be fitted have one group." and alone.table.empty
    assert "nothing is compared: those who can be fitted have one group" in " ".join(alone.summary().split())


def test_many_samples_below_the_limit_are_a_caution(loss, cohorts, compared):
    many = model_based(cohorts(lloq=1000.0), "dose", loss, parameters=["k"], permutations=9, progress=False)
    assert many.share_below > 0.4 > compared.model_based.share_below
    assert "of the samples are beyond a limit" in many.summary() and "beyond a limit" not in compared.summary()


def test_others_shared_keeps_those_below_the_limit(loss, cohorts):
    study = cohorts({"1e3": [1e3] * 2, "1e6": [1e6] * 3, "1e7": [1e7] * 3})
    found = model_based(study, "cohort", loss, others="shared", parameters=["k"], permutations=20, progress=False)
    assert not found.left_out and found.table.loc[0, "n"] == 8


def test_a_missing_dose_is_said(level, cohorts):
    study = cohorts()
    table = samples_of(study)
    dose = table["subject"].map(study.covariates["dose"]).where(table["subject"] != "P01")
    found = model_based(
        ck.read_study(table.assign(dose=dose), lloq=10.0), "dose", level, permutations=20, progress=False
    )
    assert found.left_out == {"P01": "no dose, which drives c."} and found.table.loc[0, "n"] == 10


def test_several_parameters_are_tested_together_under_a_name(loss, moving):
    found = model_based(moving, "dose", loss, parameters={"curve": ["F", "k"]}, permutations=39, progress=False)
    (row,) = found.table.itertuples()
    assert (row.parameter, row.df, row.effect) == ("curve", 2, "all of F, k") and row.p <= 0.05


def test_interrupted_it_uses_what_is_finished_and_says_so(loss, moving, monkeypatch):
    refit, calls = joint_permutations.Test.refit, []

    def stopped(self, which):
        calls.append(which)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return refit(self, which)

    monkeypatch.setattr(joint_permutations.Test, "refit", stopped)
    found = model_based(moving, "dose", loss, permutations=300, progress=False)
    assert found.interrupted and set(found.table["permutations"]) == {94}
    assert found.table["p"].between(1 / 95, 1).all()
    assert "INTERRUPTED after 94 of 300 arrangements" in found.summary()


def test_without_a_model_there_is_nothing_model_based(moving):
    with pytest.raises(ValueError, match="no model was given"):
        ck.compare_cohorts(moving, by="dose").model_based  # noqa: B018


@pytest.mark.parametrize("options", [{"others": "some"}, {"permutations": 0}])
def test_what_cannot_be_asked_is_said(loss, moving, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        model_based(moving, "dose", loss, progress=False, **options)
