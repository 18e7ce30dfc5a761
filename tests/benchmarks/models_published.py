"""Every published number that a model of the library gives back, beside the number recomputed from its file.

    python tests/benchmarks/models_published.py

One row a `Check`, of the defaults and of every named parameter set; a model without one has a row that says so, with
how many of its values are published, derived from published ones, or assumptions. Writes models_published.csv, of
which tests/models/test_published_table.py says where it is out of date.
"""

from pathlib import Path

import pandas as pd

from cellkinetics import models
from cellkinetics.modelling.description import printed

PATH = Path(__file__).with_suffix(".csv")
ASSUMED = ("assumption", "own estimate")


def counts(model):
    """How many values of a model are published, derived from what is published, and assumed."""
    sources = [parameter.source for parameter in model.parameters.values()]
    assumed = sum(source.startswith(ASSUMED) for source in sources)
    derived = sum(source.startswith("derived") for source in sources)
    return f"{len(sources) - assumed - derived} published, {derived} derived, {assumed} assumed"


def rows(name):
    """The rows of one model."""
    for chosen in (None, *models.load(name).sets):
        model = models.load(name, set=chosen)
        start = {"model": name, "set": chosen or "", "values": counts(model)}
        if not model.checks:
            yield start | {"what": "no published number at hand"}
        for check in model.checks:
            found = check.compute(model)
            yield start | {
                "what": check.what,
                "published": printed(check),
                "recomputed": f"{found:.5g}",
                "unit": check.unit,
                "tolerance": "" if isinstance(check.published, tuple) else f"{check.tolerance:.2g}",
                "agrees": "yes" if check.agrees(found) else "no",
                "where": check.source,
            }


def table():
    """All of them."""
    return pd.DataFrame([row for name in models.names() for row in rows(name)]).fillna("")


if __name__ == "__main__":
    found = table()
    found.to_csv(PATH, index=False)
    print(found.to_string())
