"""Releases in a bucket: Amazon S3, or a server that speaks its protocol (ARTIFACT_STORAGE=s3, docs/operations.md).

django-storages asks it. What differs here: a file is read by ranges (the library would fetch all of it into memory for one byte),
an upload has one part in memory, and what goes wrong is an OSError, as of a disk. Objects are private, have names of their
own and never change.
"""

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from errno import ENOENT
from http import HTTPStatus
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files import File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name

# A piece is fetched whole and handed on from here: a slow terminal holds no connection to the bucket, and 1 MiB of memory.
PIECE_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024  # of an upload: 120 of them at most (a bucket takes 10,000), and one in memory
CONNECT_SECONDS, ANSWER_SECONDS, ATTEMPTS = 5, 20, 2  # a web thread waits no longer


class StoreAway(OSError):
    """The bucket does not answer, or not to us; the message says what was heard."""


@contextmanager
def _asking(name: str) -> Iterator[None]:
    """Tell what goes wrong as files do: FileNotFoundError for what is not there, StoreAway for anything else."""
    try:
        yield
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
            raise FileNotFoundError(ENOENT, str(error), name) from None
        raise StoreAway(f"{name}: {error}") from error
    except BotoCoreError as error:
        raise StoreAway(f"{name}: {error}") from error


class ReleaseBucket(S3Storage):  # type: ignore[misc]  # it has no types
    """A storage of Django's; every method raises FileNotFoundError or StoreAway where it cannot do its work."""

    def __init__(self, *, path_style: bool, **options: Any) -> None:
        """`path_style`: the bucket is named in the path and not in the host; `options` are django-storages' own."""
        client = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if path_style else "virtual"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # Many servers know none of the newer checksums; what is stored here is held against its own SHA-256 anyway.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
        super().__init__(
            client_config=client,
            transfer_config=parts,
            file_overwrite=False,
            default_acl=None,
            # Whatever the uploader's browser called it: no browser shall take it for a page.
            object_parameters={"ContentType": "application/octet-stream"},
            **options,
        )

    def _open(self, name: str, mode: str = "rb") -> "BucketFile":
        if mode != "rb":
            raise ValueError("an object is read as bytes, and written as a whole")
        return BucketFile(self, name)

    def read_range(self, name: str, first: int, count: int) -> bytes:
        """Return bytes of an object from `first` on: 1 to `count` of them."""
        key, span = self._normalize_name(clean_name(name)), f"bytes={first}-{first + count - 1}"
        with _asking(name):
            answer = self.connection.meta.client.get_object(Bucket=self.bucket_name, Key=key, Range=span)
            with closing(answer["Body"]) as body:
                piece = bytes(body.read(count))
        if not piece:
            raise StoreAway(f"{name}: nothing came for {span}")
        return piece

    def _save(self, name: str, content: Any) -> str:
        with _asking(name):
            return str(super()._save(name, content))

    def delete(self, name: str) -> None:
        with _asking(name):
            super().delete(name)

    def exists(self, name: str) -> bool:
        with _asking(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with _asking(name):
            return int(super().size(name))

    def url(self, name: str, *args: Any, **kwargs: Any) -> str:
        with _asking(name):
            return str(super().url(name, *args, **kwargs))


class BucketFile(File):  # type: ignore[type-arg]
    """An object that is open for reading; raises FileNotFoundError at once where there is none."""

    def __init__(self, bucket: ReleaseBucket, name: str) -> None:
        self._bucket = bucket
        self.size = bucket.size(name)
        super().__init__(None, name)
        self.open()

    def open(self, *_args: Any, **_kwargs: Any) -> "BucketFile":
        self.file = io.BufferedReader(_Pieces(self._bucket, str(self.name), self.size), PIECE_BYTES)
        return self


class _Pieces(io.RawIOBase):
    """An object's bytes, as many with each request as are wanted."""

    def __init__(self, bucket: ReleaseBucket, name: str, size_bytes: int) -> None:
        self._bucket, self._name, self._size_bytes, self._place = bucket, name, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size_bytes}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size_bytes - self._place)
        if wanted <= 0:
            return 0
        piece = self._bucket.read_range(self._name, self._place, wanted)
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """All that is left, by few requests: what io does by itself would make one for every few kilobytes."""
        pieces = []
        while piece := self.read(PART_BYTES):
            pieces.append(piece)
        return b"".join(pieces)
