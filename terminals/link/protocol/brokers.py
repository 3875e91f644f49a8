"""The address of a broker or of a cluster's brokers: `mqtts://user:password@host,host:8884`. Pure."""

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

PORTS = {"mqtt": 1883, "mqtts": 8883}


class Brokers(NamedTuple):
    """Where an MQTT broker can be reached: (host, port) of each of its nodes, any of which will do."""

    scheme: str
    nodes: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = ""

    @property
    def tls(self) -> bool:
        return self.scheme == "mqtts"

    @property
    def urls(self) -> list[str]:
        """The address of each node, without user and password."""
        return [f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.nodes]


def parse(url: str) -> Brokers:
    """Read an address with one host or several, parted by commas; raise ValueError, saying what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        raise ValueError(f"{parts.scheme or 'it'} is not mqtt:// or mqtts://")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("nothing may follow the hosts")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    nodes = tuple(_node(host, PORTS[parts.scheme]) for host in hosts.split(","))
    return Brokers(parts.scheme, nodes, unquote(user), unquote(password))


def _node(host: str, port: int) -> tuple[str, int]:
    one = urlsplit(f"//{host}")  # knows [::1]:1883, and refuses a port that is none
    if not one.hostname or one.port == 0:
        raise ValueError(f"{host!r} is not a host or host:port")
    return one.hostname, one.port or port
