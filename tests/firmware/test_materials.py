"""Bills of materials: what releases are made of, which known weaknesses that has, and which terminals run it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from firmware import materials
from firmware.models import Release, Weakness
from terminals.estate.models import Terminal
from terminals.estate.targets.choosing import matching
from tests.firmware.conftest import refusal, running
from tests.releases import draft, ready

Register = Callable[[str], Terminal]

BILL: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "components": [
        {
            "type": "library",
            "name": "openssl",
            "version": "3.0.7",
            "purl": "pkg:generic/openssl@3.0.7",
            "licenses": [{"license": {"id": "Apache-2.0"}}],
            "components": [{"type": "library", "name": "libcrypto", "version": "3.0.7"}],
        },
        {"type": "library", "name": "zlib", "version": "1.2.13"},
    ],
}


def test_which_terminals_run_openssl_3_0_7(register: Register, operator: Any) -> None:
    one, two = register("SN-1"), register("SN-2")
    with_it, without = ready("2.0.0"), ready("2.1.0")
    parts = materials.attach(release=with_it, document=BILL, actor="ops")
    assert sorted((part.name, part.version, part.licences) for part in parts) == [
        ("libcrypto", "3.0.7", ""),
        ("openssl", "3.0.7", "Apache-2.0"),
        ("zlib", "1.2.13", ""),
    ]
    running(one, payment=with_it.version)
    running(two, payment=without.version)

    def pass_(text: str) -> list[str]:
        return list(matching(Terminal.objects.all(), text, operator).values_list("serial", flat=True))

    assert pass_('library = "OpenSSL 3.0.7"') == ["SN-1"]
    assert pass_('library = "openssl"') == ["SN-1"]
    assert pass_('library = "openssl 3.0.8"') == []
    assert pass_('library ~ "crypto"') == ["SN-1"]
    assert pass_('not library = "openssl 3.0.7"') == ["SN-2"]
    materials.attach(release=with_it, document={**BILL, "components": []}, actor="ops")
    assert pass_('library = "openssl"') == []


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"bomFormat": "SPDX"},
        {"bomFormat": "CycloneDX", "components": {}},
        {"bomFormat": "CycloneDX", "components": [{"name": 5}]},
        {"bomFormat": "CycloneDX", "components": [{"type": "library"}]},
        {"bomFormat": "CycloneDX", "components": [{"type": "library", "name": "x", "purl": "not one"}]},
    ],
)
def test_what_is_no_bill_of_materials_is_refused_and_the_earlier_one_stays(db: None, document: Any) -> None:
    release = draft()
    materials.attach(release=release, document=BILL, actor="ops")
    assert refusal(materials.attach, release=release, document=document, actor="ops") == "bad_bill_of_materials"
    assert release.components.count() == 3


def test_a_library_with_a_space_in_its_name_is_found(register: Register, operator: Any) -> None:
    terminal, release = register("SN-1"), ready("2.0.0")
    part = {"type": "library", "name": "Visual C++ Runtime", "version": "14.2"}
    materials.attach(release=release, document={**BILL, "components": [part]}, actor="ops")
    materials.attach(release=release, document={**BILL, "components": [part]}, actor="ops")
    assert release.components.count() == 1
    running(terminal, payment="2.0.0")
    for text in ("Visual C++ Runtime 14.2", "visual c++ runtime"):
        assert matching(Terminal.objects.all(), f'library = "{text}"', operator).count() == 1


# --- known weaknesses ------------------------------------------------------------------------------------------------
def weak(identifier: str, *severities: str, state: str = "", ref: str = "openssl") -> dict[str, Any]:
    found: dict[str, Any] = {"id": identifier, "ratings": [{"severity": one} for one in severities]}
    found |= {"affects": [{"ref": ref}]}
    return found | ({"analysis": {"state": state}} if state else {})


def scanned(release: Release, *found: dict[str, Any]) -> None:
    parts = [{"type": "library", "name": "openssl", "version": "3.0.7", "bom-ref": "openssl"}]
    document = {**BILL, "components": parts, "vulnerabilities": list(found)}
    materials.attach(release=release, document=document, actor="ops")


def test_weaknesses_are_kept_by_their_worst_rating_and_what_is_ruled_out_is_none(db: None) -> None:
    release = draft()
    ruled_out = [weak(f"CVE-{n}", "high", state=state) for n, state in enumerate(("not_affected", "resolved"))]
    scanned(
        release,
        weak("CVE-2026-1", "low", "critical"),
        weak("CVE-2026-2", state="exploitable", ref="gone"),
        *ruled_out,
    )
    kept = [(one.identifier, one.severity, one.part) for one in Weakness.objects.all()]
    assert kept == [("CVE-2026-1", "critical", "openssl 3.0.7"), ("CVE-2026-2", "unknown", "")]
    scanned(release, weak("CVE-2026-3", "medium"))
    assert [one.identifier for one in Weakness.objects.all()] == ["CVE-2026-3"], "a later scan takes its place"


@pytest.mark.parametrize("vulnerabilities", [{}, [{"id": 5}], [5], [{"ratings": [{"severity": "awful"}]}]])
def test_vulnerabilities_that_are_none_are_refused(db: None, vulnerabilities: Any) -> None:
    document = {**BILL, "vulnerabilities": vulnerabilities}
    release = draft()
    assert refusal(materials.attach, release=release, document=document, actor="ops") == "bad_bill_of_materials"
    many = {**BILL, "vulnerabilities": [{}] * 2001}
    assert refusal(materials.attach, release=release, document=many, actor="ops") == "too_many_weaknesses"


def test_which_terminals_run_something_weak_and_how_many(
    register: Register, operator: Any, admin_client: Client
) -> None:
    one, two = register("SN-1"), register("SN-2")
    scanned(ready("2.0.0"), weak("CVE-2026-1", "critical"), weak("CVE-2026-2", "low"))
    release = Release.objects.get(version="2.0.0")
    scanned(ready("2.1.0"))
    running(one, payment="2.0.0")
    running(two, payment="2.1.0")

    def pass_(text: str) -> list[str]:
        return list(matching(Terminal.objects.all(), text, operator).values_list("serial", flat=True))

    for text in ('"cve-2026-1"', "critical", "LOW", "any"):
        assert pass_(f"weakness = {text}") == ["SN-1"], text
    assert pass_("weakness ~ 2026") == ["SN-1"]
    assert pass_("weakness = high") == []
    assert pass_("weakness != any") == ["SN-2"]
    page = admin_client.get(reverse("release", args=[release.pk])).content.decode()
    assert 'id="weaknesses"' in page
    assert page.index("CVE-2026-1") < page.index("CVE-2026-2")
    answer = admin_client.get("/api/v1/weaknesses/?severity=critical").json()
    assert [(row["release"], row["identifier"]) for row in answer["results"]] == [(release.pk, "CVE-2026-1")]


def test_what_a_filter_would_take_for_something_else_is_no_name(db: None) -> None:
    release = draft()
    scanned(release, weak("critical"), weak("any"), weak('x" or state != retired'), weak("<b>CVE-1</b>"))
    assert [one.identifier for one in Weakness.objects.all()] == ["bCVE-1/b", "xorstateretired"]
