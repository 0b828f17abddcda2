"""What a wizard remembers, shared by windows that are open side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from easy_scripts.train_pages.paused import forget_paused, keep_paused, paused_bakes, saved_as
from easy_scripts.wizard.answers import Answers
from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.remembered import Memory
from scripts.core.errors import SuiteError
from scripts.settings.train import TrainSettings

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from pathlib import Path
from easy_scripts.wizard.remembered import Memory
memory = Memory("x", Path(sys.argv[1]))
for number in range(40):
    memory.must_change(f"{sys.argv[2]}{number}", lambda _: number)
"""


def test_a_window_writes_over_nothing_that_another_one_kept(tmp_path):
    one, other = Memory("x", tmp_path), Memory("x", tmp_path)
    one.keep("paused", {"state": "here"})
    other.keep("place", [1, 2, 3, 4])
    assert other.get("paused") == {"state": "here"} and one.get("place") == [1, 2, 3, 4]
    content = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert content == {"paused": {"state": "here"}, "place": [1, 2, 3, 4]}


def test_recent_paths_of_two_windows_are_one_list(tmp_path):
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.write_bytes(b"")
    one, other = Memory("x", tmp_path), Memory("x", tmp_path)
    for memory, file in ((one, "a"), (other, "b"), (one, "c")):
        memory.note_path("model", str(tmp_path / file))
    assert other.recent("model") == [str(tmp_path / name) for name in ("c", "b", "a")]


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=ROOT)
               for name in "ab"]  # fmt: skip
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    content = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert content == {f"{name}{number}": number for name in "ab" for number in range(40)}


@pytest.fixture
def barred(tmp_path):
    """A memory whose place cannot be written to, even by an administrator."""
    (tmp_path / "file").write_bytes(b"")
    return Memory("x", tmp_path / "file")


def test_a_comfort_that_cannot_be_written_holds_as_long_as_the_window(barred):
    barred.keep("place", [1])
    assert barred.get("place") == [1]
    with pytest.raises(SuiteError, match="cannot be written"):
        barred.must_change("paused", lambda _: {})


def test_a_file_that_cannot_be_read_is_not_replaced(tmp_path, monkeypatch):
    Memory("x", tmp_path).keep("paused", {"state": "here"})
    memory = Memory("x", tmp_path)

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        memory.keep("place", [1])
        with pytest.raises(SuiteError, match="access is denied"):
            memory.must_change("place", lambda _: [1])
    assert Memory("x", tmp_path).get("paused") == {"state": "here"}


class MadeUpWizard:
    """As much of a wizard as a pause needs."""

    def __init__(self, memory: Memory, **values) -> None:
        self.memory, self.texts = memory, Catalogue("train", "en")
        self.answers = Answers(TrainSettings, values)


def test_a_pause_that_cannot_be_remembered_is_told_with_its_remedy(barred):
    told = keep_paused(MadeUpWizard(barred, output_name="hero"), "/out/hero-state")
    assert told.startswith("The pause could not be noted") and told.endswith("/out/hero-state")
    assert "Go on from a state" in told


def test_a_bake_that_is_done_forgets_only_its_own_pause(tmp_path):
    hero = MadeUpWizard(Memory("x", tmp_path), output_name="hero", output_dir="/out")
    assert keep_paused(hero, "/out/hero-state") is None
    assert keep_paused(hero, "/out/hero-2-state") is None
    forget_paused(hero.memory, "/out/other-state")
    forget_paused(hero.memory, "/out/hero-2-state")
    assert [one["state"] for one in hero.memory.get("paused")] == ["/out/hero-state"]
    forget_paused(hero.memory, "/out/hero-state")
    assert not hero.memory.get("paused")


def test_each_bake_keeps_its_own_pause_and_the_newest_comes_first(tmp_path, memory_folder):
    states = [str(tmp_path / name) for name in ("a1", "b", "namesake", "a2", "gone")]
    for state in states[:4]:
        Path(state).mkdir()
    memory = Memory("x", tmp_path)
    for name, state, resumed in zip("abaac", states, ("", "", "", states[0], ""), strict=True):
        assert keep_paused(MadeUpWizard(memory, output_name=name), state, resumed) is None
    assert [one["state"] for one in paused_bakes(memory)] == [states[3], states[2], states[1]]
    memory.keep("paused", {"config": {}, "state": str(tmp_path)})
    assert paused_bakes(memory) == [], "what is not as it should be is passed over"


def test_a_state_that_cannot_be_looked_at_is_passed_over(tmp_path, memory_folder):
    memory = Memory("x", tmp_path)
    here = {"config": {"output_name": "hero"}, "state": str(tmp_path)}
    memory.keep("paused", [{"config": {}, "state": str(tmp_path / ("x" * 300))}, here])
    assert paused_bakes(memory) == [here]


@pytest.mark.parametrize(
    ("state", "name"),
    [("cat-2-step00000012-state", "cat-2"), ("cat-000003-state", "cat"), ("cat-state", "cat"),
     ("x-000123-step00000004-state", "x-000123"), ("moved elsewhere", "hero")],
)  # fmt: skip
def test_a_state_tells_the_name_that_its_bake_saves_under(state, name):
    assert saved_as(f"/out/{state}", "hero") == name
