"""The linear family: ridge regression on the terms that `fiso.prediction.linear` serves."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import Ridge

from fiso.learning.dataset import Floats
from fiso.prediction.linear import LARGEST, Term, octave

CODES = ("cloud_provider_encoded", "function_type_encoded", "region_encoded")
"""Features that are names: their numbers have no order."""
MOST_VALUES = 64
"""Of each name the most frequent; all others together are what the base says."""
STEPPED = "request_size_bytes"


class LinearEstimator:
    """As scikit-learn's estimators are used here: fitted, asked, and its parameters told."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._ridge = Ridge(alpha=1.0, solver="cholesky")
        self.terms: tuple[Term, ...] = ()

    def fit(self, features: Floats, wanted: Floats) -> None:
        self.terms = tuple(term for column in range(len(self._names)) for term in self._terms_of(column, features))
        self._ridge.fit(self._design(features), wanted)

    def predict(self, features: Floats) -> Floats:
        said: Floats = np.asarray(self._ridge.predict(self._design(features)), dtype=np.float64)
        return said

    @property
    def base(self) -> float:
        return float(self._ridge.intercept_)

    @property
    def weights(self) -> Floats:
        found: Floats = np.asarray(self._ridge.coef_, dtype=np.float64)
        return found

    def get_params(self) -> dict[str, object]:
        """What the card says of it."""
        return {"alpha": self._ridge.alpha, "terms": len(self.terms)}

    def _terms_of(self, column: int, features: Floats) -> list[Term]:
        name = self._names[column]
        if name in CODES:
            values, counts = np.unique(features[:, column], return_counts=True)
            frequent = np.sort(values[np.argsort(-counts, kind="stable")[:MOST_VALUES]])
            return [Term("is", column, float(value)) for value in frequent]
        if name == STEPPED:
            return [Term("octave", column, 0.0)]
        return [Term("log", column, 0.0), Term("plain", column, 0.0)]

    def _design(self, features: Floats) -> Floats:
        return np.column_stack([_column(term, features[:, term.column]) for term in self.terms])


def _column(term: Term, values: Floats) -> Floats:
    if term.kind == "is":
        return np.asarray(values == term.value, dtype=np.float64)
    bounded: Floats = np.clip(values, 0.0, LARGEST)
    if term.kind == "log":
        logarithms: Floats = np.log1p(bounded)
        return logarithms
    if term.kind == "octave":
        return np.array([octave(value) for value in bounded.tolist()], dtype=np.float64)
    return bounded
