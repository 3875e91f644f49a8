"""A release in the browser and by the API: what is shown, who may press what."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.files import File
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from firmware.models import InstalledSoftware, Package, Release
from firmware.releases import MAX_ARTIFACT_BYTES, publish_release
from firmware.services import assign_release
from fleet.middleware import FORM_BYTES
from fleet.pages import releases as pages
from terminals.common.errors import Refusal
from terminals.estate.models import Membership, Terminal, TerminalModel
from terminals.estate.targets.choosing import matching
from tests.conftest import enrolled_device
from tests.firmware.test_materials import BILL
from tests.releases import draft, ready

Register = Callable[[str], Terminal]


def test_the_page_counts_who_runs_the_version_as_its_link_finds_them(
    register: Register, staff: Client, operator: User
) -> None:
    release = ready("2.0.0")
    for number, version in enumerate(("2.0.0", "2.0.0", "1.0.0")):
        told = {"component": "payment", "version": version, "reported_at": timezone.now()}
        InstalledSoftware.objects.create(terminal=register(f"SN-{number}"), **told)
    shown = staff.get(reverse("release", args=[release.pk])).context
    assert shown["running"] == 2
    assert matching(Terminal.objects.all(), shown["filter"], operator).count() == 2


def test_the_page_counts_to_a_bound_what_is_under_way(
    register: Register, staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "COUNTED", 2)
    release = ready("2.0.0")
    page = reverse("release", args=[release.pk])
    for number in range(3):
        terminal = register(f"SN-{number}")
        enrolled_device(terminal)
        assign_release(release=release, terminals=[terminal], actor="ops")
        shown = staff.get(page)
        assert shown.context["under_way"] == min(number + 1, 2)
        assert ("at least" in shown.content.decode()) == (number > 0)


def test_two_persons_on_the_page(db: None, client: Client) -> None:
    ann, bob = (User.objects.create_superuser(name) for name in ("ann", "bob"))
    ready("0.9.0")
    release = draft("1.0.0", actor="ann")
    page, act = (reverse(name, args=[release.pk]) for name in ("release", "release-action"))
    client.force_login(ann)
    shown = client.get(page).content.decode()
    assert "Somebody other than you must approve it" in shown
    assert "do-approve" not in shown
    client.post(act, {"action": "approve", "sha256": release.sha256})
    release.refresh_from_db()
    assert release.state == "draft"
    client.force_login(bob)
    assert "do-approve" in client.get(page).content.decode()
    client.post(act, {"action": "approve", "sha256": release.sha256})
    release.refresh_from_db()
    assert (release.state, release.approved_by) == ("approved", "bob")
    assert "do-campaign" in client.get(page).content.decode()
    client.post(act, {"action": "withdraw", "reason": "it breaks printers"})
    assert "it breaks printers" in client.get(page).content.decode()


def test_a_release_by_the_api(api: APIClient) -> None:
    ready("0.9.0")
    release = draft("1.0.0")
    url = f"/api/v1/releases/{release.pk}/"
    assert api.post(f"{url}approve/", {"sha256": "0" * 64}, format="json").json()["reason"] == "other_bytes"
    approved = api.post(f"{url}approve/", {"sha256": release.sha256}, format="json").json()
    assert (approved["state"], approved["approved_by"]) == ("approved", "ops")
    assert approved["listed_at"]
    parts = api.post(f"{url}bill-of-materials/", BILL, format="json").json()
    assert len(parts) == 3
    found = api.get("/api/v1/release-components/?name=openssl&version=3.0.7").json()["results"]
    assert [part["release"] for part in found] == [release.pk]
    assert api.post(f"{url}deprecate/", {"reason": "old"}, format="json").json()["state"] == "deprecated"
    assert api.post(f"{url}reinstate/").json()["state"] == "approved"
    assert api.post(f"{url}withdraw/", {}, format="json").json()["reason"] == "no_reason"
    assert api.post(f"{url}withdraw/", {"reason": "bad"}, format="json").json()["state"] == "withdrawn"


def test_what_is_signed_of_a_package_stays(api: APIClient) -> None:
    package = ready("1.0.0").package
    url = f"/api/v1/packages/{package.pk}/"
    for name, value in (("name", "other"), ("component", "os"), ("kind", "os")):
        assert api.patch(url, {name: value}, format="json").status_code == 400, name
    assert api.patch(url, {"description": "tills"}, format="json").status_code == 200


def test_a_member_of_a_part_approves_nothing_for_all(register: Register, client: Client) -> None:
    terminal, release = register("SN-1"), draft("2.0.0")
    ready("1.0.0")
    user = User.objects.create_user("ann", is_staff=True)
    Membership.objects.create(user=user, role=Group.objects.get(name="release manager"), store=terminal.store)
    client.force_login(user)
    for verb in ("approve", "deprecate", "reinstate", "withdraw"):
        url = f"/api/v1/releases/{release.pk}/{verb}/"
        said = {"sha256": release.sha256, "reason": "x"}
        assert client.post(url, said, content_type="application/json").status_code in (403, 404), verb
    act = reverse("release-action", args=[release.pk])
    assert client.post(act, {"action": "approve", "sha256": release.sha256}).status_code == 403
    release.refresh_from_db()
    assert release.state == "draft"


def test_limits_in_a_form_are_kept(api: APIClient) -> None:
    package = Package.objects.create(name="pay")
    model = TerminalModel.objects.create(vendor="Acme", name="Lab", platform="linux-arm64")
    form = {"package": package.pk, "version": "1.0.0", "platform": "linux-arm64", "models_only": [model.pk]}
    form |= {"artifact": SimpleUploadedFile("pay.bin", b"x"), "requires": '{"os": "12.4"}'}
    made = api.post("/api/v1/releases/", form, format="multipart").json()
    assert (made["requires"], made["models_only"]) == ({"os": "12.4"}, [model.pk])
    release = Release.objects.get()
    model.delete()
    assert release.narrowed, "it is for no other model, though this one is gone"
    bad = form | {"version": "1.1.0", "artifact": SimpleUploadedFile("pay.bin", b"x"), "models_only": []}
    for requires in ("{", "[" * 100_000, '{"os": ' + "9" * 5000 + "}"):
        answer = api.post("/api/v1/releases/", bad | {"requires": requires}, format="multipart")
        assert answer.status_code == 400, requires[:20]
    assert Release.objects.count() == 1


class Unread:
    """The body of a request that nobody may look at."""

    def read(self, *_args: object) -> bytes:
        raise AssertionError("it was read")

    readline = read


@pytest.mark.parametrize("path", ["/api/v1/releases/", "/admin/firmware/release/add/"])
def test_an_upload_that_says_it_is_too_long_is_refused_unread(staff: Client, path: str) -> None:
    told: dict[str, Any] = {"CONTENT_LENGTH": str(MAX_ARTIFACT_BYTES + 2 * FORM_BYTES), "wsgi.input": Unread()}
    answer = staff.generic("POST", path, b"", "multipart/form-data; boundary=b", **told)
    assert (answer.status_code, answer["Content-Type"]) == (413, "application/problem+json")
    assert "at most 1000000000" in answer.json()["detail"]


def test_a_file_that_is_too_long_is_refused_before_it_is_read(db: None, tmp_path: Path) -> None:
    package = Package.objects.create(name="pay")
    TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
    with (tmp_path / "sparse").open("w+b") as file:
        file.truncate(MAX_ARTIFACT_BYTES + 1)
        artifact = File(file, name="pay.bin")
        with pytest.raises(Refusal, match="has 1000000001 bytes"):
            publish_release(package=package, version="1.0.0", platform="linux-arm64", artifact=artifact, actor="ops")
        assert file.tell() == 0
    assert not Release.objects.exists()
