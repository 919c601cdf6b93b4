"""`python -m localcloud.stream_pump`: run the pump until SIGTERM or SIGINT."""

import argparse
import logging
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from fiso_cli.access_key import AccessKey
from localcloud.stream_pump.clients import EmulatorDeadLetters, EmulatorStreams, LambdaHostFunctions
from localcloud.stream_pump.consumer import Checkpoints, Outside, Pace
from localcloud.stream_pump.pump import Pump, serve_health


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stream_pump", description=__doc__)
    parser.add_argument("--emulator-url", required=True, help="AWS endpoint: control plane, streams, S3")
    parser.add_argument("--lambda-url", required=True, help="Lambda host with the Invoke API")
    parser.add_argument("--access-key", type=Path, required=True, metavar="FILE", help="what both ask for")
    parser.add_argument("--checkpoints", type=Path, required=True, metavar="FILE")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--poll-ms", type=int, default=50, help="pause between looks at an idle shard")
    parser.add_argument("--discover-ms", type=int, default=2000, help="pause between looks at the control plane")
    parser.add_argument("--health-port", type=int, help="answer GET /healthz here")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    key = AccessKey.read(options.access_key)
    outside = Outside(
        functions=LambdaHostFunctions(options.lambda_url, options.region, key),
        dead_letters=EmulatorDeadLetters(options.emulator_url, options.region, key),
        checkpoints=Checkpoints(options.checkpoints),
    )
    pace = Pace(poll_s=options.poll_ms / 1000, keeps_window=True)
    pump = Pump(EmulatorStreams(options.emulator_url, options.region, key), outside, pace)
    if options.health_port is not None:
        serve_health(pump, options.health_port)
    while not stopping.is_set():
        pump.refresh()
        stopping.wait(options.discover_ms / 1000)
    pump.stop()


if __name__ == "__main__":
    main()
