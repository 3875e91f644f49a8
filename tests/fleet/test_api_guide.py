"""docs/api.md: each of its lines is run as it stands, one after the other, by a reader who has just begun."""

import json
import re
import shlex
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from fleet.access.models import ApiToken

URL = "http://testserver"


def lines() -> list[str]:
    text = (settings.BASE_DIR / "docs" / "api.md").read_text()
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines() if line]


class Shell:
    """As much of a shell as the page needs: variables, curl, and jq of one member."""

    def __init__(self, token: str) -> None:
        self.variables = {"TOKEN": token}
        self.api = APIClient()

    def run(self, line: str) -> None:
        if assigned := re.fullmatch(r"([A-Z]+)=\$\((curl .*) \| jq \.(\w+)\)", line):
            self.variables[assigned[1]] = str(self.curl(assigned[2])[assigned[3]])
        elif assigned := re.fullmatch(r"([A-Z]+)=(.*)", line):
            value = URL if assigned[1] == "URL" else shlex.split(self.filled(assigned[2]))[0]
            self.variables[assigned[1]] = value
        else:
            self.curl(line)

    def filled(self, text: str) -> str:
        return re.sub(r"\$([A-Z]+)", lambda name: self.variables[name[1]], text)

    def curl(self, line: str) -> Any:
        words = [self.filled(word) if "$" in word else word for word in shlex.split(line)[1:]]
        method, body, query, headers, address = "", None, {}, {}, ""
        while words:
            word = words.pop(0)
            if word == "-H":
                name, _colon, value = words.pop(0).partition(": ")
                headers[name] = value
            elif word == "-X":
                method = words.pop(0)
            elif word == "-d":
                body = words.pop(0)
            elif word == "--data-urlencode":
                name, _equals, value = words.pop(0).partition("=")
                query[name] = value
            elif word != "-G":
                address = word
        url = address.removeprefix(URL) + (f"?{urlencode(query)}" if query else "")
        kind = headers.pop("Content-Type", "application/json")
        verb = (method or ("POST" if body else "GET")).lower()
        answer = self.api.generic(verb.upper(), url, body or "", content_type=kind, headers=headers)
        assert answer.status_code < 300, (line, answer.status_code, answer.content)
        return json.loads(answer.content)


@pytest.mark.django_db
def test_the_first_hour_runs_as_it_is_written() -> None:
    _token, text = ApiToken.objects.create(user=User.objects.create_superuser("root"), name="guide")
    shell = Shell(text)
    written = lines()
    for line in written:
        shell.run(line)
    assert len(written) > 20
    assert {"MERCHANT", "TERMINAL", "JOB", "SET"} <= shell.variables.keys()
