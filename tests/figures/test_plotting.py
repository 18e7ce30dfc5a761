from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from cellkinetics import models
from cellkinetics.cohorts.curves import cohort_curves
from cellkinetics.data.reading import read_study
from cellkinetics.data.study import Study
from cellkinetics.figures import style
from cellkinetics.figures.fit import plot_fit
from cellkinetics.figures.fits import pages, plot_fits
from cellkinetics.figures.study import cohort_colours, plot_study
from cellkinetics.fitting.fit import fit
from cellkinetics.fitting.fits import Fits

WHY = "not identifiable: rho and r move together. Fix rho (fixed=)."


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def study_of(patients: dict[str, list[tuple[float, Any]]], **given: Any) -> Study:
    """{subject: [(day, value)]} as a study with LLOQ 3 and a dose of 1e6 unless said otherwise."""
    rows = [
        {"subject": name, "day": day, "copies_per_ug": value} | {"dose": 1e6, "cohort": "B"} | given
        for name, samples in patients.items()
        for day, value in samples
    ]
    return read_study(pd.DataFrame(rows), lloq=3.0)


def hump(t: Any) -> Any:
    return 5000 * np.exp(-(((t - 9) / 5) ** 2)) + 100 * np.exp(-0.01 * t)


def fit_of(study: Study, subject: str = "P1", curve: Any = hump, outcome: str = "converged", width: float = 0.5):
    """What plotting needs of a Fit; `curve` None is a patient who was not fitted."""
    alone = study.select(subjects=[subject])

    def predict(times: Any) -> pd.DataFrame:
        days = np.asarray(times) - alone.infusion_day(subject)
        f = np.full(len(days), np.nan) if curve is None else curve(days)
        ends = {"copies_per_ug_lower": f * np.exp(-width), "copies_per_ug_upper": f * np.exp(width)}
        return pd.DataFrame({"day": times, "copies_per_ug": f, **ends})

    fit = SimpleNamespace(
        study=alone, subject=subject, outcome=outcome, converged=outcome == "converged",
        misfit=None, fitted=curve is not None, predict=predict,
        model=SimpleNamespace(outputs={"copies_per_ug": "copies/ug"}),
    )  # fmt: skip
    return cast_any(fit)


def cast_any(thing: Any) -> Any:
    return thing


class Together(dict[str, Any]):
    """A mapping subject -> fit with the whole study."""

    def __init__(self, study: Study, **how: Any) -> None:
        super().__init__({subject: fit_of(study, subject, **how) for subject in study.subjects})
        self.study = study


def together(study: Study, **how: Any) -> Any:
    return Together(study, **how)


def marks(ax: Axes, status: str) -> Any:
    (line,) = [line for line in ax.lines if line.get_gid() == status]
    return line


def words(ax: Axes, gid: str) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_gid() == gid]


def drawn(ax: Axes) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def labels(axis: Any) -> list[str]:
    low, high = axis.get_view_interval()
    return [
        text.get_text()
        for at, text in zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
        if low <= at <= high
    ]


@pytest.fixture
def patient() -> Study:
    return study_of({"P1": [(3, 400), (7, 5120), (14, 900), (28, 90), (60, "<3"), (90, "<3")]})


@pytest.fixture
def wide() -> Study:
    """Every status, three infusions and an end of the follow-up."""
    rows = [(-1, 0), (0, "<3"), (1, 240), (10, ">50000"), (14, 4000), (60, 41), (120, "<3"), (180, "ND"), (200, 900)]
    table = pd.DataFrame(rows, columns=["day", "copies_per_ug"]).assign(subject="P1", lod=1.0)
    infusions = pd.DataFrame({"subject": "P1", "day": [0, 3, 7], "dose": 1e6})
    table = pd.concat([table, infusions]).assign(until=190, until_reason="transplantation")
    return read_study(table, lloq=3.0, uloq=5e4)


def test_a_censored_sample_is_an_open_triangle_at_its_limit(patient: Study):
    line = marks(plot_fit(fit_of(patient)), "below")
    assert line.get_marker() == "v"
    assert to_hex(line.get_markerfacecolor()) == "#ffffff"
    assert to_hex(line.get_markeredgecolor()) == style.ONE
    np.testing.assert_array_equal(line.get_xydata(), [(60, 3), (90, 3)])


def test_a_quantified_sample_is_a_filled_point_at_its_value(patient: Study):
    line = marks(plot_fit(fit_of(patient)), "quantified")
    assert (line.get_marker(), to_hex(line.get_markerfacecolor())) == ("o", style.ONE)
    np.testing.assert_array_equal(line.get_xydata(), [(3, 400), (7, 5120), (14, 900), (28, 90)])


def test_a_value_above_the_upper_limit_points_upward_from_it(wide: Study):
    line = marks(plot_fit(fit_of(wide)), "above")
    assert line.get_marker() == "^"
    np.testing.assert_array_equal(line.get_xydata(), [(10, 5e4)])


def test_a_sample_between_detection_and_quantification_has_a_line_down_to_detection(wide: Study):
    ax = plot_fit(fit_of(wide))
    assert marks(ax, "interval").get_xydata().tolist() == [[120, 3]]
    assert marks(ax, "below").get_xydata().tolist() == [[180, 1]]
    lines: Any = ax.collections
    segments = [part.tolist() for lines in lines if hasattr(lines, "get_segments") for part in lines.get_segments()]
    assert segments == [[[120, 1], [120, 3]]]


def test_predose_samples_are_not_shown_and_those_after_the_follow_up_are_grey(wide: Study):
    ax = plot_fit(fit_of(wide))
    points = [line for line in ax.lines if line.get_gid() == "quantified"]
    shown = {to_hex(str(line.get_markerfacecolor())): np.asarray(line.get_xdata()).tolist() for line in points}
    assert shown == {style.ONE: [1, 14, 60], style.LATE: [200]}


def test_each_infusion_has_a_mark_on_the_top_edge(wide: Study):
    bars = marks(plot_fit(fit_of(wide)), "dose cells")
    np.testing.assert_array_equal(bars.get_xydata(), [(0, 1), (3, 1), (7, 1)])


def test_what_was_given_before_the_infusion_is_neither_drawn_nor_explained():
    study = study_of({"P1": [(7, 400), (14, 90)]})
    earlier = study.doses.assign(day=-5.0, amount=1.0, kind="lymphodepletion", unit="")
    fitted = fit_of(replace(study, doses=pd.concat([earlier, study.doses], ignore_index=True)))
    ax = plot_fit(fitted)
    drawn(ax)
    assert [line.get_gid() for line in ax.lines if str(line.get_gid()).startswith("dose")] == ["dose cells"]
    shown = [text.get_text() for legend in ax.figure.legends for text in legend.get_texts()]
    assert "infusion" in shown
    assert "lymphodepletion" not in shown


def test_days_count_from_the_first_infusion():
    study = study_of({"P1": [(17, 400), (24, 90)]}, dose=np.nan)
    dose = pd.DataFrame({"subject": ["P1"], "day": 10.0, "amount": 1e6, "kind": "cells", "unit": "", "row": 2})
    ax = plot_fit(fit_of(replace(study, doses=dose)))
    assert marks(ax, "quantified").get_xdata().tolist() == [7, 14]
    assert marks(ax, "dose cells").get_xdata().tolist() == [0]
    (curve,) = [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 100]
    assert np.asarray(curve.get_xdata())[[0, -1]].tolist() == [0, 14]
    assert np.asarray(curve.get_ydata())[0] == pytest.approx(hump(0.0))


def test_the_limit_is_a_dashed_line_with_its_name_beside_the_axes(patient: Study):
    ax = plot_fit(fit_of(patient))
    line = marks(ax, "lloq")
    assert set(line.get_ydata()) == {3.0}
    assert line.is_dashed()
    assert words(ax, "lloq name") == ["LLOQ 3"]
    drawn(ax)
    (text,) = [text for text in ax.texts if text.get_gid() == "lloq name"]
    assert text.get_window_extent().x0 >= ax.get_window_extent().x1


def test_a_study_without_a_limit_has_no_line_and_a_decade_below_its_lowest_value():
    table = pd.DataFrame({"subject": "P1", "day": [1, 7, 14], "copies_per_ug": [50, 4000, 20]})
    ax = plot_fit(fit_of(read_study(table)))
    assert not words(ax, "lloq name")
    assert ax.get_ylim()[0] == pytest.approx(2)


def test_two_limits_are_two_lines_and_near_ones_share_a_name():
    table = pd.DataFrame({"subject": "P1", "day": [7, 14, 28], "copies_per_ug": [5000, 600, 90], "lloq": [3, 4, 30]})
    assert words(plot_fit(fit_of(read_study(table))), "lloq name") == ["LLOQ 3", "LLOQ 30"]
    near = read_study(table.assign(lloq=[3, 4, 4.5]))
    assert words(plot_fit(fit_of(near)), "lloq name") == ["LLOQ 3–4.5"]


def test_decades_are_written_out_and_minor_ticks_are_bare(patient: Study):
    ax = plot_fit(fit_of(patient))
    drawn(ax)
    assert labels(ax.yaxis) == ["1", "10", "100", "1,000", "10,000"]
    assert {text.get_text() for text in ax.yaxis.get_minorticklabels()} == {""}
    assert ax.get_ylabel() == "CAR copies per µg genomic DNA"


def test_another_unit_is_written_as_it_is():
    table = pd.DataFrame({"subject": "P1", "day": [1, 7], "value": [0.5, 40]})
    assert plot_fit(fit_of(read_study(table, unit="cells/uL"))).get_ylabel() == "cells/uL"


def test_the_first_four_weeks_are_wide_next_to_a_year():
    study = study_of({"P1": [(7, 5000), (28, 90), (365, 20)]})
    ax = plot_fit(fit_of(study))
    drawn(ax)
    assert labels(ax.xaxis) == ["0", "7", "14", "28", "90", "180", "365"]
    place = ax.transAxes.inverted().transform(ax.transData.transform([(0, 3), (28, 3), (365, 3)]))[:, 0]
    assert 0.3 < (place[1] - place[0]) / (place[2] - place[0]) < 0.5


def test_four_weeks_alone_are_linear():
    ax = plot_fit(fit_of(study_of({"P1": [(7, 5000), (28, 90)]})))
    drawn(ax)
    assert (ax.get_xscale(), labels(ax.xaxis)) == ("linear", ["0", "7", "14", "21", "28"])


@pytest.mark.parametrize("last", [61, 90, 365, 1825, 5000])
def test_the_compressed_scale_rises_without_a_kink_and_inverts(last: float):
    days = np.linspace(-5, last, 2001)
    places = style.compressed(days)
    np.testing.assert_allclose(style.expanded(places), days, rtol=1e-12, atol=1e-12)
    slopes = np.gradient(places, days)
    assert (np.diff(places) > 0).all()
    assert (np.diff(slopes) < 1e-9).all()


def test_neither_a_vanishing_curve_nor_an_absurd_interval_stretches_the_axis(patient: Study):
    falling = plot_fit(fit_of(patient, curve=lambda t: 5000 * np.exp(-t), width=200.0))
    assert falling.get_ylim()[0] == pytest.approx(1)
    assert falling.get_ylim()[1] < 5e4


def test_a_moderate_interval_is_seen_whole(patient: Study):
    ax = plot_fit(fit_of(patient, width=1.0))
    assert ax.get_ylim()[1] > np.e * 5120


def test_the_axis_holds_two_decades_even_for_one_value():
    ax = plot_fit(fit_of(study_of({"P1": [(7, 4)]}), curve=None, outcome="not fitted: one sample."))
    drawn(ax)
    assert len(labels(ax.yaxis)) >= 2


def test_a_fit_that_did_not_converge_says_why_in_one_sentence(patient: Study):
    (text,) = words(plot_fit(fit_of(patient, outcome=WHY)), "outcome")
    assert text.replace("\n", " ") == "not identifiable: rho and r move together"
    assert not words(plot_fit(fit_of(patient)), "outcome")


def test_a_patient_who_was_not_fitted_has_samples_and_the_outcome_and_no_curve(patient: Study):
    ax = plot_fit(fit_of(patient, curve=None, outcome="no quantified sample: all are below. Report it."))
    assert words(ax, "outcome") == ["no quantified sample: all are below"]
    assert len(marks(ax, "quantified").get_xdata()) == 4
    assert not [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 20]


def test_the_outcome_stands_inside_the_axes_and_off_the_samples():
    study = study_of({"P1": [(7, 400), (14, 5120), (21, 5000), (28, 4000)]})
    long = (
        "beta at its lower bound: the last quantified sample is on day 28, which says nothing of what comes after it."
    )
    ax = plot_fit(fit_of(study, outcome=f"{long} Fix it."))
    drawn(ax)
    (text,) = [text for text in ax.texts if text.get_gid() == "outcome"]
    box, axes = text.get_window_extent(), ax.get_window_extent()
    assert axes.x0 <= box.x0
    assert box.x1 <= axes.x1
    assert ax.transData.transform([(14, 5120)])[0, 1] < box.y0


def test_it_returns_the_axes_it_was_given_and_leaves_pyplot_alone(patient: Study):
    before = dict(matplotlib.rcParams)
    figure = Figure()
    mine, also = figure.subplots(1, 2)
    assert plot_fit(fit_of(patient), mine) is mine
    assert plot_study(patient, also) is also
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_two_fits_can_be_laid_over_each_other(patient: Study):
    ax = plot_fit(fit_of(patient, outcome=WHY))
    upper = ax.get_ylim()[1]
    plot_fit(fit_of(patient, curve=lambda t: hump(t) / 10, outcome=WHY), ax, colour="#c4496a")
    assert ax.get_ylim()[1] == upper
    assert words(ax, "lloq name") == ["LLOQ 3"]
    assert words(ax, "outcome")[0].count("rho and r") == 2


def test_a_second_patient_on_shared_axes_does_not_push_the_first_out_of_view():
    study = study_of({"P1": [(7, 50000), (365, 20)], "P2": [(7, 50), (28, 20)]})
    figure = Figure()
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    plot_fit(fit_of(study, "P1"), left)
    plot_fit(fit_of(study, "P2"), right)
    assert left.get_xlim()[1] > 365
    assert left.get_ylim()[1] > 50000


def test_simulated_studies_carry_the_tag(patient: Study):
    simulated = replace(patient, note="Simulated with il15_persistence.")
    assert words(plot_fit(fit_of(simulated)), "simulated") == ["simulated"]
    assert words(plot_study(simulated), "simulated") == ["simulated"]
    legend = plot_fits(together(simulated)).legends[0]
    assert legend.get_texts()[-1].get_text() == "simulated"
    assert not words(plot_fit(fit_of(patient)), "simulated")
    assert not words(plot_study(patient), "simulated")


def test_names_with_dollar_signs_are_not_mathematics(patient: Study):
    study = study_of({"P$_1$": [(7, 500), (14, 90)]}, cohort="$a$")
    ax = plot_fit(fit_of(study, "P$_1$"))
    assert ax.get_title(loc="left") == "P$_1$ · $a$"
    figure: Any = ax.figure
    written: Any = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert not any(text.get_parse_math() for text in written)


def cohorts() -> Study:
    """Four cohorts in the file from the highest dose down, and one patient without a cohort."""
    rows = [
        {"subject": f"P{i}", "day": day, "copies_per_ug": 500, "dose": dose, "cohort": cohort}
        for i, (dose, cohort) in enumerate([(1e7, "a"), (1e6, "d"), (1e6, "c"), (1e5, "z"), (3e6, None)])
        for day in (7, 14)
    ]
    return read_study(pd.DataFrame(rows), lloq=3.0)


def test_colours_follow_the_dose_then_the_name():
    colours = cohort_colours(cohorts())
    assert list(colours) == ["z", "c", "d", "a", "no cohort"]
    assert list(colours.values())[:4] == style.ramp(4)
    assert colours["no cohort"] == style.GREY
    assert next(iter(cohort_colours(cohorts(), "dose"))) == "1e5 cells/kg"


@pytest.mark.parametrize("n", range(1, 13))
def test_a_higher_dose_is_darker_and_none_is_a_default_colour(n: int):
    colours = style.ramp(n)
    light = [np.dot([0.2126, 0.7152, 0.0722], np.array(to_rgb(colour)) ** 2.2) for colour in colours]
    assert len(set(colours)) == n
    assert (np.diff(light) < 0).all()
    assert not set(colours) & set(matplotlib.rcParamsDefault["axes.prop_cycle"].by_key()["color"])


def test_an_unknown_covariate_is_named():
    with pytest.raises(ValueError, match=r"no covariate 'chort'.*cohort"):
        plot_study(cohorts(), by="chort")


def test_the_study_is_shown_whole_with_a_legend_off_the_data():
    study = study_of({"P1": [(3, 400), (7, "<3"), (14, 900), (28, 90)], "P2": [(7, 70), (14, 30)]})
    ax = plot_study(study)
    drawn(ax)
    lines = [np.asarray(line.get_xdata()).tolist() for line in ax.lines if line.get_gid() is None]
    assert lines == [[3], [14, 28], [7, 14]]
    legend: Any = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        "cohort",
        "B (n = 2)",
        "median, broken beyond a limit",
        "below the limit",
    ]
    assert legend.get_window_extent().x0 > ax.get_window_extent().x1
    assert words(ax, "lloq name") == ["LLOQ 3"]


def test_medians_are_thick_and_broken_below_the_limit():
    later = [(28, "<3"), (60, "<3")]
    study = study_of({"P1": [(7, 400), (14, 900), *later], "P2": [(7, 70), (14, 30), *later], "P3": [(7, 9), (14, 90)]})
    ax = plot_study(study)
    drawn(ax)
    lines = [line for line in ax.lines if line.get_gid() == "median"]
    ends = [[*np.asarray(line.get_ydata()).round(6).tolist(), line.get_linestyle()] for line in lines]
    assert ends == [[70, 90, "-"], [90, 3, "--"], [3, 3, "--"]]
    [below] = [line for line in ax.lines if line.get_gid() == "median below" and len(np.asarray(line.get_xdata()))]
    assert np.asarray(below.get_xdata()).tolist() == [28, 60]


def test_panels_go_by_dose_and_carry_their_cohort():
    figure = plot_fits(together(cohorts()))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["P3 · z", "P2 · c", "P1 · d", "P0 · a", "P4"]
    shades = [to_hex(marks(ax, "quantified").get_markerfacecolor()) for ax in figure.axes]
    assert shades == [*style.ramp(4), style.GREY]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1


@pytest.mark.parametrize(("n", "columns"), [(1, 4), (11, 4), (14, 5)])
def test_every_patient_has_a_panel_and_every_column_its_days(n: int, columns: int):
    fits = together(study_of({f"P{i}": [(7, 500), (14, "<3")] for i in range(n)}))
    figure = plot_fits(fits, columns=columns)
    bottom = [ax for ax in figure.axes if ax.xaxis.get_tick_params()["labelbottom"]]
    assert len(figure.axes) == n
    assert len(bottom) == min(n, columns)


def test_the_names_of_the_limit_stand_between_the_panels_and_the_legend():
    figure = plot_fits(together(study_of({f"P{i}": [(7, 500), (14, "<3")] for i in range(3)})), columns=2)
    figure.draw_without_rendering()
    names = [text for ax in figure.axes for text in ax.texts if text.get_gid() == "lloq name"]
    assert [text.get_text() for text in names] == ["LLOQ 3", "LLOQ 3"]
    assert all(text.get_window_extent().x1 <= figure.legends[0].get_window_extent().x0 for text in names)


def test_a_hundred_patients_are_five_pages():
    study = study_of({f"P{i:03}": [(7, 500)] for i in range(100)})
    fits = together(study, curve=None, outcome="not identifiable: 1 sample for 5 free parameters.")
    assert pages(fits) == 5
    last = plot_fits(fits, page=4)
    assert [ax.get_title(loc="left") for ax in last.axes] == [f"P{i:03} · B" for i in range(96, 100)]
    with pytest.raises(IndexError, match="pages 0 to 4"):
        plot_fits(fits, page=5)
    fits.clear()
    with pytest.raises(ValueError, match="no fits"):
        plot_fits(fits)


def test_no_text_is_smaller_than_seven_points(wide: Study):
    figure = plot_fits(together(replace(wide, note="simulated"), outcome=WHY))
    figure.draw_without_rendering()
    sizes = [float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text()]  # pyright: ignore
    assert min(sizes) >= 7


def test_a_fit_draws_itself_and_its_curve_passes_through_the_samples():
    study = study_of({"P1": [(1, 900), (3, 640), (7, 330), (14, 60), (28, "<3")]})
    fits = Fits(study, {"P1": fit(models.load("nk_decline"), study, free=["F"], starts=1)})
    ax = fits["P1"].plot()
    (curve,) = [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 100]
    residuals = fits["P1"].residuals
    at = np.interp(residuals["day"], np.asarray(curve.get_xdata()), np.log(np.asarray(curve.get_ydata())))
    np.testing.assert_allclose(at, np.log(residuals["predicted"]), atol=0.01)
    assert len(fits.plot().axes) == 1


def test_a_patient_without_a_sample_that_counts_has_an_empty_panel_with_the_reason():
    study = study_of({"P1": [(0, 5), (7, "")], "P2": [(7, 500)]})
    fits = together(study, curve=None, outcome="no sample: every row is excluded.")
    assert words(plot_fit(fits["P1"]), "outcome") == ["no sample: every row is excluded"]
    assert [len(ax.lines) for ax in plot_fits(fits).axes] == [1, 3]


def test_panels_with_nothing_to_explain_have_no_legend():
    table = pd.DataFrame({"subject": "P1", "day": [7], "copies_per_ug": [""]})
    fits = together(read_study(table), curve=None, outcome="no sample: every row is excluded.")
    assert plot_fits(fits).legends == []


def test_the_medians_of_a_study_take_the_tolerance_of_a_comparison_and_say_what_was_matched():
    days = {"A": [7.0, 28.0], "B": [8.5, 30.0], "C": [5.0, 26.0]}
    rows = [(subject, day, 100.0) for subject, own in days.items() for day in own]
    study = read_study(pd.DataFrame(rows, columns=["subject", "day", "copies_per_ug"]), lloq=3)
    for tolerance, said, visits in ((2.5, "of samples up to 2 days from a visit\n(tolerance 2.5)", 2), (0.5, None, 0)):
        ax = study.plot(tolerance=tolerance)
        legend = ax.get_legend()
        texts = [] if legend is None else [text.get_text() for text in legend.get_texts()]
        medians = cohort_curves(study, quantiles=[0.5], tolerance=tolerance)
        assert int((medians["n"] == 3).sum()) == visits
        assert [text for text in texts if "median" in text] == ([f"median\n{said}"] if said else [])
