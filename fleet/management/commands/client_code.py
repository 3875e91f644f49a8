"""`manage.py client_code`: write the Python client's types and resources from the API's OpenAPI document."""

import json
import re
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from drf_spectacular.generators import SchemaGenerator

PATH = "clients/python/tillwarden_client/api.py"
HEAD = '''\
"""What the API's OpenAPI document says, as types and methods. Made by `manage.py client_code`; do not edit."""

# ruff: noqa: E501
from collections.abc import Iterator, Sequence
from typing import IO, Any, Literal, NotRequired, TypedDict

from tillwarden_client.transport import Transport, segment
'''
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
# PUT is left out: a change says what it changes.
VERBS = {"list": "list", "retrieve": "get", "create": "create", "partial_update": "update", "destroy": "delete"}
METHODS = ("get", "post", "patch", "delete")
Document = dict[str, Any]


class Command(BaseCommand):
    help = "Write the Python client's types and resources; --check only tells whether they are up to date."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is not up to date")

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / PATH
        made = code(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]
        if not options["check"]:
            path.write_text(made)
        elif not path.exists() or path.read_text() != made:
            raise CommandError(f"{PATH} is out of date; run: make docs")


def code(document: Document) -> str:
    """Return the module that an OpenAPI document makes."""
    resources = _resources(document)
    bodies = [line for name in sorted(resources) for line in _resource(name, resources[name])]
    schemas = document["components"]["schemas"]
    types = [line for name in _used(schemas, "\n".join(bodies)) for line in _typed_dict(name, schemas[name], schemas)]
    return "\n".join([HEAD, *types, *bodies, *_client(sorted(resources))])


def _resources(document: Document) -> dict[str, list[tuple[str, str, str, Document]]]:
    """Return the operations of each resource: name of the method, HTTP method, path and operation."""
    found: dict[str, list[tuple[str, str, str, Document]]] = defaultdict(list)
    roots = sorted((path for path in document["paths"] if not path.endswith("}/")), key=len)
    for path, item in document["paths"].items():
        root = next(one for one in roots if path.startswith(one))
        resource = root.removeprefix("/api/v1/").strip("/").replace("/", "_").replace("-", "_")
        for method in METHODS:
            if method in item:
                verb = item[method]["operationId"].removeprefix(resource + "_")
                action, _, kind = verb.rpartition("_")
                name = VERBS.get(verb) or (action if kind in VERBS else verb)
                if any(name == taken for taken, *_rest in found[resource]):
                    name = f"{VERBS[kind]}_{name}"
                found[resource].append((name, method, path, item[method]))
    return found


def _resource(name: str, operations: list[tuple[str, str, str, Document]]) -> Iterator[str]:
    # What several operations say is said of the resource: they have no words of their own.
    told = Counter(operation.get("description", "") for *_names, operation in operations)
    of_all = next((text for text, times in told.items() if text and times > 1), "")
    yield f"\nclass {_class(name)}:"
    if of_all:
        yield f'    """{_first(of_all)}"""\n'
    yield "    def __init__(self, transport: Transport) -> None:\n        self._transport = transport\n"
    changed = any(method == "patch" for _name, method, *_rest in operations)
    for method_name, method, path, operation in operations:
        said = operation.get("description", "")
        yield from _method(method_name, method, path, operation, "" if said == of_all else said)
        if method_name == "get" and changed:
            shape = _type(_answer(operation))
            yield f"    def get_versioned(self, {_key(operation)}) -> tuple[{shape}, str]:"
            yield '        """Return an object and its ETag, for `if_match`."""'
            yield f"        return self._transport.versioned({_path(path)})\n"


def _method(name: str, method: str, path: str, operation: Document, description: str) -> Iterator[str]:
    answer = _answer(operation)
    paged = name == "list"
    item = _type(answer).removeprefix("Paginated").removesuffix("List")  # as drf-spectacular names a page of a list
    shape = f"Iterator[{item}]" if paged else _type(answer).replace("list[", "Sequence[")
    key = _key(operation)
    queries = [one for one in operation.get("parameters", ()) if one["in"] == "query" and one["name"] != "cursor"]
    body = _body(operation)
    told = [key] if key else []
    told += [f"body: {body}"] if body else []
    if method == "patch":
        told += ["*", 'if_match: str = ""']
    elif queries:
        told += ["*", *(f"{one['name']}: {_query(one['schema'])} | None = None" for one in queries)]
    yield f"    def {name}(self, {', '.join(told)}) -> {shape}:" if told else f"    def {name}(self) -> {shape}:"
    if description:
        yield f'        """{_first(description)}"""'
    asked = ", ".join(f'"{one["name"]}": {one["name"]}' for one in queries)
    if paged:
        yield f"        return self._transport.pages({_path(path)}, {{{asked}}})\n"
        return
    given = [f'"{method.upper()}", {_path(path)}']
    given += [f"query={{{asked}}}"] if queries else []
    given += ["body=body"] if body else []
    given += ["if_match=if_match"] if method == "patch" else []
    call = f"self._transport.call({', '.join(given)})"
    yield f"        {call}\n" if shape == "None" else f"        return {call}  # type: ignore[no-any-return]\n"


def _client(resources: list[str]) -> Iterator[str]:
    yield "\nclass Tillwarden(Transport):"
    yield '    """The API of one installation, by a token of an operator. Use it as a context, or `close()` it."""\n'
    yield "    def __init__(self, url: str, token: str, *, timeout: float = 30.0, verify: Any = True) -> None:"
    yield "        super().__init__(url, token, timeout=timeout, verify=verify)"
    for name in resources:
        yield f"        self.{name} = {_class(name)}(self)"
    yield ""


def _typed_dict(name: str, schema: Document, schemas: Document) -> Iterator[str]:
    if "enum" in schema:
        yield f"\n{name} = {_type(schema)}\n"
        return
    required = set(schema.get("required", ()))
    yield f"\nclass {name}(TypedDict):"
    if told := str(schema.get("description", "")).strip():
        yield f'    """{_first(told)}"""\n'
    for field, shape in schema.get("properties", {}).items():
        kind = _type(shape)
        yield f"    {field}: {kind if field in required else f'NotRequired[{kind}]'}"
    if not schema.get("properties"):
        yield "    pass"
    yield ""


def _used(schemas: Document, text: str) -> list[str]:
    """Return the schemas that the resources name, and those that these name; a shape before what is made of it."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for inner in re.findall(r"#/components/schemas/(\w+)", repr(schemas[name])):
                visit(inner)
            ordered.append(name)

    for name in sorted(schemas):
        if re.search(rf"\b{name}\b", text):
            visit(name)
    return ordered


def _type(schema: Document | None) -> str:
    """Return the Python type of a JSON Schema, as far as TypedDict can say it."""
    if schema is None:
        return "None"
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(one) for one in schema['enum'])}]"
    for several in ("allOf", "oneOf", "anyOf"):
        if several in schema:
            return " | ".join(dict.fromkeys(_type(one) for one in schema[several]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": one}) for one in sorted(kind, key=lambda one: one == "null"))
    if kind == "array":
        return f"list[{_type(schema['items'])}]"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"dict[str, {_type(schema['additionalProperties'])}]"
    if schema.get("format") == "binary":
        return "IO[bytes]"
    return "dict[str, Any]" if kind == "object" else SCALARS.get(str(kind), "Any")


def _query(schema: Document) -> str:
    return _type(schema).replace("list[", "Sequence[")


def _answer(operation: Document) -> Document | None:
    """Return the schema of what an operation answers where it succeeds, None where that is nothing."""
    content = next(one for status, one in operation["responses"].items() if status.startswith("2")).get("content")
    return next(iter(content.values()))["schema"] if content else None


def _body(operation: Document) -> str:
    content = operation.get("requestBody", {}).get("content")
    return _type(next(iter(content.values()))["schema"]) if content else ""


def _class(resource: str) -> str:
    return "".join(part.capitalize() for part in resource.split("_")) + "Resource"


def _key(operation: Document) -> str:
    """Return the parameter of an operation on one object, with its type; empty for one on all."""
    keys = [one for one in operation.get("parameters", ()) if one["in"] == "path"]
    return f"{keys[0]['name']}: {_type(keys[0]['schema'])}" if keys else ""


def _path(path: str) -> str:
    return 'f"' + path.replace("{", "{segment(").replace("}", ")}") + '"' if "{" in path else f'"{path}"'


def _first(text: str) -> str:
    return text.strip().split("\n\n")[0].replace("\n", " ").replace('"""', "'''")
