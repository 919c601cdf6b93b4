"""Where a serving container on Vertex AI finds its model: nothing is mounted for it there."""

from collections.abc import Callable

from fiso.adapters.aws.client import AwsError
from fiso.adapters.identity.container_identity import GoogleContainer
from fiso.adapters.objects.clients import GoogleObjects
from fiso.domain.errors import ModelRefused
from fiso_client.core.failures import ProviderError
from fiso_client.core.transport import HttpTransport

LARGEST = 32 * 1024 * 1024


def in_storage(address: str) -> Callable[[str], bytes]:
    """Reads files below an address of Cloud Storage as the container's own service account. `ModelRefused`."""
    transport = HttpTransport(largest=LARGEST)
    objects = GoogleObjects(transport, lambda: GoogleContainer(transport).storage_token().value, timeout_s=30.0)
    bucket, _, prefix = address.removeprefix("gs://").rstrip("/").partition("/")

    def read(name: str) -> bytes:
        try:
            content: bytes = objects.get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read()
        except (AwsError, ProviderError) as error:
            raise ModelRefused(f"{name} cannot be fetched: {error}") from error
        return content

    return read
