import pytest

from fiso.settings import BadSetting, OrchestratorSettings

REQUIRED = {
    "FISO_LOG_TABLE": "l",
    "FISO_STATE_TABLE": "s",
    "FISO_BUCKET": "b",
    "FISO_GATEWAY_HASHES": "a" * 64,
}


def settings(stage: str, **more: str) -> OrchestratorSettings:
    return OrchestratorSettings.from_environ({"FISO_STAGE": stage, **REQUIRED, **more})


def test_loopback_is_for_the_local_stage_that_asks_for_it() -> None:
    assert settings("local", FISO_ALLOW_LOOPBACK="1").allow_loopback
    assert not settings("local").allow_loopback
    assert not settings("prod", FISO_ALLOW_LOOPBACK="").allow_loopback


@pytest.mark.parametrize("stage", ["prod", "dev", "local2", "Local"])
@pytest.mark.parametrize("value", ["1", "true", "0"])
def test_no_other_stage_starts_with_loopback_named(stage: str, value: str) -> None:
    with pytest.raises(BadSetting, match=f"FISO_ALLOW_LOOPBACK is set on stage {stage}"):
        settings(stage, FISO_ALLOW_LOOPBACK=value)


def test_own_hosts_are_named_one_by_one() -> None:
    assert settings("prod", FISO_ENDPOINT_HOSTS="a.example.com b.example.com").own_hosts == {
        "a.example.com",
        "b.example.com",
    }
    with pytest.raises(BadSetting, match=r"FISO_ENDPOINT_HOSTS: '169\.254\.169\.254'"):
        settings("prod", FISO_ENDPOINT_HOSTS="169.254.169.254")


PROVIDER = "projects/1/locations/global/workloadIdentityPools/fiso/providers/fiso-prod"
ACCOUNT = "fiso-prod@example-project.iam.gserviceaccount.com"


def test_who_fiso_is_to_google_is_named_whole_or_not_at_all() -> None:
    assert settings("prod").google is None
    google = settings("prod", FISO_GOOGLE_PROVIDER=PROVIDER, FISO_GOOGLE_SERVICE_ACCOUNT=ACCOUNT).google
    assert google is not None
    assert google.resource == f"//iam.googleapis.com/{PROVIDER}"


@pytest.mark.parametrize(
    ("provider", "account", "wrong"),
    [
        (PROVIDER, "", "the service account must be"),
        ("", ACCOUNT, "the provider must be"),
        (f"//iam.googleapis.com/{PROVIDER}", ACCOUNT, "the provider must be"),
        (PROVIDER.replace("/1/", "/my-project/"), ACCOUNT, "the provider must be"),
        (PROVIDER, "me@example.com", "the service account must be"),
        (PROVIDER, f"{ACCOUNT}/../other", "the service account must be"),
        (PROVIDER, f"{ACCOUNT}:generateAccessToken?", "the service account must be"),
    ],
)
def test_what_no_google_identity_can_be_stops_the_start(provider: str, account: str, wrong: str) -> None:
    with pytest.raises(BadSetting, match=f"FISO_GOOGLE_PROVIDER and FISO_GOOGLE_SERVICE_ACCOUNT: {wrong}"):
        settings("prod", FISO_GOOGLE_PROVIDER=provider, FISO_GOOGLE_SERVICE_ACCOUNT=account)
