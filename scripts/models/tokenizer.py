"""CLIP's tokenizer: text to token ids, with the table that lies in `bundled/tokenizer`.

Byte-pair encoding as OpenAI published it with CLIP: lower case, spaces joined, then words,
single digits and runs of other signs are each split into the parts of the table. The work is
done by the `tokenizers` package, which loads in a few hundredths of a second.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from scripts.core.errors import SuiteError
from scripts.models.families import END_OF_TEXT

BUNDLED = Path(__file__).parent / "bundled"
TABLE_SIZE = 49408
START_OF_TEXT = 49406
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|"
    r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
)


class ClipTokenizer:
    """Text to ids. `pad_id` fills what is left of a window; the rest is the same for all."""

    start_id = START_OF_TEXT
    end_id = END_OF_TEXT

    def __init__(self, tokenizer: Tokenizer, pad_id: int) -> None:
        self._tokenizer = tokenizer
        self.pad_id = pad_id

    @classmethod
    def load(cls, pad_id: int, folder: Path = BUNDLED / "tokenizer") -> ClipTokenizer:
        """The tokenizer from vocab.json and merges.txt in `folder`.

        Raises SuiteError when a file is missing or the table is not CLIP's.
        """
        return cls(_build(folder), pad_id)

    def ids(self, text: str) -> list[int]:
        """The ids of a text of any length, without start, end and padding."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def with_pad(self, pad_id: int) -> ClipTokenizer:
        """The same tokenizer with another padding."""
        return ClipTokenizer(self._tokenizer, pad_id)


def _build(folder: Path) -> Tokenizer:
    try:
        table = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SuiteError(
            f"The files of the tokenizer in {folder} are missing or broken. "
            "Download Easy LoRA again."
        ) from error
    merges = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    if len(table) != TABLE_SIZE or len(merges) != TABLE_SIZE - 2 * 256 - 2:
        raise SuiteError(
            f"The tokenizer in {folder} has {len(table)} entries in place of {TABLE_SIZE}. "
            "Download Easy LoRA again."
        )
    tokenizer = Tokenizer(
        models.BPE(
            table,
            merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            unk_token="<|endoftext|>",
        )
    )
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer
