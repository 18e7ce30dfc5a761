"""The curve and the residuals of a fit as a file keeps them, for when its model is not at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cellkinetics.arrays import Floats
from cellkinetics.errors import ModelError
from cellkinetics.fitting.derived import jumps_of
from cellkinetics.lazily import pandas as pd
from cellkinetics.saving import storable
from cellkinetics.solving.pieces import both_sides
from cellkinetics.words import number_text

if TYPE_CHECKING:
    from cellkinetics.fitting.result import Fit


@storable
@dataclass(frozen=True)
class Kept:
    """A fitted curve on the days of its samples and of later doses, and 200 days between.

    Parameters
    ----------
    days : (n,) days since the first infusion, rising.
    ln_f : (outputs, n) ln of the curve.
    stderr : (outputs, n) standard error of it; NaN where the fit gives no band.
    residuals : as `Fit.residuals`.
    """

    days: Floats
    ln_f: Floats
    stderr: Floats
    residuals: pd.DataFrame

    def ln_curve(self, times: Floats, output: int, quantile: float) -> tuple[Floats, Floats]:
        """Ln f at days since the infusion, by straight lines between the days that are kept, and its half width.

        Raises
        ------
        ModelError
            Times outside the days that are kept.
        """
        first, last = self.days[0], self.days[-1]
        if len(times) and (np.min(times) < first - 1e-9 or np.max(times) > last + 1e-9):
            raise ModelError(
                f"the curve was kept from day {number_text(first)} to {number_text(last)}. For other days its model is "
                "needed: ck.load(path, model=ck.load_model(file))."
            )
        return np.interp(times, self.days, self.ln_f[output]), quantile * np.interp(
            times, self.days, self.stderr[output]
        )


def kept_of(fit: Fit) -> Kept | None:
    """What a file is to keep of a fit; None for a patient who was not fitted."""
    if fit.kept is not None or not fit.fitted:
        return fit.kept
    first = fit.study.infusion_day(fit.subject)
    days = np.unique(np.concatenate([fit.predict()["day"].to_numpy(float) - first, fit.problem.samples.day]))
    days = both_sides(days, jumps_of(fit))
    quantile = fit.spread.quantile_of(0.95)
    curves = [fit.ln_curve(days, output, 0.95) for output in range(len(fit.model.outputs))]
    ln_f, half = (np.array(part) for part in zip(*curves, strict=True))
    return Kept(days, ln_f, half / quantile, fit.residuals)
