"""Non-compartmental analysis: by hand, by R, and where a limit hides a value."""

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy

import cellkinetics as ck
from cellkinetics.cohorts.half_lives import censored_line
from cellkinetics.cohorts.nca import BLQ
from cellkinetics.statistics.ranks import hodges_lehmann

FOLDER = Path(__file__).parents[1] / "reference"
SAMPLES = pd.read_csv(FOLDER / "nca_samples.csv")
R = pd.read_csv(FOLDER / "nca.csv")


def study_of(*samples, lloq=3.0, **columns):
    """One subject A, infused on day 0, with (day, value) samples."""
    table = pd.DataFrame(samples, columns=["day", "copies_per_ug"]).assign(subject="A", dose=1e6, **columns)
    return ck.read_study(table, lloq=lloq)


def nca(*samples, window=(0, 28), **options):
    return ck.nca(study_of(*samples), window, **options).iloc[0]


@pytest.fixture(scope="module")
def textbook():
    positive = SAMPLES[SAMPLES["conc"] > 0].rename(columns={"time": "day", "conc": "copies_per_ug"})
    # The samples of Theoph at time 0 were taken after the dose: moved by 1e-9 they count as such.
    return ck.read_study(positive.assign(day=positive["day"].clip(lower=1e-9)))


@pytest.mark.parametrize("method", ["linear-up/log-down", "linear", "log"])
def test_theoph_and_indometh_are_those_of_r(textbook, method):
    found = ck.nca(textbook, (0, 8), method=method).set_index("subject")
    expected = R[R["rule"] == method].set_index("subject")
    assert len(expected) == 18
    names = {"clast": "clast", "tlast": "tlast", "half_life": "half_life", "half_life_adj_r2": "adj_r2"}
    names |= {"half_life_n": "n", "auc_0_inf": "auc_inf", "auc_extrapolated": "extrapolated", "auc_0_last": "auc_last"}
    names |= {"cmax": "cmax", "tmax": "tmax"}
    for ours, theirs in names.items():
        np.testing.assert_allclose(found.loc[expected.index, ours], expected[theirs], rtol=2e-8, err_msg=ours)


def test_theoph_1_is_the_published_worked_example(textbook):
    """Bae, Lee: Noncompartmental Analysis (2018), the worked example of subject 1 in R."""
    found = ck.nca(textbook, (0, 24), method="linear").set_index("subject").loc["Theoph 1"]
    assert found["cmax"] == 10.5
    assert found["tmax"] == 1.12
    assert found["auc_0_last"] == pytest.approx(148.923, abs=5e-4)
    assert found["half_life"] == pytest.approx(14.30438, abs=5e-6)
    assert found["half_life_adj_r2"] == pytest.approx(0.9999995, abs=5e-8)
    assert found["half_life_n"] == 3


def test_a_curve_that_halves_every_week_has_the_areas_that_paper_gives():
    found = nca((7, 800), (14, 400), (21, 200), (28, 100))
    assert found["cmax"] == 800
    assert found["tmax"] == 7
    # Up: 7 x 400. Down: (800 - 100)/k with k = ln 2/7.
    assert found["auc_0_28"] == pytest.approx(2800 + 700 * 7 / math.log(2))
    assert found["half_life"] == pytest.approx(7)
    assert found["half_life_n"] == 3
    assert found["auc_0_inf"] == pytest.approx(2800 + 800 * 7 / math.log(2))
    assert found["auc_extrapolated"] == pytest.approx((100 * 7 / math.log(2)) / found["auc_0_inf"])
    linear = nca((7, 800), (14, 400), (21, 200), (28, 100), method="linear")
    assert linear["auc_0_28"] == 7 * (400 + 600 + 300 + 150)


def test_the_window_ends_between_samples_by_the_rule_of_the_segment():
    found = nca((14, 800), (42, 200))
    # Halving every 14 days: 400 on day 28.
    assert found["auc_0_28"] == pytest.approx(14 * 400 + 400 * 14 / math.log(2))
    assert nca((14, 800), (42, 200), method="linear")["auc_0_28"] == 14 * 400 + 14 * (800 + 500) / 2


def test_a_last_sample_shortly_before_the_end_is_carried_on_and_an_early_one_is_a_reason():
    assert nca((7, 70), (26, 70))["auc_0_28"] == pytest.approx(7 * 35 + 21 * 70)
    found = nca((7, 70), (21, 70))
    assert math.isnan(found["auc_0_28"])
    assert found["auc_0_28_reason"] == "the last sample is on day 21, before day 28"
    assert nca((7, 70), (21, 70), tolerance=7)["auc_0_28"] == pytest.approx(7 * 35 + 21 * 70)


def test_an_area_over_censored_samples_is_an_interval():
    found = nca((7, 300), (14, 0), (28, 0), method="linear")
    assert math.isnan(found["auc_0_28"])
    assert found["auc_0_28_lower"] == 7 * 150 + 7 * 150
    assert found["auc_0_28_upper"] == 7 * 150 + 7 * 303 / 2 + 14 * 3
    assert "between 2100 and 2152.5" in found["auc_0_28_reason"]


def test_a_logarithmic_fall_to_a_censored_sample_has_no_area_at_its_lower_end():
    found = nca((7, 300), (14, 0), (28, 0))
    assert found["auc_0_28_lower"] == 7 * 150
    assert found["auc_0_28_upper"] == pytest.approx(7 * 150 + 7 * 297 / math.log(100) + 14 * 3)


@pytest.mark.parametrize("method", ["linear-up/log-down", "linear", "log"])
def test_any_true_value_of_the_censored_samples_gives_an_area_between_the_ends(method):
    days, rng = np.array([3, 7, 10, 14, 21, 28]), np.random.default_rng(7)
    for _ in range(30):
        true = np.exp(rng.normal(1.5, 2.0, 6))
        found = nca(*zip(days, np.where(true < 3, 0.0, true), strict=True), method=method)
        exact = ck.nca(study_of(*zip(days, true, strict=True), lloq=None), method=method).iloc[0]["auc_0_28"]
        assert found["auc_0_28_lower"] <= exact * (1 + 1e-12)
        assert exact <= found["auc_0_28_upper"] * (1 + 1e-12)


def test_an_interval_sample_uses_both_of_its_ends():
    found = ck.nca(study_of((7, 300), (14, 0), (28, 300), lod=1.0), method="linear").iloc[0]
    assert found["n_censored"] == 1
    below_lod = 7 * 150 + 7 * 150 + 14 * 150
    assert found["auc_0_28_lower"] == below_lod
    detected = ck.read_study(
        pd.DataFrame({"ID": "A", "TIME": [0, 7, 14, 28], "DV": [".", 300, 3, 300], "AMT": [1e6, ".", ".", "."],
                      "EVID": [1, 0, 0, 0], "CENS": [0, 0, 1, 0], "LIMIT": [".", ".", 1, "."]})
    )  # fmt: skip
    found = ck.nca(detected, method="linear").iloc[0]
    assert found["auc_0_28_lower"] == below_lod + 1 * 21 / 2
    assert found["auc_0_28_upper"] == below_lod + 3 * 21 / 2


def test_a_sample_above_the_upper_limit_has_no_end_above():
    found = nca((7, ">1e6"), (14, 500.0), (28, 20.0))
    assert math.isnan(found["cmax"])
    assert found["cmax_reason"] == "a sample is above its upper limit, 1e+06"
    assert (found["cmax_lower"], found["cmax_upper"]) == (1e6, math.inf)
    assert found["auc_0_28_upper"] == math.inf
    assert found["auc_0_28_lower"] > 7 * 5e5


@pytest.mark.parametrize(
    ("blq", "expected"),
    [
        ("zero", 7 * 150 + 7 * 150 + 7 * 15 + 7 * 15),
        ("half", 7 * 150 + 7 * 301.5 / 2 + 7 * 31.5 / 2 + 7 * 31.5 / 2),
        # Dropped in the middle: straight from 300 to 30; after the last quantified sample 0 is kept.
        ("pknca", 7 * 150 + 14 * 165 + 7 * 15),
    ],
)
def test_substitutes_give_the_area_that_paper_gives(blq, expected):
    found = nca((7, 300), (14, 0), (21, 30), (28, 0), blq=blq, method="linear")
    assert found["auc_0_28"] == expected
    assert found["auc_0_28_lower"] == found["auc_0_28_upper"] == expected


def test_dropped_samples_can_leave_no_end():
    found = nca((7, 300), (14, 0), (21, 30), (28, 0), blq="drop", method="linear")
    assert found["auc_0_28_reason"] == "the last sample that is not dropped is on day 21, before day 28"


def test_only_censored_samples_give_ends_and_reasons():
    found = nca((7, 0), (14, 0), (28, 0))
    assert math.isnan(found["cmax"])
    assert (found["cmax_lower"], found["cmax_upper"]) == (0.0, 3.0)
    assert found["cmax_reason"] == "every sample of the window is below its limit"
    assert (found["auc_0_28_lower"], found["auc_0_28_upper"]) == (0.0, 7 * 1.5 + 21 * 3)
    for metric in ("tlast", "clast", "auc_0_last", "auc_0_inf"):
        assert found[f"{metric}_reason"] == "no quantified sample"
    assert found["half_life_reason"] == "0 quantified samples after the peak; a line needs 3"
    assert found["below_from"] == 7


def test_a_higher_limit_can_hide_the_peak():
    table = pd.DataFrame({"subject": "A", "day": [7, 14, 28], "copies_per_ug": ["20", "", "5"], "dose": 1e6})
    table["lloq"] = [3, 50, 3]
    table.loc[1, "copies_per_ug"] = "<50"
    found = ck.nca(ck.read_study(table)).iloc[0]
    assert math.isnan(found["cmax"])
    assert (found["cmax_lower"], found["cmax_upper"]) == (20, 50)
    assert "limit of 50 can be higher" in found["tmax_reason"]


def test_every_metric_that_is_missing_has_its_reason_and_no_other():
    table = pd.DataFrame(
        {
            "subject": ["A", "A", "B", "B", "C"],
            "day": [7, 14, 7, 300, 40],
            "copies_per_ug": [9, 0, 0, 0, 5.0],
            "dose": 1e6,
        }
    )
    found = ck.nca(ck.read_study(table, lloq=3))
    reasons = [name for name in found if name.endswith("_reason")]
    assert len(reasons) == 12
    for name in reasons:
        assert (found[name].ne("") == found[name.removesuffix("_reason")].isna()).all(), name


def test_a_subject_without_a_sample_is_a_row_of_reasons():
    table = pd.DataFrame({"subject": ["A", "B"], "day": [0, 7], "copies_per_ug": [None, 8.0], "dose": 1e6})
    found = ck.nca(ck.read_study(table)).set_index("subject")
    assert found.loc["A", "cmax_reason"] == "no sample from day 0 to day 28"
    assert found.loc["A", "clast_reason"] == "no sample"
    assert found.loc["B", "cmax"] == 8


def test_days_count_from_the_first_infusion_and_a_cut_follow_up_ends_the_analysis():
    table = pd.DataFrame(
        {"subject": "A", "day": [10, 17, 24, 45, 60], "copies_per_ug": ["", 50, 70, 900, 9000],
         "dose": [1e6, None, None, None, None], "until": 50}
    )  # fmt: skip
    found = ck.nca(ck.read_study(table)).iloc[0]
    assert (found["cmax"], found["tmax"]) == (70, 14)
    assert (found["clast"], found["tlast"]) == (900, 35)


def test_the_best_line_takes_more_samples_within_the_allowance():
    days = np.array([7, 14, 21, 28, 42, 56.0])
    straight = 1000 * 0.5 ** (days / 7)
    found = nca(*zip(days, straight, strict=True), (70, 0.0), window=(0, 56))
    assert found["half_life_n"] == 5
    assert found["half_life_from"] == 14
    assert found["half_life_span"] == pytest.approx(42 / 7)


def test_a_tail_that_rises_has_no_half_life():
    found = nca((7, 500), (14, 10), (21, 20), (28, 40))
    assert found["half_life_reason"] == "no line through the last samples falls with an adjusted R2 above 0"


def test_given_days_decide_the_line():
    samples = [(7, 800), (14, 400), (21, 200), (28, 100), (42, 90), (56, 80)]
    found = nca(*samples, terminal=(14, 28))
    assert found["half_life"] == pytest.approx(7)
    assert found["half_life_n"] == 3
    study = study_of(*samples)
    assert ck.nca(study, terminal={"A": (14, 28)}).loc[0, "half_life"] == pytest.approx(7)
    assert "a line needs 2 days" in ck.nca(study, terminal=(22, 27)).loc[0, "half_life_reason"]
    with pytest.raises(ValueError, match=r"terminal has the subject 'a', who is not there. Did you mean A\?"):
        ck.nca(study, terminal={"a": (14, 28)})


def test_the_tobit_line_without_censored_samples_is_the_line():
    samples = [(7, 900), (14, 400), (21, 260), (28, 100), (42, 31), (56, 8)]
    found = nca(*samples)
    assert found["half_life_tobit"] == pytest.approx(found["half_life"], rel=1e-7)


def test_the_tobit_line_uses_that_late_samples_are_below():
    days = np.array([7, 14, 21, 28, 35, 42, 49.0])
    values = np.array([4000, 400, 60, 21, 9, 6, 4.0])
    late = [(56, 0.0), (70, 0.0), (84, 0.0)]
    found, without = nca(*zip(days, values, strict=True), *late), nca(*zip(days, values, strict=True))
    assert found["half_life"] == without["half_life"]
    assert found["half_life_tobit"] < without["half_life_tobit"]
    assert found["half_life_tobit_lower"] < found["half_life_tobit"] < found["half_life_tobit_upper"]


def restricted(days, y, ln_sd):
    """Log-likelihood of ln values on a line, its two coefficients integrated out, with the prior of ln sd."""
    design = np.column_stack([np.ones(len(days)), days])
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return -(len(y) - 2) * ln_sd - rest @ rest / (2 * np.exp(2 * ln_sd)) - (ln_sd - np.log(0.7)) ** 2 / (2 * 0.5**2)


@pytest.mark.parametrize("values", [(400, 260, 100), (400, 390, 40, 60), (400, 200, 100, 50)])
def test_a_tobit_line_of_few_samples_has_the_prior_of_sd_and_its_degrees(values):
    days, y = 7.0 * np.arange(1, len(values) + 1), np.log(values)
    found = nca((0, 900), *zip(days, values, strict=True), terminal=(1, 60))
    searched = scipy.optimize.minimize_scalar(lambda ln: -restricted(days, y, ln), bounds=(-3, 2), method="bounded")
    slope, error = np.polyfit(days, y, 1)[0], np.exp(searched.x) / np.sqrt(np.sum((days - days.mean()) ** 2))
    half = scipy.stats.t.ppf(0.975, len(y) - 2 + 2) * error
    flat = -np.log(2) / (slope + half) if slope + half < 0 else np.inf
    assert found["half_life_tobit"] == pytest.approx(-np.log(2) / slope, rel=1e-6)
    assert found["half_life_tobit_lower"] == pytest.approx(-np.log(2) / (slope - half), rel=1e-4)
    assert found["half_life_tobit_upper"] == pytest.approx(flat, rel=1e-4)


def test_what_is_not_known_of_sd_widens_a_tobit_line_that_passes_below_limits():
    days, y = np.array([7, 14, 21, 28.0]), np.log([400, 180, 110, 40])
    late, spent, used = np.array([35, 42, 49.0]), 2.0, 2.0
    found = nca((0, 900), *zip(days, np.exp(y), strict=True), *((day, 0) for day in late), terminal=(1, 60))

    def minus(w, spent):
        z = (np.log(3) - w[0] - w[1] * late) / np.exp(w[2])
        seen = scipy.stats.norm.logpdf(y, w[0] + w[1] * days, np.exp(w[2])).sum() + scipy.stats.norm.logcdf(z).sum()
        return -(seen + spent * w[2] - (w[2] - np.log(0.7)) ** 2 / (2 * 0.5**2))

    def curvature(at, spent):
        steps, sides = np.diag([1e-3, 5e-5, 1e-3]), [(1, 1), (1, -1), (-1, 1), (-1, -1)]
        return np.array(
            [
                [
                    sum(i * j * minus(at + i * a + j * b, spent) for i, j in sides) / (4 * a.sum() * b.sum())
                    for a in steps
                ]
                for b in steps
            ]
        )

    best, information, used = np.array([7, -0.1, -0.7]), np.eye(3), spent
    for _ in range(2):
        used = spent
        best = scipy.optimize.minimize(
            minus,
            [7, -0.1, -0.7],
            (used,),
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 9999},
        ).x
        information = curvature(best, used)
        seen = np.array([[len(days), days.sum()], [days.sum(), (days**2).sum()]]) / np.exp(2 * best[2])
        spent = float(np.trace(np.linalg.solve(information[:2, :2], seen)))
    half = scipy.stats.t.ppf(0.975, len(days) - used + 2) * np.sqrt(np.linalg.inv(information)[1, 1])
    assert 1 < used < 2
    assert found["half_life_tobit"] == pytest.approx(-np.log(2) / best[1], rel=1e-4)
    assert found["half_life_tobit_lower"] == pytest.approx(-np.log(2) / (best[1] - half), rel=1e-3)


def test_time_above_the_limit_and_the_crossing():
    found = nca((7, 800), (14, 0), (21, 200), (28, 100), (42, 0), (60, 0))
    assert found["days_above_lloq_lower"] == 7
    assert found["days_above_lloq_upper"] == 42
    assert found["days_above_lloq"] == 7 + 35 / 2
    assert (found["below_from_lower"], found["below_from"], found["below_from_upper"]) == (28, 42, 42)
    assert nca((7, 800), (14, 20))["below_from_reason"] == "the last sample, on day 14, is quantified"


def test_without_a_limit_there_are_no_days_above_it():
    found = ck.nca(study_of((7, 800), (14, 200), (60, 5), lloq=None)).iloc[0]
    ends = ["", "_lower", "_upper"]
    assert found[[f"{name}{end}" for name in ("days_above_lloq", "below_from") for end in ends]].isna().all()
    assert found["days_above_lloq_reason"] == found["below_from_reason"] == "no lower limit is known"
    assert not np.isnan(nca((7, 800), (14, 200), (60, 5))["days_above_lloq"])


def test_a_comparison_of_days_above_no_limit_says_that_none_is_known():
    rows = [
        {"subject": f"S{i}", "dose": 10.0 ** (5 + i % 2), "day": day, "copies_per_ug": 900 / day}
        for i in range(8)
        for day in (7, 28, 60)
    ]
    found = ck.compare_cohorts(ck.read_study(pd.DataFrame(rows)), by="dose", windows=["days_above_lloq"], days=[])
    (window,) = (result.window for result in found.results)
    assert window.values["lower"].isna().all()
    assert set(window.values["reason"]) == {"no lower limit is known"}
    assert "all values are tied" not in " ".join(found.summary().split())
    assert "no lower limit is known" in " ".join(found.summary().split())


def test_several_outputs_are_several_rows():
    table = pd.DataFrame(
        {"subject": "A", "day": [7, 14, 7, 14], "copies_per_ug": [9, 5, 90, 50], "output": ["a", "a", "b", "b"]}
    )
    found = ck.nca(ck.read_study(table), (0, 14))
    assert found[["output", "cmax"]].to_numpy().tolist() == [["a", 9.0], ["b", 90.0]]


@pytest.mark.parametrize("blq", BLQ)
def test_the_simulated_example_is_analysed_in_every_way(blq):
    found = ck.nca(ck.example(), blq=blq)
    assert found["cmax"].notna().all()
    assert found["subject"].tolist() == list(ck.example().subjects)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blq": "zeros"}, "there is no blq 'zeros'; .* Did you mean zero?"),
        ({"method": "lin"}, "there is no method 'lin'; there are linear-up/log-down, linear, log"),
        ({"window": (28, 0)}, "must be two days that rise"),
        ({"window": (0, math.inf)}, "must be two days that rise"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ck.nca(ck.example(), **arguments)


@pytest.mark.parametrize("seed", range(3))
def test_two_samples_of_one_day_are_one_whatever_their_order(seed):
    samples = [(1, 10.0), (7, 100.0), (7, 1000.0), (14, 50.0), (14, 0.0), (21, 0.0), (28, 10.0)]
    mixed = np.random.default_rng(seed).permutation(len(samples))
    found, again = nca(*samples), nca(*(samples[at] for at in mixed))
    pd.testing.assert_series_equal(found, again)
    assert found["n_samples"] == 5
    assert found["cmax"] == pytest.approx(math.sqrt(100 * 1000))
    # The mean of 50 and of something below 3 lies below that of 50 and 3.
    single = nca((1, 10.0), (7, math.sqrt(100 * 1000)), (14, math.sqrt(50 * 3)), (21, 0.0), (28, 10.0))
    assert found["auc_0_28_upper"] == pytest.approx(single["auc_0_28_upper"])


def test_wells_that_are_alike_are_one_sample():
    wells = [(7, 500.0), (7, 500.0), (14, 300.0), (21, 0.0), (21, 0.0), (28, 60.0)]
    twice = ck.nca(study_of(*wells, well=list("abaaba"))).iloc[0]
    once = nca((7, 500.0), (14, 300.0), (21, 0.0), (28, 60.0))
    pd.testing.assert_series_equal(twice, once)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": pd.to_datetime(["2024-03-01", "2024-03-29"])}, "window holds dates"),
        ({"window": (0, 7, 28)}, "two days that rise"),
        ({"terminal": (28, 7)}, "terminal .* two days that rise"),
        ({"terminal": {"A": pd.to_timedelta([7, 28], unit="D")}}, "terminal holds time differences"),
        ({"tolerance": -1}, "give a number of at least 0"),
    ],
)
def test_days_that_are_none_say_what_to_give(arguments, message):
    with pytest.raises(ValueError, match=message):
        nca((7, 70), **arguments)


@pytest.mark.parametrize("replicates", ["each", "mean"])
def test_a_level_of_one_well_above_and_one_below_the_limit_may_lie_above_it(replicates):
    rows = pd.DataFrame({"subject": "A", "day": [3, 7, 7, 14, 28], "copies_per_ug": ["<3", 50, "<3", "<3", "<3"]})
    found = ck.nca(ck.read_study(rows, lloq=3, replicates=replicates)).iloc[0]
    # Their geometric mean is below 12.2: above the limit of 3 or not.
    assert found["cmax_upper"] == pytest.approx(math.sqrt(150))
    assert found[["days_above_lloq_lower", "days_above_lloq_upper"]].tolist() == [0, 11]
    assert math.isnan(found["days_above_lloq"])
    assert found["days_above_lloq_reason"].endswith("may lie above it: between 0 and 11 days")
    assert found[["below_from_lower", "below_from_upper"]].tolist() == [0, 14]
    assert "on day 7" in found["below_from_reason"]


def test_days_above_a_limit_that_are_0_in_a_group_compare_without_a_numpy_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = hodges_lehmann([0, 0, 0], [0, 0, 0], [0, 0, 2], [0, 9, 2])
    assert (found.lower, found.upper) == (0, math.inf)
    assert (found.ratio_lower, found.ratio_upper) == (0, math.inf)


def test_a_line_without_noise_has_its_half_life_by_tobit_too():
    days = np.array([1, 3, 7, 10, 14, 21, 28.0])
    copies = 1000 * np.exp(-0.2 * days)
    rows = pd.DataFrame({"subject": "A", "day": days, "copies_per_ug": copies})
    found = ck.nca(ck.read_study(rows, lloq=0.001)).iloc[0]
    ends = found[["half_life_tobit", "half_life_tobit_lower", "half_life_tobit_upper"]].tolist()
    assert ends == pytest.approx([found["half_life"]] * 3, rel=1e-9)
    steady = censored_line(days, copies, copies)
    assert steady[:3] == pytest.approx([np.log(2) / 0.2] * 3, rel=1e-9)
    # The same with a sample below a limit that the line passes, and without an answer above one.
    lower, upper = np.append(copies[:-1], 0.0), np.append(copies[:-1], 3.8)
    assert censored_line(days, lower, upper)[0] == pytest.approx(np.log(2) / 0.2, rel=1e-9)
    rising = censored_line(days, copies[::-1], copies[::-1])
    assert math.isnan(rising[0])
    assert rising[3].endswith("does not fall")
