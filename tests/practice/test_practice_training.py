"""How the base is trained: tokens, whitening, and going on after a stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.practice.caption_tokens import BEGIN, END, CaptionTokens
from scripts.practice.denoiser_training import DenoiserPlan, train_denoiser
from scripts.practice.draw import base_scenes
from scripts.practice.schooling import cosine_rate, drawn_pictures, load_state, save_state
from scripts.practice.tiny_models import LATENT_SCALE, new_vae
from scripts.practice.vae_training import encode_pictures, whiten


@pytest.fixture(scope="module")
def tokens() -> CaptionTokens:
    return CaptionTokens()


def test_tokens_are_those_of_clip(tokens):
    # published examples of CLIP's table: "a" 320, "red" 736, "circle" 7117, "," 267
    ids = tokens.encode(["a red circle,", ""])
    assert ids.shape == (2, 77)
    assert ids[0, :6].tolist() == [BEGIN, 320, 736, 7117, 267, END]
    assert ids[1].tolist() == [BEGIN] + [END] * 76
    assert len(tokens.bare("zyx")) == 2


def test_some_captions_are_emptied_and_some_get_unknown_words(tokens):
    rng = np.random.default_rng(0)
    scene = base_scenes()[40]
    plain = tokens.bare(scene.caption)
    drawn = [tokens.disturbed(scene, rng) for _ in range(4000)]
    empty = sum(ids == [] for ids in drawn) / 4000
    longer = sum(ids[-len(plain) :] == plain and ids != plain for ids in drawn) / 4000
    as_it_is = sum(ids == plain for ids in drawn) / 4000
    assert empty == pytest.approx(0.12, abs=0.02)
    assert longer == pytest.approx(0.14, abs=0.02)
    assert as_it_is == pytest.approx(1 - 0.12 - 0.22, abs=0.03)


def test_whitened_latents_have_unit_deviation_and_decode_as_before():
    torch.manual_seed(0)
    vae, (pictures, _) = new_vae().eval(), drawn_pictures(16, seed=1)
    with torch.no_grad():
        before_latents = encode_pictures(vae, pictures)
        before = vae.decode(before_latents[:1]).sample
        whiten(vae, pictures)
        after_latents = encode_pictures(vae, pictures)
        after = vae.decode(after_latents[:1]).sample
    scaled = after_latents * LATENT_SCALE
    torch.testing.assert_close(scaled.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_the_rate_warms_up_and_falls():
    rates = [cosine_rate(step, 1000, 2.0) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02) and rates[99] == pytest.approx(2.0)
    assert rates[550] == pytest.approx(2.0 * (0.01 + 0.99 * 0.5), rel=1e-6)
    assert rates[999] == pytest.approx(0.02, rel=0.01)


def test_a_checkpoint_comes_back(tmp_path):
    path = tmp_path / "deep" / "state.pt"
    assert load_state(path) is None
    save_state(path, {"step": 3, "weights": torch.ones(2)})
    assert load_state(path)["step"] == 3
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


@pytest.mark.slow
def test_going_on_after_a_stop_gives_the_same_model(tmp_path, tokens):
    plan = DenoiserPlan(steps=2, batch=1, pictures=4, save_every=1)
    vae = new_vae().eval()
    whole = train_denoiser(tmp_path / "whole", vae, tokens, plan, lambda _: None)

    def stop(text: str) -> None:
        if "step 1" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_denoiser(tmp_path / "cut", vae, tokens, plan, stop)
    again = train_denoiser(tmp_path / "cut", vae, tokens, plan, lambda _: None)
    for ours, theirs in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)
