r"""Exponential rise to a peak, then biexponential decline: tisagenlecleucel in 90 patients.

.. math::

    C(t) = \begin{cases}
        R_0\, e^{\rho t}, \quad R_0 = C_{max}/\mathrm{fold},\; \rho = \ln(\mathrm{fold})/t_{max} & t < t_{max}\\
        C_{max}\big[(1 - f_b)\, e^{-\alpha (t - t_{max})} + f_b\, e^{-\beta (t - t_{max})}\big] & t \ge t_{max}
    \end{cases}

Stein AM, Grupp SA, Levine JE, et al. Tisagenlecleucel model-based cellular kinetic analysis of chimeric antigen
receptor-T cells. CPT Pharmacometrics Syst Pharmacol 2019;8:285-95, doi:10.1002/psp4.12388. qPCR, copies/ug of genomic
DNA. There is no dose in the model: doses are ignored.

Published checks: doubling time 0.78 d, half-lives 4.3 d and 220 d; residual SD 0.56 on the ln scale.

Assumptions and deviations
--------------------------
Written without a branch, so that derivatives exist at and around t_max. The model takes the unit of the study.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cellkinetics.model import Model, Parameter

SOURCE = "Stein 2019, model code and vignette"


def curve(t, fold, t_max, c_max, alpha, f_b, beta):
    """Copies/ug, shape (n,)."""
    before, after = jnp.minimum(t - t_max, 0.0), jnp.maximum(t - t_max, 0.0)
    decline = (1 - f_b) * jnp.exp(-alpha * after) + f_b * jnp.exp(-beta * after)
    return c_max * jnp.exp(jnp.log(fold) / t_max * before) * decline


def canonical(values):
    """The faster rate is alpha."""
    if values["alpha"] >= values["beta"]:
        return values
    return {**values, "alpha": values["beta"], "beta": values["alpha"], "f_b": 1 - values["f_b"]}


def guess(days, values):
    """Peak from the highest sample, decay rates from the slopes after it."""
    peak = int(np.argmax(values))
    t_max, c_max = max(float(days[peak]), 1.0), float(values[peak])
    found = {"t_max": t_max, "c_max": c_max}
    later, level = days[peak + 1 :] - days[peak], np.log(c_max / values[peak + 1 :])
    early, late = (later > 0) & (later <= 21), later > 21
    if early.any():
        found["alpha"] = float(np.clip(np.median(level[early] / later[early]), 0.02, 2.0))
    if len(np.unique(later[late])) > 1:
        slope = np.polyfit(later[late], -level[late], 1)[0]
        found["beta"] = float(np.clip(-slope, 5e-4, 0.1))
    return found


model = Model(
    name="stein_2019_tisagenlecleucel",
    reference="doi:10.1002/psp4.12388",
    parameters={
        "fold": Parameter(3900.0, "1", SOURCE, min=1.0, max=1e9),
        "t_max": Parameter(9.3, "day", SOURCE, min=0.1, max=100.0),
        "c_max": Parameter(24000.0, "copies/ug", SOURCE),
        "alpha": Parameter(0.16, "1/day", SOURCE, min=1e-4, max=20.0),
        "f_b": Parameter(0.0079, "1", SOURCE, max=1.0, scale="logit"),
        "beta": Parameter(0.0032, "1/day", SOURCE, min=1e-5, max=5.0),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
    canonical=canonical,
    guess=guess,
    scale_free=True,
)
