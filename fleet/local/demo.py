"""The estate of a first `make run`: shops to look at, and policies under which a simulated fleet goes to work.

Made once, through the same services that operators use; a second start finds it and changes nothing.
"""

import io
import random
from typing import Any

from django.contrib.auth.models import User
from django.core.files import File
from django.db import transaction
from django.db.models import Model

from firmware.models import Package, Release
from firmware.releases import approve_release, publish_release
from fleet.local import custody
from terminals.campaigns.planning import propose
from terminals.campaigns.services import approve, start
from terminals.common.audit.services import record_change, values_of
from terminals.estate.levels import INSTALLATION
from terminals.estate.models import Merchant, Organisation, Store, TerminalModel
from terminals.keys.models import KeyRequirement
from terminals.parameters.models import ModelTemplate
from terminals.parameters.services import publish_template, set_values
from terminals.settlement.credits.rules import checked
from terminals.settlement.models import CreditProfile, SettlementPlan
from terminals.simulator.acquirer import ACQUIRER, BANK

ACTOR, SECOND = "demo", "demo-second-person"
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
# How the imagined bank and acquirer of the simulated fleet write (terminals/simulator/acquirer.py).
CREDIT_PROFILES: list[tuple[str, str, dict[str, Any]]] = [
    (BANK, "camt", {"reference": "TID {tid} BATCH {batch}"}),
    (
        ACQUIRER,
        "csv",
        {
            "delimiter": "semicolon",
            "columns": {
                "tid": "Terminal",
                "batch": "Batch",
                "method": "Method",
                "gross": "Gross",
                "fee": "Fee",
                "net": "Net",
                "currency": "Currency",
                "value_date": "Value date",
                "entry_id": "Id",
            },
            "methods": {"CARD": "card", "WALLET": "qr"},
        },
    ),
]
RELEASE_BYTES, CHANGED_BYTES = 192 * 1024, 8 * 1024  # what differs from version to version


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
    models = [
        TerminalModel.objects.create(vendor=vendor, name=name, platform=platform, capabilities=capabilities)
        for vendor, name, platform, capabilities in MODELS
    ]
    custody.hold_ceremony([PLATFORM])
    # 2.2.0 breaks the printer of some simulated terminals (terminals/simulator/faults.py): a campaign's guard finds it.
    _first, current, _breaks, _mended = [_release(package, version) for version in ("2.0.0", "2.1.0", "2.2.0", "2.3.0")]
    for model in models:
        _audit_created(model)
        _audit_created(KeyRequirement.objects.create(model=model, usage="P0"))
    _keep_at(current)
    _settlement_plan()
    _parameters()
    for name, form, settings in CREDIT_PROFILES:
        said = checked(form, settings)
        _audit_created(CreditProfile.objects.create(organisation=acquirer, name=name, format=form, settings=said))


def _keep_at(release: Release) -> None:
    """Have every terminal brought a release, whenever it comes: a campaign that follows, proposed by one and agreed to by
    another; neither of them can log in."""
    one, other = (User.objects.create_superuser(name) for name in (ACTOR, SECOND))
    campaign = propose(
        name=f"{release} on every terminal",
        kind="install",
        arguments={"release": release.pk},
        text=f'platform = "{release.platform}"',
        settings={"follows": True, "waves": [100], "soak_minutes": 0},
        user=one,
    )
    approve(campaign=campaign, digest=campaign.digest, user=other)
    start(campaign=campaign, user=one)


def _settlement_plan() -> None:
    # By the evening, as shops do; and at an amount, so that somebody who looks now sees it happen, too.
    plan = SettlementPlan(
        name="Every evening, or at 1,000.00 EUR",
        settings={
            "cycle": "30 22 * * *",
            "cut_off": "23:00",
            "amount_limits": {"EUR": 100_000},
            "jitter_seconds": 300,
            "credit_days": 1,
        },
        is_default=True,
    )
    plan.clean()
    plan.save()
    _audit_created(plan)


TEMPLATE = {
    "title": "A till",
    "properties": {
        "host_address": {"type": "string", "format": "host", "title": "Acquirer's host", "maxLength": 120},
        "currency": {"type": "string", "format": "currency", "title": "Currency"},
        "contactless_limits": {"type": "object", "format": "money", "title": "Contactless limits"},
        "language": {"type": "string", "title": "Language", "enum": ["en", "de", "es", "pt", "el", "zh"]},
        "receipt_header": {"type": "string", "title": "Receipt header", "maxLength": 120},
        "receipt_footer": {"type": "string", "title": "Receipt footer", "maxLength": 120},
        "tip_enabled": {"type": "boolean", "title": "Tips", "default": False},
        "qr_enabled": {"type": "boolean", "title": "QR payments", "default": True},
        "reboot_hour": {"type": "integer", "title": "Daily restart, local hour", "minimum": 0, "maximum": 23},
        "health_interval_seconds": {
            "type": "integer",
            "title": "Seconds between health reports",
            "minimum": 5,
            "maximum": 3600,
        },
        "apn": {"type": "string", "title": "APN", "maxLength": 63},
        "wifi_password": {
            "type": "string",
            "title": "Wi-Fi password",
            "writeOnly": True,
            "minLength": 8,
            "maxLength": 63,
        },
    },
    "dependentRequired": {"contactless_limits": ["currency"]},
}


def _parameters() -> None:
    """A template for both models, values for all, and something of its own at one merchant."""
    template = publish_template(name="till", schema=TEMPLATE, actor=ACTOR).template
    for model in TerminalModel.objects.all():
        _audit_created(ModelTemplate.objects.create(model=model, template=template))
    everywhere = {"currency": "EUR", "tip_enabled": True, "contactless_limits": {"EUR": 5000}, "reboot_hour": 4}
    set_values(template=template, level=INSTALLATION, values=everywhere, actor=ACTOR)
    bakery = ("merchant", Merchant.objects.get(name="Nordlicht Bakeries").pk)
    set_values(
        template=template, level=bakery, values={"receipt_header": "Nordlicht Bakeries", "language": "de"}, actor=ACTOR
    )


def _release(package: Package, version: str, platform: str = PLATFORM) -> Release:
    alike = random.Random(package.name).randbytes(RELEASE_BYTES - CHANGED_BYTES)  # noqa: S311 - stand-ins for software
    content = alike + random.Random(version).randbytes(CHANGED_BYTES)  # noqa: S311
    artifact = File(io.BytesIO(content))
    release = publish_release(package=package, version=version, platform=platform, artifact=artifact, actor=ACTOR)
    return approve_release(release=release, actor=SECOND, sha256=release.sha256)


def _audit_created(instance: Model) -> None:
    action = f"{instance._meta.model_name}.create"
    record_change(actor=ACTOR, action=action, instance=instance, old={}, new=values_of(instance))
