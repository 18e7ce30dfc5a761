"""`ck.fit(shared=...)`: one censored likelihood of several patients."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.stats import norm

import cellkinetics as ck
from cellkinetics.joint import fitting as joint_fitting
from cellkinetics.joint.evaluation import Batched, Second
from cellkinetics.joint.search import evaluated
from cellkinetics.optimising.request import Request


@pytest.fixture(scope="module")
def study(cohorts):
    return cohorts()


@pytest.fixture(scope="module")
def joint(loss, study):
    return ck.fit(loss, study, shared=["k"])


def log_likelihood(study, values_of):
    """Of ln(copies), with scipy: (F, k, sd) of each subject."""
    total = 0.0
    dose = study.covariates["dose"]
    for subject, rows in study.used.groupby("subject"):
        F, k, sd = values_of(subject)
        ln_f = np.log(F * dose[subject]) - k * rows["day"].to_numpy()
        seen = (rows["lower"] == rows["upper"]).to_numpy()
        upper = np.log(rows["upper"].to_numpy())
        total += norm.logpdf(upper[seen], ln_f[seen], sd).sum() + norm.logcdf((upper[~seen] - ln_f[~seen]) / sd).sum()
    return total


@pytest.mark.slow
def test_nothing_shared_and_an_sd_each_is_a_fit_each(loss, study):
    each, together = ck.fit_each(loss, study, progress=False), ck.fit(loss, study, shared=[], common_sd=False)
    assert together.status is ck.Status.CONVERGED
    for subject in study.subjects:
        if each[subject].problem.few:
            # The prior of an sd of few samples is told how much they determine in fits of one patient alone.
            continue
        alone, part = each[subject], together[subject]
        np.testing.assert_allclose(part.x, alone.x, atol=1e-6)
        columns = ["stderr", "lower", "upper"]
        found, expected = part.parameters[columns].to_numpy(float), alone.parameters[columns].to_numpy(float)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert part.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-8)
    assert together.log_likelihood == pytest.approx(sum(fit.log_likelihood for fit in together.each.values()), abs=1e-8)
    assert together.n_free == sum(fit.n_free for fit in each.values())


@pytest.mark.parametrize("prior", [None, {"k": ck.LogNormal(0.5, 0.05)}])
def test_everything_shared_is_the_maximum_of_the_summed_likelihood(loss, study, prior):
    fit = ck.fit(loss, study, shared=["F", "k"], prior=prior)

    def minus(x):
        prior_term = 0.0 if prior is None else 0.5 * ((x[1] - np.log(0.5)) / 0.05) ** 2
        return prior_term - log_likelihood(study, lambda subject: np.exp(x))

    found = minimize(minus, [-7.0, -1.0, -1.0], method="BFGS", options={"gtol": 1e-7})
    table = fit.parameters.set_index("parameter")["value"]
    # The table has the sd corrected for what the curve used up.
    by_likelihood = table[["F", "k", "sd"]].to_numpy(float) / [1, 1, fit.inflation]
    np.testing.assert_allclose(np.log(by_likelihood), found.x, atol=2e-6)
    assert fit.log_likelihood_ln == pytest.approx(log_likelihood(study, lambda subject: np.exp(fit.s)), abs=1e-6)
    assert np.isnan(fit.aic) == (prior is not None)


def test_a_joint_fit_is_the_maximum_of_the_summed_likelihood(study, joint):
    """Shared k and sd, F of each patient: 13 values."""
    subjects = {subject: i for i, subject in enumerate(study.subjects)}

    def minus(x):
        return -log_likelihood(study, lambda subject: np.exp([x[2 + subjects[subject]], x[0], x[1]]))

    start = np.r_[np.log([0.3, 0.3]), np.full(len(subjects), np.log(1e-3))]
    found = minimize(minus, start, method="BFGS", options={"gtol": 1e-6})
    table = joint.parameters
    shared = table[table["subject"] == "all"].set_index("parameter")["value"]
    own = table[table["parameter"] == "F"].set_index("subject")["value"][list(subjects)]
    ours = np.log(np.r_[shared["k"], shared["sd"] / joint.inflation, own])
    np.testing.assert_allclose(ours, found.x, atol=1e-5)
    assert joint.outcome == "converged" and joint.n_free == 13


def problem_of(loss, study, shared):
    request = Request.of(loss, starts=2, seed=1)
    found = joint_fitting.members(request, study, shared, True)
    patients = Batched(found.problems)
    return found, patients, joint_fitting.joint_of(found, patients)


@pytest.mark.parametrize("shared", [{"k": "dose"}, {"k": "cohort", "F": "all"}, {}])
def test_gradient_against_finite_differences(loss, study, shared):
    found, patients, joint = problem_of(loss, study, shared)
    s, u = joint_fitting.starting(found, joint, patients)
    s, u = s[:1] + 0.1, u[:1]
    weight = np.ones((1, len(joint.problems)))
    _, blocks, *_ = evaluated(joint.layout, patients, s, u, weight)
    own = joint.layout.own[0] > 0

    def value(x):
        moved = u.copy()
        moved[0][own] = x[s.size :]
        return evaluated(joint.layout, patients, x[None, : s.size], moved, weight)[0][0]

    x = np.r_[s[0], u[0][own]]
    central = [(value(x + step) - value(x - step)) / 2e-6 for step in 1e-6 * np.eye(len(x))]
    np.testing.assert_allclose(np.r_[blocks.shared_gradient[0], blocks.own_gradient[0][own]], central, atol=1e-5)


def test_standard_errors_are_those_of_the_dense_hessian(study, joint):
    """By finite differences of scipy's likelihood; the small-sample factor taken out."""
    subjects = {subject: i for i, subject in enumerate(study.subjects)}
    own = [joint[subject].parameters.loc["F", "value"] for subject in subjects]
    x = np.r_[joint.s, np.log(own)]

    def gradient(x):
        return approx_fprime(
            x, lambda x: -log_likelihood(study, lambda name: np.exp([x[2 + subjects[name]], x[0], x[1]])), 1e-6
        )

    hessian = np.array([(gradient(x + step) - gradient(x - step)) / 2e-3 for step in 1e-3 * np.eye(len(x))])
    covariance = np.linalg.inv(0.5 * (hessian + hessian.T)) * joint.inflation**2
    np.testing.assert_allclose(joint.covariance, covariance[:2, :2], rtol=2e-3)
    patient = joint[study.subjects[4]]
    # Its free vector is F, k, ln sd.
    np.testing.assert_allclose(patient.covariance, covariance[np.ix_([6, 0, 1], [6, 0, 1])], rtol=2e-3, atol=1e-8)


def one_by_one(problems, batched, x, exact):
    value, gradient = np.zeros(len(x)), np.zeros_like(x)
    curved = np.zeros((*x.shape, x.shape[1]))
    for row, problem in enumerate(problems):
        keep = batched.places(row)
        at = (problem.second_order if exact else problem.first_order)(x[row][keep])
        value[row], gradient[row, keep], curved[row][np.ix_(keep, keep)] = at.value, at.gradient, -at.hessian
    return Second(value, gradient, curved, np.zeros(0), np.ones(len(x), bool))


def test_the_engine_and_the_problems_say_the_same(loss, study):
    _, batched, joint = problem_of(loss, study, {"k": "all"})
    x = joint.layout.x(np.array([[-1.3, -1.2]]), joint.layout.offset - 0.2)[0]
    x = np.where(joint.layout.own[0] > 0, np.log(1.2e-3), x)
    whose = np.arange(len(x))
    for ours, exact in ((batched.score, False), (batched.second, True)):
        for one, other in zip(ours(x, whose)[:3], one_by_one(joint.problems, batched, x, exact)[:3], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_a_model_that_is_integrated_is_fitted_as_its_closed_form(loss, integrated, cohorts):
    few = cohorts(doses={"1e6": [1e6] * 3}, lloq=None)
    found, closed = (ck.fit(model, few, shared=["k"], starts=1) for model in (integrated, loss))
    assert found.outcome == "converged"
    assert found.log_likelihood == pytest.approx(closed.log_likelihood, abs=1e-4)
    np.testing.assert_allclose(found.s, closed.s, atol=1e-4)


def test_values_by_cohort_are_those_of_each_cohort_alone(loss, study):
    together = ck.fit(loss, study, shared={"F": "cohort", "k": "cohort"}, fixed={"sd": 0.35})
    names = ["1e5", "1e6", "1e7"]
    alone = [ck.fit(loss, study.select(cohort=cohort), shared=["F", "k"], fixed={"sd": 0.35}) for cohort in names]
    assert together.log_likelihood == pytest.approx(sum(fit.log_likelihood for fit in alone), abs=1e-7)
    table = together.parameters.set_index(["parameter", "subject"])["value"]
    for cohort, fit in zip(names, alone, strict=True):
        assert table["k", f"cohort {cohort}"] == pytest.approx(np.exp(fit.s[1]), rel=1e-6)


def test_a_parameter_driven_by_dose_is_a_power_of_it(loss, cohorts):
    study = cohorts(exponent=-0.2, between=0.0)
    fit = ck.fit(loss, study, shared={"k": "dose"})
    table = fit.parameters.set_index(["parameter", "subject"])
    value, lower, upper = (table[column]["dose exponent of k", "all"] for column in ("value", "lower", "upper"))
    assert lower < -0.2 < upper < 0
    for subject, dose in study.covariates["dose"].items():
        expected = table["value"]["k", "all"] * (dose / fit.reference_dose) ** value
        assert table["value"]["k", subject] == pytest.approx(expected, rel=1e-9)
        assert table["status"]["k", subject] == "driven by dose"


def test_a_switch_on_a_sampled_day_is_an_optimum():
    """The likelihood has a corner there: one-sided slopes, not Newton steps, say that it is the top."""

    def peak(t, t_max, c, a):
        return c * jnp.exp(a * jnp.minimum(t - t_max, 0.0) - 0.3 * jnp.maximum(t - t_max, 0.0))

    parameters = {
        "t_max": ck.Parameter(6.0, "day", "this test", max=30.0),
        "c": ck.Parameter(1e4, "copies/ug", "this test"),
        "a": ck.Parameter(1.0, "1/day", "this test"),
    }
    model = ck.Model(name="peak", parameters=parameters, outputs={"copies_per_ug": "copies/ug"}, curve=peak,
                     corners=("t_max",))  # fmt: skip
    rng, days, tables = np.random.default_rng(3), np.arange(1.0, 15.0), []
    for number in range(8):
        top = 6 * np.exp(0.2 * rng.normal())
        copies = np.asarray(peak(days, top, 1e4, 1.0)) * np.exp(0.3 * rng.normal(size=14))
        # A high sample beside the peak draws the switch onto its day.
        copies[np.argmin(np.abs(days - top))] *= 3
        tables.append(pd.DataFrame({"subject": f"P{number}", "day": days, "copies_per_ug": copies}))
    fit = ck.fit(model, ck.read_study(pd.concat(tables), lloq=1.0), shared=["c", "a"])
    assert fit.outcome == "converged"
    on_a_day = 0
    for subject in fit.subjects:
        own, problem = fit[subject].x[0], fit[subject].problem
        on_a_day += np.min(np.abs(np.exp(own) - days)) < 1e-9

        def part(x, subject=subject, problem=problem):
            return problem.log_likelihood(np.r_[x, fit[subject].x[1:]])

        assert all(part(own + move) <= part(own) + 1e-9 for move in (-1e-3, -1e-5, 1e-5, 1e-3))
    assert on_a_day


def test_ties_hold_in_every_patient(loss, study):
    fit = ck.fit(loss, study, shared=["k"], tie={"F": lambda k: 3e-3 * k})
    for subject in study.subjects:
        values = fit[subject].parameters["value"]
        assert values["F"] == pytest.approx(3e-3 * values["k"])
    assert fit.n_free == 2


def test_patients_without_a_quantified_sample(loss, cohorts):
    """With parameters of their own they are left out; where everything is shared they say how low they are."""
    study = cohorts(doses={"1e3": [1e3] * 2, "1e6": [1e6] * 3})
    fit = ck.fit(loss, study, shared=["k"])
    assert set(fit.left_out) == {"P00", "P01"}
    assert "no quantified sample: all 8" in fit.left_out["P00"] and "P00" in fit.summary()
    with pytest.raises(KeyError, match=r"'P00' is not in the joint fit\. no quantified sample"):
        fit["P00"]
    everything = ck.fit(loss, study, shared=["F", "k"])
    assert everything.subjects == study.subjects and everything.n_censored > 15


def test_a_shared_value_at_its_bound_is_said(loss, cohorts):
    flat = cohorts(between=0.0).select(cohort="1e6")
    fit = ck.fit(loss.with_(bounds={"k": (0.6, 5.0)}, values={"k": 1.0}), flat, shared=["k"])
    # The bound is far from the samples: what they say comes first.
    assert fit.outcome.startswith("the curves of 4 of 4 miss the samples: ")
    assert "After that: at a bound: k (shared)" in fit.outcome
    assert fit.parameters.set_index("parameter").loc["k", "status"] == "at bound"


def test_counts_criteria_and_words(loss, study, joint):
    used = study.used
    assert joint.n == len(used) == joint.n_quantified + joint.n_censored
    assert joint.n_quantified == (used["status"] == "quantified").sum()
    assert joint.aic == pytest.approx(2 * 13 - 2 * joint.log_likelihood)
    assert joint.bic == pytest.approx(13 * np.log(joint.n) - 2 * joint.log_likelihood)
    assert joint.log_likelihood_ln - joint.log_likelihood == pytest.approx(
        np.log(used.loc[used["status"] == "quantified", "lower"]).sum()
    )
    text = " ".join(joint.summary().split())
    assert "shared k; one residual sd for all" in text and "11 subjects in one fit" in text
    assert "knows of no difference between patients" in text
    assert repr(joint) == "<JointFit of 11 subjects, loss, shared: k: converged>"


def test_curves_and_residuals_of_all_subjects(study, joint):
    curves = joint.predict([1.0, 7.0])
    assert list(curves["subject"]) == [subject for subject in study.subjects for _ in range(2)]
    assert (curves["copies_per_ug_lower"] < curves["copies_per_ug"]).all()
    residuals = joint.residuals
    seen = residuals["status"] == "quantified"
    shared = joint.parameters.set_index("parameter").loc["sd", "value"]
    assert len(residuals) == joint.n and shared == pytest.approx(
        np.sqrt((residuals.loc[seen, "residual"] ** 2).mean()) * shared, rel=0.1
    )
    assert len(joint.plot().axes) >= 11 and joint.plot("P03").get_yscale() == "log"


def test_what_refits_a_patient_of_a_joint_fit_is_refused_with_the_values_to_hold(loss, study, joint):
    one, alone = joint["P03"], ck.fit(loss, study.select(subjects=["P03"]))
    refits = [
        one.influence, one.profile, one.identifiability, one.bootstrap, lambda: one.lmfit,
        lambda: ck.compare_models([one, alone]), lambda: one.intervals("profile"),
    ]  # fmt: skip
    said = set()
    for refit in refits:
        with pytest.raises(ValueError, match=r"P03 would free k, sd, which a joint fit shares") as refused:
            refit()
        said.add(str(refused.value).split("Hold them, ")[1].split(", and ask that fit")[0])
    (call,) = said
    held = eval(call.replace("model", "loss", 1), {"ck": ck, "loss": loss, "study": study})
    days = [1.0, 5.0]
    np.testing.assert_allclose(held.predict(days)["copies_per_ug"], one.predict(days)["copies_per_ug"], rtol=1e-4)
    # At an optimum a sample shifts F by no more than its own part: the shifts about cancel.
    assert np.abs(held.influence()["F"]).max() < 1.5
    assert np.isfinite(held.identifiability().parameters.loc["F", "se"])


def test_a_patient_of_a_joint_fit_that_shares_nothing_is_a_fit_of_its_own(loss, study):
    one = ck.fit(loss, study, shared=[], common_sd=False)["P03"]
    alone = ck.fit(loss, study.select(subjects=["P03"]))
    pd.testing.assert_frame_equal(one.influence(), alone.influence(), atol=1e-4)


def test_a_joint_fit_is_read_back_as_it_was(study, tmp_path):
    decline = ck.models.load("nk_decline").with_(fixed={"f_b": 0.05, "beta": 0.2}, free=("F", "alpha"))
    fit = ck.fit(decline, study, shared={"alpha": "dose"}, starts=1)
    fit.save(tmp_path / "joint.json")
    again = ck.load(tmp_path / "joint.json")
    assert isinstance(again, ck.JointFit)
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    assert (repr(again), again.aic, again.summary()) == (repr(fit), fit.aic, fit.summary())
    pd.testing.assert_frame_equal(again.predict([1.0, 5.0]), fit.predict([1.0, 5.0]))
    assert again["P03"].shared == fit["P03"].shared == ("alpha", "sd")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shared": ["kk"]}, "has no parameter kk"),
        ({"shared": {"k": "weight"}}, "take one of all, .*dose"),
        ({"shared": ["k"], "fixed": {"k": 0.3}}, "k is shared and fixed"),
        ({"shared": {"k": "dose"}, "doses": 1e6}, None),
    ],
)
def test_what_cannot_be_shared_is_said(loss, study, options, text):
    if text is None:
        assert ck.fit(loss, study, **options).n_free == 14
        return
    with pytest.raises(ck.ModelError, match=text):
        ck.fit(loss, study, **options)


def test_one_dose_cannot_drive(loss, study):
    with pytest.raises(ck.ModelError, match="every patient has the same dose"):
        ck.fit(loss, study.select(cohort="1e6"), shared={"k": "dose"})


def test_nobody_can_take_part(loss, cohorts, study):
    nothing = cohorts(doses={"1e3": [1e3] * 2})
    with pytest.raises(ck.StudyError, match="nobody can take part in the joint fit"):
        ck.fit(loss, nothing, shared=["k"])


def test_several_subjects_without_shared_are_refused(loss, study):
    with pytest.raises(ck.StudyError, match="or shared= for a joint fit"):
        ck.fit(loss, study)


@pytest.mark.slow
def test_a_shared_mu0_is_recovered_better_than_individual_ones():
    """Eleven patients of il15_persistence who share mu0 = 0.25 and differ in F, rho, r and N."""
    model, days = ck.models.load("il15_persistence"), [0.1, 3, 7, 10, 14, 21, 28, 60, 90, 180, 270, 365]
    rng, tables = np.random.default_rng(2020), []
    for number, dose in enumerate([1e5] * 3 + [1e6] * 4 + [1e7] * 4):
        values = {n: v * np.exp(s * rng.normal()) for n, v, s in (("F", 4e-4, 0.5), ("rho", 1.6, 0.1), ("r", 0.4, 0.1))}
        values["N"] = 150 * np.exp(0.3 * rng.normal())
        copies = np.asarray(model.solve(days, values, dose)["copies_per_ug"]) * np.exp(0.5 * rng.normal(size=len(days)))
        tables.append(pd.DataFrame({"subject": f"P{number:02d}", "day": days, "copies_per_ug": copies, "dose": dose}))
    study = ck.read_study(pd.concat(tables), lloq=3.0)
    each, joint = ck.fit_each(model, study, progress=False), ck.fit(model, study, shared=["mu0"])
    alone = np.log([fit.parameters.loc["mu0", "value"] / 0.25 for fit in each.values() if fit.converged])
    row = joint.parameters.set_index("parameter").loc["mu0"]
    assert joint.converged and row["lower"] < 0.25 < row["upper"]
    assert abs(np.log(row["value"] / 0.25)) < 0.5 * np.sqrt(np.mean(alone**2))


def test_a_patient_of_a_joint_fit_lies_in_the_basin_that_is_best_beside_the_others():
    # Simulated as in the table of optima, study 7: before, S2 was better off by 0.8 with another switch day.
    model, days = ck.models.load("stein_2019_tisagenlecleucel"), np.array(
        [1, 3, 5, 7, 10, 14, 21, 28, 45, 60, 90, 120, 180, 270, 365.0]
    )  # fmt: skip
    spread = {"fold": 0.8, "t_max": 0.2, "c_max": 0.65, "alpha": 0.4, "f_b": 0.5, "beta": 0.5}
    rng, tables = np.random.default_rng([2026, 7]), []
    for number in range(8):
        drawn = {
            name: float(
                np.clip(p.from_estimation(p.to_estimation(p.value) + spread[name] * rng.normal()), p.min, p.max)
            )
            for name, p in model.parameters.items()
        }
        copies = np.asarray(model.solve(days, drawn)["copies_per_ug"]) * np.exp(0.5 * rng.normal(size=15))
        tables.append(pd.DataFrame({"subject": f"S{number}", "day": days, "copies_per_ug": copies}))
    table = pd.concat(tables)
    fit = ck.fit(model, ck.read_study(table, lloq=float(table["copies_per_ug"].min() / 2)), shared=["alpha", "beta"])
    free = fit["S0"].problem.free
    shared = [free.index(name) for name in ("alpha", "beta")] + [len(free)]
    # Beside the shared values no patient is better off with another switch day, others refitted by scipy.
    for one in fit.each.values():
        own = [at for at in range(len(one.x)) if at not in (*shared, free.index("t_max"))]
        here, bounds = one.problem.objective(one.x), np.array(one.problem.bounds).T

        def best_at(day, one=one, own=own, bounds=bounds):
            def minus(v):
                x = one.x.copy()
                x[free.index("t_max")], x[own] = np.log(day), v
                return -one.problem.objective(x)

            return -minimize(minus, one.x[own], method="L-BFGS-B", bounds=bounds[own]).fun

        assert max(best_at(day) for day in (6.0, 8.5, 9.5, 10.5, 12.0, 15.0)) < here + 1e-3, one.subject
