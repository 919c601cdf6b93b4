"""`fiso setup` against AWS as the emulator speaks it and a genuine PostgreSQL: all once, whenever it was stopped."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso.adapters.http.signers import KmsSigner
from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_secret
from fiso.codecs import signature
from fiso.codecs.lease_token import Keyring
from fiso_cli import gateway_key
from fiso_cli.main import app
from fiso_cli.setup.settings import FIRST, Settings
from tests.certificates import issued
from tests.contract.tls_front import ending_tls
from tests.emulator import clients
from tests.set_up import set_up

Clients = Callable[[str], Any]
SIGNED = (("catalog", "catalog"), ("models", "model"))


@pytest.fixture
def aws(emulator_url: str) -> Iterator[Clients]:
    with clients(emulator_url) as made:
        yield made


@pytest.fixture
def fiso(emulator_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in {
        "AWS_ENDPOINT_URL": emulator_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FISO_DATABASE_URL": "",
    }.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(app, list(words))


def state_of(stage: str, aws: Clients) -> dict[str, str]:
    """Every secret and parameter of a stage."""
    pages = (
        aws("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(Path=f"/fiso/{stage}", Recursive=True, WithDecryption=True)
    )
    found = {each["Name"]: each["Value"] for page in pages for each in page["Parameters"]}
    secrets = aws("secretsmanager")
    for each in secrets.list_secrets()["SecretList"]:
        if each["Name"].startswith(f"fiso/{stage}/"):
            found[each["Name"]] = secrets.get_secret_value(SecretId=each["Name"])["SecretString"]
    return found


def holds_together(stage: str, aws: Clients) -> None:
    """What a deployment reads fits what signs and what is kept."""
    state = state_of(stage, aws)
    words = json.loads(state[f"fiso/{stage}/gateway"])
    assert {f"word-{state[f'/fiso/{stage}/gateway-key']}", f"hashes-{state[f'/fiso/{stage}/gateway-key']}"} <= set(
        words
    )
    for signed, name in SIGNED:
        signer = KmsSigner(aws("kms"), state[f"/fiso/{stage}/{name}-key-id"])
        assert state[f"/fiso/{stage}/{name}-keys"] == signature.text_of(signer.public_key().modulus)
        assert KmsSigner(aws("kms"), f"alias/fiso-{stage}-{signed}").public_key() == signer.public_key()
        assert signer.sign(b"x")[0] == signer.public_key().id
    assert {setting: state[f"/fiso/{stage}/{setting}"] for setting in FIRST} == FIRST


def test_one_command_makes_everything_once_and_shows_no_secret(
    fiso: Callable[..., Result], aws: Clients, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, certificate = issued(tmp_path)
    (tmp_path / "ca.pem").write_text(ca)
    with ending_tls(url, certificate) as over_tls:
        monkeypatch.setenv("FISO_DATABASE_URL", f"{over_tls}?sslrootcert={tmp_path / 'ca.pem'}")
        first = fiso("setup", "--stage", "whole", "--json")
        assert first.exit_code == 0, first.output
        state = state_of("whole", aws)
        again = fiso("setup", "--stage", "whole")
        assert (again.exit_code, state_of("whole", aws)) == (0, state)
        assert PostgresCatalogStore(connect_from_secret(state["fiso/whole/keeper-database"], is_local=False)).load()
    steps = json.loads(first.stdout)["steps"]
    assert all(step["is_new"] and step["problem"] is None for step in steps)
    assert again.stdout.splitlines() == [
        f"stage whole, region us-east-1: 0 made, {len(steps)} there",
        "next: node_modules/.bin/serverless deploy --stage whole, then fiso apply -f fiso.yaml --stage whole",
    ]
    holds_together("whole", aws)
    Keyring.parsed(state["/fiso/whole/lease-keys"])
    secrets = {value for name, text in state.items() if "public" not in name for value in text.split()}
    shown = first.output + again.output
    assert not [value for value in secrets if len(value) > 20 and value in shown]


def test_without_a_database_the_rest_is_made_and_the_way_out_told(fiso: Callable[..., Result], aws: Clients) -> None:
    done = fiso("setup", "--stage", "poor")
    assert done.exit_code == 1
    assert "keeper's database: FISO_DATABASE_URL is not set: it names the database of stage poor" in done.stdout
    assert "next: fiso setup --stage poor, then node_modules/.bin/serverless deploy" in done.stdout
    holds_together("poor", aws)


@pytest.mark.parametrize(
    "address",
    [
        "mysql://u@db.example/fiso",
        "postgresql://",
        "postgresql://u@db.example:99999/fiso",
        "nonsense",
        "host=db.example",
        "postgresql://u@db.example/fiso?sslrootcert=/not/there.pem",
        f"postgresql://u@db.example/fiso?sslrootcert={__file__}",
    ],
)
def test_a_database_of_a_wrong_form_is_one_line_and_nothing_is_made(
    fiso: Callable[..., Result], aws: Clients, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("FISO_DATABASE_URL", address)
    done = fiso("setup", "--stage", "wrong")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert state_of("wrong", aws) == {}


class Killed(BaseException):
    """As by a signal: nothing catches it."""


class Dying:
    """Clients of which the write of that number is the last; `is_done` says whether AWS still did it."""

    def __init__(self, aws: Clients, at: int, *, is_done: bool) -> None:
        self.aws, self.left, self.is_done = aws, at, is_done

    def __call__(self, service: str) -> Any:
        return _Client(self, self.aws(service))


class _Client:
    def __init__(self, dying: Dying, client: Any) -> None:
        self._dying, self._client = dying, client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not name.startswith(("create_", "put_", "delete_")):
            return found

        def call(**fields: Any) -> Any:
            self._dying.left -= 1
            if self._dying.left >= 0:
                return found(**fields)
            if self._dying.is_done:
                found(**fields)
            raise Killed

        return call


@pytest.mark.parametrize(("at", "is_done"), [(0, True), (1, False), (2, False), (2, True), (4, False), (6, True)])
def test_whenever_it_was_killed_the_next_run_goes_on_and_nothing_is_made_twice(
    at: int, *, is_done: bool, aws: Clients
) -> None:
    stage = f"k{at}{int(is_done)}"
    keys = len(aws("kms").list_keys()["Keys"])
    with pytest.raises(Killed):
        set_up(stage, Dying(aws, at, is_done=is_done))
    before = state_of(stage, aws)
    set_up(stage, aws)
    after = state_of(stage, aws)
    assert {name: after[name] for name in before} == before
    holds_together(stage, aws)
    assert len(aws("kms").list_keys()["Keys"]) == keys + 2


def test_a_stage_of_before_keeps_its_keys_and_what_it_was_deployed_with(
    fiso: Callable[..., Result], aws: Clients
) -> None:
    kept = {}
    for signed, _ in SIGNED:
        key = aws("kms").create_key(KeySpec="RSA_3072", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        aws("kms").create_alias(AliasName=f"alias/fiso-old-{signed}", TargetKeyId=key)
        kept[signed] = key
    deployed = {"FISO_CATALOG_KEYS": "half another", "FISO_CATALOG_FLOOR": "12", "FISO_ENDPOINT_HOSTS": "a.example.com"}
    aws("lambda").create_function(
        FunctionName="fiso-old-orchestrator",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/r",
        Handler="h.h",
        Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
        Environment={"Variables": deployed},
    )
    fiso("setup", "--stage", "old")
    known = Settings(stage="old", client=aws)
    assert (known.read("catalog-key-id"), known.read("model-key-id")) == (kept["catalog"], kept["models"])
    assert (known.read("catalog-keys"), known.read("catalog-floor")) == ("half another", "12")
    assert known.read("endpoint-hosts") == "a.example.com"
    assert not [
        each for each in aws("cloudformation").list_stacks()["StackSummaries"] if "fiso-old" in each["StackName"]
    ]
    fiso("setup", "--stage", "old", "--endpoint-hosts", "b.example.com", "--catalog-floor", "13")
    assert (known.read("endpoint-hosts"), known.read("catalog-floor")) == ("b.example.com", "13")


def test_a_word_is_rotated_after_it_is_there(aws: Clients) -> None:
    words = gateway_key.GatewayWords(Settings(stage="turn", client=aws))
    words.ensure()
    for number in (2, 3):
        words.rotate()
        assert (words.settings.read("gateway-key"), words.number()) == (str(number), number)
    with pytest.raises(Killed):
        gateway_key.GatewayWords(Settings(stage="turn", client=Dying(aws, 1, is_done=False))).rotate()
    assert words.ensure(), "its number was still to be written"
    assert words.settings.read("gateway-key") == "4"


REFUSED = {
    "the local stage": ("--stage", "local"),
    "no stage": ("--stage", "Prod"),
    "no host": ("--stage", "none", "--endpoint-hosts", "169.254.169.254"),
    "no number": ("--stage", "none", "--catalog-floor", "-1"),
}


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_told_before_anything_is_made(
    words: tuple[str, ...], fiso: Callable[..., Result], aws: Clients
) -> None:
    done = fiso("setup", *words)
    assert (done.exit_code, state_of("none", aws)) == (2, {})
