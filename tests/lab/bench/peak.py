"""Runs a module as `python -m` would and writes the process's peak memory (MB) to a file when it is done.

`python -m tests.lab.bench.peak FILE MODULE ARGUMENT...`. The kernel's figure for a child that a large process forked
starts at the parent's size; the process's own high-water mark does not.
"""

import runpy
import sys


def main(file: str, module: str) -> None:
    """Run, then write."""
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    with open("/proc/self/status", encoding="ascii") as status:
        kilobytes = next(line for line in status if line.startswith("VmHWM")).split()[1]
    with open(file, "w", encoding="ascii") as out:
        out.write(f"{int(kilobytes) / 1024:.3f}")


if __name__ == "__main__":
    chosen_file, chosen_module = sys.argv[1], sys.argv[2]
    sys.argv = [chosen_module, *sys.argv[3:]]
    main(chosen_file, chosen_module)
