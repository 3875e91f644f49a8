#!/usr/bin/env python3
"""Tell a RabbitMQ node what terminals may do: run it on the node's host, beside it (`auth_http` in rabbitmq.conf asks here).

    permissions.py [PORT]

Listens on 127.0.0.1, port 8016 unless told another. A client's user name is the name in its certificate, which the node has
checked before it asks. A terminal connects under its own client id alone, publishes and subscribes on its own topics alone. Needs
Python 3 and nothing else. While it does not run, the node lets no terminal in.
"""

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

PORT = 8016
TERMINAL = re.compile(r"[A-Z0-9-]{4,32}")  # the device CA signs no other names
TOPICS = "amq.topic"
LENGTH = re.compile(r"[0-9]{1,5}")
# RabbitMQ writes . for the / of MQTT and * for its +.
SPEAKS, HEARS = (
    r"tw\.v1\.[0-9a-f]{{2}}\.{name}\.(up\.[a-z]+|presence)",
    r"tw\.v1\.[0-9a-f]{{2}}\.{name}\.dn\.(\*|[a-z]+)",
)


def may_log_in(asked: "dict[str, str]") -> bool:
    """Whether it is a terminal. Who sends a user name and a password need not have a certificate of that name."""
    return "password" not in asked and bool(TERMINAL.fullmatch(asked["username"]))


def may_enter(asked: "dict[str, str]") -> bool:
    """Whether its client id is its name: under another's the node would end that one's connection."""
    return asked["vhost"] == "/" and asked["username"] == asked["client_id"]


def may_use(asked: "dict[str, str]") -> bool:
    """Whether it is its own queue, or the exchange of all topics, which asks about each of them."""
    own = {f"mqtt-subscription-{asked['client_id']}qos{qos}" for qos in (0, 1)}
    return may_enter(asked) and (
        (asked["resource"] == "queue" and asked["name"] in own)
        or (asked["resource"] == "exchange" and asked["name"] == TOPICS and asked["permission"] != "configure")
    )


def may_speak_or_hear(asked: "dict[str, str]") -> bool:
    """Whether it may publish on a topic (write), or subscribe to a filter (read)."""
    if asked["name"] != TOPICS or asked["vhost"] != "/":
        return False
    pattern = {"write": SPEAKS, "read": HEARS}[asked["permission"]]
    return bool(re.fullmatch(pattern.format(name=re.escape(asked["username"])), asked["routing_key"]))


QUESTIONS = {"/user": may_log_in, "/vhost": may_enter, "/resource": may_use, "/topic": may_speak_or_hear}


def answer(path: str, body: str) -> str:
    """Return what the node wants to read: `allow`, or `deny` for whatever is not understood."""
    try:
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=True)
        asked = dict(pairs)
        return "allow" if len(asked) == len(pairs) and QUESTIONS[path](asked) else "deny"
    except (KeyError, ValueError):
        return "deny"


class Handler(BaseHTTPRequestHandler):
    """A connection of the node."""

    protocol_version = "HTTP/1.1"  # the node keeps its connections
    wbufsize = -1  # the answer in one piece: in two, each would wait 40 ms for the other's acknowledgement

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        self.close_connection = not LENGTH.fullmatch(length)
        body = b"" if self.close_connection else self.rfile.read(int(length))
        told = answer(self.path, body.decode("utf-8", "replace")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """The node's log tells whom it refused."""


class Server(ThreadingHTTPServer):
    """As many at once as the node has connections to it."""

    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    try:
        port = int(*sys.argv[1:]) if sys.argv[1:] else PORT
        server = Server(("127.0.0.1", port), Handler)
    except (TypeError, ValueError, OverflowError):
        sys.exit(__doc__)
    except OSError as error:
        sys.exit(f"permissions: 127.0.0.1:{port}: {error.strerror}")
    server.serve_forever()


if __name__ == "__main__":
    main()
