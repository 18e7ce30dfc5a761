"""Counting noise: the Poisson-log-normal mixture against its plain sum, and what a study must say."""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.data.wells import dna_mass
from cellkinetics.likelihood import counting
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.likelihood.error_models import ERRORS

INF = np.inf
MEANS = (1e-3, 0.3, 1.0, 3.0, 20.0, 100.0, 150.0, 180.0, 250.0, 1e3, 2e4)
SDS = (0.02, 0.1, 0.3, 1.0)
AWAY = (-3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0)

_density = jax.jit(counting.log_density)


def density(mean, sd, lower, upper):
    """320 samples of 1 ug at a time: one program for all tests."""
    mean, sd, lower, upper = (np.asarray(part, float) for part in np.broadcast_arrays(mean, sd, lower, upper))
    size = len(mean)
    parts = [np.append(part, np.full(-size % 320, part[0])) for part in (np.log(mean), np.log(sd), lower, upper)]
    return np.asarray(_density(*parts[:2], Rows(*parts[2:], np.ones(320), np.ones(320))))[:size]


def plain(mean, sd, lower, upper):
    """The sum over every number of molecules that can matter, by scipy."""
    most = int(max(mean + 40 * np.sqrt(mean), 20 * mean, 3 * np.exp(lower) if np.isfinite(lower) else 0)) + 200
    n = np.arange(1, most + 1)
    a, b = (lower - np.log(n)) / sd, (upper - np.log(n)) / sd
    nothing = -INF
    if lower == upper:
        kernel = stats.norm.logpdf(b) - np.log(sd)
    elif np.isneginf(lower):
        kernel, nothing = special.log_ndtr(b), -mean
    elif np.isposinf(upper):
        kernel = special.log_ndtr(-a)
    else:
        low, high = np.where(a > 0, -b, a), np.where(a > 0, -a, b)
        kernel = special.log_ndtr(high) + np.log(-np.expm1(special.log_ndtr(low) - special.log_ndtr(high)))
    return np.logaddexp(special.logsumexp(stats.poisson.logpmf(n, mean) + kernel), nothing)


@pytest.mark.parametrize("kind", ["quantified", "below", "above", "interval"])
def test_the_mixture_is_the_plain_sum_from_a_thousandth_of_a_molecule_to_20000(kind):
    mean, sd, away = (part.ravel() for part in np.meshgrid(MEANS, SDS, AWAY))
    y = np.log(mean) + away
    lower, upper = {"quantified": (y, y), "below": (y - INF, y), "above": (y, y + INF)}.get(kind, (y - 1.1, y))
    found = density(mean, sd, lower, upper)
    expected = np.array([plain(*one) for one in zip(mean, sd, lower, upper, strict=True)])
    # scipy's own ln pmf is a difference of numbers of the size of n ln n: 1e-10 at 20,000.
    np.testing.assert_allclose(found, expected, rtol=3e-9, atol=2e-10)


def test_derivatives_from_the_terms_are_those_of_the_density_itself():
    mean, sd, away = (part.ravel() for part in np.meshgrid((0.3, 3.0, 100.0, 180.0, 2e4), (0.1, 0.3, 1.0), AWAY))
    y = np.log(mean) + away
    kinds = np.arange(len(y)) % 4
    lower = np.select([kinds == 0, kinds == 1, kinds == 2], [y, -INF, y], y - 1.1)
    rows = Rows(lower, np.where(kinds == 2, INF, y), np.ones(len(y)), np.ones(len(y)))
    given = np.log(mean), np.log(sd)[None], rows
    counts = ERRORS["counting"]
    found = jax.jit(counts.derivatives)(*given)
    by_density = jax.jit(lambda *given: ErrorModel.derivatives(counts, *given))(*given)
    for ours, expected in zip(found, by_density, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-9)


def test_with_many_molecules_the_noise_is_that_of_the_log_normal():
    y = np.log(5000.0) + 0.3 * np.linspace(-4, 4, 41)
    many = np.log(1e8)
    found = density(5000.0 * 1e8, 0.3, y + many, y + many)
    np.testing.assert_allclose(found, stats.norm.logpdf(y, np.log(5000.0), 0.3), atol=1e-5)


def test_the_probabilities_of_the_mixture_add_up_to_one():
    for mean in (0.2, 3.0, 700.0):
        ends = np.log(mean) + np.array([-INF, -1.0, 0.2, 1.5, INF])
        found = np.exp(density(mean, 0.4, ends[:-1], ends[1:]))
        assert found.sum() == pytest.approx(1.0, abs=1e-9)


def test_a_delta_method_would_be_off_by_half_a_unit_where_three_molecules_are_expected():
    # What the sum is for: ln N is not normal, and at 300 molecules it nearly is.
    off = []
    for mean in (3.0, 300.0):
        y = np.log(mean) + np.sqrt(0.09 + 1 / mean) * np.linspace(-2, 2, 9)
        exact = [plain(mean, 0.3, end, end) for end in y]
        off.append(np.abs(stats.norm.logpdf(y, np.log(mean), np.sqrt(0.09 + 1 / mean)) - exact).max())
    assert off[0] > 0.5
    assert off[1] < 0.02


# What a study says of its DNA


TABLE = pd.DataFrame({"subject": "P01", "day": [7, 28, 180], "copies_per_ug": ["5000", "30", "<3"], "lloq": 3.0})


def test_the_mass_of_dna_is_read_from_a_column_an_argument_or_an_assay():
    per_row = ck.read_study(TABLE.assign(dna_ng=[300, 200, 300]))
    np.testing.assert_allclose(dna_mass(per_row), [0.3, 0.2, 0.3])
    for study in (ck.read_study(TABLE, dna_ug=0.3), ck.read_study(TABLE, **ck.Assay(dna_ug=0.3).limits)):
        np.testing.assert_array_equal(dna_mass(study), [0.3, 0.3, 0.3])
    assert np.isnan(dna_mass(ck.read_study(TABLE))).all()


def test_averaged_wells_count_as_one_well_of_their_dna():
    wells = pd.concat([TABLE.assign(well=1), TABLE.assign(well=2)]).assign(dna_ug=0.3)
    study = ck.read_study(wells, replicates="mean")
    np.testing.assert_allclose(dna_mass(study), [0.6, 0.6, 0.6])
    np.testing.assert_allclose(dna_mass(ck.read_study(TABLE.assign(dna_ug=0.3, wells=[1, 2, 3]))), [0.3, 0.6, 0.9])


def test_an_assay_says_how_many_molecules_a_value_is():
    assert float(ck.Assay(dna_ug=0.3).molecules(3.0)) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="the mass of DNA in a well is not known"):
        ck.Assay().molecules(3.0)
    with pytest.raises(ValueError, match="dna_ug=-1 is not a positive mass"):
        ck.Assay(dna_ug=-1.0)


def test_without_the_mass_counting_is_refused_with_what_to_give(level):
    with pytest.raises(ck.StudyError, match=r"needs the mass of DNA.*dna_ug"):
        ck.fit(level, ck.read_study(TABLE), error="counting")
    cells = ck.Assay(lloq=3.0, dna_ug=0.3).convert(ck.read_study(TABLE, dna_ug=0.3), 5000.0)
    with pytest.raises(ck.StudyError, match="counts copies in the wells"):
        ck.fit(models.load("stein_2019_tisagenlecleucel"), cells, error="counting")
    with pytest.raises(ValueError, match="Take censoring='m3'"):
        ck.fit(level, ck.read_study(TABLE, dna_ug=0.3), error="counting", censoring="m4")


def test_a_sample_without_a_mass_is_an_outcome_that_names_its_day(level):
    study = ck.read_study(TABLE.assign(dna_ng=[300, "", 300]))
    fit = ck.fit(level, study, error="counting")
    assert fit.outcome.startswith("no mass of DNA on day 28: counting noise needs it")
    assert not fit.fitted


@pytest.mark.slow
def test_few_molecules_bias_the_log_normal_and_not_the_count(level):
    # Three molecules a well on average, an assay of 20%: the mean of ln N is far below ln 3.
    rng, days = np.random.default_rng(5), np.arange(30.0) + 1
    copies = [rng.poisson(3.0, size=30) / 0.3 * np.exp(0.2 * rng.normal(size=30)) for _ in range(20)]
    tables = [pd.DataFrame({"subject": f"S{k}", "day": days, "copies_per_ug": own}) for k, own in enumerate(copies)]
    study = ck.read_study(pd.concat(tables), lloq=1.0, dna_ug=0.3)
    counted, log = (ck.fit_each(level, study, error=e, starts=1, progress=False) for e in ("counting", "log"))
    off = {}
    for name, fits in (("counting", counted), ("log", log)):
        off[name] = np.log([fit.parameters.loc["c", "value"] / 10.0 for fit in fits.values()])
    inside = [f.parameters.loc["c", "lower"] < 10.0 < f.parameters.loc["c", "upper"] for f in counted.values()]
    # Three standard errors of the mean of 20, each with an SD of 0.12 (Poisson and assay).
    assert abs(off["counting"].mean()) < 3 * 0.12 / np.sqrt(20)
    assert off["log"].mean() < -0.15
    # Fewer than 17 of 20 would happen once in 60 with intervals of 95%.
    assert sum(inside) >= 17
    assert 0.1 < np.median([fit.sd for fit in counted.values()]) < 0.3
