"""Roles in a population: what varies between patients, what covariates drive, and the matrices of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.data.groups import EVER_GIVEN, ever_given, named
from cellkinetics.data.study import Study
from cellkinetics.errors import ModelError, suggest
from cellkinetics.joint.design import BY_DOSE, covariate_of, levels
from cellkinetics.lazily import pandas as pd
from cellkinetics.modelling.comedication import factor_of
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.prior import centre
from cellkinetics.population.patients import Patients
from cellkinetics.words import count as counted

SD_BETWEEN = "sd between"
# Words before the name of a covariate: its ln, as the dose is taken, and its values as groups, numbers or not.
LN, GROUPS_OF = "ln ", "groups of "
Covariates = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Effect:
    """One column of the design: the mean of a parameter, or what a covariate adds to it on the estimation scale.

    covariate : "" for the mean, else as it was asked for: "age", "ln vcn", "groups of donor". column : of the study's
    covariates. level : of a covariate with groups, the one that differs from the first. centre : of a number, where the
    parameter is its mean. on_ln : whether ln of the number counts, about its geometric mean. reference : first group.
    """

    parameter: str
    covariate: str = ""
    level: str = ""
    centre: float = np.nan
    reference: str = ""
    column: str = ""
    on_ln: bool = False

    def weight(self, value: Any) -> float:
        """What the coefficient is multiplied by in a patient with this value of the covariate."""
        if self.level:
            return float(named(value) == self.level)
        number = float(value)
        if self.on_ln and not number > 0:
            raise ModelError(f"{self.column}={number:g}: {self.covariate} is on the ln scale, give a number above 0.")
        return float(np.log(number / self.centre)) if self.on_ln else number - self.centre

    @property
    def label(self) -> str:
        """As tables name it: c_max, c_max:dose, alpha:cohort B."""
        return self.parameter if not self.covariate else f"{self.parameter}:{self.covariate} {self.level}".rstrip()


@dataclass(frozen=True, eq=False)
class Design:
    """Estimates of n patients are ``matrix`` @ beta, and what varies has a random effect besides.

    Parameters
    ----------
    names : (k,) free parameters, in the order of the model, then the sds that patients have of their own.
    random : names of those that vary, in that order.
    effects : (p,) the columns of the matrix.
    matrix : (n, k, p).
    correlated : blocks of names whose random effects are correlated.
    """

    names: tuple[str, ...]
    random: tuple[str, ...]
    effects: tuple[Effect, ...]
    matrix: Floats
    correlated: tuple[tuple[str, ...], ...] = ()

    @cached_property
    def places(self) -> Ints:
        """(q,) where the random ones stand among the names."""
        return np.array([self.names.index(name) for name in self.random], int)

    @cached_property
    def scored(self) -> Flags:
        """(p,) whether a column belongs to a parameter without random effect."""
        return np.array([effect.parameter not in self.random for effect in self.effects], bool)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Of random effects that are correlated, each pair once."""
        at = {name: i for i, name in enumerate(self.random)}
        pairs = [(at[a], at[b]) for block in self.correlated for i, a in enumerate(block) for b in block[i + 1 :]]
        return sorted({(min(pair), max(pair)) for pair in pairs})

    @cached_property
    def mask(self) -> Floats:
        """(q, q) 1 where the covariance is not 0 by design."""
        mask = np.eye(len(self.random))
        for a, b in self.pairs:
            mask[a, b] = mask[b, a] = 1.0
        return mask

    def without_effects(self, names: Sequence[str], own_sds: Sequence[str] = ()) -> Design:
        """With one value for all of what had a random effect; of ``own_sds`` that is no longer part of the design."""
        blocks = [tuple(name for name in block if name not in names) for block in self.correlated]
        left = tuple(name for name in self.random if name not in names)
        gone = {*names} & {*own_sds}
        columns = [at for at, effect in enumerate(self.effects) if effect.parameter not in gone]
        rows = [at for at, name in enumerate(self.names) if name not in gone]
        return replace(
            self, names=tuple(self.names[at] for at in rows), random=left,
            effects=tuple(self.effects[at] for at in columns), matrix=self.matrix[:, rows][:, :, columns],
            correlated=tuple(block for block in blocks if len(block) > 1),
        )  # fmt: skip

    def correlation(self, omega: Any) -> dict[tuple[str, str], float]:
        """Of each pair, by a covariance (q, q) of the random effects."""
        variance = np.diag(np.asarray(omega))
        return {
            (self.random[a], self.random[b]): float(omega[a, b] / np.sqrt(variance[a] * variance[b]))
            for a, b in self.pairs
        }

    @property
    def labels(self) -> list[str]:
        """Of all that is estimated but for the sds of the error: means and coefficients, spreads, correlations."""
        spreads = [f"{SD_BETWEEN} {name}" for name in self.random]
        linked = [f"correlation {self.random[a]}, {self.random[b]}" for a, b in self.pairs]
        return [*(effect.label for effect in self.effects), *spreads, *linked]


def design_of(
    patients: Patients,
    random: Sequence[str] | None,
    covariates: Covariates | None,
    correlated: Sequence[Sequence[str]] = (),
) -> Design:
    """The design of those who take part, checked.

    Raises
    ------
    ModelError
        A name that is not free, a covariate that is unknown, missing or the same in all patients, too few patients.
    """
    names, n = (*patients.names, *patients.own_sds), len(patients.subjects)
    if covariates is not None and not isinstance(covariates, Mapping):
        raise ModelError(f"covariates={covariates!r} does not say of what. Give {{parameter: covariate}}.")
    for name in random or ():
        _require(name, names, "random", patients)
    varying = names if random is None else tuple(name for name in names if name in (*random, *patients.own_sds))
    effects, columns = [], []
    given = {name: (how,) if isinstance(how, str) else tuple(how) for name, how in (covariates or {}).items()}
    for name in given:
        _require(name, names, "covariates", patients)
    for name in names:
        effects.append(Effect(name))
        columns.append((name, np.ones(n)))
        if twice := [how for how in dict.fromkeys(given.get(name, ())) if given[name].count(how) > 1]:
            raise ModelError(f"covariates: {twice[0]} is given twice for {name}. Give it once.", name=name)
        for how in given.get(name, ()):
            for effect, weights in _of_covariate(patients.study, patients.subjects, name, how):
                effects.append(effect)
                columns.append((name, weights))
    matrix = np.zeros((n, len(names), len(columns)))
    for at, (name, weights) in enumerate(columns):
        matrix[:, names.index(name), at] = weights
    _enough(n, varying, effects, patients.own_sds)
    design = Design(names, varying, tuple(effects), matrix, _blocks(correlated, varying))
    if np.linalg.matrix_rank(matrix.reshape(-1, len(effects))) < len(effects):
        raise ModelError("covariates tell the same of these patients: leave one of them out.")
    return design


def apart(
    model: Model, study: Study, covariates: Covariates | None, fixed: Mapping[str, float]
) -> tuple[Covariates | None, list[str]]:
    """What of ``covariates`` is of patients, and factors of the comedications among them: {"mu0": "IL-2"}.

    Raises
    ------
    ModelError
        A factor that is fixed, or a comedication that nobody was given.
    """
    if not isinstance(covariates, Mapping):
        return covariates, []
    others: dict[str, list[str]] = {}
    factors: list[str] = []
    for name, given in covariates.items():
        for how in (given,) if isinstance(given, str) else given:
            factor = factor_of(model, name, how)
            if factor is None:
                others.setdefault(name, []).append(how)
                continue
            asked = f"covariates={{{name!r}: {how!r}}}"
            if factor in fixed:
                raise ModelError(f"{asked} is the factor {factor}, which is fixed. Leave one of the two out.", name)
            if not (ever_given(study, how).members == EVER_GIVEN.format(how)).any():
                raise ModelError(f"{asked}: nobody in the study was given {how}. Leave it out.", name)
            factors.append(factor)
    return others or None, factors


def varying_of(patients: Patients, random: Sequence[str] | None, factors: Sequence[str]) -> Sequence[str] | None:
    """What varies, as `design_of` takes it: of factors only those that ``random`` names."""
    return [name for name in patients.names if name not in factors] if random is None and factors else random


def prior_of(patients: Patients, design: Design) -> tuple[Floats, Floats]:
    """Means and precisions (d,) of all that `louis.vector_of` has, precision 0 without a prior."""
    places = {effect.parameter: at for at, effect in enumerate(design.effects) if not effect.covariate}
    places |= {f"{SD_BETWEEN} {name}": len(design.effects) + at for at, name in enumerate(design.random)}
    size = len(design.labels)
    places |= {name: size + at for at, name in enumerate(patients.common_sds)}
    mean, precision = np.zeros((2, size + len(patients.common_sds)))
    for name, given in patients.request.prior.items():
        if name not in places:
            what = "it has no random effect" if name.startswith(SD_BETWEEN) else "it is not free"
            raise ModelError(f"prior of {name}: {what}.", name=name)
        mean[places[name]], precision[places[name]] = centre(patients.model, name, given), 1 / given.sd**2
    return mean, precision


def _require(name: str, names: Sequence[str], where: str, patients: Patients) -> None:
    if name in names:
        return
    if name in patients.sd_names and name not in patients.request.fixed:
        raise ModelError(f"{where}: {name} is common to all patients. Give common_sd=False besides.", name=name)
    if name not in patients.sd_names:
        patients.model.require(name)
    held = "fixed" if name in patients.request.fixed else "tied" if name in patients.request.tie else "not free"
    raise ModelError(f"{where}: {name} is {held}. Free are {', '.join(names)}.", name=name)


def _enough(n: int, varying: Sequence[str], effects: Sequence[Effect], own_sds: Sequence[str]) -> None:
    """A spread needs patients: as many as there are means, coefficients and one more for what varies."""
    if varying and n < len(varying) + 2:
        most = max(n - 2 - len(own_sds), 0)
        advice = (
            f"give random= with at most {most} name{'s' if most != 1 else ''}" if most else "fit each by ck.fit_each"
        )
        if own_sds:
            advice = f"leave common_sd=False out{f', or {advice}' if most else ''}"
        raise ModelError(f"{counted(len(varying), 'random effect')} from {counted(n, 'patient')}: {advice}.")
    for name in {effect.parameter for effect in effects}:
        count = sum(effect.parameter == name for effect in effects)
        if count > 1 and n < count + 2:
            of = f"{counted(count - 1, 'coefficient')} of {name} from {counted(n, 'patient')}"
            raise ModelError(f"{of}: give fewer covariates.", name=name)


def _of_covariate(study: Study, subjects: Sequence[str], name: str, how: str) -> list[tuple[Effect, Floats]]:
    """The columns of one covariate of one parameter."""
    column, word = _column(study, name, how)
    values = study.covariates[column]
    on_ln = word == LN or how == BY_DOSE
    numeric = on_ln or (pd.api.types.is_numeric_dtype(values) and not isinstance(values.dtype, pd.BooleanDtype))
    if word == GROUPS_OF or not numeric:
        numeric, driver = False, covariate_of(study, name, column, subjects)
        if column == BY_DOSE:
            raise ModelError(f"covariates={{{name!r}: {how!r}}}: a dose is a number. Take {BY_DOSE!r}, or 'cohort'.")
    elif on_ln and column != BY_DOSE and not pd.api.types.is_numeric_dtype(values):
        raise ModelError(f"covariates={{{name!r}: {how!r}}}: {column} is no number and has no ln. Take {column!r}.")
    else:
        driver = values.astype(float).reindex(list(subjects))
        driver = driver.where(driver > 0) if on_ln else driver
    if not numeric and word != GROUPS_OF:
        numbers = pd.to_numeric(values, errors="coerce").reindex(list(subjects))
        endless = [(subject, values.loc[subject]) for subject in subjects if np.isinf(numbers[subject])]
        if endless and numbers.notna().all():
            subject, value = endless[0]
            raise ModelError(f"{column} of {subject} is {value}: give a number, or leave it empty.", name)
    missing = [subject for subject, value in driver.items() if pd.isna(value)]
    if missing:
        what = f"{column} above 0" if on_ln else column
        raise ModelError(
            f"no {what} of {', '.join(map(str, missing[:5]))}, which drives {name}. Give it, or leave the patient out "
            "(study.select).",
            name=name,
        )
    if driver.nunique() == 1:
        raise ModelError(f"{column} is the same in all patients: it cannot drive {name}.", name=name)
    if not numeric:
        first, *others = [str(level) for level in levels(study, column, driver)]
        member = driver.astype(str).to_numpy()
        return [
            (Effect(name, how, level, reference=first, column=column), np.where(member == level, 1.0, 0.0))
            for level in others
        ]
    numbers = np.log(driver.to_numpy(float)) if on_ln else driver.to_numpy(float)
    centre = float(numbers.mean())
    effect = Effect(name, how, centre=float(np.exp(centre)) if on_ln else centre, column=column, on_ln=on_ln)
    return [(effect, np.asarray(numbers - centre, float))]


def _column(study: Study, name: str, how: str) -> tuple[str, str]:
    """The column of a covariate, and the word before it; a column of just this name comes first."""
    known = [str(each) for each in study.covariates]
    for word in ("", LN, GROUPS_OF):
        if how.startswith(word) and how.removeprefix(word) in known:
            return how.removeprefix(word), word
    numbers = [f"{LN}{each}" for each in known if pd.api.types.is_numeric_dtype(study.covariates[each])]
    near = suggest(how, [*known, *numbers, *(f"{GROUPS_OF}{each}" for each in known)])
    raise ModelError(
        f"covariates={{{name!r}: {how!r}}}: take one of {', '.join(known)}, or {LN!r} or {GROUPS_OF!r} before it. "
        f"{near}".rstrip(),
        name=name,
    )


def _blocks(correlated: Sequence[Sequence[str]], varying: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    blocks = []
    for block in correlated:
        if isinstance(block, str):
            raise ModelError(
                f"correlated={correlated!r}: give blocks of names, such as [({block!r}, ...)].", name=block
            )
        for name in block:
            if name not in varying:
                raise ModelError(f"correlated: {name} has no random effect.", name=name)
        if len(set(block)) < 2:
            raise ModelError(f"correlated: ({', '.join(map(repr, block))},) is one name. Give two or more.")
        blocks.append(tuple(dict.fromkeys(block)))
    for i, block in enumerate(blocks):
        for other in blocks[i + 1 :]:
            if set(block) & set(other):
                shared = sorted(set(block) & set(other))[0]
                raise ModelError(
                    f"correlated: {shared} is in two blocks. Give one block with all of them.", name=shared
                )
    return tuple(blocks)
