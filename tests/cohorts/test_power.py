"""The power of a design: against closed forms, against one study at a time, and what goes wrong."""

import sys
from contextlib import contextmanager

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import cellkinetics as ck
from cellkinetics import Model, Parameter, models
from cellkinetics import power as power_of
from cellkinetics.cohorts import areas, virtual
from cellkinetics.cohorts.power import _needed, scaled
from cellkinetics.statistics.ranks import jonckheere, wilcoxon

DAY = "level, day 28"
SD = float(np.hypot(0.6, 0.5))
HALF = 0.5 * np.log(10)


def chance(found, question, window=DAY):
    row = found.table.set_index(["window", "question"]).loc[(window, question)]
    return float(row["power"]), float(row["monte_carlo_error"])


def plain(level, doses=(1e6, 1e7), sizes=(6, 6), **options):
    """A model whose ln value is normal with SD sqrt(0.6^2 + 0.5^2): one sample, on day 28."""
    asked = {"between": {"c": 0.6}, "patients": [sum(sizes)], "studies": 4000, "progress": False} | options
    return power_of(level, list(doses), list(sizes), [28], **asked)


def t_power(n, difference):
    """Of a t test at 5%, by the noncentral t distribution."""
    degrees = 2 * n - 2
    away, limit = difference / (SD * np.sqrt(2 / n)), stats.t.ppf(0.975, degrees)
    return float(stats.nct.sf(limit, degrees, away) + stats.nct.cdf(-limit, degrees, away))


def test_without_censoring_the_exponents_power_is_that_of_the_t_test(level):
    found = plain(level, effect={"c": 0.5})
    share, error = chance(found, "dose exponent")
    assert share == pytest.approx(t_power(6, HALF), abs=3.5 * error)
    assert 0.2 < share < 0.95
    assert found.truth.loc[DAY, "exponent"] == pytest.approx(0.5)


def test_the_rank_test_has_the_power_that_scipy_finds_in_studies_of_its_own(level):
    share, error = chance(plain(level, effect={"c": 0.5}), "trend test")
    rng = np.random.default_rng(11)
    x, y = SD * rng.normal(size=(6, 4000)), HALF + SD * rng.normal(size=(6, 4000))
    other = float((stats.mannwhitneyu(x, y, method="exact").pvalue <= 0.05).mean())
    assert share == pytest.approx(other, abs=3.5 * np.sqrt(2) * error)


def test_equivalence_is_shown_as_often_as_two_one_sided_t_tests_show_it(level):
    share, error = chance(plain(level, sizes=(20, 20)), "equivalence")
    degrees, standard = 38, SD * np.sqrt(2 / 20)

    def given(s):
        room = np.log(2) / standard - stats.t.ppf(0.95, degrees) * s
        return max(2 * stats.norm.cdf(room) - 1, 0.0) * stats.chi.pdf(s * np.sqrt(degrees), degrees) * np.sqrt(degrees)

    closed = integrate.quad(given, 0, 3)[0]
    assert 0.3 < closed < 0.9
    assert share == pytest.approx(closed, abs=3.5 * error)


@pytest.mark.parametrize("sizes", [(4, 4), (3, 4, 4)])
def test_without_an_effect_the_power_is_the_attained_size(level, sizes):
    found = plain(level, doses=[1e5, 1e6, 1e7][: len(sizes)], sizes=sizes)
    groups = np.split(np.arange(float(sum(sizes))), np.cumsum(sizes)[:-1])
    exact = (wilcoxon(*groups) if len(sizes) == 2 else jonckheere(groups)).attained_size
    for question, size in (("trend test", exact), ("dose exponent", 0.05)):
        share, _ = chance(found, question)
        assert share == pytest.approx(size, abs=3.5 * np.sqrt(size * (1 - size) / 4000)), question
    assert "a trend found is a false one" in " ".join(found.summary().split())


def test_each_simulated_study_is_told_what_compare_cohorts_says():
    model, days = models.load("stein_2019_tisagenlecleucel"), [3, 9, 14, 28, 90, 364]
    asked = {"effect": {"c_max": 0.2}, "between": {"c_max": 0.7, "beta": 1.0}, "parameters": {"c_max": 900.0}}
    asked |= {"lloq": 8.0, "studies": 4, "progress": False, "patients": [11]}
    found = power_of(model, [1e5, 1e6, 1e7], [3, 4, 4], days, **asked)
    shown = dict.fromkeys(found.truth.index, 0.0)
    equal, trends, adjusted = dict(shown), dict(shown), dict(shown)
    censored, table = 0, pd.DataFrame()
    for study in range(4):
        rows = []
        for cohort, n in enumerate(found.sizes):
            copies = found.plan.samples(cohort, n, [study], found.seed)[0]
            for patient, values in enumerate(copies):
                label = {"subject": f"{cohort}{patient}", "dose": found.plan.doses[cohort]}
                rows += [label | {"day": d, "copies_per_ug": v} for d, v in zip(days, values, strict=True)]
        table = ck.compare_cohorts(ck.read_study(pd.DataFrame(rows), lloq=8.0), "dose").table
        censored += int(table["n_interval"].sum())
        for window in shown:
            of = table[table["window"] == window].set_index("quantity")
            b = of.loc["dose exponent"]
            shown[window] += (b["lower"] > 0 or b["upper"] < 0) / 4
            equal[window] += (b["equivalence"] == "shown") / 4
            trends[window] += (of.loc["Jonckheere-Terpstra", "p"] <= 0.05) / 4
            adjusted[window] += (of.loc["Jonckheere-Terpstra", "p_holm"] <= 0.05) / 4
    assert set(table["window"]) == set(shown)
    assert censored > 10
    for window in shown:
        assert chance(found, "dose exponent", window)[0] == shown[window]
        assert chance(found, "equivalence", window)[0] == equal[window]
        assert chance(found, "trend test", window)[0] == trends[window]
        assert chance(found, "trend test, adjusted", window)[0] == adjusted[window]
    assert 0 < sum(shown.values()) < len(shown)


def test_areas_of_many_curves_are_those_of_one():
    rng = np.random.default_rng(5)
    days = np.array([1.0, 3, 9, 14, 26, 40])
    values = np.exp(rng.normal(size=(50, 6)))
    gone = rng.random((50, 6)) < 0.3
    for low in (np.where(gone, 0.0, values), np.where(gone, 0.4, np.maximum(values, 0.4))):
        vanishing = low == 0
        for start, end in ((0.0, 28.0), (0.0, 42.0), (28.0, 40.0)):
            found = virtual.areas(days, low, vanishing, start, end)
            for curve, zero, one in zip(low, vanishing, found, strict=True):
                points = [areas.Point(0.0, 0.0), *map(areas.Point, days, curve, zero)]
                points.append(points[-1]._replace(day=max(end, 40.0)))
                assert one == pytest.approx(areas.area(points, start, end), rel=1e-12, abs=1e-12)


def test_a_study_has_the_same_first_patients_however_many_follow(level):
    found = plain(level, studies=30)
    few, many = (found.plan.samples(1, n, [7], 2020) for n in (3, 9))
    np.testing.assert_array_equal(few, many[:, :3])
    together = found.plan.samples(1, 3, [6, 7], 2020)
    np.testing.assert_array_equal(few[0], together[1])
    again, grown = plain(level, studies=30), plain(level, studies=30, patients=[12, 24])
    pd.testing.assert_frame_equal(found.table, again.table)
    pd.testing.assert_frame_equal(found.table, grown.table[grown.table["patients"] == 12])


def test_patients_for_eighty_percent_are_those_of_the_t_test(level):
    found = plain(level, effect={"c": 0.5}, patients=[8, 12, 16, 24, 32], studies=1000)
    row = found.needed.set_index(["window", "question"]).T[DAY, "dose exponent"]
    closed = 2 * next(n for n in range(4, 40) if t_power(n, HALF) >= 0.8)
    assert row["lower"] - 1 <= closed <= row["upper"] + 2
    assert row["lower"] < row["patients"] < row["upper"]


def test_patients_that_no_number_tried_gives_are_not_a_number():
    few = pd.DataFrame({"patients": [10, 20], "power": [0.0, 0.3], "studies": [100, 100]})
    assert np.isnan(_needed(few)["patients"])
    enough = pd.DataFrame({"patients": [10, 20], "power": [0.9, 1.0], "studies": [100, 100]})
    assert _needed(enough) == {"patients": 10.0, "lower": 10.0, "upper": 10.0, "note": "at most 10, the fewest tried"}


def test_the_effect_of_a_dose_can_be_taken_from_a_model():
    model = models.load("nk_decline")
    for effect, exponent in (({}, 1.0), ({"F": -1.0}, 0.0)):
        found = power_of(
            model, [1e7, 1e5], [2, 3], [1, 7, 28], effect=effect, between={"F": 0.3}, studies=5, progress=False,
            patients=[5],
        )  # fmt: skip
        assert found.truth["exponent"].to_numpy() == pytest.approx(exponent)
        # The cohorts are put in order of dose.
        assert found.sizes == (3, 2)


def test_covariates_over_time_reach_the_curves():
    parameters = {"c": Parameter(50.0, "copies/ug", "this test")}
    outputs, inputs = {"copies_per_ug": "copies/ug"}, {"share": "1"}
    model = Model(
        name="shared", parameters=parameters, outputs=outputs, curve=lambda t, c, share: c * share, inputs=inputs
    )
    for course in (0.5, [(0, 0.5), (40, 0.5)]):
        found = plain(model, between={"c": 0.1}, studies=2, inputs={"share": course})
        assert found.plan.curves(0, np.zeros((1, 1)))[0] == pytest.approx([25.0])
    with pytest.raises(ck.ModelError, match="needs share"):
        plain(model, between={"c": 0.1}, studies=2)


def test_what_has_no_answer_is_counted_and_not_shown():
    parameters = {"c": Parameter(2.0, "copies/ug", "this test")}
    outputs = {"copies_per_ug": "copies/ug"}

    def curve(t, c):
        return jnp.where(c > 10, jnp.nan, c) * jnp.ones_like(t)

    model = Model(name="sometimes", parameters=parameters, outputs=outputs, curve=curve)
    found = plain(model, lloq=3.0, between={"c": 1.0}, studies=200)
    rows = found.table.set_index(["window", "question"]).loc[DAY]
    assert (rows["not_estimable"] > 60).all()
    assert (rows["power"] <= 1 - rows["not_estimable"] / 200).all()
    assert f"{DAY} {rows['not_estimable'].max()}" in " ".join(found.summary().split())
    assert found.truth.loc[DAY, "share_below"] > 0.3


def test_interrupted_it_is_of_the_studies_that_are_finished(level, monkeypatch):
    # The package has a function of the module's name.
    module = sys.modules["cellkinetics.cohorts.power"]
    answers, calls = module._answers, []

    def until_the_fourth(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return answers(*args)

    monkeypatch.setattr(module, "_answers", until_the_fourth)
    found = plain(level, studies=600, patients=[12, 24])
    assert found.table.groupby("patients")["studies"].first().to_dict() == {12: 250, 24: 250}
    assert "interrupted, 600 were asked for" in " ".join(found.summary().split())
    with pytest.raises(KeyboardInterrupt):
        calls[:] = [()] * 3
        plain(level, studies=10)


def test_the_bar_counts_studies(level, monkeypatch):
    seen = []

    @contextmanager
    def bar(total, progress, what):
        seen.append((total, progress, what))
        yield seen.append

    monkeypatch.setattr(sys.modules["cellkinetics.cohorts.power"], "bar", bar)
    plain(level, studies=300, patients=[12, 24], progress=True)
    assert seen[0] == (600, True, "simulating")
    assert sum(seen[1:]) == 600


def test_cohorts_of_a_total_keep_their_ratio():
    assert scaled([3, 4, 4], 11) == (3, 4, 4)
    assert scaled([1, 1, 10], 6) == (1, 1, 4)
    assert all(sum(scaled([3, 4, 4], n)) == n for n in range(3, 60))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"doses": [1e6, 1e6]}, "all different"),
        ({"doses": [1e6, 0.0]}, "positive"),
        ({"sizes": [3]}, "each of the 2 doses"),
        ({"sizes": [3, 2.5]}, "a whole number"),
        ({"schedule": [0, 28]}, "days after the infusion"),
        ({"schedule": []}, "days after the infusion"),
        ({"margin": 1.0}, "a fold change above 1"),
        ({"between": None}, "no published spread"),
        ({"between": {"c": -1.0}}, "not negative"),
        ({"between": {"d": 1.0}}, "no parameter d"),
        ({"effect": {"d": 1.0}}, "no parameter d"),
        ({"parameters": {"c": 0.0}}, "it cannot vary"),
        ({"days": [21]}, "day 21 of days= is not in the schedule"),
        ({"output": "copies"}, "no output 'copies'"),
        ({"studies": 0}, "at least 1"),
        ({"patients": [1]}, "at least one patient a cohort"),
        ({"lloq": 0.0}, "must be positive"),
    ],
)
def test_what_cannot_be_simulated_says_what_to_do(level, changes, words):
    asked = {"doses": [1e6, 1e7], "sizes": [3, 3], "schedule": [28], "between": {"c": 0.5}, "progress": False}
    with pytest.raises((ValueError, ck.ModelError), match=words):
        power_of(level, **(asked | changes))


def test_the_figure_has_a_line_at_eighty_percent_in_each_panel(level):
    found = plain(level, studies=50, patients=[12, 24])
    given, axes = plt.subplots(1, 3)
    assert found.plot(axes) is given
    assert axes[2].get_title(loc="left") == "equivalence is shown"
    assert given.legends == []
    plt.close(given)
    figure = found.plot()
    assert len(figure.axes) == 3
    for ax in figure.axes:
        aim = next(line for line in ax.lines if line.get_gid() == "aim")
        assert list(aim.get_ydata()) == [0.8, 0.8]
    plt.close(figure)


def test_a_number_in_the_place_of_a_list_is_refused_with_the_list():
    asked = {"model": models.load("stein_2019_tisagenlecleucel"), "doses": [1e6, 1e7], "schedule": [7, 14, 28]}
    for name, given in (("sizes", {"sizes": 8}), ("patients", {"sizes": [4, 4], "patients": 8})):
        with pytest.raises(TypeError, match=rf"{name}=8: give a list, such as {name}=\[8\]"):
            ck.power(**asked, **given)
