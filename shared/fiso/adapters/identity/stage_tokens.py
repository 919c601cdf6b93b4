"""Stage tokens: what identifies FISO at endpoints with one way of authentication, of whoever it is there: as the
catalog that was read last says, else as the stage was deployed. Nothing is loaded while it is nobody."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from fiso.domain.endpoint import Authentication, Endpoint
from fiso_client.core.failures import Failure, ProviderError

if TYPE_CHECKING:
    from fiso.adapters.identity.exchange import TokensByAudience

Who = TypeVar("Who")


class StageTokens(Generic[Who]):
    """`make` gives the tokens of somebody; `own` is who FISO is where no catalog says it."""

    def __init__(
        self, authentication: Authentication, make: "Callable[[Who], TokensByAudience]", own: Who | None
    ) -> None:
        self._authentication, self._make, self._own = authentication, make, own
        self._is: Who | None = None
        self._tokens: TokensByAudience | None = None
        self.be(None)

    def be(self, who: Who | None) -> None:
        """From now on; tokens of somebody else before are let go."""
        wanted = who or self._own
        if wanted != self._is:
            self._tokens = self._make(wanted) if wanted else None
            self._is = wanted

    def headers(self, endpoint: Endpoint, *, timeout_s: float) -> Mapping[str, str]:
        if self._tokens is None:
            said = f"this stage has no identity for authentication {self._authentication}: fiso trust makes one"
            raise ProviderError(Failure.REFUSED, said)
        return self._tokens.headers(endpoint, timeout_s=timeout_s)

    def replaced(self, endpoint: Endpoint, refused: Mapping[str, str], *, timeout_s: float) -> Mapping[str, str] | None:
        return self._tokens.replaced(endpoint, refused, timeout_s=timeout_s) if self._tokens else None

    def due(self, endpoints: Iterable[Endpoint]) -> Sequence[Callable[[], object]]:
        return self._tokens.due(endpoints) if self._tokens else ()

    def forget(self) -> None:
        if self._tokens is not None:
            self._tokens.forget()
