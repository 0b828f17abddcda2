"""Settings of the result: where and how it is saved, the log, previews, texts in the file."""

import json

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from watched_training import draw_pictures, watch_training

from scripts.training import samplers

UNET_ONLY = {"network_train_unet_only": True}
SMALL, WIDE = "a cat --w 64 --h 64 --s 1", "a cat --w 128 --h 64 --s 1"


# --- the file -----------------------------------------------------------------------------------


def test_the_lora_is_where_and_what_it_was_called(folder, tmp_path):
    trained = watch_training(folder, output_dir=tmp_path / "mine", output_name="zyx", **UNET_ONLY)
    assert trained.path == tmp_path / "mine" / "zyx.safetensors"
    assert trained.path.is_file() and list((tmp_path / "mine").iterdir()) == [trained.path]
    assert trained.metadata()["ss_output_name"] == "zyx"
    assert trained.metadata()["modelspec.title"] == "zyx"


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)],
)
def test_save_precision_is_the_type_of_every_tensor(watch, name, dtype):
    trained, exact = watch(save_precision=name, **UNET_ONLY), watch(**UNET_ONLY).state()
    state = trained.state()
    assert {tensor.dtype for tensor in state.values()} == {dtype}
    assert all(torch.equal(tensor, exact[key].to(dtype)) for key, tensor in state.items())


@pytest.mark.parametrize("kind", ["ckpt", "pt"])
def test_other_kinds_of_file_hold_the_same_and_nothing_but_weights(watch, kind):
    trained, plain = watch(save_model_as=kind, **UNET_ONLY), watch(**UNET_ONLY).state()
    assert trained.path.suffix == f".{kind}"
    state = torch.load(trained.path, weights_only=True)
    assert state.keys() == plain.keys()
    assert all(torch.equal(tensor, plain[key]) for key, tensor in state.items())


def test_a_state_is_saved_and_gone_on_from(folder, tmp_path):
    more = {"output_dir": tmp_path / "out", "max_train_steps": 4, **UNET_ONLY}
    whole = watch_training(folder, output_name="whole", save_state=True, save_every_n_steps=2,
                           **more)  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["whole-state", "whole-step00000002-state",
                     "whole-step00000002.safetensors", "whole.safetensors"]  # fmt: skip
    state = tmp_path / "out" / "whole-step00000002-state"
    resumed = watch_training(folder, output_name="resumed", resume=state, **more)
    assert [event.done for event in resumed.of("step")] == [3, 4]
    state = whole.state()
    assert all(torch.equal(tensor, state[key]) for key, tensor in resumed.state().items())
    assert not (tmp_path / "out" / "resumed-state").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"save_every_n_epochs": 2}, ["-000002", "-000004", ""]),
        ({"save_every_n_steps": 4}, ["-step00000004", "-step00000008", ""]),
        ({"save_n_epoch_ratio": 3}, ["-000002", "-000004", ""]),
        ({"save_every_n_epochs": 1, "save_last_n_epochs": 2}, ["-000004", "-000005", ""]),
        ({"save_every_n_steps": 2, "save_last_n_steps": 3}, ["-step00000008", "-step00000010", ""]),
    ],
)
def test_saves_on_the_way(folder, tmp_path, settings, kept):
    """Six epochs of two steps."""
    trained = watch_training(folder, output_dir=tmp_path, max_train_epochs=6,
                             network_train_text_encoder_only=True, **settings)  # fmt: skip
    names = {path.stem.removeprefix("last") for path in tmp_path.glob("*.safetensors")}
    assert names == set(kept)
    assert trained.of("saved")[-1].path == str(trained.path)


# --- the log ------------------------------------------------------------------------------------


def test_the_log_holds_loss_and_rate_of_every_step(folder, tmp_path):
    trained = watch_training(folder, logging_dir=tmp_path / "log", lr_scheduler="linear",
                             max_train_steps=4, output_name="logged", unet_lr=1e-3)  # fmt: skip
    (run,) = (tmp_path / "log").iterdir()
    assert run.name.startswith("logged-")
    log = EventAccumulator(str(run)).Reload()

    def curve(name):
        return [(point.step, point.value) for point in log.Scalars(name)]

    losses = [step.per_sample.mean().item() for step in trained.steps]
    assert curve("loss/current") == [(i, pytest.approx(loss)) for i, loss in enumerate(losses, 1)]
    rates = [(1, 1e-3), (2, 7.5e-4), (3, 5e-4), (4, 2.5e-4)]
    assert curve("lr/unet") == [(i, pytest.approx(rate)) for i, rate in rates]
    assert curve("lr/text_encoder") == [(i, pytest.approx(10 * rate)) for i, rate in rates]
    means = [sum(losses[:2]) / 2, sum(losses[2:]) / 2]
    assert curve("loss/epoch_average") == [(i, pytest.approx(m)) for i, m in enumerate(means, 1)]


# --- previews -----------------------------------------------------------------------------------


def previews(trained, folder):
    """(step, size) of the previews reported; every one is a picture in the folder sample."""
    found = []
    for event in trained.of("preview"):
        with Image.open(event.path) as picture:
            found.append((event.step, picture.size))
        assert str(folder / "sample") in event.path
    return found


@pytest.mark.slow
def test_previews_are_drawn_at_the_steps_and_epochs_asked_for(folder, tmp_path):
    more = {"max_train_steps": 5, **UNET_ONLY}
    cases = [
        ({"sample_every_n_steps": 2}, [2, 4]),
        ({"sample_every_n_epochs": 2, "sample_at_first": True}, [0, 4]),
    ]
    for number, (settings, steps) in enumerate(cases):
        place = tmp_path / str(number)
        trained = watch_training(folder, sample_prompts=[SMALL, WIDE], output_dir=place,
                                 **settings, **more)  # fmt: skip
        expected = [(step, size) for step in steps for size in ((64, 64), (128, 64))]
        assert previews(trained, place) == expected
    assert not watch_training(folder, **more).of("preview")


def test_prompts_may_come_from_a_file_and_samplers_by_name(folder, tmp_path, monkeypatch):
    used = []
    create = samplers.create_scheduler

    def spy(sampler, **options):
        used.append(sampler.title)
        return create(sampler, **options)

    from scripts.training import previews as module

    monkeypatch.setattr(module, "create_scheduler", spy)
    file = tmp_path / "prompts.txt"
    file.write_text(f"# two\n{SMALL} --d 7\n{SMALL} --ss ddim\n")
    trained = watch_training(folder, sample_prompts=file, sample_sampler="euler_a",
                             sample_every_n_steps=1, output_dir=tmp_path, **UNET_ONLY)  # fmt: skip
    assert used == ["Euler a", "DDIM"]
    assert [event.path[-6:] for event in trained.of("preview")] == ["_7.png", "43.png"]


def test_previews_that_would_never_be_drawn_are_told(plan):
    assert "no time to draw them" in " ".join(plan(sample_prompts=["a cat"]).warnings)
    assert "there are no prompts" in " ".join(plan(sample_every_n_steps=5).warnings)


# --- texts --------------------------------------------------------------------------------------


def test_texts_are_kept_in_the_file(watch):
    trained = watch(training_comment="zyx, 4 pictures", metadata_title="A cat",
                    metadata_author="me", metadata_description="What it is",
                    metadata_license="CC0", metadata_tags="cat,zyx", **UNET_ONLY)  # fmt: skip
    metadata = trained.metadata()
    assert metadata["ss_training_comment"] == "zyx, 4 pictures"
    for key, text in (("title", "A cat"), ("author", "me"), ("description", "What it is"),
                      ("license", "CC0"), ("tags", "cat,zyx")):  # fmt: skip
        assert metadata[f"modelspec.{key}"] == text
    plain = watch(**UNET_ONLY).metadata()
    assert plain["ss_training_comment"] == "None" and "modelspec.author" not in plain


def test_no_metadata_keeps_only_what_is_needed_to_load(watch):
    metadata = watch(no_metadata=True, training_comment="secret", **UNET_ONLY).metadata()
    assert "secret" not in json.dumps(metadata)
    assert "ss_tag_frequency" not in metadata and "ss_dataset_dirs" not in metadata
    assert metadata["ss_network_dim"] == "2" and metadata["ss_base_model_version"] == "sd_v1"


def test_the_list_of_tags_by_number_or_by_name(tmp_path):
    draw_pictures(tmp_path / "pictures" / "1_cat", count=3,
                  captions=["zebra, dog", "zebra, ant", "zebra, dog"])  # fmt: skip
    by_number = watch_training(tmp_path, tag_occurrence_txt_file=True, **UNET_ONLY)
    text = by_number.path.with_name(f"{by_number.path.stem}-tags.txt").read_text()
    assert text.split("\n")[:4] == ["[1_cat]", "zebra: 3", "dog: 2", "ant: 1"]
    by_name = watch_training(tmp_path, tag_occurrence_txt_file=True,
                             sort_tag_occurrence_alphabetically=True, **UNET_ONLY)  # fmt: skip
    text = by_name.path.with_name(f"{by_name.path.stem}-tags.txt").read_text()
    assert text.split("\n")[:4] == ["[1_cat]", "ant: 1", "dog: 2", "zebra: 3"]
    plain = watch_training(tmp_path, **UNET_ONLY)
    assert not plain.path.with_name(f"{plain.path.stem}-tags.txt").exists()
