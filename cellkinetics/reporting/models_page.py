"""The page `models.html`: models that were fitted to the same samples beside each other, with their reports."""

from __future__ import annotations

from functools import partial
from html import escape

from cellkinetics.charts import models
from cellkinetics.data.study import Study
from cellkinetics.lazily import pandas as pd
from cellkinetics.notebook import Card
from cellkinetics.reporting import cards
from cellkinetics.reporting.report import REPORT_NAME

MODELS_NAME = "models.html"
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 1.25rem 1rem 3rem; max-width: 62rem; font: 16px/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; }}
table {{ margin: .8rem 0; font-size: .875rem; overflow-wrap: normal; }}
th {{ white-space: nowrap; }}
</style>
</head>
<body>
"""


def page(compared: pd.DataFrame, together: pd.DataFrame, study: Study, by: str) -> str:
    """The comparison as one HTML page that needs no other file but the reports that it leads to.

    Parameters
    ----------
    compared : DataFrame
        Of `compare_models`, of each patient and of all.
    together : DataFrame
        All patients together, a row a ``model``, as it is to be shown.
    study, by : whose picture has the patients under headings by a covariate.
    """
    card = cards.of(compared)
    assert card is not None
    picture = None if card.picture is None else partial(models.weights, compared, None, study, by)
    reports = ", ".join(
        f'<a href="{escape(name)}/{REPORT_NAME}">{escape(name)}</a>' for name in map(str, together["model"])
    )
    return "\n".join(
        [
            _HEAD.format(title=escape(card.title)),
            Card(card.title, card.words, together, picture).html(),
            f"<p>The report of each: {reports}. All numbers are in <code>models.csv</code>.</p>",
            "</body>\n</html>\n",
        ]
    )
