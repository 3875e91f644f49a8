"""Two persons release to two hundred terminals: a bad version is stopped by evidence and rolled back, a good one arrives."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from terminals.campaigns import engine
from terminals.campaigns.models import Campaign, Member
from terminals.estate.models import Membership, Organisation, Terminal
from terminals.link.models import Command
from terminals.link.outcomes import expire_commands
from terminals.simulator.device import Device
from tests.browser.conftest import PASSWORD, log_in
from tests.conftest import deliver, in_thread, obey
from tests.terminals.campaigns.conftest import asked, at_work, publish

FLEET = 200
Devices = dict[int, Device]


@pytest.fixture
def devices(transactional_db: None, register: Callable[[str], Terminal]) -> Devices:
    made = at_work(register(f"SN-{n:03d}") for n in range(FLEET))
    for version in ("1.0.0", "2.0.0", "2.0.1"):
        publish(version)
    organisation = Organisation.objects.create(name="All")
    Terminal.objects.first().store.merchant.__class__.objects.update(organisation=organisation)  # type: ignore[union-attr]
    for name in ("ann", "bob"):
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        Membership.objects.create(user=user, role=Group.objects.get(name="release manager"), organisation=organisation)
    return made


def live(
    devices: Devices, campaign: Campaign, *, off: frozenset[int] = frozenset(), later: timedelta = timedelta(0)
) -> None:
    """Let the engine work and terminals answer, until nothing is due any more; some are switched off."""
    for _ in range(40):
        moved = engine.step(campaign.pk, timezone.now() + timedelta(minutes=1) + later)
        answering = [device for device in asked(devices) if device not in [devices[pk] for pk in off]]
        for device in answering:
            obey(device, "install")
        for start in range(0, len(answering), 50):
            some = answering[start : start + 50]
            deliver(*(device.finish_install() for device in some))
            deliver(*(message for device in some for message in (device.hello(), device.health())))
        if not moved and not answering:
            return


def propose(page: Page, url: str, release: str, name: str, waves: str) -> None:
    page.goto(f"{url}/admin/campaigns/new/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Release, or none:").select_option(label=f"pay {release} (linux-arm64)")
    page.get_by_label("Terminals", exact=True).fill("state = active")
    page.get_by_label("Waves, per cent in all").fill(waves)
    page.get_by_label("Then watched for, minutes").fill("0")
    page.get_by_label("Asked, at most a minute").fill("100000")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.locator("#preview")).to_contain_text(f"{FLEET} terminals")
    page.get_by_role("button", name="Propose it").click()


def agree_and_start(ann: Page, bob: Page) -> None:
    expect(ann.locator("#do-start")).to_have_count(0)
    bob.goto(ann.url)
    bob.locator("#do-approve").click()
    expect(bob.locator("body")).to_contain_text("You agreed to it")
    ann.reload()
    ann.locator("#do-start").click()
    expect(ann.locator("#state")).to_have_text("running")


def second(page: Page) -> Page:
    browser: Browser | None = page.context.browser
    assert browser is not None
    return browser.new_context(viewport={"width": 390, "height": 844}).new_page()


def roll_back(page: Page, bob: Page, devices: Devices, campaign: Campaign) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#do-roll-back").click()
    expect(page.locator("body")).to_contain_text("1 campaign was proposed")
    page.get_by_role("link", name="Two: roll back 1").click()
    agree_and_start(page, bob)
    back = Campaign.objects.get(rolls_back=campaign)
    in_thread(lambda: live(devices, back))
    expect(page.locator("#state")).to_have_text("done", timeout=10_000)
    assert {device.memory.software["payment"] for device in devices.values()} == {"1.0.0"}


def test_a_bad_release_is_stopped_and_rolled_back_and_a_good_one_arrives(
    devices: Devices, page: Page, live_server: LiveServer
) -> None:
    bob = second(page)
    log_in(page, live_server.url, "ann")
    log_in(bob, live_server.url, "bob")
    propose(page, live_server.url, "2.0.0", "Two", "5, 50, 100")
    campaign = Campaign.objects.get()
    later_waves = Member.objects.filter(wave__number__gt=1).order_by("pk")
    for pk in list(later_waves.values_list("terminal_id", flat=True))[::10]:
        devices[pk].faults = devices[pk].faults._replace(of_releases=frozenset({"kills_printer@2.0.0"}))
    agree_and_start(page, bob)
    in_thread(lambda: live(devices, campaign))
    expect(page.locator("#state")).to_have_text("paused", timeout=10_000)
    expect(page.locator("#wave-1")).to_contain_text("held")
    expect(page.locator("#wave-2")).to_contain_text("printer: faults grew by")
    expect(page.locator("#wave-3")).to_contain_text("not begun")
    assert Member.objects.filter(wave__number=3, state="planned").count() == FLEET // 2

    roll_back(page, bob, devices, campaign)

    propose(page, live_server.url, "2.0.1", "Mended", "5, 100")
    mended = Campaign.objects.get(name="Mended")
    off = frozenset(mended.waves.get(number=2).members.order_by("pk").values_list("terminal_id", flat=True)[:20])
    agree_and_start(page, bob)
    in_thread(lambda: live(devices, mended, off=off))
    expect(page.locator("#wave-2")).to_contain_text("succeeded 170", timeout=10_000)
    expect(page.locator("#state")).to_have_text("running")

    def switched_on_again() -> None:
        Command.objects.filter(type="install", state="queued").update(expires_at=timezone.now() - timedelta(minutes=1))
        expire_commands()
        live(devices, mended, later=timedelta(hours=1))

    in_thread(switched_on_again)
    expect(page.locator("#state")).to_have_text("done", timeout=10_000)
    assert {device.memory.software["payment"] for device in devices.values()} == {"2.0.1"}
    expect(bob.locator("body")).to_be_visible()
    bob.goto(page.url)
    assert bob.evaluate("document.documentElement.scrollWidth") <= 390
