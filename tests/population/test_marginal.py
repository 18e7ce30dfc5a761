"""Laplace, FOCEI and adaptive quadrature beside nlme, TMB, exact integrals and formulas by hand."""

import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import populations
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.population import louis, marginal

REFERENCE = Path(__file__).parents[1] / "reference"
DAYS = np.array([1.0, 3, 7, 14, 21, 28])
MEAN, BETWEEN, SD = {"c": 80.0, "k": 0.09}, {"c": 0.8, "k": 0.03}, 0.4


def approximated(fit):
    """What a fit by an approximation has climbed."""
    assert fit.approximation is not None
    return fit.approximation


def read(name):
    return json.loads((REFERENCE / name).read_text(encoding="utf-8"))


def lines(limit):
    rng = np.random.default_rng(2020)
    ln_c = np.log(80.0) + 0.8 * rng.normal(size=20)
    k = 0.09 + 0.03 * rng.normal(size=20)
    return populations.study_of(ln_c[:, None] - k[:, None] * DAYS, DAYS, SD, rng, limit=limit)


def likelihood(study, method, **asked):
    asked = {"mean": MEAN, "between": BETWEEN, "sd": SD, "draws": 500, **asked}
    return ck.population_log_likelihood(populations.line(), study, method=method, **asked)


def absorbed():
    """Dose absorbed and lost at first order (nlme's SSfol), the dose in units of 1e-6."""
    units = {"Ke": "1/day", "Ka": "1/day", "Cl": "1"}
    return ck.Model(
        name="absorbed",
        parameters={name: ck.Parameter(0.1, unit, "this test") for name, unit in units.items()},
        outputs={"copies_per_ug": "copies/ug"},
        curve=lambda t, dose, Ke, Ka, Cl: (
            1e-6 * dose * Ke * Ka / Cl * (jnp.exp(-Ke * t) - jnp.exp(-Ka * t)) / (Ka - Ke)
        ),
        linear_in_dose=True,
    )


def two_exponentials():
    """nlme's SSbiexp: amplitudes as they are."""
    parameters = {
        name: ck.Parameter(value, "copies/ug", "this test", min=-np.inf, scale="identity")
        for name, value in (("A1", 2.0), ("A2", 0.5))
    }
    parameters |= {name: ck.Parameter(value, "1/day", "this test") for name, value in (("fast", 2.0), ("slow", 0.2))}
    return ck.Model(
        name="two_exponentials", parameters=parameters, outputs={"copies_per_ug": "copies/ug"},
        curve=lambda t, A1, A2, fast, slow: A1 * jnp.exp(-fast * t) + A2 * jnp.exp(-slow * t), scale_free=True,
    )  # fmt: skip


def rows_of(name):
    rows = pd.read_csv(REFERENCE / "nlme_population.csv")
    own = rows[rows["set"] == name]
    table = pd.DataFrame({"subject": own["subject"], "day": own["time"], "copies_per_ug": own["conc"]})
    return table if name == "indometh" else table.assign(dose=1e6 * own["dose"])


def test_of_theophylline_is_that_of_nlme():
    expected, rows = read("nlme_population.json")["theoph"], rows_of("theoph")
    # At the time of the dose the curve is 0 whatever the parameters: those rows are an additive constant.
    first, later = rows[rows["day"] == 0], rows[rows["day"] > 0]
    found = ck.population_log_likelihood(
        absorbed(), ck.read_study(later), mean={name: np.exp(expected[f"l{name}"]) for name in ("Ke", "Ka", "Cl")},
        between={"Ka": expected["between_lKa"], "Cl": expected["between_lCl"]},
        sd={"sd_add": expected["sd"], "sd_prop": 0.0}, error="combined", method="focei", draws=500,
    )  # fmt: skip
    z = first["copies_per_ug"] / expected["sd"]
    there = np.sum(-0.5 * z**2 - np.log(expected["sd"]) - 0.5 * np.log(2 * np.pi))
    value = found.value - np.log(later["copies_per_ug"]).sum() + there
    assert expected["log_likelihood"] == pytest.approx(-177.0214, abs=5e-5)
    assert value == pytest.approx(expected["log_likelihood"], abs=1e-3)


def test_of_indomethacin_is_that_of_nlme():
    expected, rows = read("nlme_population.json")["indometh"], rows_of("indometh")
    found = ck.population_log_likelihood(
        two_exponentials(), ck.read_study(rows),
        mean={"A1": expected["A1"], "A2": expected["A2"], "fast": np.exp(expected["lrc1"]),
              "slow": np.exp(expected["lrc2"])},
        between={"A1": expected["between_A1"], "A2": expected["between_A2"], "fast": expected["between_lrc1"]},
        sd={"sd_add": expected["sd"], "sd_prop": 0.0}, error="combined", method="focei", draws=500,
    )  # fmt: skip
    assert expected["log_likelihood"] == pytest.approx(54.5924, abs=5e-5)
    value = found.value - np.log(rows["copies_per_ug"]).sum()
    assert value == pytest.approx(expected["log_likelihood"], abs=1e-3)


def test_of_indomethacin_nlme_stops_where_its_own_likelihood_still_rises():
    """Where its turns end its likelihood is flat with the place held where curves are linear, and not as it moves."""
    points, rows = read("nlme_indometh.json"), rows_of("indometh")
    study = ck.read_study(rows)
    for name in ("nlme", "nlme_from_focei", "focei", "maximum"):
        a1, fast, a2, slow, *ln = points[name]["theta"]
        between = dict(zip(("A1", "fast", "A2"), np.exp(ln), strict=False))
        found = ck.population_log_likelihood(
            two_exponentials(), study, mean={"A1": a1, "A2": a2, "fast": np.exp(fast), "slow": np.exp(slow)},
            between=between, sd={"sd_add": np.exp(ln[3]), "sd_prop": 0.0}, error="combined", method="focei", draws=500,
        )  # fmt: skip
        value = found.value - np.log(rows["copies_per_ug"]).sum()
        assert value == pytest.approx(points[name]["linear"], abs=1e-4)
    for name in ("nlme", "nlme_from_focei"):
        assert points[name]["nlme"] == pytest.approx(points[name]["linear"], abs=1e-3)
        assert np.abs(points[name]["gradient_place_held"]).max() < 0.04
        assert np.abs(points[name]["gradient"]).max() > 3
    assert np.abs(points["maximum"]["gradient"]).max() < 1e-3
    assert np.abs(points["focei"]["gradient"]).max() < 0.03
    assert points["maximum"]["linear"] - points["focei"]["linear"] < 0.02
    assert points["focei"]["linear"] - points["nlme"]["nlme"] > 1.5


def test_a_fit_of_theophylline_is_no_worse_than_that_of_nlme_and_next_to_it():
    """At nlme's sd, which the rows at the time of the dose have a part in.

    nlme takes turns between two approximations: where it ends is next to the maximum of either.
    """
    expected, rows = read("nlme_population.json")["theoph"], rows_of("theoph")
    later = rows[rows["day"] > 0]
    found = ck.fit_population(
        absorbed(), ck.read_study(later), random=["Ka", "Cl"], free=["Ke", "Ka", "Cl"],
        initial={"Ke": 0.1, "Ka": 1.5, "Cl": 0.04}, fixed={"sd_prop": 0.0, "sd_add": expected["sd"]}, error="combined",
        method="focei", progress=False,
    )  # fmt: skip
    z = rows[rows["day"] == 0]["copies_per_ug"] / expected["sd"]
    there = np.sum(-0.5 * z**2 - np.log(expected["sd"]) - 0.5 * np.log(2 * np.pi))
    value = approximated(found).value - np.log(later["copies_per_ug"]).sum() + there
    assert 0 < value - expected["log_likelihood"] < 0.05
    table = found.parameters
    for label in ("Ke", "Ka", "Cl"):
        apart = table.loc[label, "estimate"] - expected[f"l{label}"]
        assert abs(apart) < 0.25 * table.loc[label, "estimate_stderr"]
    for label in ("Ka", "Cl"):
        assert table.loc[f"sd between {label}", "value"] == pytest.approx(expected[f"between_l{label}"], rel=0.05)


TMB_NAMES = ("a", "fast", "b", "slow")


@pytest.fixture(scope="module")
def below():
    """TMB's study, a third of whose samples lie below the limit."""
    rows = pd.read_csv(REFERENCE / "two_phase_population.csv")
    assert 0.2 < rows["below"].mean() < 0.5
    values = [f"<{value:g}" if low else value for value, low in zip(rows["copies"], rows["below"], strict=True)]
    return ck.read_study(
        pd.DataFrame({"subject": rows["patient"].map("P{}".format), "day": rows["day"], "copies_per_ug": values}),
        lloq=20.0,
    )


@pytest.fixture(scope="module")
def by_laplace(below):
    return ck.fit_population(populations.biexponential(), below, method="laplace", progress=False)


def test_laplace_with_samples_below_the_limit_is_that_of_tmb(below):
    expected = read("two_phase_population.json")
    truth = ck.population_log_likelihood(
        populations.biexponential(), below, mean=dict(zip(TMB_NAMES, (1000.0, 0.3, 30.0, 0.01), strict=True)),
        between=dict(zip(TMB_NAMES, (0.6, 0.3, 0.7, 0.4), strict=True)), sd=0.4, method="laplace", draws=500,
    )  # fmt: skip
    assert truth.value == pytest.approx(expected["laplace_at_truth"], abs=1e-4)


def test_a_fit_by_laplace_ends_where_that_of_tmb_does(by_laplace):
    expected, estimate = read("two_phase_population.json"), by_laplace.parameters["estimate"]
    assert by_laplace.approximation.value == pytest.approx(expected["maximum"], abs=1e-6)
    assert estimate[list(TMB_NAMES)].tolist() == pytest.approx(expected["mean"], abs=1e-4)
    spreads = [f"sd between {name}" for name in TMB_NAMES]
    assert estimate[spreads].tolist() == pytest.approx(expected["ln_between"], abs=1e-4)
    assert estimate["sd"] == pytest.approx(expected["ln_sd"], abs=1e-4)


def test_its_likelihood_is_the_integral_and_the_approximation_stands_beside_it(by_laplace):
    beside = by_laplace.approximation
    assert beside.method == "laplace"
    assert beside.exact is by_laplace.likelihood
    assert by_laplace.log_likelihood_ln == by_laplace.likelihood.value
    assert by_laplace.likelihood.value - beside.value > 5 * by_laplace.likelihood.error
    assert by_laplace.aic == pytest.approx(2 * 9 - 2 * by_laplace.log_likelihood)
    text = by_laplace.summary()
    assert "Laplace's approximation, maximised in" in text
    assert "by importance sampling" in text
    assert "cannot be told from 0" in by_laplace.outcome
    assert by_laplace["P1"].outcome == "converged"


def gradients(population, v, method, nodes=1):
    """Exact, and by central differences, of each patient."""
    design = population.design
    start = np.einsum("nkp,p->nk", design.matrix, v[: len(design.effects)])[:, design.places]

    def at(v, gradient=False):
        return marginal.marginal(population, louis.theta_of(design, v), start, method, nodes, gradient=gradient)

    sides = [[at(v + side * 1e-5 * way).each for side in (1, -1)] for way in np.eye(len(v))]
    differences = np.stack([(ahead - behind) / 2e-5 for ahead, behind in sides], axis=1)
    gradient = at(v, gradient=True).gradient
    assert gradient is not None
    return gradient, differences


def test_the_gradient_is_that_of_differences_where_the_curve_and_the_modes_bend(by_laplace):
    v = by_laplace.polished.v + 0.3 * np.resize([1, -1, 0.5], 9)
    exact, differences = gradients(by_laplace.population, v, "laplace")
    assert np.abs(exact.sum(axis=0)).max() > 1
    assert exact == pytest.approx(differences, abs=1e-7)


@pytest.fixture(scope="module")
def proportional():
    """Lines with a proportional error, and a correlation between patients."""
    return ck.fit_population(
        populations.line(), lines(limit=10.0), error="proportional", correlated=[("c", "k")], method="focei",
        progress=False,
    )  # fmt: skip


@pytest.mark.parametrize(("method", "nodes"), [("focei", 1), ("agq", 3)])
def test_so_is_that_of_other_approximations_errors_and_of_correlations(proportional, method, nodes):
    exact, differences = gradients(proportional.population, proportional.polished.v + 0.1, method, nodes)
    assert exact.shape == (20, 6)
    assert exact == pytest.approx(differences, abs=1e-6)


def test_where_a_fit_ends_no_estimate_leads_up(proportional):
    assert proportional.outcome == "converged"
    exact, _ = gradients(proportional.population, proportional.polished.v, "focei")
    errors = proportional.parameters["estimate_stderr"].to_numpy(float)
    assert np.abs(exact.sum(axis=0) * errors).max() < 1e-3
    assert proportional.parameters["mc_error"].tolist() == [0.0] * 6


def test_its_trace_is_of_steps_of_which_none_is_averaged(proportional):
    axes = proportional.plot_trace().axes
    assert {ax.get_xlabel() for ax in axes} == {"", "step"}
    assert not any(patch.get_gid() == "averaged" for ax in axes for patch in ax.patches)
    assert {"climbing", "likelihood"} <= set(proportional.timings)


def test_a_fit_of_a_linear_mixed_model_is_that_of_nlme_in_all_digits():
    expected = read("linear_mixed.json")["independent"]
    study = ck.read_study(REFERENCE / "linear_mixed.csv")
    found = ck.fit_population(populations.line(), study, covariates={"c": "dose"}, method="focei", progress=False)
    estimate, stderr = found.parameters["estimate"], found.parameters["estimate_stderr"]
    assert approximated(found).value == pytest.approx(expected["log_likelihood"], abs=1e-6)
    assert abs(found.log_likelihood_ln - expected["log_likelihood"]) < 3 * found.log_likelihood_error
    for label, key in (("c", "ln_c"), ("k", "k"), ("c:dose", "dose")):
        assert estimate[label] == pytest.approx(expected[key], abs=1e-4 * stderr[label] + 1e-7)
        assert stderr[label] == pytest.approx(expected[f"se_{key}"], rel=0.02)
    smaller = found.without("c:dose")
    assert approximated(smaller).method == "focei"
    ratio = found.likelihood_ratio(smaller)
    assert ratio["statistic"] == pytest.approx(2 * (approximated(found).value - approximated(smaller).value))
    assert ratio["error"] == 0.0
    sampled = found.bootstrap(2, progress=False)
    assert len(sampled.draws) == 2
    assert (sampled.draws["c"] - found.parameters.loc["c", "value"]).abs().min() > 0


def test_maxima_of_two_things_are_not_compared(proportional):
    other = replace(proportional, asked={**proportional.asked, "method": "laplace"}, n_free=5)
    with pytest.raises(ck.ModelError, match=r"by method='focei' and 'laplace'\. Fit both alike"):
        proportional.likelihood_ratio(other)
    with pytest.raises(ck.ModelError, match="two maxima of one thing"):
        proportional.likelihood_ratio(replace(other, approximation=None))


def test_where_all_is_linear_and_quantified_every_approximation_is_exact():
    study = lines(limit=1e-3)
    exact = populations.exact(study, MEAN, BETWEEN, SD)
    for method in marginal.APPROXIMATIONS:
        found = likelihood(study, method, nodes=3)
        assert found.value == pytest.approx(exact, abs=1e-6)
        assert sum(found.each.values()) == pytest.approx(found.value)
        assert found.exact is not None
        assert abs(found.exact.value - exact) < 3 * found.exact.error


def test_quadrature_tends_to_the_integral_with_censored_rows_and_laplace_does_not():
    study = lines(limit=10.0)
    exact = populations.exact(study, MEAN, BETWEEN, SD)
    one, many = (likelihood(study, "agq", nodes=nodes).value for nodes in (1, 15))
    laplace = likelihood(study, "laplace")
    assert one == pytest.approx(laplace.value, abs=1e-6)
    assert abs(many - exact) < 1e-3
    assert abs(laplace.value - exact) > 0.02
    assert "of the same approximation only" in laplace.outcome
    assert "by importance sampling" in repr(laplace)


def test_focei_of_a_proportional_error_counts_what_the_curve_does_to_the_sd():
    """One patient and one random effect, with f and R = (s f)^2 by hand (Wang 2007, eq. 13 to 15)."""
    day, y, s, spread = np.array([1.0, 3.0, 7.0]), np.array([70.0, 60.0, 35.0]), 0.3, 0.5
    rows = pd.DataFrame(
        {"subject": np.repeat([f"P{i}" for i in range(4)], 3), "day": np.tile(day, 4), "copies_per_ug": np.tile(y, 4)}
    )
    found = ck.population_log_likelihood(
        populations.line(), ck.read_study(rows), mean={"c": 80.0}, between={"c": spread}, sd=s, fixed={"k": 0.1},
        error="proportional", method="focei", draws=500,
    )  # fmt: skip

    def joint(eta):
        f = 80.0 * np.exp(eta - 0.1 * day)
        own = -0.5 * ((y - f) / (s * f)) ** 2 - np.log(s * f) - 0.5 * np.log(2 * np.pi) + np.log(y)
        return own.sum() - 0.5 * (eta / spread) ** 2 - np.log(spread) - 0.5 * np.log(2 * np.pi)

    etas = np.linspace(-1, 1, 2_000_001)
    best = max(joint(eta) for eta in etas[np.abs(etas - found_mode(joint)) < 2e-6])
    # f' = f and R' = 2 R: sum of f'^2/R + R'^2/(2 R^2).
    curvature = 3 * (1 / s**2 + 2) + 1 / spread**2
    assert found.each["P0"] == pytest.approx(best + 0.5 * np.log(2 * np.pi) - 0.5 * np.log(curvature), abs=1e-6)


def found_mode(joint):
    low, high = -1.0, 1.0
    for _ in range(100):
        one, other = low + (high - low) / 3, high - (high - low) / 3
        low, high = (one, high) if joint(one) < joint(other) else (low, other)
    return (low + high) / 2


def test_a_corner_and_too_many_nodes_are_refused_with_the_remedy():
    stein = models.load("stein_2019_tisagenlecleucel")
    words = rf"the curve has a corner at {', '.join(stein.corners)}, .* Take method='importance'"
    with pytest.raises(ck.ModelError, match=words):
        ck.population_log_likelihood(
            stein, lines(10.0), mean={"c_max": 100.0}, between={"c_max": 0.5}, sd=SD, method="laplace"
        )  # fmt: skip
    with pytest.raises(ck.ModelError, match=rf"a corner at {', '.join(stein.corners)}, .* Take method='saem'"):
        ck.fit_population(stein, lines(10.0), method="focei")
    with pytest.raises(ck.ModelError, match=r"is solved numerically, where method='laplace' finds no gradient\. Take"):
        ck.fit_population(models.load("il15_persistence"), lines(10.0), method="laplace", free=["rho", "F"])
    with pytest.raises(ck.ModelError, match=r"150 nodes for each of 2 .* Give nodes=141, or take method='saem'"):
        ck.fit_population(populations.line(), lines(10.0), method="agq", nodes=150)
    with pytest.raises(ValueError, match=r"checkpoint=: iterations of method='saem' are kept"):
        ck.fit_population(populations.line(), lines(10.0), method="focei", checkpoint="anywhere")
    with pytest.raises(ck.ModelError, match=r"200 nodes for each of 2 random effects are 40,000 .* Give nodes=141"):
        likelihood(lines(10.0), "agq", nodes=200)
