"""A population fit: estimates with their errors, the likelihood, and every patient in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellkinetics import domains
from cellkinetics.arrays import Floats
from cellkinetics.copies import HandsOutCopies
from cellkinetics.data.study import Study
from cellkinetics.domains import Size
from cellkinetics.errors import ModelError, suggest
from cellkinetics.fitting import diagnostics as handed
from cellkinetics.fitting.bootstrap import Bootstrap
from cellkinetics.fitting.fits import Fits, plot_each
from cellkinetics.fitting.result import Fit
from cellkinetics.fitting.table import correlations_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.likelihood.criteria import Criteria
from cellkinetics.modelling.comedication import factor_of, without_factors
from cellkinetics.modelling.model import Model
from cellkinetics.modelling.typical import Typical
from cellkinetics.optimising.request import Request
from cellkinetics.optimising.status import Status
from cellkinetics.population import individuals, prediction, table, text
from cellkinetics.population.design import Design
from cellkinetics.population.importance import LogLikelihood
from cellkinetics.population.patients import Patients
from cellkinetics.population.polish import Polished
from cellkinetics.population.running import Population
from cellkinetics.population.schedule import Path, labels_of
from cellkinetics.running.run import Run
from cellkinetics.saving import UNSAVED, Saves
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellkinetics.modelling.prior import Prior


@dataclass(frozen=True, eq=False)
class PopulationFit(Criteria, Saves, HandsOutCopies):
    """A population.

    Parameters
    ----------
    request : what was asked of curves and errors; ``asked`` has all arguments.
    study : the study. patients : those who take part, and why others do not.
    design : what varies and what covariates drive.
    population : both, as programs take them.
    polished : the estimates with their derivatives. path : how stochastic approximation came there.
    likelihood : at the estimates, from draws of its own.
    conditional_mean, conditional_covariance : (n, q) and (n, q, q) of each patient on the estimation scale.
    like_zero : {name: log-likelihood units} of spreads that cannot be told from 0.
    outcome : "converged", or the reason why not, with advice. status : the same for programs.
    log_likelihood_ln : of ln(copies), by importance sampling; `log_likelihood_error` is its Monte Carlo error.
    n_quantified, n_censored : samples in the likelihood.
    seconds, timings : that it took, and {phase: seconds}, with "compiling" for what of them the compiler took.
    n_free : what is estimated: means, coefficients, sds between patients, correlations, sds of the error.
    approximation : what was maximised instead of the likelihood, with the likelihood there as its ``exact``; else None.
    residual_shrinkage : {output: 1 - SD of the residuals of quantified samples from the expected curves of their
        patients, in sds of the error}; 0 where samples are many.
    """

    request: Request = field(metadata=UNSAVED)
    study: Study = field(metadata=UNSAVED)
    patients: Patients = field(repr=False, metadata=UNSAVED)
    design: Design = field(metadata=UNSAVED)
    population: Population = field(repr=False, metadata=UNSAVED)
    polished: Polished = field(repr=False, metadata=UNSAVED)
    likelihood: LogLikelihood
    path: Path = field(repr=False, metadata=UNSAVED)
    conditional_mean: Floats = field(repr=False)
    conditional_covariance: Floats = field(repr=False)
    like_zero: Mapping[str, float]
    outcome: str
    status: Status
    seconds: float
    log_likelihood_ln: float
    sum_ln_quantified: float
    n_quantified: int
    n_censored: int
    n_free: int
    asked: Mapping[str, Any] = field(repr=False, metadata=UNSAVED)
    refit: Callable[..., PopulationFit] = field(repr=False, metadata=UNSAVED)
    timings: Mapping[str, float] = field(default_factory=dict, repr=False)
    approximation: LogLikelihood | None = None
    residual_shrinkage: Mapping[str, float] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model."""
        return self.request.model

    @property
    def subjects(self) -> tuple[str, ...]:
        """Those who take part, in the order of the study."""
        return self.patients.subjects

    @property
    def left_out(self) -> Mapping[str, str]:
        """{subject: why it does not take part}."""
        return self.patients.left_out

    @property
    def converged(self) -> bool:
        """Whether the estimates are a maximum of the likelihood."""
        return self.status is Status.CONVERGED

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """Table by name: means, coefficients, sds between patients, correlations, sds of the error, what is fixed.

        kind, value, stderr, rse (%), lower, upper (95%, formed on the estimation scale) and unit on the natural scale;
        a mean is that of the median patient. ``estimate`` and ``estimate_stderr``: on the estimation scale, of an sd
        its ln, of a correlation atanh. ``shrinkage`` of the effects: 1 - variance of the conditional means over the
        population's; of an sd of the error that of the residuals, as `residual_shrinkage`. ``mc_error``: how far other
        draws would move the estimate. status: free, fixed, tied, at bound (a spread too small to matter, an sd at its
        floor), not identifiable. source.
        """
        return table.parameters(self)

    @property
    def log_likelihood_error(self) -> float:
        """Monte Carlo standard error of `log_likelihood_ln`."""
        return self.likelihood.error

    @property
    def has_priors(self) -> bool:
        """Whether anything has a prior."""
        return bool(self.request.prior)

    @property
    def sd_is_known(self) -> bool:
        """Whether every sd of the error is given."""
        return not self.patients.sd_free.any() and not self.patients.own_sds

    @property
    def bicc(self) -> float:
        """BIC that counts patients for what varies between them, and samples for the rest; NaN with priors.

        ln(patients) for means and coefficients of random parameters and for the covariance, ln(samples) for what has no
        random effect and for the sds of the error (Delattre, Lavielle and Poursat 2014).
        """
        if self.has_priors:
            return np.nan
        by_samples = int(self.design.scored.sum()) + int(self.patients.sd_free.sum())
        by_patients = self.n_free - by_samples
        penalty = by_patients * np.log(len(self.subjects)) + by_samples * np.log(max(self.n, 1))
        return float(penalty - 2 * self.log_likelihood)

    @property
    def shrinkage(self) -> dict[str, float]:
        """{parameter: 1 - variance of the conditional means of the effects over the population's variance}."""
        away = self.conditional_mean - self.population_means
        variance = np.diag(np.asarray(self.polished.theta.omega))
        share = 1 - np.mean(away**2, axis=0) / variance
        return dict(zip(self.design.random, map(float, share), strict=True))

    @property
    def population_means(self) -> Floats:
        """(n, q) of what varies, for the covariates of each patient, on the estimation scale."""
        return np.einsum("nkp,p->nk", self.design.matrix, np.asarray(self.polished.theta.beta))[:, self.design.places]

    @cached_property
    def individuals(self) -> pd.DataFrame:
        """One row a subject and random parameter, sds of its own included.

        mode (where the density given the samples is highest), mean (conditional, formed on the estimation scale), lower
        and upper (two conditional sds about it), all on the natural scale; effect and effect_sd, the random effect and
        its conditional sd on the estimation scale.
        """
        return individuals.table_of(self)

    @cached_property
    def each(self) -> Mapping[str, Fit]:
        """{subject: `Fit`} at the mode, with the population as its prior; put together when first asked for."""
        return individuals.each_of(self)

    def __getitem__(self, subject: str) -> Fit:
        """The fit of one patient at its mode: curve, residuals, plot, derived quantities."""
        if subject not in self.each:
            reason = self.left_out.get(subject, suggest(str(subject), self.subjects))
            raise KeyError(f"{subject!r} is not in the population. {reason}".rstrip())
        return self.each[subject]

    @property
    def trace(self) -> pd.DataFrame:
        """One row an iteration: estimates, log-likelihood of the chains, shares of accepted and refused proposals.

        Of an approximation a row a step, with its log-likelihood.
        """
        return self.path.trace

    @property
    def covariance(self) -> pd.DataFrame:
        """Of the estimates on the estimation scale, by Louis' information."""
        labels = labels_of(self.population)
        return pd.DataFrame(self.polished.covariance, index=labels, columns=labels)

    @property
    def correlations(self) -> pd.DataFrame:
        """Of the estimates on the estimation scale; NaN for what has no variance."""
        return correlations_of(self.covariance)

    @property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue of the correlations of the estimates; above 1,000 some go together."""
        return self.polished.condition_number

    @property
    def sandwich(self) -> pd.DataFrame:
        """The same without trusting the model: from the scores of the patients."""
        labels = labels_of(self.population)
        return pd.DataFrame(self.polished.sandwich, index=labels, columns=labels)

    @property
    def residuals(self) -> pd.DataFrame:
        """Every sample in the likelihood at its patient's mode, as `Fit.residuals`, with ``subject`` in front.

        ``predicted`` is the individual prediction and ``residual`` the individual weighted residual (IWRES); behind it
        stands ``population``, the prediction for the patient's doses and covariates at no random effect.
        """
        return table.residuals(self)

    def influence(self) -> pd.DataFrame:
        """What each patient is to the likelihood and to the estimates, to first order; no refit.

        Returns
        -------
        DataFrame
            By subject: samples, log_likelihood (its part of the whole, on the ln scale), a column an estimate, by which
            it would move without this patient in standard errors, and cook, Cook's distance: the squared length of that
            move in the metric of the information, over the number of estimates. Large moves are larger than told: one
            told as 1.1 was 1.6.
        """
        return table.influence(self)

    def effects(self, level: float = 0.95) -> pd.DataFrame:
        """What covariates, and comedication, do to parameters over the range of the patients, as ratios.

        Parameters
        ----------
        level : of the intervals, formed on the ln of the ratio from the covariance of the coefficients.

        Returns
        -------
        DataFrame
            One row a parameter, covariate and place: what ("5th percentile", "95th percentile", or "lowest" and
            "highest" where these are the ends; or "group") and at, its value (of the dose in the study's unit), one
            that a patient has; reference, the value of the median patient or the first group; ratio of the parameter
            to that at the reference, other covariates at theirs; lower and upper; note, why there is no ratio or
            interval. Of a comedication whose factor was estimated, a row for each rate: what "while given", the rate in
            the median patient on the days on which it acts over that on others. Empty without either.
        """
        return table.effects(self, domains.level(level))

    def natural_at(self, beta: Floats) -> dict[str, float]:
        """{name: natural value} of the median patient at the centre of all covariates, ties and fixed ones included."""
        estimates = [
            beta[i] for name in self.design.names for i, effect in enumerate(self.design.effects)
            if effect.parameter == name and not effect.covariate
        ]  # fmt: skip
        problem = self.patients.problems[0]
        return problem.natural(np.append(estimates, np.zeros(int(self.patients.sd_free.sum()))))

    def typical(self, dose: float | None = None) -> Typical:
        """What `power` and `identifiability` take of it: the median patient at a dose, spreads, sds of the error."""
        return prediction.typical_of(self, dose)

    def predict(
        self,
        times: npt.ArrayLike | None = None,
        *,
        doses: object = None,
        covariates: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        level: float = 0.9,
        draws: int = 200,
        seed: int = 2020,
    ) -> pd.DataFrame:
        """The curve of the median patient, and the range of the curves of others.

        Parameters
        ----------
        times : (n,) days since the first infusion; 100 to the last sample of the study when not given.
        doses : as `simulate` takes them; the study's where all patients have the same.
        covariates
            {covariate: value}; a number that is not given is at its mean, groups at the first, the dose at ``doses``
            where that is a number.
        inputs : covariates over time, as in `simulate`; the study's where all patients have the same.
        level : share of the patients whose curves lie between lower and upper, day by day.
        draws : patients that are drawn for it. seed : of them.

        Returns
        -------
        DataFrame
            day and, for each output, its curve, ``<output>_lower`` and ``<output>_upper``: without noise of samples.
        """
        level, draws, seed = domains.level(level), domains.count(draws, "draws"), domains.seed(seed)
        days = None if times is None else domains.days(times, "times")
        return prediction.predicted(self, days, doses, covariates, inputs, level, draws, seed)

    def simulate(self, n: int = 1, *, seed: int = 2020) -> pd.DataFrame:
        """The study again, with other patients of this population: same days, doses, covariates and limits.

        Parameters
        ----------
        n : times. seed : of random effects and of the errors of samples.

        Returns
        -------
        DataFrame
            One row a sample: replicate, subject, day, output, lower and upper (alike where quantified, else the ends
            between which it is known to lie), status, and solved, whether the patient's curve could be.
        """
        from cellkinetics.predictive import replicates

        n, seed = domains.count(n, "n"), domains.seed(seed)
        return replicates.of_population(self.population, self.polished.theta, n, seed).table()

    vpc = handed.vpc
    npde = handed.npde
    forecast = handed.forecast
    virtual_trial = handed.virtual_trial

    def prior(self, patient: Study) -> dict[str | tuple[str, str], Prior | float]:
        """What it says of one patient before its samples, ``prior=`` of `fit`: medians, sds between, correlations."""
        return prediction.prior_of(self, patient)

    def common(self, patient: Study) -> dict[str, float]:
        """What has one value for all, sds of the error included: ``fixed=`` of `fit` beside `prior`."""
        return prediction.common_of(self, patient)

    def bootstrap(
        self,
        n: int = 200,
        *,
        level: float = 0.95,
        seed: int = 2020,
        progress: bool = True,
        checkpoint: str | FilePath | None = None,
    ) -> Bootstrap:
        """Populations of patients drawn again with replacement: Newton steps on the sampled likelihood of each.

        Every refit starts at the estimates and takes the same draws of a patient however often that one is in it. What
        covariates are centred at stays.

        Parameters
        ----------
        n : refits. level : of the intervals, which are percentiles. seed : of the patients that are drawn.
        progress : whether a bar is shown; Ctrl-C leaves the refits so far, and the note says so.
        checkpoint : folder in which finished refits are kept, for a run that goes on where another one was killed.

        Returns
        -------
        Bootstrap
            ``draws``, one row a refit that ended; ``intervals`` by parameter; ``failed``, how many did not end.
        """
        n, level, seed = domains.count(n, "n"), domains.level(level), domains.seed(seed)
        run = Run.of(checkpoint, 1, lambda: prediction.asked_of_bootstrap(self, n, seed))
        return prediction.bootstrapped(self, n, level, seed, run, domains.flag(progress, "progress"))

    plot, plot_residuals = plot_each, handed.plot_residuals

    @domains.picture
    def plot_predicted(self, axes: Sequence[Axes] | None = None, *, by: str | None = None, size: Size = None) -> Figure:
        """Samples against the predictions for no random effect (PRED) and of each patient at its mode (IPRED)."""
        from cellkinetics.charts import population

        return population.plot_predicted(self, axes, by)

    @domains.picture
    def plot_effects(
        self, by: str | Sequence[str] | None = None, *, axes: Sequence[Axes] | None = None, size: Size = None
    ) -> Figure:
        """Distributions of random effects with their shrinkage, one against another, and against covariates ``by``.

        These are the dose, the cohort and what drives a parameter where not given, as far as patients differ in them.
        ``axes`` go row by row: a row a random effect, a column a random effect and then a covariate.
        """
        from cellkinetics.charts import population

        return population.plot_effects(self, [by] if isinstance(by, str) else by, axes)

    @domains.picture
    def plot_forest(self, level: float = 0.95, *, axes: Axes | None = None, size: Size = None) -> Figure:
        """Effects of covariates and comedication as ratios with their intervals, beside 0.8 to 1.25.

        ``level`` as of `effects`. A row "mu0, IL-2 given : not given" is the rate while it acts over that without.
        """
        from cellkinetics.charts import population

        return population.plot_forest(self, domains.level(level), axes)

    @domains.picture
    def plot_correlations(self, axes: Axes | None = None, *, size: Size = None) -> Axes:
        """`correlations` of what has a variance as a triangle of numbers, those beyond 0.9 in bold; returns the axes.

        On the estimation scale (mostly logarithms). A ValueError where nothing has a variance.
        """
        from cellkinetics.charts import parameters

        return parameters.plot_correlations_of_many(self, axes, "estimates", simulated=self.study.simulated)

    @domains.picture
    def plot_influence(
        self, most: int = 30, *, axes: Sequence[Axes] | None = None, by: str | None = None, size: Size = None
    ) -> Figure:
        """Log-likelihood and Cook's distances of ``most`` patients, on two axes, and what moves most without each."""
        from cellkinetics.charts import population

        return population.plot_influence(self, domains.count(most, "most"), axes, by)

    @domains.picture
    def diagnostics(
        self, seed: int = 2020, axes: Sequence[Axes] | None = None, *, by: str | None = None, size: Size = None
    ) -> Figure:
        """Quantile residuals of every sample at its patient's mode in four panels, as `Fits.diagnostics`."""
        seed = domains.seed(seed)
        return self.as_fits.diagnostics(seed, axes, by=by)

    @domains.picture
    def plot_trace(self, axes: Sequence[Axes] | None = None, *, size: Size = None) -> Figure:
        """How the estimates moved, a panel each, and the log-likelihood of the chains, or of an approximation.

        Over the iterations of SAEM, of which those that are averaged are shaded; over the steps of an approximation.
        """
        from cellkinetics.charts import population

        return population.plot_trace(self, axes)

    @property
    def as_fits(self) -> Fits:
        """Every patient at its mode, as fits of single patients are kept."""
        return Fits(self.study.select(subjects=list(self.each)), self.each)

    def without(self, *labels: str) -> PopulationFit:
        """The same population without coefficients, such as ``"c_max:dose"``: for `likelihood_ratio`.

        Without a comedication that was asked for as a covariate, such as ``"mu0:IL-2"``, its factor is fixed at 1.

        Raises
        ------
        ModelError
            There is no such coefficient.
        """
        given = {n: [how] if isinstance(how, str) else list(how) for n, how in (self.asked["covariates"] or {}).items()}
        known = [f"{name}:{how}" for name, each in given.items() for how in each]
        for label in labels:
            if label not in known:
                raise ModelError(f"there is no coefficient {label!r}. It has {', '.join(known) or 'none'}.")
            name, _, how = label.partition(":")
            given[name].remove(how)
        left = {name: how for name, how in given.items() if how}
        factors = [factor for label in labels if (factor := factor_of(self.model, *label.split(":", 1)))]
        asked = without_factors(self.asked, factors)
        return self.refit(self.model, self.study, **{**asked, "covariates": left or None})

    def likelihood_ratio(self, smaller: PopulationFit) -> pd.Series[float]:
        """The likelihood ratio test against a fit of the same samples with fewer coefficients.

        Returns
        -------
        Series
            statistic (twice the difference of log-likelihoods; of fits by one approximation, of its values), its Monte
            Carlo ``error``, df and p: chi-squared, which is asymptotic; with few patients p is too small.

        Raises
        ------
        ModelError
            Of other samples or random effects, not fewer coefficients, another method, or asked with another model,
            tie, censoring, doses, prior or value of what is fixed.
        """
        return table.ratio(self, smaller)

    def summary(self) -> str:
        """The fit in words: who takes part, what varies, counts, estimates, outcome."""
        return text.summary(self)

    def __repr__(self) -> str:
        varies: Sequence[str] = self.design.random
        return f"<PopulationFit of {count(len(self.subjects), 'subject')}, {self.model.name}, varying: " + (
            f"{', '.join(varies)}: {self.outcome}>"
        )
