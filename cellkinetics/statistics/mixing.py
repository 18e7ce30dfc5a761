"""Whether chains told the same: R-hat of ranks and effective sample sizes (Vehtari, Gelman, Simpson et al. 2021)."""

from __future__ import annotations

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.lazily import pandas as pd
from cellkinetics.lazily import special


def r_hat(chains: Floats) -> float:
    """Rank-normalised split R-hat of draws (chains, draws): the larger of that of the draws and of their distance.

    1 where all chains have one distribution; above 1.01 they have not told the same. NaN where nothing moved.
    """
    halves = _split(chains)
    folded = np.abs(halves - np.median(halves))
    return max(_split_r_hat(_normal_scores(halves)), _split_r_hat(_normal_scores(folded)))


def ess_bulk(chains: Floats) -> float:
    """Independent draws that would tell the middle of the distribution as well as draws (chains, draws) do."""
    return _effective(_normal_scores(_split(chains)))


def ess_tail(chains: Floats) -> float:
    """The same of its 5% and 95% points, whichever is told worse."""
    halves = _split(chains)
    return min(_effective(np.asarray(halves <= np.quantile(chains, share), float)) for share in (0.05, 0.95))


def ess_mean(chains: Floats) -> float:
    """The same of its mean."""
    return _effective(_split(chains))


def _split(chains: Floats) -> Floats:
    """(2 chains, half of the draws); the middle one of an odd number is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, chains.shape[1] - half :]])


def _normal_scores(chains: Floats) -> Floats:
    ranks = pd.Series(chains.ravel()).rank().to_numpy(float).reshape(chains.shape)
    return special.ndtri((ranks - 0.375) / (chains.size + 0.25))


def _split_r_hat(chains: Floats) -> float:
    n = chains.shape[1]
    within, between = chains.var(axis=1, ddof=1).mean(), chains.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1) / n + between / within)) if within > 0 else float("nan")


def _effective(chains: Floats) -> float:
    """By Geyer's initial monotone sequence of the autocorrelations of all chains together."""
    m, n = chains.shape
    if n < 4 or not np.ptp(chains) > 0:
        return float("nan")
    away = chains - chains.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(away, 2 * n, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, 2 * n, axis=1)[:, :n] / n
    within = covariance[:, 0].mean() * n / (n - 1)
    variance = within * (n - 1) / n + chains.mean(axis=1).var(ddof=1)
    rho = 1 - (within - covariance.mean(axis=0) * n / (n - 1)) / variance
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    kept = pairs[: ends[0] if len(ends) else len(pairs)]
    kept = np.minimum.accumulate(kept)
    # An odd term more, where it is above 0, as Stan has it.
    more = max(rho[2 * len(kept)], 0.0) if 2 * len(kept) < n else 0.0
    time = max(-1 + 2 * kept.sum() + more, 1 / np.log10(m * n))
    return float(m * n / time)
