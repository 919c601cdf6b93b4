"""What the tests of the stream pump deploy to the emulator: a table with a stream, a function, a dead-letter bucket."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.stream_pump import clients
from tests.emulator import KEY

REGION = "us-east-1"
BUCKET = "fiso-artifacts-test"
FUNCTION = "fiso-local-stream-consumer"
POLICY: Mapping[str, object] = {
    "StartingPosition": "TRIM_HORIZON",
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 1,
    "BisectBatchOnFunctionError": True,
    "MaximumRetryAttempts": 1,
    "MaximumRecordAgeInSeconds": 21600,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT", "MODIFY"]}'}]},
    "DestinationConfig": {"OnFailure": {"Destination": f"arn:aws:s3:::{BUCKET}"}},
}


def zipped_handler() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(
            "handler.py", "def lambda_handler(event, context):\n    raise AssertionError('the pump delivers')\n"
        )
    return archive.getvalue()


@dataclass
class Deployment:
    """One table with a stream, mapped to one function, in the emulator."""

    url: str
    table: str
    uuid: str = ""

    def put(self, *ids: str, **attributes: Mapping[str, object]) -> None:
        table = clients.client("dynamodb", self.url, REGION, KEY)
        for item in ids:
            table.put_item(TableName=self.table, Item={"id": {"S": item}, **attributes})

    def dead_letters(self) -> list[tuple[str, dict[str, Any]]]:
        bucket = clients.client("s3", self.url, REGION, KEY)
        found = bucket.list_objects_v2(Bucket=BUCKET, Prefix=f"aws/lambda/{self.uuid}/").get("Contents", [])
        return [(o["Key"], json.load(bucket.get_object(Bucket=BUCKET, Key=o["Key"])["Body"])) for o in found]
