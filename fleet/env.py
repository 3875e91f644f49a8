"""Where settings come from: the process's environment, then the file that `manage.py up` wrote under STATE_DIR.

A secret has no default. Whoever runs Tillwarden in production sets every name that settings.py requires; `make run` makes
its own and keeps them in STATE_DIR/environment (mode 0600), so that a second command finds the same installation.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from terminals.link.protocol import brokers

ENVIRONMENT_FILE = "environment"


class MissingSetting(Exception):
    """A required setting is absent or unusable; the message says which and what to do."""


def state_dir() -> Path:
    """Return the folder of everything a local installation keeps (STATE_DIR, `.run` unless told)."""
    return Path(os.environ.get("STATE_DIR", ".run")).absolute()


def kept(folder: Path) -> dict[str, str]:
    """Return the settings that `manage.py up` wrote into a folder the last time; none where it did not yet."""
    path = folder / ENVIRONMENT_FILE
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError as error:
        raise MissingSetting(f"{path} belongs to another user; run as its owner or set STATE_DIR") from error
    pairs = (line.partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


def load_state_environment() -> None:
    """Fill in what the process's environment leaves unset from STATE_DIR/environment, where there is one."""
    for name, value in kept(state_dir()).items():
        os.environ.setdefault(name, value)


def required(name: str, purpose: str) -> str:
    """Return a setting that must be there; refuse to start without it."""
    value = os.environ.get(name, "")
    if not value:
        raise MissingSetting(f"{name} is not set ({purpose}). Set it, or use `make run`, which makes its own.")
    return value


def optional(name: str, default: str) -> str:
    return os.environ.get(name, "") or default


def optional_file(name: str) -> str:
    """Return a setting that names a file, which must be readable where it is set."""
    path = os.environ.get(name, "")
    if path:
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise MissingSetting(f"{name} names {path}, which cannot be read ({error.strerror})") from None
    return path


def flag(name: str, *, default: bool) -> bool:
    value = optional(name, "yes" if default else "no").lower()
    if value not in {"yes", "no", "true", "false", "1", "0", "on", "off"}:
        raise MissingSetting(f"{name} is {value!r}; write yes or no")
    return value in {"yes", "true", "1", "on"}


def number(name: str, default: int, *, at_least: int = 0, at_most: int = 10**9) -> int:
    value = optional(name, str(default))
    if not value.isdecimal():
        raise MissingSetting(f"{name} is {value!r}; write a whole number")
    if int(value) < at_least:
        raise MissingSetting(f"{name} is {value}; write {at_least} or more")
    if int(value) > at_most:
        raise MissingSetting(f"{name} is {value}; write {at_most} or less")
    return int(value)


def database(address: str) -> dict[str, Any]:
    """Return a database's address as Django's settings; who connects to one that is away hears so within seconds."""
    parsed: dict[str, Any] = dict(dj_database_url.parse(address, conn_max_age=60, conn_health_checks=True))
    parsed["OPTIONS"] = {**parsed.get("OPTIONS", {}), "connect_timeout": 5}
    return parsed


def divisor(name: str, default: int, *, of: int) -> int:
    """Return a number by which another can be divided without a rest."""
    value = number(name, default)
    if value < 1 or of % value:
        raise MissingSetting(
            f"{name} is {value}; write one of {', '.join(str(n) for n in range(1, of + 1) if of % n == 0)}"
        )
    return value


def broker(name: str, address: str) -> str:
    """Return a broker's address as it is; refuse to start where it cannot be read."""
    try:
        brokers.parse(address)
    except ValueError as error:
        raise MissingSetting(f"{name} cannot be read ({error}); write mqtts://host:port,host:port") from None
    return address


def names(name: str, default: str) -> list[str]:
    return [part.strip() for part in optional(name, default).split(",") if part.strip()]


def mail(address: str) -> dict[str, Any]:
    """Return Django's EMAIL_ settings of `smtp://user:password@host:587` (STARTTLS), `smtps://...:465` or `smtp://host:25?tls=no`;
    raise MissingSetting with what to write instead. Nothing where no address is given."""
    if not address:
        return {}
    parts = urlsplit(address)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise MissingSetting("EMAIL_URL: write smtp://user:password@host:587 or smtps://user:password@host:465")
    secure = parts.scheme == "smtps"
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if secure else 587),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": secure,
        "EMAIL_USE_TLS": not secure and parts.query != "tls=no",
        "EMAIL_TIMEOUT": 20,
    }


def single_sign_on() -> dict[str, Any]:
    """Return the OpenID provider of OIDC_ISSUER as django-allauth wants it; nothing where there is none."""
    issuer = optional("OIDC_ISSUER", "")
    if not issuer:
        return {}
    client_id = required("OIDC_CLIENT_ID", "the name by which the OpenID provider knows this server")
    required("OIDC_CLIENT_SECRET_FILE", "a file with the secret that it shares with the OpenID provider")
    secret = Path(optional_file("OIDC_CLIENT_SECRET_FILE")).read_text().strip()
    provider = {
        "provider_id": "oidc",
        "name": optional("OIDC_NAME", "single sign-on"),
        "client_id": client_id,
        "secret": secret,
        "settings": {"server_url": issuer, "oauth_pkce_enabled": True},
    }
    return {"openid_connect": {"APPS": [provider]}}


def refuse_shared_files(settings: dict[str, str]) -> None:
    """Refuse to start where two purposes share one key: whoever holds it for the one could sign for the other."""
    purposes: dict[bytes, str] = {}
    for name, path in settings.items():
        try:
            key = load_pem_private_key(Path(path).read_bytes(), None)
        except (OSError, ValueError, TypeError):
            continue  # whoever needs it says so
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if public in purposes:
            raise MissingSetting(f"{name} and {purposes[public]} hold the same key; make one for each purpose.")
        purposes[public] = name
