"""Configs of other tools: what becomes of every key, in real-shaped files and their traps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from picture_folders import draw_pictures

import scripts.command
from scripts.core.declare import as_config
from scripts.core.errors import SuiteError
from scripts.dataset.dataset import Dataset
from scripts.import_config import main
from scripts.settings.import_config import OURS, import_config
from scripts.settings.import_draft import Fate
from scripts.settings.train import read_train_config, read_train_settings

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
EXPECTED = json.loads((CONFIGS / "expected.json").read_text(encoding="utf-8"))
EXACT = {"changed": Fate.CHANGED, "added": Fate.ADDED, "unknown": Fate.UNKNOWN,
         "refused": Fate.REFUSED}  # fmt: skip


def keys_with(imported, fate):
    return sorted(entry.key for entry in imported.of(fate))


def test_there_are_configs_of_all_kinds():
    kinds = [entry["kind"] for entry in EXPECTED.values()]
    assert len(kinds) >= 30 and min(kinds.count(kind) for kind in set(kinds)) >= 10
    files = {path.name for path in CONFIGS.iterdir()} - {"README.md", "expected.json"}
    assert set(EXPECTED) == {name for name in files if not name.startswith("sd-dataset")}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_config_means_what_its_tool_meant(name):
    wanted = EXPECTED[name]
    imported = import_config(CONFIGS / name)
    assert imported.kind.name == wanted["kind"]
    assert imported.values == wanted["settings"]
    for key, fate in EXACT.items():
        assert keys_with(imported, fate) == wanted.get(key, []), fate
    assert set(wanted.get("not_needed", [])) <= set(keys_with(imported, Fate.NOT_NEEDED))


@pytest.mark.parametrize("name", EXPECTED)
def test_every_key_is_named_once(name):
    imported = import_config(CONFIGS / name)
    named = [entry.key for entry in imported.entries]
    assert len(named) == len(set(named))
    assert set(read_train_config(CONFIGS / name)) <= set(named)
    for entry in imported.entries:
        assert entry.note or entry.fate in (Fate.USED, Fate.NOT_SET), entry


@pytest.mark.parametrize("name", EXPECTED)
def test_what_was_imported_can_be_trained_and_saved(name):
    values = import_config(CONFIGS / name).values
    settings, notes = read_train_settings(values)
    assert notes == []
    for key, value in values.items():
        assert as_config(settings)[key] == value


def write(folder, content, name="run.json"):
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(("given", "convolutions"), [
    ({"network_module": "lycoris.kohya", "network_dim": 8, "conv_dim": 8}, (8, 1.0)),
    ({"network_module": "lycoris.kohya"}, (4, 1.0)),
    ({"base_model": "a.safetensors", "img_folder": "x", "net_dim": 8, "lyco": True}, (8, 16.0)),
    ({"base_model": "a.safetensors", "img_folder": "x", "alpha": 2, "lyco": True}, (32, 2.0)),
])  # fmt: skip
def test_lycoris_gives_convolutions_the_sizes_of_the_network(given, convolutions, tmp_path):
    """In LyCORIS conv_dim and conv_alpha are network_dim and network_alpha unless told otherwise;
    sd-scripts takes 4 and 1 for these, the popup scripts 32 and 16."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    values = import_config(file).values
    assert (values["conv_dim"], values["conv_alpha"]) == convolutions


def test_our_own_config_comes_through_unchanged(tmp_path):
    settings, _ = read_train_settings({"pretrained_model_name_or_path": "a", "output_dir": "c",
                                       "train_data_dir": "b", "v_parameterization": False,
                                       "folder_repeats": {"cat": 3}})  # fmt: skip
    imported = import_config(write(tmp_path, as_config(settings)))
    assert imported.kind is OURS
    assert {entry.fate for entry in imported.entries} <= {Fate.USED, Fate.NOT_SET}
    assert read_train_settings(imported.values)[0] == settings


def test_a_secret_is_never_shown(tmp_path):
    imported = import_config(CONFIGS / "popup-saving.json")
    assert "0123456789" not in "\n".join(imported.lines())


def test_a_dataset_file_is_used_whole():
    imported = import_config(CONFIGS / "sd-dataset.toml")
    assert imported.values == {"dataset_config": str((CONFIGS / "sd-dataset.toml").absolute())}
    assert keys_with(imported, Fate.USED) == ["datasets", "general"]


def test_regularisation_and_class_words_of_a_dataset_file_are_read(tmp_path):
    """The file is used whole, so what it means shows in the training that it is for."""
    draw_pictures(tmp_path / "cat", [(64, 64)] * 2, [None] * 2)
    draw_pictures(tmp_path / "other cats", [(64, 64)], [None])
    text = (CONFIGS / "sd-dataset-with-regular-pictures.toml").read_text(encoding="utf-8")
    (tmp_path / "data.toml").write_text(text.replace("C:/pictures", tmp_path.as_posix()), "utf-8")
    values = import_config(tmp_path / "data.toml").values
    needed = {"pretrained_model_name_or_path": "a", "output_dir": "c"}
    dataset = Dataset.from_settings(read_train_settings({**needed, **values})[0])
    (part,) = dataset.parts
    cat, others = part.subsets
    assert (part.resolution, part.batch_size) == ((512, 512), 2)
    assert (cat.folder.repeats, cat.flip_aug, cat.is_reg) == (10, True, False)
    assert (others.folder.repeats, others.flip_aug, others.is_reg) == (1, False, True)
    assert {one.caption for one in dataset.pictures} == {"zyx cat", "cat"}


def test_paths_are_found_beside_the_config_and_missing_ones_are_named(tmp_path):
    (tmp_path / "pictures").mkdir()
    config = write(tmp_path, {"train_data_dir": "pictures", "vae": "C:/none/vae.pt"})
    imported = import_config(config)
    assert imported.values["train_data_dir"] == str(tmp_path / "pictures")
    assert imported.missing == ("vae",)
    assert any(line.startswith("vae: ") for line in imported.lines())


def test_settings_that_contradict_each_other_are_told(tmp_path):
    imported = import_config(write(tmp_path, {"noise_offset": 0.1, "multires_noise_iterations": 6}))
    assert [error.setting for error in imported.problems] == ["noise_offset"]


def test_a_path_with_a_read_escape_is_refused(tmp_path):
    imported = import_config(write(tmp_path, {"vae": "C:\new.pt", "network_dim": 8}))
    assert imported.values == {"network_dim": 8}
    assert "backslash" in imported.of(Fate.REFUSED)[0].note


def test_a_file_that_is_no_config_is_refused(tmp_path):
    with pytest.raises(SuiteError, match="no training settings"):
        import_config(write(tmp_path, {"name": "package", "version": "1"}))


def test_the_command_reports_and_saves(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(scripts.command, "LOG_FOLDER", tmp_path / "logs")
    source, target = str(CONFIGS / "gui-standard.json"), tmp_path / "run.json"
    assert main([source, "--save_to", str(target)]) == 0
    assert "10 % of all steps is 0.1 here" in capfd.readouterr().out
    saved = json.loads(target.read_text(encoding="utf-8"))
    assert saved == EXPECTED["gui-standard.json"]["settings"]
    assert main([source, "--save_to", str(target)]) == 1
    assert "not written over" in capfd.readouterr().err
    assert main([source, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["settings"] == saved
    assert main([]) == 1
