"""The catalogue: every experiment there is, by the scorecard's rows. A module of `experiments` joins by being there."""

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache

from tests.lab.chaos import experiments
from tests.lab.chaos.experiment import Experiment


class UnknownExperiment(Exception):
    """A name or row that no experiment has. The message says which there are."""


@cache
def catalogue() -> tuple[Experiment, ...]:
    """All experiments, by row, in their modules' order within one."""
    found: list[Experiment] = []
    for module in sorted(module.name for module in pkgutil.iter_modules(experiments.__path__)):
        found += getattr(importlib.import_module(f"{experiments.__name__}.{module}"), "EXPERIMENTS", ())
    names = [experiment.name for experiment in found]
    if len(set(names)) != len(names):
        raise ValueError(f"experiments need names of their own: {sorted(names)}")
    return tuple(sorted(found, key=lambda experiment: experiment.row))


def chosen(asked: Sequence[str]) -> list[Experiment]:
    """The experiments of these names or rows, in the catalogue's order, once each."""
    there = catalogue()
    for name in asked:
        if not any(name in (experiment.name, str(experiment.row)) for experiment in there):
            known = ", ".join(f"{experiment.row} {experiment.name}" for experiment in there)
            raise UnknownExperiment(f"no experiment {name!r}: there are {known}")
    return [one for one in there if one.name in asked or str(one.row) in asked]
