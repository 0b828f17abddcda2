"""What the code says in English, found in its source: every text with {} for what is filled in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("scripts", "easy_scripts")
# What the arguments of these say stands in help texts and logs, or is translated by its key.
NOT_SAID = {"setting", "add_argument", "ArgumentParser", "add_parser", "debug", "info", "exception",
            "warning", "compile", "TypeError", "KeyError", "RuntimeError"}  # fmt: skip
MESSAGES = {"SuiteError", "SettingError", "Cancelled", "Note", "Problem", "Stage", "in_threads",
            "UnreadablePicture", "OddShapes", "Broken", "Finding"}  # fmt: skip
WORD = re.compile(r"[A-Za-z]{2,}")
SENTENCE_END = re.compile(r"(?<=[.?!])(?: |(?=\{\}(?: |$)))")  # a {} there begins with a space


@dataclass(frozen=True)
class Text:
    """A text in the source. `told`: it is given to an error or an event."""

    path: Path
    line: int
    function: str
    text: str
    told: bool

    @property
    def place(self) -> str:
        """Such as scripts/lora/merge.py:_facts."""
        return f"{self.path.relative_to(ROOT).as_posix()}:{self.function}"

    @property
    def is_message(self) -> bool:
        """Whether it reads as a sentence, or is said as one."""
        words = len(WORD.findall(self.text.replace("{}", "")))
        ends = bool(re.search(r"[.?!](?: |\s*$|\{\})", self.text))
        return " " in self.text.strip() and words >= (1 if self.told else 3) and (ends or self.told)

    @property
    def sentences(self) -> list[str]:
        """Its sentences, without those that are filled in as a whole."""
        pieces = [piece.strip() for piece in SENTENCE_END.split(self.text)]
        pieces = [re.sub(r"^\{\} (?=[A-Z][a-z]* )", "", piece) for piece in pieces]
        return [piece for piece in pieces if WORD.search(piece.replace("{}", ""))]


def texts_in_code() -> Iterator[Text]:
    """Every text of the project's own modules but docstrings, help and logs."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from _of(ast.parse(path.read_text(encoding="utf-8")), path, "", False)


def as_pattern(node: ast.AST) -> str | None:
    """The text of a string, of an f-string with {} for its parts, or of several added up."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        return re.sub(r"(\{\})+", "{}", "".join(parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = as_pattern(node.left), as_pattern(node.right)
        return None if left is None or right is None else left + right
    return None


def _of(node: ast.AST, path: Path, function: str, told: bool) -> Iterator[Text]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        name = function if isinstance(node, ast.Module) else node.name
        for child in body:
            yield from _of(child, path, name, False)
        return
    if isinstance(node, ast.Call):
        called = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
        if called in NOT_SAID:
            return
        told = called in MESSAGES
    text = as_pattern(node)
    if text is not None:
        yield Text(path, getattr(node, "lineno", 0), function, text, told)
        if not isinstance(node, ast.JoinedStr):
            return
        told = False
    for child in ast.iter_child_nodes(node):
        if text is None or not isinstance(child, ast.Constant):
            yield from _of(child, path, function, told)
