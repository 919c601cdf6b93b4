"""The exported model equals the estimator it was made from, on any row and for every family."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.learning.linear import LinearEstimator
from fiso.learning.train import Family
from fiso.prediction import artifact
from fiso.prediction.artifact import COST, LATENCY, SUCCESS, Model
from fiso.prediction.features import NAMES
from tests.models import packaged, trained

values = st.floats(min_value=-1e9, max_value=1e9) | st.integers(min_value=0, max_value=23).map(float)
rows = st.tuples(*[values] * len(NAMES))


def served(family: Family) -> Model:
    files = packaged(family)
    return artifact.read(files.artifact, sha256=files.pointer.sha256)


MODELS = {family: served(family) for family in Family}


@pytest.mark.parametrize("family", Family)
@settings(max_examples=150, deadline=None)
@given(row=rows)
def test_the_exported_model_equals_the_estimator(family: Family, row: tuple[float, ...]) -> None:
    output = MODELS[family].predict(row)
    estimators = trained(family)
    seen = np.array([[row[NAMES.index(name)] for name in estimators.feature_names]])
    expected = {fit.target: float(fit.predict(seen)[0]) for fit in estimators.fits}
    assert output.latency_ms == pytest.approx(expected[LATENCY], rel=1e-9)
    assert output.cost_usd == pytest.approx(expected[COST], rel=1e-9)
    assert output.success_probability == pytest.approx(min(1.0, max(0.0, expected[SUCCESS])), rel=1e-9)


@pytest.mark.parametrize("family", Family)
@settings(max_examples=100, deadline=None)
@given(choice=st.randoms(use_true_random=False))
def test_a_value_on_a_threshold_falls_to_the_same_side(family: Family, choice: Random) -> None:
    """Inputs of trained rows are what thresholds lie between; thresholds themselves are the hardest inputs."""
    estimators = trained(family)
    estimator = estimators.fit_of(LATENCY).estimator
    if isinstance(estimator, LinearEstimator):
        thresholds = [term.value for term in estimator.terms] + [1023.0, 1024.0]
    elif family is Family.FOREST:
        tree = choice.choice(estimator.estimators_).tree_
        thresholds = [float(value) for value in tree.threshold[tree.children_left >= 0]]
    else:
        nodes = choice.choice(estimator._predictors)[0].nodes
        thresholds = [float(value) for value in nodes["num_threshold"][nodes["is_leaf"] == 0]]
    row = [choice.choice(thresholds) for _ in NAMES]
    seen = np.array([[row[NAMES.index(name)] for name in estimators.feature_names]])
    expected = float(estimators.fit_of(LATENCY).predict(seen)[0])
    assert MODELS[family].predict(row).latency_ms == pytest.approx(expected, rel=1e-9)
