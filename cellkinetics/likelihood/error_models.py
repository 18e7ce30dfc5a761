r"""Error models: how samples scatter about the curve, each with its censored samples in the same terms.

Of a sample y and a prediction f, with g = ln f and the standard normal :math:`\Phi`:

.. math::

    \begin{aligned}
    \text{log:} \quad & \ln y = g + s\,\varepsilon \\
    \text{student:} \quad & \ln y = g + s\,t_4 \\
    \text{proportional:} \quad & y = f + s f\,\varepsilon \\
    \text{combined:} \quad & y = f + \sqrt{a^2 + b^2 f^2}\;\varepsilon \\
    \text{counting:} \quad & y = (N/m)\,e^{s\varepsilon}, \quad N \sim \text{Poisson}(m f)
    \end{aligned}

with m the mass of DNA. Every density here is that of ln y (that of y times y), and the contribution of a censored
sample is the probability of its interval; below a limit it is that of everything under the limit, which on the natural
scale includes negative values (M3), unless the error model is asked for given a positive y (M4).

`error_model` says what an error model is, and all that the rest of the package asks of it; a new one is a class and its
line in `ERRORS`. `censoring` holds the log-normal likelihood itself, `counting` the Poisson mixture.
"""

from __future__ import annotations

from cellkinetics.likelihood.error_model import ErrorModel
from cellkinetics.likelihood.errors_of_counts import Counting
from cellkinetics.likelihood.errors_on_copies import Combined, Proportional
from cellkinetics.likelihood.errors_on_ln import NormalOnLn, Student

LOG = NormalOnLn.name
ERRORS: dict[str, ErrorModel] = {
    error.name: error for error in (NormalOnLn(), Proportional(), Combined(), Student(), Counting())
}


def of(name: str, censoring: str = "m3") -> ErrorModel:
    """The error model of a name under a method of handling values below the limit.

    Raises
    ------
    ValueError
        An unknown name.
    """
    if name not in ERRORS:
        raise ValueError(f"error={name!r}: take one of {', '.join(ERRORS)}.")
    return ERRORS[name].under(censoring)
