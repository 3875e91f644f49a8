"""Credit files on pages and in the API: brought, watched, taken back; profiles typed and refused."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from terminals.common import vault
from terminals.estate.models import Organisation
from terminals.settlement import tasks
from terminals.settlement.credits import services
from terminals.settlement.models import Case, CreditChunk, CreditFile, CreditProfile, SettlementRun
from terminals.simulator.device import Device
from tests.terminals.settlement.credits.conftest import brought, rows, settled
from tests.terminals.settlement.credits.files import Credit, camt


@pytest.fixture
def browser(db: None, client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


def shown(browser: Client, name: str, *args: Any) -> str:
    return browser.get(reverse(name, args=args)).content.decode()


def test_a_file_is_brought_read_and_taken_back_in_the_browser(
    browser: Client, device: Device, profile: CreditProfile
) -> None:
    settled(device)
    content = camt([Credit(amount="7.66"), Credit("00000042"), Credit(text="Rent")])
    file = SimpleUploadedFile("bank.xml", content)
    answer = browser.post(reverse("credits"), {"profile": profile.pk, "file": file})
    job = CreditFile.objects.get()
    assert answer.headers["Location"] == reverse("credit-file", args=[job.pk])
    assert "0 %" in shown(browser, "credit-file", job.pk)
    tasks.work_on_credits()
    page = shown(browser, "credit-file", job.pk)
    for told in ("100 %", "2.34 EUR too little credited", "terminal that nobody knows", "Take back 1 credit"):
        assert told in page
    run = reverse("admin:settlement_settlementrun_change", args=[SettlementRun.objects.get().pk])
    assert "7.66 EUR" in browser.get(run).content.decode()
    case = Case.objects.filter(terminal__isnull=False).get()
    assert "7.66 EUR" in shown(browser, "case", case.pk)
    again = browser.post(reverse("credits"), {"profile": profile.pk, "file": SimpleUploadedFile("b.xml", content)})
    assert "this very file was brought before" in again.content.decode()
    browser.post(reverse("credit-file-withdraw", args=[job.pk]))
    tasks.work_on_credits()
    assert "Taken back by root" in shown(browser, "credit-file-panel", job.pk)


def test_a_failed_file_says_why(browser: Client, profile: CreditProfile) -> None:
    job = brought(profile, b"<html/>")
    page = shown(browser, "credit-file", job.pk)
    assert "this is no camt.052, camt.053 or camt.054" in page
    assert "Nothing of it counts." in page


def test_rejects_are_shown(browser: Client, csv_profile: CreditProfile) -> None:
    job = brought(csv_profile, rows("00000001,1,x,,EUR,,,"))
    assert "&#x27;x&#x27; is no amount" in shown(browser, "credit-file", job.pk)


def form(**values: str) -> dict[str, str]:
    said = {"delimiter": "semicolon", "encoding": "utf-8", "decimal_mark": "comma", "amounts": "major"}
    said |= {"date_format": "DD.MM.YYYY", "format": "csv", "name": "House bank", "methods": "VISA = card/visa"}
    return {**said, "column_tid": "T", "column_batch": "B", "column_net": "N", "currency": "EUR", **values}


def test_a_profile_is_typed_with_its_columns_and_refused_with_the_reason(
    browser: Client, acquirer: Organisation
) -> None:
    add = reverse("admin:settlement_creditprofile_add")
    wrong = browser.post(add, form(organisation=str(acquirer.pk), column_tid=""))
    assert "name the columns of TID and batch" in wrong.content.decode()
    wrong = browser.post(add, form(organisation=str(acquirer.pk), fee_percent="1.255"))
    assert "at most two decimals" in wrong.content.decode()
    browser.post(add, form(organisation=str(acquirer.pk), fee_percent="1.25"))
    made = CreditProfile.objects.get()
    assert made.settings["fee_most_bp"] == 125
    assert made.settings["methods"] == {"visa": "card/visa"}
    page = browser.get(reverse("admin:settlement_creditprofile_change", args=[made.pk])).content.decode()
    assert "visa = card/visa" in page
    assert 'value="1.25"' in page


def test_the_api_brings_shows_and_takes_back(browser: Client, device: Device, profile: CreditProfile) -> None:
    settled(device)
    url = "/api/v1/settlement/credit-files/"
    job = browser.post(url, {"profile": profile.pk, "file": io.BytesIO(camt([Credit()]))})
    assert job.status_code == 202, job.content
    assert browser.post(url, {"profile": profile.pk, "file": io.BytesIO(camt([Credit()]))}).status_code == 409
    tasks.work_on_credits()
    pk = job.json()["id"]
    assert browser.get(f"{url}{pk}/").json()["percent"] == 100
    assert browser.get(f"{url}{pk}/rejects/").json() == []
    (entry,) = browser.get(f"/api/v1/settlement/credit-entries/?file={pk}").json()["results"]
    assert (entry["net_minor"], entry["account"]) == (1000, "DE89 … 3000")
    assert browser.post(f"{url}{pk}/withdraw/").status_code == 202


def test_what_is_sealed_is_sealed_anew_with_the_master_key(
    profile: CreditProfile, settings: Any, tmp_path: Any
) -> None:
    brought(profile, camt([Credit()]))
    services.bring(profile=profile, file=io.BytesIO(camt([Credit(batch=2)])), name="x.xml", actor="ann")
    assert services.reseal_credits() == 0
    old = Path(settings.VAULT_MASTER_KEY_FILE).read_text()
    keys = tmp_path / "keys"
    keys.write_text("ab" * 32 + "\n" + old)
    settings.VAULT_MASTER_KEY_FILE = str(keys)
    assert services.reseal_credits() == 2
    assert bytes(CreditChunk.objects.get().sealed).startswith(vault.current_head())
    tasks.work_on_credits()
    assert CreditFile.objects.latest("id").state == "done"


def test_a_terminals_money_tab_tells_what_was_credited_and_its_cases(
    browser: Client, device: Device, profile: CreditProfile
) -> None:
    settled(device)
    brought(profile, camt([Credit(amount="7.46", fee="0.20")]))
    case = Case.objects.get()
    page = browser.get(reverse("terminal-page", args=[case.terminal_id]), {"tab": "money"}).content.decode()
    assert f'id="case-{case.pk}"' in page
    assert "2.34 EUR" in page.partition(f'id="case-{case.pk}"')[2].partition("</p>")[0]
    run = page.partition('id="run-')[2].partition("</tr>")[0]
    assert "7.46 EUR" in run
    assert "0.20 EUR" in run
    assert "Net, EUR" in browser.get(reverse("case", args=[case.pk])).content.decode()
