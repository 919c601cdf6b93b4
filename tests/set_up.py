"""What `fiso setup` makes of a stage but for the database, by clients of an emulator."""

from collections.abc import Callable
from typing import Any

from fiso_cli.gateway_key import GatewayWords
from fiso_cli.setup import signing_keys
from fiso_cli.setup.settings import FIRST, Settings


def set_up(stage: str, aws: Callable[[str], Any]) -> Settings:
    """The gateway's word, signing keys and settings."""
    settings = Settings(stage=stage, client=aws)
    GatewayWords(settings).ensure()
    signing_keys.ensure(settings, wait=lambda _: None)
    for name, value in FIRST.items():
        settings.ensure(name, value)
    return settings
