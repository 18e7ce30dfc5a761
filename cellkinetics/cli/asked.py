"""What commands are asked, in options that they share: how a table is read, how a fit is made."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter as Option

from cellkinetics import models
from cellkinetics.data.example import example
from cellkinetics.data.reading import read_study
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError, suggest
from cellkinetics.fitting.each import fit_each
from cellkinetics.modelling.loading import load_model
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import PUBLISHED, SCALES, Prior
from cellkinetics.optimising.request import Asked
from cellkinetics.words import number_text

USUAL_MODEL = "il15_persistence"
Words = Annotated[list[str] | None, Option(consume_multiple=True, negative="")]
Numbers = Annotated[list[float] | None, Option(consume_multiple=True, negative="")]
Flag = Annotated[bool, Option(negative="")]


def usual(function: Callable[..., Any], name: str) -> Any:
    """The default of an argument of the library: it is written there alone."""
    return inspect.signature(function).parameters[name].default


@Option(name="*")
@dataclass(frozen=True)
class Reading:
    """How a table is read, as `read_study` takes it.

    Parameters
    ----------
    lloq
        Lower limit of quantification, for rows that do not have their own.
    lod
        Limit of detection, for rows that do not have their own.
    uloq
        Upper limit of quantification, for rows that do not have their own.
    unit
        Unit of the values.
    dose_unit
        Unit of the infused cells.
    time_unit
        Unit of the times, which become days.
    day
        The column that holds the day, where its name is not known.
    columns
        Names of the table where they are not recognised: day=T copies_per_ug=result.
    lloq_copies_per_well
        Lower limit in copies per well, for tables with the mass of DNA in a well.
    dna_ug
        Mass of DNA in each well, ug.
    replicates
        Whether each well is a sample, or the wells of one sample are averaged.
    sheet
        Name of the worksheet, where a workbook has several.
    ignore
        Columns that say nothing about the values, whatever they look like.
    floor
        A number that stands for values below the limit.
    missing
        Numbers that stand for no value: -9 999.
    """

    lloq: float | None = usual(read_study, "lloq")
    lod: float | None = usual(read_study, "lod")
    uloq: float | None = usual(read_study, "uloq")
    unit: str | None = usual(read_study, "unit")
    dose_unit: str = usual(read_study, "dose_unit")
    time_unit: Literal["day", "hour", "week", "month"] | None = usual(read_study, "time_unit")
    day: str | None = None
    columns: Words = None
    lloq_copies_per_well: float | None = usual(read_study, "lloq_copies_per_well")
    dna_ug: float | None = usual(read_study, "dna_ug")
    replicates: Literal["each", "mean"] = usual(read_study, "replicates")
    sheet: str | None = usual(read_study, "sheet")
    ignore: Words = None
    floor: float | None = usual(read_study, "floor")
    missing: Numbers = None

    def study(self, table: Path | None) -> Study:
        """The study in a table; the example of the library where there is none."""
        if table is None:
            return example()
        named = pairs(self.columns, "columns", "day=T") | ({} if self.day is None else {"day": self.day})
        given = asdict(self) | {"columns": named, "ignore": self.ignore or (), "missing": self.missing or ()}
        del given["day"]
        return read_study(table, **given)


@Option(name="*")
@dataclass(frozen=True)
class Fitting:
    """How a model is fitted, as `fit_each` takes it.

    Parameters
    ----------
    error
        How samples scatter about the curve: log (log-normal), student (heavier tails on the log scale), proportional or
        combined (normal on the copies), counting (the Poisson number of molecules; needs the mass of DNA).
    censoring
        How values below the limit enter: m3 (their probability), m4 (the same, copies being positive), drop or half
        (for comparison only).
    fixed
        Parameters held fixed: f_b=0.0079 beta=0.0032.
    free
        Parameters to estimate, in place of the model's default set.
    prior
        What is known before the samples: published (the spread between patients in the model's file), or for each of
        some parameters a median and the SD of its logarithm: F=4e-4,0.5 beta=0.003,1. Of a share it is the SD of its
        logit; of what may be negative, mean and SD.
    starts
        Local optimisations of each patient; without it as many as the model needs.
    pool_sd
        Let the patients with enough samples tell of the scatter of those with too few.
    doses
        One amount given to everybody at the first infusion, in place of the table's doses; or "one amount", where it is
        not known.
    seed
        Seed of the start values.
    """

    error: str = usual(fit_each, "error")
    censoring: Literal["m3", "m4", "drop", "half"] = usual(fit_each, "censoring")
    fixed: Words = None
    free: Words = None
    prior: Words = None
    starts: int | None = usual(fit_each, "starts")
    pool_sd: Flag = usual(fit_each, "pool_sd")
    doses: float | Literal["one amount"] | None = usual(fit_each, "doses")
    seed: int = usual(fit_each, "seed")

    def of(self, model: Model) -> Asked:
        """The arguments of a fit of a model."""
        return {
            "error": self.error, "censoring": self.censoring, "fixed": numbers(self.fixed, "fixed"),
            "free": names(self.free), "prior": priors(model, self.prior), "starts": self.starts, "doses": self.doses,
            "seed": self.seed,
        }  # fmt: skip


@Option(name="*")
@dataclass(frozen=True)
class Acting:
    """What acts on a model's rates besides, as `Model.with_` takes it.

    Parameters
    ----------
    comedication
        Rates that are multiplied while something is given: tocilizumab=rho steroids=rho,alpha. Each is a new
        parameter, tocilizumab_on_rho. tocilizumab, steroids, IL-2 and N-803 alone act on the rates of the library's
        models that they are known for. When it is given the table says, in rows of doses or a column of that name.
    lasts
        Days that an administration acts: steroids=1. Without it from then on.
    """

    comedication: Words = None
    lasts: Words = None

    def on(self, model: Model) -> Model:
        """The model with it."""
        words = self.comedication or []
        ready = names([word for word in words if "=" not in word]) or []
        given = pairs([word for word in words if "=" in word], "comedication", "tocilizumab=rho")
        for what in given:
            if what in ready:
                raise ValueError(f"--comedication {what} {what}={given[what]}: {what} is given twice.")
        rates = dict.fromkeys(ready) | {what: names([text]) or [] for what, text in given.items()}
        lasts = numbers(self.lasts, "lasts", "steroids=1")
        return model.with_(comedication=rates, lasts=lasts) if rates or lasts else model


@Option(name="*")
@dataclass(frozen=True)
class Working:
    """How long work is done, as `fit_each` takes it. None of it changes a result.

    Parameters
    ----------
    checkpoint
        A folder in which finished patients are kept: the same command goes on where it was stopped or killed. Of
        several models each has a folder in it.
    n_jobs
        Processes that share the patients, -1 for as many as there are processors.
    chunk
        Patients fitted together; fewer are kept, and shared among processes, earlier.
    """

    checkpoint: Path | None = usual(fit_each, "checkpoint")
    n_jobs: int = usual(fit_each, "n_jobs")
    chunk: int | None = usual(fit_each, "chunk")

    def kept(self, name: str, several: bool) -> Path | None:
        """The checkpoint of a model."""
        if self.checkpoint is None or not several:
            return self.checkpoint
        self.checkpoint.mkdir(exist_ok=True)
        return self.checkpoint / name


def find_model(name: str) -> Model:
    """A model of the library by name, or of a user's file by path."""
    return load_model(name) if name.endswith(".py") else models.load(name)


def different(models: list[Model]) -> list[Model]:
    """The models; a ValueError where two have one name, which names their folders too."""
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--model {name} is there twice: name different models.")
    return models


def command(verb: str, table: Path | None, *groups: Reading | Fitting | Acting, **options: Any) -> str:
    """The command line that does it again: what differs from the defaults, and the seed."""
    words = ["cellkinetics", verb, *([] if table is None else [str(table)])]
    given = dict(options)
    for group in groups:
        default = {field.name: field.default for field in fields(group)}
        given |= {n: value for n, value in asdict(group).items() if value != default[n] or n == "seed"}
    for name, value in given.items():
        if value is None or value is False:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *(v if isinstance(v, str) else number_text(v) for v in values)]
    return shlex.join(words)


def pairs(given: Sequence[str] | None, option: str, example: str = "beta=0.0032") -> dict[str, str]:
    """{name: value} of texts such as name=value."""
    found = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--{option} {text}: write name=value, such as {example}.")
        if name in found:
            raise ValueError(f"--{option} {text}: {name} is given twice.")
        found[name] = value
    return found


def numbers(given: Sequence[str] | None, option: str, example: str = "beta=0.0032") -> dict[str, float]:
    """{name: number} of texts such as beta=0.0032."""
    return {name: number(text, f"--{option} {name}={text}") for name, text in pairs(given, option, example).items()}


def names(given: Sequence[str] | None) -> list[str] | None:
    """Names given one by one or with commas."""
    return None if given is None else [name for text in given for name in text.split(",") if name]


def number(text: str, where: str) -> float:
    """The number of a text; where it stands opens the error."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: {text!r} is not a number.") from None


def priors(model: Model | None, given: Sequence[str] | None) -> Mapping[str, Prior] | str | None:
    """Priors by name, each of the kind that its parameter's scale asks for; or "published"."""
    if not given:
        return None
    if model is None:
        raise ValueError(f"--prior {' '.join(given)} is of a model's parameters. Give --model, such as nk_decline.")
    if PUBLISHED in given:
        if len(given) > 1:
            raise ValueError(f"--prior {' '.join(given)}: give {PUBLISHED} alone, or name=median,sd for each.")
        return PUBLISHED
    found: dict[str, Prior] = {}
    for name, text in pairs(given, "prior", "beta=0.003,1").items():
        where = f"--prior {name}={text}"
        parts = text.split(",")
        if len(parts) != 2:
            raise ValueError(f"{where}: write a median and an SD with a comma between, such as beta=0.003,1.")
        if name not in model.parameters and name.partition("_")[0] != "sd":
            known = [*model.parameters, "sd"]
            advice = suggest(name, known)
            raise ModelError(f"{where}: {model.name} has {', '.join(known)}. {advice}".rstrip(), name=name)
        # An sd is estimated on the log scale.
        scale = model.parameters[name].scale if name in model.parameters else "log"
        found[name] = SCALES[scale](*(number(part, where) for part in parts))
    return found


def windows(given: Sequence[str] | None) -> list[tuple[float, float] | str] | None:
    """Windows such as 0-28, and names of quantities as they are."""
    if given is None:
        return None
    ends = [re.fullmatch(r"([\d.]+)[-:]([\d.]+)", text) for text in given]
    return [
        text if end is None else (number(end[1], f"--windows {text}"), number(end[2], f"--windows {text}"))
        for text, end in zip(given, ends, strict=True)
    ]
