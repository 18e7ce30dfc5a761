"""Sphinx: the reference from docstrings, the gallery from fits/, a page for each file of models/."""

import re
import sys
from pathlib import Path

import matplotlib
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cellkinetics
from cellkinetics import models

matplotlib.use("Agg")

project = "cellkinetics"
author = "The cellkinetics developers"
project_copyright = author
version = release = cellkinetics.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"

autosummary_generate = True
# Beside the page of `fit`, for file systems that take upper and lower case for the same.
autosummary_filename_map = {"cellkinetics.Fit": "cellkinetics.Fit-class"}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

# Strings only: Sphinx cannot keep functions in its cache and warns about them.
sphinx_gallery_conf = {
    "examples_dirs": "../fits",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "parallel": 2,
    "within_subsection_order": "FileNameSortKey",
    "remove_config_comments": True,
    "show_signature": False,
    "download_all_examples": False,
}

html_theme = "furo"
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
    """The docstring of a model's file, which has its equations, and a table of its parameters."""
    model = models.load(name)
    lines = [name, "=" * len(name), "", linked(model.description), "", "Parameters", "----------", ""]
    lines += [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - Name",
        "     - Default",
        "     - Unit",
        "     - Source",
    ]
    for symbol, parameter in model.parameters.items():
        lines += [f"   * - ``{symbol}``", f"     - {parameter.value:g}"]
        lines += [f"     - {plain(parameter.unit)}", f"     - {plain(parameter.source)}"]
    return "\n".join([*lines, "", f"Reference: {linked(model.reference)}.", ""])


def write_model_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "generated" / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for name in models.names():
        page, text = folder / f"{name}.rst", model_page(name)
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_model_pages)
