"""Weights in captions follow the rules of the web interface that made them known."""

import pytest

from scripts.models.prompt_weights import read_weights


@pytest.mark.parametrize(
    ("caption", "pieces"),
    [
        ("plain text", [("plain text", 1.0)]),
        ("", []),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("((big))", [("big", 1.21)]),
        ("(((a)))", [("a", 1.331)]),
        ("[small]", [("small", 1 / 1.1)]),
        ("[[s]]", [("s", 1 / 1.21)]),
        ("(red hair:1.2), x", [("red hair", 1.2), (", x", 1.0)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(a: 2 )", [("a", 2.0)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3.0), (" c", 1.5)]),
        ("(a)[b]", [("a", 1.1), ("b", 1 / 1.1)]),
        ("((a)b)", [("a", 1.21), ("b", 1.1)]),
        (r"\(kept\) \[too\] \\", [(r"(kept) [too] " + "\\", 1.0)]),
        (r"name \(artist\), (x:2)", [("name (artist), ", 1.0), ("x", 2.0)]),
        ("open (end", [("open ", 1.0), ("end", 1.1)]),
        ("open [end", [("open ", 1.0), ("end", 1 / 1.1)]),
        ("closed) only]", [("closed) only]", 1.0)]),
        ("a (b] c)", [("a ", 1.0), ("b] c", 1.1)]),
        ("time 12:30, (a:b)", [("time 12:30, ", 1.0), ("a:b", 1.1)]),
        ("()", []),
        ("(:1.3)", []),
        ("ends with \\", [("ends with \\", 1.0)]),
    ],
)
def test_pieces_and_weights(caption, pieces):
    found = read_weights(caption)
    assert [text for text, _ in found] == [text for text, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])
