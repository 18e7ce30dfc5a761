"""A fit: what was asked, what came out, how sure it is, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.fitting import diagnostics, summary
from cellkinetics.fitting.bootstrap import Bootstrap, bootstrap
from cellkinetics.fitting.bootstrap import asked_of as redrawn
from cellkinetics.fitting.derived import derived, predicted
from cellkinetics.fitting.identifiability import Identifiability, of_fit
from cellkinetics.fitting.kept import Kept
from cellkinetics.fitting.misfit import MET, Misfit
from cellkinetics.fitting.profile import Profile, asked_of, profile_each
from cellkinetics.fitting.table import correlations_of, hessian_intervals, parameter_table
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.criteria import Criteria
from cellkinetics.modelling.levels import column_of
from cellkinetics.modelling.model import Model
from cellkinetics.optimising.optimise import as_lmfit
from cellkinetics.optimising.problem import Problem
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.status import Status
from cellkinetics.optimising.uncertainty import Uncertainty
from cellkinetics.running.run import Run
from cellkinetics.saving import UNSAVED, Saves
from cellkinetics.solving.sensitivity import curve, pad
from cellkinetics.solving.solver import CURVE_DAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Estimates(dict[str, float]):
    """{name: natural value}, with the unit of the study in ``attrs`` as a table has it: `simulate` looks there."""

    attrs: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Fit(Saves, Criteria):
    """One patient's fit.

    Parameters
    ----------
    columns : those of the table `parameters`, "parameter" for the names.
    outcome : "converged", or the reason why not, with advice; of a curve that misses its samples also that, and which.
    status : how the optimiser ended, for programs, a `Status`.
    log_likelihood_ln : of ln(copies); NaN for a patient who was not fitted.
    n_quantified, n_censored : samples in the likelihood.
    n_excluded : rows left out: pre-dose, after ``until``, dropped, or of another output.
    n_free : free parameters, sds included.
    starts : how many starts reached the best optimum, of how many; ``start_values`` has where each of them ended.
    misfit : whether the curve misses its samples: false, or a `Misfit` with ``days`` and ``words``.
    seconds, timings : that it took, and {phase: seconds}, with "compiling" for what of them the compiler took; of a
        study that was fitted together, this patient's share.
    shared : of a patient of a joint fit, the parameters and sds whose values are shared; what refits one is refused.
    """

    request: Request = field(metadata=UNSAVED)
    study: Study = field(metadata=UNSAVED)
    columns: Mapping[str, Sequence[Any]]
    outcome: str
    status: Status
    log_likelihood_ln: float
    sum_ln_quantified: float
    n_quantified: int
    n_censored: int
    n_excluded: int
    n_free: int
    problem: Problem = field(repr=False, metadata=UNSAVED)
    x: Floats
    covariance: Floats
    degrees_of_freedom: float
    inflation: float
    starts: tuple[int, int] = (0, 0)
    solved_implicitly: int = 0
    one_by_one: int = 0
    seconds: float = 0.0
    start_values: tuple[float, ...] = ()
    kept: Kept | None = field(default=None, repr=False, metadata=UNSAVED)
    misfit: Misfit = MET
    shared: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for array in (self.x, self.covariance):
            array.flags.writeable = False

    @property
    def model(self) -> Model:
        """The model that was fitted."""
        return self.request.model

    @property
    def subject(self) -> str:
        """The patient."""
        return self.study.subjects[0]

    @property
    def censoring(self) -> str:
        """How values below the limit entered: m3, m4, drop or half."""
        return self.request.censoring

    @property
    def error(self) -> str:
        """How samples scatter about the curve: log, proportional, combined, student or counting."""
        return self.request.error

    @property
    def converged(self) -> bool:
        """Whether the optimiser ended at an optimum inside the bounds; `misfit` tells whether the curve is any good."""
        return self.status is Status.CONVERGED

    @property
    def needs_look(self) -> bool:
        """Whether the fit did not converge, or its curve misses the samples."""
        return not self.converged or bool(self.misfit)

    @property
    def fitted(self) -> bool:
        """Whether there are estimates at all."""
        return bool(np.isfinite(self.log_likelihood_ln))

    @property
    def sd(self) -> float | dict[str, float]:
        """Residual sd, in the terms of the error model: that of the likelihood and of residuals, or as fixed.

        {output: sd} for several outputs, {name: sd} for a combined error. The table ``.parameters`` has it times
        ``inflation``: the maximum-likelihood one is too small with few samples.
        """
        names = self.problem.sd_names
        values = self.problem.sds(self.x) if self.fitted else self._table.loc[names, "value"].to_numpy(float)
        if len(names) == 1:
            return float(values[0])
        keys = self.model.outputs if len(names) == len(self.model.outputs) else names
        return dict(zip(keys, map(float, values), strict=True))

    @property
    def parameters(self) -> pd.DataFrame:
        """Table by name of every parameter and sd; NaN where nothing was estimated.

        value, stderr (natural scale), lower, upper (95% interval, formed on the estimation scale), unit, status (free,
        fixed, tied, at bound, not identifiable, not estimated), source. A copy: the fit stays as it is.
        """
        return self._table.copy(deep=False)

    @cached_property
    def _table(self) -> pd.DataFrame:
        table = parameter_table(self.columns)
        table.attrs["unit"] = self.study.unit
        return table

    @property
    def estimates(self) -> dict[str, float]:
        """{name: natural value} of every parameter of the model, fixed and tied ones included; `simulate` takes it.

        NaN for what was to be estimated where the patient was not fitted.
        """
        found = Estimates((name, float(self._table["value"][name])) for name in self.model.parameters)
        found.attrs = {"unit": self.study.unit}
        return found

    @cached_property
    def lmfit(self) -> Any:
        """The `MinimizerResult` of lmfit, of a least-squares run from the estimates that is done when it is asked for.

        Its parameters show the estimates; its chisqr, redchi and aic come from root-deviances and are not ours. None
        without estimates.
        """
        self.must_stand_alone("lmfit's result")
        return as_lmfit(self.problem, self.x.copy()) if self.fitted else None

    def must_stand_alone(self, what: str) -> None:
        """Raise for what refits this patient alone, where shared values are where the others put them.

        Raises
        ------
        ValueError
            Of a patient of a joint fit that shares anything, with the call that holds the shared values.
        """
        if not self.shared:
            return
        values = {name: float(f"{value:.6g}") for name, value in self.estimates.items()}
        values |= dict(zip(self.problem.sd_names, (float(f"{sd:.6g}") for sd in self.problem.sds(self.x)), strict=True))
        held = ", ".join(f"{name!r}: {values[name]:g}" for name in self.shared)
        raise ValueError(
            f"{what} of {self.subject} would free {', '.join(self.shared)}, which a joint fit shares: the values here "
            f"are no optimum of its own. Hold them, ck.fit(model, study.select(subjects=[{self.subject!r}]), "
            f"fixed={{{held}}}), and ask that fit; the intervals of what is shared are in the joint fit's .parameters."
        )

    @property
    def has_priors(self) -> bool:
        """Whether priors were maximised with the likelihood."""
        return bool(self.problem.priors)

    @property
    def sd_is_known(self) -> bool:
        """Whether every sd is given: none is estimated."""
        return not self.problem.sd_free.any()

    def predict(
        self,
        times: npt.ArrayLike | None = None,
        *,
        level: float = 0.95,
        interval: str = "confidence",
        doses: object = None,
    ) -> pd.DataFrame:
        """The fitted curve with its interval.

        Parameters
        ----------
        times
            (n,) days, as in the study; 200 days from the infusion to the last sample when not given. Before the
            infusion a curve is what it starts with, 0 where cells are given: a warning says so.
        level : of the interval, formed on the ln scale.
        interval
            "confidence", of the curve; "prediction", of a new sample: with the residual error (of errors other than the
            log-normal by 2,000 draws), and the limit of the assay not counted.
        doses
            in place of those that were given, as `simulate` takes them, by days since the first infusion: what this
            patient would have done, with the uncertainty of the estimates alone.

        Returns
        -------
        DataFrame
            day and, for each output, its curve and ``<output>_lower``, ``<output>_upper``, in the unit of the study;
            NaN bands where the Hessian does not give one, NaN curves for a patient who was not fitted. An output whose
            name says the model's own unit goes by that of the study: ``cells_per_ul`` in place of ``copies_per_ug``.

        Raises
        ------
        ValueError
            Times that are dates, time differences, NaN or infinite; a level that is not between 0 and 1; an interval
            of another name; doses for a model without, or for a fit that was loaded without its model.
        """
        return predicted(self, times, level=level, interval=interval, doses=doses)

    @cached_property
    def output_names(self) -> list[str]:
        """The outputs as tables name them, by the unit of the study, in the order of ``model.outputs``."""
        return [column_of(self.model, output, self.study.unit) for output in self.model.outputs]

    @property
    def residuals(self) -> pd.DataFrame:
        """Every sample in the likelihood: day, output, status, observed, lower, upper, predicted, residual.

        ``residual`` is (ln y - ln f)/sd for a quantified sample, or (y - f)/sd where the error is normal on the scale
        of the copies, NaN for a censored one; ``root_deviance`` is there for all: its squares add up to the deviance
        (of quantified rows without the term ln sd).
        """
        if self.kept is not None:
            return self.kept.residuals.copy()
        problem, first = self.problem, self.study.infusion_day(self.subject)
        rows = problem.samples
        table = pd.DataFrame(
            {
                "day": rows.day + first,
                "output": [self.output_names[i] for i in rows.output],
                "status": pd.Series(rows.status, dtype="str"),
                "observed": np.where(rows.status == "quantified", rows.upper, np.nan),
                "lower": rows.lower, "upper": rows.upper,
                "predicted": np.nan, "residual": np.nan, "root_deviance": np.nan,
            }
        )  # fmt: skip
        if self.fitted:
            ln_f = problem.curve(self.x, 0).value
            residuals = problem.error.residuals(ln_f, problem.ln_sd(self.x), problem.rows)
            table["predicted"] = np.exp(ln_f[: len(rows)])
            table["residual"] = np.where(rows.quantified, np.asarray(residuals)[: len(rows)], np.nan)
            table["root_deviance"] = problem.root(self.x)[: len(rows)]
        return table

    def intervals(self, method: str = "hessian", *, level: float = 0.95) -> pd.DataFrame:
        """Intervals of the free parameters and sds by choice.

        Parameters
        ----------
        method
            "hessian" (as in ``.parameters``), "profile" (see there how often it holds the truth) or "bootstrap"
            (parametric), each with its defaults.
        level : of the intervals.

        Returns
        -------
        DataFrame
            value, lower and upper by parameter on the natural scale; NaN where an end is not given.
        """
        level = domains.level(level)
        if method == "profile":
            return self.profile(level=level).intervals[["value", "lower", "upper"]]
        if method == "bootstrap":
            return self.bootstrap(level=level).intervals
        if method != "hessian":
            raise ValueError(f"method={method!r}: take one of hessian, profile, bootstrap.")
        return hessian_intervals(self.problem, self.x, self.spread, level)

    @property
    def correlations(self) -> pd.DataFrame:
        """Correlations of the estimates on the estimation scale, parameters and sds; NaN for what has no variance."""
        names = self.problem.names
        return correlations_of(pd.DataFrame(self.covariance, index=names, columns=names))

    @property
    def spread(self) -> Uncertainty:
        """Covariance, degrees of freedom and inflation, as `hessian_intervals` takes them."""
        return Uncertainty(self.covariance, self.degrees_of_freedom, self.inflation, ())

    def profile(
        self,
        parameters: str | Sequence[str] | None = None,
        *,
        level: float = 0.95,
        calibrated: bool = True,
        progress: bool = False,
        checkpoint: str | Path | None = None,
        n_jobs: int = 1,
    ) -> Profile:
        """Profile likelihood of the free parameters: for each value of one, the best fit of the others.

        Parameters
        ----------
        parameters : names of free parameters and sds; all when not given.
        level : of the intervals.
        calibrated : whether their threshold is that of few samples, or chi-squared.
        progress : whether a bar with the ends found is shown on the terminal.
        checkpoint, n_jobs : as in `fit_each`.

        Returns
        -------
        Profile
            with ``.intervals``, ``.table`` and ``.plot()``; an end that the samples do not give is NaN, and the
            shape says which. Interrupted from the keyboard it has the ends that are found; the shape of the others says
            "interrupted".

        Notes
        -----
        Calibrated intervals of a level of 95% hold the truth of 90 to 99% of simulated patients (tables in the guide).
        Those of a switch day, such as t_max, and of rates and half-lives after the peak are the shortest: 88 to 90%
        have been seen, where the day lies in a gap between samples or the decline ends below the limit. That of an sd
        is the restricted likelihood's, around the corrected estimate, as in ``.parameters``.
        """
        run = Run.of(checkpoint, n_jobs, lambda: asked_of([self], parameters, level, calibrated))
        (profile,) = profile_each([self], parameters, level=level, calibrated=calibrated, run=run, progress=progress)
        return profile

    def bootstrap(
        self,
        n: int = 200,
        *,
        kind: str = "parametric",
        level: float = 0.95,
        seed: int = 2020,
        progress: bool = False,
        checkpoint: str | Path | None = None,
        n_jobs: int = 1,
    ) -> Bootstrap:
        """Refits of samples that are drawn again, in a few batches.

        Parameters
        ----------
        n : refits; an interval takes at least 1/(1 - level) that ended well, 20 for 95%.
        kind : "parametric" (around the fitted curve, censored at each sample's limits) or "case" (with replacement).
        level : of the percentile intervals.
        seed : of the draws.
        progress : whether a bar with the time left is shown on the terminal.
        checkpoint, n_jobs : as in `fit_each`; with the folder of fewer refits the others are added.

        Returns
        -------
        Bootstrap
            with ``.intervals``, ``.draws`` and ``.failed``: refits without an optimum inside the bounds. Interrupted
            from the keyboard it is of the refits finished until then, and its ``.note`` says so.
        """
        run = Run.of(checkpoint, n_jobs, lambda: redrawn([self], kind, seed))
        return bootstrap(self, n, kind, level, seed, run, progress=progress)

    def derived(self, *, level: float = 0.95, output: str | None = None) -> pd.DataFrame:
        """What the fitted curve says in the field's terms.

        Parameters
        ----------
        level : of the intervals, formed on the ln scale from the covariance of the estimates.
        output : of a model with several; its first when not given.

        Returns
        -------
        DataFrame
            value, lower, upper, unit and note by quantity: highest point of the curve and its day (of the curve,
            not of the samples), area to day 28, doubling time at the steepest rise, half-lives at the steepest fall
            after the peak and at day 365, last day above the study's lower limit, levels on days 28, 90 and 365.
            NaN where there is none, with the reason as its note, which also says what lies beyond the last sample.
        """
        return derived(self, level=level, output=output)

    def identifiability(self) -> Identifiability:
        """Which parameters the samples determine and which move together, from the exact Hessian at the estimates.

        Sds are left out. Printed it is a summary in words; `Fit.profile` looks further than the neighbourhood.
        """
        return of_fit(self)

    def quantile_residuals(self, seed: int = 2020) -> pd.DataFrame:
        """Randomised quantile residuals, standard normal where the model is right; see `diagnostics`."""
        return diagnostics.quantile_residuals(self, seed)

    def influence(self) -> pd.DataFrame:
        """What leaving out each sample does to the estimates, in their standard errors."""
        return diagnostics.influence(self)

    @domains.picture
    def diagnostics(self, seed: int = 2020, axes: Sequence[Axes] | None = None, *, size: Size = None) -> Figure:
        """Quantile residuals over time and prediction, against the normal and counted, on four axes: a figure."""
        from cellkinetics.figures import residuals as diagnostics_plot

        return diagnostics_plot.plot(self.quantile_residuals(seed), simulated=self.study.simulated, axes=axes)

    @domains.picture
    def plot_starts(self, axes: Axes | None = None, *, size: Size = None) -> Axes:
        """Where each start ended, below the best: a waterfall of ``start_values``; returns the axes."""
        from cellkinetics.figures import starts as starts_plot

        return starts_plot.plot_one(self, axes)

    @domains.picture
    def plot_correlations(self, axes: Axes | None = None, *, size: Size = None) -> Axes:
        """`correlations` as a triangle of numbers, those beyond 0.9 in bold; returns the axes.

        On the estimation scale (mostly logarithms); "none" where the samples give an estimate no variance.

        Raises
        ------
        ValueError
            The patient was not fitted, or nothing has a variance.
        """
        from cellkinetics.charts import parameters

        return parameters.plot_correlations(self, axes)

    @domains.picture
    def plot(
        self, axes: Axes | None = None, *, output: str | None = None, colour: str | None = None, size: Size = None
    ) -> Axes:
        """Samples, limit and curve with its 95% interval, of the first ``output`` if not said; returns the axes."""
        from cellkinetics.figures import fit as fit_plot

        return fit_plot.plot_fit(self, axes, output=output, colour=colour)

    def summary(self) -> str:
        """The fit in words: method, counts, what was fixed and why, estimates, outcome."""
        return summary.of_fit(self)

    def __repr__(self) -> str:
        return f"<Fit {self.subject} {self.model.name}: {self.outcome}>"

    def ln_curve(
        self, times: Floats, output: int, level: float = 0.95, x: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Ln f at days since the infusion, and the half width of its interval; at another free vector where given."""
        if not self.fitted:
            return np.full(len(times), np.nan), np.full(len(times), np.nan)
        if self.kept is not None and x is None:
            return self.kept.ln_curve(times, output, self.spread.quantile_of(level))
        x = self.x if x is None else x
        problem, free = self.problem, len(self.problem.free)
        # Few days are a block as long as the samples, whose program is there; many have one program for all patients.
        block = len(problem.rows.weight)
        block = block if len(times) <= block else CURVE_DAYS
        covariance = self.covariance[:free, :free]
        quantile = self.spread.quantile_of(level)
        ln_f, half = np.empty(len(times)), np.empty(len(times))
        for at in range(0, len(times), block):
            part = times[at : at + block]
            length = len(part)
            inputs = problem.inputs_at(pad(part, block), [output] * block)
            # Ln f itself; where what the likelihood adds to f is all that is left there is no interval.
            itself = inputs._replace(least=np.zeros_like(inputs.least))
            result, _ = curve(self.model, problem.ties, x[:free], itself, 1)
            ln_f[at : at + length] = result.value[:length]
            seen = result.value[:length] > np.log(1e-3 * problem.least[output])
            jacobian = np.where(seen[:, None], result.jacobian[:length], np.nan)
            half[at : at + length] = quantile * np.sqrt(np.einsum("ni,ij,nj->n", jacobian, covariance, jacobian))
        return ln_f, half
