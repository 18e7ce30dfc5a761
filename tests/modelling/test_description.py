"""Model.describe: what a reader finds in the text and in the Markdown."""

import re

import jax.numpy as jnp
import pytest

from cellkinetics import Check, Model, Parameter, models

STEIN, IL15, NK = (models.load(n) for n in ("stein_2019_tisagenlecleucel", "il15_persistence", "nk_decline"))


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("markdown", [False, True])
def test_every_parameter_is_there_with_default_unit_and_source(name, markdown):
    model = models.load(name)
    lines = model.describe(markdown=markdown).splitlines()
    for key, parameter in model.parameters.items():
        (row,) = [line for line in lines if re.match(rf"^(\| )?{re.escape(key)}( \||\s\s)", line)]
        for cell in (f"{parameter.value:g}", parameter.unit, parameter.source):
            assert cell in row, (key, cell)


def test_the_text_opens_with_the_name_and_gives_what_is_given_observed_and_free():
    text = IL15.describe()
    assert text.startswith("il15_persistence\n================\n")
    for line in (
        "Reference: ours; calibrated to doi:10.1056/NEJMoa1910607.",
        "Observed: copies_per_ug (copies/ug).",
        "States: D, E, M, X.",
        "Given: cells, rimiducid, lymphodepletion.",
        "Solved by: the structure of its equations, with the adaptive steppers where that may not be trusted.",
    ):
        assert line in text.splitlines(), line
    assert "Free by default: depends on the study" in text


def test_a_model_that_ignores_doses_says_so_and_one_without_a_unit_of_its_own_too():
    text = STEIN.describe()
    assert "Given: nothing: doses of the study are ignored." in text
    assert "or the unit of the study" in text
    assert "Solved by: closed form." in text


def test_fixed_and_tied_parameters_are_not_listed_as_free():
    text = NK.with_(free=["F", "alpha"], fixed={"f_b": 0.1}, tie={"beta": lambda alpha: alpha / 10}).describe()
    assert "Free by default: F, alpha." in text
    assert "Tied: beta." in text
    assert "given by the user" in text


def test_a_simulator_says_what_it_is_for():
    assert "Meant for simulation" in models.load("kimmel_2021_axi_cel").describe()


def test_published_numbers_stand_beside_recomputed_ones():
    model = Model(
        name="halving",
        parameters={"k": Parameter(0.1, "1/day", "Table 1", between="SD 0.4 on the ln scale")},
        outputs={"c": "copies/ug"},
        curve=lambda t, k: jnp.exp(-k * t),
        inputs={"leukocytes": "1e9/L"},
        checks=(Check("half-life", 7.0, "day", lambda m: float(jnp.log(2) / m.values()["k"]), 0.02, "abstract"),),
    )
    text, markdown = model.describe(), model.describe(markdown=True)
    assert re.search(r"^half-life +7 +6\.931 +day +0\.02 +abstract$", text, re.MULTILINE)
    assert "| half-life | 7 | 6.931 | day | 0.02 | abstract |" in markdown
    assert "SD 0.4 on the ln scale" in text
    assert "Covariates over time: leukocytes (1e9/L)." in text
    halved = model.with_(values={"k": 0.2})
    assert re.search(r"^half-life +7 +3\.466 ", halved.describe(), re.MULTILINE), "of this model, not of the file"


@pytest.mark.parametrize("name", models.names())
def test_markdown_has_its_equations_between_dollars_and_no_trace_of_the_other_markup(name):
    text = models.load(name).describe(markdown=True)
    assert text.startswith(f"# {name}\n")
    assert text.count("$$") % 2 == 0
    assert "$$" in text
    for trace in (".. math::", ":math:", "``"):
        assert trace not in text, trace
    assert not re.search(r"^-{3,}$", text, re.MULTILINE)
    for block in text.split("$$")[1::2]:
        aligned = "&" in block and "cases" not in block
        assert ("aligned" in block) == aligned


def test_a_table_in_markdown_has_one_row_a_parameter_and_equal_columns():
    table = NK.describe(markdown=True).split("## Parameters")[1].strip().splitlines()
    rows = [line for line in table if line.startswith("|")]
    assert len(rows) == 2 + len(NK.parameters)
    assert len({line.count("|") for line in rows}) == 1
