"""Pictures of a population and of what goes on from it against those in baseline/; as test_pictures.py."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import populations
import pytest
from pictures import bare, compared

import cellkinetics as ck
from cellkinetics.bayes.posterior import PopulationPosterior
from cellkinetics.predictive.covariate_choice import STEP_COLUMNS, CovariateChoice

DAYS = np.array([1.0, 3, 7, 14, 21, 28])


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def study():
    """The level follows the dose and nothing else; a fifth of the samples below the limit."""
    n, rng = 24, np.random.default_rng(5)
    doses, age = np.resize([1e5, 1e6, 1e7], n), rng.normal(60, 10, n)
    ln_c = np.log(300) + 0.5 * np.log(doses / 1e6) + 0.6 * rng.normal(size=n)
    k = 0.1 + 0.03 * rng.normal(size=n)
    columns = {"age": age, "arm": rng.permutation(np.resize(["A", "B"], n)), "SIMULATED": np.ones(n)}
    return populations.study_of(
        ln_c[:, None] - k[:, None] * DAYS, DAYS, 0.3, rng, doses=doses, limit=15.0, columns=columns
    )


@pytest.fixture(scope="module")
def fit(study):
    covariates = {"c": ["dose", "arm"], "k": "age"}
    return ck.fit_population(populations.line(), study, covariates=covariates, progress=False)


@pytest.fixture(scope="module")
def posterior():
    """Draws of normal distributions, one of which the samples say little of."""
    labels, rng = ("c", "k", "sd between c", "sd"), np.random.default_rng(3)
    v = rng.normal(size=(3, 400, 4)) * [0.1, 0.01, 0.6, 0.05] + np.log([300, np.exp(0.1), 0.4, 0.3])
    natural = np.where(np.array(labels) == "k", v, np.exp(v))
    lower, upper = np.quantile(natural, [0.025, 0.975], axis=(0, 1))
    table = {"lower": lower, "upper": upper, "estimate": [310, 0.105, 0.45, 0.29]}
    units = ["copies/ug", "1/day", "ln", "ln"]
    empty, none = pd.DataFrame(), np.zeros((3, 400))
    return PopulationPosterior(
        pd.DataFrame({**table, "unit": units}, index=pd.Index(labels)), empty, "mixed", "gibbs", 100, 2020, 1.0,
        labels, ("c",), ("P01",), "copies/ug", True, v, v[..., None, :1], natural, none, np.zeros(3), none,
    )  # fmt: skip


@pytest.fixture(scope="module")
def choice():
    """Two steps forward and one back."""
    rows = [
        (0, "start", "", "", 0.0, 0.0, "start"),
        (1, "forward", "c:dose", "added", -21.4, 0.8, "chosen"),
        (1, "forward", "c:arm", "added", 2.6, 0.7, "not better"), (1, "forward", "k:age", "added", -4.1, 0.9, "better"),
        (2, "forward", "c:arm", "added", 2.9, 0.7, "not better"),
        (2, "forward", "k:age", "added", -0.4, 1.2, "within its error"),
        (3, "backward", "c:dose", "removed", 20.2, 0.8, "not better"),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["step", "direction", "tried", "change", "difference", "error", "status"])
    return CovariateChoice(table.reindex(columns=STEP_COLUMNS), {"c": ["dose"]}, "ended", 24, "line", 3, simulated=True)


@pytest.fixture(scope="module")
def drawn(fit, study, posterior, choice):
    """Function that draws one of them."""
    check, errors = fit.vpc(replicates=200), fit.npde(replicates=200, imputations=3)
    strata = fit.npde(replicates=200, imputations=3, by="arm")
    ahead = fit.forecast(study.select("P04", until=7), np.linspace(0, 60, 31))
    trial = fit.virtual_trial(
        np.linspace(0, 60, 31), {"1e6 once": 1e6, "1e7 once": 1e7}, covariates={"age": 60.0, "arm": "A"},
        patients=2000, populations=50,
    )  # fmt: skip
    return {
        "vpc": check.plot, "npde": errors.plot, "npde_by": strata.plot, "forecast": ahead.plot, "trial": trial.plot,
        "forest": fit.plot_forest, "effects": fit.plot_effects, "posterior": posterior.plot, "choice": choice.plot,
    }  # fmt: skip


@compared
def test_a_visual_predictive_check(drawn):
    return bare(drawn["vpc"]())


@compared
def test_prediction_errors(drawn):
    return bare(drawn["npde"]())


@compared
def test_prediction_errors_of_groups(drawn):
    return bare(drawn["npde_by"]())


@compared
def test_a_forecast(drawn):
    return bare(drawn["forecast"]())


@compared
def test_a_virtual_trial(drawn):
    return bare(drawn["trial"]())


@compared
def test_a_forest(drawn):
    return bare(drawn["forest"]())


@compared
def test_random_effects(drawn):
    return bare(drawn["effects"]())


@compared
def test_a_posterior(drawn):
    return bare(drawn["posterior"]())


@compared
def test_steps_of_a_choice(drawn):
    return bare(drawn["choice"]())


def test_correlations_and_pairs_of_a_posterior_are_those_of_its_draws(posterior):
    v = posterior.v.reshape(-1, 4).copy()
    v[:, 1] += 0.05 * v[:, 0]
    posterior = replace(posterior, v=v.reshape(posterior.v.shape))
    expected = np.corrcoef(v.T)
    assert posterior.correlations.to_numpy() == pytest.approx(expected)
    numbers = [text.get_text() for text in posterior.plot_correlations().texts if text.get_gid() != "simulated"]
    assert numbers[:1] == [f"{expected[1, 0]:.2f}"]
    names = ["c", "k", "sd"]
    figure = posterior.plot_pairs(names)
    assert len(figure.axes) == 6
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.patches] == names
    (below,) = [ax for ax in figure.axes if ax.get_ylabel() == "k (1/day)"]
    (marks,) = below.lines
    row = posterior.draws.iloc[0]
    assert (marks.get_xdata()[0], marks.get_ydata()[0]) == (row["c"], row["k"])
    assert below.texts[0].get_text() == f"r = {expected[1, 0]:.2f}"
    axes = plt.figure().subplots(3, 3)
    assert posterior.plot_pairs(names, axes=axes) is axes[0, 0].figure
    assert len([ax for ax in posterior.plot_pairs().axes if ax.patches]) == 4
    with pytest.raises(ValueError, match="parameters: no draws of 'F', or all alike"):
        posterior.plot_pairs(["c", "F"])
    with pytest.raises(ValueError, match="a pair is of two estimates"):
        posterior.plot_pairs(["c"])


def test_in_a_column_every_panel_has_room(drawn):
    """Layouts that collapse are warnings, which are errors here."""
    for width in ("column", "page"):
        with ck.style(width=width):
            for name in ("effects", "forest"):
                figure = drawn[name]()
                figure.draw_without_rendering()
                least = min(ax.get_window_extent().width / figure.dpi for ax in figure.axes)
                assert least > 0.7, (name, width)


def test_what_every_draw_has_alike_is_said_and_a_chain_that_stands_still_is_a_line(posterior):
    natural = posterior.natural.copy()
    natural[..., 0] = 1e-200 * natural[..., 0]  # too small for their squares
    natural[0, :, 1] = natural[0, 0, 1]
    figure = replace(posterior, natural=natural).plot()
    said = [text.get_text() for text in figure.axes[0].texts if text.get_gid() == "no density"]
    assert len(said) == 1 and said[0].startswith("every draw is ") and said[0].endswith("e-198")
    chains = [line for line in figure.axes[1].lines if line.get_gid() == "chain"]
    assert len(chains) == len(natural)
    assert set(chains[0].get_xdata()) == {natural[0, 0, 1]}
