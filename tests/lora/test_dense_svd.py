"""The leading part of a dense matrix's spectrum, against NumPy's decomposition in float64."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.lora.dense_svd import largest_singular

SPECTRA = {
    "flat": lambda i: np.ones(len(i)),
    "slow": lambda i: 1 / np.sqrt(1 + i),
    "power": lambda i: 1 / (1 + i),
    "decaying": lambda i: 0.97**i,
    "steep": lambda i: 0.8**i + 1e-6,
    "mixed": lambda i: np.where(i < 32, 3 - i / 20, 0.05),
    "step": lambda i: np.where(i < 40, 1, 1e-4),
}


def matrix_with(values, rows, columns, seed=0):
    generator = np.random.default_rng(seed)
    left = np.linalg.qr(generator.standard_normal((rows, len(values))))[0]
    right = np.linalg.qr(generator.standard_normal((columns, len(values))))[0]
    return ((left * values) @ right.T).astype(np.float32)


def error_of(matrix, found):
    rest = matrix.astype(np.float64) - (found.left * found.values).astype(np.float64) @ found.right
    return np.linalg.norm(rest)


@pytest.mark.parametrize("shape", [(320, 200), (450, 600)])
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("size", [1.0, 1e-30])
def test_the_error_is_the_least_possible(shape, spectrum, size):
    matrix = matrix_with(size * SPECTRA[spectrum](np.arange(min(shape))), *shape)
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    for count in (8, 40, 150):
        found = largest_singular(matrix, count)
        optimum = np.sqrt(np.sum(values[count:] ** 2))
        # float32 holds the factors' numbers to 6e-8, which is the least error where hardly
        # anything is left over
        assert error_of(matrix, found) <= 1.001 * optimum + 2e-7 * values[0], count
        assert found.values == pytest.approx(values[:count], rel=1e-3, abs=1e-6 * values[0])
        assert found.norm == pytest.approx(np.linalg.norm(matrix.astype(np.float64)), rel=1e-5)


def test_noise_is_no_harder():
    matrix = np.random.default_rng(1).standard_normal((700, 500)).astype(np.float32)
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    found = largest_singular(matrix, 32)
    assert error_of(matrix, found) <= 1.001 * np.sqrt(np.sum(values[32:] ** 2))


def test_the_vectors_are_orthonormal_and_always_the_same():
    matrix = matrix_with(SPECTRA["power"](np.arange(500)), 500, 640)
    found, again = largest_singular(matrix, 24), largest_singular(matrix, 24)
    assert np.array_equal(found.left, again.left) and np.array_equal(found.right, again.right)
    assert found.left.T @ found.left == pytest.approx(np.eye(24), abs=1e-5)
    assert found.right @ found.right.T == pytest.approx(np.eye(24), abs=1e-4)


def test_more_than_there_is_and_nothing_at_all():
    matrix = matrix_with([2.0, 1.0], 5, 3)
    found = largest_singular(matrix, 10)
    assert found.values == pytest.approx([2, 1, 0], abs=1e-6)
    assert error_of(matrix, found) < 1e-6
    nothing = largest_singular(np.zeros((4, 6), np.float32), 2)
    assert nothing.norm == 0 and error_of(np.zeros((4, 6)), nothing) == 0
