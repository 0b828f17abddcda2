"""Ranges that are usual: their ends, the side on which a value lies, and how they are said."""

import pytest

from scripts.core.usual import Usual, range_words, short_number

RATE = Usual(2e-5, 5e-4, by=("optimizer", {"Lion": (5e-6, 1e-4), "Prodigy": (0.5, 1), "SGD": None}))


def values(**others):
    return others.get


@pytest.mark.parametrize(
    ("value", "side"),
    [(3, "below"), (4, None), (128, None), (128.5, "above"), (None, None), ("auto", None),
     (True, None), ((8, 32), None), ((8, 256), "above"), ([2, 32], "below"), ((), None)],
)  # fmt: skip
def test_the_side_is_that_of_the_value_or_of_one_of_several(value, side):
    assert Usual(4, 128).side(value, values()) == side


def test_a_range_may_be_a_share_of_another_setting():
    alpha = Usual(0.25, 1, times="dim")
    assert alpha.ends(values(dim=32)) == (8, 32)
    assert alpha.side(16, values(dim=8)) == "above" and alpha.side(16, values(dim=64)) is None
    assert alpha.ends(values()) is None and alpha.side(16, values()) is None


@pytest.mark.parametrize(
    ("optimizer", "ends"),
    [("AdamW8bit", (2e-5, 5e-4)), ("lion", (5e-6, 1e-4)), ("Prodigy", (0.5, 1)), ("SGD", None)],
)
def test_a_range_may_follow_a_choice_however_it_is_spelt(optimizer, ends):
    assert RATE.ends(values(optimizer=optimizer)) == ends


def test_without_a_general_range_only_some_choices_have_one():
    usual = Usual(by=("method", {"ratio": (2, 20)}))
    assert usual.ends(values(method=None)) is None
    assert usual.side(30, values(method="ratio")) == "above"
    assert usual.words() == "2 to 20 with ratio"


def test_ranges_and_numbers_are_said_as_people_write_them():
    numbers = (0, 1, 0.25, 1000, 4294967295, 5e-4, 1e-4, -0.5, 0.001)
    assert [short_number(number) for number in numbers] == [
        "0", "1", "0.25", "1000", "4294967295", "5e-4", "1e-4", "-0.5", "0.001",
    ]  # fmt: skip
    assert range_words((1000, 1000)) == "1000"
    assert Usual(0.25, 1, times="dim").words() == "0.25 to 1 times dim"
    assert RATE.words() == "2e-5 to 5e-4; 5e-6 to 1e-4 with Lion; 0.5 to 1 with Prodigy"
