"""The suite's own conversions of numbers against torch's and NumPy's, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scripts.lora.number_formats import decoded, to_precision

CODES = np.arange(1 << 16, dtype=np.uint16)  # every fp16 or bf16 number there is


def bits_of(array: np.ndarray, precision: str) -> np.ndarray:
    return np.frombuffer(to_precision(array, precision).data, "<u2")


@pytest.mark.parametrize(("dtype", "kind"), [("F16", torch.float16), ("BF16", torch.bfloat16)])
def test_every_number_is_read_and_written_back(dtype, kind):
    read = decoded(memoryview(CODES.view(np.uint8)), dtype)
    truth = torch.from_numpy(CODES.view(np.int16)).view(kind).float().numpy()
    np.testing.assert_array_equal(read, truth)  # NaN equals NaN here
    assert (np.signbit(read) == np.signbit(truth)).all()
    sound = ~np.isnan(truth)
    written = bits_of(read, dtype)
    assert (written[sound] == CODES[sound]).all()
    assert np.isnan(decoded(memoryview(written.view(np.uint8)), dtype)[~sound]).all()


def between() -> np.ndarray:
    """Every fp16 number, the middle to its neighbour, float32's next ones on both sides, and random
    bits."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = np.append((halves[:-1] + halves[1:]) / 2, np.float32(65520))
    around = [np.nextafter(middles, np.float32(side)) for side in (0, np.inf)]
    random = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    random = random.view(np.float32)[np.isfinite(random.view(np.float32))]
    sides = np.concatenate([halves, middles, *around])
    tiny = np.array([0.0, 2**-25, 1.0000001 * 2**-25, 2**-26, 1e-45, 1e-38], np.float32)
    return np.concatenate([sides, -sides, tiny, -tiny, random])


@pytest.mark.parametrize("too_large", [True, False])  # a piece with such numbers takes another way
@pytest.mark.parametrize(("dtype", "kind"), [("F16", torch.float16), ("BF16", torch.bfloat16)])
def test_rounding_is_to_the_nearest_and_halves_to_even(dtype, kind, too_large):
    numbers = between()
    if not too_large:
        numbers = numbers[np.abs(numbers) < 2**16]
        assert (numbers >= 65520).any()  # which are rounded to infinity
    truth = torch.from_numpy(numbers).to(kind).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(bits_of(numbers, dtype), truth)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
def test_what_is_no_number_stays_so_and_harms_no_neighbour(dtype):
    numbers = np.linspace(-3, 3, 1000, dtype=np.float32)
    plain = decoded(to_precision(numbers, dtype).data, dtype)
    odd = {17: np.nan, 400: np.inf, 999: -np.inf}
    for place, value in odd.items():
        numbers[place] = value
    found = decoded(to_precision(numbers, dtype).data, dtype)
    np.testing.assert_array_equal(found[list(odd)], list(odd.values()))
    np.testing.assert_array_equal(np.delete(found, list(odd)), np.delete(plain, list(odd)))
