"""A notebook, executed by a real Jupyter kernel; skipped without nbclient and ipykernel."""

import os
import re

import pytest

WHY = "no Jupyter here: pip install nbclient ipykernel"
nbformat = pytest.importorskip("nbformat", reason=WHY)
nbclient = pytest.importorskip("nbclient", reason=WHY)
pytest.importorskip("ipykernel", reason=WHY)

# A cell, and what its card says.
FIRST = {
    "import cellkinetics as ck\nstudy = ck.example()\nstudy": "simulated data",
    "model = ck.models.load('nk_decline')\nmodel": "nk_decline",
}
CELLS = {**FIRST, "ck.nca(study)": "half_life", "ck.fit(model, study.select('P05'), starts=1)": "P05"}
LONGER = {
    **FIRST,
    "fits = ck.fit_each(model, study)\nfits": "11 subjects",
    "fits['P05']": "P05",
    "fits['P05'].profile(['alpha'])": "alpha",
    "ck.compare_models([fits, ck.fit_each(model, study, fixed={'beta': 0.05})])": "largest weight",
    "ck.compare_cohorts(study, by='cohort')": "the peak rises with the dose",
    "ck.fit(model, study, shared=['beta'])": "beta",
    "ck.fit_population(model, study, method='focei')": "sd between",
}
FOLDER = "CELLKINETICS_NOTEBOOK"  # of the environment: where the page is kept, to be looked at


def run(sources):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return notebook


@pytest.fixture(scope="module")
def executed():
    return run(CELLS)


@pytest.fixture(scope="module")
def longer():
    return run(LONGER)


def pages(cell):
    return [output["data"]["text/html"] for output in cell["outputs"] if "text/html" in output.get("data", {})]


def shows(notebook, source, words):
    (cell,) = (cell for cell in notebook["cells"] if cell["source"] == source)
    *before, card = pages(cell)
    assert 'class="cellkinetics"' in card
    assert words in re.sub("<[^>]*>", " ", card)
    title, text = (re.search(f"<{tag}>(.*?)</{tag}>", card) for tag in ("strong", "div"))
    assert title
    assert not text or text[1] not in title[1]
    # A bar that is done has left an empty element, and nothing on the standard streams.
    assert all(page == "" for page in before)
    assert not [output for output in cell["outputs"] if output["output_type"] in ("error", "stream")]


@pytest.mark.parametrize("source", CELLS)
def test_a_result_shows_its_card(executed, source):
    shows(executed, source, CELLS[source])


@pytest.mark.slow
@pytest.mark.parametrize("source", LONGER)
def test_every_result_shows_its_card(longer, source):
    shows(longer, source, LONGER[source])


@pytest.mark.slow
def test_the_notebook_becomes_a_page(longer):
    nbconvert = pytest.importorskip("nbconvert", reason="pip install nbconvert")
    page, _ = nbconvert.HTMLExporter().from_notebook_node(longer)
    assert page.count('class="cellkinetics"') == len(LONGER)
    if folder := os.environ.get(FOLDER):
        with open(os.path.join(folder, "notebook.html"), "w", encoding="utf-8") as file:
            file.write(page)
