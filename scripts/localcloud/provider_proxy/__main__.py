"""`python -m localcloud.provider_proxy`: run the proxy until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from aiohttp import web

from localcloud.profile import PROFILE_FILE, Provider, load
from localcloud.provider_proxy.listener import HOST, Place, upstream_session
from localcloud.provider_proxy.proxy import ProviderProxy, control_app, places_of


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="provider_proxy", description=__doc__)
    parser.add_argument("--profile", type=Path, default=PROFILE_FILE, metavar="FILE")
    parser.add_argument("--base-port", type=int, required=True, help="the first listener's port")
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--upstream", action="append", default=[], metavar="PROVIDER=URL", help="once per provider")
    parser.add_argument("--no-distance", action="store_true", help="add neither distance nor cold starts")
    parser.add_argument("--seed", type=int, help="draw the same delays in every run")
    return parser.parse_args(arguments)


def upstreams_of(options: Sequence[str]) -> Mapping[Provider, str]:
    """{"aws": "http://…"} from aws=http://…"""
    found: dict[Provider, str] = {}
    for option in options:
        name, _, url = option.partition("=")
        if not url.startswith("http://"):
            raise ValueError(f"--upstream {option}: expected PROVIDER=http://HOST:PORT")
        found[Provider(name)] = url
    return found


async def serve(places: tuple[Place, ...], control_port: int, rng: Random) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with upstream_session() as session:
        proxy = ProviderProxy(places, session, rng)
        control = web.AppRunner(control_app(proxy), access_log=None, shutdown_timeout=0)
        try:
            await proxy.open()
            await control.setup()
            await web.TCPSite(control, HOST, control_port).start()
            await stopping.wait()
        finally:
            await control.cleanup()
            await proxy.close()


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        upstreams = upstreams_of(options.upstream)
        places = places_of(load(options.profile), options.base_port, upstreams, emulates=not options.no_distance)
        rng = Random(options.seed)  # nosec B311: draws emulated delays only
        asyncio.run(serve(places, options.control_port, rng))
    except (ValueError, OSError) as error:
        sys.exit(f"provider_proxy: {error}")


if __name__ == "__main__":
    main()
