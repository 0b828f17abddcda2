"""Weights in captions: "(red hair:1.2)", "((big))", "[small]".

A round bracket multiplies what is in it by 1.1, or by the number after a colon before its end; a
square bracket divides by 1.1; brackets can be nested. A backslash makes a bracket an ordinary
letter. A bracket that is never closed reaches to the end; one that was never opened is a letter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

STEP = 1.1
PIECES = re.compile(r"\\.|[()\[\]]|[^\\()\[\]]+|\\", re.DOTALL)
NUMBER_AT_END = re.compile(r"^(.*):\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*$", re.DOTALL)


@dataclass
class _Run:
    text: str
    weight: float


def read_weights(caption: str) -> list[tuple[str, float]]:
    """The caption in pieces of one weight each, in order, without the brackets."""
    runs: list[_Run] = []
    opened: list[tuple[str, int]] = []  # bracket, and the number of runs before it
    for piece in PIECES.findall(caption):
        if piece in ("(", "["):
            opened.append((piece, len(runs)))
        elif piece in (")", "]") and opened and opened[-1][0] == {")": "(", "]": "["}[piece]:
            _, first = opened.pop()
            _multiply(runs[first:], _factor(runs, first) if piece == ")" else 1 / STEP)
        else:
            runs.append(_Run(piece[1:] if len(piece) == 2 and piece[0] == "\\" else piece, 1.0))
    for bracket, first in opened:
        _multiply(runs[first:], STEP if bracket == "(" else 1 / STEP)
    return _joined(runs)


def _factor(runs: list[_Run], first: int) -> float:
    """The number at the end of a round bracket, which is taken out of the text, else 1.1."""
    found = NUMBER_AT_END.match(runs[-1].text) if len(runs) > first else None
    if not found:
        return STEP
    runs[-1].text = found[1]
    return float(found[2])


def _multiply(runs: list[_Run], factor: float) -> None:
    for run in runs:
        run.weight *= factor


def _joined(runs: list[_Run]) -> list[tuple[str, float]]:
    pieces: list[tuple[str, float]] = []
    for run in runs:
        if pieces and pieces[-1][1] == run.weight:
            pieces[-1] = (pieces[-1][0] + run.text, run.weight)
        elif run.text:
            pieces.append((run.text, run.weight))
    return pieces
