"""Pages and API lists at two sizes of the estate: the 95th percentile over real HTTP, the larger against the smaller.

    python -m bench.pages 1000 100000

Each size has a database and a production server (gunicorn) of its own; requests go to them in turns, so that both meet the same
noise. Prints and adds to bench/results.json one ratio a page: `terminal_list_p95_100k_vs_1k`, and so on, and
`get_terminal_vs_empty_view` of the larger.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg

from tests import services

ROUNDS = 50
RESULTS = Path(__file__).parent / "results.json"
# Run in the estate's own process: plant it, and print a session of the administrator's, one of a merchant's operator, a token,
# and what addresses need.
PREPARE = """
import json, sys
from django.conf import settings
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends.db import SessionStore
from fleet.access.models import ApiToken
from fleet.local.estate import seed_estate
from terminals.estate.models import Membership, Merchant, Terminal
for planted in seed_estate(int(sys.argv[1])):
    pass
middle = Merchant.objects.order_by("id")[Merchant.objects.count() // 2]
root = User.objects.create_superuser("root")
clerk = User.objects.create_user("clerk", is_staff=True)
Membership.objects.create(user=clerk, role=Group.objects.get(name="operator"), merchant=middle)
def session(user):
    store = SessionStore()
    store[SESSION_KEY], store[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[-1]
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    return store.session_key
terminal = Terminal.objects.filter(store__merchant=middle).first()
told = {"root": session(root), "clerk": session(clerk), "token": ApiToken.objects.create(user=root)[1]}
print(json.dumps(told | {"terminal": terminal.pk, "serial": terminal.serial, "merchant": middle.name}))
"""
# name -> (whose session, or the token; path). What stands in braces is of the estate's middle.
PAGES = {
    "terminal_list": ("root", "/admin/terminals/terminal/"),
    "terminal_list_filtered": ("root", "/admin/terminals/terminal/?state__exact=active&link=online&model__id__exact=1"),
    "terminal_list_by_filter": (
        "root",
        "/admin/terminals/terminal/?filter=state+%3D+active+and+online+and+not+tag+%3D+pilot",
    ),
    "terminal_search_serial": ("root", "/admin/terminals/terminal/?q={serial_part}"),
    "terminal_search_merchant": ("root", "/admin/terminals/terminal/?filter=merchant+%3D+%22{merchant}%22"),
    "terminal_list_deep": ("root", "/admin/terminals/terminal/?p=15"),
    "terminal_list_operator": ("clerk", "/admin/terminals/terminal/"),
    "terminal_page": ("root", "/admin/terminals/{terminal}/"),
    "overview": ("root", "/admin/overview/panel/"),
    "overview_operator": ("clerk", "/admin/overview/panel/"),
    "runs_operator": ("clerk", "/admin/settlement/settlementrun/"),
    "empty_view": ("token", "/healthz"),
    "api_terminals": ("token", "/api/v1/terminals/"),
    "api_terminals_filtered": ("token", "/api/v1/terminals/?state=active&model=1&online=true"),
    "api_terminal": ("token", "/api/v1/terminals/{terminal}/"),
    "api_runs": ("token", "/api/v1/settlement/runs/"),
}


class Estate(NamedTuple):
    """One size: its server's address, and what `PREPARE` told."""

    name: str
    url: str
    told: dict[str, str]

    def request(self, page: str) -> httpx.Request:
        who, path = PAGES[page]
        address = path.format(**self.told, serial_part=str(self.told["serial"])[-7:]).replace(" ", "+")
        headers = {"Authorization": f"Bearer {self.told['token']}"} if who == "token" else {}
        cookies = {} if who == "token" else {"sessionid": self.told[who]}
        return httpx.Request("GET", self.url + address, headers=headers, cookies=cookies)


@contextmanager
def estate_of(terminals: int) -> Iterator[Estate]:
    """Make a database with so many terminals and serve it as in production."""
    name = f"{terminals // 1000}k" if terminals < 1_000_000 else f"{terminals // 1_000_000}m"
    with psycopg.connect(services.address("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE estate_{name}")
    port = services.free_port_pair()
    environment = {
        **os.environ,
        "DATABASE_URL": services.address(f"estate_{name}"),
        "DJANGO_SETTINGS_MODULE": "fleet.settings",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
    script = f"import django, sys; django.setup(); sys.argv[1:] = ['{terminals}']\n{PREPARE}"
    began = time.monotonic()
    told = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as database:
        database.execute("VACUUM ANALYZE")  # as autovacuum leaves it, or it runs in the midst of the measuring
    print(f"{terminals:,} terminals planted in {time.monotonic() - began:.0f} s", flush=True)
    server_process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "fleet.wsgi", "-b", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "4"],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/healthz")
        yield Estate(name, f"http://127.0.0.1:{port}", json.loads(told.stdout.splitlines()[-1]))
    finally:
        server_process.terminate()
        server_process.wait(20)


def _wait(url: str) -> None:
    for _ in range(100):
        try:
            httpx.get(url)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer")


def measure(small: Estate, large: Estate) -> dict[str, tuple[float, float, float]]:
    """Return page -> (p95 of the small, of the large, ratio), in ms; requests go to both in turns."""
    found = {}
    with httpx.Client(timeout=60) as client:
        for page in PAGES:
            times: dict[str, list[float]] = {small.name: [], large.name: []}
            for turn in range(ROUNDS + 3):
                for estate in (small, large):
                    began = time.perf_counter()
                    answer = client.send(estate.request(page))
                    if answer.status_code != 200:
                        raise RuntimeError(f"{page}: {answer.status_code}")
                    if turn >= 3:  # the first ones warm up
                        times[estate.name].append((time.perf_counter() - began) * 1000)
            few, many = (statistics.quantiles(times[one.name], n=20)[-1] for one in (small, large))
            found[page] = (few, many, many / few)
    return found


def main(small: int, large: int) -> None:
    services.start(durable=True)
    with estate_of(small) as one, estate_of(large) as other:
        found = measure(one, other)
    print(f"{'p95 in ms':28}{one.name:>10}{other.name:>10}{'ratio':>8}")
    for page, (few, many, ratio) in found.items():
        print(f"{page:28}{few:10.1f}{many:10.1f}{ratio:8.2f}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {f"{page}_p95_{other.name}_vs_{one.name}": round(ratio, 3) for page, (_, _, ratio) in found.items()}
    results["get_terminal_vs_empty_view"] = round(found["api_terminal"][1] / found["empty_view"][1], 3)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:3] or ("1000", "100000")))
