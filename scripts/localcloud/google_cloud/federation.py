"""Federation: Google's token service for who comes from AWS. What is shown is a signed request that asks AWS who its
signer is; it is sent on to AWS, and what AWS answers is held against the pool's provider: account, attribute mapping
and condition, of whose language (CEL) these forms are known and every other one is refused.

google.aip.dev/auth/4117; cloud.google.com/iam/docs/workload-identity-federation-with-other-clouds; its errors are
OAuth's (RFC 8693), in the words that Google has for them.
"""

import http.client
import json
import re
import secrets
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree  # nosec B405: reads the local AWS's own answers

from localcloud.google_cloud.handlers import Call, answers
from localcloud.google_cloud.world import Document, Refused

EXCHANGE = "/sts.googleapis.com/v1/token"
_OAUTH = "urn:ietf:params:oauth"
_WANTED = {
    "grantType": f"{_OAUTH}:grant-type:token-exchange",
    "requestedTokenType": f"{_OAUTH}:token-type:access_token",
    "subjectTokenType": "urn:ietf:params:aws:token-type:aws4_request",
}
_TARGET = "x-goog-cloud-target-resource"
_PROVIDER = re.compile(r"//iam\.googleapis\.com/(projects/(\d+)/(.+)/providers/[a-z0-9-]+)")
_ASKED = "Action=GetCallerIdentity&Version=2011-06-15"
_AWS = re.compile(r"sts(\.[a-z0-9-]+)?\.amazonaws\.com")
_MAPPED = re.compile(r"assertion\.(arn|account|userid)(?:\.extract\('([^'{]*)\{\w+\}([^'{]*)'\))?")
_CONDITION = re.compile(r"(attribute\.\w+|google\.subject) (?:in \[((?:'[^']*'(?:, )?)+)\]|== '([^']*)')")


class ExchangeRefused(Refused):
    """In OAuth's form."""

    @property
    def document(self) -> Document:
        return {"error": self.status, "error_description": self.message}


def _bad(error: str, said: str) -> ExchangeRefused:
    return ExchangeRefused(400, error, said)


@answers("sts.token")
def exchange(call: Call) -> Document:
    """`v1/token`."""
    for name, wanted in _WANTED.items():
        if call.body.get(name) != wanted:
            raise _bad("invalid_request", f"Invalid value for {name}.")
    pool, provider = _provider(call, call.body.get("audience", ""))
    arn, account = _asked_of_aws(call, call.body.get("subjectToken", ""))
    if provider["aws"]["accountId"] != account:
        raise _bad("invalid_grant", "The AWS account of the caller is not the one that is configured in the provider.")
    mapped = _mapped(provider, {"arn": arn, "account": account, "userid": ""})
    if not _holds(str(provider.get("attributeCondition", "")), mapped):
        raise _bad("unauthorized_client", "The given credential is rejected by the attribute condition.")
    base = f"//iam.googleapis.com/{pool}"
    who = [f"principal:{base}/subject/{mapped['google.subject']}", f"principalSet:{base}/*"]
    who += [f"principalSet:{base}/{name}/{value}" for name, value in mapped.items() if name != "google.subject"]
    token = f"ya29.d.{secrets.token_urlsafe(32)}"
    call.world.bearers[token] = (tuple(who), call.world.clock() + call.world.lives_s)
    kind = {"issued_token_type": f"{_OAUTH}:token-type:access_token", "token_type": "Bearer"}  # nosec B105
    return {"access_token": token, "expires_in": call.world.lives_s, **kind}


def _provider(call: Call, audience: str) -> tuple[str, Document]:
    """The pool's full name by the project's number, and its provider."""
    found = _PROVIDER.fullmatch(audience)
    by_number = {number: name for name, number in call.world.projects.items()}
    if found is not None and found[2] in by_number:
        own = f"projects/{by_number[found[2]]}/{found[1].split('/', 2)[2]}"
        parts = [call.world.things.get(f"iam/{name}") for name in (own.rpartition("/providers/")[0], own)]
        if all(each and each["state"] == "ACTIVE" and not each.get("disabled") for each in parts) and parts[1]:
            return f"projects/{found[2]}/{found[3]}", parts[1]
    said = (
        'The target service indicated by the "audience" parameters is invalid. This might either be because the pool '
    )
    raise _bad("invalid_target", said + "or provider is disabled or deleted or because it doesn't exist.")


def _asked_of_aws(call: Call, subject: str) -> tuple[str, str]:
    """ARN and account, as AWS answers the request that was shown."""
    try:
        shown = json.loads(unquote(subject))
        headers = {row["key"].lower(): str(row["value"]) for row in shown["headers"]}
        url, method = urlsplit(shown["url"]), str(shown["method"])
        names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise _bad("invalid_grant", "Unable to parse the subject token.") from None
    is_whole = method == "POST" and url.scheme == "https" and url.query == _ASKED and url.path in ("", "/")
    if not is_whole or not _AWS.fullmatch(url.netloc) or headers.get("host") != url.netloc:
        raise _bad("invalid_grant", "The subject token is no request for GetCallerIdentity of AWS's.")
    if headers.get(_TARGET) != call.body["audience"] or _TARGET not in names:
        raise _bad("invalid_grant", f"The {_TARGET} header of the subject token is missing, or for another audience.")
    status, document = _sent(call.world.aws_url, url.query, headers)
    found = {each.tag.rpartition("}")[2]: each.text or "" for each in document.iter()} if document is not None else {}
    if status != 200 or "Arn" not in found:
        said = f"Received invalid response from AWS STS: {status} {found.get('Code', '')}"
        raise _bad("invalid_grant", said.strip())
    return found["Arn"], found["Account"]


def _sent(aws_url: str, query: str, headers: Mapping[str, str]) -> tuple[int, "ElementTree.Element | None"]:
    connection = http.client.HTTPConnection(urlsplit(aws_url).netloc, timeout=5)
    try:
        connection.putrequest("POST", f"/?{query}", skip_host=True, skip_accept_encoding=True)
        for name, value in {**headers, "content-length": "0"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, ElementTree.fromstring(answer.read())  # nosec B314  the local AWS's own answer
    except (OSError, http.client.HTTPException, ElementTree.ParseError):
        return 503, None
    finally:
        connection.close()


def _mapped(provider: Document, assertion: Mapping[str, str]) -> dict[str, str]:
    mapped: dict[str, str] = {}
    for name, expression in provider["attributeMapping"].items():
        found = _MAPPED.fullmatch(expression)
        if found is None:
            raise _bad("invalid_grant", f"The attribute mapping of {name} is not known here: {expression}")
        value = assertion[found[1]]
        if found[2] is not None:
            part = re.search(re.escape(found[2]) + "(.*?)" + (re.escape(found[3]) if found[3] else "$"), value)
            value = part[1] if part else ""
        mapped[name] = value
    if not mapped.get("google.subject") or len(mapped["google.subject"]) > 127:
        raise _bad("invalid_request", "The size of mapped attribute google.subject exceeds the 127 bytes limit.")
    return mapped


def _holds(condition: str, mapped: Mapping[str, str]) -> bool:
    if not condition:
        return True
    found = _CONDITION.fullmatch(condition)
    if found is None:
        raise _bad("invalid_grant", f"The attribute condition is not known here: {condition}")
    wanted = re.findall(r"'([^']*)'", found[2]) if found[2] else [found[3]]
    return mapped.get(found[1]) in wanted
