"""`manage.py words`: gather every text of ours that people read into the catalogue, and compile it. Needs no system gettext.

Texts come from calls of gettext, from refusals' templates, from templates (the admin theme's, too), from models' names and
help texts, and from the vocabulary: choices' labels, the protocol's words and the kinds of facts. `--check` says what lacks
its translation.
"""

import io
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import django
import unfold
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import translation
from django.utils.translation import template as django_template

from firmware.rules import InstallationTransition
from fleet.translation import BACKGROUND_WORK, named_fields, our_models
from terminals.bulk.verbs import verbs
from terminals.campaigns.kinds import kinds as campaign_kinds
from terminals.common.errors import Refusal
from terminals.common.facts.kinds import kinds
from terminals.common.states import Machine
from terminals.common.words import CONTEXT
from terminals.estate.rules import TerminalTransition
from terminals.estate.targets.fields import fields
from terminals.keys.rules import KeyTransition
from terminals.link.protocol import messages
from terminals.link.protocol.messages import health
from terminals.link.protocol.states import CommandTransition
from terminals.parameters.sending import ACTOR as PARAMETERS_CHANGED
from terminals.settlement.accounts.rules import AccountTransition
from terminals.settlement.cases.rules import CaseTransition
from terminals.settlement.credits.rules import DECIMAL_MARKS, DELIMITERS
from terminals.settlement.plans.rules import CHECKS, SEVERITIES, WHEN_MISSED
from terminals.settlement.reports.rules import LEVELS, PERIODS
from terminals.settlement.runs.models import TRIGGERS
from terminals.settlement.runs.rules import RunTransition

LANGUAGE = "zh_Hans"
ROOMS = ("terminals", "firmware", "fleet")
# What these refuse only a terminal's maker reads: their sentences stay English.
FOR_TERMINALS = (
    "terminals/link/protocol",
    "terminals/simulator",
    "terminals/enrolment/rules.py",
    "terminals/enrolment/views.py",
)
KEYWORDS: dict[str, Any] = {
    "_": None,
    "Unfit": (2,),
    "_where": (2,),
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
DEAD_LETTERS = (
    "bad_signature handler_error database_error malformed not_in_service oversize too_many unknown_command unknown_terminal "
    "unknown_type wrong_channel wrong_serial wrong_topic card_data"
)
SAID_BETTER = (" By %(filter_title)s ",)  # texts of Django's whose own translation does not read well
# What the audit's actions call what was done, and to what, where it is no model.
DONE = (
    "create update delete grant locked_out members cancel bulk set_password disable_password login refused activation_code "
    "enrol edit register request write_off schedule publish assign resign deliver send reseal seed vault estate "
    "release key parameters settlement session end propose close agree take_over"
)
# Why the server asks something of a terminal by itself.
REQUESTERS = (
    "key requirement",
    "settlement plan",
    "trust anchors",
    "terminal model",
    PARAMETERS_CHANGED,
)
MACHINES: tuple[type[Machine], ...] = (
    TerminalTransition,
    CommandTransition,
    InstallationTransition,
    KeyTransition,
    RunTransition,
    AccountTransition,
    CaseTransition,
)
Message = tuple[str | None, Any]  # context, and msgid or (singular, plural)


class Command(BaseCommand):
    help = "Write and compile the catalogue of translations (contributors; needs Babel)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; fail where something is missing or old"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from babel.messages.catalog import Catalog
        from babel.messages.mofile import write_mo
        from babel.messages.pofile import read_po, write_po

        path: Path = settings.LOCALE_PATHS[0] / LANGUAGE / "LC_MESSAGES" / "django.po"
        known = read_po(path.open("rb"), locale=LANGUAGE) if path.exists() else Catalog(locale=LANGUAGE)
        fresh = Catalog(locale=LANGUAGE, project="Tillwarden", fuzzy=False)
        fresh.creation_date = fresh.revision_date = datetime(
            2026, 1, 1, tzinfo=UTC
        )  # the same texts make the same file
        for context, text in sorted(set(_gathered()), key=lambda found: (str(found[1]), found[0] or "")):
            before = known.get(text if isinstance(text, str) else text[0], context)
            fresh.add(text, string=before.string if before else None, context=context)
        missing = [str(m.id) for m in fresh if m.id and not _translated(m.string)]
        po, mo = io.BytesIO(), io.BytesIO()
        write_po(po, fresh, width=120, omit_header=False)
        write_mo(mo, fresh)
        if options["check"]:
            if missing:
                raise CommandError(f"{len(missing)} texts lack their translation in {path}: {'; '.join(missing[:20])}")
            if path.read_bytes() != po.getvalue() or path.with_suffix(".mo").read_bytes() != mo.getvalue():
                raise CommandError(f"{path} or its .mo is old; run `make words`")
            return
        path.write_bytes(po.getvalue())
        path.with_suffix(".mo").write_bytes(mo.getvalue())
        self.stdout.write(f"{len(fresh)} texts, {len(missing)} without a translation")
        for text in missing:
            self.stdout.write(f"  {text}")


def _translated(string: Any) -> bool:
    return bool(string) and (isinstance(string, str) or all(string))


def _gathered() -> Iterator[Message]:
    with translation.override("en"):
        yield from _from_code()
        yield from _from_templates()
        yield from _from_the_admins_theme()
        yield from _from_models()
        yield from _vocabulary()


def _from_code() -> Iterator[Message]:
    from babel.messages.extract import extract

    for path in _files("*.py"):
        if "migrations" in path.parts:
            continue
        refusals = {kind.__name__: (2,) for kind in (Refusal, *Refusal.__subclasses__())}
        keywords = KEYWORDS | ({} if str(path).startswith(FOR_TERMINALS) else refusals)
        with path.open("rb") as file:
            for _, text, _, context in extract("python", file, keywords=keywords):
                yield context, text


def _from_templates() -> Iterator[Message]:
    for path in _files("*.html"):
        yield from _texts_of(path.read_text())


def _from_the_admins_theme() -> Iterator[Message]:
    """Yield what django-unfold's templates say that Django itself has not translated; unfold comes in English alone."""
    from babel.messages.mofile import read_mo

    known: set[Any] = set()
    for path in Path(django.__file__).parent.rglob(f"locale/{LANGUAGE}/LC_MESSAGES/django.mo"):
        with path.open("rb") as file:
            known |= {m.id if isinstance(m.id, str) else m.id[0] for m in read_mo(file)}
    folder = Path(unfold.__file__).parent
    texts = [text for path in sorted((folder / "templates").rglob("*.html")) for text in _texts_of(path.read_text())]
    texts += [text for path in sorted(folder.glob("*.py")) for text in _texts_in(path.read_text())]
    for context, text in texts:
        if (text if isinstance(text, str) else text[0]) not in known or text in SAID_BETTER:
            yield context, text


def _texts_of(template: str) -> Iterator[Message]:
    return _texts_in("\n".join(line.strip() for line in django_template.templatize(template).splitlines()))


def _texts_in(code: str) -> Iterator[Message]:
    from babel.messages.extract import extract

    for _, text, _, context in extract("python", io.BytesIO(code.encode()), keywords=KEYWORDS):
        yield context, text


def _from_models() -> Iterator[Message]:
    for config in apps.get_app_configs():
        if config.name.split(".")[0] in ROOMS:
            yield None, str(config.verbose_name)
    for model in our_models():
        yield None, str(model._meta.verbose_name)
        yield None, str(model._meta.verbose_name_plural)
        for _name, told in model._meta.permissions:
            yield None, str(told)
        for field in named_fields(model):
            yield None, str(field.verbose_name)
            if field.help_text:
                yield None, str(field.help_text)


# Schemes and wallets that have a name in other languages; others are shown as terminals tell them.
SCHEMES = ("visa", "mastercard", "unionpay", "alipay", "wechat_pay")


# Why terminals of a campaign wait or fail, as its page groups them; what a terminal calls it itself is shown as it is.
CAMPAIGN_CODES = (
    "moved_elsewhere window not_back deadline moved_by_another not_running not_kept in_part away "
    "expired download storage later"
)


def _vocabulary() -> Iterator[Message]:
    """Every word that `words.word` is given: states, the protocol's words, commands, rooms, dead letters' reasons."""
    words = {str(value) for model in our_models() for field in named_fields(model) for value, _ in field.choices or ()}
    words |= {"view", "add", "change", "delete"}
    words -= {"P0", "D0", "M6", "qr"}
    words |= {"QR", "locked", "online", "offline", "command", "broker", "link", "worker", "database", "web", *TRIGGERS}
    words |= {verb.name for verb in verbs.all()} | {kind.name for kind in campaign_kinds.all()}
    words |= {*campaign_kinds.measures, *CAMPAIGN_CODES.split()}
    words |= {transition.name for machine in MACHINES for transition in machine.all}
    words |= {*REQUESTERS, *messages.COMMANDS, *DEAD_LETTERS.split(), *(kind.partition(".")[0] for kind in kinds())}
    for literal in (health.Part, health.PrinterState, health.Network.__annotations__["kind"]):
        words |= set(get_args(literal))
    words |= set(DONE.split())
    words |= {*LEVELS, *PERIODS, *DELIMITERS, *DECIMAL_MARKS}
    words |= {"none", "weekend", "closed", *WHEN_MISSED, *SEVERITIES, *SCHEMES, *(f"check_{name}" for name in CHECKS)}
    for word in words:
        yield CONTEXT, word.replace("_", " ")
    for name in BACKGROUND_WORK:
        yield None, name
    for field in fields.all():
        yield None, field.told


def _files(pattern: str) -> Iterator[Path]:
    root = Path(settings.BASE_DIR)
    for room in (*ROOMS, "templates"):
        for path in sorted((root / room).rglob(pattern)):
            yield path.relative_to(root)
