"""Strengths by block for merging: every form of list, against the blocks that guides name."""

import math

import pytest

from scripts.core.errors import SettingError
from scripts.lora.block_ratios import read_block_ratios

UNET = "lora_unet_"
IN01 = f"{UNET}down_blocks_0_attentions_0_proj_in"
IN04 = f"{UNET}down_blocks_1_attentions_0_proj_in"
MID = f"{UNET}mid_block_attentions_0_proj_in"
OUT03 = f"{UNET}up_blocks_1_attentions_0_proj_in"
OUT11 = f"{UNET}up_blocks_3_attentions_2_proj_in"
OUT00_CONV = f"{UNET}up_blocks_0_resnets_0_conv1"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"
SDXL_IN04 = f"{UNET}input_blocks_4_1_proj_in"
SDXL_MID = f"{UNET}middle_block_1_proj_in"
SDXL_OUT00 = f"{UNET}output_blocks_0_1_proj_in"
SDXL_TEXT = "lora_te2_text_model_encoder_layers_0_mlp_fc1"


def numbered(count: int) -> str:
    """The list 0.01, 0.02, ..., so that each value tells its place from 1."""
    return ",".join(f"{number / 100:g}" for number in range(1, count + 1))


def places(text: str, family: str, *names: str) -> list[int]:
    """Which number of the list each module gets, 100 for none."""
    ratios = read_block_ratios(text, family)
    return [round(100 * ratios.of(name)) for name in names]


@pytest.mark.parametrize("text", [None, "", "  ", "[]"])
def test_nothing_said_is_one_everywhere(text):
    ratios = read_block_ratios(text, "sd1")
    assert {ratios.of(name) for name in (TEXT, IN01, MID, OUT11)} == {1.0}


def test_one_number_is_for_the_whole_unet():
    ratios = read_block_ratios("-0.5", "sd1")
    assert [ratios.of(name) for name in (TEXT, IN01, MID, OUT00_CONV)] == [1.0, -0.5, -0.5, -0.5]


def test_all_blocks_in_a_row():
    # IN00 is the first number, so IN01 the second; MID the 13th, OUT00 the 14th
    assert places(numbered(25), "sd1", TEXT, IN01, IN04, MID, OUT00_CONV, OUT03, OUT11) == [
        100, 2, 5, 13, 14, 17, 25,
    ]  # fmt: skip
    assert places(numbered(21), "sdxl", SDXL_TEXT, SDXL_IN04, SDXL_MID, SDXL_OUT00) == [
        100, 5, 11, 13,
    ]  # fmt: skip
    assert places(numbered(23), "sdxl", SDXL_IN04, SDXL_MID, SDXL_OUT00) == [6, 12, 14]


def test_lists_of_other_tools_begin_with_the_text_encoder():
    # BASE, IN01, IN02, IN04, IN05, IN07, IN08, MID, OUT03 ... OUT11
    names = (TEXT, IN01, IN04, MID, OUT03, OUT11, OUT00_CONV)
    assert places(numbered(17), "sd1", *names) == [1, 2, 4, 8, 9, 17, 100]
    assert places(f"[{numbered(26)}]", "sd2", *names) == [1, 3, 6, 14, 18, 26, 15]
    # BASE, IN04, IN05, IN07, IN08, MID, OUT00 ... OUT05
    names = (SDXL_TEXT, SDXL_IN04, SDXL_MID, SDXL_OUT00)
    assert places(numbered(12), "sdxl", *names) == [1, 2, 6, 7]
    # BASE, IN00 ... IN08, MID, OUT00 ... OUT08
    assert places(numbered(20), "sdxl", *names) == [1, 6, 11, 12]


def test_three_lists_and_curves():
    ratios = read_block_ratios("sine/0.25/reverse_linear+0.5", "sd1")
    assert ratios.of(IN04) == pytest.approx(math.sin(math.pi / 2 * 4 / 11))
    assert ratios.of(MID) == 0.25
    assert ratios.of(OUT11) == pytest.approx(0.5)
    assert ratios.of(TEXT) == 1.0
    short = read_block_ratios("0,0/ /0.5", "sd1")
    assert [short.of(name) for name in (IN01, IN04, MID, OUT00_CONV, OUT11)] == [0, 1, 1, 0.5, 1]
    one_curve = read_block_ratios("linear", "sdxl")
    assert one_curve.of(SDXL_IN04) == pytest.approx(4 / 8)
    assert [one_curve.of(name) for name in (SDXL_MID, SDXL_OUT00)] == [1.0, 0.0]


@pytest.mark.parametrize("text", ["reverse linear", "Reverse Linear+0.25", "reverse_linear + 0.25"])
def test_a_curve_of_two_words_may_have_a_space(text):
    ratios, shift = read_block_ratios(text, "sd1"), 0.25 if "+" in text else 0
    assert ratios.of(IN04) == pytest.approx(1 - 4 / 11 + shift)
    assert ratios.of(OUT11) == pytest.approx(shift)
    side = read_block_ratios(f"1/{text}/1", "sdxl")
    assert side.of(SDXL_MID) == pytest.approx(0.5 + shift)


def test_the_middle_of_sdxl_has_one_number_or_three():
    conv = f"{UNET}middle_block_2_in_layers_2"
    ratios = read_block_ratios("1/0.3/1", "sdxl")
    assert [ratios.of(SDXL_MID), ratios.of(conv)] == [0.3, 0.3]
    ratios = read_block_ratios("1/0.1,0.2,0.3/1", "sdxl")
    assert [ratios.of(SDXL_MID), ratios.of(conv)] == [0.2, 0.3]


def test_what_lies_before_and_behind_the_blocks():
    ratios = read_block_ratios(numbered(25), "sd1")
    found = [ratios.of(UNET + end) for end in ("time_embedding_linear_1", "conv_in", "conv_out")]
    assert found == [0.01, 0.01, 0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,1", r"There are 3 numbers in one list. Write one of 17, 25, 26, or three lists"),
        ("1/1", "There are 2 lists"),
        ("1,a,1", '"a" is not a number'),
        ("nan", "is not a number"),
        (",".join(["1"] * 13) + "/1/1", "13 numbers, but this model has 12 blocks"),
        ("wave", '"wave" is not a number. .* name of a curve: sine'),
    ],
)
def test_what_cannot_be_read(text, message):
    with pytest.raises(SettingError, match=message) as caught:
        read_block_ratios(text, "sd1")
    assert caught.value.setting == "block_ratios"
