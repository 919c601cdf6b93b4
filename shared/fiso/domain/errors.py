"""What can go wrong, as a tree. Adapters raise `ProviderError` and `StoreError`; only handlers turn errors into HTTP.

FisoError
├── RequestError            the caller's fault: answered as its `status` (4xx)
│   ├── MalformedRequest        400
│   ├── NotAuthenticated        401   one text for every reason; `reason` is for the log
│   ├── NotAllowed              403   a verified caller without the scope
│   ├── LoginRefused            401   what a browser brought back does not make a login
│   ├── ForeignForm             403   a form that no page of ours sent
│   ├── UnknownFunction         404
│   ├── UnknownPath             404
│   ├── MethodNotAllowed        405
│   ├── KeyInUse                409
│   ├── PayloadTooLarge         413
│   ├── LeaseTooLarge           413
│   ├── UriTooLong              414
│   ├── UnsupportedContent      415
│   ├── KeyReused               422
│   ├── QuotaExceeded           429
│   └── HeadersTooLarge         431
├── RoutingError            FISO could not get an answer
│   ├── EveryAttemptFailed      502   at least one ran
│   ├── AnswerTooLarge          502   the function answered more than Lambda can return
│   ├── RejectedByProvider      400   the cloud itself refused the request as malformed or too large; nothing ran
│   ├── NothingAvailable        503   nothing eligible, or nothing can have run
│   ├── LeasingNotSetUp         503   no key to sign leases with
│   ├── TokensNotSetUp          503   nothing here can check a token, so nobody who shows one is let in
│   ├── IdempotencyUnavailable  503   a key was given, and nobody can tell whether it was used
│   ├── DeadlinePassed          504
│   └── UnknownOutcome          504   it may have run, must not be repeated, and nobody knows how it ended
├── ProviderError           one attempt failed (`fiso_client.core.failures`)
├── StoreError              a store did not do what it was asked
│   ├── StoreUnavailable        down, throttled or too slow
│   └── WriteConflict           the condition of a write did not hold
├── LeaseRefused            a lease's token, or an outcome under it, that is not accepted (`code` says why)
├── ModelRefused            a model artifact that is missing, damaged, or of a foreign schema
├── InvalidRecord           a logged record that does not parse
├── BadAddress              an address that no endpoint may have
└── InvalidCatalog          a catalog or policy that must not be published
"""

from typing import ClassVar

from fiso_client.core.failures import FisoError


class RequestError(FisoError):
    """The caller's fault. `status` is the HTTP status that says so, `title` its short name."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"


class MalformedRequest(RequestError):
    """The request cannot be understood."""


class NotAuthenticated(RequestError):
    """The caller is not authenticated. What is answered never says why; `reason` does, for the log only."""

    status = 401
    title = "Not authenticated"

    def __init__(self, reason: str) -> None:
        super().__init__("this needs an authenticated caller")
        self.reason = reason


class NotAllowed(RequestError):
    """The caller is known and may not do this: `scope` is what is missing."""

    status = 403
    title = "Not allowed"

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs the scope {scope}")
        self.scope = scope


class LoginRefused(RequestError):
    """What a browser brought back from the issuer does not make a login. `reason` is for the log only."""

    status = 401
    title = "Not logged in"

    def __init__(self, reason: str) -> None:
        super().__init__("the login did not succeed; begin again")
        self.reason = reason


class ForeignForm(RequestError):
    """A form that was not sent from a page of the console by the person who is logged in."""

    status = 403
    title = "Not sent from here"


class UnknownFunction(RequestError):
    """No function of this name is in the catalog."""

    status = 404
    title = "Unknown function"


class UnknownPath(RequestError):
    """No such path, or nothing under this id."""

    status = 404
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The path exists, the method does not. `allow` lists those that do."""

    status = 405
    title = "Method not allowed"

    def __init__(self, detail: str, *, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class PayloadTooLarge(RequestError):
    """The request is larger than FISO can pass on."""

    status = 413
    title = "Payload too large"


class LeaseTooLarge(RequestError):
    """The function has more endpoints than a lease's token can carry; it can still be invoked through FISO."""

    status = 413
    title = "Lease too large"


class UnsupportedContent(RequestError):
    """A content type or transfer that FISO does not pass on."""

    status = 415
    title = "Unsupported content"


class QuotaExceeded(RequestError):
    """The tenant sends more than its quota; `retry_after_s` is when the next request has a chance, in whole seconds."""

    status = 429
    title = "Quota exceeded"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class KeyInUse(RequestError):
    """A request with the same idempotency key is still running. `retry_after_s` is when to ask again."""

    status = 409
    title = "Idempotency key in use"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class KeyReused(RequestError):
    """The idempotency key was used with another payload."""

    status = 422
    title = "Idempotency key reused"


class UriTooLong(RequestError):
    """Path and query are longer than every cloud takes."""

    status = 414
    title = "URI too long"


class HeadersTooLarge(RequestError):
    """More or longer headers than FISO reads."""

    status = 431
    title = "Headers too large"


class RoutingError(FisoError):
    """FISO could not get an answer for this request."""

    status: ClassVar[int] = 502
    title: ClassVar[str] = "Bad gateway"
    retry_after_s: int | None = None
    unknown_outcome: bool | None = None


class EveryAttemptFailed(RoutingError):
    """Every attempt failed and at least one may have run."""

    title = "Every attempt failed"
    retry_after_s = 2


class AnswerTooLarge(RoutingError):
    """The function ran and answered more than can go back."""

    title = "Answer too large"


class RejectedByProvider(RoutingError):
    """The cloud refused the request itself, before any function ran: another one would as well."""

    status = 400
    title = "Rejected by the provider"


class NothingAvailable(RoutingError):
    """No endpoint is eligible, or none can have run."""

    status = 503
    title = "No endpoint available"
    retry_after_s = 2


class LeasingNotSetUp(RoutingError):
    """There is no key to sign leases with. The message names what to set."""

    status = 503
    title = "Leasing not set up"


class TokensNotSetUp(RoutingError):
    """A token was shown, and what checks tokens is not installed. What to do about it is in the log."""

    status = 503
    title = "Tokens not set up"


class IdempotencyUnavailable(RoutingError):
    """A key was given, and the store that knows the keys is unavailable. Nothing was run."""

    status = 503
    title = "Idempotency unavailable"
    retry_after_s = 2


class DeadlinePassed(RoutingError):
    """The deadline passed. `unknown_outcome` says that the function may have run."""

    status = 504
    title = "Deadline passed"

    def __init__(self, detail: str, *, unknown_outcome: bool) -> None:
        super().__init__(detail)
        self.unknown_outcome = unknown_outcome


class UnknownOutcome(RoutingError):
    """The function may have run, nobody knows how it ended, and the policy does not allow to run it again."""

    status = 504
    title = "Outcome unknown"
    unknown_outcome = True


class StoreError(FisoError):
    """A store did not do what it was asked."""


class StoreUnavailable(StoreError):
    """The store is down, throttled or too slow. The write may be repeated."""


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


class InvalidCatalog(FisoError):
    """A catalog or policy that must not be published. The message names the place and the way out."""


class BadAddress(FisoError):
    """An address that no endpoint may have. The message goes on after the address' place: "must be https"."""
