"""What tests of pictures share: the mark that compares with tests/baseline/, and a figure without its text."""

from typing import Any

import pytest
from matplotlib.text import Text

compared = pytest.mark.mpl_image_compare(
    baseline_dir="../baseline", tolerance=1, style="default", savefig_kwargs={"dpi": 70}
)


def bare(figure: Any) -> Any:
    """Without text, and every panel where it is by default."""
    figure.set_layout_engine("none")
    for ax in figure.axes:
        ax.tick_params(which="both", labelbottom=False, labelleft=False)
        if ax.get_legend():
            ax.get_legend().remove()
    for each in [*figure.legends, *figure.findobj(Text)]:
        each.set_visible(False)
    return figure
