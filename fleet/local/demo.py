"""The estate of a first `make run`: shops to look at, and policies under which a simulated fleet goes to work.

Made once, through the same services that operators use; a second start finds it and changes nothing.
"""

import io
import random

from django.core.files import File
from django.db import transaction

from firmware.models import Package, Release
from firmware.services import publish_release, set_baseline
from terminals.common.audit.services import record_change, values_of
from terminals.estate.models import Merchant, Organisation, Store, TerminalModel
from terminals.keys.models import KeyRequirement
from terminals.parameters.services import publish_parameters
from terminals.settlement.models import SettlementPlan

ACTOR = "demo"
MERCHANTS = {
    "Nordlicht Bakeries": [("Hafenstrasse", "Hamburg", "Europe/Berlin"), ("Altmarkt", "Dresden", "Europe/Berlin")],
    "Casa Verde Market": [("Gran Via", "Madrid", "Europe/Madrid"), ("Ribeira", "Porto", "Europe/Lisbon")],
    "Blue Door Coffee": [("Temple Bar", "Dublin", "Europe/Dublin"), ("Plaka", "Athens", "Europe/Athens")],
}
MODELS = [
    ("Acme", "Counter 500", "linux-arm64", ["printer", "keypad", "contactless"]),
    ("Acme", "Mobile 70", "linux-arm64", ["printer", "keypad", "contactless", "battery"]),
]
PLATFORM = "linux-arm64"
RELEASE_BYTES = 192 * 1024


@transaction.atomic
def seed_demo() -> None:
    """Make the demonstration estate where there is none."""
    if Merchant.objects.exists():
        return
    acquirer = Organisation.objects.create(name="Demonstration acquirer")
    _audit_created(acquirer)
    for number, (merchant_name, stores) in enumerate(MERCHANTS.items(), start=1):
        merchant = Merchant.objects.create(name=merchant_name, mid=f"0000{number:05d}", organisation=acquirer)
        _audit_created(merchant)
        for name, city, time_zone in stores:
            _audit_created(Store.objects.create(merchant=merchant, name=name, city=city, time_zone=time_zone))
    package = Package.objects.create(
        name="tillwarden-pay", component="payment", description="Demonstration payment software"
    )
    releases = [_release(package, version) for version in ("2.0.0", "2.1.0")]
    for vendor, name, platform, capabilities in MODELS:
        model = TerminalModel.objects.create(vendor=vendor, name=name, platform=platform, capabilities=capabilities)
        _audit_created(model)
        set_baseline(model=model, release=releases[-1], actor=ACTOR)
        _audit_created(KeyRequirement.objects.create(model=model, usage="P0"))
    # Far too often for a shop, and just right for somebody who wants to see it happen.
    plan = SettlementPlan(
        name="Demonstration: every minute, or at 150.00 EUR",
        cycle="* * * * *",
        time_zone="Europe/Berlin",
        threshold_minor=15_000,
        threshold_currency="EUR",
        jitter_seconds=3,
        is_default=True,
    )
    plan.clean()
    plan.save()
    _audit_created(plan)
    publish_parameters(name="shop", parameters={"currency": "EUR", "tip_enabled": True}, actor=ACTOR)


def _release(package: Package, version: str) -> Release:
    content = random.Random(version).randbytes(RELEASE_BYTES)  # noqa: S311 - a stand-in for software, not a secret
    return publish_release(
        package=package, version=version, platform=PLATFORM, artifact=File(io.BytesIO(content)), actor=ACTOR
    )


def _audit_created(instance: Organisation | Merchant | Store | TerminalModel | KeyRequirement | SettlementPlan) -> None:
    action = f"{instance._meta.model_name}.create"
    record_change(actor=ACTOR, action=action, instance=instance, old={}, new=values_of(instance))
