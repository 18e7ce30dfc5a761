"""What an error model is: all that the rest asks of one, and what they have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import get_annotations
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from cellkinetics.arrays import Flags, Floats
from cellkinetics.lazily import special
from cellkinetics.likelihood.censoring import Rows, standardised

# An assay is not better than 1%: below, the curve goes through every sample and the likelihood has no bound.
LN_SD_FLOOR = float(np.log(0.01))
# An additive sd of a thousandth of the lowest value or limit is none.
NO_ADDITIVE = 1e-3
# Starts of the sds, of the sd on ln copies; an additive part has its own in lowest values or limits.
SHARES = (1.0, 0.5, 0.1)
ADDITIVE = (3.0, 1.0, 0.2, 0.01)
# What an sd at its lower bound says where nothing but the curve explains the samples.
THROUGH_ALL = (
    "the curve goes through every sample. Look whether all were measured (rounded or carried forward values lie on a "
    "curve), free fewer parameters, or give the sd that is known of the assay (fixed=)."
)


@dataclass(frozen=True)
class ErrorModel(ABC):
    """How samples scatter about the curve; a static argument of compiled functions.

    In all methods ``predicted`` is (n,) ln of the predicted copies, ``ln_sd`` (parts, n) ln of what is estimated, in
    the order of `parts`, and ``rows`` the (n,) samples. A class that leaves out what it must say is refused where it is
    defined: what differs between error models has no default that a new one would take unasked.

    Attributes
    ----------
    name : as ``error=`` takes it.
    parts : names of what is estimated for each output.
    in_copies : those of them in the unit of the copies.
    words : the error model in a summary.
    at_bound : what it means that all sds of an output ended at their lower bounds, and what to do.
    none_shown : the same of each part alone, of an error model with several; ``{name!r}`` is the name of the sd.
    sd_unit : of the sds in tables, but for an additive one.
    simpler : name of the error model that this one is without its additive part.
    needs_mass : whether a sample needs the mass of DNA in its wells.
    least_squares : whether the least squares of ln copies is exact: true of the log-normal error.
    natural : whether samples are normal on the scale of the copies, and may be negative.
    plannable : whether its sds alone say how a sample that is yet to be taken scatters.
    """

    name: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    words: ClassVar[str]
    at_bound: ClassVar[str]
    sd_unit: ClassVar[str]
    needs_mass: ClassVar[bool]
    least_squares: ClassVar[bool]
    natural: ClassVar[bool]
    plannable: ClassVar[bool] = False
    in_copies: ClassVar[tuple[str, ...]] = ()
    simpler: ClassVar[str] = ""
    none_shown: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, shared: bool = False) -> None:
        """Refuse a class that forgets something; ``shared`` for what several error models have in common."""
        super().__init_subclass__()
        methods = [name for name in dir(cls) if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
        missing = [name for name in get_annotations(ErrorModel) if not hasattr(cls, name)] + methods
        if not missing and len(cls.parts) > 1 and len(cls.none_shown) != len(cls.parts):
            missing = ["none_shown of each part"]
        if missing and not shared:
            raise TypeError(f"the error model {cls.__name__} does not say {', '.join(missing)}.")

    @abstractmethod
    def log_density(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """Log-likelihood (n,) of each sample on the scale of ln(copies), 0 for padding."""

    @abstractmethod
    def residuals(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(n,) quantified samples in sds from the prediction, in the terms of the error model; 0 for others."""

    @abstractmethod
    def information(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(n,) expected information of a quantified sample about where g lies, the sd taken as known.

        What a quantified row spends on the curve: that of weighted least squares at the fitted weights.
        """

    @abstractmethod
    def drawn(
        self, predicted: Floats, sds: Floats, mass: Floats, positive: Flags | np.bool_, rng: np.random.Generator
    ) -> Floats:
        """New copies of each sample.

        Parameters
        ----------
        predicted : (..., n) copies of the curve.
        sds : (parts, n) of the error model.
        mass : (n,) ug of DNA, for counting noise.
        positive : (n,) where a draw of a normal error is to be positive: where no limit would hide a negative one.
        rng : of the draws.

        Returns
        -------
        (..., n) copies; 0 where no molecule was in the wells, negative where a normal error says so.
        """

    def expected_information(self, ln_f: Floats, sds: Sequence[float], lloq: float | None) -> Floats:
        """(n,) expected information about ln f of a sample that is yet to be taken, its sds (parts,) taken as known.

        One that will lie under ``lloq`` is known to lie there; None for no limit. Of a `plannable` error model.
        """
        raise NotImplementedError(f"errors of kind {self.name!r} are not planned")

    def from_normal(self, predicted: Floats, sds: Any, z: Floats, *, positive: bool) -> Floats:
        """Copies at the probability of standard normal values; ``positive`` as in `drawn`. Of a `plannable` one."""
        raise NotImplementedError(f"errors of kind {self.name!r} are not planned")

    @property
    def given_positive(self) -> bool:
        """Whether values below a limit are taken as positive (M4), which changes only a normal y."""
        return False

    @property
    def rough(self) -> ErrorModel | None:
        """Nearly the same with the same parts and less work, to search with; None where that is not worth it."""
        return None

    @abstractmethod
    def under(self, censoring: str) -> Self:
        """The same under a method of handling values below the limit."""

    @abstractmethod
    def root_of_residual(self, z: jax.Array) -> jax.Array:
        """Root-deviances (n,) of quantified samples from their residuals."""

    def root_deviances(self, predicted: Any, ln_sd: Any, rows: Rows) -> jax.Array:
        """(n,) as `censoring.root_deviances`; squares add up to -2 log-likelihood where sds do not depend on f.

        On the natural scale, where ln sd(f) belongs to the likelihood too, and for counts, those of quantified samples
        are their `residuals`.
        """
        z = self.root_of_residual(self.residuals(predicted, ln_sd, rows))
        quantified = rows.lower == rows.upper
        certain = (beyond := self.log_density(predicted, ln_sd, rows)) > -1e-300
        censored = jnp.where(certain, 0.0, jnp.sqrt(-2 * jnp.where(certain | quantified, -1.0, beyond)))
        return rows.weight * jnp.where(quantified, z, censored)

    def derivatives(self, predicted: jax.Array, ln_sd: jax.Array, rows: Rows) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log-density (n,), its slopes (1 + parts, n) and second derivatives by g and each ln sd."""

        def density(point: jax.Array) -> jax.Array:
            return self.log_density(point[0], point[1:], rows)

        point = jnp.concatenate([predicted[None], ln_sd])
        along = jnp.eye(len(point))[:, :, None] * jnp.ones_like(point)[None]

        def slopes(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
            # One program for all directions: that compiles in half the time.
            return lambda point: jax.vmap(lambda way: jax.jvp(function, (point,), (way,))[1])(along)

        return density(point), slopes(density)(point), slopes(slopes(density))(point)

    def normal_scores(self, predicted: Any, ln_sd: Floats, rows: Rows) -> tuple[Floats, Floats]:
        """(n,) both ends of each sample as normal values of the same probability; -inf and inf where open."""
        ends = []
        for end in (np.asarray(rows.lower), np.asarray(rows.upper)):
            known = np.where(np.isfinite(end), end, 0.0)
            nothing, everything = np.full_like(known, -np.inf), np.full_like(known, np.inf)
            below, above = (
                np.asarray(_log_density(self, predicted, ln_sd, rows._replace(lower=low, upper=high)))
                for low, high in ((nothing, known), (known, everything))
            )
            score = np.where(
                below < above, special.ndtri_exp(np.minimum(below, 0.0)), -special.ndtri_exp(np.minimum(above, 0.0))
            )
            ends.append(np.where(np.isfinite(end), score, end))
        return ends[0], ends[1]

    def sd_names(self, outputs: Iterable[str]) -> list[str]:
        """`sd` for one output, `sd_<output>` for several; all of the first part, then all of the next."""
        known = list(outputs)
        return [part if len(known) == 1 else f"{part}_{output}" for part in self.parts for output in known]

    def additive(self, outputs: int) -> Flags:
        """(parts x outputs,) whether an sd is in the unit of the copies: it may be 0."""
        return np.repeat([part in self.in_copies for part in self.parts], outputs)

    def ln_sd_floors(self, outputs: int, lowest: float | Floats) -> Floats:
        """(..., parts x outputs) ln of the lowest estimate: 1%, of an additive sd a thousandth of ``lowest`` (...)."""
        return np.where(self.additive(outputs), np.log(NO_ADDITIVE * np.asarray(lowest)[..., None]), LN_SD_FLOOR)

    def ln_sd_starts(self, of_ln: Floats, lowest: float | Floats) -> Floats:
        """(..., tries, sds) ln sds to try where ln copies scatter about the curve by ``of_ln`` (..., outputs).

        ``lowest`` (...) as in `ln_sd_floors`.
        """
        outputs = of_ln.shape[-1]
        additive, floors = self.additive(outputs), self.ln_sd_floors(outputs, lowest)
        of_all = np.concatenate([of_ln] * len(self.parts), axis=-1)
        tries = [
            np.where(additive, floors - np.log(NO_ADDITIVE) + np.log(part), of_all + np.log(share))
            for share in SHARES
            for part in (ADDITIVE if additive.any() else ADDITIVE[:1])
        ]
        return np.stack(tries, axis=-2)


def residuals_on_ln(predicted: Any, sd: Any, rows: Rows) -> jax.Array:
    """(n,) quantified samples in sds on the ln scale; 0 for others."""
    quantified, _, z_upper = standardised(predicted, sd, rows)
    return jnp.where(quantified, z_upper, 0.0)


_log_density = jax.jit(lambda error, *given: error.log_density(*given), static_argnums=0)


def of_normal_under(ratio: Floats, slope: Any, z: Floats) -> Floats:
    """(n,) information about ln f of y normal about f with sd s(f), known to lie below a limit where it does.

    ratio : f/s. slope : ds/df. z : the limit in sds from f; -inf for none. The score of a value at z is
    ratio (z + slope (z^2 - 1)), that of one below the limit ratio (1 + z slope) phi(z)/Phi(z) turned round.
    """
    known = np.where(np.isfinite(z), z, -40.0)
    density, above = np.exp(-0.5 * known**2) / np.sqrt(2 * np.pi), special.ndtr(-known)
    squares = above + known * density
    cubes, fourths = (known**2 + 2) * density, 3 * above + (known**3 + 3 * known) * density
    seen = squares + 2 * slope * (cubes - density) + slope**2 * (fourths - 2 * squares + above)
    # phi^2/Phi: 0 far left of the limit, where both vanish.
    hidden = (1 + known * slope) ** 2 * np.exp(-(known**2) - np.log(2 * np.pi) - special.log_ndtr(known))
    return ratio**2 * (seen + hidden)
