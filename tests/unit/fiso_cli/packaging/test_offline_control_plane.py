"""The control plane without stacks, asked by a genuine client."""

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from fiso_cli.packaging.offline_control_plane import offline_control_plane


def test_every_stack_is_one_that_does_not_exist() -> None:
    with offline_control_plane() as url:
        client = boto3.client(
            "cloudformation",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="offline",
            aws_secret_access_key="offline",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        with pytest.raises(ClientError, match="does not exist") as caught:
            client.describe_stacks(StackName="fiso-prod")
        client.close()
    assert caught.value.response["Error"]["Code"] == "ValidationError"
