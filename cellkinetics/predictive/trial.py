"""`virtual_trial`: what other doses and schedules would do in other patients of a population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.domains import Size
from cellkinetics.errors import ModelError, suggest
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special
from cellkinetics.modelling.course import as_courses
from cellkinetics.modelling.dosing import Doses
from cellkinetics.modelling.provenance import Provenance
from cellkinetics.optimising.samples import Samples
from cellkinetics.population.prediction import covariates_of, matrix_of
from cellkinetics.population.result import PopulationFit
from cellkinetics.population.running import UNSOLVED
from cellkinetics.predictive import other_patients
from cellkinetics.predictive.ahead import Ahead, beyond
from cellkinetics.predictive.described import HasDraws, estimated
from cellkinetics.predictive.drawn_covariates import GivenCovariates, rows_of
from cellkinetics.predictive.posterior import ROWS_APART_AHEAD, limits_of
from cellkinetics.predictive.regimens import Regimen, regimen_of, unseen
from cellkinetics.running.phases import Phases
from cellkinetics.saving import Saves, storable
from cellkinetics.solving.solver import Courses, few_sizes
from cellkinetics.words import WIDE, count, labelled, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEED_OF_ROWS = 2  # beside the seed of a trial
FEW_OF_ONE = 20  # patients of one population, from which on shares of it are looked at


@storable
@dataclass(frozen=True, eq=False)
class VirtualTrial(Ahead, Saves, HandsOutCopies):
    """Simulated patients of a population under several regimens, the same patients in each arm.

    Parameters
    ----------
    table
        One row an arm, time and output, in the unit of the samples: arm, day, output; typical, the curve of the median
        patient, with typical_lower and typical_upper, its interval at ``level`` by the errors of the estimates; median,
        lower and upper of the curves of all patients, in which both the spread between patients and the errors of the
        estimates are; sample_lower and sample_upper, between which a sample would lie, its error included.
    arms : one row an arm: arm, given (in words), dose (of the first infusion), unsolved (share of patients without a
        curve, who are left out).
    outcome : "complete", or in words what is missing.
    populations : estimates drawn from their covariance, or taken from a posterior; 0 where they were taken as known.
    patients, level, seed, unit : as asked.
    limits : {output: largest lower limit of the study, NaN where none is known}.
    simulated : whether the study says that it is simulated.
    ln_curves, drawn : (patients, arms, rows of an arm in the table) ln of the curves, and copies of samples about them.
    typical : (populations or 1, arms, rows) ln of the curve of the median patient of each population.
    of_posterior : whether they are draws of a posterior, and known ones its means.
    covariate_rows : from how many rows the patients' covariates were drawn; 1 where all have the same.
    """

    table: pd.DataFrame
    arms: pd.DataFrame
    outcome: str
    populations: int
    patients: int
    level: float
    seed: int
    unit: str
    limits: dict[str, float]
    simulated: bool
    ln_curves: Floats = field(repr=False)
    drawn: Floats = field(repr=False)
    typical: Floats = field(repr=False)
    origin: Provenance = field(default=Provenance(), repr=False)
    of_posterior: bool = False
    covariate_rows: int = 1

    def share_above(self, level: float, day: float, *, output: str | None = None, sample: bool = False) -> pd.DataFrame:
        """The share of patients above a level on a day, by arm.

        Parameters
        ----------
        level : in the unit of the samples.
        day : one of the times of the trial. output : which; the first when not given.
        sample : whether it is samples that are counted, their error included, and not curves.

        Returns
        -------
        DataFrame
            By arm: share, and the interval lower to upper at the trial's level in which the share of a population lies
            as far as the estimates are known: of a beta distribution with the variance between populations, without
            what comes from few patients of each. NaN where estimates were taken as known, and with fewer than 20
            patients of each population, of which the summary tells.
        """
        own = self.table[self.table["arm"] == self.arms["arm"].iloc[0]]
        at = self._row(own, day, output)
        curves = self.ln_curves[:, :, at]
        above = np.where(np.isnan(curves), np.nan, beyond(level, sample, curves, self.drawn[:, :, at]))
        rows = [(name, *self._share(above[:, arm])) for arm, name in enumerate(self.arms["arm"])]
        return pd.DataFrame(rows, columns=["arm", "share", "lower", "upper"]).set_index("arm")

    def detectable(self, day: float, *, limit: float | None = None, output: str | None = None) -> pd.DataFrame:
        """The share of samples above the limit on a day, by arm, as `share_above`.

        Parameters
        ----------
        day, output : as in `share_above`. limit : of the assay; the study's when not given.

        Raises
        ------
        ModelError
            No limit is known.
        """
        limit = self._limit(limit, output)
        return self.share_above(limit, day, output=output, sample=True)

    def ratio_to(self, arm: str) -> pd.DataFrame:
        """What the other arms are to one of them: ratios of curves of the median patient and of the same patients.

        Parameters
        ----------
        arm : the one in the denominator.

        Returns
        -------
        DataFrame
            One row another arm, time and output: arm, day, output, ratio of the median patient's curves with its
            interval lower to upper by the errors of the estimates, and higher, the share of patients whose curve is
            higher than with ``arm``.
        """
        names = list(self.arms["arm"])
        if arm not in names:
            raise ModelError(f"there is no arm {arm!r}. {suggest(arm, names)}".rstrip())
        base, rows = names.index(arm), self.table[self.table["arm"] == arm][["day", "output"]]
        tables = []
        for at, name in enumerate(names):
            if at == base:
                continue
            ratio = np.exp(self.typical[:, at] - self.typical[:, base])
            lower, upper = _between(ratio, self.level) if self.populations else (np.nan, np.nan)
            higher = np.nanmean(self.ln_curves[:, at] > self.ln_curves[:, base], axis=0)
            middle = self.table[self.table["arm"] == name]["typical"].to_numpy(float)
            usual = self.table[self.table["arm"] == arm]["typical"].to_numpy(float)
            tables.append(
                rows.assign(arm=name, ratio=middle / usual, lower=lower, upper=upper, higher=higher)[
                    ["arm", "day", "output", "ratio", "lower", "upper", "higher"]
                ]
            )
        if not tables:
            raise ModelError("there is one arm only: give two or more in arms=.")
        return pd.concat(tables, ignore_index=True)

    def last_day(self) -> pd.DataFrame:
        """The last day of each arm, first output: arm, given, day, typical, lower and upper of patients, detectable."""
        first = self.table["output"].iloc[0]
        last = self.table["day"].max()
        rows = self.table[(self.table["output"] == first) & (self.table["day"] == last)]
        table = self.arms[["arm", "given"]].merge(rows[["arm", "day", "typical", "lower", "upper"]], on="arm")
        if np.isfinite(self.limits[str(first)]):
            table["detectable"] = self.detectable(float(last))["share"].to_numpy()
        return table

    @domains.picture
    def plot(self, *, output: str | None = None, axes: Sequence[Axes] | None = None, size: Size = None) -> Figure:
        """A panel an arm: the median patient, the band of others and of samples; below it who is detectable.

        Parameters
        ----------
        output : which; the first when not given.
        axes
            one for each arm and, where a limit is known, one more for each below: as of ``plt.subplots(2, arms)``.
        size : width and height in mm of a new figure.
        """
        from cellkinetics.figures import forecast

        return forecast.plot_trial(self, self._called(output), axes)

    def summary(self) -> str:
        """The trial in words: who was simulated, what was given, and the last day of each arm."""
        known = f"{'means of the posterior' if self.of_posterior else 'estimates'} taken as known"
        if self.populations:
            source = "the posterior" if self.of_posterior else "their covariance"
            known = f"estimates drawn {count(self.populations, 'time')} from {source}"
        drawn = f", with covariates drawn from {self.covariate_rows:,} rows" if self.covariate_rows > 1 else ""
        lines = [
            f"Virtual trial of {self.patients:,} patients an arm" + (" (simulated data)" if self.simulated else ""),
            *labelled("spread", f"between patients{drawn}; {known}", width=WIDE),
        ]  # fmt: skip
        first = str(self.table["output"].iloc[0])
        for row in self.arms.to_dict("records"):
            last = self.table[(self.table["arm"] == row["arm"]) & (self.table["output"] == first)].iloc[-1]
            text = (
                f"{row['given']}. Day {last['day']:g}: {last['median']:.3g} {self.unit} "
                f"({self.level:.0%}: {last['lower']:.3g} to {last['upper']:.3g})"
            )
            limit = self.limits[first]
            if np.isfinite(limit):
                share = float(self.detectable(float(last["day"])).loc[row["arm"], "share"])  # pyright: ignore[reportArgumentType]
                text += f", {share:.0%} of samples above {plain(limit)}"
            lines += labelled("arm", f"{row['arm']}: {text}", width=WIDE)
        if self.populations and self.patients < FEW_OF_ONE * self.populations:
            of = f"{FEW_OF_ONE} patients of each of the {count(self.populations, 'population')}"
            lines += labelled("shares", f"without intervals: they take {of}", width=WIDE)
        lines += labelled("outcome", self.outcome, width=WIDE)
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        return f"<VirtualTrial of {count(len(self.arms), 'arm')}, {self.patients:,} patients each: {self.outcome}>"

    def _share(self, above: Floats) -> tuple[float, float, float]:
        """Of one arm, with the interval by the errors of the estimates."""
        share = float(np.nanmean(above)) if np.isfinite(above).any() else np.nan
        if not self.populations or self.patients < FEW_OF_ONE * self.populations or np.isnan(share):
            return share, np.nan, np.nan
        member = np.arange(len(above)) % self.populations
        known = np.isfinite(above)
        n = np.bincount(member[known], minlength=self.populations)
        each = np.bincount(member[known], above[known], minlength=self.populations)[n > 1] / n[n > 1]
        # What is between populations beyond the chance of who was drawn of each.
        chance = float(np.mean(each * (1 - each) / (n[n > 1] - 1)))
        variance = float(np.var(each, ddof=1)) - chance
        most = share * (1 - share)
        if not variance > 1e-12 * most or most == 0:
            return share, share, share
        size = most / min(variance, 0.999 * most) - 1
        lower, upper = special.betaincinv(
            share * size, (1 - share) * size, (0.5 - self.level / 2, 0.5 + self.level / 2)
        )
        return share, float(lower), float(upper)


def virtual_trial(
    population: PopulationFit | HasDraws,
    times: npt.ArrayLike,
    arms: Mapping[str, object],
    *,
    covariates: GivenCovariates = None,
    inputs: Mapping[str, Any] | None = None,
    patients: int = 10_000,
    populations: int = 100,
    level: float = 0.9,
    seed: int = 2020,
) -> VirtualTrial:
    """Other patients of a population under regimens that nobody has had yet: doses, repeats, schedules.

    Each patient has random effects drawn from the population, the same in every arm, so that arms differ by what is
    given and by nothing else. Means, coefficients and spreads are themselves drawn from the covariance of the estimates
    (normal on the scale of estimation), so that what is not known of the population is in the result. Curves are solved
    block by block: but for 8 bytes a patient, arm, time and output the memory does not grow with the patients.

    Parameters
    ----------
    population : a fit of `fit_population`, or a posterior of `sample_posterior`, whose draws are taken for those of the
        estimates, and their means for the estimates.
    times : (n,) days since the first infusion.
    arms
        {name: doses}, doses as `simulate` takes them: 1e6; [(0, 1e6), (28, 1e6)]; or by channel, as in
        {"cells": [(0, 1e6), (28, 1e6)], "lymphodepletion": [(0, 1), (28, 1)]} of a model that knows them.
    covariates
        {covariate: value} of all patients, as in `PopulationFit.predict`; {covariate: (n,) values}, a DataFrame or a
        study, such as that of the population, from whose rows each patient's are drawn, a whole row at a time and the
        same in every arm. The median patient is then one in whom what they add up to on the scale of estimation is the
        mean of the rows. Where the dose drives a parameter it is that of the first infusion of the arm.
    inputs : covariates over time, where the model takes any, as in `simulate`.
    patients : of each arm.
    populations : how often the estimates are drawn; 0 takes them as known.
    level : of bands and intervals.
    seed : of all that is drawn.

    Returns
    -------
    VirtualTrial
        ``.table``, ``.share_above(level, day)``, ``.detectable(day)``, ``.ratio_to(arm)``, ``.plot()``, ``.summary()``.

    Raises
    ------
    TypeError
        No population; covariates that are none of these.
    ModelError
        No arm, a regimen that cannot be, a covariate that drives nothing, a row that lacks one.
    ValueError
        Fewer patients than populations, covariates of different lengths.

    Examples
    --------
    .. code-block:: python

       population = ck.fit_population(ck.models.load("nk_decline"), ck.example(), free=["F", "alpha"])
       arms = {"once": 1e7, "twice": [(0, 1e7), (28, 1e7)]}
       trial = ck.virtual_trial(population, [7, 28, 90], arms, patients=2000)
       print(trial.last_day())
       print(trial.detectable(90))
    """
    phases = Phases()
    days = domains.since_infusion(domains.some(domains.days(times, "times"), "times", "[28, 180]"), "times")
    m, b, seed = domains.count(patients, "patients"), domains.count(populations, "populations", 0), domains.seed(seed)
    level = domains.level(level)
    if b > m:
        raise ValueError(f"patients={m}: give as many as populations={b} at least, or populations=0.")
    given = estimated(population)
    fit = given.fit
    regimens, given_in = _regimens(fit, arms, inputs)
    doses = [one.first for one in given_in.values()]
    like = rows_of(fit, covariates)
    rows = len(days) * len(fit.model.outputs)
    limits = limits_of(fit.model, fit.study)
    asked = other_patients.regimens_as_patients(fit, regimens, _ahead(days, limits))
    rng = np.random.default_rng(seed)
    drawn_from, lost = other_patients.populations_of(given, b, rng)
    of_each = [[matrix_of(fit.design, covariates_of(fit, row, dose)) for row in like] for dose in doses]
    matrix = np.mean(of_each, axis=1)
    means = np.einsum("akp,bp->bak", matrix, drawn_from.beta)
    member = np.arange(m) % max(b, 1)
    z = rng.normal(size=(m, len(fit.design.random)))
    effects = np.einsum("mqr,mr->mq", other_patients.factors_of(drawn_from.omega)[member], z)
    if len(like) == 1:
        x = means[member]
    else:
        row = np.random.default_rng([seed, SEED_OF_ROWS]).integers(len(like), size=m)
        x = np.empty((m, *means.shape[1:]))
        for one, beta in enumerate(drawn_from.beta):
            own = member == one
            x[own] = np.einsum("arkp,p->rak", of_each, beta)[row[own]]
    x[:, :, fit.design.places] += effects[:, None, :]
    usual = np.einsum("akp,p->ak", matrix, np.asarray(given.theta.beta))
    first = asked.method if asked.problems[0].doses.rates is not None else fit.population.method
    with phases("solving"):
        ln_f = other_patients.solved(asked, np.concatenate([usual[None], means, x]), first, rows)
    middle, typical, ln_curves = ln_f[0], ln_f[1 : 1 + len(means)], ln_f[1 + len(means) :]
    with phases("sampling"):
        limited = np.repeat(np.isfinite(limits), len(days))
        copies = other_patients.drawn_about(asked, ln_curves, x, drawn_from.ln_sd, member, limited, seed + 1)
    unsolved = np.isnan(ln_curves[..., 0]).mean(axis=0)
    if (unsolved == 1).any() or np.isnan(middle).any():
        lost_arm = list(regimens)[int(np.argmax(np.maximum(unsolved, np.isnan(middle[:, 0]))))]
        raise ModelError(f"no curve of arm {lost_arm!r} could be solved. Look at what is given in it.", name="arms")
    told = pd.DataFrame({
        "arm": pd.Series(list(regimens), dtype="str"),
        "given": pd.Series([one.words for one in given_in.values()], dtype="str"), "dose": doses,
        "unsolved": unsolved,
    })  # fmt: skip
    table = _table(list(regimens), days, list(fit.model.outputs), level, bool(b), middle, typical, ln_curves, copies)
    notes = [f"{share:.0%} of the curves of {name} could not be solved and are left out"
             for name, share in zip(regimens, unsolved, strict=True) if share > UNSOLVED]  # fmt: skip
    notes += [f"no standard error of {', '.join(lost)}, taken as known"] if lost else []
    if b and given.drawn is None and (vague := other_patients.hardly_told(fit)):
        notes.append(
            f"the standard error of {', '.join(vague)} is so large that bands and shares go far beyond what was seen: "
            "give fixed= or prior= of it to the population"
        )
    notes += unseen(fit.patients, given_in)
    options = {"arms": list(regimens), "patients": m, "populations": b, "level": level, "seed": seed}
    timings = phases.done(f"trial of {m} patients")
    origin = Provenance("", fit.study.sha256, fit.model, options, phases.total, timings)
    return VirtualTrial(
        table, told, "; ".join(notes) or "complete", b, m, level, seed, fit.study.unit,
        dict(zip(fit.model.outputs, map(float, limits), strict=True)), fit.study.simulated, ln_curves, copies, typical,
        origin, given.drawn is not None, len(like),
    )  # fmt: skip


def _regimens(
    fit: PopulationFit, arms: Mapping[str, Any], inputs: Mapping[str, Any] | None
) -> tuple[dict[str, tuple[Doses, Courses]], dict[str, Regimen]]:
    """Doses and courses of each arm, and what is given in it."""
    model = fit.model
    if not isinstance(arms, Mapping) or not arms:
        raise ModelError(f"arms={arms!r}: give {{name: doses}}, such as {{'1e6 once': 1e6}}.", name="arms")
    if set(arms) <= set(model.channels):
        names = ", ".join(arms)
        text = f"arms has channels of the model ({names}) as names: give {{name of the arm: {{channel: doses}}}}."
        raise ModelError(text, name="arms")  # fmt: skip
    courses = as_courses(inputs, model.inputs, model.name)
    given = {str(name): regimen_of(model, regimen, f"arm {name!r}") for name, regimen in arms.items()}
    return {name: (one.doses, courses) for name, one in given.items()}, given


def _ahead(days: Floats, limits: Floats) -> Samples:
    """A row for each time of each output, filled up to a length that many share."""
    asked = len(days) * len(limits)
    spare = few_sizes(asked, ROWS_APART_AHEAD) - asked
    day = np.concatenate([np.tile(days, len(limits)), np.full(spare, days.max())])
    output = np.concatenate([np.repeat(np.arange(len(limits)), len(days)), np.zeros(spare)]).astype(np.int64)
    table = pd.DataFrame({"day": day, "output": output, "lower": 0.0, "upper": np.inf})
    own = Samples.of(table)
    return replace(own, mass=np.ones(len(day)), lloq=limits[output])


def _table(
    arms: list[str], days: Floats, outputs: list[str], level: float, uncertain: bool, middle: Floats, typical: Floats,
    ln_curves: Floats, copies: Floats,
) -> pd.DataFrame:  # fmt: skip
    sides = [0.5, (1 - level) / 2, (1 + level) / 2]
    tables = []
    for at, arm in enumerate(arms):
        ends = _between(np.exp(typical[:, at]), level) if uncertain else (np.nan, np.nan)
        curve = np.exp(np.nanquantile(ln_curves[:, at], sides, axis=0))
        around = np.maximum(np.nanquantile(copies[:, at], sides[1:], axis=0), 0.0)
        tables.append(pd.DataFrame({
            "arm": pd.Series([arm] * len(curve[0]), dtype="str"), "day": np.tile(days, len(outputs)),
            "output": pd.Series(np.repeat(outputs, len(days)), dtype="str"),
            "typical": np.exp(middle[at].astype(float)),
            "typical_lower": ends[0], "typical_upper": ends[1], "median": curve[0], "lower": curve[1],
            "upper": curve[2], "sample_lower": around[0], "sample_upper": around[1],
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _between(values: Floats, level: float) -> tuple[Floats, Floats]:
    """(rows,) the interval of (populations, rows)."""
    lower, upper = np.nanquantile(values.astype(float), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lower, upper
