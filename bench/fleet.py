"""Terminals for a load: planted active, each with a key of its own, and their messages, honestly signed.

They are the simulator's devices without its wires: thousands of them share one connection to the broker.
"""

import random
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec

from terminals.link.protocol import signing, topics
from terminals.simulator.device import Device
from terminals.simulator.faults import Faults
from terminals.simulator.identity import private_key, private_pem
from terminals.simulator.memory import Memory


def plant(count: int, prefix: str = "LOAD") -> list[Device]:
    """Put terminals on the books, or give those of an earlier load new keys, and return them as devices."""
    from terminals.enrolment.trust import anchors
    from terminals.estate.models import Merchant, Store, Terminal, TerminalModel

    trusted = anchors()
    devices = []
    for number in range(count):
        name = f"{prefix}-{number:06d}"
        key_pem = private_pem(ec.generate_private_key(ec.SECP256R1()))
        memory = Memory(serial=name, device_id=name, topics=topics.told(name), private_key_pem=key_pem, paper=10**9)
        memory.trust_anchors(trusted)
        dice = random.Random(number)
        devices.append(Device(memory, faults=Faults(), dice=dice, now=lambda: datetime.now(UTC)))
    merchant, _ = Merchant.objects.get_or_create(mid="LOAD", defaults={"name": "Load"})
    store, _ = Store.objects.get_or_create(name="Load", merchant=merchant)
    model, _ = TerminalModel.objects.get_or_create(vendor="Acme", name="Load", platform="linux-arm64")
    rows = [
        Terminal(
            serial=d.memory.serial,
            device_id=d.memory.device_id,
            store=store,
            model=model,
            state="active",
            public_key_pem=signing.public_pem(private_key(d.memory.private_key_pem)),
        )
        for d in devices
    ]
    Terminal.objects.bulk_create(
        rows, batch_size=1000, update_conflicts=True, unique_fields=["serial"], update_fields=["public_key_pem"]
    )
    return devices
