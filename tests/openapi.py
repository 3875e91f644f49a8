"""Holds what the API answers against what its OpenAPI document says; the `api` fixture asks for every answer."""

import re
from functools import lru_cache
from typing import Any

import jsonschema
from drf_spectacular.generators import SchemaGenerator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = "urn:tillwarden:openapi"


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    described: dict[str, Any] = generator.get_schema(request=None, public=True)
    return described


@lru_cache(maxsize=1)
def _registry() -> Registry[Any]:
    resource: Any = Resource
    registry: Registry[Any] = Registry().with_resource(DOCUMENT, resource(document(), DRAFT202012))
    return registry


@lru_cache(maxsize=1)
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), item) for path, item in document()["paths"].items()]


def check(method: str, path: str, response: Any) -> None:
    """Raise AssertionError for an answer that the document does not describe: its status, or the shape of its body."""
    item = next((item for pattern, item in _paths() if pattern.fullmatch(path)), None)
    described = (item or {}).get(method.lower())
    if described is None or response.status_code >= 400:
        return
    answers = described["responses"]
    assert str(response.status_code) in answers, f"{method} {path} answers {response.status_code}, not described"
    content = answers[str(response.status_code)].get("content", {}).get("application/json")
    if content is not None:
        _validate(content["schema"], response.json(), f"{method} {path}")


def _validate(schema: dict[str, Any], body: Any, where: str) -> None:
    absolute = _absolute(schema)
    validator = jsonschema.Draft202012Validator(absolute, registry=_registry())
    errors = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(body)]
    assert not errors, f"{where} is not what OpenAPI says: {errors[:5]}"


def _absolute(schema: Any) -> Any:
    """Return a schema whose references name the document."""
    if isinstance(schema, dict):
        return {k: DOCUMENT + v if k == "$ref" else _absolute(v) for k, v in schema.items()}
    return [_absolute(one) for one in schema] if isinstance(schema, list) else schema
