"""Any result as a file, and back: `ck.save`, `ck.load` and the method ``save`` of every result."""

from __future__ import annotations

import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from cellkinetics import codec
from cellkinetics.cohorts import nca
from cellkinetics.data.study import Study
from cellkinetics.errors import FileWarning, ModelError, StudyError, one_problem
from cellkinetics.fitting import model_choice
from cellkinetics.fitting.fits import Fits
from cellkinetics.fitting.result import Fit
from cellkinetics.joint.result import JointFit
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.optimising.request import Request
from cellkinetics.population.result import PopulationFit
from cellkinetics.reporting import envelope, first_format, fit_files, model_files, population_files
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
    if not isinstance(result, Saves | pd.DataFrame):
        text = f"{type(result).__name__} is no result. Give what a verb of this library returned, or a table."
        raise TypeError(text)
    seen: dict[str, str] = {}

    def plain_model(model: Model, by_value: bool = False) -> Any:
        saved = model_files.plain(model, by_value)
        seen[model.name] = saved["sha256"]
        return writer.plain(saved)

    by_value = partial(plain_model, by_value=True)
    writer = codec.Writer(
        [
            (PopulationFit, "PopulationFit", lambda fit: population_files.plain(fit, writer)),
            (Model, "Model", plain_model),
            (ANY_FIT, "fitted", lambda fit: fit_files.parts_of(fit, writer, by_value)),
            (Request, "Request", lambda request: fit_files.plain_request(request, writer, by_value)),
            (Doses, "Doses", lambda doses: fit_files.plain_doses(doses, writer)),
        ]
    )
    study = _study_of(result)
    # First, so that what comes after it refers to it.
    parts = {} if study is None or study is result else {envelope.STUDY: writer.plain(study)}
    if isinstance(result, ANY_FIT):
        parts |= fit_files.parts_of(result, writer, by_value) | parts
    else:
        parts[envelope.CONTENT] = writer.plain(result)
    envelope.seal(Path(path), {"kind": type(result).__name__, **_about(result, writer), "models": seen}, parts)


def load(path: str | Path, *, model: Model | None = None, part: str | None = None) -> Any:
    """Read what ``result.save(path)`` or `save` wrote.

    Tables, estimates and intervals come back as they were, to the last bit, and curves with their model too. No other
    file is read or run. A tie is kept as its values, and curves of a tied fit come without a band.

    Parameters
    ----------
    path : the file.
    model
        for results of a model file of your own: the model, ``ck.load_model(file)``, wherever that file lies now.
        Without it tables, outcomes and the fitted curves up to the last sample are there (drawn through some 200 days:
        between those within 0.3%), and what has to be computed anew raises a ModelError.
    part
        "study" for the samples alone, which are read of a damaged file too, where they agree with a checksum of their
        own.

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

    Examples
    --------
    >>> import cellkinetics as ck
    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp()) / "study.json"
    >>> ck.example().save(file)
    >>> load(file).subjects == ck.example().subjects
    True
    """
    path = Path(path)
    if part not in (None, envelope.STUDY):
        raise ValueError(f"part={part!r}: a file has the part {envelope.STUDY!r}, its samples. Leave it out for all.")
    given = Given(model)
    reader = codec.Reader(
        {
            "Model": lambda plain: given.model_of(reader.value(plain)),
            "PopulationFit": lambda plain: population_files.population(plain, reader),
            "fitted": lambda plain: fit_files.result_of(plain, reader, given),
            "Request": lambda plain: fit_files.request_again(plain, reader, given),
            "Doses": lambda plain: fit_files.doses_again(plain, reader),
            # Of the first version of the format.
            "fits": lambda plain: first_format.result_of(plain, given),
            "population": lambda plain: population_files.population_of_version_one(reader.value(plain), given),
        }
    )
    try:
        if part is not None and (samples := envelope.part_of(path, part)) is not None:
            return reader.value(samples)
        content = envelope.open_sealed(path)
        if content["format"] == envelope.FITS:
            result = first_format.result_of(content, given)
        elif envelope.CONTENT not in content:
            result = fit_files.result_of(content, reader, given)
        else:
            if envelope.STUDY in content:
                reader.value(content[envelope.STUDY])
            result = reader.value(content[envelope.CONTENT])
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
    if part is None:
        return _with_card(result) if isinstance(result, pd.DataFrame) else result
    if (study := _study_of(result)) is None:
        raise one_problem("has no samples in it", "Read them with ck.read_study.", str(path))
    return study


def _with_card(table: pd.DataFrame) -> pd.DataFrame:
    """A table that was read from a file, as it was made."""
    verb, kind = table.attrs.get("verb"), pd.DataFrame
    if verb == "nca":
        kind = nca.NCATable
    elif verb == "compare_models":
        kind = model_choice.ModelTable
    made = kind(table)
    made.attrs = table.attrs
    return made


def _study_of(result: Any) -> Study | None:
    """The samples that a result has with it."""
    if isinstance(result, Study):
        return result
    study = getattr(result, "study", None) or getattr(getattr(result, "fits", None), "study", None)
    return study if isinstance(study, Study) else None


def _about(result: Any, writer: codec.Writer) -> dict[str, Any]:
    """What of a result can be looked up in its file without reading its tables."""
    if isinstance(result, pd.DataFrame):
        return {
            "data_sha256": str(result.attrs.get("data", "")),
            "options": writer.plain(result.attrs.get("options", {})),
        }
    study, origin = _study_of(result), getattr(result, "origin", None) or Provenance()
    each = list(result.values()) if isinstance(result, Fits) else [result]
    request = getattr(each[0], "request", None) if each else None
    options = request.options if isinstance(request, Request) else dict(origin.options)
    seconds = sum(getattr(one, "seconds", origin.seconds) for one in each)
    return {
        "data_sha256": study.sha256 if study is not None else origin.data,
        "options": writer.plain(options),
        **({"seed": options["seed"]} if "seed" in options else {}),
        **({} if math.isnan(seconds) else {"seconds": seconds}),
    }
