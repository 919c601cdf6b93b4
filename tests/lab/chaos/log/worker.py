"""A worker of the rig whose output is what Lambda would see: structured lines, spilled records among them.

`python -m tests.lab.chaos.log.worker CONFIG`, the config as `tests.lab.chaos.rig.worker` has it.
"""

import json
import os
import sys

from fiso import telemetry
from tests.lab.chaos.rig import worker

if __name__ == "__main__":
    os.environ.update(json.loads(sys.argv[1])["environ"])
    telemetry.logger()
    worker.main()
