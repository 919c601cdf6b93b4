"""A stage for tokens: its orchestrator gets the access layer by deploying, checks tokens with it, and gives it back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from localcloud.issuer.tokens import Person, TokenMaker, signer_in
from tests.e2e.conftest import LiveCloud, eventually
from tests.functional.login_world import running_issuer


def layers(live: LiveCloud) -> list[str]:
    """The names of the orchestrator's layers."""
    name = live.stage.function_name("orchestrator")
    found = live.stage.client("lambda").get_function_configuration(FunctionName=name).get("Layers", [])
    return [layer["Arn"].split(":")[-2] for layer in found]


@pytest.fixture
def for_tokens(live: LiveCloud) -> Iterator[TokenMaker]:
    """The stage deployed with FISO_AUTH=jwt, beside its issuer; deployed again as it was afterwards."""
    cloud = live.cloud
    with running_issuer(cloud.port("issuer"), cloud.issuer_dir, cloud.port("emulator")) as issuer_url:
        try:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("FISO_AUTH", "jwt")
                environment.setenv("FISO_JWT_ISSUER", issuer_url)
                live.machine.deploy()
            yield TokenMaker(signer=signer_in(cloud.issuer_dir), issuer=issuer_url)
        finally:
            live.machine.deploy()
    assert layers(live) == ["fiso-local-model"]
    eventually(lambda: live.invoke("word-count").status_code == 200)


def invoke(live: LiveCloud, maker: TokenMaker, scope: str) -> httpx.Response:
    person = Person(name="ada", tenant="acme")
    token = maker.access_token(person, scope, now=datetime.now(UTC), lifetime=timedelta(minutes=5))
    return live.invoke("word-count", authorization=f"Bearer {token}")


def test_a_deployed_orchestrator_checks_tokens_with_the_layer_that_its_stage_has(
    live: LiveCloud, for_tokens: TokenMaker
) -> None:
    assert layers(live) == ["fiso-local-model", "fiso-local-access"]
    # Environments of before may serve on, and refuse as well: only the new stage lets a token in.
    eventually(lambda: invoke(live, for_tokens, "fiso:invoke").status_code == 200)
    assert live.invoke("word-count").status_code == 401
    answered = invoke(live, for_tokens, "fiso:invoke")
    assert (answered.status_code, "x-fiso-provider" in answered.headers) == (200, True)
    assert answered.headers["x-fiso-model-version"] != "none"  # the model layer is there as well
    assert invoke(live, for_tokens, "fiso:read").status_code == 403
    stranger = TokenMaker(signer=for_tokens.signer, issuer="https://issuer.example")
    assert invoke(live, stranger, "fiso:invoke").status_code == 401
