r"""How far each sample lies from the curve that the others give, and whether neighbours lie off together.

To first order in the curve, from what is there at the estimates. With J the slopes of ln f by the moving parameters in
sds (rows a), w the information of a sample about ln f (1 of a quantified sample, minus the second derivative of its
log-likelihood of a censored one, in units of 1/sd^2), and :math:`C = (J^\top w J + \text{priors})^{-1}`:

.. math::

    h_i = w_i\,a_i C a_i^\top, \quad
    t_i = \frac{z_i}{\sqrt{1 - h_i}\;\tilde s_{(i)}}, \quad
    \tilde s_{(i)}^2 = \frac{d_0 s_0^2 + \sum_j z_j^2 - z_i^2/(1 - h_i)}{d_0 + d - 1}

t is the residual of a sample left out, in its standard errors (Cook and Weisberg 1982, Residuals and Influence in
Regression, chapter 2). The sd of few samples is hardly known, and one outlier among nine hides in it: it is moderated
by what the scatter of such samples usually is (Smyth 2004, doi:10.2202/1544-6115.1027), :math:`s_0` with :math:`d_0`
degrees of freedom, in units of the fitted sd; d is the number of quantified samples less what the curve used up. Of a
censored sample z is how far the curve lies beyond its end, 0 inside.

Neighbours are compared by the scores e, the slopes of the log-likelihood by ln f in sds: of a censored sample its
conditional expectation. Residuals of a fit are not independent, :math:`\operatorname{Var} e = V = w - w J C J^\top w`:
they alternate more than the throws of a coin, which hides a wrong curve from the test of Wald and Wolfowitz. Moments
of the quadratic forms below are those under V (Durbin and Watson 1951, doi:10.2307/2332325).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cellkinetics.arrays import Flags, Floats, Ints
from cellkinetics.lazily import special
from cellkinetics.optimising.problem import Problem, derivatives_of

# The sd on ln copies that is expected before a curve is seen: the residual 0.56 of 90 patients (Stein 2019, Table 1),
# as if seen in 16 samples: 95% of the patients then lie between 0.42 and 0.85.
USUAL_SD, USUAL_SAMPLES = 0.56, 16.0
# Nearer to 1 a leverage is of no use: what is left of the residual is the curvature of the model.
LARGEST_LEVERAGE = 0.9
UNDETERMINED = 1e-5  # of the largest singular value, columns scaled to one length: below, a direction is not determined
FADING = 0.5  # correlation of neighbours in the departure that `Standing.pattern` looks for


@dataclass(frozen=True, eq=False)
class Standing:
    """Where n samples stand to a fitted curve.

    ln_f : (n,) the curve. z : (n,) residuals in sds; of a censored sample how far the curve lies beyond its end.
    sd : (n,) on ln copies. slopes : (n, k) of ln f by what moves, in sds. weight : (n,) information of each, in 1/sd^2.
    score : (n,) slopes of the log-likelihood by ln f, in sds. prior : (k, k) information of priors.
    quantified : (n,). output : (n,) index.
    """

    ln_f: Floats
    z: Floats
    sd: Floats
    slopes: Floats
    weight: Floats
    score: Floats
    prior: Floats
    quantified: Flags
    output: Ints

    @cached_property
    def leverage(self) -> Floats:
        """(n,) h, the share of a sample in its own fitted value."""
        return np.minimum(np.einsum("nk,nk->n", self._basis, self._basis), 1.0)

    @cached_property
    def _basis(self) -> Floats:
        """(n, r) orthonormal columns of the weighted slopes, with priors as further rows that are dropped."""
        return self._decomposed[0][: len(self.z)]

    @cached_property
    def _decomposed(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Of the weighted slopes in columns of one length: left, singular values, right, and the lengths."""
        rows = np.sqrt(self.weight)[:, None] * self.slopes
        # As rows whose squares add up to the information of the priors.
        sizes, vectors = np.linalg.eigh(self.prior)
        prior = np.sqrt(np.maximum(sizes, 0.0))[:, None] * vectors.T
        rows = np.vstack([np.where(np.isfinite(rows), rows, 0.0), prior])
        length = np.sqrt(np.sum(rows**2, axis=0))
        length = np.where(length > 0, length, 1.0)
        left, sizes, right = np.linalg.svd(rows / length, full_matrices=False)
        seen = sizes > UNDETERMINED * sizes.max(initial=1e-300)
        return left[:, seen], sizes[seen], right[seen], length

    @cached_property
    def degrees(self) -> float:
        """Quantified samples less what the curve has used up of them."""
        return max(float(np.sum(1 - self.leverage[self.quantified])), 0.0)

    @cached_property
    def squares(self) -> Floats:
        """(n,) squared residuals of quantified samples on the ln scale; 0 of others."""
        return np.where(self.quantified, self.z * self.sd, 0.0) ** 2

    def spread(self, squares: Floats | float, degrees: float) -> Floats:
        """The moderated sd on the ln scale from a sum of squares."""
        usual = USUAL_SAMPLES * USUAL_SD**2
        return np.sqrt((usual + np.maximum(squares, 0.0)) / (USUAL_SAMPLES + max(degrees, 0.0)))

    @cached_property
    def left_out(self) -> tuple[Floats, float]:
        """(n,) t, and its degrees of freedom."""
        left = np.maximum(1 - self.leverage, 1 - LARGEST_LEVERAGE)
        degrees = max(self.degrees - 1, 0.0)
        spread = self.spread(self.squares.sum() - self.squares / left, degrees)
        return self.z * self.sd / (np.sqrt(left) * spread), USUAL_SAMPLES + degrees

    def predicted(self, row: int) -> tuple[float, float]:
        """(t, degrees of freedom) of a sample that took no part: its weight is 0, and the curve is that of the others.

        0 where they do not determine the curve there.
        """
        _, sizes, right, length = self._decomposed
        slope = self.slopes[row] / length
        others = np.arange(len(self.z)) != row
        degrees = max(float(np.sum((1 - self.leverage)[self.quantified & others])), 0.0)
        share = right @ slope
        # A direction in which only this sample moves the curve: without it the curve could be anywhere.
        lost = not np.abs(share @ right - slope).max(initial=0.0) <= 1e-3 * np.abs(slope).max(initial=1e-300)
        if lost:
            return 0.0, USUAL_SAMPLES + degrees
        spread = float(self.spread(self.squares[others].sum(), degrees))
        error = spread * np.sqrt(1 + np.sum((share / sizes) ** 2))
        return float(self.z[row] * self.sd[row] / error), USUAL_SAMPLES + degrees

    @cached_property
    def variance(self) -> Floats:
        """(n, n) V, that of the scores."""
        weighted = np.sqrt(self.weight)[:, None] * self._basis
        return np.diag(self.weight) - weighted @ weighted.T

    @cached_property
    def _same(self) -> Flags:
        """(n, n) whether two samples are of one output."""
        return self.output[:, None] == self.output[None, :]

    def pattern(self) -> float:
        """The p of a departure from the curve that is smooth over the samples, at the usual sd.

        The score test of a random departure whose correlation halves from one sample to the next:
        e K e beside its mean tr KV, as an F value of the same first two moments.
        """
        kernel = np.zeros((len(self.z), len(self.z)))
        for index in np.unique(self.output):
            mine = np.flatnonzero(self.output == index)
            kernel[np.ix_(mine, mine)] = FADING ** np.abs(np.subtract.outer(np.arange(len(mine)), np.arange(len(mine))))
        product = kernel @ self.variance
        mean, half = np.trace(product), np.einsum("ij,ji->", product, product)
        if not mean > 0.3:
            return 1.0
        counted = self.score * self.sd
        ratio = counted @ kernel @ counted / (mean * USUAL_SD**2)
        return float(special.fdtrc(mean**2 / half, USUAL_SAMPLES, max(ratio, 0.0)))

    @cached_property
    def neighbours(self) -> tuple[Floats, float]:
        """(n,) whose sum is the serial correlation of the scores less its expectation, and the variance of the sum.

        e B e / e e with B 1/2 for neighbours of one output: it does not depend on the sd.
        """
        n = len(self.z)
        next_to = np.zeros((n, n))
        for index in np.unique(self.output):
            mine = np.flatnonzero(self.output == index)
            next_to[mine[:-1], mine[1:]] = next_to[mine[1:], mine[:-1]] = 0.5
        total, trace = float(self.score @ self.score), float(np.trace(self.variance))
        # With less than three samples' worth of residuals nothing can follow anything.
        if not (total > 0 and trace > 1.5):
            return np.zeros(n), 0.0
        expected = np.einsum("ij,ji->i", next_to, self.variance) / trace
        centred = (next_to - expected.sum() * np.eye(n)) @ self.variance
        variance = 2 * np.einsum("ij,ji->", centred, centred) / (trace**2 + 2 * trace)
        return self.score * (next_to @ self.score) / total - expected, float(variance)


@dataclass(frozen=True, eq=False)
class Movable:
    """What moves the curve of a patient, k values: its own, and in a joint fit those that all share.

    to : (free parameters, k) slopes of the free vector by them.
    prior : (k, k) information on them from elsewhere: priors, and the samples of the others.
    """

    to: Floats
    prior: Floats


def alone(problem: Problem, moving: Flags) -> Movable:
    """Of a patient fitted by itself, whose parameters move that are not held at a bound."""
    free = len(problem.free)
    return Movable(np.eye(free)[:, moving], problem.prior[1][:free, :free][np.ix_(moving, moving)])


def standing(problem: Problem, x: Floats, moves: Movable, without: int | None = None) -> Standing:
    """Where the samples of a problem stand to the curve at ``x``.

    Parameters
    ----------
    problem : with n samples.
    x : its free vector.
    moves : what can move.
    without : the row that takes no part.
    """
    n = len(problem.samples)
    at, ln_sd = problem.curve(x, 1), problem.ln_sd(x)
    _, first, second, known = map(np.asarray, derivatives_of(problem.error)(at.value, ln_sd, problem.rows))
    sd = 1 / np.sqrt(np.maximum(known[:n], 1e-300))
    quantified = problem.samples.quantified
    weight = np.where(quantified, 1.0, np.clip(-second[0, 0][:n] * sd**2, 0.0, 1.0))
    if without is not None:
        weight[without] = 0.0
    return Standing(
        ln_f=np.asarray(at.value)[:n],
        z=residuals(problem, np.asarray(at.value), ln_sd),
        sd=sd,
        slopes=_by(moves, np.asarray(at.jacobian)[:n]) / sd[:, None],
        weight=weight,
        score=first[0][:n] * sd,
        prior=moves.prior,
        quantified=quantified,
        output=problem.samples.output,
    )


def _by(moves: Movable, jacobian: Floats) -> Floats:
    """(n, k) slopes of the curve by what moves; NaN where one that counts is not finite."""
    lost = ~np.isfinite(jacobian)
    slopes = np.where(lost, 0.0, jacobian) @ moves.to
    slopes[lost.astype(float) @ (moves.to != 0) > 0] = np.nan
    return slopes


def residuals(problem: Problem, ln_f: Floats, ln_sd: Floats) -> Floats:
    """(n,) normal values of the samples; of a censored one the end that the curve is beyond, 0 within its ends."""
    n = len(problem.samples)
    if problem.error.least_squares:
        lower, upper = ((np.asarray(end) - ln_f) * np.exp(-ln_sd[0]) for end in problem.rows[:2])
    else:
        lower, upper = problem.error.normal_scores(ln_f, ln_sd, problem.rows)
    return np.where(lower > 0, lower, np.minimum(upper, 0.0))[:n]
