"""What is taken to be known of a residual sd where a patient's own samples are too few to tell it alone.

The likelihood of few samples has no bound as the sd goes to 0, and an sd that is taken as given covers what it should
at that sd alone. ln sd has a normal prior instead. Its centre and its width are from published curves: 0.56 on ln
copies over 91 patients (Stein 2019, Table 1), and about 1 over nine patients in remission with 9 to 18 samples each
(Liu 2022, each fitted with Stein's curve). 0.7 with a log-SD of 0.5 says that 95% of all sds lie between 0.26 and 1.9.
Half of that variance is taken to be between studies, and half between the patients of one: the log-SD of those nine is
0.3 beyond what so few samples would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cellkinetics.saving import storable

MEDIAN = 0.7
BETWEEN_STUDIES = BETWEEN_PATIENTS = 0.5 / float(np.sqrt(2))


@storable
@dataclass(frozen=True)
class SdPrior:
    """A normal prior of ln sd, and what belongs to it where samples are few.

    Parameters
    ----------
    mean, sd : of ln sd.
    spent
        parameters of the curve that the quantified samples had to determine. The likelihood with the curve's
        parameters integrated out (restricted likelihood) falls with (n - spent) ln sd, not with n ln sd: without that
        the estimate would be as much too small as that of maximum likelihood is.
    patients, pooled : how many other patients tell of the sd, and with how many degrees of freedom together.
    given : whether the prior is the user's.
    parameters : how many free parameters the samples of this sd depend on.
    """

    mean: float = float(np.log(MEDIAN))
    sd: float = float(np.hypot(BETWEEN_STUDIES, BETWEEN_PATIENTS))
    spent: float = 0.0
    patients: int = 0
    pooled: float = 0.0
    given: bool = False
    parameters: int = 0

    @property
    def centre(self) -> float:
        """Where ln sd is drawn to: the mean, and beyond by what the likelihood falls too fast."""
        return self.mean + self.spent * self.sd**2

    @property
    def degrees(self) -> float:
        """Degrees of freedom of an sd that is known so well: its ln has a variance of 1/(2 df)."""
        return 1 / (2 * self.sd**2)

    @property
    def median(self) -> float:
        """Of the sd."""
        return float(np.exp(self.mean))

    @property
    def words(self) -> str:
        """As it is written: LogNormal(0.7, 0.5)."""
        return f"LogNormal({self.median:.3g}, {self.sd:.3g})"

    def with_others(self, squares: Sequence[float], degrees: Sequence[float]) -> SdPrior:
        """Told by other patients of the study too, from sums of squares on the ln scale and degrees of freedom.

        Their pooled variance has its own uncertainty, 1/(2 df) of ln sd, and stands beside what is known of studies in
        general; how much patients of one study differ stays.
        """
        total, square = float(sum(degrees)), float(sum(squares))
        if self.given or not (total > 0 and square > 0):
            return self
        pooled = 0.5 * float(np.log(square / total))
        general = 1 / BETWEEN_STUDIES**2
        known = general + 2 * total
        mean = (general * float(np.log(MEDIAN)) + 2 * total * pooled) / known
        sd = float(np.sqrt(BETWEEN_PATIENTS**2 + 1 / known))
        return replace(self, mean=mean, sd=sd, patients=len(degrees), pooled=total)
