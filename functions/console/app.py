"""The console's Flask app: routes, templates and hardening around `Sources`. Knows no AWS and no environment."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, request

from fiso.settings import LOCAL_STAGE
from functions.console import access, errors, hardening
from functions.console.access import Entrance, OwnFunctions, OwnRecords
from functions.console.assets import Assets
from functions.console.sources import Sources
from functions.console.views import api, formats, pages

HERE = Path(__file__).parent
MAX_CONTENT_LENGTH = 1_000_000
LOOPBACK = ("127.0.0.1", "localhost")


def create(sources: Sources, *, stage: str, entrance: Entrance | None = None, console_url: str | None = None) -> Flask:
    """The app. Every link in it is relative, so it works under whatever prefix a gateway puts before `/console`.

    Without an `entrance` nobody is asked (the local stage); with a `console_url` only its host is answered to.
    """
    app = Flask("functions.console", root_path=str(HERE), static_folder=None, template_folder="templates")
    app.config.update(MAX_CONTENT_LENGTH=MAX_CONTENT_LENGTH, PROVIDE_AUTOMATIC_OPTIONS=False)
    if console_url is not None:
        app.config["TRUSTED_HOSTS"] = trusted_hosts(console_url)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(formats.FILTERS)
    hardening.register(app, over_https=stage != LOCAL_STAGE, forms=access.forms_of(entrance))
    errors.register(app, challenge=access.challenge_of(entrance))
    if entrance is not None:
        access.register(app, entrance)
        sources = replace(sources, log=OwnRecords(sources.log), snapshots=OwnFunctions(sources.snapshots))
    _add_pages(app, sources, stage)
    return app


def _add_pages(app: Flask, sources: Sources, stage: str) -> None:
    assets = Assets(HERE / "static")
    app.add_url_rule("/console/static/<name>", "static", assets.serve)
    app.register_blueprint(pages.blueprint(sources))
    app.register_blueprint(api.blueprint(sources))

    @app.context_processor
    def _shared() -> dict[str, object]:
        return {
            "root": root_of(request.path),
            "stage": stage,
            "is_local": stage == LOCAL_STAGE,
            "asset": assets.link,
            "now": sources.clock(),
        }


def trusted_hosts(console_url: str) -> list[str]:
    """The host that is answered to; on loopback, each of its two names."""
    host = str(urlsplit(console_url).hostname)
    return list(LOOPBACK) if host in LOOPBACK else [host]


def root_of(path: str) -> str:
    """The relative address of the site's root, seen from `path`: `./` for /console, `../` for /console/endpoints."""
    depth = path.count("/") - 1
    return "../" * depth if depth > 0 else "./"
