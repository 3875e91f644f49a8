"""Two languages: what Django makes of our models' names is translated, too, without a call in every field."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Field, Model
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy, gettext_noop

from terminals.common.words import word

if TYPE_CHECKING:
    from django.contrib.auth.models import Permission

OURS = ("terminals", "firmware", "fleet")


def our_models() -> Iterator[type[Model]]:
    """Yield the models of this project's rooms."""
    for config in apps.get_app_configs():
        if config.name.split(".")[0] in OURS:
            yield from config.get_models()


def named_fields(model: type[Model]) -> Iterator["Field[Any, Any]"]:
    """Yield a model's own fields, whose names and help an operator reads."""
    for field in model._meta.get_fields():
        if isinstance(field, Field):
            yield field


# What is called otherwise than its class: model -> (one, several), as in the menu.
CALLED = {
    "common.auditentry": (gettext_lazy("audit entry"), gettext_lazy("audit")),
    "campaigns.campaign": (gettext_lazy("campaign"), gettext_lazy("campaigns")),
    "campaigns.wave": (gettext_lazy("wave"), gettext_lazy("waves")),
    "campaigns.member": (gettext_lazy("terminal of a campaign"), gettext_lazy("terminals of campaigns")),
    "campaigns.tally": (gettext_lazy("tally"), gettext_lazy("tallies")),
    "enrolment.deviceca": (gettext_lazy("device CA"), gettext_lazy("device CAs")),
    "link.linkprocess": (gettext_lazy("link process"), gettext_lazy("link processes")),
    "firmware.releasecomponent": (gettext_lazy("part of a release"), gettext_lazy("parts of releases")),
    "firmware.weakness": (gettext_lazy("known weakness"), gettext_lazy("known weaknesses")),
    "campaigns.newcomer": (gettext_lazy("newcomer"), gettext_lazy("newcomers")),
    "firmware.dditoken": (gettext_lazy("DDI token"), gettext_lazy("DDI tokens")),
    "pages.dailysoftware": (gettext_lazy("software of a day"), gettext_lazy("software of days")),
    "firmware.releasedelta": (gettext_lazy("delta"), gettext_lazy("deltas")),
    "firmware.repositorydocument": (gettext_lazy("repository document"), gettext_lazy("repository documents")),
    "bulk.bulkjob": (gettext_lazy("bulk job"), gettext_lazy("bulk work")),
    "importing.import": (gettext_lazy("import"), gettext_lazy("imports")),
    "enrolment.enrolmentrequest": (gettext_lazy("waiting device"), gettext_lazy("waiting devices")),
    "keys.terminalkey": (gettext_lazy("key"), gettext_lazy("keys")),
    "parameters.parameterset": (gettext_lazy("parameters"), gettext_lazy("parameters")),
    "parameters.templateversion": (gettext_lazy("parameter template"), gettext_lazy("parameter templates")),
    "auth.user": (gettext_lazy("operator"), gettext_lazy("operators")),
    "auth.group": (gettext_lazy("role"), gettext_lazy("roles")),
    "access.apitoken": (gettext_lazy("API token"), gettext_lazy("your API tokens")),
    "django_celery_beat.periodictask": (gettext_lazy("background task"), gettext_lazy("background work")),
    "django_celery_beat.intervalschedule": (gettext_lazy("interval"), gettext_lazy("intervals")),
    "django_celery_beat.crontabschedule": (gettext_lazy("crontab"), gettext_lazy("crontabs")),
    "django_celery_beat.clockedschedule": (gettext_lazy("one-off time"), gettext_lazy("one-off times")),
}
ROOMS_CALLED = {
    "auth": gettext_lazy("Accounts"),
    "access": gettext_lazy("API tokens"),
    "django_celery_beat": gettext_lazy("Background work"),
}
# What migration 0001 calls the entries of the scheduler.
BACKGROUND_WORK = (
    gettext_noop("Link: expire commands, sweep silent terminals"),
    gettext_noop("Settlement: ask due terminals to settle"),
    gettext_noop("Overview: fold tallies"),
    gettext_noop("Link: forget old message ids, commands and dead letters"),
    gettext_noop("Health: prune history"),
    gettext_noop("Audit: seal new entries into the chain"),
    gettext_noop("Audit: sign an anchor"),
    gettext_noop("Facts: make and drop monthly partitions"),
    gettext_noop("Settlement: make and drop monthly partitions"),
    gettext_noop("Settlement: read credit files, watch credits"),
    gettext_noop("Settlement: make and send reports"),
    gettext_noop("Settlement: look at settled batches for risk"),
    gettext_noop("Settlement: credits for terminals that were unknown"),
    gettext_noop("Bulk work: go on with running jobs"),
    gettext_noop("Campaigns: whose turn it is, and whose guard holds"),
    gettext_noop("Certificates: remind terminals to renew, forget keys that ran out"),
    gettext_noop("Releases: keep the repository fresh"),
    gettext_noop("Releases: make deltas"),
    gettext_noop("Software: note which versions run"),
    gettext_noop("Import: go on with running imports"),
    gettext_noop("Parameters: send what changed"),
    gettext_noop("API: forget answers to idempotent requests"),
)
# Headings of django-celery-beat's, which has no Chinese of its own.
gettext_noop("Schedule")
gettext_noop("Arguments")
# Labels of libraries' own fields: model -> field -> label.
LABELS = {
    "access.apitoken": {
        "token_key": gettext_lazy("begins with"),
        "created": gettext_lazy("made"),
        "expiry": gettext_lazy("ends"),
    },
    "auth.user": {"groups": gettext_lazy("roles")},
}


def permission_label(permission: "Permission") -> str:
    """Return what a permission allows, in the reader's language."""
    verb, _dash, name = permission.codename.partition("_")
    model = permission.content_type.model_class()
    if model is None or (verb, name) not in [(v, model._meta.model_name) for v in model._meta.default_permissions]:
        return gettext(permission.name)
    return f"{model._meta.verbose_name}: {word(verb)}"


def translate_models() -> None:
    """Make models', fields' and applications' names and help texts lazy translations of themselves; called once, at start."""
    for config in apps.get_app_configs():
        if config.name.split(".")[0] in OURS:
            config.verbose_name = _lazy(config.verbose_name)
    for model in our_models():
        meta = model._meta
        meta.verbose_name = _lazy(meta.verbose_name)
        meta.verbose_name_plural = _lazy(str(meta.verbose_name_plural))  # what Django adds an s to is lazy already
        for field in named_fields(model):
            field.verbose_name, field.help_text = _lazy(field.verbose_name), _lazy(field.help_text)

    for label, (one, several) in CALLED.items():
        meta = apps.get_model(label)._meta
        meta.verbose_name, meta.verbose_name_plural = one, several
    for label, fields in LABELS.items():
        for field_name, told in fields.items():
            apps.get_model(label)._meta.get_field(field_name).verbose_name = told
    for label, name in ROOMS_CALLED.items():
        apps.get_app_config(label).verbose_name = name


def _lazy(text: Any) -> Any:
    return text if isinstance(text, Promise) or not text else gettext_lazy(text)
