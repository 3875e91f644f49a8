"""Account numbers: checked by python-stdnum, shown without their middle; the states of an account on file. Pure."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

from stdnum import bic, iban
from stdnum.cz import bankaccount as czech
from stdnum.exceptions import ValidationError
from stdnum.no import kontonr as norwegian
from stdnum.nz import bankaccount as new_zealand
from stdnum.us import rtn

from terminals.common.errors import Refusal
from terminals.common.states import Machine, Transition


class AccountState(StrEnum):
    PROPOSED = "proposed"
    ACTIVE = "active"
    REPLACED = "replaced"
    REJECTED = "rejected"


class AccountTransition(Machine):
    approve = Transition((AccountState.PROPOSED,), AccountState.ACTIVE)
    reject = Transition((AccountState.PROPOSED,), AccountState.REJECTED)
    replace = Transition((AccountState.ACTIVE,), AccountState.REPLACED)


class Account(NamedTuple):
    """A checked account: its country, its number without spaces, its bank's BIC (or nothing)."""

    country: str
    number: str
    bic: str

    @property
    def masked(self) -> str:
        """The number as pages show it: `DE89 … 3000`."""
        return f"{self.number[:4]} … {self.number[-4:]}" if len(self.number) > 8 else f"… {self.number[-4:]}"


def _american(number: str) -> str:
    """A routing transit number, a slash, the account's number."""
    routing, _slash, account = number.partition("/")
    if not account.isdecimal() or not 4 <= len(account) <= 17:
        raise ValidationError
    return f"{rtn.validate(routing)}/{account}"


# Local forms that a check is known for; other countries' accounts are written as IBAN.
LOCAL: Mapping[str, Callable[[str], str]] = {
    "US": _american,
    "NZ": new_zealand.validate,
    "NO": norwegian.validate,
    "CZ": czech.validate,
}


def checked(*, country: str, number: str, bank: str) -> Account:
    """Return an account as it is kept; raise Refusal where its check digits, its form or the BIC are wrong.

    `country` is empty for an IBAN, which says it itself.
    """
    number, bank = "".join(number.split()).upper(), "".join(bank.split()).upper()
    try:
        bank = bic.validate(bank) if bank else ""
    except ValidationError:
        raise Refusal(
            "bad_account", "%(bic)s is no BIC; write for example DEUTDEFF, or leave it empty", bic=bank
        ) from None
    if not country:
        try:
            number = iban.validate(number)
        except ValidationError as error:
            raise Refusal("bad_account", "this is no IBAN: %(why)s", why=str(error)) from None
        return Account(number[:2], number, bank)
    check = LOCAL.get(country.upper())
    if check is None:
        raise Refusal(
            "bad_account",
            "no local form is known for %(country)s; write an IBAN, or one of %(known)s",
            country=country,
            known=", ".join(LOCAL),
        )
    try:
        return Account(country.upper(), check(number), bank)
    except ValidationError as error:
        raise Refusal(
            "bad_account", "this is no account of %(country)s: %(why)s", country=country, why=str(error)
        ) from None
