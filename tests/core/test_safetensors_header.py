"""Headers of safetensors files, against the safetensors package, and broken files."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from scripts.core.errors import SuiteError
from scripts.core.safetensors_header import read_header


def test_agrees_with_the_safetensors_package(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.array(7, dtype=np.int64)}
    save_file(tensors, path, metadata={"key": "value"})
    header = read_header(path)
    assert header.metadata == {"key": "value"}
    for name, array in tensors.items():
        info = header.tensors[name]
        assert info.shape == array.shape
        data = path.read_bytes()[header.data_start + info.begin : header.data_start + info.end]
        assert data == array.tobytes()


def test_a_cut_file_is_named_as_such(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(1000, dtype=np.float32)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(SuiteError, match="cut off"):
        read_header(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"<!DOCTYPE html><html>not found</html>",
        struct.pack("<Q", 10) + b"not json!!",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"[]",
    ],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path, data):
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(SuiteError):
        read_header(path)


def test_offsets_that_do_not_fit_the_shape_are_refused(tmp_path):
    text = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 16)
    with pytest.raises(SuiteError):
        read_header(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SuiteError, match="There is no file"):
        read_header(tmp_path / "nothing")


@pytest.mark.parametrize("metadata", [["x"], "x", 3, None])
def test_odd_metadata_count_as_none(tmp_path, metadata):
    entry = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    text = json.dumps({"__metadata__": metadata, "a": entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0")
    header = read_header(path)
    assert header.metadata == {} and list(header.tensors) == ["a"]
