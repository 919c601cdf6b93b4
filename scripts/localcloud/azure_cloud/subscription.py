"""The subscription for whoever examines it: which there is, what one may there, where things can be, what is used."""

from localcloud.azure_cloud.world import REGIONS, Document, World

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


def listed() -> list[Document]:
    id = f"/subscriptions/{SUBSCRIPTION}"
    return [{"id": id, "subscriptionId": SUBSCRIPTION, "displayName": "local", "state": "Enabled"}]


def permissions(world: World) -> list[Document]:
    """Of the caller: all but what a fault takes away."""
    return [{"actions": ["*"], "notActions": sorted(world.faults.denied)}]


def locations() -> list[Document]:
    return [{"name": each.replace(" ", "").lower(), "displayName": each} for each in REGIONS]


def usages(world: World, region: str) -> list[Document]:
    """Flex Consumption's, counted in apps."""
    apps = [each for each in sites(world) if str(each["location"]).replace(" ", "").lower() == region.lower()]
    return [{"name": {"value": "FlexConsumption"}, "currentValue": len(apps), "limit": 1000, "unit": "Count"}]


def sites(world: World) -> list[Document]:
    return [each for _, each in sorted(world.resources.items()) if str(each["type"]).lower() == "microsoft.web/sites"]
