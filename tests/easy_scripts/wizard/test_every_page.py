"""Every page and state of the wizards, in light and dark, at 100 and 200 %: nothing is cut off.

With EASY_LORA_PICTURES=FOLDER each state is also saved as a picture, to be looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tkinter
from pathlib import Path
from tkinter import ttk

import pytest
from robot import Robot
from tool_hands import resized
from virtual_screen import needs_letters, virtual_screen

from easy_scripts import extract, merge, resize
from easy_scripts.wizard.fold import Fold

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data"
TINY_LORA = DATA / "metadata" / "trained_lora.safetensors"  # for the tiny SD1.5 model
LORA = DATA / "resize" / "input.safetensors"


class Tour:
    """Goes through the states of a wizard; looks at each, and takes its picture if asked to."""

    def __init__(self, label: str, plan, given: dict) -> None:
        self.robot = Robot(plan, given)
        needs_letters(self.robot.root, self.robot.wizard.texts.language)
        self._name = f"{plan.name}-{label}"
        self._count = 0
        self._folder = os.environ.get("EASY_LORA_PICTURES")

    def look(self, what: str) -> None:
        """See that nothing is cut off on what is shown now."""
        self.robot.pump(0.15)
        self._whole(what)
        self._inside(what)
        self.save(what)

    def _whole(self, what: str, parent: tkinter.Misc | None = None) -> None:
        """No text needs more room than it has."""
        for widget in self.robot.widgets(parent):
            if isinstance(widget, ttk.Label | ttk.Button | ttk.Radiobutton | ttk.Checkbutton):
                text = str(widget.cget("text"))
                assert widget.winfo_reqwidth() <= widget.winfo_width() + 1, (what, text)
                assert widget.winfo_reqheight() <= widget.winfo_height() + 1, (what, text)

    def on_screen(self, what: str, window: tkinter.Toplevel) -> None:
        """The whole window lies on the screen."""
        x, y = window.winfo_rootx(), window.winfo_rooty()
        assert 0 <= x <= window.winfo_screenwidth() - window.winfo_width(), what
        assert 0 <= y <= window.winfo_screenheight() - window.winfo_height(), what

    def _inside(self, what: str) -> None:
        """The content is no wider than the window, and what is taller scrolls."""
        frame = self.robot.page.frame
        assert frame.body.winfo_reqwidth() <= frame._canvas.winfo_width() + 1, what
        assert bool(frame._bar.winfo_ismapped()) == frame.scrolls, what
        right = self.robot.root.winfo_width()
        for button in self.robot.widgets(self.robot.wizard.footer):
            place = button.winfo_rootx() - self.robot.root.winfo_rootx()
            assert place + button.winfo_width() <= right, what

    def save(self, what: str) -> None:
        """Save the window as a picture."""
        self._count += 1
        if self._folder:
            from PIL import ImageGrab

            root = self.robot.root
            x, y = root.winfo_rootx(), root.winfo_rooty()
            picture = ImageGrab.grab((x, y, x + root.winfo_width(), y + root.winfo_height()),
                                     xdisplay=os.environ.get("DISPLAY"))  # fmt: skip
            name = f"{self._name}-{self._count:02}-{what}.png"
            picture.quantize(128).save(Path(self._folder) / name, optimize=True)

    def forward(self) -> None:
        """Next, when all files have been looked at."""
        readers = [page.reader for page in self.robot.wizard.pages if hasattr(page, "reader")]
        self.robot.until(lambda: not any(reader.busy for reader in readers))
        self.robot.wizard.next()
        self.robot.pump()
        self.robot.until(lambda: not any(reader.busy for reader in readers))

    def unfold(self) -> None:
        """Open what is folded away, and show the end of the page."""
        self.robot.pump()
        for widget in list(self.robot.widgets()):
            if isinstance(widget, Fold):
                widget.unfold()
        self.robot.pump()
        self.robot.page.frame.wheel(100)

    def question(self, what: str = "question") -> None:
        """Look at the question that will be asked, and answer it harmlessly."""

        def look() -> None:
            windows = [w for w in self.robot.root.winfo_children()
                       if isinstance(w, tkinter.Toplevel) and w.grab_status()]  # fmt: skip
            if windows:
                self.robot.root.update()
                self._whole(what, windows[0])
                self.on_screen(what, windows[0])
                self.save(what)
                windows[0].event_generate("<Escape>")
            else:
                self.robot.root.after(20, look)

        self.robot.root.after(50, look)

    def finish(self) -> None:
        """Wait for the result."""
        self.robot.until(lambda: self.robot.page.name == "result")


def tour_of_resize(label: str, loras: list[Path], checkpoint: Path) -> None:
    """Files, size, place, work, result."""
    tour = Tour(label, resize.PLAN, {})
    tour.look("empty")
    tour.robot.page.add([str(path) for path in loras])
    tour.forward()
    tour.robot.wizard.back()
    tour.look("files")
    tour.robot.page.add([str(checkpoint)])
    tour.forward()
    tour.look("wrong-file")
    tour.robot.page.remove(str(checkpoint))
    tour.robot.page.remove(str(loras[1]))
    tour.forward()
    tour.look("size")
    tour.unfold()
    tour.look("size-more")
    tour.robot.page._toggle(4)
    tour.forward()
    tour.look("save")
    tour.robot.wizard.next()
    tour.look("work")
    tour.finish()
    tour.look("result")
    tour.robot.wizard.back()
    tour.look("save-again")
    tour.question()
    tour.robot.wizard.next()
    tour.robot.end()
    tour = Tour(f"{label}-draft", resize.PLAN, {})
    tour.look("offer")
    tour.robot.end()
    tour_of_what_is_left_out(label, [resized(4, loras[0].with_name("small.safetensors")), *loras])


def tour_of_what_is_left_out(label: str, loras: list[Path]) -> None:
    """A size that is too large for one LoRA, then for all; settings that are not whole."""
    given = {"model": [str(path) for path in loras], "new_rank": [2, 8],
             "dynamic_param": [0.9, 0.5]}  # fmt: skip
    tour = Tour(f"{label}-several", resize.PLAN, given)
    tour.forward()
    tour.robot.page._chooser.current(0)
    tour.robot.page._choose_file()
    tour.forward()  # looks again
    tour.robot.wizard.back()
    tour.look("sizes")
    tour.forward()
    tour.look("left-out")
    tour.robot.wizard.back()
    tour.robot.page.choose(40)
    tour.robot.wizard.next()
    tour.look("too-large")
    tour.robot.wizard.answers["dynamic_method"] = "sv_fro"
    tour.forward()
    tour.robot.wizard.back()
    tour.robot.until(lambda: not tour.robot.page.reader.busy)
    tour.look("first-value")
    tour.robot.wizard.answers["dynamic_param"] = []
    tour.robot.pump(0.6)
    tour.look("not-whole")
    tour.robot.end()


def tour_of_merge(label: str, loras: list[Path], checkpoint: Path) -> None:
    """Files with strengths, kind of result, place, work that cannot be done, result."""
    tour = Tour(label, merge.PLAN, {"models": [str(path) for path in loras]})
    tour.forward()
    tour.robot.wizard.back()
    tour.look("files")
    tour.unfold()
    tour.look("blocks")
    line = tour.robot.page._blocks._lines[str(loras[1])]
    line._text.set("1,2,3")
    tour.forward()
    tour.look("blocks-wrong")
    line._text.set("")
    tour.forward()
    tour.look("kind")
    tour.robot.page._choose("checkpoint")
    tour.forward()
    tour.look("checkpoint-missing")
    tour.robot.page._choose("lora")
    tour.unfold()
    tour.look("kind-more")
    tour.forward()
    tour.look("save")
    place = tour.robot.wizard.answers["save_to"]
    tour.robot.wizard.answers["save_to"] = str(loras[0])
    tour.robot.wizard.facts.overwrite = True
    tour.robot.wizard.go_on()
    tour.robot.until(lambda: not tour.robot.page.busy)
    tour.look("problem")
    tour.robot.wizard.back()
    tour.robot.wizard.answers["save_to"] = place
    tour.robot.wizard.next()
    tour.finish()
    tour.look("result")
    tour.robot.end()


def tour_of_extract(label: str, loras: list[Path], checkpoint: Path) -> None:
    """The two models, the size, the place, result."""
    tuned = loras[0].with_name("tuned.safetensors")
    subprocess.run(
        [sys.executable, "-m", "scripts.merge_lora", "--models", str(TINY_LORA), "--sd_model",
         str(checkpoint), "--save_to", str(tuned)],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    tour = Tour(label, extract.PLAN, {"model_tuned": str(loras[0])})
    tour.forward()
    tour.look("models-missing")
    tour.robot.page.rows["model_org"].variable.set(str(checkpoint))
    tour.forward()
    tour.look("models-wrong")
    tour.robot.page.rows["model_tuned"].variable.set(str(tuned))
    tour.robot.page.check()
    tour.robot.pump(1)
    tour.look("models")
    tour.forward()
    tour.look("size")
    tour.unfold()
    tour.look("size-more")
    tour.forward()
    tour.look("save")
    tour.robot.wizard.next()
    tour.finish()
    tour.look("result")
    tour.robot.end()


@pytest.mark.slow
@pytest.mark.parametrize("tour", [tour_of_resize, tour_of_merge, tour_of_extract])
@pytest.mark.parametrize(
    ("language", "theme", "scale", "size"),
    [
        ("en", "light", 100, (1366, 768)),
        ("en", "dark", 100, (1366, 768)),
        ("en", "light", 200, (2732, 1536)),
        ("en", "dark", 200, (2732, 1536)),
        ("ja", "light", 150, (1920, 1080)),
        ("ja", "dark", 200, (2732, 1536)),
        ("en", "light", 300, (3840, 2160)),
    ],
)
def test_nothing_is_cut_off(
    memory_folder, monkeypatch, tmp_path, tiny_sd15, tour, language, theme, scale, size
):
    names = ("hero.safetensors", f"{'a very long name ' * 9}{'x' * 40}.safetensors")
    loras = [Path(shutil.copy(LORA, tmp_path / name)) for name in names]
    monkeypatch.setenv("EASY_LORA_LANGUAGE", language)
    monkeypatch.setenv("EASY_LORA_THEME", theme)
    monkeypatch.setenv("EASY_LORA_SCALE", str(scale))
    with virtual_screen(*size):
        tour(f"{language}-{theme}-{scale}", loras, tiny_sd15)
