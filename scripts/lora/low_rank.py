"""The algebra of low-rank matrices: decompose and join up·down without ever forming it.

    found = decompose(up, down)              # of M = up · down
    up_8, down_8 = found.truncated(8)        # the best rank-8 approximation of M
    up, down = joined([(up_a, down_a, 0.7), (up_b, down_b, 0.3)])     # the weighted sum, exact

All of it happens in rank x rank, in float64. NumPy only: arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Decomposition:
    """The singular values of M = up · down, descending (rank,), and M's best approximations."""

    singular_values: np.ndarray
    _up: np.ndarray  # (out, rank)
    _down: np.ndarray  # (rank, columns)
    # All (rank, rank) with the names of `decompose`, from which the vectors are made when needed:
    # up · B·D·L·Z are the left singular vectors · S², (L·Z)ᵀ·B⁻¹ · down the right ones · S.
    _balance: np.ndarray  # the diagonal of B
    _root: np.ndarray  # L
    _weighted_root: np.ndarray  # D·L
    _vectors: np.ndarray  # Z

    def truncated(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """(up (out, rank), down (rank, columns)), float32, whose product is the best
        approximation of M of that rank (Eckart-Young); each has half of every singular value.

        What is beyond the rank of M is zero.
        """
        rank = min(rank, len(self.singular_values))
        values = self.singular_values[:rank]
        # Below this a singular value is nothing but rounding, and its vectors have no meaning.
        sound = values > 1e-12 * max(self.singular_values[0], np.finfo(np.float64).tiny)
        inverse = np.where(sound, 1 / np.where(sound, values, 1.0), 0.0)
        vectors, balance = self._vectors[:, :rank], self._balance[:, None]
        into_up = balance * (self._weighted_root @ (vectors * inverse**1.5))
        into_down = (self._root @ (vectors * np.sqrt(inverse))) / balance
        up, down = self._up @ into_up, into_down.T @ self._down
        return up.astype(np.float32), down.astype(np.float32)


def decompose(up: np.ndarray, down: np.ndarray) -> Decomposition:
    """The singular value decomposition of M = up (out, r) · down (r, columns), in r x r.

    With the Gram matrices U = upᵀ·up = L·Lᵀ and D = down·downᵀ, the matrix N = Lᵀ·down has
    NᵀN = MᵀM, so M's singular values are the roots of the eigenvalues of N·Nᵀ = Lᵀ·D·L = Z·S²·Zᵀ,
    and its right singular vectors are V = Nᵀ·Z·S⁻¹. The best rank-k approximation is
    M·V_k·V_kᵀ = up · (D·L·Z_k·S_k⁻¹) · (S_k⁻¹·Z_kᵀ·Lᵀ) · down. Nothing is inverted but singular
    values that are kept, so factors without full rank do no harm.
    """
    up, down = _narrowed(up.astype(np.float64), down.astype(np.float64))
    gram_up, gram_down = up.T @ up, down @ down.T
    # Let both factors have equal weights rank by rank, as up·B and B⁻¹·down: else a small column of
    # `up` before a large row of `down` would be lost in the rounding of its Gram matrix.
    sizes_up, sizes_down = np.sqrt(np.diag(gram_up)), np.sqrt(np.diag(gram_down))
    used = (sizes_up > 0) & (sizes_down > 0)
    balance = np.sqrt(np.divide(sizes_down, sizes_up, out=np.ones_like(sizes_up), where=used))
    gram_up *= np.outer(balance * used, balance * used)
    gram_down *= np.outer(used / balance, used / balance)
    root = _root(gram_up)  # L
    weighted_root = gram_down @ root
    middle = root.T @ weighted_root
    eigenvalues, vectors = np.linalg.eigh(middle)  # ascending
    values = np.sqrt(np.maximum(eigenvalues[::-1], 0))
    return Decomposition(values, up, down, balance, root, weighted_root, vectors[:, ::-1])


@dataclass(frozen=True)
class KroneckerDecomposition:
    """The same for M = kron(M1, M2), from the decompositions of both.

    M's singular values are all products of one of M1's and one of M2's, and its singular vectors
    are the Kronecker products of theirs: two small decompositions in place of one large.
    """

    _first: Decomposition
    _second: Decomposition

    @cached_property
    def singular_values(self) -> np.ndarray:
        """Of M, descending."""
        return np.sort(self._products)[::-1]

    @property
    def _products(self) -> np.ndarray:
        return np.outer(self._first.singular_values, self._second.singular_values).reshape(-1)

    def truncated(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Decomposition.truncated`."""
        largest = np.argsort(-self._products, kind="stable")[:rank]
        one, other = np.divmod(largest, len(self._second.singular_values))
        up_1, down_1 = self._first.truncated(one.max() + 1)
        up_2, down_2 = self._second.truncated(other.max() + 1)
        up = up_1[:, None, one] * up_2[None, :, other]
        down = down_1[one, :, None] * down_2[other, None, :]
        return up.reshape(-1, len(largest)), down.reshape(len(largest), -1)


def _narrowed(up: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same product with an inner size of at most the smaller side."""
    outputs, rank = up.shape
    columns = down.shape[1]
    if rank <= min(outputs, columns):
        return up, down
    if outputs <= columns:
        return np.eye(outputs), up @ down
    return up @ down, np.eye(columns)


def _root(gram: np.ndarray) -> np.ndarray:
    """L with L·Lᵀ = gram, for a symmetric matrix without negative eigenvalues."""
    try:
        return np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:  # not of full rank
        eigenvalues, vectors = np.linalg.eigh(gram)
        return vectors * np.sqrt(np.maximum(eigenvalues, 0))


def joined(
    parts: Sequence[tuple[np.ndarray, np.ndarray, float]],
) -> tuple[np.ndarray, np.ndarray]:
    """(up, down), float32, with up · down = the sum of scale · up · down over the parts, exact.

    The rank is the sum of the ranks; each factor gets the root of the scale.
    """
    ups, downs = [], []
    for up, down, scale in parts:
        root = abs(scale) ** 0.5
        ups.append(np.float32(root if scale >= 0 else -root) * up)
        downs.append(np.float32(root) * down)
    return (
        np.concatenate(ups, axis=1, dtype=np.float32),
        np.concatenate(downs, axis=0, dtype=np.float32),
    )
