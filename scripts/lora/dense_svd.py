"""The largest singular values and vectors of a dense matrix, only as many as are wanted.

    found = largest_singular(matrix, 64)        # of W (m, n), float32
    found.left * found.values @ found.right     # the best rank-64 approximation, to 0.1 %

A full decomposition of a layer's matrix finds a thousand vectors to keep a few dozen. Here all
happens on the smaller side's Gram matrix, by its eigenvectors where many of them are wanted, else
by subspace iteration with a Chebyshev filter (Zhou, Saad, Tiago and Chelikowsky 2006, "Self-
consistent-field calculations using Chebyshev-filtered subspace iteration"). NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALL_SIDE = 384  # up to here all eigenvectors are found sooner than a few
MANY = 5  # and where more than 1/5 of them are wanted
SPARE = 16  # vectors more than wanted: the last ones settle slowly
DEGREE, MOST_ROUNDS = 10, 40
MOST_GROWTH = 1e-3  # over the number format's precision: the rest holds the small vectors
SETTLED = 1e-4  # of what is left over: the most that one more round may still win
LITTLE_LEFT = 1e-3  # of the squared norm: below, the Gram matrix must be in float64


@dataclass(frozen=True)
class Singular:
    """left (m, k) and right (k, n) with orthonormal vectors, values (k,) descending, all float32
    but the values; norm is the whole matrix's Frobenius norm, float64."""

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray
    norm: float


def largest_singular(matrix: np.ndarray, count: int) -> Singular:
    """The `count` largest singular triplets of `matrix` (m, n), float32; deterministic.

    The truncation error is at most 0.1 % above the optimum in Frobenius norm, as long as it is
    more than the rounding of float32.
    """
    if matrix.shape[0] > matrix.shape[1]:
        turned = largest_singular(matrix.T, count)
        return Singular(turned.right.T, turned.values, turned.left.T, turned.norm)
    count = min(count, matrix.shape[0])
    scale = float(np.abs(matrix).max(initial=0.0))
    if scale == 0:
        return Singular(np.eye(matrix.shape[0], count, dtype=np.float32), np.zeros(count),
                        np.eye(count, matrix.shape[1], dtype=np.float32), 0.0)  # fmt: skip
    scaled = matrix / np.float32(scale)  # squares of tiny numbers would vanish
    found = _of_scaled(scaled, count)
    return Singular(found.left, found.values * scale, found.right, found.norm * scale)


def _of_scaled(matrix: np.ndarray, count: int) -> Singular:
    gram = matrix @ matrix.T
    total = float(np.trace(gram, dtype=np.float64))
    vectors = _leading_vectors(gram, count, total)
    captured = float(np.square(matrix.T @ vectors[:, :count]).sum(dtype=np.float64))
    if total - captured < LITTLE_LEFT * total:
        matrix = matrix.astype(np.float64)
        gram = matrix @ matrix.T
        total = float(np.trace(gram))
        vectors = _leading_vectors(gram, count, total)
    return _turned_to_singular(matrix, vectors, count, total)


def _leading_vectors(gram: np.ndarray, count: int, total: float) -> np.ndarray:
    """Orthonormal columns that span the leading eigenvectors, and a few more."""
    side, width = len(gram), count + SPARE
    if side <= SMALL_SIDE or MANY * width > side:
        return np.linalg.eigh(gram)[1][:, : -count - 1 : -1]
    start = np.random.default_rng(0).standard_normal((side, width)).astype(gram.dtype)
    values, vectors = _rayleigh_ritz(gram, np.linalg.qr(gram @ start)[0])
    won = float(values[:count].sum())
    for _ in range(MOST_ROUNDS):
        values, vectors = _rayleigh_ritz(gram, _filtered(gram, vectors, values))
        before, won = won, float(values[:count].sum())
        if won - before <= SETTLED * max(total - won, 1e-12 * total):
            return vectors
    return np.linalg.eigh(gram)[1][:, : -count - 1 : -1]


def _rayleigh_ritz(gram: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best approximate eigenvalues (descending) and eigenvectors within a subspace."""
    inner = basis.T @ (gram @ basis)
    values, turn = np.linalg.eigh((inner + inner.T) / 2)
    return values[::-1], basis @ turn[:, ::-1]


def _filtered(gram: np.ndarray, vectors: np.ndarray, values: np.ndarray) -> np.ndarray:
    """An orthonormal basis after a Chebyshev polynomial of `gram` that is small on [0, edge] and
    grows fastest above, `edge` being the least eigenvalue found. It is scaled to 1 at the largest
    eigenvalue, else numbers would overflow.

    A vector's rounding errors grow more than the vector itself where they point along a larger
    one, so the degree is held so low that the vectors with the smallest values are not lost."""
    edge, top = float(values[-1]), float(values[0])
    half = edge / 2
    if half <= 0 or top <= edge:
        return np.linalg.qr(gram @ vectors)[0]
    growth = MOST_GROWTH / np.finfo(gram.dtype).eps
    degree = min(DEGREE, int(np.arccosh(growth) / np.arccosh((top - half) / half)))
    if degree < 2:
        return np.linalg.qr(gram @ vectors)[0]
    sigma = half / (top - half)
    first = sigma
    before, now = vectors, (gram @ vectors - half * vectors) * (sigma / half)
    for _ in range(degree - 1):
        following = 1 / (2 / first - sigma)
        later = (gram @ now - half * now) * (2 * following / half) - sigma * following * before
        before, now, sigma = now, later, following
    return np.linalg.qr(now)[0]


def _turned_to_singular(
    matrix: np.ndarray, vectors: np.ndarray, count: int, total: float
) -> Singular:
    """The singular triplets within the span of `vectors`, from the matrix itself."""
    part = vectors.T @ matrix  # (width, n)
    inner = part.astype(np.float64) @ part.T.astype(np.float64)
    squares, turn = np.linalg.eigh((inner + inner.T) / 2)
    order = np.argsort(squares)[::-1][:count]
    values = np.sqrt(np.maximum(squares[order], 0))
    turn = turn[:, order]
    left = vectors @ turn.astype(vectors.dtype)
    sound = values > 1e-7 * max(values[0], np.finfo(np.float64).tiny)
    inverse = np.where(sound, 1 / np.where(sound, values, 1), 0)
    right = (turn * inverse).T.astype(part.dtype) @ part
    return Singular(left.astype(np.float32), values, right.astype(np.float32), np.sqrt(total))
