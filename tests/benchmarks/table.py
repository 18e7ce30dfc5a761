"""The CSV of a benchmark over models: rows of the models that ran are renewed, the others stay."""

import os
import platform
import sys
from datetime import date
from pathlib import Path

import jax
import pandas as pd
import scipy
from patients import OWN

import cellkinetics
from cellkinetics import models


def asked():
    """The models named on the command line; all of the library when none is."""
    names = sys.argv[1:] or models.names()
    unknown = [name for name in names if name not in models.names()]
    if unknown:
        raise SystemExit(f"no model {unknown[0]}; there are {', '.join(models.names())}.")
    return names


def machine():
    """What a row was measured on: date, processor, load of the machine at its end, versions."""
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()} {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "versions": f"cellkinetics {cellkinetics.__version__} jax {jax.__version__} "
        f"scipy {scipy.__version__} Python {platform.python_version()}",
    }


def shown(script, rows):
    """The rows as a table: printed, and written beside the script."""
    table = pd.DataFrame(rows)
    print(table.to_string(index=False), flush=True)
    numbers = table.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
    numbers.to_csv(Path(script).with_suffix(".csv"), index=False)


def renew(path, row):
    """Put a row (with its ``model``) in place of the one of that model, ordered as `models.names`, `OWN` last."""
    path, new = Path(path), pd.DataFrame([{k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()}])
    if path.exists():
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
        new = pd.concat([old[old["model"] != row["model"]], new])
    order = {name: at for at, name in enumerate([*models.names(), OWN])}
    new = new[new["model"].isin(order)]
    new = new.loc[:, (new.fillna("") != "").any()]
    new.sort_values("model", key=lambda column: column.map(order)).to_csv(path, index=False)
