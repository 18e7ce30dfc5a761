"""The batch engine: the same optima as the careful way, whoever else is in the batch."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellkinetics as ck
from cellkinetics import models
from cellkinetics.fitting import each as fits_module
from cellkinetics.fitting.few import again
from cellkinetics.fitting.fit import ended
from cellkinetics.likelihood.error_models import ERRORS, LOG
from cellkinetics.modelling.structure import Method
from cellkinetics.optimising import batch, chunks, engine, stacking
from cellkinetics.optimising.ascent import UNSEEN
from cellkinetics.optimising.cases import Case, prepare_each
from cellkinetics.optimising.optimise import candidates, least_squares, newton, optimise
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.programs import Programs
from cellkinetics.optimising.request import Request
from cellkinetics.running.run import HERE

STEIN = models.load("stein_2019_tisagenlecleucel")
DAYS = np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0])
SPREAD = {"fold": 0.8, "t_max": 0.2, "c_max": 0.65, "alpha": 0.4, "f_b": 0.5, "beta": 0.5}
LLOQ = 100.0
PATIENTS = 24


def simulated(n, seed=2020):
    """Simulated patients of Stein 2019, sd 0.5, about 30% below the limit."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        values = {
            name: float(
                np.clip(p.from_estimation(p.to_estimation(p.value) + SPREAD[name] * rng.normal()), p.min, p.max)
            )
            for name, p in STEIN.parameters.items()
        }
        curve = np.asarray(STEIN.solve(DAYS, values)["copies_per_ug"])
        rows.append(
            pd.DataFrame(
                {"subject": f"S{i:03d}", "day": DAYS, "copies_per_ug": curve * np.exp(0.5 * rng.normal(size=15))}
            )
        )
    return pd.concat(rows, ignore_index=True)


TABLE = simulated(PATIENTS)
STUDY = ck.read_study(TABLE, lloq=LLOQ)


@pytest.fixture(scope="module")
def fits():
    return ck.fit_each(STEIN, STUDY, progress=False)


def ln_likelihoods(fits, subjects):
    return np.array([fits[s].log_likelihood_ln for s in subjects])


def ready(study, subject, starts=4):
    request = Request.of(STEIN, starts=starts)
    case = prepare_each(request, study.select(subject))[subject]
    assert not isinstance(case, Exception)
    return request, case


def carefully(study, subject, fit, starts=4):
    """The fit by lmfit and by Newton steps of the `Problem`, without the engine, and the best that lmfit found.

    With too few samples for an sd of its own what the first optimum spent on them is known in a second: as of ``fit``.
    """
    request, case = ready(study, subject, starts)
    optimum = None if case.reason else optimise(case.problem, case.initial, starts=starts, seed=2020)
    if optimum is not None and case.problem.few:
        assert again(case.problem, optimum, []).few["sd"].spent == pytest.approx(fit.problem.few["sd"].spent, abs=0.1)
        problem = replace(case.problem, few=fit.problem.few)
        case = replace(case, problem=problem)
        optimum = optimise(problem, problem.natural(optimum.x), starts=1, seed=2020)
        assert optimum is not None
        best = max(optimum.values) - problem.log_prior(optimum.x)
        return ended(request, study.select(subject), case, optimum, {}), best
    best = max(optimum.values) if optimum is not None else np.nan
    return ended(request, study.select(subject), case, optimum, {}), best


def test_where_the_engine_ends_the_careful_way_finds_nothing_left_to_gain(fits):
    for subject in STUDY.subjects:
        problem = fits[subject].problem
        if fits[subject].fitted:
            here = problem.objective(fits[subject].x)
            own = here - problem.log_prior(fits[subject].x)
            assert own == pytest.approx(fits[subject].log_likelihood_ln, abs=1e-6), subject
            assert newton(problem, fits[subject].x)[1].value < here + 1e-4, subject
        if fits[subject].converged:
            here = problem.objective(fits[subject].x)
            # lmfit alone shares nothing with the engine, not even the Newton steps that both ways end with.
            by_lmfit = least_squares(problem, fits[subject].x.copy())
            assert by_lmfit is not None
            assert problem.objective(by_lmfit[0]) < here + 1e-4, subject


def test_the_engine_finds_what_the_careful_way_finds():
    # From one start the two ways take other steps and may end at other local optima.
    fits = ck.fit_each(STEIN, STUDY.select(STUDY.subjects[:8]), starts=12, progress=False)
    careful = {s: carefully(STUDY, s, fits[s], starts=12) for s in STUDY.subjects[:8]}
    alone = {s: fit for s, (fit, _) in careful.items()}
    difference = ln_likelihoods(fits, alone) - ln_likelihoods(alone, alone)
    assert np.all(ln_likelihoods(fits, alone) > np.array([by_lmfit for _, by_lmfit in careful.values()]) - 1e-4)
    # It may end higher: other starts. It may not end lower by more than 1e-4 log-likelihood units.
    assert np.all(difference > -1e-4)
    for subject, fit in alone.items():
        if fit.converged and fits[subject].converged and abs(difference[list(alone).index(subject)]) < 1e-4:
            both = fit.parameters.join(fits[subject].parameters, suffixes=("", "_batch"))
            free = both[both["status"] == "free"]
            off = (free["value"] - free["value_batch"]).abs() / free["stderr"]
            assert off.max() < 0.02, subject


def test_the_order_of_the_patients_does_not_matter(fits):
    shuffled = list(np.random.default_rng(2020).permutation(STUDY.subjects))
    table = pd.concat([TABLE[TABLE["subject"] == subject] for subject in shuffled])
    others = ck.fit_each(STEIN, ck.read_study(table, lloq=LLOQ), progress=False)
    np.testing.assert_allclose(ln_likelihoods(others, STUDY.subjects), ln_likelihoods(fits, STUDY.subjects), rtol=1e-10)
    for subject in STUDY.subjects:
        assert others[subject].outcome == fits[subject].outcome


def test_a_patient_does_not_depend_on_who_else_is_there(fits):
    few = list(STUDY.subjects[3:6])
    others = ck.fit_each(STEIN, STUDY.select(few), progress=False)
    flat = []
    for subject in few:
        mine, ours = others[subject], fits[subject]
        curved = np.linalg.eigvalsh(-mine.problem.second_order(mine.x).hessian)
        if curved[0] < 1e-10 * curved[-1]:
            # Rounding of the objective, 1e-14, is all that tells one point of such a ridge from the next: the height is
            # the same to what a climb stops at, and the place is nobody's.
            flat.append(subject)
            assert mine.log_likelihood_ln == pytest.approx(ours.log_likelihood_ln, abs=UNSEEN)
            assert (mine.outcome, mine.status) == (ours.outcome, ours.status)
            continue
        values = (fit.parameters["value"].to_numpy(float) for fit in (mine, ours))
        np.testing.assert_allclose(*values, rtol=1e-10)
    assert len(flat) < 2


def test_the_size_of_the_chunks_does_not_matter(fits):
    others = ck.fit_each(STEIN, STUDY, progress=False, chunk=7)
    np.testing.assert_allclose(ln_likelihoods(others, STUDY.subjects), ln_likelihoods(fits, STUDY.subjects), rtol=1e-10)


def test_interrupted_from_the_keyboard_it_returns_what_is_finished(fits, monkeypatch):
    whole, begun = chunks.optima, []

    def interrupted(*arguments, **options):
        begun.append(arguments)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(chunks, "optima", interrupted)
    some = ck.fit_each(STEIN, STUDY, progress=False, chunk=7)
    assert list(some) == list(STUDY.subjects)
    outcomes = some.outcomes["outcome"]
    assert outcomes.str.startswith("not fitted: interrupted").sum() == PATIENTS - 14
    finished = STUDY.subjects[:14]
    assert [some[s].outcome for s in finished] == [fits[s].outcome for s in finished]


def test_interrupted_before_the_second_look_who_needs_it_is_not_finished(monkeypatch):
    days = [0.1, 0.5, 1, 2, 3, 4, 7, 12]
    copies = [380, 190, 95, 31, 18, 12, 8, 5]
    table = pd.DataFrame({"subject": "A", "day": days, "copies_per_ug": copies, "dose": 1e6, "lloq": 3.0})
    study = ck.read_study(pd.concat([table, table.iloc[::2].assign(subject="B")]))

    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(fits_module, "settled", interrupted)
    some = ck.fit_each(models.load("nk_decline"), study, starts=1, progress=False)
    assert some["A"].fitted
    assert some["B"].outcome.startswith("not fitted: interrupted")


@pytest.mark.parametrize(
    ("name", "values", "lloq"),
    [
        ("all below the limit", np.full(15, 1.0), 3.0),
        ("one sample", np.array([100.0]), 3.0),
        ("sixty samples", None, 3.0),
        ("a spike", np.where(np.arange(15) == 9, 1e6, np.exp(-0.01 * DAYS) * 500), 3.0),
        ("a single quantified peak", np.where(np.arange(15) == 4, 900.0, 1.0), 3.0),
    ],
)
@pytest.mark.slow
def test_an_odd_patient_ends_in_a_batch_as_alone(name, values, lloq):
    if values is None:
        days = np.linspace(1, 365, 60)
        values = np.asarray(STEIN.solve(days)["copies_per_ug"]) * np.exp(0.3 * np.random.default_rng(1).normal(size=60))
    else:
        days = DAYS[: len(values)]
    odd = pd.DataFrame({"subject": "odd", "day": days, "copies_per_ug": values})
    study = ck.read_study(pd.concat([odd, TABLE[TABLE["subject"] < "S003"]]), lloq=lloq)
    together = ck.fit_each(STEIN, study, progress=False)["odd"]
    alone, by_lmfit = carefully(study, "odd", together)
    assert together.outcome.split(":")[0] == alone.outcome.split(":")[0], name
    if alone.fitted:
        assert together.log_likelihood_ln > alone.log_likelihood_ln - 1e-4, name
        assert together.log_likelihood_ln > by_lmfit - 1e-4, name


def test_a_free_set_of_another_size_within_the_padding_needs_no_new_program():
    ck.fit_each(STEIN, STUDY, progress=False)
    run: Any = engine.searcher(STEIN, (), Method.CLOSED_FORM, ERRORS[LOG], engine.LANES)
    before = set(run.ready), run.alone._cache_size()
    assert before != (set(), 0)
    ck.fit_each(STEIN, STUDY, free=["t_max", "c_max", "alpha", "beta"], progress=False)
    ck.fit_each(STEIN, STUDY.select(STUDY.subjects[:17]), progress=False)
    assert (set(run.ready), run.alone._cache_size()) == before


def test_the_score_is_the_likelihood_of_the_problem_with_its_gradient(fits):
    request = Request.of(STEIN, starts=1)
    case = prepare_each(request, STUDY.select("S001"))["S001"]
    assert not isinstance(case, Exception)
    problem: Problem = case.problem
    shape = stacking.shape_of(problem)
    data = stacking.stacked([problem], shape, 1)
    x = problem.start(case.initial)
    score = engine.scores(STEIN, (), Method.CLOSED_FORM, ERRORS[LOG])(x[None], data)
    second = problem.second_order(x)
    assert score.solved.all()
    assert float(score.value[0]) == pytest.approx(second.value, rel=1e-12)
    np.testing.assert_allclose(score.gradient[0], second.gradient, rtol=1e-9, atol=1e-9)
    at = engine.curvatures(STEIN, (), Method.CLOSED_FORM, ERRORS[LOG])(x[None], data)
    np.testing.assert_allclose(at.hessian[0], second.hessian, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(at.quantified[0], second.quantified, rtol=1e-8, atol=1e-8)


def test_a_climb_from_near_an_optimum_returns_to_it_at_any_size_of_free_set(fits):
    subjects = [s for s in STUDY.subjects if fits[s].converged][:3]
    problems = [fits[s].problem for s in subjects]
    returned = batch.climbed(problems, [fits[s].x + 0.05 for s in subjects])
    np.testing.assert_allclose([end.x for end in returned], [fits[s].x for s in subjects], atol=1e-5)
    assert batch.climbed([], []) == []


def test_a_patient_alone_ends_where_the_batch_ends(fits):
    for subject in STUDY.subjects[:4]:
        alone = ck.fit(STEIN, STUDY.select(subject))
        assert alone.outcome == fits[subject].outcome
        np.testing.assert_allclose(alone.log_likelihood_ln, fits[subject].log_likelihood_ln, rtol=1e-10)


def test_second_derivatives_by_differences_are_those_of_the_problem_one_by_one_and_side_by_side():
    model = models.load("il15_persistence")
    example = ck.example()
    cases = prepare_each(Request.of(model, starts=1), example.select(["P05", "P06"]))
    problems = [case.problem for case in cases.values() if not isinstance(case, Exception)]
    shape = stacking.shape_of(problems[0])
    assert {stacking.shape_of(problem) for problem in problems} == {shape}
    data = stacking.stacked(problems, shape, 2)
    points = np.zeros((2, shape[1] + 1))
    for row, problem in enumerate(problems):
        points[row, stacking.places(problem, shape[1])] = problem.start(problem.values)
    together = engine.curvatures(model, (), Method.STRUCTURE, ERRORS[LOG])(points, data)
    for row, problem in enumerate(problems):
        by_loop = Programs(model, (), Method.STRUCTURE, stacking.taken(data, np.array([row])), ERRORS[LOG])
        alone = by_loop.curvature(points[row : row + 1], np.array([0]))
        keep = stacking.places(problem, shape[1])
        exact = problem.second_order(points[row, keep])
        scale = np.sqrt(np.outer(np.diag(exact.hessian), np.diag(exact.hessian)))
        for found in (np.array(together.hessian)[row], np.array(alone.hessian)[0]):
            np.testing.assert_allclose(found[np.ix_(keep, keep)] / scale, exact.hessian / scale, atol=1e-6)
        np.testing.assert_allclose(np.array(together.gradient)[row, keep], exact.gradient, rtol=1e-8, atol=1e-8)


def test_few_starts_are_screened_by_the_loop_and_many_by_a_program_of_their_own_with_the_same_choice():
    model, example = models.load("il15_persistence"), ck.example()
    prior = {"rho": ck.LogNormal(1.6, 0.1)}
    cases = prepare_each(Request.of(model, starts=1, prior=prior), example.select(["P05"]))
    ((problem, initial),) = [(c.problem, c.initial) for c in cases.values() if not isinstance(c, Exception)]
    shape = stacking.shape_of(problem)
    first, others, ways = candidates(problem, initial, 99, 2020)
    drawn = others[ways:]
    points = np.zeros((1, 1 + len(drawn), shape[1] + 1))
    points[0][:, stacking.places(problem, shape[1])] = np.vstack([first, drawn])
    found = []
    for size in (1, engine.LANES + 1):
        programs = Programs(model, (), Method.STRUCTURE, stacking.stacked([problem], shape, size), ERRORS[LOG])
        found.append(programs.screen(points, [points.shape[1]])[0])
    at_first = float(np.sum(problem.root(np.append(first[:-1], 0.0)) ** 2)) - 2 * problem.log_prior(first)
    assert found[1][0] == pytest.approx(at_first, rel=1e-9)
    np.testing.assert_allclose(found[0] - found[0][0], found[1] - found[1][0], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_climb_along_a_ridge_ends_in_the_batch_and_where_it_ends_alone(monkeypatch):
    # eps and delta freed on purpose: from 15 samples nobody can tell them from rho.
    model, days = models.load("il15_persistence"), np.array([1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 365.0])
    rng = np.random.default_rng(7)
    curve = np.asarray(model.solve(days, doses=1e6)["copies_per_ug"])
    columns = [{"subject": f"S{i}", "day": days, "dose": 1e6} for i in range(8)]
    tables = [pd.DataFrame({**each, "copies_per_ug": curve * np.exp(0.4 * rng.normal(size=14))}) for each in columns]
    study = ck.read_study(pd.concat(tables), lloq=10.0)
    monkeypatch.setattr(batch, "newton", lambda *_, **__: pytest.fail("a ridge went on one by one"))
    free = ["F", "rho", "r", "mu0", "N", "eps", "delta"]
    together = ck.fit_each(model, study, free=free, starts=1, progress=False)
    assert sum(fit.outcome.startswith("not identifiable") for fit in together.values()) >= 6
    alone = ck.fit(model, study.select("S0"), free=free, starts=1)
    assert alone.outcome == together["S0"].outcome
    assert alone.log_likelihood_ln == pytest.approx(together["S0"].log_likelihood_ln, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*far more often than any value near it")
def test_a_ridge_that_rises_to_infinity_ends_as_not_identifiable(fits):
    # A flat tail: the rate of late decline runs to 0 and the likelihood rises for ever, by less and less.
    flat = np.where(DAYS > 30, 500.0, np.asarray(STEIN.solve(DAYS)["copies_per_ug"]))
    study = ck.read_study(pd.DataFrame({"subject": "flat", "day": DAYS, "copies_per_ug": flat}), lloq=3.0)
    fit = ck.fit_each(STEIN, study, progress=False)["flat"]
    assert not fit.outcome.startswith("not converged")
    assert "beta" in fit.outcome


DECAY = """
import jax.numpy as jnp
from cellkinetics import Model, Parameter


def rhs(E, k):
    return (-k * E,)


def observe(E):
    return E


model = Model(
    name="decay", reference="made for this test",
    parameters={
        "F": Parameter(4e-4, "copies/ug per cell/kg", "assumption"), "k": Parameter(0.1, "1/day", "assumption"),
    },
    outputs={"copies_per_ug": "copies/ug"}, states=("E",), rhs=rhs, observe=observe, dosing={"cells": ("E", "F")},
    free=("F", "k"),
)
"""


def test_models_solved_by_a_stepper_end_in_lanes_as_one_by_one(tmp_path):
    path = tmp_path / "decay.py"
    path.write_text(DECAY)
    model, rng = ck.load_model(path), np.random.default_rng(2020)
    days = np.array([1, 3, 7, 14, 21, 28, 42.0])
    rows = [
        pd.DataFrame({"subject": f"S{i}", "day": days, "dose": 1e6,
                      "copies_per_ug": 400 * np.exp(-rng.uniform(0.05, 0.2) * days + 0.3 * rng.normal(size=7))})
        for i in range(20)
    ]  # fmt: skip
    study = ck.read_study(pd.concat(rows), lloq=10.0)
    cases = [
        case for case in prepare_each(Request.of(model, starts=4), study).values() if not isinstance(case, Exception)
    ]
    problems, initial = [case.problem for case in cases], [case.initial for case in cases]
    (in_lanes,) = batch.optima(problems, initial, 4, 1)
    assert len(in_lanes) == 20
    for row, problem in enumerate(problems):
        # The careful way: lmfit from each start, then Newton steps of one curve.
        alone, together = optimise(problem, initial[row], starts=4, seed=1), in_lanes[row]
        assert alone is not None
        assert together is not None
        assert together.converged
        assert together.second.value == pytest.approx(alone.second.value, abs=1e-6)
        spread = np.sqrt(np.diag(np.linalg.inv(-alone.second.hessian)))
        assert np.max(np.abs(alone.x - together.x) / spread) < 1e-4


@pytest.mark.slow
def test_a_refit_that_only_a_stepper_could_solve_is_left_out_where_it_is_not_worth_it():
    model, example = models.load("il15_persistence"), ck.example()
    cases = prepare_each(Request.of(model, starts=1), example.select(["P05"]))
    (problem,) = [case.problem for case in cases.values() if not isinstance(case, Exception)]
    inside = problem.start(problem.values)
    # A growth of thousands a day: no mesh resolves it, and cells beyond all bounds.
    far = inside + 8.0 * (np.array(problem.names) == "rho")
    found = batch.climbed([problem, problem], [inside, far], rescue=False)
    assert found[0] is not None
    assert found[1] is None


class _Seen(Exception):
    """Ends a search where what it was given is known."""


@pytest.mark.parametrize("error", ["combined", "student", "proportional"])
def test_a_large_batch_screens_starts_of_other_errors_on_the_rough_solution_of_their_twins(error, monkeypatch):
    def look(problems, initial, programs, width, starts, seed):
        raise _Seen(problems, programs, width)

    monkeypatch.setattr(batch, "_starts", look)
    study = ck.example().select("P05")
    case = prepare_each(Request.of(models.load("il15_persistence"), error=error), study)["P05"]
    problems, initial = [case.problem] * (engine.LANES + 1), [case.initial] * (engine.LANES + 1)
    with pytest.raises(_Seen) as seen:
        list(batch.optima(problems, initial, 1, 2020))
    twins, programs, width = seen.value.args
    columns = width + len(twins[0].sd)
    for each in (programs, programs.rough):
        assert each.error.least_squares
        assert each.data.moving.shape == each.data.prior_mean.shape == (len(programs.data.moving), columns)
    assert (
        programs.rough.data.inputs.prepared[: programs.rough.method.fineness]
        == (None,) * programs.rough.method.fineness
    )


@pytest.mark.slow
def test_a_search_that_needed_the_implicit_stepper_is_counted_and_said():
    parameters = {
        "F": ck.Parameter(1e-3, "copies/ug per cell/kg", "this test"), "d": ck.Parameter(0.1, "1/day", "this test"),
        "kon": ck.Parameter(2000.0, "1/day", "this test"), "koff": ck.Parameter(500.0, "1/day", "this test"),
    }  # fmt: skip
    model = ck.Model(
        name="binding", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, states=("C", "D"),
        rhs=lambda C, D, d, kon, koff: (-d * C - kon * C + koff * D, kon * C - koff * D),
        observe=lambda C, D: C + D, dosing={"cells": ("C", "F")}, free=("F", "d"),
    )  # fmt: skip
    days, noise = np.array([0.5, 1, 3, 7, 14, 28, 45, 60, 90]), np.random.default_rng(3).normal(size=9)
    table = pd.DataFrame({"subject": "S", "day": days, "copies_per_ug": 1000 * np.exp(-0.02 * days + 0.3 * noise)})
    fit = ck.fit_each(model, ck.read_study(table.assign(dose=1e6), lloq=5), starts=1, progress=False)["S"]
    assert fit.converged
    assert fit.solved_implicitly
    assert "needed the implicit stepper" in fit.summary()


def test_few_problems_among_many_are_differentiated_in_small_blocks_with_the_same_values():
    model = models.load("nk_decline")
    cases = [c for c in prepare_each(Request.of(model), ck.example()).values() if isinstance(c, Case) and not c.reason]
    shape = stacking.shape_of(cases[0].problem)
    cases = [case for case in cases if stacking.shape_of(case.problem) == shape]
    problems = [case.problem for case in cases]
    x = np.zeros((len(problems), shape[1] + 1))
    for row, case in zip(x, cases, strict=True):
        row[stacking.places(case.problem, shape[1])] = case.problem.start(case.initial)
    data = stacking.stacked(problems, shape, engine.LANES)
    few, many = (Programs(model, (), Method.CLOSED_FORM, data, ERRORS[LOG], many=many) for many in (False, True))
    for one, other in zip(few.curvature(x, np.arange(len(x))), many.curvature(x, np.arange(len(x))), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_how_many_are_alike_and_not_the_size_of_a_chunk_decides_by_which_programs_they_are_done(monkeypatch):
    seen = []

    def look(problems, shape, programs, finer, points, whose):
        seen.append((programs.rough is not None, programs._few, len(programs.data.moving)))
        raise _Seen

    monkeypatch.setattr(batch, "_climb", look)
    case = prepare_each(Request.of(models.load("il15_persistence")), ck.example().select("P05"))["P05"]
    for count, chunk in ((engine.LANES + 6, 30), (engine.LANES + 6, 512), (engine.LANES, 30), (engine.LANES, 512)):
        parts = chunks.optima_by(HERE, "fits", [case.problem] * count, [case.initial] * count, 1, 2020, chunk)
        with pytest.raises(_Seen):
            list(parts)
    # Several chunks are begun before the first is seen to have ended.
    assert set(seen) == {(True, False, engine.LANES), (True, False, 512), (False, True, engine.LANES)}


def test_who_goes_on_one_by_one_after_the_batch_is_counted_and_said(monkeypatch):
    gone = []

    def counted(problem, *given, **options):
        gone.append(problem)
        return newton(problem, *given, **options)

    monkeypatch.setattr(batch, "newton", counted)
    # The two phases of P07 end exchanged.
    fits = ck.fit_each(models.load("nk_decline"), ck.example().select(["P06", "P07"]), starts=1, progress=False)
    assert gone[0] is fits["P07"].problem
    assert [fit.one_by_one for fit in fits.values()] == [0, 1]
    assert "1 subject went on one by one after the batch" in fits.summary()
    assert "went on by Newton steps one by one" in fits["P07"].summary()
    assert "one by one" not in fits["P06"].summary()
