"""The noise schedule: how much signal is left at each timestep, and which timesteps are visited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decr.errors import ConfigError

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """A chain of noise variances, all in float64.

    Attributes
    ----------
    betas
        (K,), variance added at each kept step, in (0, 1).
    timesteps
        (K,), the integer timesteps on the original chain that the networks are told.
    """

    betas: Float64
    timesteps: NDArray[np.int64]

    @classmethod
    def linear(
        cls, train_steps: int = 1000, first: float = 1e-4, last: float = 2e-2
    ) -> NoiseSchedule:
        """The published schedule: betas from ``first`` to ``last`` in equal steps (T = 1000)."""
        return cls(
            np.linspace(first, last, train_steps, dtype=np.float64),
            np.arange(train_steps, dtype=np.int64),
        )

    @property
    def alpha_bar(self) -> Float64:
        """(K,), share of the signal's variance left after each step: prod(1 - beta)."""
        product: Float64 = np.cumprod(1.0 - self.betas, dtype=np.float64)
        return product

    @property
    def alpha_bar_previous(self) -> Float64:
        """(K,), ``alpha_bar`` of the step before; 1 before the first."""
        return np.append(1.0, self.alpha_bar[:-1])

    # The posterior and `spaced_evenly` are for golden tests and for research: decr itself samples
    # by DDIM over `respaced` steps.
    def posterior_variance(self) -> Float64:
        """(K,), variance of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, Eq. 7)."""
        return self.betas * (1.0 - self.alpha_bar_previous) / (1.0 - self.alpha_bar)

    def posterior_log_variance_clipped(self) -> Float64:
        """(K,), log of the posterior variance, whose first entry (log 0) repeats the second."""
        variance = self.posterior_variance()
        return np.log(np.append(variance[1:2], variance[1:]))

    def posterior_mean_coefficients(self) -> tuple[Float64, Float64]:
        """Factors of x_0 and of x_t in the mean of q(x_{t-1} | x_t, x_0).

        Notes
        -----
        Eq. 10 of the paper, corrected: the second factor holds sqrt(alpha_t), not
        sqrt(alpha_bar_t), as in Ho et al. 2020, Eq. 7.
        """
        left = 1.0 - self.alpha_bar
        of_x0 = np.sqrt(self.alpha_bar_previous) * self.betas / left
        of_x_t = np.sqrt(1.0 - self.betas) * (1.0 - self.alpha_bar_previous) / left
        return of_x0, of_x_t

    def keep(self, kept: NDArray[np.int64]) -> NoiseSchedule:
        """A shorter chain through the given indices, with the same alpha_bar at each of them."""
        alpha_bar = self.alpha_bar[kept]
        previous = np.append(1.0, alpha_bar[:-1])
        return NoiseSchedule(1.0 - alpha_bar / previous, self.timesteps[kept])

    def respaced(self, steps: int) -> NoiseSchedule:
        """The published "ddimN" respacing: the smallest stride that keeps exactly ``steps``.

        50 of 1000 keeps 0, 20, ... 980; note that the last kept step is not the last of the chain.

        Raises
        ------
        ConfigError
            If no integer stride keeps exactly that many.
        """
        total = len(self.betas)
        for stride in range(1, total + 1):
            kept = np.arange(0, total, stride)
            if len(kept) == steps:
                return self.keep(kept)
        raise ConfigError(
            f"no stride through {total} timesteps keeps exactly {steps}; "
            f"try 1, 2, 4, 5, 10, 20, 25, 50, 100"
        )

    def spaced_evenly(self, steps: int) -> NoiseSchedule:
        """The published plain-"N" respacing: rounded even spacing from the first to the last.

        Rounding is Python's (half to even) on the accumulated position: 5 of 1000 keeps
        0, 250, 500, 749, 999.
        """
        total = len(self.betas)
        if not 1 <= steps <= total:
            raise ConfigError(f"steps must be 1..{total}, not {steps}")
        stride = (total - 1) / (steps - 1) if steps > 1 else 1.0
        position, kept = 0.0, []
        for _ in range(steps):
            kept.append(round(position))
            position += stride
        return self.keep(np.array(kept, dtype=np.int64))
