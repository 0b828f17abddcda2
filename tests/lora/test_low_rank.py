"""The algebra of low-rank matrices against a dense SVD in float64."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.lora.low_rank import KroneckerDecomposition, decompose, joined


def factors(case: str, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    up, down = generator.standard_normal((40, 12)), generator.standard_normal((12, 60))
    if case == "unbalanced":  # small columns before large rows
        scales = np.logspace(-6, 6, 12)
        up, down = up * scales, down / scales[:, None]
    elif case == "parallel":  # nearly of rank 1, with much cancelled
        up = up[:, :1] + 1e-5 * up
    elif case == "repeated":
        up[:, 6:], down[6:] = up[:, :6], down[:6]
    elif case == "empty rows":
        up[:, 3:7], down[8:] = 0, 0
    elif case == "wide":
        up, down = generator.standard_normal((40, 90)), generator.standard_normal((90, 25))
    elif case == "zero":
        up *= 0
    return up.astype(np.float32), down.astype(np.float32)


@pytest.mark.parametrize(
    "case", ["plain", "unbalanced", "parallel", "repeated", "empty rows", "wide", "zero"]
)
def test_best_approximation_of_every_rank(case):
    up, down = factors(case, np.random.default_rng(2))
    whole = up.astype(np.float64) @ down.astype(np.float64)
    values = np.linalg.svd(whole, compute_uv=False)
    found = decompose(up, down)
    count = len(found.singular_values)
    np.testing.assert_allclose(found.singular_values, values[:count], atol=2e-8 * values[0] + 1e-30)
    for rank in range(1, count + 1):
        left, right = found.truncated(rank)
        error = np.linalg.norm(whole - left.astype(np.float64) @ right.astype(np.float64))
        best = np.linalg.norm(values[rank:])
        assert error <= best + 1e-6 * np.linalg.norm(whole)
        sizes = np.linalg.norm(left, axis=0), np.linalg.norm(right, axis=1)
        np.testing.assert_allclose(*sizes, rtol=1e-3, atol=1e-3 * np.sqrt(values[0]) + 1e-30)


def test_best_approximation_of_a_kronecker_product():
    generator = np.random.default_rng(3)
    first = factors("parallel", generator)
    second = (generator.standard_normal((7, 3)), generator.standard_normal((3, 5)))
    whole = np.kron(*(up.astype(np.float64) @ down for up, down in (first, second)))
    values = np.linalg.svd(whole, compute_uv=False)
    found = KroneckerDecomposition(decompose(*first), decompose(*second))
    np.testing.assert_allclose(found.singular_values, values[:36], atol=2e-8 * values[0])
    for rank in (1, 2, 5, 17, 36):
        left, right = found.truncated(rank)
        assert (left.shape, right.shape) == ((len(whole), rank), (rank, whole.shape[1]))
        error = np.linalg.norm(whole - left.astype(np.float64) @ right.astype(np.float64))
        assert error <= np.linalg.norm(values[rank:]) + 1e-6 * np.linalg.norm(whole)
        np.testing.assert_allclose(*(np.linalg.norm(side, axis=axis) for axis, side in
                                     enumerate((left, right))), rtol=1e-3)  # fmt: skip


def test_sum_is_exact_with_any_strengths():
    generator = np.random.default_rng(4)
    parts, truth = [], 0
    for rank, scale in ((3, 0.7), (5, -1.25), (1, 0.0)):
        up, down = (generator.standard_normal(s, np.float32) for s in ((9, rank), (rank, 14)))
        parts.append((up, down, scale))
        truth = truth + scale * up.astype(np.float64) @ down.astype(np.float64)
    up, down = joined(parts)
    assert up.shape == (9, 9) and down.shape == (9, 14)
    np.testing.assert_allclose(up.astype(np.float64) @ down, truth, atol=2e-6)
