"""Secrets in AWS Systems Manager's Parameter Store, decrypted by AWS's own key: words, `id:secret` or `secret`."""

import re
from collections.abc import Sequence
from typing import Any

from fiso.adapters.aws.client import AwsError, JsonClient
from fiso.adapters.aws.errors import code_of, store_errors
from fiso.codecs.lease_token import Keyring
from fiso.domain.errors import LeasingNotSetUp, StoreUnavailable
from fiso_client.core.signing import SignedService

_ID = re.compile(r"^k[0-9]{1,9}:")


class SsmLeaseKeys:
    def __init__(self, service: SignedService, parameter: str) -> None:
        self._client, self._parameter = JsonClient(service, "AmazonSSM"), parameter

    def read(self) -> Keyring:
        """The keys. `LeasingNotSetUp` when the parameter does not exist, `StoreUnavailable` when it cannot be used."""
        with store_errors(f"read parameter {self._parameter}"):
            try:
                text = _value(self._client, self._parameter)
            except AwsError as error:
                if code_of(error) != "ParameterNotFound":
                    raise
                raise LeasingNotSetUp(f"parameter {self._parameter} does not exist") from error
        try:
            return Keyring.parsed(text)
        except ValueError as error:
            raise StoreUnavailable(f"parameter {self._parameter} holds no usable keys: {error}") from error


def read_words(client: Any, parameter: str) -> Sequence[str]:
    """The secrets, newest first, without their ids. `StoreUnavailable` when there is none or it cannot be read."""
    with store_errors(f"read parameter {parameter}"):
        words = [_ID.sub("", word) for word in _value(client, parameter).split()]
    if not words:
        raise StoreUnavailable(f"parameter {parameter} is empty")
    return words


def _value(client: Any, parameter: str) -> str:
    return str(client.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]["Value"])
