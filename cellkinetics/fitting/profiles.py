"""Profile likelihoods of all patients of a study in one call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cellkinetics import domains
from cellkinetics.domains import Size
from cellkinetics.errors import suggest
from cellkinetics.fitting.profile import Profile, asked_of, listed, profile_each
from cellkinetics.lazily import pandas as pd
from cellkinetics.running.run import Run
from cellkinetics.saving import Saves, storable
from cellkinetics.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cellkinetics.fitting.fits import Fits


@storable
@dataclass(frozen=True, eq=False, repr=False)
class Profiles(Saves, Mapping[str, Profile]):
    """The profiles of a study: a mapping subject -> profile, of those who were fitted.

    Parameters
    ----------
    fits : those that were profiled.
    by_subject : {subject: profile}.
    level : of the intervals.
    """

    fits: Fits
    by_subject: Mapping[str, Profile]
    level: float

    def __getitem__(self, subject: str) -> Profile:
        return self.by_subject[subject]

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_subject)

    def __len__(self) -> int:
        return len(self.by_subject)

    def __repr__(self) -> str:
        return f"<Profiles of {count(len(self), 'subject')}>"

    @property
    def intervals(self) -> pd.DataFrame:
        """Long table: subject, parameter, value, lower, upper (NaN where open), shape, threshold."""
        return self._long("intervals")

    @property
    def table(self) -> pd.DataFrame:
        """Long table of all points: subject, parameter, value, log_likelihood, deviance."""
        return self._long("table")

    @domains.picture
    def plot(self, parameter: str, axes: Axes | None = None, *, by: str = "cohort", size: Size = None) -> Axes:
        """Estimate and interval of one parameter, patient by patient, coloured by a covariate; open ends are arrows.

        On ``axes`` where given; ``size`` is width and height in mm of a new figure.
        """
        from cellkinetics.figures import profiles as profile_plot

        return profile_plot.plot_patients(self, parameter, axes, by)

    def _long(self, name: str) -> pd.DataFrame:
        tables = {subject: getattr(profile, name) for subject, profile in self.items()}
        if not tables:
            return pd.DataFrame(columns=["subject", "parameter", "value"])
        joined = pd.concat(tables, names=["subject"])
        keys = ["subject", "parameter"] if name == "intervals" else ["subject"]
        return joined.reset_index(level=keys).reset_index(drop=True)


def profiles(
    fits: Fits,
    parameters: str | Sequence[str] | None,
    level: float,
    *,
    calibrated: bool,
    progress: bool,
    checkpoint: str | Path | None,
    n_jobs: int,
) -> Profiles:
    """See `Fits.profile`."""
    level, calibrated = domains.level(level), domains.flag(calibrated, "calibrated")
    fitted = {subject: fit for subject, fit in fits.items() if fit.fitted}
    names = list(dict.fromkeys(name for fit in fitted.values() for name in fit.problem.names))
    for name in listed(parameters) or ():
        if name not in names:
            raise ValueError(f"{name} is free in no fit; {', '.join(names)} are. {suggest(name, names)}".rstrip())
    # What is free may differ between patients: those who share it are refitted together.
    groups: dict[tuple[str, ...], list[str]] = {}
    for subject, fit in fitted.items():
        own = tuple(name for name in fit.problem.names if parameters is None or name in parameters)
        groups.setdefault(own, []).append(subject)
    run = Run.of(checkpoint, n_jobs, lambda: asked_of([*fitted.values()], parameters, level, calibrated))
    profiles: dict[str, Profile] = {}
    for own, subjects in groups.items():
        each = profile_each(
            [fitted[s] for s in subjects], list(own), level=level, calibrated=calibrated, run=run, progress=progress
        )
        profiles |= dict(zip(subjects, each, strict=True))
    return Profiles(fits, {subject: profiles[subject] for subject in fitted}, level)
