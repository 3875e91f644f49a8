"""Where releases lie (ARTIFACT_STORAGE): files on this machine, an S3 bucket, or what another Django storage class keeps."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet import env
from fleet.env import MissingSetting

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# A link is used at once: each range that a terminal asks for brings a new one. What has begun goes on after its end.
LINK_SECONDS, LEAST_LINK_SECONDS, MOST_LINK_SECONDS = 300, 30, 3600


def storage(folder: Path) -> dict[str, Any]:
    """Return Django's STORAGES entry of releases, whose files would lie in `folder`; raise MissingSetting with what to write."""
    kind = env.optional("ARTIFACT_STORAGE", "files")
    if kind == "s3":
        if env.optional("ARTIFACT_ACCEL_PREFIX", ""):
            raise MissingSetting(
                "ARTIFACT_ACCEL_PREFIX is for files on this machine; with ARTIFACT_STORAGE=s3 take it away"
            )
        return {"BACKEND": "firmware.bucket.ReleaseBucket", "OPTIONS": _bucket()}
    if kind == "files":
        if env.flag("ARTIFACT_REDIRECT", default=False):
            raise MissingSetting("ARTIFACT_REDIRECT wants a bucket: files on this machine have no address of their own")
        kind = "django.core.files.storage.FileSystemStorage"
    if "." not in kind:
        raise MissingSetting(
            f"ARTIFACT_STORAGE is {kind!r}; write files, s3, or the dotted path of a Django storage class"
        )
    return {"BACKEND": kind, "OPTIONS": {"location": folder} if kind.endswith("FileSystemStorage") else {}}


def _bucket() -> dict[str, Any]:
    """Return what `firmware.bucket.ReleaseBucket` is made of."""
    name = env.required("ARTIFACT_S3_BUCKET", "the bucket in which releases lie")
    if not BUCKET.fullmatch(name):
        raise MissingSetting(
            f"ARTIFACT_S3_BUCKET is {name!r}; write a bucket's name alone: 3 to 63 of a-z, 0-9, . and -"
        )
    endpoint = _endpoint()
    if endpoint:
        region = env.optional("ARTIFACT_S3_REGION", "us-east-1")  # what most other servers call theirs
    else:
        region = env.required("ARTIFACT_S3_REGION", "the bucket's region, like eu-central-1")
    seconds = env.number("ARTIFACT_S3_LINK_SECONDS", LINK_SECONDS)
    if not LEAST_LINK_SECONDS <= seconds <= MOST_LINK_SECONDS:
        raise MissingSetting(
            f"ARTIFACT_S3_LINK_SECONDS is {seconds}; write {LEAST_LINK_SECONDS} to {MOST_LINK_SECONDS}"
        )
    return {
        "bucket_name": name,
        "endpoint_url": endpoint or None,
        "region_name": region,
        "location": env.optional("ARTIFACT_S3_PREFIX", "").strip("/"),
        "querystring_expire": seconds,
        "path_style": env.flag("ARTIFACT_S3_PATH_STYLE", default=bool(endpoint)),
        "verify": env.optional_file("ARTIFACT_S3_CA_FILE") or None,
        **_credentials(),
    }


def _endpoint() -> str:
    """Return the address of a server other than Amazon's; nothing where there is none."""
    endpoint = env.optional("ARTIFACT_S3_ENDPOINT", "").rstrip("/")
    parts = urlsplit(endpoint)
    if endpoint and (parts.scheme not in ("https", "http") or endpoint != f"{parts.scheme}://{parts.netloc}"):
        raise MissingSetting("ARTIFACT_S3_ENDPOINT: write https://host or https://host:port, without the bucket's name")
    return endpoint


def _credentials() -> dict[str, str]:
    """Return the access key; nothing where the machine's own role may use the bucket."""
    key_id, path = env.optional("ARTIFACT_S3_KEY_ID", ""), env.optional_file("ARTIFACT_S3_SECRET_FILE")
    if bool(key_id) != bool(path):
        raise MissingSetting(
            "ARTIFACT_S3_KEY_ID and ARTIFACT_S3_SECRET_FILE go together; set both, "
            "or neither where the machine's own role may use the bucket"
        )
    if not path:
        return {}
    secret = Path(path).read_text().strip()
    if not secret or len(secret.split()) > 1:
        raise MissingSetting(f"ARTIFACT_S3_SECRET_FILE names {path}; it must hold the secret access key alone")
    return {"access_key": key_id, "secret_key": secret}
