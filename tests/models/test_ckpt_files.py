"""Files of torch: read without running anything, the same tensors as from safetensors."""

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy
import pytest
import torch
from safetensors.torch import load_file

from scripts.core.errors import SuiteError
from scripts.models.pickle_header import read_pickle_header
from scripts.models.recognise import recognise
from scripts.models.weights import open_weights


class Malicious:
    """When unpickled, makes a file: the sign that something was run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class SlyMalicious(Malicious):
    """The same behind a name that looks harmless at first sight."""

    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({str(self.path)!r})",)


@pytest.mark.parametrize("kind", [Malicious, SlyMalicious])
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(kind, as_zip, tmp_path):
    path, sign = tmp_path / "evil.ckpt", tmp_path / "it was run"
    content = {"state_dict": {"a": torch.zeros(2)}, "extra": kind(sign)}
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    for read in (recognise, open_weights):
        with pytest.raises(SuiteError, match=r"holds program code \((posix|nt|__builtin__)\.\w+\)"):
            read(path)
    assert not sign.exists()
    with pytest.raises(FileExistsError):  # the pickle does work, were it run
        sign.mkdir()
        pickle.loads(pickle.dumps(Malicious(sign)))


def test_a_bare_malicious_pickle(tmp_path):
    path, sign = tmp_path / "evil.pt", tmp_path / "it was run"
    path.write_bytes(pickle.dumps(Malicious(sign)))
    with pytest.raises(SuiteError, match="program code"):
        recognise(path)
    assert not sign.exists()


@pytest.mark.parametrize("name", ["getattr", "eval", "exec", "__import__", "open"])
def test_builtins_are_not_known(name, tmp_path):
    stream = f"cbuiltins\n{name}\n.".encode()
    path = tmp_path / "evil.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + stream)
    with pytest.raises(SuiteError, match=f"builtins.{name}"):
        read_pickle_header(path)


def as_ckpt(source, path, as_zip=True, wrap=True, **extra):
    state = load_file(source)
    content = {"state_dict": state, "global_step": 3, **extra} if wrap else OrderedDict(state)
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    return path


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("wrap", [True, False])
def test_the_same_names_shapes_and_tensors(as_zip, wrap, tiny_sd15, tmp_path):
    path = as_ckpt(tiny_sd15, tmp_path / "model.ckpt", as_zip, wrap)
    safe, weights = open_weights(tiny_sd15), open_weights(path)
    assert weights.shapes == safe.shapes
    expected = load_file(tiny_sd15)
    for reader in (safe, weights):
        found = dict(reader.read(set(expected), torch.float16))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert all(found[name].dtype == expected[name].dtype for name in expected)


def test_leftovers_of_lightning_and_numpy_do_no_harm(tiny_sd15, tmp_path, monkeypatch):
    """Files of the first trainers name Lightning's callback classes and hold numpy's numbers."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})
    callback = module.ModelCheckpoint()
    callback.best = 3
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
        patch.setitem(sys.modules, name, module)
        score = {"best_model_score": numpy.float64(0.5)}
        path = as_ckpt(
            tiny_sd15,
            tmp_path / "lightning.ckpt",
            callbacks={module.ModelCheckpoint: score, "other": callback},
        )
    names = set(load_file(tiny_sd15))
    weights = open_weights(path)
    assert set(weights.shapes) == names
    assert len(dict(weights.read(names, torch.float16))) == len(names)


def test_broken_files_are_told(tiny_sd15, tmp_path):
    whole = as_ckpt(tiny_sd15, tmp_path / "model.ckpt").read_bytes()
    path = tmp_path / "half.ckpt"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SuiteError, match="cut off, broken"):
        recognise(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SuiteError, match="not a readable model file"):
        recognise(path)
    path.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(SuiteError, match="not a readable model file"):
        recognise(path)


def test_the_content_decides_not_the_ending(tiny_sd15, tmp_path):
    path = tmp_path / "really_safetensors.ckpt"
    path.write_bytes(tiny_sd15.read_bytes())
    assert open_weights(path).shapes == open_weights(tiny_sd15).shapes
    path = as_ckpt(tiny_sd15, tmp_path / "really_pickle.safetensors")
    assert open_weights(path).shapes == open_weights(tiny_sd15).shapes


def test_a_flood_of_data_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", io.BytesIO(bytes(300_000_000)).getvalue())
    with pytest.raises(SuiteError, match="not a readable model file"):
        recognise(path)
