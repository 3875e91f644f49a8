"""How a virtual terminal gets software: the TUF reference client, unmodified, on a fetcher that resumes cut downloads.

What the assignment says (this terminal, this file) is held against what the release repository says (this file is authentic and
current); only where both agree is anything fetched.
"""

import hashlib
import io
import logging
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import zstandard
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from terminals.link.protocol.messages.software import Assignment, Delta
from terminals.simulator.faults import Faults

logger = logging.getLogger(__name__)

ATTEMPTS = 5  # without a byte between them
LONGEST_PAUSE = 8.0  # seconds
KEPT = "installed.bin"
SLOW_BYTES_PER_SECOND, CUT_SHARE = 64 * 1024, 0.1  # of planted faults

Progress = Callable[[int], None]  # bytes that came so far


class NotTrusted(Exception):
    """What the repository says, or the file itself, does not hold; the message says why."""


class NotFetched(Exception):
    """The network or the server did not give what was asked for."""


class ResumingFetcher(FetcherInterface):
    """Fetches by HTTP; a connection that breaks costs what was under way, not what has come (`Range`, `If-Range`). A server that
    leads to a bucket is asked anew each time, as the bucket's links end soon."""

    def __init__(
        self,
        http: httpx.Client,
        dice: random.Random,
        progress: Progress = lambda _bytes: None,
        faults: Faults = Faults(),  # noqa: B008 - an immutable tuple
    ) -> None:
        self._http, self._dice, self._progress, self._faults = http, dice, progress, faults
        self.received = 0  # bytes over the wire, of all files

    def _fetch(self, url: str) -> Iterator[bytes]:
        offset, etag, failures = 0, "", 0
        while True:
            asked = {"Accept-Encoding": "identity"}
            if offset:
                asked |= {"Range": f"bytes={offset}-", "If-Range": etag}
            try:
                with self._http.stream("GET", url, headers=asked, follow_redirects=True) as answer:
                    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:  # busy is no failure: come back when told
                        told = answer.headers.get("Retry-After", "")
                        self._wait(float(told) if told.isdecimal() else 2.0)
                        continue
                    if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
                        raise DownloadHTTPError(f"{url}: {answer.status_code}", answer.status_code)
                    if offset and answer.status_code != httpx.codes.PARTIAL_CONTENT:
                        raise DownloadError(f"{url} changed while it was fetched")
                    etag = answer.headers.get("ETag", "")
                    for chunk in answer.iter_raw():  # as it comes: what is gathered first is lost by a cut
                        offset += len(chunk)
                        self.received += len(chunk)
                        failures = 0
                        self._progress(offset)
                        yield chunk
                        self._suffer(len(chunk))
                return
            except httpx.TransportError as error:
                failures += 1
                if failures == ATTEMPTS or (offset and not etag):
                    raise DownloadError(f"{url}: {type(error).__name__} {error}") from error
                self._wait(2.0**failures / 4)

    def _suffer(self, size_bytes: int) -> None:
        """Let planted faults of the link happen."""
        if self._faults.slow_link:
            time.sleep(size_bytes / SLOW_BYTES_PER_SECOND)
        if self._faults.cut_downloads and self._dice.random() < CUT_SHARE:
            raise httpx.ReadError("planted fault: the line is cut")

    def _wait(self, seconds: float) -> None:
        time.sleep(min(LONGEST_PAUSE, seconds) * self._dice.uniform(0.5, 1.5))


def fetch(
    assignment: Assignment,
    *,
    root: str,
    metadata_url: str,
    url: str,
    folder: Path,
    fetcher: FetcherInterface,
    delta: Delta | None = None,
) -> Path:
    """Return the file that the assignment means, verified; its older documents and files lie in `folder`. A delta is used where
    the file that it starts from is still there, and what it makes is what the repository lists.

    Raises NotTrusted where the repository's documents or the file do not hold, NotFetched where they cannot be got.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        known = (folder / "root.json").exists()
        first_root = None if known else root.encode()
        updater = Updater(str(folder), metadata_url, str(folder), url, fetcher, bootstrap=first_root)
        info = updater.get_targetinfo(assignment.target)
        if info is None:
            raise NotTrusted(f"the repository does not list {assignment.target}")
        if (info.length, info.hashes.get("sha256")) != (assignment.size_bytes, assignment.sha256):
            raise NotTrusted("the assignment means other bytes than the repository lists")
        if delta is not None:
            _apply(delta, info.length, folder, folder / quote(assignment.target, ""), fetcher)
        return Path(updater.find_cached_target(info) or updater.download_target(info))
    except RepositoryError as error:
        raise NotTrusted(f"{type(error).__name__}: {error}") from error
    except DownloadError as error:
        raise NotFetched(f"{type(error).__name__}: {error}") from error


def _apply(delta: Delta, size_bytes: int, folder: Path, to: Path, fetcher: FetcherInterface) -> None:
    """Make the new file of the one that was installed last, if that is the one from which the delta starts. Whatever goes wrong,
    the whole file is fetched then."""
    kept = folder / KEPT
    if not kept.exists() or hashlib.sha256(old := kept.read_bytes()).hexdigest() != delta.from_sha256:
        return
    try:
        content = fetcher.download_bytes(delta.url, delta.size_bytes)
        dictionary = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        whole = zstandard.ZstdDecompressor(dict_data=dictionary)
        with whole.stream_reader(io.BytesIO(content)) as reader:
            to.write_bytes(reader.read(size_bytes + 1))
    except (DownloadError, zstandard.ZstdError) as error:
        logger.warning("a delta is of no use: %s", error)


def keep(folder: Path, assignment: Assignment) -> None:
    """Keep an installed file, from which the next delta may start."""
    (folder / quote(assignment.target, "")).replace(folder / KEPT)


def forget(folder: Path, assignment: Assignment) -> None:
    """Remove a file that was of no use."""
    (folder / quote(assignment.target, "")).unlink(missing_ok=True)
