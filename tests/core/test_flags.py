"""Flags: other names, what is not known, and command lines that cannot be read."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.core.declare import read_path, setting, show_value
from scripts.core.errors import SuiteError
from scripts.core.flags import FlagParser, add_flags, read_flags


@dataclass(frozen=True)
class Few:
    """Settings of each kind of flag."""

    size: int = setting(3, label="Size", help="How large.", page="One", aliases=["large"])
    fast: bool = setting(False, label="Fast", help="100% fast.", page="One", aliases=["quick"])
    place: Path | None = setting(None, label="Place", help="Where.", page="Two")
    words: dict[str, str] = setting({}, label="Words", help="Which.", page="Two")


@pytest.fixture
def read():
    """Read a command line of Few and the unneeded flag --module."""
    parser = FlagParser(prog="few")
    add_flags(parser, Few, also=["module"])
    return lambda *words: read_flags(parser, words)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["--size", "4", "--fast"], {"size": "4", "fast": True}),
        (["--large=4", "--quick", "false"], {"large": "4", "quick": "false"}),
        (["--no-fast"], {"fast": False}),
        (
            ["--words", "a=1", "b=2", "--module", "x.y"],
            {"words": ["a=1", "b=2"], "module": ["x.y"]},
        ),
        (["--module", "--size", "4"], {"module": True, "size": "4"}),
        (
            ["--size", "-3", "--words", "-0.5,1", "-.2", "-1e-1", "a=-1"],
            {"size": "-3", "words": ["-0.5,1", "-.2", "-1e-1", "a=-1"]},
        ),
        (["--nonsense", "--siz=4"], {"nonsense": True, "siz": "4"}),
        (["--siz", "4", "--fst", "1", "2"], {"siz": "4", "fst": ["1", "2"]}),
    ],
)
def test_flags_by_name(read, words, given):
    assert read(*words) == given


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--place", "C:/my", "pictures"], '"pictures" belongs to no flag'),
        (["--size"], "--size: expected one argument"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_an_error_of_the_user(read, words, part):
    with pytest.raises(SuiteError) as caught:
        read(*words)
    assert part in str(caught.value)


def test_the_help_shows_each_setting_once_and_other_names_not_at_all(capsys):
    parser = FlagParser(prog="few")
    add_flags(parser, Few, also=["module"])
    text = parser.format_help()
    assert "--size SIZE" in text and "100% fast." in text and text.count("Two") == 1
    assert not any(name in text for name in ("--large", "--quick", "--no-fast", "--module"))


def test_a_table_is_shown_as_it_is_typed():
    table = {"weight_decay": 0.1, "betas": [0.9, 0.99], "10_a cat": 2}
    assert show_value(table) == "weight_decay=0.1 betas=0.9,0.99 '10_a cat=2'"


def test_a_tilde_is_the_home_folder_only_where_somebody_is_called_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert read_path("~/a.safetensors") == tmp_path / "a.safetensors"
    assert read_path("~old.safetensors") == Path("~old.safetensors")
