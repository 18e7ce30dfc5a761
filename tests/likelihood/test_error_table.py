"""What every error model of the table must hold, a new one too: none is named here but to be counted."""

import ast
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cellkinetics as ck
from cellkinetics.likelihood import censoring
from cellkinetics.likelihood.censoring import Rows
from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.likelihood.error_models import ERRORS, LOG, of
from cellkinetics.likelihood.errors_on_ln import Student

INF = np.inf
G = np.array([3.0, 4.6, 5.5, 4.0, 5.0, 4.4, 2.0])
LOWER, UPPER = np.array([4.6, 4.6, 4.6, -INF, 4.2, 4.1, 1.0]), np.array([4.6, 4.6, 4.6, 4.1, INF, 4.6, 1.0])
# The last is padding.
ROWS = Rows(LOWER, UPPER, np.array([1.0] * 6 + [0.0]), np.full(7, 0.3))
EACH = list(dict.fromkeys(of(name, censoring) for name in ERRORS for censoring in ("m3", "m4")))


def classes(of):
    for one in of.__subclasses__():
        yield from classes(one)
        if one.__module__.startswith("cellkinetics.") and not one.__abstractmethods__:
            yield one


def ln_sd(error):
    return jnp.tile(jnp.log(jnp.linspace(0.6, 0.4, len(error.parts)))[:, None], (1, len(G)))


def test_the_table_has_every_error_model_of_the_package_once():
    rough = {type(error.rough) for error in ERRORS.values() if error.rough is not None}
    assert {type(error) for error in ERRORS.values()} | rough == set(classes(ErrorModel))
    assert [error.name for error in ERRORS.values()] == list(ERRORS)
    assert list(ERRORS) == ["log", "proportional", "combined", "student", "counting"]
    assert len({error.words for error in ERRORS.values()}) == len(ERRORS)
    assert all(error.parts for error in ERRORS.values())
    assert [name for name, error in ERRORS.items() if error.least_squares] == [LOG]


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"^error='laplace': take one of log, proportional, combined, student, coun"):
        of("laplace", "m3")


def test_m4_changes_a_normal_error_on_the_scale_of_copies_alone():
    for name, error in ERRORS.items():
        assert of(name, "m3") == of(name, "half") == of(name, "drop") == error
        assert of(name, "m4").given_positive == error.natural
        assert (of(name, "m4") == error) == (not error.natural)


ASKED = (
    "name", "parts", "words", "at_bound", "sd_unit", "needs_mass", "least_squares", "natural",
    "under", "log_density", "residuals", "root_of_residual", "information", "drawn",
)  # fmt: skip


@pytest.mark.parametrize("forgotten", ASKED)
def test_a_class_that_forgets_something_is_refused_where_it_is_defined(forgotten):
    own = {name: getattr(Student, name) for name in ASKED if name != forgotten}
    with pytest.raises(TypeError, match=rf"^the error model Forgetful does not say {forgotten}\.$"):
        type(ErrorModel)("Forgetful", (ErrorModel,), own)


def test_a_class_that_says_everything_is_taken_and_nothing_else_is_asked():
    whole = type(ErrorModel)("Whole", (ErrorModel,), {name: getattr(Student, name) for name in ASKED})
    assert whole().name == "student"
    with pytest.raises(TypeError) as refusal:
        type(ErrorModel)("Nothing", (ErrorModel,), {})
    assert set(str(refusal.value).partition("does not say ")[2].rstrip(".").split(", ")) == set(ASKED)


def test_a_class_with_several_parts_has_words_for_each_of_them():
    own = {name: getattr(Student, name) for name in ASKED} | {"parts": ("sd_add", "sd_prop")}
    with pytest.raises(TypeError, match="does not say none_shown of each part"):
        type(ErrorModel)("Forgetful", (ErrorModel,), own | {"none_shown": ("one",)})
    shown = [text.format(name="sd_prop") for text in of("combined").none_shown]
    assert shown[0].startswith("these samples show no additive part. Take error='proportional', which")
    assert shown[1].startswith("these samples show no proportional part. Fix it (fixed={'sd_prop': 0}), which")


def test_no_file_outside_the_likelihood_knows_an_error_model_by_its_name():
    others = [path for path in Path(ck.__file__).parent.rglob("*.py") if path.parent.name != "likelihood"]
    # "log" is also a scale of parameters, an axis and a rule for areas.
    names = set(ERRORS) - {LOG}
    told = {
        (path.name, node.value)
        for path in others
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    }
    assert told == set()


@pytest.mark.parametrize("error", EACH, ids=repr)
def test_error_models_are_static_arguments_of_compiled_functions(error):
    @dataclass(frozen=True)
    class Other(type(error)):
        words: ClassVar[str] = "another"

    twin = type(error)(**{field.name: getattr(error, field.name) for field in fields(error)})
    assert (twin, hash(twin)) == (error, hash(error))
    assert Other() != error
    compiled = jax.jit(lambda error, *given: error.log_density(*given), static_argnums=0)
    np.testing.assert_allclose(compiled(error, G, ln_sd(error), ROWS), error.log_density(G, ln_sd(error), ROWS))
    compiled(twin, G, ln_sd(error), ROWS)
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("error", EACH, ids=repr)
def test_derivatives_are_those_of_the_log_density(error):
    point = jnp.concatenate([jnp.asarray(G)[None], ln_sd(error)])
    value, slopes, second = error.derivatives(point[0], point[1:], ROWS)

    def total(point):
        return jnp.sum(error.log_density(point[0], point[1:], ROWS))

    def one(point, row):
        return error.log_density(point[:1], point[1:, None], Rows(*(part[None] for part in row)))[0]

    np.testing.assert_allclose(value, error.log_density(point[0], point[1:], ROWS), rtol=1e-13)
    np.testing.assert_allclose(slopes, jax.grad(total)(point), rtol=1e-10, atol=1e-13)
    each = jax.vmap(jax.hessian(one), in_axes=(1, 0), out_axes=-1)
    np.testing.assert_allclose(second, each(point, Rows(*map(jnp.asarray, ROWS))), rtol=1e-9, atol=1e-12)
    assert value[-1] == 0
    assert not np.any(np.asarray(slopes)[:, -1])


@pytest.mark.parametrize("error", EACH, ids=repr)
def test_root_deviances_are_those_of_residuals_and_of_probabilities(error):
    roots, value, residuals = (
        np.asarray(each(G, ln_sd(error), ROWS)) for each in (error.root_deviances, error.log_density, error.residuals)
    )
    np.testing.assert_allclose(roots[:3], error.root_of_residual(residuals[:3]), rtol=1e-12)
    np.testing.assert_array_equal(np.sign(residuals[:3]), np.sign((LOWER - G)[:3]))
    np.testing.assert_allclose(roots[3:6] ** 2, -2 * value[3:6], rtol=1e-9)
    np.testing.assert_array_equal(residuals[3:6], 0.0)
    assert roots[6] == 0


@pytest.mark.parametrize("error", EACH, ids=repr)
def test_probabilities_below_and_above_a_limit_add_up_to_one(error):
    whole = Rows(np.full(7, -INF), np.full(7, INF), np.ones(7), ROWS.mass)
    both = (whole._replace(upper=np.full(7, 4.1)), whole._replace(lower=np.full(7, 4.1)))
    below, above = (np.exp(error.log_density(G, ln_sd(error), rows)) for rows in both)
    np.testing.assert_allclose(below + above, 1.0, atol=1e-9)


@pytest.mark.parametrize("error", EACH, ids=repr)
def test_what_is_fitted_by_least_squares_has_the_likelihood_that_the_engine_climbs(error):
    found = error.log_density(G, ln_sd(error), ROWS)
    log_normal = censoring.log_density(jnp.asarray(G), jnp.exp(ln_sd(error)[-1]), ROWS)
    assert np.allclose(found, log_normal, rtol=1e-12) == error.least_squares


@pytest.mark.parametrize("error", EACH, ids=repr)
def test_sds_names_floors_and_starts_have_the_same_order(error):
    outputs = ["blood", "marrow"]
    names, additive = error.sd_names(outputs), error.additive(2)
    assert error.sd_names(["blood"]) == list(error.parts)
    assert names == [f"{part}_{output}" for part in error.parts for output in outputs]
    assert list(additive) == [name.startswith("sd_add") for name in names]
    floors = error.ln_sd_floors(2, 60.0)
    np.testing.assert_allclose(np.exp(floors), np.where(additive, 0.06, 0.01))
    for start in error.ln_sd_starts(np.log([0.5, 0.3]), 60.0):
        assert start.shape == floors.shape
        assert np.all(start > floors)
