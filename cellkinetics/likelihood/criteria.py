"""Log-likelihood and information criteria, the same for a fit of one patient and of several.

n counts the samples in the likelihood, quantified and censored; k what is estimated, each sd included, also one that
has the prior of few samples, and nothing that is fixed. AICc corrects for an sd that is estimated (Hurvich and Tsai
1989): where every sd is given, it is AIC.
"""

from __future__ import annotations

import numpy as np


class Criteria:
    """What follows from a maximised likelihood of ln(copies) and the counts of samples and free values."""

    log_likelihood_ln: float
    sum_ln_quantified: float
    n_quantified: int
    n_censored: int
    n_free: int

    @property
    def has_priors(self) -> bool:
        """Whether priors were maximised with the likelihood."""
        raise NotImplementedError

    @property
    def sd_is_known(self) -> bool:
        """Whether every sd is given: none is estimated."""
        raise NotImplementedError

    @property
    def log_likelihood(self) -> float:
        """Of the copies themselves, so that it compares across error models."""
        return self.log_likelihood_ln - self.sum_ln_quantified

    @property
    def n(self) -> int:
        """Samples in the likelihood."""
        return self.n_quantified + self.n_censored

    @property
    def aic(self) -> float:
        """Akaike's criterion; compare only across fits of the same rows with the same censoring; NaN with priors."""
        return np.nan if self.has_priors else 2 * self.n_free - 2 * self.log_likelihood

    @property
    def aicc(self) -> float:
        """Its small-sample form; NaN when n <= k + 1, and AIC itself where no sd is estimated."""
        n, k = self.n, self.n_free
        if self.sd_is_known:
            return self.aic
        return self.aic + 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.nan

    @property
    def bic(self) -> float:
        """Schwarz's criterion, n counting quantified and censored samples; NaN with priors."""
        return np.nan if self.has_priors else self.n_free * np.log(max(self.n, 1)) - 2 * self.log_likelihood
