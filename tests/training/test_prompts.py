"""Prompt lines and files. Reference: the option letters and defaults of sd-scripts."""

import json
import subprocess
import sys

import pytest

from scripts.core.errors import SettingError, SettingErrors
from scripts.core.files import PROJECT_FOLDER
from scripts.training.prompts import Prompt, read_prompts

RESOLUTION = (512, 768)


def read(source, seed=100):
    return read_prompts(source, RESOLUTION, seed)


def test_a_line_with_all_options():
    line = "a cat, on a sofa --n blurry, low res --w 640 --h 448 --d 7 --l 5.5 --s 28 --ss euler_a"
    assert read([line]) == (
        Prompt(0, "a cat, on a sofa", "blurry, low res", 640, 448, 7, 5.5, 28, "euler_a"),
    )


def test_defaults_are_the_training_size_and_those_of_sd_scripts():
    first, second = read(["a cat", "a dog --w 320"])
    assert first == Prompt(0, "a cat", "", 512, 768, 100, 7.5, 30, None)
    assert second == Prompt(1, "a dog", "", 320, 768, 101, 7.5, 30, None)


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [((512, 512), (512, 512)), ((500, 730), (512, 704)), ((1000, 1048), (1024, 1024)),
     ((64, 72), (64, 64)), ((8, 16), (64, 64))],
)  # fmt: skip
def test_default_size_is_rounded_to_64(resolution, expected):
    (prompt,) = read_prompts(["a"], resolution)
    assert (prompt.width, prompt.height) == expected


def test_given_size_is_rounded_down_to_8():
    (prompt,) = read(["a --w 517 --h 775"])
    assert (prompt.width, prompt.height) == (512, 768)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("--n ugly --s 5", "text", ""),
        ("a  --N Ugly", "negative", "Ugly"),
        ("a cat --n", "negative", ""),
        ("well-known --l 1", "text", "well-known"),
        ("a -- b --s 3", "text", "a -- b"),
        ("a --d -1", "seed", 100),
        ("a --d 4294967295", "seed", 4294967295),
        ("a --l 0", "guidance", 0.0),
        ("a --ss DPM++ 2M Karras --s 9", "sampler", "DPM++ 2M Karras"),
        ("a --ss DPM++ 2M Karras --s 9", "steps", 9),
        ("(a:1.2), b_(c)", "text", "(a:1.2), b_(c)"),
    ],
)
def test_details_of_lines(line, field, value):
    (prompt,) = read([line])
    assert getattr(prompt, field) == value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a --w wide", '"wide" is not a whole number'),
        ("a --w 32", "width: 32 is out of range: it must be between 64 and 4096"),
        ("a --h 9000", "height: 9000"),
        ("a --s 0", "between 1 and 1000"),
        ("a --s 20.5", "whole number"),
        ("a --l nan", "not a number"),
        ("a --l -3", "between 0 and 100"),
        ("a --d 4294967296", "between 0 and 4294967295"),
        ("a --s", "--s has no value"),
        ("a --s 3 --s 4", "given twice"),
        ("a --cn pose.png", "--cn is not known"),
        ("a --ss nothing", 'There is no sampler "nothing"'),
    ],
)
def test_wrong_values_name_the_prompt(line, said):
    with pytest.raises(SettingError) as caught:
        read(["good", line])
    assert caught.value.setting == "sample_prompts"
    assert str(caught.value).startswith("Prompt 2: ")
    assert said in str(caught.value)


def test_all_errors_are_told_at_once():
    with pytest.raises(SettingErrors) as caught:
        read(["a --w x", "good", "b --s y"])
    assert [str(error)[:9] for error in caught.value.errors] == ["Prompt 1:", "Prompt 3:"]


def test_text_file_with_comments_and_byte_order_mark(tmp_path):
    path = tmp_path / "prompts.txt"
    text = "\ufeff# a comment\r\n\r\nein süßer Hund --d 3\r\n  # another\r\na cat\r\n"
    path.write_bytes(text.encode())
    assert [(p.number, p.text, p.seed) for p in read(path)] == [
        (0, "ein süßer Hund", 3), (1, "a cat", 101),
    ]  # fmt: skip


def test_text_file_error_names_the_line_of_the_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("# comment\na cat\n\na dog --w abc\n")
    with pytest.raises(SettingError, match=r"^Line 4 of prompts\.txt: The width"):
        read(path)


def test_json_file_with_texts_and_tables(tmp_path):
    path = tmp_path / "prompts.json"
    table = {"prompt": "a --s 1", "negative_prompt": "n", "width": 256, "height": 320, "seed": 5,
             "scale": 4, "sample_steps": 12, "sample_sampler": "heun"}  # fmt: skip
    path.write_text(json.dumps(["a cat --s 11", table, {"prompt": "b", "seed": None}]))
    assert read(path) == (
        Prompt(0, "a cat", "", 512, 768, 100, 7.5, 11, None),
        Prompt(1, "a --s 1", "n", 256, 320, 5, 4.0, 12, "heun"),
        Prompt(2, "b", "", 512, 768, 102, 7.5, 30, None),
    )


def test_toml_file_shares_what_stands_above_the_subsets(tmp_path):
    path = tmp_path / "prompts.toml"
    path.write_text(
        '[prompt]\nwidth = 256\nscale = 3\n[[prompt.subset]]\nprompt = "a"\n'
        '[[prompt.subset]]\nprompt = "b"\nwidth = 320\n'
    )
    assert [(p.text, p.width, p.guidance) for p in read(path)] == [
        ("a", 256, 3.0), ("b", 320, 3.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", "# only a comment\n", "holds no prompt"),
        ("p.json", '{"prompt": "a"}', "holds no list"),
        ("p.json", "[", "not valid JSON"),
        ("p.json", "[3]", "Prompt 1 of p.json: 3 is not a prompt"),
        ("p.json", '[{"promt": "a"}]', "Did you mean prompt?"),
        ("p.json", '[{"seed": 1}]', 'has no "prompt"'),
        ("p.toml", "a = [", "not valid TOML"),
        ("p.toml", "a = 1", "holds no [prompt]"),
        ("p.toml", "[prompt]\nsubset = 3", "subsets are no tables"),
        ("p.yaml", "a", "not a prompt file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SettingError) as caught:
        read(path)
    assert caught.value.setting == "sample_prompts"
    assert said in str(caught.value)


def test_missing_file_and_no_prompts(tmp_path):
    with pytest.raises(SettingError, match="There is no file"):
        read(tmp_path / "none.txt")
    with pytest.raises(SettingError, match="holds no prompt"):
        read([])
    assert read(None) == ()


def test_reading_prompts_needs_no_torch():
    code = ("import sys; from scripts.training.prompts import read_prompts; "
            "read_prompts(['a --ss euler_a'], (512, 512)); "
            "assert not {'torch', 'diffusers', 'numpy'} & set(sys.modules)")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT_FOLDER)
