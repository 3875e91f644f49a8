"""What may stand in a terminal's parameters: a closed list, so that a typing error is found here and not in a shop."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from terminals.common.errors import Refusal
from terminals.common.money import check_currency
from terminals.common.patterns import whole
from terminals.common.states import Machine, Transition


class ParameterState(StrEnum):
    PENDING = "pending"
    APPLIED = "applied"
    FAILED = "failed"


_P = ParameterState


class ParameterTransition(Machine):
    apply = Transition((_P.PENDING,), _P.APPLIED)
    fail = Transition((_P.PENDING,), _P.FAILED)


class Parameters(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The parameter document. Members that are left out keep the terminal's own default."""

    currency: Annotated[str, Meta(pattern=whole("[A-Z]{3}"))] | None = None
    language: Annotated[str, Meta(pattern=whole("[a-z]{2}(-[A-Z]{2})?"))] | None = None
    health_interval_seconds: Annotated[int, Meta(ge=5, le=3600)] | None = None
    contactless_limit_minor: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    receipt_header: Annotated[str, Meta(max_length=120)] | None = None
    tip_enabled: bool | None = None
    qr_enabled: bool | None = None


def checked(document: Any) -> dict[str, Any]:
    """Return the document with only what it sets; raise Refusal where it does not fit."""
    try:
        parameters = msgspec.convert(document, Parameters)
    except msgspec.ValidationError as error:
        raise Refusal(
            "bad_parameters",
            "%(error)s; known members: %(known)s",
            error=error,
            known=", ".join(Parameters.__struct_fields__),
        ) from None
    if parameters.currency is not None:
        check_currency(parameters.currency)
    if parameters.contactless_limit_minor is not None and parameters.currency is None:
        raise Refusal("bad_parameters", "contactless_limit_minor is money: say its currency, too")
    result: dict[str, Any] = msgspec.to_builtins(parameters)
    return result
