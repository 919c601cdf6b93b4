"""Secrets in AWS Systems Manager's Parameter Store, read with boto3: words, `k1:secret` or `secret`."""

import re
from collections.abc import Sequence
from typing import Any

from fiso.adapters.aws.errors import store_errors
from fiso.domain.errors import StoreUnavailable

_ID = re.compile(r"^k[0-9]{1,9}:")


def read_words(client: Any, parameter: str) -> Sequence[str]:
    """The secrets, newest first, without their ids. `StoreUnavailable` when there is none or it cannot be read."""
    with store_errors(f"read parameter {parameter}"):
        found = client.get_parameter(Name=parameter, WithDecryption=True)
        words = [_ID.sub("", word) for word in str(found["Parameter"]["Value"]).split()]
    if not words:
        raise StoreUnavailable(f"parameter {parameter} is empty")
    return words
