#!/usr/bin/env python3
"""What terminals may do on a RabbitMQ node, for its plugin rabbitmq_auth_backend_http: a service on the node's host.

    permissions.py [PORT]

Listens on 127.0.0.1, port 8016 unless told another, as `auth_http` in rabbitmq.conf has it. A terminal's user name is the name
in its certificate, which the node has checked before it asks. It connects under that client id alone, and publishes and
subscribes on its own topics alone. Needs Python 3 and nothing else. While it does not run, the node refuses every terminal.
"""

import hashlib
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

PORT = 8016
TERMINAL = re.compile(r"[A-Z0-9-]{4,32}")  # DEVICE_ID in terminals/estate/rules.py
PUBLISHES = ("up.hello", "up.health", "up.result", "up.event", "presence")
SUBSCRIBES = ("dn.*", "dn.command", "dn.ack")
EXCHANGE = "amq.topic"  # all topics of MQTT
CONTENT_LENGTH = re.compile(r"[0-9]{1,5}")


def may_log_in(asked: "dict[str, str]") -> bool:
    """Whether it is a terminal. A client that sends a password chose its user name itself: it need not be its certificate's."""
    return "password" not in asked and bool(TERMINAL.fullmatch(asked["username"]))


def may_connect(asked: "dict[str, str]") -> bool:
    """Whether its client id is its name: under another's the node would end that one's connection."""
    return asked["vhost"] == "/" and asked["username"] == asked["client_id"]


def may_use(asked: "dict[str, str]") -> bool:
    """Whether it is its own queue, or the exchange, of which each topic is asked for."""
    own = {f"mqtt-subscription-{asked['client_id']}qos{qos}" for qos in (0, 1)}
    return may_connect(asked) and (
        (asked["resource"] == "queue" and asked["name"] in own)
        or (asked["resource"] == "exchange" and asked["name"] == EXCHANGE and asked["permission"] != "configure")
    )


def may_use_topic(asked: "dict[str, str]") -> bool:
    """Whether it may publish on a topic (write) or subscribe to a filter (read); for the / of MQTT RabbitMQ writes a dot, for its
    + an asterisk."""
    name = asked["username"]
    shard = hashlib.sha256(name.encode()).hexdigest()[:2]  # terminals/link/protocol/topics.py
    own = {"write": PUBLISHES, "read": SUBSCRIBES}[asked["permission"]]
    known = (asked["name"], asked["vhost"]) == (EXCHANGE, "/") and TERMINAL.fullmatch(name)
    return bool(known) and asked["routing_key"] in {f"tw.v1.{shard}.{name}.{rest}" for rest in own}


QUESTIONS = {"/user": may_log_in, "/vhost": may_connect, "/resource": may_use, "/topic": may_use_topic}


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
        self.close_connection = not CONTENT_LENGTH.fullmatch(length)
        body = b"" if self.close_connection else self.rfile.read(int(length))
        told = answer(self.path, body.decode("utf-8", "replace")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """The node's log tells whom it refused."""


class Server(ThreadingHTTPServer):
    """As many connections at once as the node makes."""

    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    try:
        port = int(*sys.argv[1:]) if sys.argv[1:] else PORT
        server = Server(("127.0.0.1", port), Handler)
    except (TypeError, ValueError, OverflowError):
        sys.exit(f"permissions.py [PORT]: {' '.join(sys.argv[1:])} is no port")
    except OSError as error:
        sys.exit(f"permissions.py: 127.0.0.1:{port}: {error.strerror}")
    server.serve_forever()


if __name__ == "__main__":
    main()
