"""The small parts without a window: answers, dropped paths, time left, sizes of the theme."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from demo import DemoSettings

from easy_scripts.lora_pages.describe import describe
from easy_scripts.lora_pages.spectrum import Spectrum, between
from easy_scripts.wizard.answers import Answers
from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.drop import clean_path, split_paths, with_files_of_folders
from easy_scripts.wizard.remembered import Memory
from easy_scripts.wizard.theme import _enlarge, multiply_sizes
from easy_scripts.wizard.time_left import TimeLeft


def test_answers_keep_what_was_entered_and_tell_who_watches():
    answers, seen = Answers(DemoSettings), []
    answers.watch(lambda: seen.append("size"), "size")
    answers.watch(lambda: seen.append("any"))
    answers["title"] = "x"
    answers["size"] = "99"
    answers["size"] = "99"
    assert seen == ["any", "size", "any"]
    assert answers.entered() == {"title": "x", "size": "99"}
    assert answers.error("size") == "99 is out of range: it must be between 1 and 64."
    answers.update({"size": 32, "no such setting": 1})
    assert answers.entered() == {"title": "x"} and answers.error("size") is None


def test_answers_leave_out_what_does_not_apply():
    answers = Answers(DemoSettings, {"again": "nonsense"})
    assert answers.config() == {} and answers.error("again") is None
    answers["twice"] = True
    assert answers.config() == {"again": "nonsense", "twice": True}
    assert "not a whole number" in answers.error("again")
    answers["twice"] = "true"  # as a config may have it
    assert answers.applies("again")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('"C:\\My files\\a.safetensors"', "C:\\My files\\a.safetensors"),
        (" '/home/x y/a.pt' ", "/home/x y/a.pt"),
        ("/plain/path", "/plain/path"),
        ('""', ""),
        ("it's.safetensors", "it's.safetensors"),
    ],
)
def test_typed_paths_are_taken_as_meant(text, path):
    assert clean_path(text) == path


@pytest.mark.skipif(sys.platform == "win32", reason="file addresses hold a drive there")
def test_file_addresses_become_paths():
    assert clean_path("file:///home/x%20y/%C3%BC.pt") == "/home/x y/ü.pt"


def test_pasted_paths_are_told_apart():
    assert split_paths('"C:\\a b.pt" "C:\\c.pt"') == ["C:\\a b.pt", "C:\\c.pt"]
    assert split_paths("/a b.pt\n\n '/c.pt'\n") == ["/a b.pt", "/c.pt"]


def test_a_folder_stands_for_its_files(tmp_path):
    for name in ("b.safetensors", "a.pt", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    alone = str(tmp_path / "notes.txt")
    found = with_files_of_folders([alone, str(tmp_path), alone], (".safetensors", ".pt"))
    assert [Path(path).name for path in found] == ["notes.txt", "a.pt", "b.safetensors"]


def test_the_time_left_comes_from_the_pace_after_the_first_unit():
    left = TimeLeft()
    assert left.seconds("a", 0, 100, 10.0) is None, "nothing is known yet"
    assert left.seconds("a", 10, 100, 10.5) is None, "half a second is too little"
    assert left.seconds("a", 20, 100, 14.0) == pytest.approx(4.0 / 20 * 80)
    assert left.seconds("b", 50, 100, 20.0) is None, "a new stage has a pace of its own"
    assert left.seconds("b", 75, 100, 22.0) == pytest.approx(2.0)


def test_recent_paths_come_newest_first_and_only_while_they_exist(tmp_path):
    memory = Memory("x", tmp_path)
    paths = []
    for number in range(15):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(b"")
        paths.append(str(path))
        memory.note_path("model", str(path))
    memory.note_path("model", paths[5])
    Path(paths[14]).unlink()
    again = Memory("x", tmp_path)
    assert again.recent("model") == [paths[5], *paths[13:5:-1], *paths[4:2:-1]]


def test_only_the_sizes_in_a_theme_grow():
    text = 'element create x image $I(a-4) -border {4 2} -width 26 -insertwidth 1 -size -14 "#1c"'
    assert multiply_sizes(text, 1.5) == (
        'element create x image $I(a-4) -border {6 3} -width 39 -insertwidth 1 -size -21 "#1c"'
    )
    assert multiply_sizes(text, 1) == text


def test_the_whole_theme_grows(tmp_path):
    """No size option of sv-ttk is of a form that would stay small."""
    import re

    import sv_ttk

    folder = Path(sv_ttk.__file__).parent
    for name in ("theme/light.tcl", "theme/dark.tcl", "sv.tcl"):
        text = (folder / name).read_text(encoding="utf-8")
        grown = multiply_sizes(text, 2)
        for found in re.finditer(r"-(?:border|padding|width|height|size) +(\{[^}]*\}|\S+)", grown):
            numbers = [int(number) for number in re.findall(r"(?<![\w$])-?\d+", found[1])]
            assert all(number % 2 == 0 for number in numbers), found[0]


@pytest.mark.parametrize("scale", [1.25, 1.5, 2, 3])
def test_every_picture_of_the_theme_is_on_the_larger_sheet(scale):
    """Each is what the one on sv-ttk's own sheet becomes, and none lies over another."""
    import io
    import re

    import sv_ttk
    from PIL import Image, ImageChops

    folder = Path(sv_ttk.__file__).parent / "theme"
    sprites = (folder / "sprites_light.tcl").read_text(encoding="utf-8")
    sheet = (folder / "spritesheet_light.png").read_bytes()
    text, enlarged = _enlarge(sprites, sheet, scale)
    before, after = (
        {name: tuple(map(int, place)) for name, *place in
         re.findall(r"([\w-]+) (\d+) (\d+) (\d+) (\d+)", listed)}
        for listed in (sprites, text)
    )  # fmt: skip
    assert before.keys() == after.keys()
    old, new = (Image.open(io.BytesIO(one)).convert("RGBa") for one in (sheet, enlarged))
    seen = Image.new("1", new.size)
    for name, (x, y, width, height) in after.items():
        box = (x, y, x + width, y + height)
        assert not seen.crop(box).getbbox(), f"{name} lies over another"
        seen.paste(1, box)
        left, top, *size = before[name]
        assert (width, height) == tuple(round(side * scale) for side in size)
        wanted = old.crop((left, top, left + size[0], top + size[1])).resize(
            (width, height), Image.Resampling.BICUBIC)  # fmt: skip
        off = ImageChops.difference(new.crop(box).convert("RGBA"), wanted.convert("RGBA"))
        assert max(high for _, high in off.getextrema()) <= 2, name


SPECTRUM = Spectrum((4, 8, 16, 32), (0.5, 0.7, 0.9, 1.0), (400, 800, 1600, 3200), 16)


def test_a_spectrum_is_read_between_its_points():
    assert SPECTRUM.kept_at(8) == 0.7
    assert SPECTRUM.kept_at(8 * 2**0.5) == pytest.approx(0.8), "half-way on a log scale"
    assert SPECTRUM.kept_at(2) == 0.25 and SPECTRUM.kept_at(99) == 1.0
    assert SPECTRUM.bytes_at(12) == 1200 and SPECTRUM.bytes_at(1) == 100
    assert between(5, [0, 10], [0, 1]) == 0.5


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.55, 0.7, 0.85, 0.95, 1.0])
def test_the_size_that_keeps_a_share_is_the_least_that_does(share):
    rank = SPECTRUM.rank_keeping(share)
    assert SPECTRUM.kept_at(rank) >= share
    assert rank == 1 or SPECTRUM.kept_at(rank - 1) < share


def test_facts_become_a_spectrum_in_order():
    facts = {"ranks": [8, 4], "kept": [1.0, 0.6], "bytes": [80, 40], "knee": 4}
    assert Spectrum.from_facts(facts) == Spectrum((4, 8), (0.6, 1.0), (40, 80), 4)


def test_a_lora_is_described_in_a_line():
    texts = Catalogue("resize", "en")
    facts = {
        "family_title": "SDXL", "network_types": {"lora": 722, "tucker": 3}, "size_bytes": 435e6,
        "dims": {"text_encoder": {"64": 264}, "unet_linear": {"128": 722}},
        "alphas": {"unet_linear": {"1": 986}},
        "trigger_words": [["zyx", 40], ["red hair", 9], ["a", 3], ["b", 1]],
        "problems": ["The hash is wrong."],
    }  # fmt: skip
    assert describe(facts, texts) == (
        "SDXL · LoRA, LoRA (Tucker) · size 64–128, alpha 1 · 435 MB\n"
        "Trigger words: zyx, red hair, a\nThe hash is wrong."
    )
    bare = {"family_title": None, "network_types": {}, "size_bytes": 1000,
            "dims": {"unet_conv": {"4": 1}}, "alphas": {"unet_conv": {"0.5": 1}}}  # fmt: skip
    assert describe(bare, texts) == "of an unknown kind · size 4, alpha 0.5 · 1 kB"
