"""Manifests: what each function ships, and how large it may be. Data only.

A megabyte is 1,048,576 bytes here, as it is in Lambda's own limits.
"""

from dataclasses import dataclass

MB = 1024 * 1024

# Lambda refuses more than 250 MB unzipped, layers included; a zip above 50 MB can only be deployed through S3, as osls
# does.
LAMBDA_UNZIPPED_MB = 250.0
DIRECT_UPLOAD_MB = 50.0
MODEL_LAYER_MB = 1.0
ACCESS_LAYER_MB = 20.0
ACCESS_LAYER = "layer-access"
"""What checks tokens: a layer that the orchestrator has on stages with `auth: jwt` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionPackage:
    """One function's package: its folder under `functions/`, parts of `shared/`, and locked wheels.

    `shared` are files and folders under `shared/`, `without` folders below them that stay out. Of the client only what
    it shares with the router is shipped. `metadata_of` names the
    distributions whose `dist-info` is read while running; all others lose theirs. Of AWS's SDK, where a lock has it,
    the models of `aws_services` alone are shipped, which are one tenth of it. `unzipped_mb` includes the model layer
    when `has_model`.
    """

    name: str
    shared: tuple[str, ...] = ("fiso", "fiso_client/__init__.py", "fiso_client/core")
    without: tuple[str, ...] = ("fiso/learning", "fiso/testing")
    metadata_of: frozenset[str] = frozenset()
    aws_services: frozenset[str] = frozenset()
    has_bytecode: bool = True
    has_model: bool = False
    unzipped_mb: float
    zip_mb: float = DIRECT_UPLOAD_MB


PACKAGES = (
    FunctionPackage(name="orchestrator", has_model=True, unzipped_mb=10),
    FunctionPackage(name="stream_consumer", unzipped_mb=15),
    # The scikit-learn stack is too large for bytecode beside it, and for a direct upload.
    FunctionPackage(
        name="retrainer",
        without=(),
        aws_services=frozenset({"dynamodb", "lambda", "s3"}),
        has_bytecode=False,
        unzipped_mb=230,
        zip_mb=LAMBDA_UNZIPPED_MB,
    ),
    FunctionPackage(
        name="keeper",
        aws_services=frozenset({"dynamodb", "kms", "logs", "s3", "secretsmanager"}),
        unzipped_mb=50,
    ),
    FunctionPackage(
        name="console",
        aws_services=frozenset({"dynamodb", "lambda", "s3", "ssm"}),
        unzipped_mb=48,
        metadata_of=frozenset({"flask", "werkzeug"}),
    ),
    FunctionPackage(name="sample_aws", shared=("fiso_workload",), without=(), unzipped_mb=1),
)
