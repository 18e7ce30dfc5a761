"""Figures as a journal takes them."""

import io
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

import cellkinetics as ck

STUDY = ck.example()


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def compared():
    return ck.compare_cohorts(STUDY, days=[90])


@pytest.mark.parametrize(("width", "mm"), [("column", 85), (174, 174)])
def test_every_figure_has_the_width_that_is_asked_for(compared, width, mm):
    with ck.style(width=width):
        pictures = [STUDY.plot().figure, compared.plot()]
    for figure in pictures:
        assert figure.get_figwidth() * 25.4 == pytest.approx(mm)
    assert STUDY.plot().figure.get_figwidth() == pytest.approx(6.8)


def test_text_in_a_narrow_figure_lies_inside_it_and_does_not_overlap(compared):
    with ck.style(width="column"):
        figure = compared.plot()
        figure.canvas.draw()
        for ax in figure.axes:
            boxes = [text.get_window_extent() for text in ax.get_xticklabels() if text.get_text()]
            assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
            title = ax.title if ax.title.get_text() else ax._left_title
            assert title.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize(
    ("names", "cut"),
    [
        (["Cohort 1: 1e5 CAR-NK/kg, one infusion", "Cohort 2: 1e6 CAR-NK/kg, one infusion",
          "Cohort 3: 1e7 CAR-NK/kg, two infusions"], True),
        (["Lymphodepletion and dose level A", "Lymphodepletion and dose level B", "Lymphodepletion and dose level C"],
         False),
    ],
)  # fmt: skip
def test_long_names_of_groups_leave_each_panel_its_height(compared, width, names, cut):
    called = dict(zip(compared.names, names, strict=True))
    order = tuple(called.get(name, name) for name in compared.order)
    covariates = STUDY.covariates.assign(cohort=STUDY.covariates["cohort"].map(called))
    study = replace(STUDY, covariates=covariates)
    renamed = replace(compared, study=study, groups=compared.groups.map(called), order=order)
    with ck.style(width=width):
        figure = renamed.plot()
        figure.draw_without_rendering()
    assert min(ax.get_position().height for ax in figure.axes) >= 0.15
    (legend,) = figure.legends
    assert set(names) <= {text.get_text().replace("\n", " ") for text in legend.get_texts()}
    for ax in figure.axes[1:]:
        labels = ax.get_xticklabels()
        assert {text.get_rotation() for text in labels} == {0}
        boxes = [text.get_window_extent() for text in labels]
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
        said = [text.get_text().split("\n") for text in labels]
        assert all(lines[-1].startswith("n = ") for lines in said)
        # Cut to two lines, or left to the legend where cut names would be alike.
        assert {len(lines) for lines in said} == {3 if cut else 1}


def test_settings_are_as_before_after_the_block():
    before = dict(mpl.rcParams)
    with pytest.raises(RuntimeError), ck.style(width="column", dark=True, font="DejaVu Serif", dpi=600):
        assert mpl.rcParams["savefig.dpi"] == 600
        assert mpl.rcParams["font.family"] == ["DejaVu Serif"]
        assert mpl.rcParams["axes.facecolor"] == "black"
        raise RuntimeError
    assert dict(mpl.rcParams) == before


def test_svg_holds_text_and_pdf_fonts_that_can_be_edited():
    with ck.style(width="column"):
        figure, svg, pdf = STUDY.plot().figure, io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg")
        figure.savefig(pdf, format="pdf")
    assert b"days since infusion" in svg.getvalue()
    assert b"/Subtype /Type3" not in pdf.getvalue()
    assert b"/FontFile2" in pdf.getvalue()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"width": "half"}, r"width='half': give mm, such as 85, or one of 'column', 'page'"),
        ({"width": -3}, r"width=-3: give"),
        ({"height": 0}, r"height=0: give"),
        ({"dpi": np.nan}, r"dpi=nan: give"),
        ({"font": "No Such Font"}, r"font='No Such Font' is not found on this machine"),
        ({"dark": 1}, r"dark=1: give True or False"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(asked, words):
    with pytest.raises(ValueError, match=words), ck.style(**asked):
        pass
