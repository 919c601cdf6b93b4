"""The keys that sign leases, as one SecureString in AWS Systems Manager's Parameter Store: `id:secret` words."""

import json

from fiso.adapters.aws.client import STORE_TIMEOUT_S, AwsError
from fiso.adapters.aws.errors import code_of, store_errors
from fiso.codecs.lease_token import Keyring
from fiso.domain.errors import LeasingNotSetUp, StoreUnavailable
from fiso_client.core.signing import SignedService

_MISSING = "ParameterNotFound"


class SsmLeaseKeys:
    """One parameter, decrypted by AWS's own key for parameters."""

    def __init__(self, service: SignedService, parameter: str) -> None:
        self._service, self._parameter = service, parameter

    def read(self) -> Keyring:
        """The keys. `LeasingNotSetUp` when the parameter does not exist, `StoreUnavailable` when it cannot be used."""
        with store_errors(f"read parameter {self._parameter}"):
            try:
                text = self._value()
            except AwsError as error:
                if code_of(error) != _MISSING:
                    raise
                raise LeasingNotSetUp(f"parameter {self._parameter} does not exist") from error
        try:
            return Keyring.parsed(text)
        except ValueError as error:
            raise StoreUnavailable(f"parameter {self._parameter} holds no usable keys: {error}") from error

    def _value(self) -> str:
        answer = self._service.send(
            "POST",
            "/",
            headers={"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameter"},
            body=json.dumps({"Name": self._parameter, "WithDecryption": True}).encode(),
            timeout_s=STORE_TIMEOUT_S,
        )
        document = json.loads(answer.body)
        if answer.status >= 300:
            code = str(document.get("__type", f"HTTP{answer.status}")).rpartition("#")[2]
            raise AwsError(code, str(document.get("message") or document.get("Message") or ""), document)
        return str(document["Parameter"]["Value"])
