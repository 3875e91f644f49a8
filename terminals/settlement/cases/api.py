"""Cases and their differences in the API."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from terminals.common.api.base import IdempotentPosts, ReadViewSet, actor_of
from terminals.common.api.serializers import ModelSerializer
from terminals.settlement.cases import services
from terminals.settlement.cases.models import Case, Difference
from terminals.settlement.cases.rules import RESOLUTIONS
from terminals.settlement.cases.words import sentence_of


class DifferenceSerializer(ModelSerializer[Difference]):
    """`sentence` says it in words of the caller's language; amounts are minor units."""

    sentence = serializers.SerializerMethodField()

    class Meta:
        model = Difference
        exclude: tuple[str, ...] = ()

    def get_sentence(self, one: Difference) -> str:
        return sentence_of(one)


class CaseSerializer(ModelSerializer[Case]):
    class Meta:
        model = Case
        exclude: tuple[str, ...] = ()


class CloseSerializer(serializers.Serializer[Any]):
    resolution = serializers.ChoiceField(RESOLUTIONS)
    note = serializers.CharField(max_length=services.MOST_TEXT, required=False, allow_blank=True, default="")


class NoteSerializer(serializers.Serializer[Any]):
    """Why, or what is to be known."""

    note = serializers.CharField(max_length=services.MOST_TEXT)


class DifferenceViewSet(ReadViewSet):
    """What does not agree, one by one; each belongs to a case."""

    queryset = Difference.objects.all()
    serializer_class = DifferenceSerializer
    filterset_fields = ["case", "terminal", "batch_number", "kind", "currency", "is_open"]


class CaseViewSet(IdempotentPosts, ReadViewSet):
    """Differences that somebody follows to their end. Large ones are closed by two."""

    needs: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("take", "write", "close", "take_back", "reopen"), services.WORK),
        **dict.fromkeys(("agree", "send_back"), services.APPROVE),
    }
    queryset = Case.objects.all()
    serializer_class = CaseSerializer
    filterset_fields = ["terminal", "state", "severity", "subject", "currency", "owner"]

    def _answer(self, case: Case) -> Response:
        case.refresh_from_db()
        return Response(self.get_serializer(case).data)

    def _note(self, request: Request) -> str:
        said = NoteSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        return str(said.validated_data["note"])

    @extend_schema(request=None, responses={200: CaseSerializer})
    @action(detail=True, methods=["post"])
    def take(self, request: Request, pk: str) -> Response:
        """Become its owner."""
        case = self.get_object()
        services.assign(case=case, owner=request.user, actor=actor_of(request))
        return self._answer(case)

    @extend_schema(request=NoteSerializer, responses={200: CaseSerializer})
    @action(detail=True, methods=["post"])
    def write(self, request: Request, pk: str) -> Response:
        """Add a note."""
        case = self.get_object()
        services.write(case=case, text=self._note(request), actor=actor_of(request))
        return self._answer(case)

    @extend_schema(request=CloseSerializer, responses={200: CaseSerializer})
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """Close it for a reason; a large one waits for somebody else to agree."""
        case = self.get_object()
        said = CloseSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        services.close(case=case, actor=actor_of(request), **said.validated_data)
        return self._answer(case)

    @extend_schema(request=None, responses={200: CaseSerializer})
    @action(detail=True, methods=["post"])
    def agree(self, request: Request, pk: str) -> Response:
        """Agree to the end of a large one that somebody else closed."""
        case = self.get_object()
        services.agree(case=case, actor=actor_of(request))
        return self._answer(case)

    @extend_schema(request=NoteSerializer, responses={200: CaseSerializer})
    @action(detail=True, methods=["post"])
    def send_back(self, request: Request, pk: str) -> Response:
        """Do not agree: it is open again."""
        case = self.get_object()
        services.send_back(case=case, note=self._note(request), actor=actor_of(request))
        return self._answer(case)

    @extend_schema(request=None, responses={200: CaseSerializer})
    @action(detail=True, methods=["post"])
    def take_back(self, request: Request, pk: str) -> Response:
        """Think better of closing a large one, before somebody agrees."""
        case = self.get_object()
        services.take_back(case=case, actor=actor_of(request))
        return self._answer(case)

    @extend_schema(request=NoteSerializer, responses={200: CaseSerializer})
    @action(detail=True, methods=["post"])
    def reopen(self, request: Request, pk: str) -> Response:
        """Open a closed one again."""
        case = self.get_object()
        services.reopen(case=case, note=self._note(request), actor=actor_of(request))
        return self._answer(case)
