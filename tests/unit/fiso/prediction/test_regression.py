import numpy as np
import pytest

from fiso.prediction.regression import Solver, dot


@pytest.mark.parametrize("count", [0, 1, 2, 5, 12, 36])
def test_it_agrees_with_the_textbook_formula(count: int) -> None:
    rng = np.random.default_rng(count)
    rows, residuals = rng.normal(size=(count, 6)), rng.normal(size=count)
    weights = rng.uniform(0.1, 10, count)
    solver = Solver(6)
    for row, residual, weight in zip(rows.tolist(), residuals.tolist(), weights.tolist(), strict=True):
        solver.add(row, residual, weight)
    solver.solve()
    left = np.linalg.inv(np.eye(6) + rows.T @ np.diag(weights) @ rows)
    assert solver.mean == pytest.approx(left @ rows.T @ (weights * residuals))
    one, other = rng.normal(size=6), rng.normal(size=6)
    whitened = dot(solver.whitened(one.tolist()), solver.whitened(other.tolist()))
    assert whitened == pytest.approx(one @ left @ other)
