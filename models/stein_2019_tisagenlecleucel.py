r"""Exponential rise to a peak, then biexponential decline: tisagenlecleucel in 90 patients.

.. math::

    C(t) = \begin{cases}
        R_0\, e^{\rho t}, \quad R_0 = C_{max}/\mathrm{fold},\; \rho = \ln(\mathrm{fold})/t_{max} & t < t_{max}\\
        C_{max}\big[(1 - f_b)\, e^{-\alpha (t - t_{max})} + f_b\, e^{-\beta (t - t_{max})}\big] & t \ge t_{max}
    \end{cases}

Stein AM, Grupp SA, Levine JE, et al. Tisagenlecleucel model-based cellular kinetic analysis of chimeric antigen
receptor-T cells. CPT Pharmacometrics Syst Pharmacol 2019;8:285-95, doi:10.1002/psp4.12388. qPCR, copies/ug of genomic
DNA, in children and young adults (3 to 25 years) with B-cell acute lymphoblastic leukaemia. There is no dose in the
model: doses are ignored.

After the peak this is :math:`\dot E = -\alpha E,\ \dot M = f_b(\alpha - \beta) E - \beta M` for effector cells E and
memory cells M, with :math:`C = E + M`. The area under the whole curve is
:math:`C_{max}\,[(1 - 1/\mathrm{fold})/\rho + (1 - f_b)/\alpha + f_b/\beta]`. The residual SD is 0.56 on the ln scale.

Assumptions and deviations
--------------------------
The values are those of the paper's Table 1 as public model libraries quote it. Written without a branch, so that
derivatives exist at and around t_max. The model takes the unit of the study. The factors on the growth after
tocilizumab (1.2) and corticosteroids (1.0), which the paper does not tell from 1, are there with
``with_(comedication=["tocilizumab", "steroids"])``: the curve then starts from :math:`C_{max}/\mathrm{fold}` as without
and is solved as an ODE, :math:`C_{max}` is the peak that there would be without, and the two terms of the decline are
lost at their own rates. The terminal half-life lies
near the longest follow-up of about a year: an extrapolation, by the paper's own words. A half-life recomputed from
rounded rates, as in the table below, is a check of the transcription and not of the model.

Variability between patients (2.4, 0.38, 0.65, 0.91, 0.80 and 0.86, in the order of the parameters) is on the ln scale.
Public sources disagree on what these numbers are: public model codes enter them as variances, while Monolix, for which
the paper gives its code, prints SDs. Here they are read as SDs; as variances they would be SDs of 1.5, 0.62, 0.81,
0.95, 0.89 and 0.93.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cellkinetics import Check, Model, Parameter
from cellkinetics.blocks import decline, faster_first, from_fold, from_peak, switches

SOURCE = "Stein 2019, Table 1"
DISCUSSION = "Stein 2019, Discussion"


def between(number):
    """The published variability and how it is read."""
    words = f"{number}, read as SD on the ln scale; other public sources read a variance"
    return {"between": words, "spread": float(number)}


def curve(t, fold, t_max, c_max, alpha, f_b, beta):
    """Copies/ug, shape (n,)."""
    before, after = jnp.minimum(t - t_max, 0.0), jnp.maximum(t - t_max, 0.0)
    return c_max * jnp.exp(jnp.log(fold) / t_max * before) * decline(after, alpha, f_b, beta)


def observe(first, second):
    """Copies/ug of both parts."""
    return first + second


def days_to_a_factor_of_two(model, first, last, **values):
    """From the curve at two days: doubling time, or half-life."""
    low, high = np.asarray(model.solve([first, last], values)["copies_per_ug"])
    return float((last - first) * np.log(2) / abs(np.log(high / low)))


model = Model(
    name="stein_2019_tisagenlecleucel",
    reference="doi:10.1002/psp4.12388",
    population="90 children and young adults with B-cell leukaemia, tisagenlecleucel (CD19 CAR-T); qPCR of blood",
    parameters={
        "fold": Parameter(3900.0, "1", SOURCE, min=1.0, max=1e9, **between(2.4)),
        "t_max": Parameter(9.3, "day", SOURCE, min=0.1, max=100.0, **between(0.38)),
        "c_max": Parameter(24000.0, "copies/ug", SOURCE, **between(0.65)),
        "alpha": Parameter(0.16, "1/day", SOURCE, min=1e-4, max=20.0, **between(0.91)),
        "f_b": Parameter(0.0079, "1", SOURCE, max=1.0, scale="logit", **between("0.80")),
        "beta": Parameter(0.0032, "1/day", SOURCE, min=1e-5, max=5.0, **between(0.86)),
    },
    outputs={"copies_per_ug": "copies/ug"},
    curve=curve,
    equations=from_fold(observe, Parameter(np.log(3900.0) / 9.3, "1/day", "derived: ln(fold)/t_max")),
    canonical=faster_first,
    initial=from_peak,
    alternatives=switches,
    corners=("t_max",),
    checks=(
        Check(
            "doubling time before the peak", 0.78, "day",
            lambda m: days_to_a_factor_of_two(m, 2, 3), 0.02, DISCUSSION,
        ),
        Check(
            "first half-life (f_b near 0)", 4.3, "day",
            lambda m: days_to_a_factor_of_two(m, 12, 13, f_b=1e-12), 0.02, DISCUSSION,
        ),
        Check("terminal half-life", 220.0, "day", lambda m: days_to_a_factor_of_two(m, 400, 500), 0.02, DISCUSSION),
    ),
    scale_free=True,
)  # fmt: skip
