"""Writing without loss, reading text of any encoding, names and folders."""

import errno
import os

import pytest

from scripts.core import files
from scripts.core.errors import SettingError, SuiteError
from scripts.core.files import (
    check_free_space,
    check_output_file,
    check_output_folder,
    check_output_name,
    read_text,
    replace_atomically,
    sha256_of_file,
)


def test_the_new_file_takes_the_place_of_the_old(tmp_path):
    place = tmp_path / "a.txt"
    place.write_text("old")
    with replace_atomically(place) as temporary:
        temporary.write_text("new")
        assert place.read_text() == "old"
    assert place.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    place = tmp_path / "a.txt"
    place.write_text("old")
    with pytest.raises(ValueError), replace_atomically(place) as temporary:
        temporary.write_text("half")
        raise ValueError
    assert place.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folders_are_made_for_a_result_and_go_with_a_failure(tmp_path):
    path = tmp_path / "one" / "two" / "file"
    with pytest.raises(RuntimeError), replace_atomically(path) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    (tmp_path / "one").mkdir()
    with pytest.raises(RuntimeError), replace_atomically(path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == [tmp_path / "one"], "what was there before stays"
    with replace_atomically(path) as unfinished:
        unfinished.write_text("whole")
    assert path.read_text() == "whole"


def test_a_file_that_is_being_read_is_tried_again(tmp_path, monkeypatch):
    place, refusals, replace = tmp_path / "a", [1, 1], os.replace

    def busy(*paths):
        if refusals:
            raise PermissionError(13, f"Access is denied {refusals.pop()}")
        replace(*paths)

    monkeypatch.setattr(files.os, "replace", busy)
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    files.write_text(place, "new")
    assert place.read_text() == "new" and not refusals
    refusals += [1] * files.TRIES
    with pytest.raises(SuiteError, match="access is denied"):
        files.write_text(place, "newer")
    assert place.read_text() == "new" and os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_one_sentence(tmp_path):
    with pytest.raises(SuiteError, match="disk is full"), replace_atomically(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_real_full_device(tmp_path):
    with (
        pytest.raises(SuiteError, match="disk is full"),
        replace_atomically(tmp_path / "a") as temporary,
    ):
        temporary.symlink_to("/dev/full")
        with temporary.open("wb") as file:
            file.write(b"x" * 100_000)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("grüße".encode(), "grüße"),
        (b"\xef\xbb\xbf" + "猫".encode(), "猫"),
        ("猫, grün".encode("utf-16"), "猫, grün"),
        ("größe".encode("cp1252"), "größe"),
        (b"", ""),
    ],
)
def test_text_is_read_whatever_its_encoding(tmp_path, data, text):
    path = tmp_path / "caption.txt"
    path.write_bytes(data)
    assert read_text(path)[0] == text


def test_names_that_some_system_refuses():
    for name in ("a:b", "a/b", "a\\b", "what?", "", " a", "a.", "CON", "com1.x", "x" * 300, "a\n"):
        with pytest.raises(SettingError):
            check_output_name(name)
    for name in ("Mein Bär (2)", "猫", "a & b", "v1.5"):
        check_output_name(name)


def test_the_output_folder_is_made_or_refused(tmp_path):
    check_output_folder(tmp_path / "new" / "deeper")
    assert (tmp_path / "new" / "deeper").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingError, match="is a file"):
        check_output_folder(tmp_path / "file")
    with pytest.raises(SettingError, match="cannot be written"):
        check_output_folder(tmp_path / "file" / "below")


def test_where_a_result_may_be_saved(tmp_path):
    old, new = tmp_path / "old.safetensors", tmp_path / "made" / "new.safetensors"
    old.write_bytes(b"old")
    check_output_file(new, [old])
    assert not new.parent.exists(), "the check leaves nothing behind"
    new.parent.mkdir()
    check_output_file(old, [new], overwrite=True)
    again = tmp_path / "made" / ".." / "old.safetensors"
    for path, inputs, message in (
        (old, [], "already"),
        (again, [old], "one of the files that are read"),
        (tmp_path, [], "is a folder"),
        (tmp_path / "a?.safetensors", [], "holds"),
    ):
        with pytest.raises(SettingError, match=message) as caught:
            check_output_file(path, inputs)
        assert caught.value.setting == "save_to"
    with pytest.raises(SettingError, match="one of the files that are read"):
        check_output_file(again, [old], overwrite=True)
    assert old.read_bytes() == b"old"


def test_more_than_the_disk_holds(tmp_path):
    check_free_space(tmp_path, 1)
    with pytest.raises(SettingError, match=r"needs 1000000.0 GB, and the disk"):
        check_free_space(tmp_path, 10**15)


def test_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_of_file(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_little_room_is_told_in_megabytes(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1_500_000})
    monkeypatch.setattr("scripts.core.files.shutil.disk_usage", lambda _: usage)
    with pytest.raises(SettingError, match=r"needs 2.0 MB.* has 1.5 MB left"):
        check_free_space(tmp_path, 2_000_000)
