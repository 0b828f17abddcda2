"""What a LoRA file is told to be, and what it would keep at smaller sizes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scripts.core.events import Control
from scripts.lora.inspect import facts_of, trigger_words
from scripts.lora.modules import open_lora
from scripts.lora.spectrum import knee, spectrum

ROOT = Path(__file__).resolve().parents[2]
LOCON = ROOT / "tests" / "data" / "resize" / "input_locon.safetensors"
TRAINED = ROOT / "tests" / "data" / "metadata" / "trained_lora.safetensors"


def test_the_spectrum_is_that_of_the_dense_matrices():
    with open_lora(LOCON) as lora:
        found = spectrum(lora, lambda _: None, Control())
        squares = []
        for module in lora.modules.values():
            up, down, scale = module.factors()
            dense = scale * up.astype(np.float64) @ down.astype(np.float64)
            squares.append(np.linalg.svd(dense, compute_uv=False) ** 2)
    everything = sum(part.sum() for part in squares)
    assert found["ranks"][-1] == max(m.full_rank for m in lora.modules.values())
    for rank, kept in zip(found["ranks"], found["kept"], strict=True):
        dense = math.sqrt(sum(part[:rank].sum() for part in squares) / everything)
        assert kept == pytest.approx(dense, abs=1e-6), rank
    assert found["kept"][-1] == pytest.approx(1)
    assert found["bytes"][-1] == pytest.approx(LOCON.stat().st_size, rel=0.01)
    assert found["bytes"] == sorted(found["bytes"])
    assert found["knee"] in found["ranks"]


def test_the_knee_is_where_doubling_wins_little():
    assert knee([1, 2, 4, 8], [0.5, 0.8, 0.84, 1.0]) == 2
    assert knee([1, 2, 4], [0.2, 0.6, 1.0]) == 4
    assert knee([4], [1.0]) == 4


def test_the_facts_of_a_trained_lora():
    with open_lora(TRAINED) as lora:
        facts = facts_of(lora)
    assert facts["family"] == "sd1" and facts["network_types"] == {"lora": 264}
    assert facts["modules"] == {"text_encoder": 72, "unet_conv": 32, "unet_linear": 160}
    assert facts["dims"]["unet_linear"] == {"2": 160}
    assert facts["alphas"]["text_encoder"] == {"1": 72}
    assert facts["size_bytes"] == TRAINED.stat().st_size and facts["problems"] == []
    counts = [count for _, count in facts["trigger_words"]]
    assert counts and counts == sorted(counts, reverse=True)


def test_tags_of_all_folders_are_counted_together():
    metadata = {"ss_tag_frequency": json.dumps({"1_a": {"cat": 2, " dog": 5}, "2_b": {"cat": 4}})}
    assert trigger_words(metadata) == [("cat", 6), ("dog", 5)]
    for odd in ("", "[]", '{"a": 1}', "no json"):
        assert trigger_words({"ss_tag_frequency": odd}) == []


@pytest.mark.parametrize(("path", "code"), [(LOCON, 0), (ROOT / "README.md", 1)])
def test_the_command_answers_a_window_and_loads_no_torch(path, code):
    program = "import sys; from scripts.inspect_lora import main; code = main(sys.argv[1:]); " \
              "assert 'torch' not in sys.modules; sys.exit(code)"  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", program, str(path), "--spectrum", "--events"],
                               cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    events = [json.loads(line) for line in process.stdout]
    process.stdin.close()
    assert process.wait(timeout=60) == code
    assert events[-1]["event"] == ("problem" if code else "facts")
    if not code:
        assert events[-1]["facts"]["spectrum"]["kept"][-1] == pytest.approx(1)
