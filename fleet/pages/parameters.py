"""Parameters in the browser: at a level, see each value and where it comes from, see what a change would do, set it, undo it."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import NotFound

from fleet.pages.guards import staff_with
from terminals.common.admin_base import InteroperableJSONField
from terminals.common.errors import Refusal
from terminals.common.money import parse_major
from terminals.common.scope import holds, reach_of, within
from terminals.common.words import format_minor, sentence
from terminals.estate.levels import INSTALLATION, Level
from terminals.estate.models import Terminal
from terminals.estate.selectors import containing
from terminals.parameters import rules, services
from terminals.parameters.api import node_at
from terminals.parameters.effective import inherited
from terminals.parameters.models import ParameterSet, ParameterTemplate, TerminalParameters

SEE_SETS = "parameters.view_parameterset"
MOST_FOUND, REVISIONS = 10, 20
Change = tuple[str, str, str]  # name, old and new value
YES_NO = [("", "–"), ("true", gettext_lazy("yes")), ("false", gettext_lazy("no"))]  # noqa: RUF001 - a dash
NAMES = {"organisation": "name", "merchant": "name", "store": "name", "group": "name", "terminal": "serial"}


class MoneyField(forms.CharField):
    """Amounts by currency, as people type them: `50.00 EUR; 60.00 USD`."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            pairs = [parse_major(part) for part in text.split(";") if part.strip()]
        except Refusal as refusal:
            raise forms.ValidationError(sentence(refusal)) from None
        return {currency: minor for minor, currency in pairs}


def in_words(part: Mapping[str, Any], value: Any) -> str:
    """Return a value as people read it, and type it."""
    if value is None:
        return ""
    if rules.is_sealed(value):
        return _("set, not shown")
    if rules.is_money(part) and isinstance(value, dict):
        return "; ".join(format_minor(minor, currency) for currency, minor in value.items())
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


def field_for(part: Mapping[str, Any]) -> forms.Field:
    """Return the form's field of a property; an empty one sets nothing at this level."""
    label = {"label": part.get("title", ""), "required": False}
    if part.get("writeOnly"):
        return forms.CharField(widget=forms.PasswordInput({"autocomplete": "new-password"}, render_value=True), **label)
    if part["type"] == "boolean":
        return forms.ChoiceField(choices=YES_NO, **label)
    if "enum" in part:
        known = {str(one): one for one in part["enum"]}
        choices = [("", "–"), *((text, text) for text in known)]  # noqa: RUF001 - a dash
        return forms.TypedChoiceField(choices=choices, coerce=known.__getitem__, empty_value=None, **label)
    if part["type"] == "integer":
        return forms.IntegerField(min_value=part.get("minimum"), max_value=part.get("maximum"), **label)
    if part["type"] == "string":
        return forms.CharField(max_length=part.get("maxLength", 1000), **label)
    return (
        MoneyField(help_text=_("for example 50.00 EUR; 60.00 USD"), **label)
        if rules.is_money(part)
        else (InteroperableJSONField(**label))
    )


class ValuesForm(forms.Form):
    """A field for each property of a template: what is set at one level."""

    def __init__(self, schema: Mapping[str, Any], present: Mapping[str, Any], data: Any = None) -> None:
        super().__init__(data, prefix="p")  # or a property could be called like a button
        self.schema, self.present = schema, present
        for name, part in rules.properties_of(schema).items():
            self.fields[name] = field = field_for(part)
            field.label = field.label or name
            if name in present and not part.get("writeOnly"):
                value = present[name]
                field.initial = in_words(part, value) if rules.is_money(part) else value
                if isinstance(value, bool):
                    field.initial = str(value).lower()
            if part.get("writeOnly") and name in present:
                self.fields[f"{name}__gone"] = forms.BooleanField(required=False, label=_("remove"))

    def values(self) -> dict[str, Any]:
        """Return what is to be set here, as the services take it."""
        said: dict[str, Any] = {}
        for name, part in self.schema["properties"].items():
            value = self.cleaned_data.get(name)
            if part.get("writeOnly"):
                if not value and name in self.present and not self.cleaned_data.get(f"{name}__gone"):
                    value = services.KEPT
            elif part["type"] == "boolean":
                value = {"true": True, "false": False}.get(str(value))
            if value not in (None, ""):
                said[name] = value
        return said


@staff_with(SEE_SETS)
def parameters_page(request: HttpRequest) -> HttpResponse:
    """Choose where to look: the whole installation, or a node, a group or a terminal by a part of its name."""
    text = request.GET.get("q", "").strip()[:100]
    found = []
    for kind, model in services.NODES.items() if text else ():
        rows = within(model.objects.all(), request.user, SEE_SETS)
        rows = rows.filter(filter="") if kind == "group" else rows
        matching = (
            containing(rows, NAMES[kind], text)
            if kind in ("terminal", "store")
            else rows.filter(**{f"{NAMES[kind]}__icontains": text})
        )
        found += [(kind, one) for one in matching.order_by(NAMES[kind])[:MOST_FOUND]]
    context = admin.site.each_context(request) | {
        "title": _("Parameters"),
        "text": text,
        "found": found,
        "everywhere": reach_of(request.user, SEE_SETS).everywhere,
    }
    return render(request, "pages/parameters_page.html", context)


@staff_with(SEE_SETS)
def level_page(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """What is set at a level and what comes from above; what setting something else would do; and setting it."""
    node = _node(request, kind, pk)
    level: Level = (kind, pk)
    template = _template(request, node)
    context: dict[str, Any] = {"title": _("Parameters"), "kind": kind, "key": pk, "node": node, "template": template}
    if template is None or template.current is None:
        return render(request, "pages/parameters_level.html", admin.site.each_context(request) | context)
    may_set = _may_set(request, node)
    schema, present = template.current.schema, services.current_set(template, level)
    typed = None if {"restore", "look_back"} & request.POST.keys() else request.POST or None
    form = ValuesForm(schema, present.values if present else {}, typed)
    if request.method == "POST" and not may_set:
        raise PermissionDenied
    if request.method == "POST":
        done = _post(request, template, level, form, context)
        if done:
            return redirect(f"{reverse('parameters-level', args=[kind, pk])}?template={template.pk}")
    context |= {
        "form": form,
        "rows": _rows(form, *inherited(template, level, getattr(node, "path", ""))),
        "templates": ParameterTemplate.objects.all()[:50],
        "may_set": may_set,
        "seen": present.revision if present else 0,
        "history": _history(template, level),
        "told": TerminalParameters.objects.filter(terminal=pk).first() if kind == "terminal" else None,
    }
    answer = render(request, "pages/parameters_level.html", admin.site.each_context(request) | context)
    answer["Cache-Control"] = "no-store"  # between preview and setting a typed secret stands in the form
    return answer


def _node(request: HttpRequest, kind: str, pk: int) -> Model | None:
    if kind == INSTALLATION[0] and pk:
        raise Http404
    try:
        return node_at(kind, pk, request.user, SEE_SETS)
    except NotFound:
        raise Http404 from None


def _may_set(request: HttpRequest, node: Model | None) -> bool:
    if node is None:
        return reach_of(request.user, services.SET_VALUES).everywhere
    return holds(request.user, services.SET_VALUES, node)


def _template(request: HttpRequest, node: Model | None) -> ParameterTemplate | None:
    """Return the template that is asked for, else a terminal's own, else the first."""
    templates = ParameterTemplate.objects.select_related("current")
    asked = request.GET.get("template", "")
    if asked.isascii() and asked.isdigit() and len(asked) < 19:
        return templates.filter(pk=int(asked)).first()
    if isinstance(node, Terminal):
        return templates.filter(models__model=node.model_id).first()
    return templates.first()


def _post(
    request: HttpRequest, template: ParameterTemplate, level: Level, form: ValuesForm, context: dict[str, Any]
) -> bool:
    """Do what a button asks for; return whether something was set."""
    actor = request.user.get_username()
    try:
        if restoring := request.POST.get("restore") or request.POST.get("look_back"):
            earlier = get_object_or_404(
                ParameterSet, template=template, pk=_number(restoring), **services.columns_of(level)
            )
            if "look_back" in request.POST:
                context |= {"preview": services.preview_restoring(earlier=earlier), "earlier": earlier}
                context["changes"] = _changes(form.schema, form.present, services.restored(earlier)[1])
                return False
            services.restore(earlier=earlier, actor=actor, seen=_number(request.POST.get("seen")))
        elif not form.is_valid():
            return False
        elif "set" in request.POST:
            services.set_values(
                template=template,
                level=level,
                values=form.values(),
                actor=actor,
                seen=_number(request.POST.get("seen")),
            )
        else:
            values = form.values()
            context["preview"] = services.preview(template=template, level=level, values=values)
            context["changes"] = _changes(form.schema, form.present, values)
            return False
    except Refusal as refusal:
        form.add_error(None, sentence(refusal)) if form.is_bound else messages.error(request, sentence(refusal))
        return False
    messages.success(request, _("Set. Terminals for which something changes get it within seconds of being online."))
    return True


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _rows(form: ValuesForm, values: Mapping[str, Any], origins: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return for each property its field, what holds without it, and where that comes from."""
    sets = ParameterSet.objects.select_related("organisation", "merchant", "store__merchant", "group", "terminal")
    known = sets.in_bulk(set(origins.values()))
    rows = []
    for name, part in rules.properties_of(form.schema).items():
        origin = known.get(origins.get(name, 0))
        rows.append(
            {
                "name": name,
                "field": form[name],
                "gone": form[f"{name}__gone"] if f"{name}__gone" in form.fields else None,
                "present": in_words(part, form.present.get(name)),
                "above": in_words(part, values.get(name)),
                "from": origin.level_name if origin else _("template") if name in origins else "",
            }
        )
    return rows


def _history(template: ParameterTemplate, level: Level) -> list[tuple[ParameterSet, list[Change]]]:
    """Return the latest revisions of a level, each with what it changed."""
    revisions = list(
        ParameterSet.objects.filter(template=template, **services.columns_of(level)).order_by("-revision")[
            : REVISIONS + 1
        ]
    )
    schema, told = services.schema_of(template), []
    for number, one in enumerate(revisions[:REVISIONS]):
        before = revisions[number + 1].values if number + 1 < len(revisions) else {}
        told.append((one, _changes(schema, before, one.values)))
    return told


def _changes(schema: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what differs between two sets of values: name, old and new value, as people read them."""
    parts = schema["properties"]
    return [
        (name, in_words(parts.get(name, {}), old), in_words(parts.get(name, {}), new))
        for name, old, new in rules.difference(before, after)
        if new != services.KEPT
    ]
