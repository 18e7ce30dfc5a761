"""Any result as a file, and back: `ck.save`, `ck.load` and the method ``save`` of every result."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from cellkinetics import codec
from cellkinetics.errors import FileWarning, ModelError, StudyError, one_problem
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.result import Fit
from cellkinetics.joint.result import JointFit
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.population.result import PopulationFit
from cellkinetics.reporting import envelope, model_files, population_files, storage
from cellkinetics.reporting.model_files import Given
from cellkinetics.saving import Saves

ANY_FIT = (Fit, Fits, JointFit)


def save(result: Saves | pd.DataFrame, path: str | Path) -> None:
    """Write a result, or a table such as that of `nca`, as one file of JSON; `load` reads it back.

    ``result.save(path)`` is the same. With the result go the samples or their hash, the model's name, text and hash,
    what was asked, and the versions of the packages. The file is written whole or not at all, with the permissions of
    the one that it replaces, and has a checksum.

    Parameters
    ----------
    result : what a verb of this library returned, a study included; a table is kept with its types and attributes.
    path : the file.

    Raises
    ------
    TypeError
        Something that is no result, or a table with a cell that no file can hold.
    FileNotFoundError, PermissionError
        A folder that is not there, or may not be written to. Nothing is left there then.
    ModelError
        Fits of a model that was made in memory: they could not be given their model back.

    Examples
    --------
    >>> import cellkinetics as ck
    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp()) / "nca.json"
    >>> table = ck.nca(ck.example())
    >>> ck.save(table, file)
    >>> ck.load(file).equals(table)
    True
    """
    if isinstance(result, ANY_FIT):
        content = {"data_sha256": result.study.sha256, **storage.content_of(result)}
        envelope.seal(Path(path), content, envelope.FITS)
        return
    if not isinstance(result, Saves | pd.DataFrame):
        text = f"{type(result).__name__} is no result. Give what a verb of this library returned, or a table."
        raise TypeError(text)
    seen: dict[str, str] = {}

    def plain_model(model: Model) -> Any:
        saved = model_files.plain(model)
        seen[model.name] = saved["sha256"]
        return writer.plain(saved)

    writer = codec.Writer(
        [
            (PopulationFit, "population", lambda fit: writer.plain(population_files.parts_of(fit))),
            (Model, "Model", plain_model),
            (ANY_FIT, "fits", storage.content_of),
        ]
    )
    content = writer.plain(result)
    head = {"kind": content["is"], **_about(result, writer), "models": seen}
    envelope.seal(Path(path), {**head, "content": content}, envelope.RESULT)


def load(path: str | Path, *, model: Model | None = None) -> Any:
    """Read what ``result.save(path)`` or `save` wrote.

    Tables, estimates, intervals and curves come back as they were, to the last bit; nothing is computed again, and no
    file but this one is read or run. A tie is kept as its values, and curves of a tied fit come without a band.

    Parameters
    ----------
    path : the file.
    model
        for results of a model file of your own: the model, ``ck.load_model(file)``, wherever that file lies now.
        Without it tables, outcomes and the fitted curves up to the last sample are there, and what has to be computed
        anew raises a ModelError.

    Returns
    -------
    The result: a `Study`, `Fit`, `Fits`, `JointFit`, `PopulationFit`, `Comparison`, `ModelComparison`, `Power`,
    `Identifiability`, profiles, a bootstrap, or a DataFrame.

    Raises
    ------
    StudyError
        The file is not such a file, is of a newer version, or was altered or damaged since it was written; its model is
        none of this library's.

    Warns
    -----
    ModelWarning
        The file of the model has changed since the result.
    FileWarning
        The file has more in it than this version knows.
    """
    path = Path(path)
    content = envelope.open_sealed(path)
    given = Given(model)
    reader = codec.Reader(
        {
            "Model": lambda plain: given.model_of(reader.value(plain)),
            "fits": lambda plain: storage.result_of(plain, given),
            "population": lambda plain: population_files.population_of(reader.value(plain), given),
        }
    )
    try:
        if content["format"] == envelope.FITS:
            result = storage.result_of(content, given)
        else:
            result = reader.value(content["content"])
    except StudyError:
        raise
    except ModelError as error:
        remedy = "Results of a model of your own: ck.load(path, model=ck.load_model(file))."
        raise one_problem(str(error).rstrip("."), remedy, str(path)) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, StopIteration) as error:
        raise envelope.damaged(path, error) from error
    if reader.unknown:
        names = ", ".join(dict.fromkeys(reader.unknown))
        given.said.append((FileWarning, f"{path} was written by a later version: {names} is left out."))
    for kind, text in dict.fromkeys(given.said):
        warnings.warn(text, kind, stacklevel=2)
    return result


def _about(result: Any, writer: codec.Writer) -> dict[str, Any]:
    """What of a result can be looked up in its file without reading its tables."""
    if isinstance(result, pd.DataFrame):
        return {
            "data_sha256": str(result.attrs.get("data", "")),
            "options": writer.plain(result.attrs.get("options", {})),
        }
    study = getattr(result, "study", None) or getattr(getattr(result, "fits", None), "study", None)
    origin = getattr(result, "origin", None) or Provenance()
    data = result if hasattr(result, "observations") else study
    seconds = {} if math.isnan(origin.seconds) else {"seconds": origin.seconds}
    return {
        "data_sha256": data.sha256 if data is not None else origin.data,
        "options": writer.plain(dict(origin.options)),
        **({"seed": origin.options["seed"]} if "seed" in origin.options else {}),
        **seconds,
    }
