"""Results as plain values for JSON and back: every number to its last bit, every table with its types."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

import jax
import numpy as np

from cellkinetics.lazily import pandas as pd
from cellkinetics.saving import STORABLE

# An object with this key says what it is; any other is a mapping of texts.
IS, OF, ID = "is", "of", "id"
Plain = Any
Special = tuple[type | tuple[type, ...], str, Callable[[Any], Plain]]


class Writer:
    """Values to plain ones. An object that stands in two places is written once.

    special : what is written by others: its class, what it is called, and the function that does it.
    """

    def __init__(self, special: Sequence[Special] = ()) -> None:
        self._special = special
        self._written: dict[int, tuple[Any, dict[str, Plain]]] = {}
        self._shared = 0

    def plain(self, value: Any) -> Plain:
        """Any value of a result.

        Raises
        ------
        TypeError
            Something that no file can hold, such as a function.
        """
        if isinstance(value, Enum):
            return self._tagged(_name(value), value.value)
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else self._tagged("float", real(value))
        for kind, name, write in self._special:
            if isinstance(value, kind):
                return self._once(value, name, write)
        if is_dataclass(value) and not isinstance(value, type):
            return self._once(value, _name(value), self.fields)
        return self._container(value)

    def _container(self, value: Any) -> Plain:
        if isinstance(value, Mapping):
            if all(isinstance(key, str) for key in value) and IS not in value:
                return {key: self.plain(each) for key, each in value.items()}
            return self._tagged("mapping", [[self.plain(key), self.plain(each)] for key, each in value.items()])
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if isinstance(value, tuple):
            return self._tagged("tuple", [self.plain(each) for each in value])
        if isinstance(value, pd.DataFrame):
            return {IS: "table", **self._table(value)}
        if isinstance(value, pd.Series):
            own = {"name": self.plain(value.name), "index": self._index(value.index), OF: self._column(value.array)}
            return {IS: "series", **own}
        if isinstance(value, np.ndarray | jax.Array):
            array = np.asarray(value)
            return {IS: "array", "shape": list(array.shape), OF: self._column(array.ravel())}
        if isinstance(value, np.generic):
            return self._tagged("number", self._column(np.asarray([value])))
        if value is pd.NA or value is pd.NaT:
            return self._tagged("missing", "NA" if value is pd.NA else "NaT")
        for kind, name in ((pd.Timestamp, "time"), (datetime, "datetime"), (date, "date")):
            if isinstance(value, kind):
                return self._tagged(name, value.isoformat())
        raise TypeError(f"{type(value).__name__} {value!r} cannot be written to a file")

    def _tagged(self, kind: str, of: Plain) -> dict[str, Plain]:
        return {IS: kind, OF: of}

    def _once(self, value: Any, name: str, write: Callable[[Any], Plain]) -> Plain:
        if id(value) not in self._written:
            plain: dict[str, Plain] = {IS: name}
            self._written[id(value)] = value, plain
            plain[OF] = write(value)
            return plain
        first = self._written[id(value)][1]
        if ID not in first:
            self._shared += 1
            first[ID] = self._shared
        return self._tagged("same", first[ID])

    def fields(self, value: Any) -> dict[str, Plain]:
        """{name: plain value} of what a dataclass lets into files."""
        return {each.name: self.plain(getattr(value, each.name)) for each in fields(value) if _saved(each)}

    def _table(self, table: pd.DataFrame) -> dict[str, Plain]:
        return {
            "index": self._index(table.index),
            "columns": self._index(table.columns),
            **({"attrs": self.plain(table.attrs)} if table.attrs else {}),
            OF: [self._column(table.iloc[:, at].array) for at in range(table.shape[1])],
        }

    def _index(self, index: pd.Index) -> dict[str, Plain]:
        if isinstance(index, pd.MultiIndex):
            levels = [self._column(index.get_level_values(at).array) for at in range(index.nlevels)]
            return {"names": [self.plain(name) for name in index.names], "levels": levels}
        if isinstance(index, pd.RangeIndex):
            return {"name": self.plain(index.name), "range": [index.start, index.stop, index.step]}
        return {"name": self.plain(index.name), OF: self._column(index.array)}

    def _column(self, values: Any) -> dict[str, Plain]:
        """Values of one type, with that type."""
        values = values.to_numpy() if type(values) is pd.arrays.NumpyExtensionArray else values
        if isinstance(values, pd.Categorical):
            own = {"categories": self._index(values.categories), "ordered": bool(values.ordered)}
            return {"dtype": "category", **own, OF: [int(code) for code in values.codes]}
        dtype = values.dtype
        if isinstance(dtype, np.dtype) and dtype.kind == "f":
            return {"dtype": str(dtype), OF: [real(each) for each in np.asarray(values, float).tolist()]}
        if isinstance(dtype, np.dtype) and dtype.kind in "biuU":
            return {"dtype": str(dtype), OF: np.asarray(values).tolist()}
        if isinstance(dtype, pd.StringDtype):
            return {"dtype": str(dtype), OF: [None if pd.isna(each) else str(each) for each in values]}
        # Cells of any kind; a type of pandas makes its own of them again.
        return {"dtype": str(dtype), OF: [self.plain(each) for each in values]}


class Reader:
    """Plain values to those that `Writer` was given.

    special : {what it is called: the function that makes it}.
    """

    def __init__(self, special: Mapping[str, Callable[[Plain], Any]]) -> None:
        self._special = special
        self._shared: dict[int, Any] = {}
        self.unknown: list[str] = []

    def value(self, plain: Plain) -> Any:
        """The value; a KeyError, TypeError or ValueError where the file is not one."""
        if isinstance(plain, list):
            return [self.value(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        if IS not in plain:
            return {key: self.value(each) for key, each in plain.items()}
        made = self._made(plain[IS], plain)
        if ID in plain:
            self._shared[plain[ID]] = made
        return made

    def _made(self, kind: str, plain: dict[str, Plain]) -> Any:
        if kind == "same":
            return self._shared[plain[OF]]
        if kind in self._special:
            return self._special[kind](plain[OF])
        if kind in STORABLE:
            stored = STORABLE[kind]
            return stored(plain[OF]) if issubclass(stored, Enum) else stored(**self.fields(stored, plain[OF]))
        match kind:
            case "float":
                return number(plain[OF])
            case "tuple":
                return tuple(self.value(each) for each in plain[OF])
            case "mapping":
                return {self.value(key): self.value(each) for key, each in plain[OF]}
            case "table":
                return self._table(plain)
            case "series":
                index = self._index(plain["index"])
                return self._series(plain[OF], index, self.value(plain["name"]))
            case "array":
                return np.asarray(self._column(plain[OF])).reshape(plain["shape"])
            case "number":
                return np.asarray(self._column(plain[OF]))[0]
            case "missing":
                return {"NA": pd.NA, "NaT": pd.NaT}[plain[OF]]
            case "time":
                return pd.Timestamp(plain[OF])
            case "datetime":
                return datetime.fromisoformat(plain[OF])
            case "date":
                return date.fromisoformat(plain[OF])
        raise ValueError(f"it holds a {kind}, which this version does not know")

    def fields(self, stored: type, plain: Mapping[str, Plain]) -> dict[str, Any]:
        """{name: value} of what `Writer.fields` wrote; one that is not there keeps its default, an unknown one is told.

        Raises
        ------
        ValueError
            A field without a default that is not there.
        """
        known = {each.name: each for each in fields(stored) if _saved(each)}
        self.unknown += [f"{stored.__name__}.{name}" for name in plain if name not in known]
        if lost := [name for name, each in known.items() if name not in plain and not _has_default(each)]:
            raise ValueError(f"{stored.__name__} lacks {', '.join(lost)}")
        return {name: self.value(each) for name, each in plain.items() if name in known}

    def _table(self, plain: Mapping[str, Plain]) -> pd.DataFrame:
        index, columns = self._index(plain["index"]), self._index(plain["columns"])
        parts = [self._series(each, index) for each in plain[OF]]
        # By number first: two columns may have one name.
        table = pd.DataFrame(dict(enumerate(parts)), index=index)
        table.columns = columns
        table.attrs = self.value(plain.get("attrs", {}))
        return table

    def _series(self, plain: Mapping[str, Plain], index: pd.Index, name: Any = None) -> pd.Series:
        column = self._column(plain)
        return pd.Series(column, index=index, name=name, dtype=column.dtype)

    def _index(self, plain: Mapping[str, Plain]) -> pd.Index:
        if "levels" in plain:
            levels = [self._column(each) for each in plain["levels"]]
            return pd.MultiIndex.from_arrays(levels, names=[self.value(name) for name in plain["names"]])
        name = self.value(plain["name"])
        if "range" in plain:
            return pd.RangeIndex(*plain["range"], name=name)
        column = self._column(plain[OF])
        return pd.Index(column, name=name, dtype=column.dtype)

    def _column(self, plain: Mapping[str, Plain]) -> Any:
        dtype, cells = plain["dtype"], plain[OF]
        if dtype == "category":
            categories = self._index(plain["categories"])
            return pd.Categorical.from_codes(cells, categories=categories, ordered=plain["ordered"])
        if dtype.startswith("float"):
            return np.array([number(each) for each in cells], dtype)
        if dtype.startswith(("int", "uint", "bool", "<U", ">U")) and dtype != "boolean":
            return np.array(cells, dtype)
        if dtype == "object":
            objects = np.empty(len(cells), object)
            objects[:] = [self.value(each) for each in cells]
            return objects
        return pd.Series([self.value(each) for each in cells], dtype=dtype).array


def real(value: float) -> float | str:
    """A float for JSON; infinity, NaN, and the bits of a NaN that is not the usual one as text."""
    if math.isfinite(value):
        return value
    bits = struct.pack(">d", value)
    return repr(value) if value == value or bits == _NAN else f"nan {bits.hex()}"


def number(plain: float | str) -> float:
    """The float that `real` wrote."""
    if isinstance(plain, str) and plain.startswith("nan "):
        return struct.unpack(">d", bytes.fromhex(plain[4:]))[0]
    return float(plain)


_NAN = struct.pack(">d", float("nan"))


def _name(value: Any) -> str:
    name = type(value).__name__
    if STORABLE.get(name) is not type(value):
        raise TypeError(f"{name} is not written to files")
    return name


def _has_default(each: Field[Any]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _saved(field: Field[Any]) -> bool:
    """Whether a field goes into a file: what a result only works with says ``metadata=saving.UNSAVED``."""
    return field.init and field.metadata.get("saved", True)
