"""Two languages: every page in zh-Hans shows no English sentence of ours; who reads chooses, before and after log-in."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import translation
from rest_framework.test import APIClient

from fleet.pages.models import Preferences
from fleet.pages.terminal import TABS
from fleet.roles import ROLES
from terminals.estate.models import Terminal
from terminals.keys.services import request_key_delivery
from terminals.link.models import Command
from terminals.settlement.models import SettlementRun
from terminals.settlement.runs.services import request_settlement
from terminals.simulator.device import Outgoing
from terminals.simulator.faults import Faults
from tests.conftest import TEMPLATE, deliver, enrolled_device, make_plan, obey, set_parameters, working_device

MODELS = [model._meta for model in admin.site._registry]
# Three English words in a row make a sentence, or a piece of one.
SENTENCE = re.compile(r"[A-Za-z]+'?[a-z]* [a-z]+ [a-z]+")
SHOWN = ("title", "aria-label", "placeholder", "data-tw-confirm", "alt")


class Shown(HTMLParser):
    """What a reader sees of a page: text and the attributes that are shown, but for scripts, code and `lang=en`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        unread = tag in ("script", "style", "code", "pre", "svg") or "material-symbols" in (values.get("class") or "")
        if self._hidden or unread or (tag != "html" and values.get("lang") == "en"):
            self._hidden += [tag] if tag not in ("br", "img", "input", "link", "meta", "hr") else []
        self.texts += [str(values[name]) for name in SHOWN if values.get(name)]

    def handle_endtag(self, tag: str) -> None:
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.texts.append(" ".join(data.split()))


def shown(html: str) -> list[str]:
    page = Shown()
    page.feed(html)
    return page.texts


def ours() -> set[str]:
    """Every English text of the catalogue that its Chinese differs from."""
    from babel.messages.pofile import read_po

    path: Path = settings.LOCALE_PATHS[0] / "zh_Hans" / "LC_MESSAGES" / "django.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale="zh_Hans")
    return {str(m.id) for m in catalogue if m.id and isinstance(m.id, str) and m.string != m.id and len(m.id) > 2}


@pytest.fixture
def reader(client: Client, operator: Any) -> Client:
    client.force_login(operator)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN,zh;q=0.9"
    return client


@pytest.fixture
def lived_in(register: Callable[[str], Terminal]) -> Terminal:
    """A terminal with something of everything that pages show, trouble included."""
    make_plan("nightly", cycle="30 22 * * *", time_zone="UTC", is_default=True)
    terminal = register("SN-1")
    set_parameters(terminal, currency="EUR")
    device = enrolled_device(terminal, Faults(wrong_totals=True, wrong_kcv=True))
    device.memory.paper = 1
    deliver(device.hello(), device.health(), Outgoing("tw/v1/13/SN-1/up/health", b"{"))
    terminal.refresh_from_db()
    device.sell()
    deliver(*device.upload_transactions())
    request_settlement(terminal=terminal, actor="ops")
    obey(device, "settle")
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    device.memory.paper = 5
    device.sell()
    deliver(*device.upload_transactions(), device.health())
    return terminal


def pages(terminal: Terminal) -> Iterator[str]:
    yield from (reverse(name) for name in ("admin:index", "overview-panel", "preferences", "api-reference"))
    yield from (f"{reverse('terminal-page', args=[terminal.pk])}?tab={tab}" for tab in TABS)
    yield reverse("terminal-panel", args=[terminal.pk])
    for meta in MODELS:
        name = f"admin:{meta.app_label}_{meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        if row := meta.model._default_manager.first():
            yield reverse(f"{name}_change", args=[row.pk])


def test_every_page_in_chinese_shows_no_english_of_ours(reader: Client, lived_in: Terminal) -> None:
    # Roles and parameters are called as they are written.
    english, found, seen = ours() - set(ROLES) - set(TEMPLATE["properties"]), set[tuple[str, str]](), 0
    for address in (*pages(lived_in), "/no/such/page"):
        answer = reader.get(address, follow=True)
        if answer.status_code == 403:  # what nobody may add
            continue
        assert answer.status_code == (404 if address == "/no/such/page" else 200), address
        seen += 1
        for text in shown(answer.content.decode()):
            plain = text.rstrip(":").strip()
            if plain in english or plain[:1].lower() + plain[1:] in english:
                found.add((address, text))
    assert not sorted({t for _, t in found})
    assert seen > 60


def test_no_page_of_ours_has_a_sentence_that_nobody_can_translate(reader: Client, lived_in: Terminal) -> None:
    addresses = [a for a in pages(lived_in) if "django_celery_beat" not in a]  # its own field names are English
    found = {
        (address, text)
        for address in addresses
        for answer in [reader.get(address, follow=True)]
        if answer.status_code in (200, 403)  # 403: what nobody may add
        for text in shown(answer.content.decode())
        if SENTENCE.search(text)
        and not text.startswith("envelope:")  # a dead letter's detail is for the terminal's maker
    }
    assert not sorted({t for _, t in found})


def test_the_browsers_language_counts_before_log_in(client: Client, db: None) -> None:
    page = client.get(reverse("account_login"), headers={"Accept-Language": "zh-CN"}).content.decode()
    assert '<html lang="zh-hans"' in page
    assert "登录" in page
    page = client.get(reverse("account_login"), headers={"Accept-Language": "de"}).content.decode()
    assert '<html lang="en"' in page


def test_an_operators_own_choice_of_language_and_zone_outlives_the_session(client: Client, operator: Any) -> None:
    client.force_login(operator)
    answer = client.post(reverse("preferences"), {"language": "zh-hans", "time_zone": "Asia/Shanghai"}, follow=True)
    assert "从现在起" in answer.content.decode()
    client.logout()
    client.force_login(operator)
    page = client.get(reverse("preferences"), headers={"Accept-Language": "en"}).content.decode()
    assert "+0800" in page
    assert "语言与时区" in page
    assert re.search(r"\d{4}年\d{1,2}月\d{1,2}日", page)
    refused = client.post(reverse("preferences"), {"language": "xx", "time_zone": "Mars/Base"})
    assert set(refused.context["form"].errors) == {"language", "time_zone"}


@pytest.mark.parametrize("zone", ["Etc/GMT+5", "Asia/Kathmandu", "UTC"])
def test_every_zone_that_is_offered_works(client: Client, operator: Any, zone: str) -> None:
    client.force_login(operator)
    assert client.post(reverse("preferences"), {"language": "", "time_zone": zone}, follow=True).status_code == 200


def test_a_zone_that_is_no_more_keeps_nobody_out(client: Client, operator: Any) -> None:
    Preferences.objects.create(user=operator, language="", time_zone="Mars/Base")
    client.force_login(operator)
    assert client.get(reverse("preferences")).status_code == 200


def test_facts_and_refusals_speak_the_callers_language(api: APIClient, lived_in: Terminal) -> None:
    url = f"/api/v1/terminals/{lived_in.pk}"
    told = [line["text"] for line in api.get(f"{url}/timeline/", headers={"Accept-Language": "zh-CN"}).json()]
    assert "启动并连接" in told
    assert any("对账不平" in text for text in told)
    refused = api.post(f"{url}/retire/", {}, headers={"Accept-Language": "zh-CN"}).json()
    assert refused["reason"] == "unsettled_money"
    assert "未结算" in refused["detail"]
    english = api.post(f"{url}/retire/", {}, headers={"Accept-Language": "en"}).json()
    assert "are not settled; settle first" in english["detail"]
    wrong = api.post(f"{url}/resume/", {}, headers={"Accept-Language": "zh-CN"}).json()
    assert wrong["detail"] == "终端 SN-1 处于在用状态\uff1b只有已暂停的终端可以恢复"


def test_the_catalogue_lacks_nothing_and_is_compiled() -> None:
    call_command("words", "--check")


def test_a_text_without_a_translation_fails_the_check(tmp_path: Path, settings: Any) -> None:
    from django.core.management import CommandError

    catalogue = settings.LOCALE_PATHS[0] / "zh_Hans" / "LC_MESSAGES"
    copy = tmp_path / "zh_Hans" / "LC_MESSAGES"
    copy.mkdir(parents=True)
    (copy / "django.po").write_text((catalogue / "django.po").read_text().replace('msgstr "总览"', 'msgstr ""'))
    settings.LOCALE_PATHS = [tmp_path]
    with pytest.raises(CommandError, match=r"1 texts lack their translation .* Overview"):
        call_command("words", "--check")


def test_words_that_nobody_translated_stay_as_they_are() -> None:
    from terminals.common.words import word

    with translation.override("zh-hans"):
        assert (word("out_of_paper"), word("warp_drive")) == ("缺纸", "warp drive")
    assert word("out_of_paper") == "out of paper"


def test_commands_are_told_by_their_names(lived_in: Terminal) -> None:
    from fleet.pages.selectors import PARTS, timeline

    assert Command.objects.exists()
    with translation.override("zh-hans"):
        assert "ops 发起\uff1a结算" in {line["text"] for line in timeline(lived_in, frozenset(PARTS))}


def test_a_state_without_a_colour_of_its_own_is_a_word_too(reader: Client, lived_in: Terminal) -> None:
    SettlementRun.objects.update(state="requested", terminal=lived_in)
    page = reader.get(reverse("admin:settlement_settlementrun_changelist")).content.decode()
    assert "已请求" in page
    assert ">requested<" not in " ".join(page.split()).replace("> ", ">").replace(" <", "<")


def test_a_dead_letters_reason_is_told_in_the_readers_language(
    reader: Client, register: Callable[[str], Terminal]
) -> None:
    device = working_device(register("SN-1"))
    Terminal.objects.update(state="retired")
    deliver(device.health())
    assert "终端处于已注销状态" in reader.get(reverse("admin:link_deadletter_changelist")).content.decode().replace(
        " ", ""
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("terminals/?nothing=1", None),
        ("terminals/?ordering=nothing", None),
        ("nothing/", None),
        ("releases/1/assign/", {"terminals": [99]}),
        ("parameters/values/", "[" * 10_000),
        ("merchants/", {"name": "x", "mid": "a b"}),
    ],
)
def test_the_apis_problems_are_told_in_the_callers_language(operator: Any, path: str, body: Any) -> None:
    api = APIClient()
    api.force_authenticate(operator)
    api.credentials(HTTP_ACCEPT_LANGUAGE="zh-CN")
    if isinstance(body, str):
        answer = api.post(f"/api/v1/{path}", body.encode(), content_type="application/json")
    else:
        answer = api.get(f"/api/v1/{path}") if body is None else api.post(f"/api/v1/{path}", body)
    assert answer.status_code in (400, 404)
    assert not SENTENCE.search(answer.content.decode()), answer.content.decode()


def test_permissions_and_background_work_are_told_in_the_readers_language(reader: Client) -> None:
    roles = reader.get(reverse("admin:auth_group_add")).content.decode()
    assert "Can add" not in roles
    assert "可以停用和恢复终端" in roles
    assert "签署锚点" in reader.get(reverse("admin:django_celery_beat_periodictask_changelist")).content.decode()
