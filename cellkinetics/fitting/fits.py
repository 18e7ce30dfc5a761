"""Every patient of a study, one fit each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellkinetics import domains
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.errors import suggest
from cellkinetics.fitting import summary
from cellkinetics.fitting.bootstrap import asked_of as redrawn
from cellkinetics.fitting.bootstrap import bootstrap
from cellkinetics.fitting.diagnostics import plot_residuals as weighted_residuals
from cellkinetics.fitting.diagnostics import vpc as visual_check
from cellkinetics.fitting.profiles import Profiles, profiles
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import ESTIMATE_COLUMNS
from cellkinetics.lazily import pandas as pd
from cellkinetics.progress import bar
from cellkinetics.running.run import Run
from cellkinetics.saving import Saves
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


OUTCOME_COLUMNS = ["outcome", "n_quantified", "n_censored", "n_excluded", "n_free", "log_likelihood", "aic", "bic"]


@dataclass(frozen=True, eq=False, repr=False)
class Fits(Saves, Mapping[str, Fit]):
    """The fits of a study: a mapping subject -> `Fit`, in the order of the study.

    Parameters
    ----------
    study : the whole study.
    by_subject : {subject: Fit}.
    """

    study: Study
    by_subject: Mapping[str, Fit]

    def __getitem__(self, subject: str) -> Fit:
        if subject not in self.by_subject:
            raise KeyError(f"no subject {subject!r}. {suggest(str(subject), self.by_subject)}".rstrip())
        return self.by_subject[subject]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_subject)

    def __len__(self) -> int:
        return len(self.by_subject)

    def __repr__(self) -> str:
        converged = sum(fit.converged for fit in self.values())
        return f"<Fits of {count(len(self), 'subject')}: {converged} converged>"

    @property
    def parameters(self) -> pd.DataFrame:
        """Long table: subject, parameter, value, stderr, lower, upper, unit, status, source."""
        each = [fit.columns for fit in self.values()]
        subjects = [subject for subject, columns in zip(self, each, strict=True) for _ in columns["parameter"]]
        joined = {
            name: list(chain.from_iterable(columns[name] for columns in each))
            for name in ("parameter", *ESTIMATE_COLUMNS)
        }
        return pd.DataFrame({"subject": subjects, **joined})

    @property
    def outcomes(self) -> pd.DataFrame:
        """One row a subject: outcome, counts of samples, log-likelihood of the copies, AIC and BIC."""
        rows = {subject: [getattr(fit, name) for name in OUTCOME_COLUMNS] for subject, fit in self.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=OUTCOME_COLUMNS).rename_axis("subject")

    @property
    def timings(self) -> dict[str, float]:
        """{phase: seconds} of all together, with "compiling" for what of them the compiler took."""
        names = dict.fromkeys(name for fit in self.values() for name in fit.timings)
        return {name: sum(fit.timings.get(name, 0.0) for fit in self.values()) for name in names}

    def predict(
        self,
        times: Sequence[float] | None = None,
        *,
        level: float = 0.95,
        interval: str = "confidence",
        doses: object = None,
    ) -> pd.DataFrame:
        """The fitted curves, as `Fit.predict`, with ``subject`` in front."""
        level = domains.level(level)
        return self._long(lambda fit: fit.predict(times, level=level, interval=interval, doses=doses))

    @property
    def residuals(self) -> pd.DataFrame:
        """Every sample in the likelihood, as `Fit.residuals`, with ``subject`` in front."""
        return self._long(lambda fit: fit.residuals)

    def derived(self, *, level: float = 0.95, output: str | None = None) -> pd.DataFrame:
        """What the fitted curves say, as `Fit.derived`: subject, quantity, value, lower, upper, unit, note."""
        level = domains.level(level)
        return self._long(lambda fit: fit.derived(level=level, output=output).reset_index())

    def intervals(self, method: str = "hessian", *, level: float = 0.95) -> pd.DataFrame:
        """Intervals of what is free, as `Fit.intervals`: subject, parameter, value, lower, upper."""
        level = domains.level(level)
        if method == "profile":
            found = self.profile(level=level).intervals
            return found.reindex(columns=["subject", "parameter", "value", "lower", "upper"])
        return self._long(lambda fit: fit.intervals(method, level=level).reset_index(), fitted=True)

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
    ) -> pd.DataFrame:
        """Intervals by drawing each patient's samples again; arguments as of `Fit.bootstrap`.

        Returns
        -------
        DataFrame
            subject, parameter, value, lower, upper, draws (refits with an optimum inside the bounds), note. The draws
            themselves are those of ``fits[subject].bootstrap()``.
        """
        level, seed = domains.level(level), domains.seed(seed)
        fitted = [subject for subject, fit in self.items() if fit.fitted]
        run = Run.of(checkpoint, n_jobs, lambda: redrawn([*self.values()], kind, seed))

        def table(fit: Fit) -> pd.DataFrame:
            drawn = bootstrap(fit, n, kind, level, seed, run, progress=False)
            advance(1)
            return drawn.intervals.reset_index().assign(draws=len(drawn.draws), note=drawn.note)

        with bar(len(fitted), domains.flag(progress, "progress"), "drawing again") as advance:
            return self._long(table, fitted=True)

    def identifiability(self) -> pd.DataFrame:
        """What each patient's samples determine: subject, parameter, se, se_alone, as `Fit.identifiability`."""
        return self._long(lambda fit: fit.identifiability().parameters.rename_axis("parameter").reset_index())

    @property
    def correlations(self) -> pd.DataFrame:
        """Every pair of estimates of each patient, as `Fit.correlations`: subject, parameter, other, correlation.

        On the estimation scale (mostly logarithms); NaN where the samples give an estimate no variance. Each pair is
        there once, of those who were fitted.
        """

        def pairs(fit: Fit) -> pd.DataFrame:
            table = fit.correlations
            first, other = np.tril_indices(len(table), -1)
            names, r = table.columns.to_numpy(), table.to_numpy()[first, other]
            return pd.DataFrame({"parameter": names[first], "other": names[other], "correlation": r})

        return self._long(pairs, fitted=True)

    @domains.picture
    def plot_correlations(self, axes: Axes | None = None, *, size: Size = None) -> Axes:
        """The median over the patients of each correlation of two estimates, and in how many it is beyond 0.9.

        A pair that is bold hardly tells itself apart in most patients. A ValueError where no patient has correlations.
        There is no ``by=``: correlations come from the model and the days of samples, and medians of a few patients
        differ by chance. Those of a group are in ``correlations``, or those of fits of ``study.select(cohort="A")``.
        """
        from cellkinetics.charts import parameters

        return parameters.plot_median_correlations(self, axes)

    def influence(self) -> pd.DataFrame:
        """What leaving out each sample does to the estimates, as `Fit.influence`, with ``subject`` in front."""
        return self._long(lambda fit: fit.influence(), fitted=True)

    def _long(self, table: Callable[[Fit], pd.DataFrame], *, fitted: bool = False) -> pd.DataFrame:
        """A table of each under one another; of those who were fitted, where others have none."""
        tables = {subject: table(fit) for subject, fit in self.items() if fit.fitted or not fitted}
        if not tables:
            return pd.DataFrame({"subject": pd.Series(dtype="str")})
        return pd.concat(tables, names=["subject"]).reset_index(level="subject").reset_index(drop=True)

    def quantile_residuals(self, seed: int = 2020) -> pd.DataFrame:
        """Those of every fitted subject, as `Fit.quantile_residuals`; each subject has a stream of its own."""
        seed = domains.seed(seed)
        parts = [fit.quantile_residuals(seed + number) for number, fit in enumerate(self.values())]
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    @domains.picture
    def diagnostics(
        self, seed: int = 2020, axes: Sequence[Axes] | None = None, *, by: str | None = None, size: Size = None
    ) -> Figure:
        """Quantile residuals of all subjects in four panels, as `Fit.diagnostics`. Returns the figure.

        ``by`` is the covariate that the colour says; one colour when not given.
        """
        from cellkinetics.figures import residuals as diagnostics_plot

        return diagnostics_plot.plot(
            self.quantile_residuals(seed), simulated=self.study.simulated, axes=axes, study=self.study, by=by
        )

    def profile(
        self,
        parameters: str | Sequence[str] | None = None,
        *,
        level: float = 0.95,
        calibrated: bool = True,
        progress: bool = False,
        checkpoint: str | Path | None = None,
        n_jobs: int = 1,
    ) -> Profiles:
        """Profile likelihood of every fitted patient, refitted together.

        Parameters
        ----------
        parameters : names of free parameters and sds; all when not given. Where one is not free it is left out.
        level, calibrated, progress, checkpoint, n_jobs : as in `Fit.profile`.

        Returns
        -------
        Profiles
            A mapping subject -> profile, with long tables ``.intervals`` and ``.table``, and ``.plot(parameter)``.
        """
        return profiles(
            self, parameters, level, calibrated=calibrated, progress=progress, checkpoint=checkpoint, n_jobs=n_jobs
        )

    vpc, plot_residuals = visual_check, weighted_residuals

    @domains.picture
    def plot_starts(self, axes: Axes | None = None, *, by: str | None = None, size: Size = None) -> Axes:
        """Where each start of every subject ended, below that subject's best; returns the axes.

        ``by`` is the covariate that the colour says; one colour when not given.
        """
        from cellkinetics.figures import starts as starts_plot

        return starts_plot.plot_each(self, axes, by)

    @domains.picture
    def plot(
        self,
        page: int = 0,
        *,
        columns: int = 4,
        by: str = "cohort",
        axes: Sequence[Axes] | None = None,
        size: Size = None,
    ) -> Figure:
        """One panel a patient, coloured by dose cohort or another covariate; 24 panels a page. Returns the figure.

        On ``axes``, one for each patient of the page, where given; ``size`` is width and height in mm of a new figure.
        """
        from cellkinetics.figures import fits as fits_plot

        return fits_plot.plot_fits(self, columns=columns, page=page, by=by, axes=axes)

    @domains.picture
    def plot_parameters(
        self,
        by: str = "cohort",
        *,
        parameters: Sequence[str] | None = None,
        axes: Sequence[Axes] | None = None,
        size: Size = None,
    ) -> Figure:
        """Estimates of all patients with their 95% intervals, by group: a panel a parameter, a row a patient.

        The median of each group's filled marks is a thick line. Open marks are estimates at a bound or not
        identifiable; an interval that goes on beyond the axes ends in an arrow.

        Parameters
        ----------
        by : what the colour says: "cohort", "dose", or another covariate; groups stand in the order of their dose.
        parameters : names of estimated parameters and sds; all when not given.
        axes : one for each parameter; a new figure when not given. Its figure is returned.
        size : width and height in mm of a new figure.

        Raises
        ------
        ValueError
            Nobody was fitted, a parameter that nobody's fit estimated, too few axes, no such covariate.
        """
        from cellkinetics.charts import parameters as chart

        return chart.plot_parameters(self, by, parameters, axes)

    @domains.picture
    def plot_covariates(
        self,
        covariates: Sequence[str] | None = None,
        *,
        parameters: Sequence[str] | None = None,
        by: str = "cohort",
        axes: Sequence[Axes] | None = None,
        size: Size = None,
    ) -> Figure:
        """Estimates over covariates: a row a parameter, a column a covariate.

        Over a number there is the line of least squares with the correlation r (of logarithms where the axis is one);
        over groups their means. Estimates at a bound or not identifiable are left out.

        Parameters
        ----------
        covariates : of the study; the dose and the cohort when not given, as far as patients differ in them.
        parameters : names of estimated parameters and sds; all that have an estimate when not given. In the width of a
            journal's column two panels stand beside each other: of many pairs ask for those that matter.
        by : what the colour says, as in `plot_parameters`.
        axes : one for each pair, row by row; a new figure when not given. Its figure is returned.
        size : width and height in mm of a new figure.

        Raises
        ------
        ValueError
            As of `plot_parameters`; patients do not differ in any covariate.
        ModelError
            No such covariate, or one that is the same in all patients.
        """
        from cellkinetics.charts import parameters as chart

        return chart.plot_covariates(self, covariates, parameters, by, axes)

    @domains.picture
    def plot_predicted(self, by: str = "cohort", axes: Axes | None = None, *, size: Size = None) -> Axes:
        """Every sample against the fitted curve, both on log axes, with the line of equal values; returns the axes.

        Samples beyond a limit are open triangles at it. ``by`` is what the colour says. A ValueError where nobody was
        fitted, or there is no such covariate.
        """
        from cellkinetics.charts import predicted

        return predicted.plot_fits(self, by, axes)

    def summary(self) -> str:
        """The fits in words: method, counts, what was fixed and why, who needs a look."""
        return summary.of_fits(self)


@domains.picture
def plot_each(
    self: Any,
    subject: str | None = None,
    axes: Axes | Sequence[Axes] | None = None,
    page: int = 0,
    *,
    by: str = "cohort",
    size: Size = None,
) -> Figure | Axes:
    """One panel a patient, 24 a page, by covariate, as a figure; of one ``subject`` its axes.

    On ``axes``, one for each patient of the page, where given; ``size`` is width and height in mm of a new figure.
    """
    if subject is not None:
        return self[subject].plot(axes)
    return self.as_fits.plot(page, by=by, axes=axes)
