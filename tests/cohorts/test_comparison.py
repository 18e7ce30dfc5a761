"""Cohorts compared: what is said, what is not said, and what small or odd studies give."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.cohorts.comparison import compare_cohorts
from cellkinetics.statistics.ranks import holm

REAL = Path(__file__).parents[3] / "shared" / "data" / "sjcar19_weekly.csv"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="the folder with real patients' curves is not here")


@pytest.fixture(scope="module")
def example():
    return compare_cohorts(ck.example())


def row(found, window, quantity):
    table = found.table
    return table[(table["window"] == window) & (table["quantity"] == quantity)].iloc[0]


def words(found):
    """The summary without its line breaks."""
    return " ".join(found.summary().split())


def study_of(peaks, doses, cohorts=None, days=(7, 28), lloq=3.0, **columns):
    """One subject a peak: the peak on day 7, a tenth of it on the later days."""
    rows = []
    for i, (peak, dose) in enumerate(zip(peaks, doses, strict=True)):
        for day in days:
            rows.append({"subject": f"S{i}", "day": day, "copies_per_ug": peak if day == days[0] else peak / 10})
            rows[-1] |= {"dose": dose, **({"cohort": cohorts[i]} if cohorts else {})}
            rows[-1] |= {name: values[i] for name, values in columns.items()}
    return ck.read_study(pd.DataFrame(rows), lloq=lloq)


def test_the_windows_are_peak_areas_and_the_days_that_most_patients_have(example):
    names = [result.window.name for result in example.results]
    assert names[:2] == ["peak, days 0-28", "AUC, days 0-28"]
    assert names[-1] == "AUC, days 28-365"
    assert names[2:5] == ["level, day 21", "level, day 28", "level, day 42"]
    chosen = compare_cohorts(ck.example(), days=[60]).results
    assert [result.window.name for result in chosen][2:-1] == ["level, day 60"]


def test_the_peak_rises_with_dose_in_proportion_in_the_simulated_study(example):
    b = row(example, "peak, days 0-28", "dose exponent")
    assert b["lower"] < 1 < b["upper"]
    assert b["lower"] > 0
    assert row(example, "peak, days 0-28", "Jonckheere-Terpstra")["p"] < 0.001
    assert "b = 0.97" in words(example)
    assert "a trend between the groups is shown for: peak, days 0-28" in words(example)


def test_the_exponent_uses_the_given_dose_and_the_cohorts_the_assigned_one(example):
    peaks = ck.nca(ck.example())["cmax"]
    line = stats.linregress(np.log(ck.example().covariates["dose"]), np.log(peaks))
    assert row(example, "peak, days 0-28", "dose exponent")["estimate"] == pytest.approx(line.slope, rel=1e-7)
    assert "P04 was given 2.5e5 cells/kg in 1e6/kg" in words(example)
    given = compare_cohorts(ck.example(), "dose", days=[])
    assert len(given.names) == 4
    assert given.groups["P04"] == "2.5e5 cells/kg"
    assert "the given dose is compared" in words(given)


def test_the_summary_counts_cut_curves_and_says_what_goes_together(example):
    text = words(example)
    assert "5 of 11 curves: 3 post-remission therapy (P03, P05, P07); 2 transplantation (P08, P11)" in text
    assert "response goes with the groups" in text
    assert text.startswith("Comparison by cohort, simulated data")
    by_response = words(compare_cohorts(ck.example(), "response", days=[]))
    assert "response and dose cohort are confounded" in by_response
    assert "dose exponent" not in by_response


def test_absence_of_significance_is_never_printed_as_independence(example):
    text = words(example)
    assert "This shows nothing: neither a difference nor that there is none" in text
    assert "equivalence within 2-fold over the 100-fold dose range is not shown" in text
    for claim in (
        "no difference was",
        "independent",
        "dose-independent",
        "no dose relation",
        "are equal",
        "are the same",
    ):
        assert claim not in text


def test_p_is_adjusted_over_the_windows_of_one_question_for_each_test(example):
    trend = example.table[example.table["quantity"] == "Jonckheere-Terpstra"].set_index("window")
    assert (trend.loc["peak, days 0-28", ["p_holm", "p"]] == trend.loc["peak, days 0-28", "p"]).all()
    late = trend[trend["family"] == "persistence"]
    assert list(late.index) == [name for name in trend.index if name.startswith("level") or name == "AUC, days 28-365"]
    np.testing.assert_allclose(late["p_holm"], holm(late["p"]))
    assert set(trend["family"]) == {"peak", "exposure", "persistence"}


def test_the_order_of_the_patients_does_not_matter(example):
    study = ck.example()
    mixed = ck.read_study(_as_table(study).sample(frac=1, random_state=1), lloq=3)
    again = compare_cohorts(mixed)
    columns = ["estimate", "lower", "upper", "p", "smallest_p"]
    np.testing.assert_allclose(
        again.table[columns].astype(float), example.table[columns].astype(float), rtol=1e-6, equal_nan=True
    )


def _as_table(study):
    rows = study.used.merge(
        study.covariates.drop(columns=["until", "until_reason"]), left_on="subject", right_index=True
    )
    value = rows["value"].astype(object).where(rows["value"].notna(), "<3")
    return rows[["subject", "day", "nominal_day", "cohort", "dose", "response"]].assign(copies_per_ug=value)


def test_three_against_three_can_show_nothing_and_says_so():
    found = compare_cohorts(study_of([10, 20, 30, 1000, 2000, 3000], [1e5] * 3 + [1e7] * 3), "dose")
    assert "With these sizes no result can be below 0.05: the test shows nothing" in words(found)
    ratio = found.table[found.table["quantity"].str.startswith("ratio")].iloc[0]
    assert ratio["level"] == pytest.approx(0.9)
    assert "90% interval, the level that these sizes attain" in words(found)


def test_a_cohort_entirely_below_the_limit_is_an_answer():
    found = compare_cohorts(study_of([0, 0, 0, 100, 200, 300, 400], [1e5] * 3 + [1e7] * 4), "dose")
    peak = row(found, "peak, days 0-28", "Wilcoxon-Mann-Whitney")
    assert peak["p"] == pytest.approx(2 / 35)
    # The median of the twelve ratios to 3 on the log scale: between 200/3 and 300/3.
    assert "at least 81.6-fold" in words(found)
    note = row(found, "peak, days 0-28", "dose exponent")["note"]
    assert note == "values are quantified at one dose only, all others are censored"
    assert "median below 3" in words(found)


def test_everything_below_the_limit_is_an_answer():
    found = compare_cohorts(study_of([0] * 6, [1e5] * 3 + [1e7] * 3), "dose")
    assert "not tested, all values are tied, below the limit or equal" in words(found)
    assert "not tested, all samples are tied" in words(found)


@pytest.mark.parametrize(
    ("doses", "cohorts"), [([None] * 5, list("aabbb")), ([1e6, None, 1e7, 1e7, None], list("aabbb"))]
)
def test_missing_doses_are_an_answer(doses, cohorts):
    found = compare_cohorts(study_of([10, 20, 30, 40, 500], doses, cohorts))
    assert row(found, "peak, days 0-28", "Wilcoxon-Mann-Whitney")["p"] == pytest.approx(0.2)
    note = row(found, "peak, days 0-28", "dose exponent")["note"]
    assert "without a dose" in note


def test_a_cohort_of_one_patient_is_an_answer():
    found = compare_cohorts(study_of([10, 200, 300, 5000], [1e5, 1e6, 1e6, 1e7], list("abbc")))
    assert found.names == ["a", "b", "c"]
    assert row(found, "peak, days 0-28", "Jonckheere-Terpstra")["p"] == pytest.approx(2 / 12)
    assert "a: n = 1, median 10" in words(found)


def test_one_cohort_or_none_is_a_sentence():
    found = compare_cohorts(study_of([10, 20], [1e6, 1e6], ["a", "a"]))
    assert "not tested, there is one group" in words(found)
    with pytest.raises(ValueError, match=r"nobody has a cohort.* Columns that can be: by='dose' \(2 values\)"):
        compare_cohorts(study_of([10, 20], [1e6, 1e7]))
    with pytest.raises(ValueError, match=r"by='arm' \(2 values\)\.$"):
        compare_cohorts(study_of([10, 20, 30], [1e6] * 3, arm=["x", "y", "y"]))
    with pytest.raises(ValueError, match="No other column has groups"):
        compare_cohorts(study_of([10, 20], [1e6, 1e6]))


def test_patients_without_a_group_are_named_and_not_compared():
    found = compare_cohorts(study_of([10, 20, 30, 40, 9999], [1e6] * 5, ["a", "a", "b", "b", None]))
    assert "1 without a cohort: S4" in words(found)
    assert row(found, "peak, days 0-28", "Wilcoxon-Mann-Whitney")["n"] == 4


def test_different_schedules_leave_gaps_with_reasons():
    early, late = study_of([50, 60], [1e6] * 2, ["a"] * 2, days=(7, 14)), study_of([90, 80], [1e7] * 2, ["b"] * 2)
    rows = [_plain(study, name) for study, name in ((early, "a"), (late, "b"))]
    found = compare_cohorts(ck.read_study(pd.concat(rows), lloq=3), days=[28])
    text = words(found)
    assert "a: n = 0; 2 not followed so long" in text
    assert "Wilcoxon-Mann-Whitney: not tested, a group has no value" in text


def _plain(study, cohort):
    table = study.used[["subject", "day", "value"]].rename(columns={"value": "copies_per_ug"}).dropna()
    return table.assign(subject=cohort + table["subject"], cohort=cohort, dose=1e6)


def test_an_area_with_censored_samples_is_tested_at_both_ends():
    # At its lower end A's area is below B's, at its upper end above it.
    table = pd.DataFrame(
        {"subject": list("AABBCCDD"), "day": [7, 28] * 4, "cohort": list("aaaabbbb"), "dose": 1e6,
         "copies_per_ug": [50, 0, 51, 45, 500, 400, 600, 500]}
    )  # fmt: skip
    found = compare_cohorts(ck.read_study(table, lloq=40))
    area = row(found, "AUC, days 0-28", "Wilcoxon-Mann-Whitney")
    assert area["n_interval"] == 1
    assert area["p"] == pytest.approx(1 / 3)
    assert "between" in row(found, "AUC, days 0-28", "ratio b : a")["note"]


def test_equivalence_is_shown_only_against_the_margin_given():
    # With these values b is not shown to differ from 0: else no number of patients is named.
    rng = np.random.default_rng(3)
    peaks = np.exp(8 + 0.1 * rng.normal(size=12))
    study = study_of(peaks, [1e5] * 4 + [1e6] * 4 + [1e7] * 4)
    assert row(compare_cohorts(study, "dose"), "peak, days 0-28", "dose exponent")["equivalence"] == "shown"
    strict = row(compare_cohorts(study, "dose", margin=1.05), "peak, days 0-28", "dose exponent")
    assert strict["equivalence"] == "not shown"
    assert strict["n_needed"] > 12


def test_mid_p_is_printed_only_when_asked_and_with_its_name():
    study = study_of([10, 20, 30, 40], [1e5] * 2 + [1e7] * 2)
    assert "mid-p" not in words(compare_cohorts(study, "dose"))
    assert "(not exact)" in words(compare_cohorts(study, "dose", mid_p=True))


def test_fits_add_the_peak_and_area_of_their_curves():
    study = ck.example().select(cohort=["1e5/kg", "1e6/kg"])
    fits = ck.fit_each(models.load("stein_2019_tisagenlecleucel"), study, progress=False)
    found = compare_cohorts(fits, days=[])
    first = found.results[0].window
    assert first.name == "fitted peak, days 0-28"
    converged = [subject for subject, fit in fits.items() if fit.converged]
    assert converged
    for subject in converged:
        assert first.values.loc[subject, "lower"] == pytest.approx(
            fits[subject].parameters.loc["c_max", "value"], rel=0.05
        )
    for subject in set(fits) - set(converged):
        assert "not converged" in first.values.loc[subject, "reason"]


def test_an_unknown_covariate_and_one_with_many_values_are_errors():
    with pytest.raises(ValueError, match=r"no covariate 'cohorts'. Did you mean cohort\?"):
        compare_cohorts(ck.example(), "cohorts")
    study = study_of(range(10, 20), [1e6] * 10, age=list(range(10)))
    with pytest.raises(ValueError, match="age has 10 different values"):
        compare_cohorts(study, "age")


def test_the_figure_shows_every_value_and_hides_no_limit(example):
    figure = example.plot()
    curves, peaks, late = figure.axes
    assert sum(line.get_gid() == "quantified" for line in peaks.lines) == 11
    below = [line for line in late.lines if line.get_gid() == "below"]
    assert [float(line.get_ydata()[0]) for line in below] == [3.0, 3.0]
    medians = [line for line in curves.lines if line.get_gid() == "median"]
    assert len(medians) == 3
    assert "exact p of the trend" in peaks.get_title(loc="left")
    plt.close(figure)


def test_a_study_without_late_days_has_a_figure():
    figure = compare_cohorts(study_of([10, 20, 30], [1e5, 1e7, 1e7], days=(7,)), "dose").plot()
    assert len(figure.axes) == 3
    plt.close(figure)


@needs_real
def test_two_real_cohorts_show_nothing_and_the_summary_says_so():
    """SJCAR19 (Wilson et al., Cancer Discov 2022): 6 children at 1e6/kg, 8 at 3e6/kg, peaks of weeks 1 to 3."""
    found = compare_cohorts(ck.read_study(REAL), "dose")
    peak = row(found, "peak, days 0-28", "Wilcoxon-Mann-Whitney")
    assert peak["p"] == pytest.approx(1.0)
    b = row(found, "peak, days 0-28", "dose exponent")
    assert b["estimate"] == pytest.approx(-0.2, abs=0.01)
    assert (b["lower"], b["upper"]) == (pytest.approx(-1.83, abs=0.05), pytest.approx(1.43, abs=0.05))
    assert b["equivalence"] == "not shown"
    text = words(found)
    assert "geometric mean 133,304" in text
    assert "geometric mean 106,761" in text
    assert "p = 1.00" in text
    assert "nothing is shown, neither a difference nor that there is none, for: peak, days 0-28" in text
    assert "a difference between the groups is shown for: no window" in text


def test_a_window_in_which_nobody_has_a_value_is_one_sentence():
    text = words(compare_cohorts(study_of([10, 20, 30, 40], [1e5] * 2 + [1e7] * 2), "dose"))
    assert "AUC, days 28-365: no patient has a value; 4 without a sample near day 365" in text
    assert text.count("AUC, days 28-365") == 1


def test_a_window_that_cannot_be_tested_is_not_called_one_that_shows_nothing():
    text = words(compare_cohorts(study_of([0] * 6, [1e5] * 3 + [1e7] * 3), "dose"))
    assert "no test was possible for: peak, days 0-28" in text
    assert "nothing is shown" not in text
