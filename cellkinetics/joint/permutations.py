"""The refits behind a model-based comparison: doses, or groups, given to other patients, and each patient left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.joint import fitting as joint_fitting
from cellkinetics.joint.design import ALL, BY_DOSE, Joint, levels
from cellkinetics.joint.evaluation import Batched
from cellkinetics.joint.fitting import Members
from cellkinetics.joint.misfit import misfits_of
from cellkinetics.joint.search import Worlds, polish, search
from cellkinetics.joint.spread import spread_of
from cellkinetics.lazily import special
from cellkinetics.saving import storable
from cellkinetics.statistics import arrangements
from cellkinetics.words import dose_text

REFIT_PROMISE = 1e-6  # log-likelihood units that a refit may still promise
TIED_RATIOS = 1e-4  # likelihood ratios nearer than this are tied
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Moves:
    """Whose dose, or group, each patient gets.

    levels : the doses, or the groups, in order. groups : (n,) which each patient has. given : (m, n) which each gets.
    every : whether these are all arrangements. count : how many there are. smallest : the smallest possible p.
    """

    levels: Sequence[object]
    groups: Ints
    given: Ints
    every: bool
    count: int
    smallest: float

    @classmethod
    def of(cls, members: Members, by: str, permutations: int, seed: int) -> Moves:
        """All arrangements where there are no more than ``permutations``, else so many at random."""
        drives = joint_fitting.driver(members, by)
        known = levels(members.study, by, drives)
        groups = np.array([known.index(value) for value in drives])
        sizes = np.bincount(groups).tolist()
        count = arrangements.count(sizes)
        every = count <= permutations
        rng = np.random.default_rng(seed)
        given = arrangements.all_of(sizes) if every else arrangements.sampled(sizes, permutations, rng)
        least = _alike(known, sizes, by) / count
        return cls(known, groups, given.astype(int), every, count, least if every else max(least, 1 / (len(given) + 1)))

    def __len__(self) -> int:
        return len(self.given)


def _alike(known: Sequence[object], sizes: Sequence[int], by: str) -> int:
    """How many arrangements have the same likelihood ratio by symmetry."""
    if by != BY_DOSE:
        return math.prod(math.factorial(sizes.count(size)) for size in set(sizes))
    ln_dose = np.log(np.array(known, float))
    even = np.allclose(ln_dose - ln_dose[0], (ln_dose[-1] - ln_dose)[::-1])
    return 2 if even and list(sizes) == list(sizes)[::-1] else 1


Refits = dict[str, Any]


@storable
@dataclass(frozen=True, eq=False)
class Nested:
    """The fits without and with an effect, and with it each patient left out.

    start : shared and own values from which arrangements are refitted. null : log-likelihood without the effect.
    value, s, u : of the fit with it. without : (n, p) shared values with each patient left out.
    all_converged : whether all of these did. converged : whether the two fits of all patients did.
    missed : of the fit with the effect, whose curves miss their samples, "all" where the sd of all is too large.
    """

    start: tuple[Floats, Floats]
    null: float
    value: float
    s: Floats
    u: Floats
    without: Floats
    all_converged: bool
    converged: bool
    missed: Sequence[str]


def nested(members: Members, names: tuple[str, ...], moves: Moves) -> Nested:
    """Fit without and with the effect, and leave out each patient."""
    patients = Batched(members.problems)
    plain = replace(members, shared={**members.shared, **dict.fromkeys(names, ALL)})
    null = joint_fitting.solve(plain, joint_fitting.joint_of(plain, patients), patients)
    joint = joint_fitting.joint_of(members, patients)
    known = {column.parameter: null.ends.s[0, k] for k, column in enumerate(null.joint.columns)}
    s = np.array([[0.0 if column.slope else known[column.parameter] for column in joint.columns]])
    observed = search(joint.layout, patients, s, null.ends.u, small=REFIT_PROMISE)
    n = len(moves.groups)
    # At a corner of the likelihood (a switch on a sampled day) scoring steps end without a flat slope.
    ended = observed.converged[0] or bool(members.request.model.corners)
    again = np.repeat(observed.s, n, axis=0), np.repeat(observed.u, n, axis=0)
    without = search(joint.layout, patients, *again, 1 - np.eye(n), small=REFIT_PROMISE)
    return Nested(
        (s, null.ends.u), float(null.ends.value[0]), float(observed.value[0]), observed.s, observed.u, without.s,
        bool(without.converged.all()), bool(null.ends.converged[0] and ended),
        _missed(members, joint, patients, observed),
    )  # fmt: skip


def refitted(members: Members, names: tuple[str, ...], moves: Moves, fits: Nested, first: int, end: int) -> Refits:
    """Refit some of the arrangements, in whatever process."""
    return Test.of(members, names, moves, fits).refit(slice(first, end))


@dataclass(eq=False)
class Test:
    """The test of one parameter, or of several tested together.

    ratios : (done,) likelihood ratios of the arrangements. refitted : (done,) whether they converged.
    """

    members: Members
    names: tuple[str, ...]
    moves: Moves
    joint: Joint
    patients: Batched
    nested: Nested
    ratios: Floats
    refitted: Flags

    @classmethod
    def of(cls, members: Members, names: tuple[str, ...], moves: Moves, nested: Nested) -> Test:
        """Before the first permutation."""
        patients = Batched(members.problems)
        joint = joint_fitting.joint_of(members, patients)
        return cls(members, names, moves, joint, patients, nested, np.zeros(0), np.zeros(0, bool))

    def refit(self, which: slice) -> Refits:
        """Refit some of the arrangements from the fit without the effect."""
        given = self.moves.given[which]
        s, u = (np.repeat(part, len(given), axis=0) for part in self.nested.start)
        layout = replace(self.joint.layout, design=self._design(given))
        ends = search(layout, self.patients, s, u, small=REFIT_PROMISE)
        return {"ratios": 2 * (ends.value - self.nested.null), "converged": ends.converged}

    def take(self, refits: Refits) -> int:
        """Add refits; how many."""
        self.ratios = np.append(self.ratios, refits["ratios"])
        self.refitted = np.append(self.refitted, refits["converged"])
        return len(refits["ratios"])

    def _design(self, given: Ints) -> Floats:
        """(m, n, d, p) of arrangements (m, n)."""
        base = self.joint.layout.design
        design = np.repeat(base, len(given), axis=0)
        n = np.arange(base.shape[1])
        for k, column in enumerate(self.joint.columns):
            if column.parameter not in self.names or (column.of == ALL and not column.slope):
                continue
            at = [problem.free.index(column.parameter) for problem in self.joint.problems]
            # What the first of each group has is what goes with the group.
            weights = np.array([base[0, i, at[i], k] for i in np.unique(self.moves.groups, return_index=True)[1]])
            design[:, n, at, k] = weights[given]
        return design

    @property
    def converged(self) -> bool:
        """Whether the fits without and with the effect did."""
        return self.nested.converged

    @property
    def missed(self) -> Sequence[str]:
        """Whose curves miss their samples, with "all" where the sd of all is too large."""
        return self.nested.missed

    @property
    def ratio(self) -> float:
        """The likelihood ratio, twice the difference of the log-likelihoods."""
        return 2 * (self.nested.value - self.nested.null)

    @property
    def df(self) -> int:
        """By how many values the models differ."""
        return len(self.joint.columns) - len({column.parameter for column in self.joint.columns})

    @property
    def p(self) -> float:
        """Share of arrangements with a likelihood ratio as large, the observed one among them; NaN without a fit."""
        if not (self.converged and np.isfinite(self.ratio) and len(self.ratios)):
            return math.nan
        # A refit that could not be solved at all counts against the effect.
        as_large = int((~(self.ratios < self.ratio - TIED_RATIOS)).sum())
        if self.moves.every and len(self.ratios) == len(self.moves):
            return max(as_large, 1) / len(self.ratios)
        return (1 + as_large) / (1 + len(self.ratios))

    def effect(self, by: str) -> dict[str, object]:
        """Estimate and interval of one parameter's effect, from leaving out each patient in turn (jackknife)."""
        (name,), fits = self.names, self.nested
        scale = self.members.request.model.parameters[name].scale
        mine = [k for k, column in enumerate(self.joint.columns) if column.parameter == name]
        groups, size = self.moves.groups, len(self.moves.levels)
        if by == BY_DOSE:
            (slope,) = [k for k in mine if self.joint.columns[k].slope]
            at, each, degrees = fits.s[0, slope], fits.without[:, slope], len(groups) - 2
            variance = (len(groups) - 1) / len(groups) * np.sum((each - each.mean()) ** 2)
            what = "dose exponent" if scale == "log" else f"change of the {scale} a unit of ln dose"
        else:
            low, high = mine[0], mine[-1]
            at, each = fits.s[0, high] - fits.s[0, low], fits.without[:, high] - fits.without[:, low]
            variance = 0.0
            for group in (0, size - 1):
                own = each[groups == group]
                variance += np.sum((own - own.mean()) ** 2) * (len(own) - 1) / len(own) if len(own) > 1 else math.nan
            degrees = int(np.isin(groups, [0, size - 1]).sum()) - 2
            kind = {"log": "ratio", "logit": "odds ratio", "identity": "difference"}[scale]
            what = f"{kind} {self.moves.levels[-1]} : {self.moves.levels[0]}"
        if degrees < 1 or not fits.all_converged:
            variance = math.nan
        half = special.stdtrit(max(degrees, 1), 0.5 + LEVEL / 2) * np.sqrt(variance)
        ends = np.array([at, at - half, at + half])
        if by != BY_DOSE and scale != "identity":
            ends = np.exp(ends)
        interval = dict(zip(("estimate", "lower", "upper"), map(float, ends), strict=True))
        return {"effect": what, **interval, "level": LEVEL}

    def values(self) -> str:
        """The fitted value of each group, or at the lowest and the highest dose."""
        texts = []
        x = self.joint.layout.x(self.nested.s, self.nested.u)[0]
        shown = range(len(self.moves.levels))
        for name in self.names:
            to = self.members.request.model.parameters[name].from_estimation
            said = []
            for group in shown if self.moves.levels and isinstance(self.moves.levels[0], str) else (0, shown[-1]):
                i = int(np.flatnonzero(self.moves.groups == group)[0])
                level = self.moves.levels[group]
                label = level if isinstance(level, str) else dose_text(float(str(level)))
                said.append(f"{label}: {to(x[i, self.joint.problems[i].free.index(name)]):.3g}")
            texts.append((f"{name} " if len(self.names) > 1 else "") + ", ".join(said))
        return "; ".join(texts)


def _missed(members: Members, joint: Joint, patients: Batched, observed: Worlds) -> list[str]:
    """Whose curves miss their samples, with "all" where the sd of all is too large."""
    solution = joint_fitting.ended(joint, polish(joint.layout, patients, observed.s, observed.u))
    spread = spread_of(joint, solution.part, solution.held, members.few)
    return [name for name, misfit in misfits_of(members, solution, spread).items() if misfit]
