"""The samplers that draw previews: a table of names, and how each one is made.

The names are those of sd-scripts (`ddim`, `k_euler_a`, `dpmsolver++`) and of the web interfaces
("Euler a", "DPM++ 2M Karras"), in any case; the mathematics is diffusers' schedulers. Nothing
heavy is imported before `create_scheduler` runs.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scripts.core.errors import SettingError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

# With zero terminal SNR the last alphas_cumprod is 0, so sigma = sqrt((1 - a) / a) is infinite;
# the least number of fp16 stands for it, as in diffusers: sigma = 4096.
LEAST_ALPHAS_CUMPROD = 2.0**-24

LEADING = {"timestep_spacing": "leading", "steps_offset": 1}  # as the original SD code
LINSPACE = {"timestep_spacing": "linspace"}  # as k-diffusion
DIFFUSERS = "diffusers.schedulers.scheduling_"
MENDED = "scripts.training.mended_schedulers"
KARRAS = {"use_karras_sigmas": True}


@dataclass(frozen=True)
class Sampler:
    """One sampler: `title` as the web interfaces write it, `names` all accepted spellings.

    `scheduler` names the class in `module`, `options` its arguments.
    `trailing` says whether the class takes trailing timesteps, which zero terminal SNR wants.
    """

    title: str
    names: tuple[str, ...]
    module: str
    scheduler: str
    options: Mapping[str, Any] = field(default_factory=dict)
    trailing: bool = True


def _multistep(title: str, names: tuple[str, ...], algorithm: str, **options: Any) -> Sampler:
    # The solvers on noise cannot end at sigma 0, where log(alpha / sigma) is infinite.
    if not algorithm.endswith("++"):
        options["final_sigmas_type"] = "sigma_min"
    options = {"algorithm_type": algorithm, "solver_order": 2, **LINSPACE, **options}
    return Sampler(title, names, DIFFUSERS + "dpmsolver_multistep", "DPMSolverMultistepScheduler",
                   options)  # fmt: skip


def _plain(title: str, names: tuple[str, ...], module: str, scheduler: str, **options: Any):
    return Sampler(title, names, module, scheduler, {**LINSPACE, **options})


SAMPLERS: tuple[Sampler, ...] = (
    Sampler("DDIM", ("ddim",), DIFFUSERS + "ddim", "DDIMScheduler",
            {"clip_sample": False, "set_alpha_to_one": False, **LEADING}),
    Sampler("PLMS", ("pndm", "plms"), MENDED, "PseudoLinearMultistepScheduler",
            {"skip_prk_steps": True, "set_alpha_to_one": False, **LEADING}),
    _plain("DDPM", ("ddpm",), DIFFUSERS + "ddpm", "DDPMScheduler", clip_sample=False),
    _plain("Euler", ("euler", "k_euler"), DIFFUSERS + "euler_discrete", "EulerDiscreteScheduler"),
    _plain("Euler Karras", ("euler_karras",), DIFFUSERS + "euler_discrete",
           "EulerDiscreteScheduler", **KARRAS),
    _plain("Euler a", ("euler_a", "k_euler_a", "euler_ancestral"),
           DIFFUSERS + "euler_ancestral_discrete", "EulerAncestralDiscreteScheduler"),
    _plain("LMS", ("lms", "k_lms"), MENDED, "LinearMultistepScheduler"),
    _plain("LMS Karras", ("lms_karras",), MENDED, "LinearMultistepScheduler",
           **KARRAS),
    _plain("Heun", ("heun", "k_heun"), DIFFUSERS + "heun_discrete", "HeunDiscreteScheduler"),
    _plain("DPM2", ("dpm_2", "k_dpm_2", "dpm2"), DIFFUSERS + "k_dpm_2_discrete",
           "KDPM2DiscreteScheduler"),
    _plain("DPM2 a", ("dpm_2_a", "k_dpm_2_a", "dpm2_a"), DIFFUSERS + "k_dpm_2_ancestral_discrete",
           "KDPM2AncestralDiscreteScheduler"),
    _plain("DPM2 Karras", ("dpm2_karras",), DIFFUSERS + "k_dpm_2_discrete",
           "KDPM2DiscreteScheduler", **KARRAS),
    _multistep("DPM-Solver", ("dpmsolver",), "dpmsolver"),
    _multistep("DPM++ 2M", ("dpmsolver++", "dpm++_2m"), "dpmsolver++"),
    _multistep("DPM++ 2M Karras", ("dpm++_2m_karras",), "dpmsolver++", **KARRAS),
    _multistep("DPM++ 2M SDE", ("dpm++_2m_sde",), "sde-dpmsolver++"),
    _multistep("DPM++ 2M SDE Karras", ("dpm++_2m_sde_karras",), "sde-dpmsolver++", **KARRAS),
    # This class knows only one spacing of timesteps, and must end with a first-order step.
    Sampler("DPM++ 2S", ("dpmsingle", "dpm++_2s"), DIFFUSERS + "dpmsolver_singlestep",
            "DPMSolverSinglestepScheduler", {"lower_order_final": True}, trailing=False),
    _plain("UniPC", ("unipc", "uni_pc"), DIFFUSERS + "unipc_multistep", "UniPCMultistepScheduler"),
)  # fmt: skip


def _plain_name(name: str) -> str:
    return "_".join(name.lower().replace("_", " ").split())


_BY_NAME = {
    _plain_name(name): sampler for sampler in SAMPLERS for name in (sampler.title, *sampler.names)
}


def sampler_named(name: str, setting: str = "sample_sampler") -> Sampler:
    """The sampler with this name, in any case and with spaces or underscores.

    Raises SettingError for `setting`, with the names that can be used.
    """
    found = _BY_NAME.get(_plain_name(str(name)))
    if found is None:
        known = ", ".join(sampler.names[0] for sampler in SAMPLERS)
        raise SettingError(setting, f'There is no sampler "{name}". Choose one of: {known}.')
    return found


def create_scheduler(
    sampler: Sampler, *, v_prediction: bool = False, zero_terminal_snr: bool = False
) -> SchedulerMixin:
    """A new scheduler for one picture (or one batch): it keeps state between steps.

    With `zero_terminal_snr` the betas are rescaled so that the last step is noise alone, and the
    timesteps are "trailing", so that sampling begins at that step (Lin et al. 2023, "Common
    Diffusion Noise Schedules and Sample Steps are Flawed", arXiv 2305.08891).
    """
    from scripts.training.noise import FIRST_BETA, LAST_BETA, TIMESTEPS

    options = {
        "num_train_timesteps": TIMESTEPS, "beta_schedule": "scaled_linear",
        "beta_start": FIRST_BETA, "beta_end": LAST_BETA,
        "prediction_type": "v_prediction" if v_prediction else "epsilon", **sampler.options,
    }  # fmt: skip
    if zero_terminal_snr:
        options["trained_betas"] = _betas_with_zero_terminal_snr()
        if sampler.trailing:
            options["timestep_spacing"] = "trailing"
    scheduler_class = getattr(importlib.import_module(sampler.module), sampler.scheduler)
    own_conversion = hasattr(scheduler_class, "v_prediction")
    if own_conversion:
        options["prediction_type"] = "epsilon"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of "dpmsolver", a name of sd-scripts
        scheduler = scheduler_class(**options)
    if own_conversion:
        scheduler.v_prediction = v_prediction
    return scheduler


def _betas_with_zero_terminal_snr() -> list[float]:
    """1 - ᾱ[t] / ᾱ[t - 1] of the schedule that the training uses, in float64."""
    from scripts.training.noise import NoiseSchedule

    kept = NoiseSchedule(zero_terminal_snr=True).alphas_cumprod.double()
    kept[-1] = LEAST_ALPHAS_CUMPROD
    return [float(1 - kept[0]), *(1 - kept[1:] / kept[:-1]).tolist()]
