import os
import pickle
from hashlib import sha256
from math import exp
from pathlib import Path

import joblib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.domain.errors import ModelRefused
from fiso.prediction import artifact, features
from fiso.prediction.ensemble import LEAF
from tests.models import a_target, an_artifact, dumped, opened, packaged


def a_row(**changes: float) -> tuple[float, ...]:
    return tuple(changes.get(name, 0.0) for name in features.NAMES)


def refusal(content: object) -> str:
    data = dumped(content)
    with pytest.raises(ModelRefused) as refused:
        artifact.read(data, sha256=sha256(data).hexdigest())
    return str(refused.value)


def test_a_model_predicts_its_targets() -> None:
    model = opened(an_artifact())
    output = model.predict(a_row(request_size_bytes=1000.0))
    assert (output.latency_ms, output.cost_usd, output.success_probability) == (100.0, 0.02, 0.99)
    assert model.predict(a_row(request_size_bytes=1001.0)).latency_ms == 300.0


@pytest.mark.parametrize(
    ("leaf", "link", "success", "latency_ms", "chance"),
    [(0.0, "exp", 1.7, 1.0, 1.0), (1e300, "exp", 0.5, exp(50), 0.5), (3.0, "identity", -0.2, 3.0, 0.0)],
)
def test_a_logarithm_is_turned_back_and_success_is_a_probability_whatever_the_trees_say(
    leaf: float, link: str, success: float, latency_ms: float, chance: float
) -> None:
    targets = [a_target(artifact.LATENCY, [(LEAF, leaf)], link=link), a_target(artifact.SUCCESS, [(LEAF, success)])]
    output = opened(an_artifact(targets=targets)).predict(a_row())
    assert (output.latency_ms, output.cost_usd, output.success_probability) == (latency_ms, None, chance)


def test_joblib_opens_the_file_and_finds_builtin_containers_only(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(packaged().artifact)
    found = joblib.load(path)

    def types_in(value: object) -> set[type]:
        if isinstance(value, dict):
            return {dict}.union(*(types_in(part) for pair in value.items() for part in pair))
        if isinstance(value, list | tuple):
            return {type(value)}.union(*(types_in(part) for part in value))
        return {type(value)}

    assert types_in(found) <= {dict, list, tuple, str, bytes, float, int, bool}


def test_the_digest_is_checked_before_anything_is_opened() -> None:
    with pytest.raises(ModelRefused, match="sha256"):
        artifact.read(_hostile("echo"), sha256="0" * 64)


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "missing"), (b"x" * (artifact.LARGEST_FILE_BYTES + 1), "more than"), (b"\x00", "containers")],
)
def test_missing_oversized_and_meaningless_files_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ModelRefused, match=why):
        artifact.read(data, sha256=sha256(data).hexdigest())


class _Payload:
    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self._command,)


def _hostile(command: str) -> bytes:
    return pickle.dumps(_Payload(command))


def test_a_hostile_file_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    data = _hostile(f"touch {trace}")
    with pytest.raises(ModelRefused, match="system"):
        artifact.read(data, sha256=sha256(data).hexdigest())
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "list, not the fields of a model"),
        (an_artifact(format="other/1"), "format is 'other/1'"),
        (an_artifact(version=""), "version"),
        (an_artifact(is_synthetic="yes"), "is_synthetic"),
        (an_artifact(inputs="float16"), "inputs"),
        (an_artifact(feature_names=["phase_of_the_moon"]), "feature_names"),
        (an_artifact(feature_names=["memory_mb", "memory_mb"]), "feature_names"),
        (an_artifact(feature_names=[]), "feature_names"),
        (an_artifact(feature_names={"memory_mb": 1}), "feature_names"),
        (an_artifact(targets=[a_target(artifact.LATENCY, [(LEAF, 1.0)])]), "needed"),
        (an_artifact(targets=[a_target(artifact.LATENCY, [(LEAF, 1.0)])] * 2), "needed"),
        (an_artifact(targets=[a_target("elegance", [(LEAF, 1.0)])]), "elegance"),
        (an_artifact(targets=[[1]]), "list, not the fields"),
        (an_artifact(targets=None), "targets is not a list"),
    ],
)
def test_a_foreign_schema_is_refused_with_its_reason(content: object, why: str) -> None:
    assert why in refusal(content)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"base": float("nan")}, "base"),
        ({"base": True}, "base"),
        ({"link": "softplus"}, "link"),
        ({"features": ("b", b"\x05\xff\xff")}, "damaged"),
        ({"features": ("b", b"\x00\xff")}, "damaged"),
        ({"features": b"\x00"}, "array of type b"),
        ({"numbers": ("f", b"\x00" * 24)}, "array of type d"),
        ({"numbers": ("d", b"\x00" * 23)}, "multiple of 8"),
        ({"numbers": ("d", b"\xff" * 24)}, "damaged"),
    ],
)
def test_damaged_trees_are_refused_with_their_reason(change: dict[str, object], why: str) -> None:
    latency, *others = list(an_artifact()["targets"])  # type: ignore[call-overload]
    assert why in refusal(an_artifact(targets=[latency | change, *others]))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_does_worse_than_a_refusal_or_other_numbers(data: st.DataObject) -> None:
    whole = bytearray(dumped(an_artifact()))
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        whole[data.draw(st.integers(min_value=0, max_value=len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(min_value=1, max_value=len(whole)))])
    try:
        model = artifact.read(damaged, sha256=sha256(damaged).hexdigest())
    except ModelRefused:
        return
    assert isinstance(model.predict(a_row()).latency_ms, float)
