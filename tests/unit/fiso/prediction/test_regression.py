import numpy as np
import pytest

from fiso.prediction.regression import Solver, dot


def test_one_observation_is_shrunk_by_its_noise() -> None:
    # prior variance 1, noise 3: a quarter of the residual is believed, a quarter of the variance gone
    solver = Solver(1)
    solver.add([1.0], 2.0, 1 / 3)
    solver.solve()
    assert solver.mean == pytest.approx([0.5])
    (root,) = solver.whitened([1.0])
    assert root**2 == pytest.approx(0.75)


def test_nothing_seen_leaves_the_prior() -> None:
    solver = Solver(2)
    solver.solve()
    assert solver.mean == [0.0, 0.0]
    assert solver.whitened([3.0, 4.0]) == [3.0, 4.0]


@pytest.mark.parametrize("count", [1, 2, 5, 12, 36])
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
