"""What terminals say of whom they trust and of their certificates: parsed here, done by services."""

from typing import cast

from terminals.enrolment import certificates, trust
from terminals.enrolment.certificates import Wanted
from terminals.link.protocol.messages.enrolment import CertificateRequest
from terminals.link.protocol.messages.link import Hello
from terminals.link.routes import Received, RefusedMessage


def on_hello(messages: list[Received]) -> None:
    """Note which keys terminals use and what they trust; one that does not say is left as it is."""
    present = {m.terminal_id for m in messages if m.key_pem == m.sender.public_key_pem}
    certificates.confirm(present, messages[-1].received_at)
    held = {m.terminal_id: said for m in messages if (said := cast(Hello, m.body).trust)}
    if held:
        trust.note_trust(held, messages[-1].received_at)


def on_certificate_requests(messages: list[Received]) -> list[RefusedMessage]:
    """Renew certificates; of several requests of one terminal the last counts."""
    last = {message.terminal_id: message for message in messages}
    wanted = [Wanted(pk, cast(CertificateRequest, m.body).csr, m.key_pem) for pk, m in sorted(last.items())]
    given, refused = certificates.renew(wanted, now=messages[-1].received_at)
    certificates.send(given, messages[-1].received_at)
    return [RefusedMessage(last[pk], refusal) for pk, refusal in refused.items()]
