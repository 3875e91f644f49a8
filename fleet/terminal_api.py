"""The API's terminals, where the features meet."""

from typing import Any, ClassVar

import django_filters
from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from firmware.ddi.services import LET_SPEAK_DDI, issue_token
from fleet.pages import selectors
from fleet.terminal_serializers import (
    ActivationCodeSerializer,
    ClaimSerializer,
    FleetTerminalSerializer,
    RegisteredSerializer,
    RegistrationSerializer,
    ReplacementSerializer,
    RowAnswerSerializer,
    RowsSerializer,
    TargetTokenSerializer,
    TerminalHealthSerializer,
)
from terminals.common.api.base import actor_of
from terminals.common.api.records import TimelineSerializer
from terminals.common.scope import reach_of, within
from terminals.common.words import sentence
from terminals.enrolment.codes import (
    CLAIM,
    ISSUE_CODE,
    claim,
    issue_activation_code,
    issue_first_codes,
    replace_with_code,
)
from terminals.estate import api as estate
from terminals.estate.models import Store, Terminal, TerminalModel
from terminals.estate.registering import Registered, register_terminals
from terminals.estate.replacing import REPLACE
from terminals.estate.rules import LINKED_STATES
from terminals.estate.services import REGISTER
from terminals.health.api import HealthSampleSerializer, HealthStateSerializer
from terminals.health.models import HealthSample, HealthState
from terminals.link import api as link
from terminals.link.services import SEND_COMMAND, send_plain_command
from terminals.parameters import api as parameters
from terminals.parameters.services import SEE as SEE_PARAMETERS

# What a refused row is told of, where one terminal is registered.
FIELD_OF = {
    "serial_taken": "serial",
    "bad_serial": "serial",
    "tid_taken": "tid",
    "unknown_store": "store",
    "unknown_model": "model",
    "bad_tag": "tags",
}


class FleetTerminalFilter(estate.TerminalFilter):
    online = django_filters.BooleanFilter(method="by_online", label="heard within ONLINE_WITHIN")

    def by_online(self, queryset: QuerySet[Terminal], name: str, value: bool) -> QuerySet[Terminal]:
        """Offline means in service and not heard, as on the overview: a retired terminal is not missed."""
        online = queryset.filter(session__online=True)
        return online if value else queryset.filter(state__in=LINKED_STATES).exclude(session__online=True)


class FleetTerminalViewSet(estate.TerminalViewSet):
    queryset = selectors.WITH_FLEET_COLUMNS
    serializer_class = FleetTerminalSerializer
    filterset_class = FleetTerminalFilter
    secret_fields = ("activation_code",)
    needs: ClassVar[dict[str, str]] = {
        **estate.TerminalViewSet.needs,
        "activation_code": ISSUE_CODE,
        "ddi_token": LET_SPEAK_DDI,
        "register": REGISTER,
        "replace": REPLACE,
        "claim": CLAIM,
        "commands": SEND_COMMAND,
        "list_commands": "link.view_command",
        "health": "health.view_healthstate",
        "parameters": SEE_PARAMETERS,
    }

    @extend_schema(request=RegistrationSerializer, responses={201: RegisteredSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Register a terminal; the answer holds the one-time activation code, for who may issue one."""
        wanted = RegistrationSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        done, codes = self._register([wanted.validated_data])
        for refusal in done.refused.values():
            raise ValidationError({FIELD_OF.get(refusal.reason, "non_field_errors"): [sentence(refusal)]})
        new = done.made[0]
        return self._registered(selectors.as_registered(new), codes.get(new.pk))

    def _registered(self, terminal: Terminal, code: str | None) -> Response:
        """Answer with a terminal that was just registered, and the code that enrols it for who may issue one."""
        shown = self.get_serializer(terminal).data | {"activation_code": code}
        return Response(shown, status=status.HTTP_201_CREATED)

    @extend_schema(request=RowsSerializer, responses={200: RowAnswerSerializer(many=True)})
    @action(detail=False, methods=["post"], pagination_class=None)
    def register(self, request: Request) -> Response:
        """Register up to 1,000 terminals; an answer for each row, in order. A row that does not fit is left out, with its reason.

        Who may issue activation codes gets one with each terminal, shown only now.
        """
        wanted = RowsSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        rows = wanted.validated_data["terminals"]
        done, codes = self._register(rows)
        return Response([self._answer(place, done, codes) for place in range(len(rows))])

    def _register(self, rows: list[Any]) -> tuple[Registered, dict[int, str]]:
        """Register rows where the caller may; return what came of them, and the codes that the caller may issue, by terminal."""
        user, actor = self.request.user, actor_of(self.request)
        stores, reach = within(Store.objects.all(), user, REGISTER), reach_of(user, ISSUE_CODE)
        with transaction.atomic():
            done = register_terminals(rows, stores=stores, models=TerminalModel.objects.all(), actor=actor)
            theirs = [terminal for terminal in done.made.values() if reach.covers(terminal.path)]
            return done, issue_first_codes(terminals=theirs, actor=actor)

    def _answer(self, place: int, done: Registered, codes: dict[int, str]) -> dict[str, Any]:
        if terminal := done.made.get(place):
            return {"id": terminal.pk, "serial": terminal.serial, "activation_code": codes.get(terminal.pk)}
        refusal = done.refused[place]
        return {"reason": refusal.reason, "detail": sentence(refusal)}

    @extend_schema(request=None, responses={201: ActivationCodeSerializer})
    @action(detail=True, methods=["post"], url_path="activation-code")
    def activation_code(self, request: Request, pk: str) -> Response:
        """Make a fresh one-time code; an unused earlier one loses its force."""
        code = issue_activation_code(terminal=self.get_object(), actor=actor_of(request))
        return Response({"activation_code": code}, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={201: TargetTokenSerializer})
    @action(detail=True, methods=["post"], url_path="ddi-token")
    def ddi_token(self, request: Request, pk: str) -> Response:
        """Make a fresh target token for a device that speaks hawkBit's DDI; an earlier one loses its force."""
        terminal = self.get_object()
        token = issue_token(terminal=terminal, actor=actor_of(request))
        return Response({"controller_id": terminal.device_id, "target_token": token}, status=status.HTTP_201_CREATED)

    @extend_schema(request=ReplacementSerializer, responses={201: RegisteredSerializer})
    @action(detail=True, methods=["post"])
    def replace(self, request: Request, pk: str) -> Response:
        """Let another device take over the terminal's place and work; the terminal retires. The answer is the new one."""
        terminal = self.get_object()
        wanted = ReplacementSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        new, code = replace_with_code(terminal=terminal, user=request.user, **wanted.validated_data)
        return self._registered(selectors.WITH_FLEET_COLUMNS.get(pk=new.pk), code)

    @extend_schema(request=ClaimSerializer, responses={200: estate.TerminalSerializer})
    @action(detail=False, methods=["post"], pagination_class=None)
    def claim(self, request: Request) -> Response:
        """Say that the device at hand is what an activation code was issued for."""
        wanted = ClaimSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        terminal = claim(user=request.user, **wanted.validated_data)
        return Response(estate.TerminalSerializer(terminal, context=self.get_serializer_context()).data)

    @extend_schema(request=link.PlainCommandSerializer, responses={201: link.CommandSerializer})
    @action(detail=True, methods=["post"], pagination_class=None)
    def commands(self, request: Request, pk: str) -> Response:
        """Send a command that needs no more than its type."""
        terminal = self.get_object()
        wanted = link.PlainCommandSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        command = send_plain_command(
            terminal=terminal, command_type=wanted.validated_data["type"], actor=actor_of(request)
        )
        return Response(
            link.CommandSerializer(command, context=self.get_serializer_context()).data, status=status.HTTP_201_CREATED
        )

    @extend_schema(responses={200: link.CommandSerializer(many=True)})
    @commands.mapping.get
    def list_commands(self, request: Request, pk: str) -> Response:
        """The terminal's last hundred commands."""
        commands = self.get_object().commands.all()[:100]
        return Response(link.CommandSerializer(commands, many=True, context=self.get_serializer_context()).data)

    @extend_schema(responses={200: TerminalHealthSerializer})
    @action(detail=True)
    def health(self, request: Request, pk: str) -> Response:
        """Current health, and the last hundred readings as `history`."""
        terminal = self.get_object()
        current = HealthState.objects.filter(pk=terminal.pk).first()
        history = HealthSample.objects.filter(terminal_id=terminal.pk).order_by("-received_at")[:100]
        body = {"current": HealthStateSerializer(current).data if current else None}
        return Response(body | {"history": HealthSampleSerializer(history, many=True).data})

    @extend_schema(responses={200: TimelineSerializer(many=True)})
    @action(detail=True, pagination_class=None)
    def timeline(self, request: Request, pk: str) -> Response:
        """Commands and events, the latest first, as far as the caller may see them."""
        terminal = self.get_object()
        return Response(selectors.timeline(terminal, selectors.parts_for(request.user, terminal.path), limit=100))

    @extend_schema(responses={200: parameters.EffectiveSerializer})
    @action(detail=True)
    def parameters(self, request: Request, pk: str) -> Response:
        """What the terminal shall have, where each value comes from, and how far it is with it."""
        return Response(parameters.effective_of(self.get_object()))
