"""Two of diffusers' schedulers, mended: LMS without SciPy, and PLMS exact for v-prediction."""

from __future__ import annotations

from typing import Any

from diffusers.schedulers.scheduling_lms_discrete import LMSDiscreteScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from numpy.polynomial import Polynomial
from torch import Tensor


class LinearMultistepScheduler(LMSDiscreteScheduler):
    """diffusers' LMS scheduler with its coefficient computed in closed form."""

    def get_lms_coefficient(self, order: int, t: int, current_order: int) -> float:
        """Weight of the derivative `current_order` steps back, for the step at index `t`.

        The integral from sigma[t] to sigma[t + 1] of the Lagrange polynomial through the last
        `order` sigmas that is 1 at sigma[t - current_order] and 0 at the others
        (Adams-Bashforth with uneven steps; Katherine Crowson's k-diffusion, `sample_lms`).
        """
        start = float(self.sigmas[t])
        # Written around sigma[t], so that no large powers cancel.
        nodes = [float(self.sigmas[t - back]) - start for back in range(order)]
        others = [node for back, node in enumerate(nodes) if back != current_order]
        basis = Polynomial.fromroots(others) if others else Polynomial([1.0])
        integral = (basis / basis(nodes[current_order])).integ()
        return float(integral(float(self.sigmas[t + 1]) - start) - integral(0.0))


class PseudoLinearMultistepScheduler(PNDMScheduler):
    """diffusers' PNDM scheduler (Liu et al. 2022) that turns v into noise before it averages.

    The base class averages the outputs of several timesteps and converts afterwards, which is
    not the same for v. `v_prediction` says what the model predicts.
    """

    v_prediction = False

    def step(self, model_output: Tensor, timestep: Tensor, sample: Tensor, **options: Any) -> Any:
        """One step; `model_output` is v or noise, see the class."""
        if self.v_prediction:
            kept = self.alphas_cumprod[timestep]
            # noise = √ᾱ·v + √(1 − ᾱ)·x (Salimans and Ho 2022)
            model_output = kept**0.5 * model_output + (1 - kept) ** 0.5 * sample
        return super().step(model_output, timestep, sample, **options)
