r"""A lag, exponential growth to a peak, then biexponential decline: lisocabtagene maraleucel in 261 patients.

.. math::

    C(t) = \begin{cases}
        R_0 = C_{max}/\mathrm{fold}, \quad \mathrm{fold} = e^{\rho (t_{max} - t_{lag})} & t < t_{lag}\\
        R_0\, e^{\rho (t - t_{lag})} & t_{lag} \le t < t_{max}\\
        C_{max}\big[(1 - f_b)\, e^{-\alpha (t - t_{max})} + f_b\, e^{-\beta (t - t_{max})}\big] & t \ge t_{max}
    \end{cases}

Ogasawara 2021, Clin Pharmacokinet 60:1621, doi:10.1007/s40262-021-01039-5. 261 patients, 2,524 observations by qPCR.
There is no dose in the model: doses are ignored.

Published means (95% interval): lag 3.27 d (2.71-3.97), doubling time 0.755 d (0.667-0.821), t_max 9.29 d (8.81-9.70),
first half-life 5.00 d (4.15-5.90), terminal half-life 352 d (241-647). From them: growth of 0.918/d over 6.02 d, which
is 251-fold.

**Fold and lag are confounded**: after the lag the curve depends on rho, t_max and c_max alone, so that samples on
later days give rho and leave (fold, t_lag) free along fold = exp(rho (t_max - t_lag)). A lag can only be estimated
where samples lie on it, on days 1 to 5: it is free by default only if there are at least two, and the fold of this
model (251) is not comparable to that of a model without a lag (3,900 in ``stein_2019_tisagenlecleucel``).

Assumptions and deviations
--------------------------
Read in the abstract, which names the phases and prints the means above: that t_max counts from the infusion, the
constant level R_0 before the lag, and the way the phases are joined are ours; c_max and f_b are not printed there
and are assumptions (those of tisagenlecleucel). Written without a branch; where t_lag lies behind t_max, there is no
growth and the level is c_max until t_max. The model takes the unit of the study.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cellkinetics import Check, Equations, Model, Parameter
from cellkinetics.blocks import decline, faster_first, from_peak, two_parts

ABSTRACT = "Ogasawara 2021, abstract"


def curve(t, t_lag, rho, t_max, c_max, alpha, f_b, beta):
    """Copies/ug, shape (n,)."""
    grown = jnp.minimum(jnp.maximum(t, t_lag), t_max) - t_max
    return c_max * jnp.exp(rho * grown) * decline(jnp.maximum(t - t_max, 0.0), alpha, f_b, beta)


def at_first(t_lag, rho, t_max, c_max):
    """Copies/ug before the lag ends."""
    return c_max * jnp.exp(rho * (jnp.minimum(t_lag, t_max) - t_max))


def rhs(phase, first, second, t_lag, rho, t_max, alpha, beta):
    """Derivatives of the two parts of the decline (copies/ug), which grow alike from t_lag to t_max, per day."""
    in_order = t_lag < t_max
    growth = jnp.where(in_order & (phase > 0), rho, 0.0)
    return two_parts(phase > jnp.where(in_order, 1, 0), growth, first, second, alpha, beta)


def free(study):
    """t_lag only with two samples on days 1 to 5."""
    days = study.used["day"] - study.infusion_day(study.subjects[0])
    others = ("rho", "t_max", "c_max", "alpha", "f_b", "beta")
    return ("t_lag", *others) if days.between(1, 5).sum() >= 2 else others


def levels(model, *days, **values):
    """Copies/ug on these days, with some values changed."""
    return np.asarray(model.solve(np.array(days, float), values)["copies_per_ug"])


def growth(model):
    """1/day, from the curve half-way up."""
    low, high = levels(model, 6.0, 7.0)
    return float(np.log(high / low))


def end_of_the_lag(model):
    """Where the line of the growth meets the level before it."""
    before, during = levels(model, 0.0, 6.0)
    return float(6.0 - np.log(during / before) / growth(model))


def half_life(model, first, last, **values):
    """Days, from the curve at two days after the peak."""
    high, low = levels(model, first, last, **values)
    return float((last - first) * np.log(2) / np.log(high / low))


def day_of_the_peak(model):
    """The day of the highest level, to 0.01 d."""
    days = np.arange(0.0, 20.0, 0.01)
    return float(days[np.argmax(levels(model, *days))])


def fold(model):
    """The peak over the level before the lag."""
    start, peak = levels(model, 0.0, day_of_the_peak(model))
    return float(peak / start)


model = Model(
    name="ogasawara_2021_liso_cel",
    reference="doi:10.1007/s40262-021-01039-5",
    population="261 patients, lisocabtagene maraleucel (CD19 CAR-T); qPCR of blood",
    parameters={
        "t_lag": Parameter(3.27, "day", ABSTRACT, min=0.05, max=30.0),
        "rho": Parameter(np.log(2) / 0.755, "1/day", f"derived: ln 2/0.755 d; {ABSTRACT}", min=1e-3, max=20.0),
        "t_max": Parameter(9.29, "day", ABSTRACT, min=0.1, max=100.0),
        "c_max": Parameter(24000.0, "copies/ug", "assumption: as tisagenlecleucel in Stein 2019"),
        "alpha": Parameter(np.log(2) / 5.00, "1/day", f"derived: ln 2/5.00 d; {ABSTRACT}", min=1e-4, max=20.0),
        "f_b": Parameter(0.0079, "1", "assumption: as tisagenlecleucel in Stein 2019", max=1.0, scale="logit"),
        "beta": Parameter(np.log(2) / 352, "1/day", f"derived: ln 2/352 d; {ABSTRACT}", min=1e-5, max=5.0),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
    equations=Equations(
        states=("first", "second"),
        rhs=rhs,
        observe=lambda first, second: first + second,
        start={
            "first": lambda t_lag, rho, t_max, c_max, f_b: (1 - f_b) * at_first(t_lag, rho, t_max, c_max),
            "second": lambda t_lag, rho, t_max, c_max, f_b: f_b * at_first(t_lag, rho, t_max, c_max),
        },
        switches=("t_lag", "t_max"),
    ),
    free=free,
    canonical=faster_first,
    initial=from_peak,
    corners=("t_lag", "t_max"),
    checks=(
        Check("lag", 3.27, "day", end_of_the_lag, 0.002, ABSTRACT),
        Check("doubling time", 0.755, "day", lambda m: np.log(2) / growth(m), 0.002, ABSTRACT),
        Check("growth rate", 0.918, "1/day", growth, 0.002, f"derived: ln 2/0.755 d; {ABSTRACT}"),
        Check("day of the peak", 9.29, "day", day_of_the_peak, 0.002, ABSTRACT),
        Check("fold over the growth", 251.0, "1", fold, 0.01, f"derived: exp(0.918/d x 6.02 d); {ABSTRACT}"),
        Check("first half-life (f_b near 0)", 5.00, "day", lambda m: half_life(m, 12, 13, f_b=1e-12), 0.002, ABSTRACT),
        Check("terminal half-life", 352.0, "day", lambda m: half_life(m, 400, 500), 0.002, ABSTRACT),
    ),
    scale_free=True,
)
