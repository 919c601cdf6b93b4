"""`python -m functions.server`: what a container runs."""

import os
import sys

from fiso.settings import BadSetting, MissingSetting
from functions.server.wiring import serve


def main() -> int:
    try:
        return serve(os.environ)
    except (BadSetting, MissingSetting, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
