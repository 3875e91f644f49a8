"""Two languages: what Django makes of our models' names is translated, too, without a call in every field."""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Field, Model
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

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


# What a library calls otherwise than the menu does: model -> (one, several).
CALLED = {
    "auth.user": (gettext_lazy("operator"), gettext_lazy("operators")),
    "auth.group": (gettext_lazy("role"), gettext_lazy("roles")),
    "knox.authtoken": (gettext_lazy("API token"), gettext_lazy("API tokens")),
    "django_celery_beat.periodictask": (gettext_lazy("background task"), gettext_lazy("background work")),
    "django_celery_beat.intervalschedule": (gettext_lazy("interval"), gettext_lazy("intervals")),
    "django_celery_beat.crontabschedule": (gettext_lazy("crontab"), gettext_lazy("crontabs")),
    "django_celery_beat.clockedschedule": (gettext_lazy("clocked time"), gettext_lazy("clocked times")),
}
ROOMS_CALLED = {
    "auth": gettext_lazy("Accounts"),
    "knox": gettext_lazy("API tokens"),
    "django_celery_beat": gettext_lazy("Background work"),
}


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
    for label, name in ROOMS_CALLED.items():
        apps.get_app_config(label).verbose_name = name


def _lazy(text: Any) -> Any:
    return text if isinstance(text, Promise) or not text else gettext_lazy(text)
