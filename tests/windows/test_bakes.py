"""A bake that outlives its window, with a real Windows Python under Wine."""

from __future__ import annotations

import shutil

import pytest
from wine_pc import ROOT, windows_path

pytestmark = pytest.mark.slow

# Tells what it is asked for; Windows' Python ends it with stdin.
STAND_IN = """
import json, sys
def tell(text):
    print(json.dumps({"event": "note", "text": text}), flush=True)
tell("begun")
for line in sys.stdin:
    tell(line.strip())
    if line.strip() == "stop":
        sys.exit(2)
tell("nobody there")
"""
PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from easy_scripts.bakes.kept import About, kept_bakes, start_bake
from easy_scripts.wizard import remembered
from easy_scripts.wizard.child import Ended
remembered.memory_folder = lambda: Path(sys.argv[2])
seen = []
def follow(bake, word):
    end = time.monotonic() + 60
    while not any(word in str(message) for message in seen):
        assert time.monotonic() < end, seen
        seen.extend(bake.messages())
        time.sleep(0.05)
bake = start_bake(About("bake", "hero", {"network_dim": 4}), "stand_in_bake", [])
follow(bake, "begun")
bake.let_go()
time.sleep(0.5)
bake._process.stdin.close()  # as when the window has gone
time.sleep(0.5)
[later] = kept_bakes()
print(later.running, later.about.name, later.about.config)
seen.clear()
follow(later, "begun")
later.ask("save")
later.ask("stop")
follow(later, "Ended")
print([getattr(one, "text", None) or one.code for one in seen])
bake._process.wait(timeout=20)
print(later.running)
later.forget()
print(kept_bakes())
"""


def test_it_goes_on_without_its_window_and_is_found_again(computer, windows_python, tmp_path):
    project = tmp_path / "Äpfel & Birnen"
    for name in ("easy_scripts", "scripts/core", "scripts/settings"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "scripts" / "__init__.py").touch()
    (project / "stand_in_bake.py").write_text(STAND_IN)
    script = tmp_path / "window.py"
    script.write_text(PROGRAM)
    done = computer.wine.run(
        [windows_path(windows_python / "python.exe"), windows_path(script), windows_path(project),
         windows_path(tmp_path / "kept")],
        tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "True hero {'network_dim': 4}", "['begun', 'save', 'stop', 2]", "False", "[]",
    ], done.stdout  # fmt: skip
