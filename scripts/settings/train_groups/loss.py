"""The settings of a training that tell its noise, and how errors are measured and weighed."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.core.declare import setting


@dataclass(frozen=True)
class LossSettings:
    """Noise, and the weight of errors."""

    # fmt: off
    zero_terminal_snr: bool = setting(
        False, label="Zero terminal SNR", page="Loss and noise", advanced=True,
        help="Noise schedule that ends in pure noise; for v-prediction models made with it.",
        beware="With a model not made for it colours and brightness go wrong.")
    noise_offset: float | None = setting(
        None, label="Noise offset", page="Loss and noise", low=0, high=1, advanced=True,
        help="Helps very dark and very bright pictures; 0.03 to 0.1.",
        usual=(0.03, 0.1), below="It has hardly any effect.",
        above="Pictures become glaring: too dark and too bright.")
    adaptive_noise_scale: float | None = setting(
        None, label="Adaptive noise offset", page="Loss and noise", low=-1, high=1, advanced=True,
        help="Adds this share of the mean latent to the noise offset.",
        usual=(0, 0.1), below="It cancels the noise offset.",
        above="The noise offset grows too large, and pictures become glaring.")
    multires_noise_iterations: int | None = setting(
        None, label="Multi-resolution noise", page="Loss and noise", low=0, high=64,
        advanced=True, help="How many coarser noises are added; 6 to 10.",
        usual=(6, 10), below="It has hardly any effect.", above="It gains nothing more.")
    multires_noise_discount: float = setting(
        0.3, label="Multi-resolution discount", page="Loss and noise", low=0, high=1,
        advanced=True, help="How much weaker each coarser noise is; 0.1 to 0.8.",
        usual=(0.1, 0.8), below="It has hardly any effect.",
        above="Coarse noise drowns the fine one, and pictures turn patchy.")
    ip_noise_gamma: float | None = setting(
        None, label="Input perturbation", page="Loss and noise", low=0, high=1, advanced=True,
        help="Extra noise on the input only; 0.05 to 0.1.",
        usual=(0.05, 0.1), below="It has hardly any effect.", above="Pictures turn blurred.")
    min_snr_gamma: float | None = setting(
        None, label="Min-SNR gamma", page="Loss and noise", low=0,
        help="Evens out the loss over the noise levels; 5 is a good value.",
        usual=(1, 20), below="Fine detail hardly counts; 0 turns it off.",
        above="It has hardly any effect.")
    scale_v_pred_loss_like_noise_pred: bool = setting(
        False, label="Scale v loss", page="Loss and noise", advanced=True,
        help="For v-prediction: weigh the loss as in noise prediction.",
        beware="Composition counts less, fine detail more.")
    v_pred_like_loss: float | None = setting(
        None, label="v-like loss", page="Loss and noise", low=0, advanced=True,
        help="Adds the loss weighted as in v-prediction, times this number.",
        usual=(0, 1), above="Composition outweighs everything, and fine detail is not learnt.")
    debiased_estimation_loss: bool = setting(
        False, label="Debiased estimation", page="Loss and noise", advanced=True,
        help="Weigh the loss by the inverse square root of the signal-to-noise ratio.",
        beware="Composition counts more, fine detail less. Not together with Min-SNR.")
    loss_type: str = setting(
        "l2", label="Loss", page="Loss and noise", advanced=True,
        choices=("l1", "l2", "huber", "smooth_l1"),
        help="How the error is measured; huber and smooth_l1 care less for outliers.",
        beware="With any but l2, rare details are learnt less well.")
    huber_schedule: str = setting(
        "snr", label="Huber schedule", page="Loss and noise", advanced=True,
        choices=("constant", "exponential", "snr"),
        help="How the Huber parameter depends on the noise level.",
        beware="It counts with huber and smooth_l1 alone.")
    huber_c: float = setting(
        0.1, label="Huber parameter", page="Loss and noise", low=1e-4, advanced=True,
        help="Where huber and smooth_l1 turn from squares to straight lines.",
        usual=(0.01, 1), below="Acts as l1: rare details are hardly learnt.",
        above="Acts as l2: outliers count in full.")
    huber_scale: float = setting(
        1.0, label="Huber scale", page="Loss and noise", low=0, advanced=True,
        help="Scales the Huber parameter of the constant and exponential schedules.",
        usual=(0.5, 2), below="Acts as l1: rare details are hardly learnt.",
        above="Acts as l2: outliers count in full.")
    prior_loss_weight: float = setting(
        1.0, label="Weight of regularisation pictures", page="Loss and noise", low=0,
        advanced=True, help="How much the loss of regularisation pictures counts.",
        usual=(0.3, 1), below="Regularisation pictures hardly help.",
        above="Regularisation pictures are learnt in place of your own.")
    min_timestep: int = setting(
        0, label="First timestep", page="Loss and noise", low=0, high=999, advanced=True,
        help="The lowest noise level trained.",
        usual=(0, 0), above="Fine detail is not learnt.")
    max_timestep: int = setting(
        1000, label="Last timestep", page="Loss and noise", low=1, high=1000, advanced=True,
        help="Noise levels below this one are trained.",
        usual=(1000, 1000), below="Composition and large shapes are not learnt.")
    # fmt: on
