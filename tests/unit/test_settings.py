import pytest

from fiso.settings import BadSetting, OrchestratorSettings

REQUIRED = {"FISO_LOG_TABLE": "l", "FISO_STATE_TABLE": "s", "FISO_BUCKET": "b"}


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
