"""Config files: tables and sections of TOML, advice for the usual mistakes in JSON and TOML."""

from pathlib import Path

import pytest

from scripts.core.config import read_config
from scripts.core.errors import SuiteError


@pytest.fixture
def write(tmp_path):
    """Write a config file and give its path."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        'seed = 1\nfolder_repeats = {"4_zyx cat" = 7, b = 2}',
        'seed = 1\n[folder_repeats]\n"4_zyx cat" = 7\nb = 2',
        '[anything]\nseed = 1\n[anything.folder_repeats]\n"4_zyx cat" = 7\nb = 2',
    ],
)
def test_tables_are_kept_and_headings_ignored(write, text):
    path = write("run.toml", text)
    expected = {"seed": 1, "folder_repeats": {"4_zyx cat": 7, "b": 2}}
    assert read_config(path, ["folder_repeats"]) == expected


@pytest.mark.parametrize(
    ("name", "text", "place", "advice"),
    [
        ("a.json", r'{"vae": "C:\models\x"}', "line 1, column 12", "a backslash is written twice"),
        ("a.json", r'{"vae": "C:\users\x"}', "line 1", "a backslash is written twice"),
        ("a.json", '{"seed": 1,\n}', "line", "Remove the last comma, in front of }"),
        ("a.json", '{"seed": [1, 2, ]}', "line 1", "Remove the last comma, in front of ]"),
        ("a.json", '{"seed": 1 "vae": 2}', "line 1, column 12", "Correct that place"),
        ("a.toml", r'vae = "C:\models\x"', "line 1", "with single quotes or with /"),
        ("a.toml", r'vae = "C:\users\x"', "line 1", "with single quotes or with /"),
        ("a.toml", "seed = = 1", "line 1", "Correct that place"),
    ],
)
def test_what_cannot_be_read_says_where_and_what_to_do(write, name, text, place, advice):
    with pytest.raises(SuiteError) as caught:
        read_config(write(name, text))
    message = str(caught.value)
    assert name in message and place in message and advice in message
    assert message.endswith((".", "'."))


def test_no_access_is_one_sentence(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "x.json"
    with (
        monkeypatch.context() as patch,
        pytest.raises(SuiteError, match="cannot be read"),
    ):
        patch.setattr(Path, "stat", denied)
        read_config(path)
