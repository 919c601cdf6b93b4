"""The kill switch behind the API: `PUT` and `DELETE /api/policies/{function}/pin`, for callers that hold `fiso:admin`.

The console changes nothing by itself: it says who ordered what to the keeper, which alone signs catalogs. A browser's
session orders nothing, since pages of functions may stand beside the console, in its own origin.
docs/decisions/0031-the-kill-switch.md
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from flask import Response, g, jsonify, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from fiso.domain.access import ANYONE, Claims, Scope
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.errors import ForeignForm, MalformedRequest, NotAllowed, StoreUnavailable, UnknownFunction
from fiso.domain.policy import Mode
from fiso.ports import Clock
from fiso.services.maintenance.switch import LONGEST_TEXT, ModeOrder

LONGEST = timedelta(days=366)
_OF_PIN, _OF_UNPIN = {"endpoint", "reason", "until", "for_s"}, {"mode", "reason"}

logger = logging.getLogger("fiso.console")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """`order` has the keeper do it; None where there is none."""

    order: Callable[[ModeOrder], Mapping[str, object]] | None
    clock: Clock

    def pin(self, function: str) -> Response:
        """Pin a function to `endpoint`, until an instant or `for_s` seconds where one is given."""
        return self.pin_by(_ordered_by(), function, _document(_OF_PIN))

    def pin_by(self, by: str, function: str, asked: Mapping[str, object]) -> Response:
        """The same by somebody whose right to it is known."""
        endpoint = asked.get("endpoint")
        if not isinstance(endpoint, str) or not endpoint:
            raise MalformedRequest("endpoint: must name the endpoint that every request goes to")
        return self._ordered(by, function, asked, endpoint=EndpointId(endpoint), until=self._until(asked))

    def unpin(self, function: str) -> Response:
        """Lift the pin: back to the mode from before it, or to `mode`."""
        return self.unpin_by(_ordered_by(), function, _document(_OF_UNPIN))

    def unpin_by(self, by: str, function: str, asked: Mapping[str, object]) -> Response:
        """The same by somebody whose right to it is known."""
        mode = asked.get("mode")
        if mode not in (None, Mode.ROUTE.value, Mode.OBSERVE.value):
            raise MalformedRequest("mode: must be route or observe")
        return self._ordered(by, function, asked, mode=Mode(str(mode)) if mode else None)

    def _until(self, asked: Mapping[str, object]) -> datetime | None:
        until, for_s, now = asked.get("until"), asked.get("for_s"), self.clock()
        if until is not None and for_s is not None:
            raise MalformedRequest("until and for_s: one of them")
        try:
            if for_s is not None:
                if isinstance(for_s, bool) or not isinstance(for_s, int | float):
                    raise ValueError
                moment = now + timedelta(seconds=for_s)
            elif until is not None:
                moment = datetime.fromisoformat(str(until))
            else:
                return None
            if moment.tzinfo is None or not now < moment <= now + LONGEST:
                raise ValueError
        except (ValueError, OverflowError) as error:
            raise MalformedRequest("until: an instant with its zone, or for_s seconds, within a year") from error
        return moment.astimezone(UTC)

    def _ordered(
        self,
        by: str,
        function: str,
        asked: Mapping[str, object],
        *,
        endpoint: EndpointId | None = None,
        mode: Mode | None = None,
        until: datetime | None = None,
    ) -> Response:
        if self.order is None:
            raise StoreUnavailable("this console knows no keeper: deploy the stage again")
        reason = asked.get("reason", "")
        if not isinstance(reason, str):
            raise MalformedRequest("reason: must be text")
        name = FunctionName(function)
        try:
            order = ModeOrder(function=name, by=by, endpoint=endpoint, mode=mode, reason=reason.strip(), until=until)
        except ValueError as error:
            raise MalformedRequest(str(error)) from error
        answered = self.order(order)
        told = {
            "function": function,
            "by": by,
            "endpoint": endpoint,
            "reason": order.reason,
            "problems": answered.get("refused"),
        }
        logger.warning("mode ordered", extra=told)
        if "refused" in answered:
            _refuse(answered)
        return jsonify({"function": function, **answered})


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The same from a page. A session alone orders nothing (docs/decisions/0031): where there are sessions, the form
    shows a token of its own with `fiso:admin`. It comes from a page of the console itself, or is refused."""

    switch: Switch

    def sent(self, function: str) -> AnyResponse:
        """The order is given, and the function's page shown again."""
        if urlsplit(request.headers.get("Origin", "")).netloc != request.host:
            raise ForeignForm("this form was not sent from a page of the console")
        caller: Claims = g.get("caller", ANYONE)
        if g.get("person") is not None:
            caller = g.redeem(request.form.get("token", "").strip())
        caller.require(Scope.ADMIN)
        by, fields = caller.subject[:LONGEST_TEXT], {name: value for name, value in request.form.items() if value}
        if fields.get("does") == "unpin":
            self.switch.unpin_by(by, function, {"reason": fields.get("reason", "")})
        else:
            asked: dict[str, object] = {"endpoint": fields.get("endpoint", ""), "reason": fields.get("reason", "")}
            if hours := fields.get("hours"):
                asked["for_s"] = _seconds(hours)
            self.switch.pin_by(by, function, asked)
        return redirect(f"../{quote(function)}", code=303)


def _seconds(hours: str) -> float:
    try:
        return float(hours) * 3600
    except ValueError as error:
        raise MalformedRequest("hours: must be a number") from error


def _refuse(answered: Mapping[str, object]) -> None:
    kinds = {400: MalformedRequest, 404: UnknownFunction}
    status = answered.get("status")
    kind = kinds.get(status, StoreUnavailable) if isinstance(status, int) else StoreUnavailable
    raise kind(str(answered["refused"]))


def _ordered_by() -> str:
    """Who orders, for the audit: only of a program that shows a token or a signature, never of a page's session."""
    caller: Claims = g.get("caller", ANYONE)
    caller.require(Scope.ADMIN)
    if g.get("person") is not None:
        raise NotAllowed(f"{Scope.ADMIN} (shown by a token or a signature, not by a browser's session)")
    return caller.subject[:LONGEST_TEXT]


def _document(known: set[str]) -> Mapping[str, object]:
    """The body as an object with known keys alone; an empty body is an empty one."""
    try:
        document = json.loads(request.get_data() or b"{}")
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("the body must be JSON") from error
    if not isinstance(document, dict) or (strange := sorted(document.keys() - known)):
        what = f"unknown key {strange[0]!r:.80}, " if isinstance(document, dict) else ""
        raise MalformedRequest(f"{what}the body is an object with {', '.join(sorted(known))}")
    return document
