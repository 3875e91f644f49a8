"""A bucket on a real S3 server (moto's) on loopback, which also holds links against their end and their signature, as S3 does."""

import hmac
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

BUCKET, REGION, KEY_ID, SECRET = "releases", "eu-central-1", "key-of-a-test", "secret-of-a-test"


class QuietHandler(MotoRequestHandler):
    def log(self, *_args: Any, **_kwargs: Any) -> None:
        """A test's output is no place for it."""


class Bucket:
    """The server as a WSGI application: what it was asked, and whether it is away."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.asked: list[str] = []  # method and range, or length of the body
        self.away = False
        self.endpoint = ""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        self.asked.append(f"{request.method} {request.headers.get('Range') or request.content_length or ''}".strip())
        if self.away:
            return Response("<Error><Code>SlowDown</Code></Error>", 503)(environ, start_response)
        if "X-Amz-Signature" in request.args and not self._holds(request):
            return Response("<Error><Code>AccessDenied</Code></Error>", 403)(environ, start_response)
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _holds(self, request: Request) -> bool:
        """Whether a link is still good, and signed for just this method and address: moto looks at neither."""
        told = dict(request.args.items())
        signature, made, seconds = told.pop("X-Amz-Signature"), told["X-Amz-Date"], int(told["X-Amz-Expires"])
        signer = S3SigV4QueryAuth(Credentials(KEY_ID, SECRET), "s3", REGION, seconds)
        asked = AWSRequest(request.method, f"{request.base_url}?{urlencode(told)}")
        asked.context["timestamp"] = made
        right = signer.signature(signer.string_to_sign(asked, signer.canonical_request(asked)), asked)
        end = datetime.strptime(made, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=seconds)
        return hmac.compare_digest(right, signature) and datetime.now(UTC) < end

    def client(self) -> Any:
        """A client of boto's, to look at the bucket from outside."""
        key = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, **key)


@contextmanager
def running() -> Iterator[Bucket]:
    """A server with an empty bucket, until the block ends."""
    bucket = Bucket()
    server = make_server("127.0.0.1", 0, bucket, threaded=True, request_handler=QuietHandler)
    bucket.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        bucket.client().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
