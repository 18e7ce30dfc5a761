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
    found = compare_cohorts(study_of([10, 20, 30, 40, 9000], [1e6] * 5, ["a", "a", "b", "b", None]))
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
    assert late.get_title(loc="left").startswith("level, day 90; adjusted p = 0.0750")
    medians = [line for line in curves.lines if line.get_gid() == "median"]
    assert len(medians) == 3
    assert "exact p of the trend" in peaks.get_title(loc="left")
    plt.close(figure)


def test_the_late_panel_is_the_last_day_that_half_of_each_cohort_has_reached(example):
    figure = example.plot()
    seen = sum(line.get_gid() in ("quantified", "below") for line in figure.axes[2].lines)
    assert seen == sum(int(result.window.values["lower"].notna().sum()) for result in example.results
                       if result.window.name == "level, day 90")  # fmt: skip
    plt.close(figure)
    # One of four of the highest dose was seen on day 180: it is shown where nothing else is asked.
    figure = compare_cohorts(ck.example(), days=[180]).plot()
    below = [line for line in figure.axes[2].lines if line.get_gid() == "below"]
    assert [float(line.get_ydata()[0]) for line in below] == [3.0, 3.0]
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


def curves_of(doses, away=0.0, seed=5, last=336, cohorts=None, slope=0.7, sd=0.5, lloq=50.0):
    """Simulated patients seen within some days of their visits, levels a x dose^slope that fall from day 14 on."""
    rng, rows = np.random.default_rng(seed), []
    for i, dose in enumerate(doses):
        for day in [day for day in (3, 7, 14, 21, 28, 56, 84, 168, 252, 336) if day <= last]:
            value = 5000 * np.exp(-0.07 * abs(min(day - 14, 0)) - 0.012 * max(day - 14, 0) + sd * rng.normal())
            rows.append({"subject": f"P{i:02}", "day": round(day + rng.uniform(-away, away), 2)})
            rows[-1] |= {"copies_per_ug": value * (dose / 1e6) ** slope, "dose": dose}
            rows[-1] |= {"cohort": cohorts[i]} if cohorts else {}
    return ck.read_study(pd.DataFrame(rows), lloq=lloq)


OWN = [0.4e6, 0.7e6, 2.4e6, 2.2e6, 1.0e6, 4.6e6, 0.6e6, 3.9e6, 7.8e6, 5.1e6, 1.3e6, 3.1e6]


def test_asked_days_find_patients_who_came_a_day_early_or_late():
    study = curves_of([1e6, 3e6, 1e7] * 5, away=1.0)
    found = compare_cohorts(study, "dose", days=[28, 84, 168, 336])
    levels = [result.window for result in found.results if result.window.name.startswith("level")]
    assert [int(window.values["lower"].notna().sum()) for window in levels] == [15] * 4
    assert "level, day 336 (15 patients sampled on days 335" in words(found)
    exact = study.used[(study.used["day"] - 84).abs() < 1.5].set_index("subject")["value"]
    np.testing.assert_allclose(levels[1].values["lower"], exact.loc[list(study.subjects)])
    curves, *panels = found.plot().axes
    assert [max(line.get_xdata()) for line in curves.lines if line.get_gid() == "median"] == [336, 336, 336]
    assert all("no value" not in ax.get_title(loc="left") for ax in panels)
    plt.close("all")


def test_a_tolerance_is_the_users():
    study = curves_of([1e6, 3e6, 1e7] * 3, away=1.0)
    seen = (study.used["day"] - 84).abs() <= 0.4
    found = compare_cohorts(study, "dose", days=[84], tolerance=0.4)
    level = next(result.window for result in found.results if result.window.name == "level, day 84")
    assert level.values["lower"].notna().sum() == seen.sum() < 9
    with pytest.raises(ValueError, match="tolerance=0: give a number above 0"):
        compare_cohorts(study, "dose", tolerance=0)


@pytest.mark.parametrize("days", [None, [28, 84, 168, 336]])
def test_an_area_reaches_its_last_day_for_everybody_whose_level_is_of_that_day(days):
    study = curves_of([1e6, 3e6, 1e7] * 5, away=1.0, lloq=1e-3)
    table = study.observations[["subject", "day", "value"]].merge(study.covariates["dose"], on="subject")
    ends = dict(zip(study.subjects, np.linspace(329, 343, 15), strict=True))
    late = table["day"] > 300
    table.loc[late, "day"] = table.loc[late, "subject"].map(ends)
    study = ck.read_study(table.rename(columns={"value": "copies_per_ug"}), lloq=1e-3)
    found = compare_cohorts(study, "dose", days=days, windows=[(0, 28), (28, 336)])
    windows = {result.window.name: result.window for result in found.results}
    level, area = windows["level, day 336"], windows["AUC, days 28-336"]
    assert level.values["lower"].notna().all()
    assert area.values["lower"].notna().all()
    assert area.matched == "4 areas end on days 329 to 332, carried on"
    own = study.used[study.used["subject"] == "P00"].sort_values("day")
    by_hand = ck.nca(study.select(subjects="P00"), (28, 336), tolerance=7).iloc[0]["auc_28_336"]
    to_last = ck.nca(study.select(subjects="P00"), (28, 329)).iloc[0]["auc_28_329"]
    assert by_hand == pytest.approx(to_last + 7 * own["value"].iloc[-1])
    assert area.values.loc["P00", "lower"] == pytest.approx(by_hand)


def test_an_area_does_not_reach_a_day_that_is_no_visit():
    study = curves_of([1e6, 3e6, 1e7] * 3, away=1.0)
    found = compare_cohorts(study, "dose", days=[], windows=[(28, 365)])
    (area,) = (result.window for result in found.results)
    assert area.values["lower"].isna().all()


def test_windows_are_the_users_and_quantities_of_the_analysis_can_be_compared():
    study = curves_of([1e6, 3e6, 1e7] * 4, away=1.0)
    found = compare_cohorts(study, "dose", days=[], windows=[(0, 28), (28, 336), "days_above_lloq", "below_from"])
    names = [result.window.name for result in found.results]
    assert names[:3] == ["peak, days 0-28", "AUC, days 0-28", "AUC, days 28-336"]
    assert found.results[2].window.values["lower"].notna().all()
    assert "before day 336" not in words(found)
    above, below = (result.window for result in found.results[3:])
    table = ck.nca(study).set_index("subject")
    np.testing.assert_allclose(above.values["upper"], table["days_above_lloq_upper"])
    np.testing.assert_allclose(below.values["lower"], table["below_from_lower"])
    assert {above.family, below.family, found.results[2].window.family} == {"persistence"}
    left = words(compare_cohorts(study, "dose", days=[]))
    assert "give windows=[(0, 28), (28, 336)] for a shorter one" in left


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ((0, 28), "give a list, such as"),
        ([(28, 0)], "two days that rise"),
        (["days_above"], "no quantity 'days_above'.*Did you mean days_above_lloq"),
        ("below_from", "give a list"),
        ([(pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-29"))], "windows holds dates"),
    ],
)
def test_windows_that_are_none_say_what_to_give(windows, message):
    with pytest.raises(ValueError, match=message):
        compare_cohorts(ck.example(), windows=windows)


def test_days_that_are_none_say_what_to_give():
    with pytest.raises(ValueError, match="days holds dates"):
        compare_cohorts(ck.example(), days=pd.to_datetime(["2024-03-01"]))
    with pytest.raises(ValueError, match="permutations=0: give a whole number of at least 1"):
        compare_cohorts(ck.example(), permutations=0)


def test_doses_that_all_differ_are_tested_without_groups():
    study = curves_of(OWN, lloq=0.1)
    found = compare_cohorts(study, "dose", days=[28, 336])
    for name, day in (("level, day 28", 28), ("level, day 336", 336)):
        values = study.used[study.used["day"] == day].set_index("subject").loc[list(study.subjects), "value"]
        kendall = stats.kendalltau(OWN, values, method="exact")
        assert row(found, name, "Jonckheere-Terpstra")["p"] == pytest.approx(kendall.pvalue, rel=1e-9)
        line = stats.linregress(np.log(OWN), np.log(values))
        assert row(found, name, "dose exponent")["estimate"] == pytest.approx(line.slope, rel=1e-6)
    assert found.table["quantity"].nunique() == 2
    text = words(found)
    assert text.startswith("Comparison by dose: the peak rises with the dose (p ")
    assert "none, there are 12 different doses, 4e5 to 7.8e6 cells/kg" in text
    assert "all: n = 12, median" in text
    figure = found.plot()
    assert sum(line.get_gid() == "quantified" for line in figure.axes[1].lines) == 12
    assert "exact p of the trend" in figure.axes[1].get_title(loc="left")
    plt.close(figure)


def test_own_doses_within_the_groups_of_another_factor():
    study = curves_of(OWN)
    rows = study.used.merge(study.covariates[["dose"]], left_on="subject", right_index=True)
    table = rows[["subject", "day", "dose"]].assign(copies_per_ug=rows["value"].fillna(0.0))
    table["site"] = table["subject"].str[-1].astype(int).mod(2).map({0: "x", 1: "y"})
    found = compare_cohorts(ck.read_study(table, lloq=50.0), "dose", within="site", days=[])
    assert row(found, "peak, days 0-28", "stratified Jonckheere-Terpstra, within strata")["p"] < 0.05


def test_the_summary_opens_with_the_answer():
    rising = words(compare_cohorts(curves_of([1e6, 3e6, 1e7] * 4), "dose", days=[28, 84]))
    assert rising.startswith("Comparison by dose: the peak rises with the dose (p ")
    assert "; persistence rises with the dose (level, day 28" in rising.split(" groups ")[0]
    falling = words(compare_cohorts(curves_of([1e6, 1e7] * 6, slope=-0.7), "dose", days=[28, 84]))
    assert falling.startswith("Comparison by dose: the peak falls with the dose (p ")
    nothing = words(compare_cohorts(curves_of([1e6, 3e6, 1e7] * 3, slope=0.0, sd=0.8, seed=9), "dose", days=[28, 84]))
    assert "the peak: neither a difference nor its absence is shown by ranks (p = " in nothing.split(" groups ")[0]
    small = words(compare_cohorts(curves_of([1e6, 1e7] * 3), "dose", days=[]))
    assert "the peak: too few patients for an answer by ranks, p cannot be 0.05 or less" in small
    assert "persistence cannot be judged, no patient has a value" in small.split(" groups ")[0]
    site = curves_of([1e6] * 12, cohorts=["x", "y"] * 6, slope=0.0)
    assert words(compare_cohorts(site, days=[28])).startswith(
        "Comparison by cohort: the peak differs by cohort (p = 0.0"
    )


def test_texts_of_odd_units_and_sizes_are_sentences():
    doses, peaks = [1e5, 1e5, 5e5, 1e7, 1e7], [3, 40, 6, 1e6, 5]
    cohorts = ["100000 cells/kg"] * 3 + ["10000000 cells/kg"] * 2
    text = words(compare_cohorts(study_of(peaks, doses, cohorts, lloq=4)))
    assert "S2 was given 5e5 cells/kg in the cohort 100000 cells/kg" in text
    assert "between 177 and 64,550-fold" in text
    assert "CV above 10,000%" in text
    assert "e+0" not in text
    alone = words(compare_cohorts(study_of([10, 20], [1e6, 1e7], ["a", "b"])))
    assert "b to a: 2-fold (these sizes give no interval)" in alone
    hidden = words(compare_cohorts(study_of([0, 0, 1, 2], [1e5] * 2 + [1e7] * 2), "dose"))
    assert "a ratio of any size (the limits hide it)" in hidden
    assert "any size-fold" not in hidden + alone + text


def test_two_samples_of_a_day_count_as_one():
    study = study_of([10, 20, 30, 1000, 2000, 3000], [1e5] * 3 + [1e7] * 3, lloq=0.1)
    rows = study.used.merge(study.covariates[["dose"]], left_on="subject", right_index=True)
    table = rows[["subject", "day", "dose"]].assign(copies_per_ug=rows["value"].fillna(0.0))
    factors = {"a": 0.5, "b": 2.0}
    each = [table.assign(copies_per_ug=table["copies_per_ug"] * by, replicate=well) for well, by in factors.items()]
    wells = pd.concat(each)
    once, twice = compare_cohorts(study, "dose", days=[28]), None
    for seed in range(2):
        mixed = wells.sample(frac=1, random_state=seed)
        twice = compare_cohorts(ck.read_study(mixed, lloq=0.1), "dose", days=[28])
        peak = row(twice, "peak, days 0-28", "dose exponent")
        assert peak["estimate"] == pytest.approx(row(once, "peak, days 0-28", "dose exponent")["estimate"])
        assert twice.curves.p == compare_cohorts(ck.read_study(wells, lloq=0.1), "dose", days=[28]).curves.p


def test_an_area_with_one_early_sample_below_the_limit_has_an_exponent():
    doses = [1e6, 1e6, 3e6, 3e6, 1e7, 1e7]
    rows = [
        (f"S{i}", day, 0.0 if day == 1 else share * peak, dose)
        for i, (peak, dose) in enumerate(zip([900, 1500, 2400, 2100, 5200, 9000], doses, strict=True))
        for day, share in ((1, 0), (7, 1), (14, 0.6), (28, 0.2))
    ]
    study = ck.read_study(pd.DataFrame(rows, columns=["subject", "day", "copies_per_ug", "dose"]), lloq=3)
    found = compare_cohorts(study, "dose", days=[])
    area, peak = (row(found, name, "dose exponent") for name in ("AUC, days 0-28", "peak, days 0-28"))
    assert area["n_interval"] == 6
    assert area["estimate"] == pytest.approx(peak["estimate"], abs=0.01)
    assert "known to within" in words(found)
    assert "geometric mean" in words(found).partition("AUC, days 0-28 1e6")[2].partition("3e6")[0]


def test_a_monte_carlo_p_is_called_one():
    rng = np.random.default_rng(2)
    peaks = np.round(np.exp(rng.normal(3, 1, 24) + np.repeat([0, 1, 2], 8)))
    found = compare_cohorts(study_of(np.maximum(peaks, 1.0), [1e5] * 8 + [1e6] * 8 + [1e7] * 8, lloq=0.01), "dose")
    kruskal = next(test for test in found.results[0].tests if test.name == "Kruskal-Wallis")
    assert kruskal.monte_carlo_error > 0
    text = words(found)
    assert "Monte Carlo p" in text
    assert "Tests of midranks, exact where p is not called Monte Carlo" in text
    assert "p = 0.0000" not in text
    assert "smallest possible p" not in text.partition("Kruskal-Wallis")[2].partition("attained")[0]
    figure = found.plot()
    named = "Monte Carlo" if found.results[0].main.monte_carlo_error else "exact"
    assert figure.axes[1].get_title(loc="left").partition("\n")[2].startswith(f"{named} p of the trend")
    plt.close(figure)
