"""What is plainly no software, by its first bytes: what people and scripts upload by mistake."""

import json
import re
from typing import Any

from terminals.common.errors import Refusal

_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.{0,1000}?-->\s*)?<(?:!doctype html|html)[\s>]", re.I | re.S)
_BUCKET_ERROR = re.compile(rb"\s*(?:<\?xml[^>]{0,100}\?>\s*)?<Error>\s*<Code>")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----")
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")


def refuse_other_kinds(head: bytes) -> None:
    """Raise Refusal for a file that begins like something else than software."""
    # Terminals would get it, and it would lie in backups. Only at the beginning: programs that read such files name them, too.
    if head.lstrip().startswith(b"-----BEGIN ") and _PRIVATE_KEY.search(head):
        raise Refusal("private_key", "the file has a private key in it; keep it secret and choose the release's file")
    if _PAGE.match(head):  # the log-in or error page of a download
        raise Refusal("not_software", "the file is a web page, perhaps of a failed download; fetch the release again")
    if _BUCKET_ERROR.match(head) or _is_problem(head):  # of a build's store
        raise Refusal(
            "not_software", "the file is an error message, perhaps of a failed download; fetch the release again"
        )
    if head.startswith(b"%PDF-"):  # its release notes
        raise Refusal("not_software", "the file is a PDF document; choose the release's file")
    if head.startswith(_IMAGES):  # a picture of it
        raise Refusal("not_software", "the file is a picture; choose the release's file")


def _is_problem(head: bytes) -> bool:
    """Whether it is an error as APIs tell it (RFC 9457); other JSON may be parameters."""
    if not head.lstrip().startswith(b"{"):
        return False
    try:
        said: Any = json.loads(head)
    except (ValueError, RecursionError):
        return False
    status = said.get("status")
    return isinstance(status, int) and 400 <= status <= 599 and bool({"title", "detail"} & said.keys())
