"""Offers: where Flex Consumption is to be had, and which Pythons it runs there. Asked before anything is made."""

from collections.abc import Iterable, Sequence

from fiso_cli.clouds.azure.arm import Arm, Document
from fiso_cli.clouds.azure.steps import WEB


def regions(arm: Arm) -> Sequence[str]:
    """The regions with Flex Consumption, as `eastus`."""
    found = arm.listed(f"{arm.scope}/providers/Microsoft.Web/geoRegions?sku=FlexConsumption", WEB)
    return sorted(str(each["name"]).lower().replace(" ", "") for each in found)


def pythons(arm: Arm, region: str) -> Sequence[str]:
    """The versions of Python that Flex Consumption runs in a region."""
    path = f"/providers/Microsoft.Web/locations/{region}/functionAppStacks?stack=python&removeDeprecatedStacks=true"
    versions = {
        str(sku.get("functionAppConfigProperties", {}).get("runtime", {}).get("version") or minor["value"])
        for stack in arm.listed(path, WEB)
        for major in stack["properties"]["majorVersions"]
        for minor in major["minorVersions"]
        for sku in _skus(minor)
        if sku.get("skuCode") == "FC1"
    }
    return sorted(versions, key=lambda each: tuple(map(int, each.split("."))))


def _skus(minor: Document) -> Iterable[Document]:
    settings = minor.get("stackSettings", {}).get("linuxRuntimeSettings", {})
    found: Iterable[Document] = settings.get("Sku") or settings.get("sku") or ()
    return found
