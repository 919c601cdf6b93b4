"""Sides: a template and, of a build folder, its packages' bills of materials."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiso_cli.doctor.stack import read_template
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.packaging import sbom
from fiso_cli.stage import Stage

TEMPLATE = "cloudformation-template.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """`bills` by package; a deployed stack has none."""

    name: str
    resources: Mapping[str, Any]
    bills: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def of_folder(folder: Path) -> Side:
    """What `fiso package --template` wrote. `BadInput` for a folder without."""
    try:
        template = json.loads((folder / TEMPLATE).read_bytes())
        bills = {path.name.removesuffix(sbom.SUFFIX): json.loads(path.read_bytes()) for path in _bills(folder)}
    except FileNotFoundError:
        raise BadInput(f"{folder} has no {TEMPLATE}: `make package STAGE={folder.name}` writes it") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} cannot be read: {error}") from error
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise BadInput(f"{folder / TEMPLATE} is no template")
    return Side(name=str(folder), resources=template["Resources"], bills=bills)


def _bills(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{sbom.SUFFIX}"))


def of_stage(stage: Stage) -> Side:
    """What is deployed; nothing where no stack is, as before the first deployment."""
    from botocore.exceptions import ClientError

    with stage.wrapped_errors():
        try:
            body = stage.client("cloudformation").get_template(StackName=stage.stack_name)["TemplateBody"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            return Side(name=f"nothing ({stage.stack_name} is not deployed)", resources={})
    try:
        return Side(name=stage.stack_name, resources=read_template(body).get("Resources", {}))
    except ValueError as error:
        raise CommandError(f"the deployed template cannot be read: {error}") from error
