"""Bills of materials (CycloneDX): what a release is made of and which known weaknesses that has, so that somebody can ask which
terminals run it. A scanner that looks again every night attaches what it found anew."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.model.impact_analysis import ImpactAnalysisState
from cyclonedx.model.vulnerability import Vulnerability
from django.db import transaction

from firmware.models import Release, ReleaseComponent, Weakness
from firmware.rules import Severity
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal

MOST_COMPONENTS = 10_000
MOST_WEAKNESSES = 2_000
READ = ("bomFormat", "specVersion", "version", "components", "vulnerabilities")
NESTED = 5  # how deep components may lie in components


@transaction.atomic
def attach(*, release: Release, document: Any, actor: str) -> list[ReleaseComponent]:
    """Replace a release's components and weaknesses by those of a CycloneDX document (parsed JSON, versions 1.2 to 1.6); return
    the components. Vulnerabilities that the document rules out or calls resolved are none.

    Raises Refusal, with nothing changed, for anything else.
    """
    bom = _read(document)
    rows = [_row(release, one) for one in islice(_components(bom), MOST_COMPONENTS + 1)]
    if len(rows) > MOST_COMPONENTS:
        raise Refusal("too_many_components", "the document names more than %(most)s components", most=MOST_COMPONENTS)
    parts = {(row.name, row.version, row.purl): row for row in rows}
    Release.objects.select_for_update(no_key=True).get(pk=release.pk)  # of two at once the later one counts, whole
    ReleaseComponent.objects.filter(release=release).delete()
    made = ReleaseComponent.objects.bulk_create(parts.values(), batch_size=1000)
    Weakness.objects.filter(release=release).delete()
    weak = Weakness.objects.bulk_create(_weaknesses(release, bom), batch_size=1000)
    detail = {"release": str(release), "components": len(made), "weaknesses": len(weak)}
    audit.record(actor=actor, action="release.bill_of_materials", subject=subject_of(release), detail=detail)
    return made


def _read(document: Any) -> Bom:
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise _unreadable('it has no "bomFormat": "CycloneDX"')
    for name in ("components", "vulnerabilities"):
        if not isinstance(document.get(name, []), list):
            raise _unreadable(f"its {name} are no list")
    if len(document.get("vulnerabilities", [])) > MOST_WEAKNESSES:
        raise Refusal("too_many_weaknesses", "the document names more than %(most)s weaknesses", most=MOST_WEAKNESSES)
    if _count(document) > MOST_COMPONENTS:  # before the library takes half a minute for them
        raise Refusal("too_many_components", "the document names more than %(most)s components", most=MOST_COMPONENTS)
    try:
        # The rest of a document (dependencies, services) would keep the library busy for half a minute.
        read = {name: document[name] for name in READ if name in document}
        bom: Bom = Bom.from_json(json.loads(json.dumps(read)))  # type: ignore[attr-defined]  # made by a decorator
    except RecursionError:
        raise _unreadable("it is nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - the library raises whatever its parsers do
        raise _unreadable(f"{type(error).__name__}: {error}"[:200]) from None
    return bom


def _count(document: dict[str, Any]) -> int:
    """Return how many components a document has, whatever else it is."""
    number, waiting = 0, [document]
    while waiting and number <= MOST_COMPONENTS:
        inner = waiting.pop().get("components", [])
        found = [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []
        number += len(found)
        waiting += found
    return number


def _unreadable(why: str) -> Refusal:
    return Refusal("bad_bill_of_materials", "this is no CycloneDX document in JSON: %(why)s", why=why)


def _components(bom: Bom) -> Iterator[Component]:
    waiting = [(1, one) for one in bom.components]
    while waiting:
        depth, one = waiting.pop()
        yield one
        if depth < NESTED:
            waiting += [(depth + 1, inner) for inner in one.components]


def _row(release: Release, one: Component) -> ReleaseComponent:
    licences = (licence for licence in one.licenses)
    told = ", ".join(
        str(getattr(one, "value", None) or getattr(one, "id", None) or getattr(one, "name", "")) for one in licences
    )
    return ReleaseComponent(
        release=release,
        name=_plain(one.name, 200),
        version=_plain(one.version or "", 100),
        purl=_plain(one.purl.to_string() if one.purl else "", 500),
        licences=_plain(told, 200),
    )


NONE = (
    ImpactAnalysisState.RESOLVED,
    ImpactAnalysisState.RESOLVED_WITH_PEDIGREE,
    ImpactAnalysisState.FALSE_POSITIVE,
    ImpactAnalysisState.NOT_AFFECTED,
)


NO_NAME = re.compile(r"[^A-Za-z0-9._:/+-]")
WORDS = ("", "any", *(severity.value for severity in Severity))


def _weaknesses(release: Release, bom: Bom) -> list[Weakness]:
    """Return a document's vulnerabilities, each identifier once, but for those that it rules out."""
    named = {str(one.bom_ref): f"{one.name} {one.version or ''}".strip() for one in _components(bom)}
    found = {}
    for one in bom.vulnerabilities:
        if one.id and not (one.analysis and one.analysis.state in NONE):
            parts = sorted({named[target.ref] for target in one.affects if target.ref in named})
            told = {"severity": _severity(one), "part": _plain(", ".join(parts), 300)}
            identifier = NO_NAME.sub("", _plain(one.id, 60))
            if identifier.lower() in WORDS:  # a filter takes those for something else
                continue
            found[identifier] = Weakness(release=release, identifier=identifier, **told)
    return list(found.values())


def _severity(one: Vulnerability) -> Severity:
    """Return the worst of a vulnerability's ratings; those below `low` and none at all are unknown."""
    rated = {rating.severity.value for rating in one.ratings if rating.severity}
    return next((severity for severity in Severity if severity.value in rated), Severity.UNKNOWN)


def _plain(text: object, most: int) -> str:
    """What PostgreSQL can keep and a list can show; raise Refusal for what is no text."""
    if not isinstance(text, str):
        raise _unreadable(f"a component has {text!r} where a text is wanted"[:200])
    return "".join(one for one in text if one.isprintable())[:most]
