"""Token ids are those of the reference, and of transformers' tokenizer on odd texts."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from scripts.core.errors import SuiteError
from scripts.models.families import END_OF_TEXT, EXCLAMATION_MARK
from scripts.models.text import tokenize
from scripts.models.tokenizer import BUNDLED, ClipTokenizer

REFERENCE = json.loads((Path(__file__).parents[1] / "data/dataset/tokens.json").read_text("utf-8"))
ODD_TEXTS = [
    "Ünïcödé façade, naïve café",
    "日本語のタグ, 猫",
    "Привет мир",
    "🙂 👨‍👩‍👧 emoji",
    "it's don't we'll I'd",
    "12345 6.7e-8 ½ ²",
    "tab\tnew\nline\r\n  spaces",
    "___ --- ((())) [[]] {|}",
    "e\u0301 combining",
    "<|startoftext|> a <|endoftext|>",
    "",
    "   ",
    "\u200bzero\u00a0width",
    "x" * 400,
    "ﬁ ligature Ⅷ",
]


@pytest.fixture(scope="module")
def tokenizers() -> list[ClipTokenizer]:
    first = ClipTokenizer.load(END_OF_TEXT)
    return [first, first.with_pad(EXCLAMATION_MARK)]


@pytest.mark.parametrize("length", ["None", "75", "150", "225"])
def test_ids_are_those_of_the_reference(tokenizers, length):
    count = 75 if length == "None" else int(length)
    captions = REFERENCE["captions"]
    first, second = tokenize(tokenizers, captions, count)
    assert first.dtype == torch.long
    assert first.tolist() == REFERENCE["sd15"][length]
    both = REFERENCE["sdxl_tokenizer1_and_2"][length]
    assert [list(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)] == both


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_ids_are_those_of_transformers(tokenizers, text):
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    theirs = CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer", local_files_only=True)
    assert tokenizers[0].ids(text) == theirs(text, add_special_tokens=False).input_ids


def test_one_empty_window_for_an_empty_caption(tokenizers):
    first, second = tokenize(tokenizers, [""], 75)
    assert first.tolist() == [[[49406] + [49407] * 76]]
    assert second.tolist() == [[[49406, 49407] + [0] * 75]]


def test_a_missing_or_short_table_is_told(tmp_path):
    with pytest.raises(SuiteError, match="missing"):
        ClipTokenizer.load(0, tmp_path / "nowhere")
    shutil.copytree(BUNDLED / "tokenizer", tmp_path / "short")
    table = json.loads((tmp_path / "short/vocab.json").read_text("utf-8"))
    del table["cat</w>"]
    (tmp_path / "short/vocab.json").write_text(json.dumps(table), "utf-8")
    with pytest.raises(SuiteError, match="49407 entries in place of 49408"):
        ClipTokenizer.load(0, tmp_path / "short")


def test_the_table_is_that_of_clip():
    table = json.loads((BUNDLED / "tokenizer/vocab.json").read_text("utf-8"))
    assert len(table) == 49408
    assert sorted(table.values()) == list(range(49408))
    assert (table["!"], table["<|startoftext|>"], table["<|endoftext|>"]) == (0, 49406, 49407)
    assert table["cat</w>"] == 2368  # as in OpenAI's examples: "a photo of a cat"
