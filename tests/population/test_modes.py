"""Laplace, FOCEI and adaptive quadrature beside nlme, TMB, exact integrals and formulas by hand."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import populations
import pytest

import cellkinetics as ck
from cellkinetics import models

REFERENCE = Path(__file__).parents[1] / "reference"
DAYS = np.array([1.0, 3, 7, 14, 21, 28])
MEAN, BETWEEN, SD = {"c": 80.0, "k": 0.09}, {"c": 0.8, "k": 0.03}, 0.4


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


def test_laplace_with_samples_below_the_limit_is_that_of_tmb():
    expected, rows = read("two_phase_population.json"), pd.read_csv(REFERENCE / "two_phase_population.csv")
    values = [f"<{value:g}" if low else value for value, low in zip(rows["copies"], rows["below"], strict=True)]
    study = ck.read_study(
        pd.DataFrame({"subject": rows["patient"].map("P{}".format), "day": rows["day"], "copies_per_ug": values}),
        lloq=20.0,
    )
    assert 0.2 < rows["below"].mean() < 0.5
    names = ("a", "fast", "b", "slow")

    def laplace(mean, between, sd):
        return ck.population_log_likelihood(
            populations.biexponential(), study, mean=dict(zip(names, mean, strict=True)),
            between=dict(zip(names, between, strict=True)), sd=sd, method="laplace", draws=500,
        )  # fmt: skip

    truth = laplace((1000.0, 0.3, 30.0, 0.01), (0.6, 0.3, 0.7, 0.4), 0.4)
    assert truth.value == pytest.approx(expected["laplace_at_truth"], abs=1e-4)
    best = laplace(np.exp(expected["mean"]), np.exp(expected["ln_between"]), np.exp(expected["ln_sd"]))
    assert best.value == pytest.approx(expected["maximum"], abs=1e-4)


def test_where_all_is_linear_and_quantified_every_approximation_is_exact():
    study = lines(limit=1e-3)
    exact = populations.exact(study, MEAN, BETWEEN, SD)
    for method in ("laplace", "focei", "agq"):
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
    with pytest.raises(ck.ModelError, match=r"200 nodes for each of 2 random effects are 40,000 .* Give nodes=141"):
        likelihood(lines(10.0), "agq", nodes=200)
