"""Reading a bulk verb's arguments, as they came from a form or the API."""

from typing import Any

from terminals.bulk.verbs import Arguments
from terminals.common.errors import Refusal
from terminals.common.scope import within


def chosen(model: Any, arguments: Arguments, name: str, user: Any, permission: str) -> Any:
    """Return the object that an argument names by its id, where the operator may use it; raise Refusal otherwise."""
    key = arguments.get(name)
    rows = within(model._default_manager.all(), user, permission)
    found = rows.filter(pk=key).first() if type(key) is int and 0 < key < 2**63 else None
    if found is None:
        raise Refusal("bad_arguments", "%(name)s: choose one by its id", name=name)
    return found


def text_of(arguments: Arguments, name: str) -> str:
    """Return an argument that is a text, empty where there is none; raise Refusal for anything else."""
    text = arguments.get(name, "")
    if not isinstance(text, str):
        raise Refusal("bad_arguments", "%(name)s: write a text", name=name)
    return text


def name_of(model: Any, name: str, arguments: Arguments) -> str:
    """Return what an argument names, in words; what is gone by its id."""
    return str(model._default_manager.filter(pk=arguments[name]).first() or arguments[name])
