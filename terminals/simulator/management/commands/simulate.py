"""`manage.py simulate`: a fleet of virtual terminals, or the one terminal that a person has just registered."""

import asyncio
import fcntl
import json
import logging
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, TextIO

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from terminals.common.tracing import traces
from terminals.simulator import acquirer, fleet
from terminals.simulator.enrol import EnrolmentFailed
from terminals.simulator.faults import DEFAULT_SHARES, faults_of, parse_shares

logger = logging.getLogger(__name__)


FLEETS_FAULTS = ",".join(f"{kind}={share}" for kind, share in DEFAULT_SHARES.items())


class Command(BaseCommand):
    help = (
        "Simulate terminals against the running server. `--terminals N` makes a fleet that registers and enrols itself; "
        "`--serial S --code C` is one terminal that you have registered."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--terminals", type=int, help="how many")
        parser.add_argument("--seed", type=int, default=1, help="the same seed plants the same faults")
        parser.add_argument("--serial", help="serial number of one registered terminal")
        parser.add_argument("--code", help="its activation code; not needed once it is enrolled")
        parser.add_argument("--ask", action="store_true", help="enrol without a code; an operator must let it in")
        parser.add_argument("--url", help="the server; STATE_DIR/operator.json knows it")
        parser.add_argument(
            "--faults",
            help="shares of misbehaving terminals, for example wrong_totals=0.1,wrong_kcv=0.05; default for a fleet "
            + f"{FLEETS_FAULTS}, for one terminal none",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["terminals"]) == bool(options["serial"]) or (options["terminals"] or 1) < 1:
            raise CommandError("say either --terminals N (1 or more) or --serial S --code C")
        try:
            said = options["faults"] or ("" if options["serial"] else FLEETS_FAULTS)
            shares = parse_shares(said)
        except ValueError as error:
            raise CommandError(f"--faults: {error}") from None
        operator = _read_operator()
        url = options["url"] or operator.get("url") or settings.PUBLIC_URL
        folder = Path(settings.STATE_DIR) / "simulator"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (
            options["serial"]
            and not (options["code"] or options["ask"])
            and not (folder / f"{options['serial']}.json").exists()
        ):
            raise CommandError(
                f"{options['serial']} has not enrolled yet; give its activation code with --code, or let it --ask"
            )
        lock = _lock(folder / f".{options['serial'] or 'fleet'}.lock")  # noqa: F841 - held until the process ends
        traces.start("terminals")
        try:
            asyncio.run(_run(options, url, folder, operator.get("token", ""), shares))
        except KeyboardInterrupt:
            return
        except EnrolmentFailed as failure:
            raise CommandError(f"enrolment failed: {failure}") from None


def _lock(path: Path) -> TextIO:
    """Hold a terminal's (or the fleet's) memory: two with one identity would push each other off the broker."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CommandError(f"another simulator runs this already ({path})") from None
    return file


def _read_operator() -> dict[str, str]:
    path = Path(settings.STATE_DIR) / "operator.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


async def _run(options: dict[str, Any], url: str, folder: Path, token: str, shares: dict[str, float]) -> None:
    limits = httpx.Limits(max_connections=16)
    with httpx.Client(timeout=30, limits=limits) as downloads:
        async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as http:
            await _wait_for_server(http)
            await _live(options, http, downloads, folder, token, shares)


async def _live(
    options: dict[str, Any],
    http: httpx.AsyncClient,
    downloads: httpx.Client,
    folder: Path,
    token: str,
    shares: dict[str, float],
) -> None:
    one, seed = options["serial"], options["seed"]
    serials = [one] if one else [f"SIM-{number:05d}" for number in range(1, options["terminals"] + 1)]
    terminals = [
        fleet.VirtualTerminal(serial, folder, http, downloads, faults_of(serial, seed, shares), seed, len(serials))
        for serial in serials
    ]
    if one and not terminals[0].enrolled:
        await terminals[0].enrol(options["code"] or "")
        logger.info("%s enrolled", one)
    elif not one:
        courier = acquirer.Courier(http, token, folder)
        for number, terminal in enumerate(terminals, start=1):
            terminal.tell(courier, f"{number:08d}")
        await fleet.enrol_fleet(terminals, http, token)
    logger.info("%d terminal%s at work", len(terminals), "" if one else "s")
    await fleet.live(terminals, None if one else courier)


async def _wait_for_server(http: httpx.AsyncClient) -> None:
    for attempt in range(300):
        if attempt == 10:
            logger.info("waiting for the server at %s", http.base_url)
        try:
            if (await http.get("/healthz")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.2)
    raise EnrolmentFailed(f"no server answers at {http.base_url}; start it with `make run`")
