"""Figures under a dark style of matplotlib."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import cellkinetics as ck
from cellkinetics.figures import style

STUDY = ck.example()


def luminance(colour):
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("look", ["default", "dark_background"])
def test_texts_and_doses_stand_out_from_the_ground(look):
    with plt.style.context(look):
        ground = plt.rcParams["axes.facecolor"]
        ax = STUDY.plot(by="dose")
        texts = [ax.yaxis.label, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts]
        legend = ax.get_legend() or ax.figure.legends[0]
        for text in [*texts, *legend.get_texts()]:
            assert contrast(text.get_color(), ground) >= 4.5, text.get_text()
        for colour in style.ramp(6):
            assert contrast(colour, ground) >= 2.3
        plt.close(ax.figure)


def test_on_a_dark_ground_the_order_of_doses_is_one_of_lightness_too():
    for look, sign in (("default", -1), ("dark_background", 1)):
        with plt.style.context(look):
            lightness = [luminance(colour) for colour in style.ramp(6)]
        assert np.all(sign * np.diff(lightness) > 0), look


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(ck.models.load("nk_decline"), STUDY, starts=1, progress=False)


CHARTS = {
    "parameters": lambda fits: fits.plot_parameters(parameters=["F"]),
    "covariates": lambda fits: fits.plot_covariates(["dose"], parameters=["F"]),
    "predicted": lambda fits: fits.plot_predicted().figure,
    "correlations": lambda fits: fits["P05"].plot_correlations().figure,
    "waterfall": lambda fits: ck.plot_waterfall(STUDY.select(subjects=["P01", "P08"])),
}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", CHARTS)
def test_texts_of_charts_stand_out_from_the_ground(fits, name, dark):
    with ck.style(dark=dark):
        ground, figure = plt.rcParams["axes.facecolor"], CHARTS[name](fits)
        for ax in figure.axes:
            texts = [ax.yaxis.label, ax.xaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels(), ax.title]
            inside = [text for text in ax.texts if not ax.images]
            for text in [*texts, *inside]:
                assert contrast(text.get_color(), ground) >= 4.5, text.get_text()
        for legend in figure.legends:
            assert all(contrast(text.get_color(), ground) >= 4.5 for text in legend.get_texts())
        plt.close(figure)


def test_numbers_on_colours_stand_out_from_them():
    for look in ("default", "dark_background"):
        with plt.style.context(look):
            for colour in [*style.ramp(6), style.tone.one, "#ffffff", "#000000"]:
                assert contrast(style.on(colour), colour) >= 4.5, colour
