"""What a filter may ask of the campaigns that move something on a terminal."""

from typing import Any

from django.db.models import Q

from terminals.campaigns.models import Member
from terminals.campaigns.rules import MemberState
from terminals.estate.targets.fields import NUMBER, WORD, Field, Kind, having

SEE = "campaigns.view_member"


def _in_campaign(operator: str, value: Any) -> Q:
    return having(Member.objects.all(), wave__campaign=value)


def _came_to(operator: str, value: Any) -> Q:
    return having(Member.objects.all(), state=value)


FIELDS = (
    Field(
        "campaign",
        Kind("number", ("=", "!=", "in"), NUMBER.read, "12"),
        "number of a campaign to which it belongs",
        build=_in_campaign,
        needs=SEE,
        index="member_of_terminal",
    ),
    Field(
        "campaign_state",
        WORD,
        "how far any campaign is with it",
        build=_came_to,
        choices=tuple(MemberState),
        needs=SEE,
        index="member_of_terminal",
    ),
)
