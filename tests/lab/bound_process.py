"""A process that is bound to the one that started it: it dies with it, and hears Ctrl-C again.

A run that is killed, or that its time-out ends, leaves nothing behind. A script's background jobs have SIGINT ignored,
and so have their children, until somebody sets it back. As a script: `bound_process.py PARENT SIGNAL COMMAND...`.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def bound(command: Sequence[str], *, ends_by: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command line that runs this command bound to the present process. Start it from a thread that lasts: for the
    kernel, the thread that started it is the parent."""
    return [sys.executable, "-I", __file__, str(os.getpid()), str(int(ends_by)), *command]


def _become(parent: int, ends_by: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ends_by)
    if os.getppid() != parent:  # it died meanwhile
        sys.exit(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
