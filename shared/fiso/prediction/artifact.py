"""Artifacts: a model's file, opened without trusting it. Standard library only: no scikit-learn, numpy or joblib.

The file is what `joblib.dump` writes for builtin containers, so `joblib.load` opens it anywhere; here its digest is
checked first and then an unpickler that knows no class or function, so that a hostile file cannot run code.
"""

import io
import pickle  # nosec B403
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256 as digest_of
from math import exp, isfinite
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from fiso.domain.errors import ModelRefused
from fiso.prediction import features
from fiso.prediction.ensemble import Ensemble, Forest

if TYPE_CHECKING:
    from fiso.prediction.linear import Linear

FORMAT = "fiso-trees/1"
LINEAR_FORMAT = "fiso-linear/1"
LARGEST_FILE_BYTES = 1_000_000
LATENCY, COST, SUCCESS = "execution_time_ms", "cost_usd", "success_probability"
TARGETS = (LATENCY, COST, SUCCESS)
SIZE_AT = features.NAMES.index("request_size_bytes")
LINKS = ("identity", "exp")
_LARGEST_EXPONENT = 50.0


class ModelOutput(NamedTuple):
    """What the model says of one candidate, uncorrected. `cost_usd` is None for a model trained without costs."""

    latency_ms: float
    cost_usd: float | None
    success_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A verified model. `targets` and `links` go with the ensemble's sums, in their order."""

    version: str
    is_synthetic: bool
    feature_names: tuple[str, ...]
    targets: tuple[str, ...]
    links: tuple[str, ...]
    ensemble: "Ensemble | Linear" = field(repr=False, compare=False)
    quantile_shares: tuple[float, ...] = ()
    quantiles: Callable[[], Ensemble] | None = field(default=None, repr=False, compare=False)
    """What says the quantiles of latency: built when first asked, since no decision asks."""
    places: tuple[int, int | None, int] = field(init=False, repr=False, compare=False)
    """Where the sums of latency, cost (None without) and success stand."""
    exponential: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Where sums are logarithms."""

    def __post_init__(self) -> None:
        where = {target: place for place, target in enumerate(self.targets)}
        object.__setattr__(self, "places", (where[LATENCY], where.get(COST), where[SUCCESS]))
        exponential = tuple(place for place, link in enumerate(self.links) if link == "exp")
        object.__setattr__(self, "exponential", exponential)

    def size_step(self, request_size_bytes: int) -> int:
        """The step of a request's size: within one the model tells no two requests apart by it."""
        return self.ensemble.step(SIZE_AT, request_size_bytes)

    def predict(self, row: Sequence[float]) -> ModelOutput:
        """Predict from a row in the order of `features.NAMES`, whichever of them the model was trained on."""
        return self.predict_all([row])[0]

    def predict_all(self, rows: Sequence[Sequence[float]]) -> list[ModelOutput]:
        """Predict from at least one row, all of them cheaper than one by one."""
        return [self._output(sums) for sums in self.ensemble.predict_all(rows)]

    def latency_quantiles(self, row: Sequence[float]) -> Mapping[float, float]:
        """By share, in milliseconds, ascending; empty for a model that was trained without."""
        if self.quantiles is None:
            return {}
        said = sorted(exp(min(_LARGEST_EXPONENT, value)) for value in self.quantiles().predict(row))
        return dict(zip(self.quantile_shares, said, strict=True))

    def _output(self, sums: list[float]) -> ModelOutput:
        for place in self.exponential:
            sums[place] = exp(min(_LARGEST_EXPONENT, sums[place]))
        latency, cost, success = self.places
        return ModelOutput(
            latency_ms=sums[latency],
            cost_usd=None if cost is None else sums[cost],
            success_probability=min(1.0, max(0.0, sums[success])),
        )


def read(data: bytes, *, sha256: str) -> Model:
    """The model in a file whose digest is known. `ModelRefused` for anything that must not serve."""
    if not data:
        raise ModelRefused("the artifact is missing or empty")
    if len(data) > LARGEST_FILE_BYTES:
        raise ModelRefused(f"the artifact has {len(data)} bytes, more than {LARGEST_FILE_BYTES}")
    # Before the unpickler sees a byte: an attacker who can write the bucket must not reach even a parser.
    found = digest_of(data).hexdigest()
    if found != sha256:
        raise ModelRefused(f"the artifact's sha256 is {found[:12]}…, the pointer says {sha256[:12]}…")
    return _model(_Document(_builtins(data)))


class _BuiltinsOnly(pickle.Unpickler):  # nosec B301
    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")


def _builtins(data: bytes) -> object:
    try:
        return _BuiltinsOnly(io.BytesIO(data)).load()
    except _DAMAGE as error:
        raise ModelRefused(f"the artifact does not hold plain containers: {error}") from error


_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    MemoryError,
    OverflowError,
)
"""What the unpickler raises over bytes that are no pickle of builtin containers."""


class _Document:
    def __init__(self, content: object) -> None:
        if not isinstance(content, dict):
            raise ModelRefused(f"the artifact holds {type(content).__name__}, not the fields of a model")
        self._content: Mapping[object, object] = content

    def text(self, name: str, allowed: Sequence[str] = ()) -> str:
        value = self._content.get(name)
        if not isinstance(value, str) or not value or (allowed and value not in allowed):
            found = repr(value[:60]) if isinstance(value, str) else type(value).__name__
            raise ModelRefused(f"{name} is {found}, not " + (" or ".join(allowed) or "text"))
        return value

    def number(self, name: str) -> float:
        value = self._content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ModelRefused(f"{name} is not a finite number")
        return float(value)

    def flag(self, name: str) -> bool:
        value = self._content.get(name)
        if not isinstance(value, bool):
            raise ModelRefused(f"{name} is not true or false")
        return value

    def has(self, name: str) -> bool:
        return name in self._content

    def items(self, name: str) -> Sequence[object]:
        value = self._content.get(name)
        if not isinstance(value, list):
            raise ModelRefused(f"{name} is not a list")
        return value

    def packed(self, name: str, typecode: str) -> bytes:
        value = self._content.get(name)
        if not (isinstance(value, tuple) and len(value) == 2 and value[0] == typecode and isinstance(value[1], bytes)):
            raise ModelRefused(f"{name} is not an array of type {typecode}")
        return value[1]


def _model(document: _Document) -> Model:
    form = document.text("format", [FORMAT, LINEAR_FORMAT])
    names = [name for name in document.items("feature_names") if isinstance(name, str) and name in features.NAMES]
    if not names or len(set(names)) != len(document.items("feature_names")):
        raise ModelRefused(f"feature_names are not distinct names of {', '.join(features.NAMES)}")
    parts = [_Document(part) for part in document.items("targets")]
    targets = tuple(part.text("name", TARGETS) for part in parts)
    if len(set(targets)) != len(targets) or not {LATENCY, SUCCESS} <= set(targets):
        raise ModelRefused(f"targets are {list(targets)}: {LATENCY} and {SUCCESS} are needed, each once")
    inputs = document.text("inputs", ["float64", "float32"])
    shares, quantiles = _quantiles(document, names)
    return Model(
        version=document.text("version"),
        is_synthetic=document.flag("is_synthetic"),
        feature_names=tuple(names),
        targets=targets,
        links=tuple(part.text("link", LINKS) for part in parts),
        ensemble=_ensemble(parts, names, inputs=inputs) if form == FORMAT else _linear(parts, names),
        quantile_shares=shares,
        quantiles=quantiles,
    )


def _quantiles(document: _Document, names: Sequence[str]) -> tuple[tuple[float, ...], Callable[[], Ensemble] | None]:
    if not document.has("quantiles"):
        return (), None
    parts = [_Document(part) for part in document.items("quantiles")]
    return tuple(part.number("share") for part in parts), cache(lambda: _ensemble(parts, names, inputs="float64"))


def _linear(parts: Sequence[_Document], names: Sequence[str]) -> "Linear":
    from fiso.prediction.linear import KINDS, Linear, Term  # no decision by trees needs it

    columns = [features.NAMES.index(name) for name in names]
    try:
        terms = [(str(kind), int(at), float(value)) for kind, at, value in map(_three, parts[0].items("terms"))]
        if any(kind not in KINDS or not 0 <= at < len(columns) for kind, at, _ in terms):
            raise ValueError("a term is of no kind or feature that is known")
        return Linear(
            terms=tuple(Term(kind, columns[at], value) for kind, at, value in terms),
            bases=tuple(part.number("base") for part in parts),
            weights=tuple(tuple(_floats(part.packed("weights", "d"))) for part in parts),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelRefused(f"the linear terms are no whole model: {error}") from error


def _three(term: object) -> Sequence[float | str]:
    if not isinstance(term, list) or len(term) != 3:
        raise ValueError("a term is not three values")
    return term


def _ensemble(parts: Sequence[_Document], names: Sequence[str], *, inputs: str) -> Ensemble:
    forests = [
        Forest(
            base=part.number("base"),
            features=array("b", part.packed("features", "b")),
            numbers=_floats(part.packed("numbers", "d")),
        )
        for part in parts
    ]
    columns = [features.NAMES.index(name) for name in names]
    try:
        return Ensemble(forests, columns=columns, rounds_inputs=inputs == "float32")
    except ValueError as error:
        raise ModelRefused(f"the trees are damaged: {error}") from error


def _floats(data: bytes) -> "array[float]":
    """Little-endian float64s."""
    if len(data) % 8:
        raise ModelRefused(f"numbers has {len(data)} bytes, not a multiple of 8")
    floats = array("d", data)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats
