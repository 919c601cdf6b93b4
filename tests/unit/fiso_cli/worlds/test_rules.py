import random

from fiso.billing import tariff
from fiso_cli.worlds.rules import RoundRobin
from fiso_cli.worlds.world import Market
from tests.unit.fiso_cli.worlds.settings import AWS, AWS_ID, AZURE, AZURE_ID, GCP, GCP_ID


def test_round_robin_passes_over_what_is_absent() -> None:
    rule = RoundRobin(Market.of({arm.id: arm for arm in (AWS, AZURE, GCP)}, tariff.current()), random.Random(0))
    turns = [[AWS_ID, AZURE_ID, GCP_ID], [AWS_ID, GCP_ID], [AWS_ID, AZURE_ID, GCP_ID]]
    assert [rule.pick(present) for present in turns] == [AWS_ID, GCP_ID, AWS_ID]
