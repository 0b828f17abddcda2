"""Settings of captions: what reaches the text encoder, and what it makes of it."""

import pytest
import torch
from watched_training import CAPTIONS, draw_pictures, watch_training

from scripts.models.text import encode, tokenize

TEXT_ONLY = {"network_train_text_encoder_only": True}  # half the LoRA is enough here
ONE_EPOCH = {"max_train_epochs": 1, **TEXT_ONLY}


def encoded_plainly(trained, captions, max_token_length=75):
    """What the base model's text encoder, without its LoRA, makes of captions: all its states."""
    encoder = trained.run.captions.encoder
    trained.run.network.set_multiplier(0)
    ids = tokenize(encoder.tokenizers, captions, max_token_length)
    with torch.no_grad():
        states = encoder.text_encoders[0](ids[0].flatten(0, 1), output_hidden_states=True)
    trained.run.network.set_multiplier(1)
    return states.hidden_states, encoder.text_encoders[0].final_layer_norm


def test_captions_come_from_files_of_the_given_ending(watch, tmp_path):
    assert sorted(watch(**ONE_EPOCH).every_caption) == CAPTIONS
    pictures = draw_pictures(tmp_path / "pictures" / "1_cat", count=2)
    for path in pictures.glob("*.png"):
        path.with_suffix(".words").write_text(f"other words for {path.stem}")
    trained = watch_training(tmp_path, caption_extension=".words", **ONE_EPOCH)
    assert sorted(trained.every_caption) == ["other words for 000", "other words for 001"]


def test_prefix_suffix_shuffle_and_kept_tags(watch):
    trained = watch(caption_prefix="zyx,", caption_suffix=", good", shuffle_caption=True,
                    keep_tokens=2, max_train_epochs=4, train_batch_size=4, **TEXT_ONLY)  # fmt: skip
    orders = set()
    assert len(trained.every_caption) == 16
    for caption in trained.every_caption:
        tags = caption.split(", ")
        assert tags[:2] == ["zyx", "a cat"]
        assert sorted(tag[:3] for tag in tags[2:]) == ["goo", "sit", "tag"]
        orders.add(tuple(tag[:3] for tag in tags[2:]))
    assert len(orders) > 2  # of 6


def test_without_shuffling_prefix_and_suffix_stand_around_the_caption(watch):
    trained = watch(caption_prefix="zyx,", caption_suffix=", good", **ONE_EPOCH)
    assert sorted(trained.every_caption) == [f"zyx, {caption} , good" for caption in CAPTIONS]


def test_caption_dropout_rate_drops_whole_captions(watch):
    assert watch(caption_dropout_rate=1, **ONE_EPOCH).every_caption == [""] * 4
    some = watch(
        caption_dropout_rate=0.5, max_train_epochs=4, train_batch_size=4, **TEXT_ONLY
    ).every_caption
    assert 3 <= some.count("") <= 13 and set(some) - {""} <= set(CAPTIONS)  # 16 draws


def test_every_second_epoch_without_captions(watch):
    trained = watch(caption_dropout_every_n_epochs=2, max_train_epochs=4, **TEXT_ONLY)
    captions = trained.every_caption
    assert [caption == "" for caption in captions] == [False] * 4 + [True] * 4 + [False] * 4 + (
        [True] * 4
    )


def test_tag_dropout_drops_all_but_the_kept_tags(watch):
    trained = watch(caption_tag_dropout_rate=1, keep_tokens=1, **ONE_EPOCH)
    assert trained.every_caption == ["a cat"] * 4


def test_token_warm_up_adds_tags_step_by_step(watch):
    """1 tag of 3 at first, all from step 4 on: 1 + floor(step * 2 / 4)."""
    trained = watch(token_warmup_min=1, token_warmup_step=4, max_train_steps=6, **TEXT_ONLY)
    counts = [{len(caption.split(", ")) for caption in captions} for captions in trained.captions]
    assert counts == [{1}, {1}, {2}, {2}, {3}, {3}]
    by_share = watch(token_warmup_min=2, token_warmup_step=0.5, max_train_steps=6, **TEXT_ONLY)
    counts = [{len(caption.split(", ")) for caption in captions} for captions in by_share.captions]
    assert counts == [{2}, {2}, {2}, {3}, {3}, {3}]  # 2 + floor(step * 1 / 3)


@pytest.mark.parametrize("length", [75, 150, 225])
def test_longer_captions_are_read_in_windows(tmp_path, length):
    words = " ".join(["cat"] * 300)
    draw_pictures(tmp_path / "pictures" / "1_cat", count=1, captions=[words])
    trained = watch_training(tmp_path, max_token_length=length, **TEXT_ONLY)
    windows = length // 75
    (step,) = trained.steps
    assert step.text.shape[1] == length + 2  # 77, 152, 227
    states, norm = encoded_plainly(trained, [words], length)
    states = norm(states[-1])  # (windows, 77, channels)
    joined = [states[0, :1], *states[:, 1:-1], states[-1, -1:]]
    torch.testing.assert_close(step.text[0], torch.cat(joined), rtol=1e-4, atol=1e-5)
    assert len(states) == windows
    expected = "None" if length == 75 else str(length)
    assert trained.metadata()["ss_max_token_length"] == expected


def test_clip_skip_takes_an_earlier_layer_and_the_final_norm(watch):
    trained = watch(clip_skip=2, **TEXT_ONLY)
    states, norm = encoded_plainly(trained, trained.captions[0])
    torch.testing.assert_close(trained.steps[0].text, norm(states[-2]), rtol=1e-4, atol=1e-5)
    assert (norm(states[-1]) - norm(states[-2])).abs().max() > 0.01
    plain = watch(**TEXT_ONLY)
    states, norm = encoded_plainly(plain, plain.captions[0])
    torch.testing.assert_close(plain.steps[0].text, norm(states[-1]), rtol=1e-4, atol=1e-5)
    assert trained.metadata()["ss_clip_skip"] == "2"


def test_weights_in_captions_weigh_their_words(tmp_path):
    draw_pictures(tmp_path / "pictures" / "1_cat", count=1, captions=["(a cat:1.5), sitting"])
    weighted = watch_training(tmp_path, weighted_captions=True, **TEXT_ONLY).steps[0].text[0]
    literal = watch_training(tmp_path, **TEXT_ONLY)
    encoder = literal.run.captions.encoder
    literal.run.network.set_multiplier(0)
    with torch.no_grad():
        ids = tokenize(encoder.tokenizers, ["a cat, sitting"])
        plain = encode(encoder.text_encoders, ids, encoder.family).hidden[0]
    factor = (weighted / plain).median(dim=1).values  # one for each token
    ratio = factor / factor[10]  # the rest of the window is not weighted
    assert ratio[1].item() == ratio[2].item() == pytest.approx(1.5, rel=1e-3)  # a, cat
    assert ratio[3].item() == ratio[0].item() == pytest.approx(1, rel=1e-3)
    assert weighted.mean().item() == pytest.approx(plain.mean().item(), rel=1e-3)
    assert (literal.steps[0].text[0] - weighted).abs().max() > 0.01  # brackets read as letters
