"""A notebook, executed by a real Jupyter kernel: pip install nbclient nbconvert ipykernel; skipped without them."""

import os
import re

import pytest

nbformat = pytest.importorskip("nbformat", reason="no Jupyter here: pip install nbclient nbconvert ipykernel")
nbclient = pytest.importorskip("nbclient", reason="no Jupyter here: pip install nbclient nbconvert ipykernel")
nbconvert = pytest.importorskip("nbconvert", reason="no Jupyter here: pip install nbclient nbconvert ipykernel")
pytest.importorskip("ipykernel", reason="no Jupyter here: pip install nbclient nbconvert ipykernel")

pytestmark = pytest.mark.slow

# A cell, and what its card says.
CELLS = {
    "import cellkinetics as ck\nstudy = ck.example()\nstudy": "simulated data",
    "model = ck.models.load('nk_decline')\nmodel": "nk_decline",
    "fits = ck.fit_each(model, study)\nfits": "11 subjects",
    "fits['P05']": "P05",
    "fits['P05'].profile(['alpha'])": "alpha",
    "ck.compare_cohorts(study, by='cohort')": "the peak rises with the dose",
    "ck.fit(model, study, shared=['beta'])": "beta",
    "ck.fit_population(model, study, method='focei')": "sd between",
}
FOLDER = "CELLKINETICS_NOTEBOOK"  # of the environment: where the page is kept, to be looked at


@pytest.fixture(scope="module")
def executed():
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return notebook


def pages(cell):
    return [output["data"]["text/html"] for output in cell["outputs"] if "text/html" in output.get("data", {})]


@pytest.mark.parametrize("source", CELLS)
def test_every_result_shows_its_card(executed, source):
    (cell,) = (cell for cell in executed["cells"] if cell["source"] == source)
    *before, card = pages(cell)
    assert 'class="cellkinetics"' in card
    assert CELLS[source] in re.sub("<[^>]*>", " ", card)
    title, words = (re.search(f"<{tag}>(.*?)</{tag}>", card) for tag in ("strong", "div"))
    assert title
    assert not words or words[1] not in title[1]
    # A bar that is done has left an empty element, and nothing on the standard streams.
    assert all(page == "" for page in before)
    assert not [output for output in cell["outputs"] if output["output_type"] in ("error", "stream")]


def test_the_notebook_becomes_a_page(executed):
    page, _ = nbconvert.HTMLExporter().from_notebook_node(executed)
    assert page.count('class="cellkinetics"') == len(CELLS)
    if folder := os.environ.get(FOLDER):
        with open(os.path.join(folder, "notebook.html"), "w", encoding="utf-8") as file:
            file.write(page)
