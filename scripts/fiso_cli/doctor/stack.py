"""The deployed stack: its template with intrinsic functions resolved by what CloudFormation made of it.

What cannot be told from here (a table's stream, a secret's value, a condition) is `UNTOLD`, which agrees with anything.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class Untold:
    """A value that only CloudFormation knows."""

    def __repr__(self) -> str:
        return "?"


UNTOLD: Final = Untold()
_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")
_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "s3:::{name}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource. `name` is its physical id; `properties` are resolved."""

    logical: str
    kind: str
    name: str
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """`template` as it was deployed; `names` are physical ids by logical ones."""

    name: str
    status: str
    account: str
    region: str
    partition: str
    template: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the template's parameters stand for in Parameter Store now, which a deployment would take."""

    def of_kind(self, kind: str) -> list[Resource]:
        """The resources of a type that exist."""
        return list(self._of_kind(kind))

    def _of_kind(self, kind: str) -> Iterator[Resource]:
        for logical, each in self.template.get("Resources", {}).items():
            if each.get("Type") == kind and logical in self.names:
                properties = self.value(each.get("Properties", {}))
                yield Resource(logical=logical, kind=kind, name=self.names[logical], properties=properties)

    def arn(self, logical: str) -> str | Untold:
        """The ARN of a resource, where its type's form is known here."""
        kind = self.template.get("Resources", {}).get(logical, {}).get("Type")
        name = self.names.get(logical)
        if name is None or kind not in _ARNS:
            return UNTOLD
        place = _ARNS[kind].format(region=self.region, account=self.account, name=name)
        return f"arn:{self.partition}:{place}"

    def value(self, node: Any) -> Any:
        """A node of the template as CloudFormation resolved it."""
        if isinstance(node, Mapping):
            if len(node) == 1:
                ((kind, of),) = node.items()
                if kind == "Ref" or kind.startswith("Fn::"):
                    return self._intrinsic(kind, of)
            return {name: self.value(each) for name, each in node.items()}
        if isinstance(node, list):
            return [self.value(each) for each in node]
        return UNTOLD if isinstance(node, str) and "{{resolve:" in node else node

    def _intrinsic(self, kind: str, of: Any) -> Any:
        if kind == "Ref":
            return self._reference(of)
        if kind == "Fn::GetAtt":
            logical, _, attribute = of.partition(".") if isinstance(of, str) else (of[0], ".", of[1])
            return self.arn(logical) if attribute == "Arn" else UNTOLD
        if kind == "Fn::Sub" and isinstance(of, str):
            return self._substituted(of)
        if kind == "Fn::Join":
            parts = self.value(of[1])
            is_told = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
            return of[0].join(parts) if is_told else UNTOLD
        return UNTOLD

    def _reference(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": self.account,
            "AWS::Partition": self.partition,
            "AWS::Region": self.region,
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com",
        }
        return pseudo.get(name) or self.settings.get(name) or self.names.get(name, UNTOLD)

    def _substituted(self, text: str) -> Any:
        found = {name: self._named(name) for name in _VARIABLE.findall(text)}
        if "{{resolve:" in text or any(value is UNTOLD for value in found.values()):
            return UNTOLD
        return _VARIABLE.sub(lambda match: str(found[match[1]]), text).replace("${!", "${")

    def _named(self, name: str) -> Any:
        logical, dot, attribute = name.partition(".")
        return self._intrinsic("Fn::GetAtt", [logical, attribute]) if dot else self._reference(name)


def read_template(body: Any) -> Mapping[str, Any]:
    """What `GetTemplate` gives: an object, or its text. `ValueError` for a template that is no JSON."""
    found = json.loads(body) if isinstance(body, str) else body
    if not isinstance(found, Mapping):
        raise ValueError("the template is no object")
    return found


def agrees(wanted: Any, found: Any) -> bool:
    """Whether what is there is what was deployed: all that the template says of it, as far as that is told here."""
    if isinstance(wanted, Untold):
        return True
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(agrees(each, found.get(name)) for name, each in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(agrees, wanted, found))
    return bool(_plain(wanted) == _plain(found))


def _plain(value: Any) -> Any:
    """Numbers and booleans as a template may write them: `"30"`, `"true"`."""
    return str(value).lower() if isinstance(value, bool | int) else value
