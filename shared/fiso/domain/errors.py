"""What can go wrong, as a tree. Adapters raise `ProviderError` and `StoreError`; only handlers turn errors into HTTP.

FisoError
├── RequestError            the caller's fault: answered as its `status` (4xx), as `HttpError` has it
│   ├── MalformedRequest        400
│   ├── NotAuthenticated        401   one text for every reason; `reason` is for the log
│   ├── NotAllowed              403   a verified caller without `scope`
│   ├── LoginRefused            401   what a browser brought back does not make a login; `reason` is for the log
│   ├── ForeignForm             403   a form that no page of the console sent
│   ├── UnknownFunction         404
│   ├── UnknownPath             404   or nothing under this id
│   ├── MethodNotAllowed        405   `allow` lists those that are
│   ├── KeyInUse                409   a request with the same idempotency key is still running
│   ├── PayloadTooLarge         413
│   ├── LeaseTooLarge           413   more endpoints than a lease's token can carry; invoke it instead
│   ├── UriTooLong              414
│   ├── KeyReused               422   with another payload
│   ├── QuotaExceeded           429   `retry_after_s`, in whole seconds, is when the next has a chance
│   └── HeadersTooLarge         431
├── RoutingError            FISO could not get an answer
│   ├── EveryAttemptFailed      502   at least one ran
│   ├── AnswerTooLarge          502   the function answered more than Lambda can return
│   ├── RejectedByProvider      400   the cloud itself refused the request as malformed or too large; nothing ran
│   ├── NothingAvailable        503   nothing eligible, or nothing can have run
│   │   └── NoCatalog           503   no catalog could be read
│   ├── LeasingNotSetUp         503   no key to sign leases with
│   ├── TokensNotSetUp          503   nothing here can check a token, so nobody who shows one is let in
│   ├── IdempotencyUnavailable  503   a key was given, and nobody can tell whether it was used
│   ├── DeadlinePassed          504
│   └── UnknownOutcome          504   it may have run, must not be repeated, and nobody knows how it ended
├── ProviderError           one attempt failed (`fiso_client.core.failures`)
├── StoreError              a store did not do what it was asked
│   ├── StoreUnavailable        down, throttled or too slow
│   ├── StoreNotSetUp           what it is reached by is missing or forbidden: trying again does not help
│   ├── AllowanceSpent          a tenant has as much in it as it may have
│   └── WriteConflict           the condition of a write did not hold
├── LeaseRefused            a lease's token, or an outcome under it, that is not accepted (`code` says why)
├── ModelRefused            a model artifact that is missing, damaged, or of a foreign schema
├── InvalidRecord           a logged record that does not parse
│   └── UnmarkedRecord          a spilled one that FISO did not mark, or not so
├── BadAddress              an address that no endpoint may have
└── InvalidCatalog          a catalog or policy that must not be published
"""

from typing import ClassVar

from fiso_client.core.failures import Fault, FisoError


class HttpError(FisoError):
    """An error with an HTTP answer of its own: the status that says so, and its short name."""

    status: ClassVar[int]
    title: ClassVar[str]

    def __init_subclass__(cls, *, status: int | None = None, title: str | None = None) -> None:
        cls.status, cls.title = status or cls.status, title or cls.title


class RequestError(HttpError, status=400, title="Bad request"):
    """The caller's fault."""


class MalformedRequest(RequestError):
    """The request cannot be understood."""


class NotAuthenticated(RequestError, status=401, title="Not authenticated"):
    """The caller is not authenticated. What is answered never says why; `reason` does, for the log only."""

    def __init__(self, reason: str) -> None:
        super().__init__("this needs an authenticated caller")
        self.reason = reason


class NotAllowed(RequestError, status=403, title="Not allowed"):
    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs the scope {scope}")
        self.scope = scope


class LoginRefused(RequestError, status=401, title="Not logged in"):
    def __init__(self, reason: str) -> None:
        super().__init__("the login did not succeed; begin again")
        self.reason = reason


class ForeignForm(RequestError, status=403, title="Not sent from here"): ...


class UnknownFunction(RequestError, status=404, title="Unknown function"): ...


class UnknownPath(RequestError, status=404, title="Not found"): ...


class MethodNotAllowed(RequestError, status=405, title="Method not allowed"):
    def __init__(self, detail: str, *, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class PayloadTooLarge(RequestError, status=413, title="Payload too large"): ...


class LeaseTooLarge(RequestError, status=413, title="Lease too large"): ...


class QuotaExceeded(RequestError, status=429, title="Quota exceeded"):
    """The tenant sends more than its quota; `retry_after_s` is when the next request has a chance, in whole seconds."""

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class KeyInUse(RequestError, status=409, title="Idempotency key in use"):
    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class KeyReused(RequestError, status=422, title="Idempotency key reused"): ...


class UriTooLong(RequestError, status=414, title="URI too long"): ...


class HeadersTooLarge(RequestError, status=431, title="Headers too large"): ...


class RoutingError(HttpError, status=502, title="Bad gateway"):
    """FISO could not get an answer. `verdict` is whose fault that is, where an attempt showed it."""

    retry_after_s: int | None = None
    unknown_outcome: bool | None = None
    verdict: Fault | None = None

    def __init_subclass__(
        cls,
        *,
        status: int | None = None,
        title: str | None = None,
        retry_after_s: int | None = None,
        unknown_outcome: bool | None = None,
    ) -> None:
        super().__init_subclass__(status=status, title=title)
        cls.retry_after_s = cls.retry_after_s if retry_after_s is None else retry_after_s
        cls.unknown_outcome = cls.unknown_outcome if unknown_outcome is None else unknown_outcome


class EveryAttemptFailed(RoutingError, title="Every attempt failed", retry_after_s=2): ...


class AnswerTooLarge(RoutingError, title="Answer too large"):
    verdict = Fault.FUNCTION


class RejectedByProvider(RoutingError, status=400, title="Rejected by the provider"): ...


class NothingAvailable(RoutingError, status=503, title="No endpoint available", retry_after_s=2):
    verdict = Fault.CONFIGURATION


class NoCatalog(NothingAvailable, title="No catalog"):
    """Nobody knows what is eligible: not that nothing is."""


class LeasingNotSetUp(RoutingError, status=503, title="Leasing not set up"): ...


class TokensNotSetUp(RoutingError, status=503, title="Tokens not set up"): ...


class IdempotencyUnavailable(RoutingError, status=503, title="Idempotency unavailable", retry_after_s=2): ...


class DeadlinePassed(RoutingError, status=504, title="Deadline passed"):
    def __init__(self, detail: str, *, unknown_outcome: bool) -> None:
        super().__init__(detail)
        self.unknown_outcome = unknown_outcome


class UnknownOutcome(RoutingError, status=504, title="Outcome unknown", unknown_outcome=True): ...


class StoreError(FisoError):
    """A store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store is down, throttled or too slow. The write may be repeated."""


class StoreNotSetUp(StoreError):
    """What the store is reached by (a secret, say) is missing, forbidden or no good, until somebody sets it right."""


class AllowanceSpent(StoreError):
    """A tenant keeps as much in the store as it may. Nothing was written."""


class WriteConflict(StoreError):
    """The condition of a conditional write did not hold."""


class LeaseRefused(FisoError):
    """A lease's token, or an outcome under it, that is not accepted. `code` is for machines, the detail for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ModelRefused(FisoError):
    """A model artifact that must not serve: missing, damaged, unverified, or of a foreign schema."""


class InvalidRecord(FisoError):
    """A logged record that does not parse."""


class UnmarkedRecord(InvalidRecord):
    """A spilled record without FISO's own mark: somebody else's, or of a stage without a key."""


class InvalidCatalog(FisoError):
    """A catalog or policy that must not be published. The message names the place and the way out."""


class BadAddress(FisoError):
    """An address that no endpoint may have. The message goes on after the address' place: "must be https"."""
