"""What every endpoint of the operator's API shares: problems, ETags, idempotent POSTs and the audit."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import DataError, IntegrityError, OperationalError, models, transaction
from django.db.models import ProtectedError, QuerySet
from django.http import Http404, QueryDict
from django.utils.translation import gettext, gettext_lazy
from psycopg.errors import DeadlockDetected
from rest_framework import exceptions, mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler
from rest_framework.viewsets import GenericViewSet

from terminals.common.api.models import IdempotentResponse
from terminals.common.api.paging import CappedCountCursorPagination
from terminals.common.api.permissions import needed
from terminals.common.audit.services import record_change, record_deletions, stored_values
from terminals.common.errors import Refusal
from terminals.common.scope import holds, within
from terminals.common.words import sentence


class Conflict(exceptions.APIException):
    """409: the request is understood, but the state of things stands against it."""

    status_code = status.HTTP_409_CONFLICT
    default_detail = gettext_lazy("The request conflicts with the present state.")


class PreconditionFailed(exceptions.APIException):
    """412: somebody else changed the object since it was read."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = gettext_lazy("The object has changed since you read it; read it again and repeat your change.")


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn every refusal into an RFC 9457 problem; what is nobody's refusal stays a 500."""
    told = {"reason": error.reason, **error.members} if isinstance(error, Refusal) else {}
    if isinstance(error, Refusal):
        error = Conflict(sentence(error))
    elif isinstance(error, DjangoValidationError):
        error = exceptions.ValidationError(error.message_dict if hasattr(error, "error_dict") else error.messages)
    elif isinstance(error, OperationalError) and isinstance(error.__cause__, DeadlockDetected):
        error = Conflict(gettext("somebody else changed the same at this moment; nothing was changed, try again"))
    elif isinstance(error, DataError):
        error = exceptions.ValidationError(gettext("a value does not fit where it shall stand"))
    elif isinstance(error, ProtectedError):
        error = Conflict(gettext("it is still in use by other objects; remove or move those first"))
    elif isinstance(error, IntegrityError):
        told_of = gettext(
            "an object with these identifying values exists already, or a value breaks a rule of the data"
        )
        error = Conflict(told_of)
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    title = error.default_detail if isinstance(error, exceptions.APIException) else "Error"
    if "{" in str(title):  # of some it is a template, which `detail` fills
        title = HTTPStatus(response.status_code).phrase
    problem: dict[str, Any] = {"type": "about:blank", "title": str(title), "status": response.status_code}
    if isinstance(error, exceptions.ValidationError):
        problem |= {"title": gettext("The request does not fit"), "errors": response.data}
    elif isinstance(response.data, dict) and "detail" in response.data:
        problem["detail"] = str(response.data["detail"])
    response.data = problem | told
    response.content_type = "application/problem+json"
    return response


@contextmanager
def field_errors() -> Iterator[None]:
    """Tell a refusal of a field's value as that field's error."""
    try:
        yield
    except Refusal as refusal:
        raise exceptions.ValidationError(sentence(refusal)) from None


def actor_of(request: Request) -> str:
    """Return the name under which the audit knows the caller."""
    return str(request.user.get_username())


def etag_of(serializer: Any) -> str:
    """Return an ETag of what can be edited of an object: what it merely reports of itself changes all the time."""
    shown = serializer.data
    editable = {name: shown[name] for name, field in serializer.fields.items() if not field.read_only and name in shown}
    return '"' + hashlib.sha256(repr(sorted(editable.items())).encode()).hexdigest()[:32] + '"'


class IdempotentPosts:
    """A POST with an `Idempotency-Key` is done once: its repeat gets the first answer, another body a 409.

    `secret_fields` are shown once and never stored: a repeat gets the first answer with null in their place.
    """

    secret_fields: ClassVar[tuple[str, ...]] = ()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key", "")
        if request.method != "POST" or not key:
            return super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        with transaction.atomic():
            response = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
            if response.status_code >= 400:
                transaction.set_rollback(True)
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """After authentication: claim the key for this caller, or raise what answers the repeat."""
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        key = request.headers.get("Idempotency-Key", "")
        if request.method != "POST" or not key:
            return
        if not 1 <= len(key) <= 100 or not key.isprintable():
            raise exceptions.ValidationError({"Idempotency-Key": [gettext("1 to 100 printable characters")]})
        digest = _digest_of(request)
        claim, created = IdempotentResponse.objects.get_or_create(
            actor_id=int(request.user.pk or 0), idempotency_key=key, defaults={"request_digest": digest, "status": 0}
        )
        if not created and claim.request_digest != digest:
            raise Conflict(gettext("this Idempotency-Key was used for another request; use a new one"))
        if not created:
            raise _Repeated(claim)
        self._claim = claim

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, _Repeated):
            return Response(error.first.body, status=error.first.status, headers={"Idempotency-Replayed": "true"})
        return super().handle_exception(error)  # type: ignore[misc,no-any-return]

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        claim = getattr(self, "_claim", None)
        if claim is not None and response.status_code < 400:
            body = json.loads(response.render().content or b"null")
            for shown in body if isinstance(body, list) else [body]:
                if isinstance(shown, dict):
                    shown.update({name: None for name in self.secret_fields if name in shown})
            claim.status, claim.body = response.status_code, body
            claim.save(update_fields=["status", "body"])
        return response


def _digest_of(request: Request) -> str:
    """Return the SHA-256 of path and content; an upload's boundary differs each time, so its parts are digested."""
    digest = hashlib.sha256(request.path.encode() + b"\0")
    if not (request.content_type or "").startswith("multipart/"):
        digest.update(request.body)
        return digest.hexdigest()
    for name, values in sorted(cast(QueryDict, request.data).lists()):
        for value in cast(list[Any], values):
            digest.update(repr((name, getattr(value, "name", value))).encode())
            if isinstance(value, UploadedFile):
                for chunk in value.chunks():
                    digest.update(chunk)
                value.seek(0)
    return digest.hexdigest()


class _Repeated(Exception):
    def __init__(self, first: IdempotentResponse) -> None:
        self.first = first


class EditGuard:
    """`ETag` on what is read, `If-Match` honoured on what is changed."""

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(self.get_object())  # type: ignore[attr-defined]
        return Response(serializer.data, headers={"ETag": etag_of(serializer)})

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        # What is changed is locked first: a save writes all columns, and must not undo another's change.
        with transaction.atomic():
            self._lock()
            self._refuse_stale(request)
            response: Response = super().update(request, *args, **kwargs)  # type: ignore[misc]
            response["ETag"] = etag_of(self.get_serializer(self.get_object()))  # type: ignore[attr-defined]
        return response

    def _lock(self) -> None:
        instance = self.get_object()  # type: ignore[attr-defined]
        type(instance).objects.select_for_update(no_key=True).filter(pk=instance.pk).first()

    def _refuse_stale(self, request: Request) -> None:
        wanted = request.headers.get("If-Match")
        if not wanted or wanted == "*":
            return
        if etag_of(self.get_serializer(self.get_object())) != wanted:  # type: ignore[attr-defined]
            raise PreconditionFailed


class ReadViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet[Any]):
    """Lists and shows. A query parameter that nobody knows is refused: a filter with a typing error would list all."""

    pagination_class = CappedCountCursorPagination
    ordering: ClassVar[str] = "-id"
    ordering_fields: ClassVar[tuple[str, ...]] = ("id",)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = {"format"}
        if self.action == "list":
            known |= {"cursor", "page_size", "ordering", *self._filter_names()}
        if unknown := sorted(set(request.query_params) - known):
            told = gettext("not known here; choose one of %(names)s") % {"names": ", ".join(sorted(known))}
            raise exceptions.ValidationError({name: [told] for name in unknown})

    def get_queryset(self) -> QuerySet[Any]:
        """Return the objects to which the caller may do what the operation does; others do not exist for them."""
        permission = needed(self, str(self.request.method), self.action)
        return within(super().get_queryset(), self.request.user, permission)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Only a list has filters; one object is found by its id."""
        return super().filter_queryset(queryset) if self.action == "list" else queryset

    def refuse_beyond_reach(self, instance: models.Model) -> None:
        """Raise PermissionDenied where an object that was just made or moved stands where the caller may not do so."""
        if not holds(self.request.user, needed(self, str(self.request.method), self.action), instance):
            raise exceptions.PermissionDenied("that is beyond the part of the estate in which you may do this")

    def _filter_names(self) -> list[str]:
        declared = getattr(self, "filterset_class", None)
        return list(declared.base_filters) if declared else list(getattr(self, "filterset_fields", ()))


class ModelAuditMixin:
    """Creates, updates and deletes with their audit entry in the same transaction."""

    def perform_create(self, serializer: serializers.BaseSerializer[Any]) -> None:
        with transaction.atomic():
            instance = serializer.save()
            self.refuse_beyond_reach(instance)  # type: ignore[attr-defined]
            self._record("create", instance, old={}, new=stored_values(instance))

    def perform_update(self, serializer: serializers.BaseSerializer[Any]) -> None:
        with transaction.atomic():
            old = stored_values(serializer.instance)  # type: ignore[arg-type]
            instance = serializer.save()
            self.refuse_beyond_reach(instance)  # type: ignore[attr-defined]
            self._record("update", instance, old=old, new=stored_values(instance))

    def perform_destroy(self, instance: models.Model) -> None:
        with transaction.atomic():
            record_deletions(actor=actor_of(self.request), instances=[instance])  # type: ignore[attr-defined]
            instance.delete()

    def _record(self, verb: str, instance: models.Model, *, old: dict[str, Any], new: dict[str, Any]) -> None:
        action = f"{instance._meta.model_name}.{verb}"
        record_change(actor=actor_of(self.request), action=action, instance=instance, old=old, new=new)  # type: ignore[attr-defined]


class EditViewSet(
    EditGuard,
    IdempotentPosts,
    ModelAuditMixin,
    mixins.CreateModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    ReadViewSet,
):
    """Lists, shows, creates, changes and deletes, with everything that the API promises for edits."""

    http_method_names = ["get", "post", "patch", "put", "delete", "head", "options"]

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic():
            self._lock()
            self._refuse_stale(request)
            return super().destroy(request, *args, **kwargs)
