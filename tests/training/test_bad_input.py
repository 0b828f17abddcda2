"""What novices give: each thing is one plain sentence with a remedy and exit code 1."""

import errno
import os
import pickle
import shutil
import struct
from pathlib import Path

import pytest
import torch
from picture_folders import draw_pictures
from safetensors.torch import load_file, save_file

import scripts.command
from scripts.train import main
from scripts.training import start


@pytest.fixture
def run(tiny_sd15, pictures, tmp_path, monkeypatch, capfd):
    """Run the command as typed, with some settings changed; exit code and what a person reads."""
    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache")
    monkeypatch.setattr(scripts.command, "LOG_FOLDER", tmp_path / "logs")

    def run(**values):
        settings = {
            "pretrained_model_name_or_path": tiny_sd15, "train_data_dir": pictures,
            "output_dir": tmp_path / "out", "resolution": 64, "min_bucket_reso": 64,
            "max_bucket_reso": 64, "network_dim": 2, "optimizer_type": "AdamW",
            "max_train_steps": 1, **values,
        }  # fmt: skip
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        code = main(words)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    return run


def problem(result):
    """The sentences of a run that ended with exit code 1."""
    code, _, err = result
    assert code == 1
    lines = [line for line in err.splitlines() if line.strip() and "it/s" not in line]
    assert lines and lines[-1].endswith(".")
    return lines[-1]


def test_a_good_run_ends_with_0(run, tmp_path):
    code, out, _ = run()
    assert code == 0 and str(tmp_path / "out" / "last.safetensors") in out


def test_a_missing_model(run, tmp_path):
    assert "nothing.safetensors" in problem(
        run(pretrained_model_name_or_path=tmp_path / "nothing.safetensors")
    )


def test_a_picture_as_model(run, pictures):
    picture = next(pictures.rglob("*.png"))
    assert "a picture" in problem(run(pretrained_model_name_or_path=picture))


def test_a_lora_as_model(run, tmp_path):
    assert run()[0] == 0
    lora = tmp_path / "out" / "last.safetensors"
    assert "LoRA" in problem(run(pretrained_model_name_or_path=lora))


def test_a_truncated_model(run, tiny_sd15, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_sd15.read_bytes()[:1_000_000])
    assert "cut off" in problem(run(pretrained_model_name_or_path=cut))


def test_a_malicious_pickle_is_refused_and_not_run(run, tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {"model.diffusion_model.x": Harm()}}, path)
    problem(run(pretrained_model_name_or_path=path))
    (tmp_path / "evil2.ckpt").write_bytes(pickle.dumps(Harm()))
    problem(run(pretrained_model_name_or_path=tmp_path / "evil2.ckpt"))
    assert not (tmp_path / "harm").exists()


def test_an_empty_folder(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "train_data_dir" in problem(run(train_data_dir=tmp_path / "empty"))


def test_a_folder_one_level_too_deep_or_too_high_is_understood(run, pictures, tmp_path):
    code, out, _ = run(train_data_dir=pictures / "2_cat")
    assert code == 0 and "2_cat" in out
    high = tmp_path / "high"
    shutil.copytree(pictures, high / "pictures")
    code, out, _ = run(train_data_dir=high)
    assert code == 0 and "lies a level too high" in out


def test_no_captions_at_all_says_so_and_goes_on(run, tmp_path):
    draw_pictures(tmp_path / "bare" / "2_my cat", [(64, 64)] * 2, [None, None])
    code, out, _ = run(train_data_dir=tmp_path / "bare")
    assert code == 0 and "my cat" in out


def test_broken_pictures_are_named_and_left_out(run, pictures):
    folder = pictures / "2_cat"
    (folder / "empty.png").write_bytes(b"")
    whole = (folder / "000.png").read_bytes()
    (folder / "half.png").write_bytes(whole[: len(whole) // 2])
    code, out, _ = run()
    assert code == 0 and "empty.png" in out and "half.png" in out


def test_only_broken_pictures(run, tmp_path):
    folder = tmp_path / "bad" / "1_cat"
    folder.mkdir(parents=True)
    (folder / "empty.png").write_bytes(b"")
    problem(run(train_data_dir=tmp_path / "bad"))


def test_captions_of_any_encoding(run, pictures):
    (pictures / "2_cat" / "000.txt").write_bytes("größe, süß".encode("cp1252"))
    (pictures / "2_cat" / "001.txt").write_bytes("猫, grün".encode("utf-16"))
    assert run()[0] == 0


def test_an_output_name_that_no_file_can_have(run):
    assert "output_name" in problem(run(output_name="a:b"))
    assert "output_name" in problem(run(output_name="a/b"))


def test_an_output_folder_that_cannot_be_written_to(run, tmp_path, monkeypatch):
    write = Path.write_bytes

    def refused(path, data):  # chmod would not hinder an administrator
        if path.parent == tmp_path / "out":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", refused)
    sentence = problem(run())
    assert sentence.startswith("output_dir: ") and "cannot be written to" in sentence
    assert not list((tmp_path / "out").iterdir())


def test_an_output_folder_that_is_a_file(run, tmp_path):
    (tmp_path / "file").write_text("x")
    assert "output_dir" in problem(run(output_dir=tmp_path / "file"))
    assert "output_dir" in problem(run(output_dir=tmp_path / "file" / "below"))


def test_a_full_disk_while_saving_keeps_what_was_saved(run, monkeypatch, tmp_path):
    from scripts.lora import file as lora_file

    original, count = lora_file.write_safetensors, 0

    def full(path, *arguments):
        nonlocal count
        count += 1
        if count > 1:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(path, *arguments)

    monkeypatch.setattr(lora_file, "write_safetensors", full)
    assert "disk is full" in problem(run(max_train_steps=3, save_every_n_steps=1))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["last-step00000001.safetensors"]


@pytest.mark.parametrize("words", [{"optimizer_type": "SophiaH"}, {"optimizer_args": "betas=2,3"}])
def test_what_an_optimiser_refuses_is_told_before_pictures_are_encoded(run, words):
    result = run(**words)
    assert next(iter(words)) in problem(result)
    assert "VAE" not in result[1]


def test_a_note_on_the_optimiser_is_given_once(run):
    code, out, _ = run(optimizer_type="Prodigy", learning_rate=0.01)
    assert code == 0 and out.count("Prodigy finds the learning rate itself") == 1


def test_a_full_disk_while_caching(run, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert "Make room" in problem(run())


def test_paths_with_spaces_umlauts_and_signs(run, tiny_sd15, pictures, tmp_path):
    odd = tmp_path / "Bilder & Größe (neu) 100% 猫"
    shutil.copytree(pictures, odd / "in")
    shutil.copy(tiny_sd15, odd / "mödel.safetensors")
    code, _, _ = run(pretrained_model_name_or_path=odd / "mödel.safetensors",
                       train_data_dir=odd / "in", output_dir=odd / "out",
                       output_name="Bär & Co")  # fmt: skip
    assert code == 0 and (odd / "out" / "Bär & Co.safetensors").exists()


def test_other_kinds_of_files_are_named(run, tiny_sd15, tmp_path):
    inpainting = tmp_path / "inpainting.safetensors"
    tensors = load_file(tiny_sd15)
    weight = tensors["model.diffusion_model.input_blocks.0.0.weight"]
    wide = torch.zeros(weight.shape[0], 9, *weight.shape[2:], dtype=weight.dtype)
    tensors["model.diffusion_model.input_blocks.0.0.weight"] = wide
    save_file(tensors, inpainting)
    assert "inpainting" in problem(run(pretrained_model_name_or_path=inpainting)).lower()
    page = tmp_path / "page.safetensors"
    page.write_bytes(b"<!DOCTYPE html>" * 100)
    assert "a web page" in problem(run(pretrained_model_name_or_path=page))
    huge = tmp_path / "huge.safetensors"
    huge.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert "not a readable safetensors file" in problem(run(pretrained_model_name_or_path=huge))
