"""How far the links are behind: on /readyz, /metrics and the overview; and what is shipped to watch it by."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from terminals.estate.models import Terminal
from terminals.link.heartbeat import Work, beat
from terminals.link.lag import lag
from terminals.link.models import Command
from terminals.link.services import send_plain_command
from tests.conftest import working_device

DEPLOY = Path(settings.BASE_DIR) / "deploy"


def parts_alive(now: datetime, work: Work) -> None:
    for part in ("broker", "worker"):
        beat(name=f"{part}:one", part=part, healthy=True, at=now)
    beat(name="link:one", part="link", healthy=True, at=now, work=work)


@pytest.mark.django_db
def test_a_link_that_does_not_get_on_is_told_everywhere(client: Client, operator: Any) -> None:
    client.force_login(operator)
    now = timezone.now()
    parts_alive(now, Work(0.2, 1000, 3))
    assert "are behind" not in client.get("/admin/overview/panel/").content.decode()
    parts_alive(now, Work(95.0, 1000, 3))
    page = client.get("/admin/overview/panel/").content.decode()
    assert "The links are behind." in page
    assert "oldest message has waited for 95 s" in page
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["lag"]["oldest_message_seconds"]) == (200, 95.0)
    told = client.get("/metrics").content.decode()
    assert 'tillwarden_lag_seconds{of="message"} 95.0' in told
    assert 'tillwarden_messages_total{link="one",outcome="taken"} 997.0' in told
    assert 'tillwarden_messages_total{link="one",outcome="refused"} 3.0' in told
    assert 'tillwarden_part_up{part="link"} 1.0' in told


@pytest.mark.django_db
def test_a_command_counts_from_when_it_was_due_and_only_where_it_may_go_out(
    register: Callable[[str], Terminal],
) -> None:
    now = timezone.now()
    assert lag(now) == (0, 0)
    terminal = register("SN-1")
    working_device(terminal)
    send_plain_command(terminal=terminal, command_type="ping", actor="ops")
    Command.objects.update(next_attempt_at=now - timedelta(seconds=70))
    with CaptureQueriesContext(connection) as asked:
        assert lag(now).oldest_due_command_seconds == 70
    assert len(asked) == 2
    assert lag(now).behind
    Command.objects.update(next_attempt_at=now + timedelta(seconds=5))
    assert lag(now).oldest_due_command_seconds == 0
    Command.objects.update(next_attempt_at=now - timedelta(seconds=70))
    Terminal.objects.update(state="suspended")
    assert not lag(now).behind


@pytest.mark.django_db
def test_rules_and_dashboard_ask_for_what_is_served(client: Client) -> None:
    parts_alive(timezone.now(), Work(0, 1, 0))
    served = set(re.findall(r"^# HELP (tillwarden_\w+)", client.get("/metrics").content.decode(), re.M))
    rules = yaml.safe_load((DEPLOY / "prometheus" / "tillwarden.rules.yml").read_text())
    dashboard = json.loads((DEPLOY / "grafana" / "tillwarden.json").read_text())
    asked = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) > 10
    for expression in asked:
        names = set(re.findall(r"tillwarden_[a-z_]+", expression.replace('job="tillwarden"', "")))
        assert names <= served, expression
