"""Lock: an item of the stage's state table, under a condition on what stands there. It is freed by a word, not deleted:
operators may put items and delete none (scripts/serverless/operator-policy.json)."""

from collections.abc import Mapping
from typing import Any

from fiso.adapters.aws.errors import is_missing
from fiso_cli.clouds.aws.client import refusals
from fiso_cli.clouds.lock import Conflict, Held, Holder
from fiso_cli.errors import CommandError

FREE = "-"


class TableLock:
    """One lock by name. `client` is boto3's of DynamoDB."""

    def __init__(self, client: Any, table: str, name: str) -> None:
        self._client, self._table = client, table
        self._key = {"function_name": {"S": "#trust"}, "item": {"S": name}}

    def read(self) -> Held | None:
        found = self._asked(self._client.get_item, ConsistentRead=True, Key=self._key).get("Item")
        written = str(found["holder"]["S"]) if found else FREE
        if written == FREE:
            return None
        return Held(Holder.read(written), written)

    def write(self, holder: Holder, over: str | None) -> str:
        item = {**self._key, "holder": {"S": holder.written()}}
        self._asked(self._client.put_item, Item=item, **_under(over))
        return holder.written()

    def delete(self, version: str) -> None:
        self._asked(self._client.put_item, Item={**self._key, "holder": {"S": FREE}}, **_under(version))

    def _asked(self, operation: Any, **asked: Any) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: Mapping[str, Any] = operation(TableName=self._table, **asked)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise Conflict from error
            if is_missing(error):
                raise CommandError(f"there is no table {self._table}: deploy the stage first") from error
            with refusals("dynamodb"):
                raise
        except BotoCoreError:
            with refusals("dynamodb"):
                raise
        return answer


def _under(version: str | None) -> dict[str, Any]:
    condition = "holder = :was" if version else "attribute_not_exists(function_name) OR holder = :was"
    return {"ConditionExpression": condition, "ExpressionAttributeValues": {":was": {"S": version or FREE}}}
