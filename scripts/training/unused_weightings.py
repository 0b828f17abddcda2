"""Which weightings of the loss are set but mean nothing for the base model. Without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings


def unused_weightings(settings: TrainSettings, v_prediction: bool) -> list[str]:
    """One plain sentence for each weighting that is set and does nothing for this base model."""
    notes = []
    if settings.scale_v_pred_loss_like_noise_pred and not v_prediction:
        notes.append("scale_v_pred_loss_like_noise_pred is for v-prediction models; this base "
                     "model predicts noise, so it is not used.")  # fmt: skip
    if settings.v_pred_like_loss and v_prediction:
        notes.append("v_pred_like_loss is for models that predict noise; this base model predicts "
                     "velocity, so it is not used.")  # fmt: skip
    return notes
