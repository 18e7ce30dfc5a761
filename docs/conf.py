"""Sphinx: the reference from docstrings, the gallery from fits/, a page for each file of models/."""

import re
import sys
from importlib.metadata import files
from pathlib import Path

import matplotlib
import pandas as pd
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import _figures

import cellkinetics
from cellkinetics import models
from cellkinetics.figures.trajectory import USUAL_DOSE
from cellkinetics.modelling import description
from cellkinetics.words import dose_text

matplotlib.use("Agg")

ENGINE = ("engine_optima",)
BENCHMARKS = Path(__file__).resolve().parents[1] / "tests" / "benchmarks"

# Courses of covariates for the pictures of models that take one: leukocytes/uL after lymphodepletion.
EXAMPLE_INPUTS = {"leukocytes": [(0, 300.0), (7, 200.0), (14, 1500.0), (28, 4000.0), (60, 5000.0)]}

project = "cellkinetics"
author = "The cellkinetics developers"
project_copyright = author
version = release = cellkinetics.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"

autosummary_generate = True
# Beside the page of the function, for file systems that take upper and lower case for the same.
TWINS = ("Fit", "Forecast", "Identifiability", "NPDE", "Power", "VPC")
autosummary_filename_map = {f"cellkinetics.{name}": f"cellkinetics.{name}-class" for name in TWINS}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# A line an argument, where a signature with its types is longer than a page is wide.
python_maximum_signature_line_length = 88
# Code is copied without its prompts, and without what it shows.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

# Strings only: Sphinx cannot keep functions in its cache and warns about them.
sphinx_gallery_conf = {
    "examples_dirs": "../fits",
    # For "Examples using ..." below each function.
    "backreferences_dir": "generated/examples",
    "doc_module": ("cellkinetics",),
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "parallel": 2,
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "show_signature": False,
    "download_all_examples": False,
    "write_computation_times": False,
    "thumbnail_size": (640, 448),
}

# What stands for a page in the index: one thing. {script: number of its picture, and the part of it that is shown, from
# the left, the top, to the right, the bottom}; a page that is not named has its first picture whole.
THUMBNAILS = {
    "02_from_other_programs_and_back": (1, (0.0, 0.0, 0.345, 1.0)),
    "04_what_the_tables_say": (5, (0.0, 0.0, 1.0, 1.0)),
    "06_eleven_patients": (1, (0.0, 0.0, 0.29, 0.235)),
    "09_your_own_ode": (1, (0.0, 0.0, 0.355, 1.0)),
    "12_qpcr_and_flow": (1, (0.0, 0.0, 1.0, 0.38)),
    "13_a_thousand_patients": (2, (0.0, 0.0, 1.0, 1.0)),
    "14_a_run_that_goes_on": (1, (0.0, 0.0, 0.24, 1.0)),
    "17_a_patient_who_does_not_expand": (1, (0.0, 0.0, 0.49, 1.0)),
    "18_lag_and_fold": (1, (0.0, 0.0, 0.345, 0.52)),
    "20_the_study_reproduced": (1, (0.0, 0.0, 0.465, 0.84)),
    "21_with_and_without_il15": (1, (0.0, 0.0, 0.54, 1.0)),
    "24_a_population_with_a_dose_effect": (1, (0.0, 0.0, 0.36, 1.0)),
    "26_is_the_population_right": (1, (0.0, 0.0, 0.375, 0.9)),
    "29_another_dose": (1, (0.0, 0.0, 0.54, 0.43)),
    "30_when_should_one_sample": (1, (0.0, 0.0, 1.0, 0.53)),
    "32_the_report": (1, (0.0, 0.0, 0.29, 0.235)),
}

html_theme = "furo"
# MathJax travels with the pages, in one file without fonts: they ask no other host.
MATHJAX = "tex-svg.js"
html_static_path = [
    "_static",
    str(next(each.locate() for each in files("sphinx-mathjax-offline") or () if each.name == MATHJAX)),
]
mathjax_path = MATHJAX
html_css_files = ["pages.css"]
html_title = f"cellkinetics {version}"
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5d66", "color-brand-content": "#0b5d66"},
    "dark_css_variables": {"color-brand-primary": "#5cc2c9", "color-brand-content": "#5cc2c9"},
}


def plain(text: str) -> str:
    """Text in which reStructuredText sees no markup."""
    return re.sub(r"([*`|_\\])", r"\\\1", text)


def linked(text: str) -> str:
    return re.sub(r"doi:(10\.\d+/[\w.()/-]*\w)", r"`doi:\1 <https://doi.org/\1>`__", text)


def model_page(name: str) -> str:
    """A model in words, from its file: equations, facts, trajectory, parameters, published and recomputed numbers."""
    model = models.load(name)
    lines = [name, "=" * len(name), "", linked(model.description), "", *picture(name), "Facts", "-----", ""]
    lines += [f"- {linked(plain(fact))}" for fact in description.facts(model)]
    for table in description.tables(model):
        lines += ["", table.title, "-" * len(table.title), "", ".. list-table::", "   :header-rows: 1", ""]
        for row in (table.header, *table.rows):
            cells = [linked(plain(cell)) for cell in row]
            lines += [f"   * - {cells[0]}", *(f"     - {cell}" for cell in cells[1:])]
    if not model.checks:
        lines += ["", "Published numbers", "-----------------", ""]
        lines += ["No published number was at hand that this file, with these defaults, could give back. What its code"]
        lines += ["is held against instead, such as an independent solution of its equations, is in"]
        lines += [f"``tests/models/test_{name}.py``."]
    return "\n".join([*lines, ""])


def picture(name: str) -> list[str]:
    """The trajectory at the defaults, drawn beside the page."""
    model = models.load(name)
    inputs = {each: EXAMPLE_INPUTS[each] for each in model.inputs}
    figure = model.plot(inputs=inputs).figure
    figure.savefig(Path(__file__).parent / "generated" / "models" / f"{name}.png", dpi=150)
    given = f", after {dose_text(USUAL_DOSE)} cells/kg on day 0" if "cells" in model.channels else ""
    alternative = f"The curves of {name} at its defaults over one year{given}, on a logarithmic axis."
    return [f".. figure:: {name}.png", f"   :alt: {alternative}", "", f"   {alternative} Simulated.", ""]


def write_model_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "generated" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for name in models.names():
        page, text = folder / f"{name}.rst", model_page(name)
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def write_tall_tables(app: Sphinx) -> None:
    """Tables of benchmarks with a row a model, turned: a column a model reads better than thirty columns."""
    folder = Path(app.srcdir) / "generated" / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("models_accuracy", "models_speed", "batch_fit", "batch_against_lmfit", "first_fit", "ode_fit"):
        table = pd.read_csv(BENCHMARKS / f"{name}.csv", dtype=str, keep_default_na=False)
        machine = ["date", "machine", "load", "versions"]
        table = table[[column for column in table if column not in machine] + machine]
        table.set_index("model").T.rename_axis("quantity").to_csv(folder / f"{name}.csv")
    table = pd.read_csv(BENCHMARKS / "structured_accuracy.csv", dtype=str, keep_default_na=False)
    turned = table.pivot(index="quantity", columns="of", values="value")
    turned = turned.reindex(index=table["quantity"].unique(), columns=table["of"].unique())
    turned.fillna("").to_csv(folder / "structured_accuracy.csv")
    few_samples().to_csv(folder / "few_samples.csv", index=False)
    running = ("killed", "workers", "long_process", "virtual_trial")
    for name in (*running, *ENGINE, "lanes_accuracy", "misfit", "misfit_joint", "optima", "optima_joint"):
        table = pd.read_csv(BENCHMARKS / f"{name}.csv", dtype=str, keep_default_na=False)
        table.drop(columns=["machine", "load", "versions"]).to_csv(folder / f"{name}.csv", index=False)
    pd.read_csv(BENCHMARKS / "large_file.csv", comment="#", dtype=str).to_csv(folder / "large_file.csv", index=False)


def few_samples() -> pd.DataFrame:
    """Of few_samples.csv, with a row a parameter: the lowest and the mean of what the design calls identifiable."""
    table = pd.read_csv(BENCHMARKS / "few_samples.csv")
    by = ["model", "samples", "sd", "rule"]
    judged = table[table["identifiable"] == "yes"].groupby(by, sort=False)
    of_sd = table[table["parameter"] == "sd"].set_index(by)
    columns = {
        "by a prior or pooled": of_sd["few"],
        "coverage, lowest": judged["coverage"].min(),
        "mean": judged["coverage"].mean(),
        "profile, lowest": judged["profile"].min(),
        "coverage of sd": of_sd["coverage"],
        "profile of sd": of_sd["profile"],
    }
    return pd.DataFrame(columns).loc[of_sd.index].round(3).reset_index()


def write_figures(app: Sphinx) -> None:
    _figures.write(Path(app.srcdir) / "generated" / "figures")


def cut_thumbnails(app: Sphinx) -> None:
    """The part of a picture that the index shows, where that is not all of the first."""
    for script, (number, (left, top, right, bottom)) in THUMBNAILS.items():
        for whole in (Path(app.srcdir) / "gallery").rglob(f"sphx_glr_{script}_{number:03d}.png"):
            with Image.open(whole) as picture:
                width, height = picture.size
                part = picture.crop((int(left * width), int(top * height), int(right * width), int(bottom * height)))
                part.save(whole.parent / "thumb" / f"sphx_glr_{script}_thumb.png")


def describe_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Words for the pictures of the gallery: the title of their page, and what stands over the panels."""
    title = next((each.astext() for each in doctree.findall(nodes.title)), "")
    if not app.env.docname.startswith(("gallery/", "generated/")):
        return
    for image in doctree.findall(lambda node: "uri" in getattr(node, "attributes", {})):
        script = re.match(r".*sphx_glr_(.+)_thumb\.png$", image["uri"])
        panels = image.get("alt", "")
        if script:
            page = next((Path(app.srcdir).parent / "fits").rglob(f"{script[1]}.py"))
            image["alt"] = f"Figure of: {page.read_text(encoding='utf-8').splitlines()[1]}"
        elif app.env.docname.startswith("gallery/"):
            image["alt"] = f"Figure of: {title}" + (f". Panels: {panels}" if panels else "")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", describe_pictures)
    app.connect("builder-inited", write_model_pages)
    app.connect("builder-inited", write_tall_tables)
    app.connect("builder-inited", write_figures)
    # After the gallery has drawn them.
    app.connect("builder-inited", cut_thumbnails, priority=900)
