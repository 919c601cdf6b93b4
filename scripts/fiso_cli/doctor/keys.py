"""Checks of keys: what signs models and catalogs, and who trusts it; what leases, sessions and the gateway go by.
Shows no secret."""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from botocore.exceptions import ClientError

from fiso_cli.doctor.finding import Finding, ok, warning, wrong
from fiso_cli.doctor.site import Site, is_missing, listed, redeploy
from fiso_client.core.failures import FisoError

READERS = {"models": ("orchestrator", "retrainer"), "catalog": ("orchestrator", "console")}
"""Who trusts what is signed."""
_STORED_KEY = re.compile(r"[A-Za-z0-9_-]{1,20}:[!-~]{32,}")


def signing(site: Site) -> Iterator[Finding]:
    """The two keys of KMS, and whether each function trusts their public halves."""
    from fiso.adapters.http.signers import KmsSigner

    for signed, readers in READERS.items():
        alias = f"alias/fiso-{site.name}-{signed}"
        what = "model" if signed == "models" else "catalog"
        try:
            state = site.client("kms").describe_key(KeyId=alias)["KeyMetadata"]
        except ClientError as error:
            if not is_missing(error) and "NotFound" not in str(error):
                raise
            yield wrong(f"there is no key {alias}", why=f"no {what} can be signed", fix=redeploy(site))
            continue
        if state["KeyState"] != "Enabled":
            yield wrong(f"{alias} is {state['KeyState']}", why=f"no {what} can be signed", fix=_revived(state))
            continue
        try:
            public = KmsSigner(site.client("kms"), alias).public_key()
        except FisoError as error:
            yield wrong(f"{alias}: {error}", why=f"no {what} can be signed", fix=redeploy(site))
            continue
        blind = [name for name in readers if public.id not in site.trusted(name, signed)]
        if blind:
            yield wrong(
                f"{listed(blind)} does not trust {alias} (key {public.id})",
                why=f"each {what} that it signs is refused",
                fix=f"fiso setup --stage {site.name}, then {redeploy(site)}",
            )
        else:
            yield ok(f"{alias} signs, key {public.id}, and {listed(list(readers))} trust it")


def _revived(state: Mapping[str, Any]) -> str:
    key = state["KeyId"]
    return (
        f"aws kms cancel-key-deletion --key-id {key} && aws kms enable-key --key-id {key}"
        if state["KeyState"] == "PendingDeletion"
        else f"aws kms enable-key --key-id {key}"
    )


def stored(site: Site) -> Iterator[Finding]:
    """The parameters with secrets: leases' always, sessions' where browsers log in."""
    wanted = [
        ("orchestrator", "FISO_LEASE_KEYS_PARAMETER", "lease-key", "leases are refused, spilled records are lost")
    ]
    if site.variables("console").get("FISO_LOGIN_CLIENT_ID"):
        wanted.append(("console", "FISO_LOGIN_KEYS_PARAMETER", "login-key", "nobody can log in to the console"))
    for function, variable, command, why in wanted:
        name = site.variables(function).get(variable)
        fix = f"fiso {command} --stage {site.name}"
        if not name:
            yield wrong(f"{function} is told of no parameter ({variable})", why=why, fix=redeploy(site))
            continue
        try:
            words = str(site.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]).split()
        except ClientError as error:
            if not is_missing(error):
                raise
            yield wrong(f"there is no parameter {name}", why=why, fix=fix)
            continue
        if not words or not all(_STORED_KEY.fullmatch(word) for word in words):
            yield wrong(f"{name} holds what is no key", why=why, fix=f"{fix} --rotate")
        else:
            yield ok(f"{name}, {words[0].partition(':')[0]} signs")


def gateway(site: Site) -> Iterator[Finding]:
    """The gateway's word: what API Gateway writes into requests, and whether functions know it."""
    if site.variables("orchestrator").get("FISO_AUTH") != "iam":
        yield ok("callers show tokens; the gateway needs no word")
        return
    name, command = f"fiso/{site.name}/gateway", f"fiso gateway-key --stage {site.name}"
    try:
        secret = json.loads(site.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
        numbered = {key: value for key, value in secret.items() if key.startswith("word-")}
    except ClientError as error:
        if not is_missing(error):
            raise
        yield wrong(f"there is no secret {name}", why="the next deployment fails", fix=command)
        return
    except (ValueError, AttributeError):
        yield wrong(
            f"{name} holds no gateway's words",
            why="the next deployment fails",
            fix=f"aws secretsmanager delete-secret --secret-id {name}, then {command}",
        )
        return
    written = list(_written(site))
    if not written:
        yield wrong("the API writes no word of its gateway", why="each request is 403", fix=redeploy(site))
        return
    for function in ("orchestrator", "console"):
        known = site.variables(function).get("FISO_GATEWAY_HASHES", "").split()
        if any(sha256(word.encode()).hexdigest() not in known for word in written):
            yield wrong(
                f"{function} does not know the word that its gateway writes",
                why="each request is 403",
                fix=f"{command}, then {redeploy(site)}",
            )
            return
    if not set(written) <= set(numbered.values()):
        yield warning(
            f"{name} is not what was deployed",
            why="the next deployment changes the word at once",
            fix=f"{command}, then deploy with what it says",
        )
    else:
        yield ok("functions know their gateway")


def _written(site: Site) -> Iterator[str]:
    for api in site.deployed.of_kind("AWS::ApiGatewayV2::Api"):
        pages = site.client("apigatewayv2").get_paginator("get_integrations").paginate(ApiId=api.name)
        for integration in (each for page in pages for each in page["Items"]):
            word = integration.get("RequestParameters", {}).get("overwrite:header.x-fiso-gateway")
            if word:
                yield str(word)
