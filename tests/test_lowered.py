"""Programs are kept as they are handed to the compiler, under names that mean the same in every process."""

import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

from cellkinetics import models, sameness
from cellkinetics.likelihood.error_models import ERRORS
from cellkinetics.lowered import Program

FIT = """
import jax
import cellkinetics as ck
traced = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **more: traced.append(seconds) if event.endswith("jaxpr_trace_duration") else None
)
fit = ck.fit(ck.models.load("nk_decline"), ck.example().select("P01"))
print(sum(traced), *(value.hex() for value in fit.parameters["value"]))
"""


def fitted(folder):
    """Seconds of tracing, and the estimates to the last bit, of a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "CELLKINETICS_"))}
    given = kept | {"CELLKINETICS_CACHE": str(folder), "MPLCONFIGDIR": matplotlib.get_configdir()}
    run = subprocess.run([sys.executable, "-c", FIT], env=given, check=True, capture_output=True, text=True)
    seconds, *values = run.stdout.split()
    return float(seconds), values


def test_a_second_process_traces_nothing_and_gives_the_same_bits_and_mends_what_was_damaged(tmp_path):
    first, values = fitted(tmp_path)
    kept = sorted(tmp_path.glob("*.lowered"))
    assert kept
    kept[0].write_text(kept[0].read_text()[:1000])
    second, again = fitted(tmp_path)
    assert again == values
    assert second < first
    assert sorted(tmp_path.glob("*.lowered")) == kept
    assert all(json.loads(path.read_text())["program"] for path in kept)
    third, once_more = fitted(tmp_path)
    assert once_more == values
    assert third < 0.2 * first


def test_every_model_and_error_model_of_the_library_has_a_lasting_name():
    names = {sameness.lasting(sameness.made_of(models.load(name))) for name in models.names()}
    assert None not in names
    assert len(names) == len(models.names())
    errors = {sameness.lasting(sameness.made_of(error)) for error in ERRORS.values()}
    assert None not in errors
    assert len(errors) == len(ERRORS)


def test_a_name_tells_apart_what_a_program_would_be_made_of():
    def scaled(by):
        return lambda x: by * jnp.log(x)

    named = {text: sameness.lasting(sameness.made_of(function)) for text, function in (
        ("2", scaled(2.0)), ("2 again", scaled(2.0)), ("3", scaled(3.0)), ("exp", lambda x: 2.0 * jnp.exp(x)),
    )}  # fmt: skip
    assert named["2"] == named["2 again"]
    assert len({named["2"], named["3"], named["exp"]}) == 3
    assert None not in named.values()


def test_what_may_be_another_thing_tomorrow_has_no_lasting_name():
    class Own:
        def __call__(self, x):
            return x

    assert sameness.lasting(sameness.made_of(Own())) is None
    assert sameness.lasting(sameness.made_of(lambda x: Own()(x))) is None
    assert sameness.lasting(sameness.made_of(pytest)) is None
    assert sameness.lasting(sameness.made_of(math.log)) is not None


def test_a_program_of_an_own_class_runs_without_being_kept(tmp_path):
    program = Program(lambda x: jnp.exp(x))
    program.known_as, program.folder = sameness.made_of(Program), tmp_path
    kept = Program(lambda x: jnp.exp(x))
    kept.known_as, kept.folder = sameness.Itself(object()), tmp_path
    assert kept(1.0) == program(1.0) == pytest.approx(math.e)
    assert len(list(tmp_path.glob("*.lowered"))) == 1


def test_inside_another_program_it_is_a_function_as_any(tmp_path):
    program = Program(lambda x: x**3)
    program.known_as, program.folder = "cube", tmp_path
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(program)))(jnp.array([1.0, 2.0])), [3.0, 12.0])
    assert not list(tmp_path.glob("*.lowered"))
    assert program(2.0) == 8.0
    assert program(np.array([2.0, 3.0]))[1] == 27.0
    assert len(list(tmp_path.glob("*.lowered"))) == 2


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7, 0.9])
def test_a_file_with_one_bit_changed_is_written_anew(tmp_path, part):
    def program():
        made = Program(lambda x: 1.5 * jnp.sin(x) + 2.25)
        made.known_as, made.folder = "sine", tmp_path
        return made

    whole = program()(1.0)
    (path,) = tmp_path.glob("*.lowered")
    written = path.read_bytes()
    damaged = bytearray(written)
    damaged[int(part * len(written))] ^= 1
    path.write_bytes(damaged)
    assert program()(1.0) == whole
    assert path.read_bytes() != bytes(damaged)
    assert program()(1.0) == whole


def test_another_shape_or_kind_of_number_is_another_program(tmp_path):
    program = Program(lambda x: x / 2)
    program.known_as, program.folder = "half", tmp_path
    assert program(3) == 1.5
    assert program(3.0) == 1.5
    assert program(np.float32(3.0)).dtype == np.float32
    assert len(list(tmp_path.glob("*.lowered"))) == 3
