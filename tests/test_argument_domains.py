"""Every public function that takes a level, a count, a seed or days refuses what is none, and says what to give."""

import datetime
import inspect

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics.cli import main

STEIN, DECLINE = ck.models.load("stein_2019_tisagenlecleucel"), ck.models.load("nk_decline")
STUDY = ck.example()
DATES, SPANS = pd.to_datetime(["2024-03-01", "2024-03-08"]), pd.to_timedelta([7, 14], unit="D")


@pytest.fixture(scope="module")
def results():
    some = STUDY.select(subjects=["P06", "P07"])
    fits = ck.fit_each(DECLINE, some, starts=1, progress=False)
    return {"fit": fits["P06"], "fits": fits, "joint": ck.fit(DECLINE, some, shared=["beta"], starts=1)}


def population_log_likelihood(**asked):
    given = {"mean": {"F": 4e-3, "alpha": 0.3}, "between": {"F": 0.5}, "sd": 0.5}
    return ck.population_log_likelihood(DECLINE, STUDY, **given, **asked)


LEVELS = {
    "fit.predict": lambda r, level: r["fit"].predict([7], level=level),
    "fit.intervals": lambda r, level: r["fit"].intervals(level=level),
    "fit.intervals of profiles": lambda r, level: r["fit"].intervals("profile", level=level),
    "fit.intervals of a bootstrap": lambda r, level: r["fit"].intervals("bootstrap", level=level),
    "fit.profile": lambda r, level: r["fit"].profile(level=level),
    "fit.bootstrap": lambda r, level: r["fit"].bootstrap(5, level=level),
    "fit.derived": lambda r, level: r["fit"].derived(level=level),
    "fits.predict": lambda r, level: r["fits"].predict([7], level=level),
    "fits.profile": lambda r, level: r["fits"].profile(level=level),
    "joint.predict": lambda r, level: r["joint"].predict([7], level=level),
    # A level, times and a seed are looked at before the population is.
    "population.predict": lambda r, level: ck.PopulationFit.predict(r["fit"], [7], level=level),
    "population.bootstrap": lambda r, level: ck.PopulationFit.bootstrap(r["fit"], 5, level=level),
    "population.effects": lambda r, level: ck.PopulationFit.effects(r["fit"], level),
    "population.plot_forest": lambda r, level: ck.PopulationFit.plot_forest(r["fit"], level),
    "population.forecast": lambda r, level: ck.PopulationFit.forecast(r["fit"], STUDY, [7], level=level),
    "population.vpc": lambda r, level: ck.PopulationFit.vpc(r["fit"], level=level),
    "posterior.forecast": lambda r, level: ck.PopulationPosterior.forecast(r["fit"], STUDY, [7], level=level),
    "posterior.vpc": lambda r, level: ck.PopulationPosterior.vpc(r["fit"], level=level),
    "posterior.virtual_trial": lambda r, level: ck.PopulationPosterior.virtual_trial(r["fit"], [7], {}, level=level),
    "vpc": lambda r, level: ck.vpc(r["fits"], replicates=20, level=level).table,
    "fits.vpc": lambda r, level: r["fits"].vpc(replicates=20, level=level).table,
    "comparison.vpc": lambda r, level: ck.compare_cohorts(r["fits"]).vpc(replicates=20, level=level).table,
    "forecast of a population": lambda r, level: ck.forecast(r["fit"], STUDY, [7], level=level),
    "trial of a population": lambda r, level: ck.virtual_trial(r["fit"], [7], {"A": 1e6}, level=level),
    "population.virtual_trial": lambda r, level: ck.PopulationFit.virtual_trial(r["fit"], [7], {}, level=level),
}
COUNTS = {
    "fit starts": ("starts", lambda r, n: ck.fit(DECLINE, STUDY.select(subjects="P06"), starts=n)),
    "fit_each starts": ("starts", lambda r, n: ck.fit_each(DECLINE, STUDY, starts=n, progress=False)),
    "fit_each chunk": ("chunk", lambda r, n: ck.fit_each(DECLINE, STUDY, chunk=n, progress=False)),
    "joint starts": ("starts", lambda r, n: ck.fit(DECLINE, STUDY, shared=["beta"], starts=n)),
    "forecast_error": ("starts", lambda r, n: ck.forecast_error([DECLINE], STUDY, until=28, starts=n)),
    "bootstrap": ("n", lambda r, n: r["fit"].bootstrap(n)),
    "compare_cohorts": ("permutations", lambda r, n: ck.compare_cohorts(STUDY, permutations=n)),
    "power": ("studies", lambda r, n: ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], studies=n, progress=False)),
    "power patients": (
        "patients", lambda r, n: ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], patients=[n], progress=False)
    ),
    "draws of a likelihood": ("draws", lambda r, n: population_log_likelihood(draws=n)),
    "nodes of a likelihood": ("nodes", lambda r, n: population_log_likelihood(method="agq", nodes=n)),
    "nodes of a population": (
        "nodes", lambda r, n: ck.fit_population(DECLINE, STUDY, method="agq", nodes=n, progress=False)
    ),
    "bootstrap of a population": ("n", lambda r, n: ck.PopulationFit.bootstrap(r["fit"], n)),
    "replicates of vpc": ("replicates", lambda r, n: ck.vpc(r["fits"], replicates=n)),
    "replicates of fits.vpc": ("replicates", lambda r, n: r["fits"].vpc(replicates=n)),
    "imputations of npde": ("imputations", lambda r, n: ck.npde(r["fit"], imputations=n)),
    "simulate of a population": ("n", lambda r, n: ck.PopulationFit.simulate(r["fit"], n)),
    "chains of a posterior": ("chains", lambda r, n: ck.sample_posterior(r["fit"], chains=n)),
    "patients of a trial": ("patients", lambda r, n: ck.virtual_trial(r["fit"], [7], {"A": 1e6}, patients=n)),
    "draws of population.predict": ("draws", lambda r, n: ck.PopulationFit.predict(r["fit"], [7], draws=n)),
    "influence of a population": ("most", lambda r, n: ck.PopulationFit.plot_influence(r["fit"], n)),
    "plot of fits": ("columns", lambda r, n: r["fits"].plot(columns=n)),
}  # fmt: skip
SEEDS = {
    "fit": lambda r, seed: ck.fit(DECLINE, STUDY.select(subjects="P06"), seed=seed),
    "fit_each": lambda r, seed: ck.fit_each(DECLINE, STUDY, seed=seed, progress=False),
    "bootstrap": lambda r, seed: r["fit"].bootstrap(5, seed=seed),
    "quantile_residuals": lambda r, seed: r["fit"].quantile_residuals(seed=seed),
    "diagnostics": lambda r, seed: r["fit"].diagnostics(seed=seed),
    "quantile_residuals of fits": lambda r, seed: r["fits"].quantile_residuals(seed=seed),
    "diagnostics of fits": lambda r, seed: r["fits"].diagnostics(seed=seed),
    "diagnostics of a population": lambda r, seed: ck.PopulationFit.diagnostics(r["fit"], seed=seed),
    "quantile_residuals of a joint fit": lambda r, seed: r["joint"].quantile_residuals(seed=seed),
    "compare_cohorts": lambda r, seed: ck.compare_cohorts(STUDY, seed=seed),
    "power": lambda r, seed: ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], seed=seed, progress=False),
    "fit_population": lambda r, seed: ck.fit_population(DECLINE, STUDY, seed=seed, progress=False),
    "population_log_likelihood": lambda r, seed: population_log_likelihood(seed=seed),
    "population.predict": lambda r, seed: ck.PopulationFit.predict(r["fit"], [7], seed=seed),
    "population.bootstrap": lambda r, seed: ck.PopulationFit.bootstrap(r["fit"], 5, seed=seed),
    "population.simulate": lambda r, seed: ck.PopulationFit.simulate(r["fit"], seed=seed),
    "population.vpc": lambda r, seed: ck.PopulationFit.vpc(r["fit"], seed=seed),
    "population.npde": lambda r, seed: ck.PopulationFit.npde(r["fit"], seed=seed),
    "population.forecast": lambda r, seed: ck.PopulationFit.forecast(r["fit"], STUDY, [7], seed=seed),
    "posterior.vpc": lambda r, seed: ck.PopulationPosterior.vpc(r["fit"], seed=seed),
    "posterior.npde": lambda r, seed: ck.PopulationPosterior.npde(r["fit"], seed=seed),
    "posterior.forecast": lambda r, seed: ck.PopulationPosterior.forecast(r["fit"], STUDY, [7], seed=seed),
    "posterior.virtual_trial": lambda r, seed: ck.PopulationPosterior.virtual_trial(r["fit"], [7], {}, seed=seed),
    "fits.vpc": lambda r, seed: r["fits"].vpc(seed=seed),
    "comparison.vpc": lambda r, seed: ck.compare_cohorts(r["fits"]).vpc(seed=seed),
    "vpc": lambda r, seed: ck.vpc(r["fits"], seed=seed),
    "npde": lambda r, seed: ck.npde(r["fit"], seed=seed),
    "forecast": lambda r, seed: ck.forecast(r["fit"], STUDY, [7], seed=seed),
    "sample_posterior": lambda r, seed: ck.sample_posterior(r["fit"], seed=seed),
    "virtual_trial": lambda r, seed: ck.virtual_trial(r["fit"], [7], {"A": 1e6}, seed=seed),
    "population.virtual_trial": lambda r, seed: ck.PopulationFit.virtual_trial(r["fit"], [7], {}, seed=seed),
}
DAYS = {
    "simulate": lambda r, days: ck.simulate(STEIN, {}, days),
    "solve": lambda r, days: STEIN.solve(days),
    "identifiability": lambda r, days: ck.identifiability(STEIN, days),
    "fit.predict": lambda r, days: r["fit"].predict(days),
    "fits.predict": lambda r, days: r["fits"].predict(days),
    "joint.predict": lambda r, days: r["joint"].predict(days),
    "population.predict": lambda r, days: ck.PopulationFit.predict(r["fit"], days),
    "population.forecast": lambda r, days: ck.PopulationFit.forecast(r["fit"], STUDY, days),
    "posterior.forecast": lambda r, days: ck.PopulationPosterior.forecast(r["fit"], STUDY, days),
    "posterior.virtual_trial": lambda r, days: ck.PopulationPosterior.virtual_trial(r["fit"], days, {}),
    "forecast": lambda r, days: ck.forecast(r["fit"], STUDY, days),
    "virtual_trial": lambda r, days: ck.virtual_trial(r["fit"], days, {"A": 1e6}),
    "population.virtual_trial": lambda r, days: ck.PopulationFit.virtual_trial(r["fit"], days, {}),
    "compare_cohorts": lambda r, days: ck.compare_cohorts(STUDY, days=days),
    "windows of compare_cohorts": lambda r, days: ck.compare_cohorts(STUDY, windows=[days]),
    "window of nca": lambda r, days: ck.nca(STUDY, days),
    "terminal of nca": lambda r, days: ck.nca(STUDY, terminal=days),
    "schedule of power": lambda r, days: ck.power(STEIN, [1e5, 1e7], [3, 3], days, progress=False),
    "days of power": lambda r, days: ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], days=days, progress=False),
}
FLAGS = {
    "fit_each pool_sd": lambda r, flag: ck.fit_each(DECLINE, STUDY, pool_sd=flag, progress=False),
    "fit_each progress": lambda r, flag: ck.fit_each(DECLINE, STUDY, starts=1, progress=flag),
    "fit common_sd": lambda r, flag: ck.fit(DECLINE, STUDY, shared=["beta"], common_sd=flag),
    "vpc corrected": lambda r, flag: ck.vpc(r["fits"], corrected=flag),
    "choose_covariates progress": lambda r, flag: ck.choose_covariates(DECLINE, STUDY, {"F": "dose"}, progress=flag),
    "sample_posterior progress": lambda r, flag: ck.sample_posterior(r["fit"], progress=flag),
    "fit_population common_sd": lambda r, flag: ck.fit_population(DECLINE, STUDY, common_sd=flag),
    "fit.profile calibrated": lambda r, flag: r["fit"].profile(calibrated=flag),
    "fits.profile calibrated": lambda r, flag: r["fits"].profile(calibrated=flag),
    "compare_cohorts mid_p": lambda r, flag: ck.compare_cohorts(STUDY, mid_p=flag),
}
ONE_DAY = {
    "select": lambda r, day: STUDY.select(until=day),
    "forecast_error": lambda r, day: ck.forecast_error([DECLINE], STUDY, until=day),
    "plot of a model": lambda r, day: STEIN.plot(days=day),
}
TOLERANCES = {
    "compare_cohorts": lambda r, days: ck.compare_cohorts(STUDY, tolerance=days),
    "cohort_curves": lambda r, days: ck.cohort_curves(STUDY, tolerance=days),
    "nca": lambda r, days: ck.nca(STUDY, tolerance=days),
    "study.plot": lambda r, days: STUDY.plot(tolerance=days),
}
IL15 = ck.models.load("il15_persistence")
BEFORE = {
    "compare_cohorts": lambda r: ck.compare_cohorts(STUDY, days=[-5]),
    "identifiability": lambda r: ck.identifiability(STEIN, [-1, 7, 14]),
    "select": lambda r: STUDY.select(until=-3),
    "forecast_error": lambda r: ck.forecast_error([DECLINE], STUDY, until=-3),
}
EMPTY = {
    "fit.profile": lambda r: r["fit"].profile([]),
    "fits.profile": lambda r: r["fits"].profile([]),
    "identifiability": lambda r: ck.identifiability(STEIN, []),
    "identifiability free": lambda r: ck.identifiability(STEIN, [7, 14], free=[]),
    "quantiles of cohort_curves": lambda r: ck.cohort_curves(STUDY, quantiles=[]),
    "forecast_error": lambda r: ck.forecast_error([], STUDY, until=28),
    "compare_cohorts": lambda r: ck.compare_cohorts(STUDY, model=DECLINE, parameters=[], progress=False),
    "choose_covariates": lambda r: ck.choose_covariates(DECLINE, STUDY, {"F": []}, progress=False),
    "windows of compare_cohorts": lambda r: ck.compare_cohorts(STUDY, windows=[], days=[]),
    "windows of compare_cohorts, of fits": lambda r: ck.compare_cohorts(r["fits"], windows=[], days=[]),
}
IMPOSSIBLE = {
    "a negative rate": (lambda: ck.simulate(IL15, {"rho": -1}, [7], doses=1e6), r"rho of il15_persistence: -1 is neg"),
    "a share above 1": (lambda: ck.simulate(STEIN, {"f_b": 1.5}, [7]), r"f_b of stein.*: 1\.5 is not from 0 to 1"),
    "NaN": (lambda: ck.identifiability(STEIN, [7], parameters={"alpha": np.nan}), r"alpha .*NaN is no number"),
    "a dose nobody names": (lambda: ck.simulate(STEIN, {}, [7], doses=-1e6), r"amount -1e\+06.*not negative"),
    "no dose in a list": (lambda: ck.simulate(IL15, {}, [7], doses=[]), r"needs a dose\. Give doses=1e6"),
}

P06 = STUDY.select(subjects=["P06"])
TABLE = pd.DataFrame({"subject": "A", "day": [1, 3, 7], "copies_per_ug": [100, 50, 20], "dose": 1e6})
NO_NUMBER = {
    "lloq": lambda what: ck.read_study(TABLE, lloq=what),
    "lod of an output": lambda what: ck.read_study(TABLE, lod={"1": what}),
    "lloq of an assay": lambda what: ck.Assay(lloq=what),
    "leukocytes": lambda what: ck.Assay().convert(STUDY, what),
    "doses of a fit": lambda what: ck.fit(DECLINE, P06, doses=what),
    "doses of a forecast": lambda what: ck.forecast(STEIN, P06, [7], doses=what, prior="published"),
    "doses by day": lambda what: ck.fit(DECLINE, P06, doses=[(0, what)]),
    "doses of a simulation": lambda what: ck.simulate(DECLINE, {}, [7], doses=what),
    "values of a simulation": lambda what: ck.simulate(DECLINE, {"alpha": what}, [7], doses=1e6),
    "values of a solution": lambda what: DECLINE.solve([7], {"alpha": what}, 1e6),
    "fixed": lambda what: ck.fit(DECLINE, P06, fixed={"alpha": what}),
    "fixed for each": lambda what: ck.fit_each(DECLINE, P06, fixed={"alpha": what}),
    "initial": lambda what: ck.fit(DECLINE, P06, initial={"alpha": what}),
    "fixed of a model": lambda what: DECLINE.with_(fixed={"alpha": what}),
    "lasts of a model": lambda what: ck.models.load("effector_memory").with_(lasts={"IL-2": what}),
    "values of a model": lambda what: DECLINE.with_(values={"alpha": what}),
    "effect": lambda what: ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], effect={"c_max": what}, progress=False),
    "sd of power": lambda what: ck.power(STEIN, [1e5, 1e7], [3, 3], [7, 28], sd=what, progress=False),
    "quantiles": lambda what: ck.cohort_curves(STUDY, quantiles=[what]),
    "identifiability": lambda what: ck.identifiability(STEIN, [7, 14], parameters={"alpha": what}),
}
NO_KIND = {
    "unit": (lambda: ck.read_study(TABLE, unit=5), r"unit=5: give a unit as text, such as 'copies/ug'"),
    "days": (lambda: ck.compare_cohorts(STUDY, days=28), r"days=28: give a list of days, such as \[28, 84\]"),
    "quantiles": (lambda: ck.cohort_curves(STUDY, quantiles=0.5), r"quantiles=0\.5: give a list, such as \[0\.5\]"),
    "fixed": (lambda: ck.fit(DECLINE, P06, fixed=["alpha"]), r"fixed=\['alpha'\]: give \{name: number\}"),
    "free": (lambda: ck.fit(DECLINE, P06, free=3), r"free=3: give names of parameters"),
    "tie": (
        lambda: ck.fit(DECLINE, P06, tie={"beta": 0.1}),
        r"tie of beta is 0\.1: give a function .* or fixed=\{'beta'",
    ),
    "prior": (lambda: ck.fit(DECLINE, P06, prior=["F"]), r"prior=\['F'\]: give \{name: ck\.LogNormal"),
    "others": (lambda: ck.compare_cohorts(STUDY, others="nonsense"), r"others='nonsense' is of a model: give model="),
    "parameters": (
        lambda: ck.compare_cohorts(STUDY, parameters=["F"]),
        r"parameters=\['F'\] is of a model: give model=",
    ),
    "common_sd": (lambda: ck.fit(DECLINE, P06, common_sd="no"), r"common_sd='no': give True or False"),
    "an sd each": (lambda: ck.fit(DECLINE, P06, common_sd=False), r"common_sd=False is of a joint fit.*Give shared="),
}


@pytest.mark.parametrize("what", [True, "5000"])
@pytest.mark.parametrize("name", NO_NUMBER)
def test_a_truth_value_or_a_text_is_not_taken_for_a_number(name, what):
    with pytest.raises(ValueError, match=r"(?i)give a number"):
        NO_NUMBER[name](what)


@pytest.mark.parametrize("name", NO_KIND)
def test_an_argument_of_another_kind_is_refused_with_the_remedy(name):
    call, words = NO_KIND[name]
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: ck.simulate(STEIN, {}, [7], doses=1e6),
        lambda: ck.fit(STEIN, P06, doses=5.0, starts=1),
        lambda: ck.fit_each(STEIN, P06, doses="one amount", starts=1, progress=False),
    ],
)
def test_doses_for_a_model_without_dose_have_no_effect_and_a_warning_says_so(call):
    with pytest.warns(UserWarning, match=r"stein_2019_tisagenlecleucel takes no dose: doses= has no effect") as said:
        call()
    assert len(said) == 1


def test_the_groups_of_a_comparison_are_a_copy():
    found = ck.compare_cohorts(STUDY)
    summary, groups = found.summary(), found.groups
    groups.iloc[:] = "x"
    assert found.summary() == summary


@pytest.mark.parametrize("level", [95, -1, 0, 1, 1.5, np.nan, "95%"])
@pytest.mark.parametrize("name", LEVELS)
def test_what_is_no_level_is_refused_with_the_remedy(results, name, level):
    with pytest.raises(ValueError, match=r"(?i)give (level=0\.|a share between 0 and 1)"):
        LEVELS[name](results, level)


@pytest.mark.parametrize("n", [0, -3, 1.5, np.nan, "many", True])
@pytest.mark.parametrize("name", COUNTS)
def test_what_is_no_count_is_refused_with_the_remedy(results, name, n):
    argument, call = COUNTS[name]
    with pytest.raises(ValueError, match=rf"{argument}=.*: give a whole number of at least (1|20)"):
        call(results, n)


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
@pytest.mark.parametrize("name", SEEDS)
def test_what_is_no_seed_is_refused_with_the_remedy(results, name, seed):
    with pytest.raises(ValueError, match=r"seed=.*: give a whole number of at least 0"):
        SEEDS[name](results, seed)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (DATES, "holds dates"),
        ([datetime.date(2024, 3, 1), datetime.date(2024, 3, 8)], "holds dates"),
        (SPANS, "holds time differences"),
        (np.array([7, 14], "timedelta64[D]"), "holds time differences"),
        (["7", "day 14"], "holds text"),
        ([-3, "x"], r"holds text \('x'\)"),
        ([True, False], r"holds True or False \(True\)"),
        ([7, True], r"holds True or False \(True\)"),
        (np.array([False, True]), r"holds True or False \(False\)"),
        ([1 + 0j, 2], r"holds complex numbers \(\(1\+0j\)\)"),
    ],
)
@pytest.mark.parametrize("name", DAYS)
def test_what_are_no_days_is_refused_with_the_remedy(results, name, days, words):
    with pytest.raises(ValueError, match=rf"{words}.*give numbers of days"):
        DAYS[name](results, days)


@pytest.mark.parametrize("days", [[7.0, np.nan], [7.0, np.inf]])
@pytest.mark.parametrize("name", DAYS)
def test_days_that_are_not_finite_are_refused(results, name, days):
    with pytest.raises(ValueError, match=r"NaN or infinity: give finite days|two days that rise"):
        DAYS[name](results, days)


@pytest.mark.parametrize("value", ["yes", 1, None, 0.0])
@pytest.mark.parametrize("name", FLAGS)
def test_what_is_neither_true_nor_false_is_refused_with_the_remedy(results, name, value):
    with pytest.raises(ValueError, match=rf"{name.split()[-1]}={value!r}: give True or False"):
        FLAGS[name](results, value)


@pytest.mark.parametrize("day", [DATES[0], SPANS[0], np.nan, "day 28"])
@pytest.mark.parametrize("name", ONE_DAY)
def test_a_day_that_is_none_is_refused_with_the_remedy(results, name, day):
    with pytest.raises(ValueError, match=r"(?i)give (numbers? of days|a day|a number)"):
        ONE_DAY[name](results, day)


@pytest.mark.parametrize("days", [-1, np.nan, np.inf, SPANS[0], "3 days"])
@pytest.mark.parametrize("name", TOLERANCES)
def test_what_is_no_tolerance_is_refused_with_the_remedy(results, name, days):
    with pytest.raises(ValueError, match=r"tolerance=.*: give a number"):
        TOLERANCES[name](results, days)


@pytest.mark.parametrize("name", BEFORE)
def test_days_before_the_infusion_are_refused_with_the_remedy(results, name):
    with pytest.raises(ValueError, match=r"(?s)lies before the (infusion|first infusion).*(give|Give) (days|a day)"):
        BEFORE[name](results)


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_empty_where_something_is_asked_is_refused_with_the_remedy(results, name):
    with pytest.raises(ValueError, match=r"(is|are) empty.*([Gg]ive|Leave)"):
        EMPTY[name](results)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_value_or_dose_that_cannot_be_is_refused_with_the_remedy(name):
    call, words = IMPOSSIBLE[name]
    with pytest.raises(ck.ModelError, match=words):
        call()


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize(
    "name",
    [name for name in LEVELS if not any(what in name for what in ("profile", "bootstrap", "population", "posterior"))],
)
def test_a_level_between_0_and_1_is_taken(results, name, share):
    assert len(LEVELS[name](results, share))


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: ck.fit(STUDY, DECLINE), r"the model comes first: ck\.fit\(model, study\)"),
        (lambda: ck.fit(STUDY, DECLINE, shared=[]), r"the model comes first: ck\.fit\(model, study\)"),
        (lambda: ck.fit_each(STUDY, DECLINE), r"the model comes first: ck\.fit_each\(model, study\)"),
        (lambda: ck.simulate({}, STEIN, [7]), r"the model comes first: ck\.simulate\(model, parameters, times"),
        (lambda: ck.simulate("stein", {}, [7]), r"model is a str, not a Model\. Take models\.load"),
        (lambda: ck.fit("nk_decline", STUDY), r"model is a str, not a Model\. Take models\.load"),
        (lambda: ck.fit(DECLINE, STUDY.observations), r"study is a DataFrame, not a Study\. Take ck\.read_study"),
        (lambda: ck.fit_each(DECLINE, "patients.csv"), r"study is a str, not a Study\. Take ck\.read_study"),
        (
            lambda: ck.compare_cohorts(STEIN),
            r"what is compared is a Model, not a Study\. Give compare_cohorts",
        ),
        (lambda: ck.compare_cohorts(STUDY, model="stein"), r"model is a str, not a Model"),
        (lambda: ck.compare_cohorts(STUDY.observations), r"what is compared is a DataFrame, not a Study"),
        (lambda: ck.forecast_error(DECLINE, STUDY, until=28), r"a list of models comes first"),
        (lambda: ck.forecast_error(STUDY, [DECLINE], until=28), r"a list of models comes first"),
        (lambda: ck.identifiability([7, 14], STEIN), r"model is a list, not a Model"),
        (lambda: ck.power([1e5, 1e7], STEIN, [3, 3], [7, 28]), r"model is a list, not a Model"),
        (lambda: ck.compare_models(STUDY), r"takes fits, such as \[fit_a, fit_b\], not a Study\. Fit each model first"),
        (lambda: ck.compare_models(DECLINE), r"takes fits, such as \[fit_a, fit_b\], not a Model"),
        (lambda: ck.nca_summary(STUDY), r"table is a Study, not a DataFrame\. Give the table of ck\.nca\(study\)"),
        (lambda: ck.nca(STUDY.observations), r"study is a DataFrame, not a Study"),
        (lambda: ck.cohort_curves(STEIN), r"study is a Model, not a Study"),
    ],
)
def test_arguments_in_the_wrong_order_or_of_another_kind_say_what_to_give(call, remedy):
    with pytest.raises(TypeError, match=remedy):
        call()


def test_no_public_function_with_such_an_argument_is_forgotten():
    checked = {
        "level": {"Fit.predict", "Fit.intervals", "Fit.profile", "Fit.bootstrap", "Fit.derived", "Fits.predict",
                  "Fits.profile", "Fits.bootstrap", "Fits.derived", "Fits.intervals", "JointFit.predict",
                  "JointFit.derived",
                  "PopulationFit.predict", "PopulationFit.bootstrap", "PopulationFit.forecast", "PopulationFit.vpc",
                  "PopulationFit.effects", "PopulationFit.plot_forest", "Fits.vpc", "Comparison.vpc", "vpc", "forecast",
                  "Forecast.probability_below", "PopulationFit.virtual_trial", "virtual_trial",
                  "VirtualTrial.share_above", "PopulationPosterior.vpc", "PopulationPosterior.forecast",
                  "PopulationPosterior.virtual_trial"},
        "seed": {"fit", "fit_each", "Fit.bootstrap", "Fit.quantile_residuals", "Fit.diagnostics",
                 "PopulationFit.diagnostics",
                 "Fits.quantile_residuals", "Fits.diagnostics", "Fits.bootstrap", "JointFit.quantile_residuals",
                 "compare_cohorts",
                 "power", "fit_population", "population_log_likelihood", "PopulationFit.predict",
                 "PopulationFit.bootstrap", "PopulationFit.simulate", "PopulationFit.vpc", "PopulationFit.npde",
                 "PopulationFit.forecast", "Fits.vpc", "Comparison.vpc", "vpc", "npde", "forecast",
                 "PopulationFit.virtual_trial", "virtual_trial", "sample_posterior", "PopulationPosterior.vpc",
                 "PopulationPosterior.npde", "PopulationPosterior.forecast", "PopulationPosterior.virtual_trial"},
        "starts": {"fit", "fit_each"},
        "tolerance": {"compare_cohorts", "cohort_curves", "nca", "Study.plot"},
        "pool_sd": {"fit_each"},
        "common_sd": {"fit", "fit_population"},
        "corrected": {"vpc", "PopulationFit.vpc", "PopulationPosterior.vpc", "Fits.vpc", "Comparison.vpc"},
        "calibrated": {"Fit.profile", "Fits.profile"},
        "mid_p": {"compare_cohorts"},
        "inputs": {"simulate", "Model.solve", "Model.plot", "identifiability", "power", "PopulationFit.predict",
                   "virtual_trial", "PopulationFit.virtual_trial", "PopulationPosterior.virtual_trial"},
        "times": {"simulate", "Model.solve", "Fit.predict", "Fits.predict", "JointFit.predict",
                  "PopulationFit.predict", "PopulationFit.forecast", "forecast", "PopulationFit.virtual_trial",
                  "virtual_trial", "identifiability", "PopulationPosterior.forecast",
                  "PopulationPosterior.virtual_trial"},
    }  # fmt: skip
    found = {argument: set() for argument in checked}
    for name in ck.__all__:
        public = getattr(ck, name)
        if inspect.isclass(public):
            own = {f"{name}.{m}": f for m, f in vars(public).items() if not m.startswith("_") and inspect.isfunction(f)}
        else:
            own = {name: public} if inspect.isfunction(public) else {}
        # What the others are built on, days since the infusion as an array.
        own.pop("Fit.ln_curve", None)
        for label, function in own.items():
            for argument in checked:
                if argument in inspect.signature(function).parameters:
                    found[argument].add(label)
    assert found == checked


def test_the_command_line_refuses_a_seed_below_0(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--model", "nk_decline", "--seed", "-1", "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "seed=-1: give a whole number of at least 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
