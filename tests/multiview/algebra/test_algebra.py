"""Sparse rows and conjugate gradients in torch against those of scipy."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from multiview.algebra.rows import SparseRows, Stacked, edges
from multiview.algebra.solve import conjugate_gradients
from multiview.photo.albedo import differences


def some_rows(R: int, k: int, M: int, seed: int) -> tuple[SparseRows, sparse.csr_matrix]:
    """The same matrix twice; no column twice in a row."""
    random = torch.Generator().manual_seed(seed)
    columns = torch.stack([torch.randperm(M, generator=random)[:k] for _ in range(R)])
    weights = torch.randn((R, k), generator=random, dtype=torch.float64)
    starts = np.arange(0, R * k + 1, k)
    twin = sparse.csr_matrix((weights.flatten().numpy(), columns.flatten().numpy(), starts), (R, M))
    return SparseRows(columns, weights, M), twin


def test_products_are_those_of_scipy() -> None:
    (A, a), (B, b) = some_rows(7, 3, 11, 0), some_rows(4, 2, 11, 1)
    random = torch.Generator().manual_seed(2)
    x = torch.randn((11, 2), generator=random, dtype=torch.float64)
    r = torch.randn(7, generator=random, dtype=torch.float64)
    torch.testing.assert_close(A @ x, torch.from_numpy(a @ x.numpy()))
    torch.testing.assert_close(A @ x[:, 0], torch.from_numpy(a @ x[:, 0].numpy()))
    torch.testing.assert_close(A.T @ r, torch.from_numpy(a.T @ r.numpy()))
    torch.testing.assert_close(
        (A * r) @ x, torch.from_numpy((sparse.diags(r.numpy()) @ a) @ x.numpy())
    )
    torch.testing.assert_close((np.float32(2) * A) @ x, torch.from_numpy(2 * a @ x.numpy()))
    both, stacked = sparse.vstack([a, b]), Stacked([A, B])
    long = torch.randn(11, generator=random, dtype=torch.float64)
    torch.testing.assert_close(stacked @ long, torch.from_numpy(both @ long.numpy()))
    torch.testing.assert_close(stacked.T @ long, torch.from_numpy(both.T @ long.numpy()))
    squares = both.multiply(both).sum(0).A1
    torch.testing.assert_close(stacked.squares, torch.from_numpy(squares))


def test_edges_have_the_differences_of_the_albedos_smoothness() -> None:
    known = torch.rand((4, 3, 5), generator=torch.Generator().manual_seed(3)) < 0.7
    unknown = torch.full((4, 3, 5), -1, dtype=torch.int64)
    M = int(known.sum())
    unknown[known] = torch.arange(M)
    D = edges(unknown, M, torch.float32)
    x = torch.randn(M, generator=torch.Generator().manual_seed(4))
    expected = differences(unknown.numpy().astype(np.int32), M)
    torch.testing.assert_close(D.T @ (D @ x), torch.from_numpy(expected @ x.numpy()))
    torch.testing.assert_close(D.squares, torch.from_numpy(expected.diagonal()))


def test_conjugate_gradients_go_as_scipys_do() -> None:
    random = np.random.default_rng(5)
    A = random.normal(size=(20, 20))
    A, b, x0 = A @ A.T + 3 * np.eye(20), random.normal(size=20), random.normal(size=20)
    diagonal = np.diag(A).copy()
    jacobi = LinearOperator((20, 20), lambda x: x / diagonal)
    for most in (1, 4, 200):
        expected, _ = cg(A, b, x0, rtol=1e-4, maxiter=most, M=jacobi)
        mine = conjugate_gradients(
            lambda x: torch.from_numpy(A) @ x, torch.from_numpy(b), 1e-4, most,
            torch.from_numpy(x0), torch.from_numpy(diagonal),
        )  # fmt: skip
        np.testing.assert_allclose(mine.numpy(), expected, rtol=1e-7)
    plain, _ = cg(A, b, rtol=1e-4, maxiter=7)
    mine = conjugate_gradients(lambda x: torch.from_numpy(A) @ x, torch.from_numpy(b), 1e-4, 7)
    np.testing.assert_allclose(mine.numpy(), plain, rtol=1e-7)


def test_nothing_to_solve_for_is_solved_by_zero() -> None:
    zero = torch.zeros(3)
    assert torch.equal(conjugate_gradients(lambda x: x, zero, 0.1, 5, torch.ones(3)), zero)
    assert conjugate_gradients(lambda x: x, torch.zeros(0), 0.1, 5).shape == (0,)
