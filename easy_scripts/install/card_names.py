"""NVIDIA's compute capability by a card's name, for drivers that do not tell it.

Old versions of nvidia-smi do not know the question, and where it is missing only the name that
Windows has for the card is left. From NVIDIA's list "CUDA GPU Compute Capability".
"""

from __future__ import annotations

import re

# The first pattern that is found decides; one capability stands for its whole generation.
CAPABILITIES: tuple[tuple[str, tuple[int, int]], ...] = (
    # cards for workstations first: RTX 5000 was a Quadro, then an Ada, and is a Blackwell today
    (r"Blackwell", (12, 0)),
    (r"\bAda\b", (8, 9)),
    (r"Quadro RTX|TITAN RTX", (7, 5)),
    (r"RTX 50\d\d", (12, 0)),
    (r"\bG?B[23]00", (10, 0)),
    (r"\bG?H[12]00", (9, 0)),
    (r"RTX 40\d\d|\bL40?S?\b", (8, 9)),
    (r"\bA100|\bA30\b", (8, 0)),
    (r"RTX 30\d\d|RTX 2050|RTX A\d|\bA(2|10|16|40)\b|MX570", (8, 6)),
    (r"RTX 20\d\d|GTX 16\d\d|\bT4\b|\bT[1245]\d\d\d?\b|MX4[05]0|MX550", (7, 5)),
    (r"TITAN V|V100|GV100", (7, 0)),
    (r"P100|GP100", (6, 0)),
    (r"GT[XS]? ?10\d\d|TITAN X[Pp]|\bP\d{1,4}\b|MX150|MX[23][1-5]0", (6, 1)),
    (
        r"GTX? ?9\d\d|GTX 7[45]\d|TITAN X|\bM\d{1,4}\b|\b(8|9)\d\dM|MX110|MX130"
        r"|\bK(620|1200|2200)M?\b",
        (5, 0),
    ),
    (r"GTX? ?[4-7]\d\d|\bK\d{1,4}\b|TITAN|GeForce [2-9]\d\d\b", (3, 5)),
)


def capability_of(name: str) -> tuple[int, int] | None:
    """The compute capability of the generation that a card's name speaks of; None if unknown."""
    for pattern, capability in CAPABILITIES:
        if re.search(pattern, name):
            return capability
    return None
