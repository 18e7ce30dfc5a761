"""The main pictures against those in baseline/, and what every plot has in common.

A change that is meant: python -m pytest tests/figures -k pictures --mpl-generate-path=tests/baseline; look.
Text is hidden and the layout that makes room for it is off, because both differ from one version of the font library to
the next; what is written is tested in words.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pictures import bare, compared

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.figures import comparison as comparison_plot
from cellkinetics.figures import profiles as profile_plot
from cellkinetics.figures import residuals as diagnostics_plot
from cellkinetics.figures import style
from cellkinetics.figures.fits import pages
from cellkinetics.figures.study import plot_study
from cellkinetics.fitting.profile import Profile

DAYS = np.array([1, 3, 5, 7, 8, 10, 12, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def study_of(patients, cohorts=3):
    """Simulated patients whose level rises with the dose of their cohort, with a limit of 3 copies/ug."""
    rng, rows = np.random.default_rng(2020), []
    before, after = np.minimum(DAYS - 9, 0), np.maximum(DAYS - 9, 0)
    curve = 4000 * np.exp(0.7 * before) * (0.98 * np.exp(-0.25 * after) + 0.02 * np.exp(-0.012 * after))
    for number in range(patients):
        cohort = number % cohorts
        copies = curve * 4.0**cohort * np.exp(0.3 * rng.normal(size=len(DAYS)) + 0.6 * rng.normal())
        rows.append(
            pd.DataFrame({"day": DAYS, "copies_per_ug": copies}).assign(
                subject=f"P{number + 1:03}", dose=10.0 ** (5 + cohort), cohort=f"1e{5 + cohort}/kg", SIMULATED=1
            )
        )
    return ck.read_study(pd.concat(rows), lloq=3.0)


@pytest.fixture(scope="module")
def study():
    return study_of(9)


@pytest.fixture(scope="module")
def fits(study):
    return ck.fit_each(models.load("stein_2019_tisagenlecleucel"), study, starts=1, progress=False)


@pytest.fixture
def residuals():
    rng = np.random.default_rng(7)
    day, status = np.tile(DAYS, 6), np.where(rng.random(102) < 0.2, "below", "quantified")
    predicted = 4000 * np.exp(-0.02 * day)
    return pd.DataFrame({"day": day, "status": status, "predicted": predicted, "residual": rng.normal(size=102)})


@pytest.fixture
def profile():
    value = np.geomspace(0.1, 10, 25)
    rise = np.where(value > 1, 0.4, 1.0) * np.log(value) ** 2 * 3
    table = pd.concat(
        [pd.DataFrame({"parameter": name, "value": value, "deviance": rise}) for name in ("F", "rho", "t_max", "sd")]
    )
    ends = {"value": 1.0, "lower": 0.32, "upper": np.nan, "shape": "upper end open", "threshold": 3.84}
    names = pd.Index(["F", "rho", "t_max", "sd"], name="parameter")
    return Profile(table, pd.DataFrame(ends, index=names), 0.95, "chi-squared", simulated=True)


@compared
def test_a_study(study):
    return bare(plot_study(study).figure)


@compared
def test_a_fit(fits):
    return bare(fits["P001"].plot().figure)


@compared
def test_all_fits(fits):
    return bare(fits.plot(columns=3))


@compared
def test_a_comparison_of_cohorts(study):
    return bare(ck.compare_cohorts(study, by="cohort").plot())


@compared
def test_residuals(residuals):
    return bare(diagnostics_plot.plot(residuals, simulated=True))


@compared
def test_a_profile(profile):
    return bare(profile_plot.plot(profile))


@compared
def test_the_curve_of_a_model():
    return bare(models.load("stein_2019_tisagenlecleucel").plot().figure)


def test_every_plot_draws_on_the_axes_it_is_given(study, fits, residuals, profile):
    figure = plt.figure()
    one = figure.subplots()
    model = models.load("stein_2019_tisagenlecleucel")
    assert study.plot(axes=one) is one
    assert fits["P001"].plot(axes=one) is one
    assert model.plot(axes=one) is one
    simpler = ck.fit(models.load("nk_decline"), fits["P001"].study, starts=1)
    assert ck.plot_models([fits["P001"], simpler], axes=one) is one
    several = [plt.figure() for _ in range(3)]
    first, second, third = (figure.subplots(2, 2) for figure in several)
    assert profile_plot.plot(profile, first) is several[0]
    assert diagnostics_plot.plot(residuals, simulated=True, axes=second) is several[1]
    assert comparison_plot.plot_comparison(ck.compare_cohorts(study), third.ravel()[:3]) is several[2]
    assert len(plt.get_fignums()) == 4
    with pytest.raises(ValueError, match="4 panels are drawn and axes= has 3"):
        profile_plot.plot(profile, first.ravel()[:3])


@pytest.mark.parametrize("patients", [1, 100])
def test_pictures_of_one_and_of_a_hundred_patients(patients):
    study = study_of(patients)
    fits = ck.fit_each(models.load("stein_2019_tisagenlecleucel"), study, starts=1, progress=False)
    assert pages(fits) == -(-patients // 24)
    last = fits.plot(page=pages(fits) - 1)
    for figure, panels in ((study.plot().figure, 1), (last, patients % 24), (fits.diagnostics(), 4)):
        figure.draw_without_rendering()
        assert len(figure.axes) == panels


def test_decades_are_plain_the_limit_is_named_and_simulated_data_are_called_so(study, fits):
    ax: Any = fits["P001"].plot()
    ax.figure.draw_without_rendering()
    written = [text.get_text() for text in ax.get_yticklabels()]
    assert {"10", "100", "1,000"} <= set(written)
    name = "days since infusion, scale changes at day 28"
    assert ax.get_xlabel().replace("\n", ", ") == study.plot().get_xlabel() == name
    for each in (ax, study.plot()):
        assert {"LLOQ 3", "simulated"} <= {text.get_text() for text in each.texts}
    for figure in (fits.diagnostics(), fits["P001"].profile(["alpha"]).plot()):
        assert figure.get_suptitle() == "simulated"


def lightness(colour: str) -> float:
    """Relative luminance (WCAG)."""
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("groups", range(2, 10))
def test_a_higher_dose_is_darker(groups):
    shades = [lightness(colour) for colour in style.ramp(groups)]
    assert all(np.diff(shades) < 0)


def test_the_third_panel_is_the_last_day_that_could_be_tested():
    peaks = np.array([200.0, 260, 310, 2000, 2500, 3300])
    table = pd.concat([
        pd.DataFrame({"subject": [f"P{i}" for i in range(6)], "day": day, "copies_per_ug": peaks * share})
        for day, share in ((7, 1.0), (28, 0.1), (180, 1e-4))
    ])  # fmt: skip
    table["cohort"] = np.where(table["subject"].isin(["P0", "P1", "P2"]), "low", "high")
    found = ck.compare_cohorts(ck.read_study(table.assign(dose=1e6, SIMULATED=1), lloq=3.0), by="cohort")
    last = [result for result in found.results if "180" in result.window.name]
    assert last and last[0].main.reason
    titles = [ax.get_title(loc="left") for ax in found.plot().axes]
    assert titles[2].startswith("level, day 28")
    assert "no test" not in titles[2]
