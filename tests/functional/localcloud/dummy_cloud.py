"""A parent process over dummy parts: `dummy_cloud.py '[{"name": …, "port": …}, …]' [--timeout S]`."""

import json
import signal
import sys
from pathlib import Path

from localcloud import parent
from localcloud.layout import LocalCloud
from localcloud.parts import HttpCheck, Part

DUMMY = Path(__file__).with_name("dummy_part.py")


def part_of(cloud: LocalCloud, document: dict[str, object]) -> Part:
    name, port, says = str(document["name"]), int(str(document["port"])), document.get("says") or []
    assert isinstance(says, list)
    after = document.get("after") or []
    assert isinstance(after, list)
    options = ("--port", str(port), "--journal", str(cloud.state / "journal"), "--name", name, *says)
    return Part(
        name=name,
        command=(str(document.get("python") or sys.executable), str(DUMMY), *options),
        ports=(port,),
        check=HttpCheck(port=port),
        after=frozenset(after),
        writes=(cloud.state / name,),
        stop_signal=signal.SIGTERM,
        stop_timeout_s=float(str(document.get("stop_timeout_s") or 10)),
    )


if __name__ == "__main__":
    cloud = LocalCloud.from_environ()
    wanted = [part_of(cloud, document) for document in json.loads(sys.argv[1])]
    sys.exit(parent.run(cloud, lambda: wanted, [], start_timeout_s=float(sys.argv[2])))
