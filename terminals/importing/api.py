"""Imports in the API: bring a file, look at what its rows would add, start it, look how far it is, cancel it."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet
from terminals.common.api.parsers import InteroperableJSONParser
from terminals.common.api.serializers import ModelSerializer
from terminals.importing import services
from terminals.importing.models import Import, ImportRow
from terminals.importing.rules import RowState


class FileSerializer(serializers.Serializer[Any]):
    """A CSV (UTF-8) or XLSX file; its first line names the columns."""

    file = serializers.FileField()


class ImportSerializer(ModelSerializer[Import]):
    """`progress` counts the rows by state, `adds` what they add or have added."""

    progress = serializers.SerializerMethodField()
    adds = serializers.SerializerMethodField()
    requested_by = serializers.CharField(source="requested_by.username", read_only=True)

    class Meta:
        model = Import
        fields = [
            "id",
            "file_name",
            "state",
            "total",
            "progress",
            "adds",
            "requested_by",
            "requested_at",
            "finished_at",
        ]

    def get_progress(self, job: Import) -> dict[str, int]:
        return services.progress(job)

    def get_adds(self, job: Import) -> dict[str, int]:
        return services.additions(job)


class ImportRowSerializer(ModelSerializer[ImportRow]):
    """A row that was refused; `detail` says why."""

    detail = serializers.CharField(source="why", read_only=True)

    class Meta:
        model = ImportRow
        fields = ["number", "state", "reason", "detail", "cells"]


class ImportViewSet(IdempotentPosts, ReadViewSet):
    """POST brings a file, whose rows are judged and shown; `start` lets them be added in the background."""

    queryset = Import.objects.select_related("requested_by")
    serializer_class = ImportSerializer
    parser_classes = (MultiPartParser, InteroperableJSONParser)
    filterset_fields = ["state"]
    needs: ClassVar[dict[str, str]] = dict.fromkeys(
        ("list", "retrieve", "create", "start", "cancel", "rows"), services.IMPORT
    )

    @extend_schema(request={"multipart/form-data": FileSerializer}, responses={201: ImportSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        wanted = FileSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        job = services.bring(file=wanted.validated_data["file"], user=request.user)
        return Response(self.get_serializer(job).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={202: ImportSerializer})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Let what the file adds be added; rows that were refused are left out."""
        job = self.get_object()
        services.start(job=job, user=request.user)
        return Response(self.get_serializer(job).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses={200: ImportSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop it: what was added stays."""
        services.cancel(job=self.get_object(), user=request.user)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses={200: ImportRowSerializer(many=True)})
    @action(detail=True, pagination_class=None)
    def rows(self, request: Request, pk: str) -> Response:
        """The first thousand rows that were refused, and why."""
        refused = self.get_object().rows.filter(state=RowState.REFUSED)[:1000]
        return Response(ImportRowSerializer(refused, many=True).data)
