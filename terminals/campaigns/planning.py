"""Proposing a campaign: its terminals are chosen, put into waves, and fixed. No statement of it is for one terminal."""

import hashlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import rfc8785
from django.core.exceptions import EmptyResultSet, PermissionDenied
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from terminals.bulk.fitness import LeftOut, without_unfit
from terminals.bulk.verbs import Arguments
from terminals.campaigns.kinds import Kind, kinds
from terminals.campaigns.models import Campaign, Member, Tally, Wave
from terminals.campaigns.rules import LIVE, MemberState
from terminals.campaigns.settings import Cut, checked, cut, filters_of
from terminals.common.audit import services as audit
from terminals.common.audit.services import subject_of
from terminals.common.errors import Refusal
from terminals.common.scope import holds, reach_of, within
from terminals.estate.models import Terminal
from terminals.estate.targets.choosing import matching

VIEW_TERMINALS = "terminals.view_terminal"
VIEW_CAMPAIGNS = "campaigns.view_campaign"
SHOWN = 5
VIEW_MEMBERS = "campaigns.view_member"  # what seeing a campaign's terminals needs
PROPOSE = "campaigns.add_campaign"  # what proposing and running one needs, besides what its kind needs


Among = QuerySet[Any] | RawSQL | None
PARTS = Refusal("parts", "its terminals stand in different parts of the estate; propose a campaign for each part")


class NoTerminal(Refusal):
    """Nothing would be moved."""


class Asked(NamedTuple):
    """What somebody would have moved: the kind, what is kept of what was said, and the terminals that pass."""

    kind: Kind
    arguments: dict[str, Any]
    settings: dict[str, Any]
    terminals: QuerySet[Terminal]
    first: list[QuerySet[Terminal]]  # who pass the filter of each wave that has one

    @property
    def follows(self) -> bool:
        return bool(self.settings["follows"])


class Preview(NamedTuple):
    """What a campaign would do: waves by the number of their terminals, and whom it would take from other campaigns."""

    total: int
    waves: list[int]
    left_out: list[LeftOut]
    superseded: int
    superseded_of: list[str]  # the campaigns from which they are taken, as far as one may see them
    told: str
    needs_approval: bool
    passing: Collection[str]  # reasons to be left out for which a terminal waits
    follows: bool

    @property
    def fit(self) -> int:
        """How many would be asked, at once or when what stands in their way has passed."""
        return self.total - sum(one.number for one in self.left_out if one.refusal.reason not in self.passing)


def asked(*, kind: str, arguments: Arguments, text: str, settings: Any, user: Any, among: Among = None) -> Asked:
    """Return what is asked for, checked; raise Refusal where it cannot be, PermissionDenied for who may not. `among` narrows the
    target to some ids."""
    chosen = kinds.named(kind)
    if not holds(user, chosen.permission) or not holds(user, PROPOSE):
        raise PermissionDenied
    if not text.strip():
        raise Refusal("no_target", "say which terminals: a filter, for example state = active")
    kept, told = checked(settings), chosen.check(arguments, user)
    if kept["download_ahead"] and not (chosen.takes_conditions and kept["window"]):
        raise Refusal("bad_campaign", "only a release with a window is downloaded ahead")
    if kept["conditions"] and not chosen.takes_conditions:
        raise Refusal("bad_campaign", "terminals hold no conditions against %(kind)s", kind=chosen.name)
    if kept["follows"] and chosen.has_it is None:
        raise Refusal("bad_campaign", "no campaign follows %(kind)s: nobody knows who lacks it", kind=chosen.name)
    seen = within(Terminal.objects.order_by(), user, VIEW_TERMINALS)
    terminals = within(within(matching(seen, text, user), user, chosen.permission), user, PROPOSE)
    if among is not None:
        terminals = terminals.filter(pk__in=among)
    return Asked(chosen, told, kept, terminals, [_of_wave(terminals, one, user) for one in filters_of(kept)])


def _of_wave(terminals: QuerySet[Terminal], text: str, user: Any) -> QuerySet[Terminal]:
    """Return those that pass the filter of a wave; what is wrong with it is said of that."""
    try:
        return matching(terminals, text, user)
    except Refusal as refusal:
        raise Refusal(refusal.reason, "%(name)s: %(why)s", name=f"waves, {text[:60]}", why=refusal) from None


def asked_of(campaign: Campaign, among: Among = None) -> Asked:
    """Return what a campaign asks for now, for whoever proposed it; raise as `asked` does. Its waves are cut already."""
    settings = {**campaign.settings, "canary": "", "waves": [100]}
    return asked(
        kind=campaign.kind,
        arguments=campaign.arguments,
        text=campaign.filter,
        settings=settings,
        user=campaign.proposed_by,
        among=among,
    )


def _cuts(said: Asked, total: int) -> list[Cut]:
    """Return the waves of a target of so many terminals; raise Refusal where nobody passes the filter of one."""
    if said.first and not total:
        raise Refusal(
            "no_terminal", "no terminal passes the filter yet: nobody can come first; leave out the waves by a filter"
        )
    rest, passing = said.terminals, []
    for text, chosen in zip(filters_of(said.settings), said.first, strict=True):
        number = rest.filter(pk__in=chosen.values("pk")).count()
        if not number and total:
            raise Refusal("no_canary", "no terminal passes the filter of a wave: %(filter)s", filter=text)
        passing.append(number)
        rest = rest.exclude(pk__in=chosen.values("pk"))
    return cut(said.settings, passing, total)


def preview(*, kind: str, arguments: Arguments, text: str, settings: Any, user: Any) -> Preview:
    """Return what a campaign would do. Changes nothing."""
    said = asked(kind=kind, arguments=arguments, text=text, settings=settings, user=user)
    total = said.terminals.count()
    cuts = _cuts(said, total) if total or said.follows else []
    _fit, left_out = without_unfit(said.terminals, said.kind.unfit(said.arguments))
    waiting = Member.objects.filter(
        thing=said.kind.thing(said.arguments),
        state__in=(MemberState.PLANNED, MemberState.WAITING),
        wave__campaign__state__in=LIVE,
    )
    taken = waiting.filter(terminal__in=said.terminals.values("pk"))
    seen = within(Campaign.objects.order_by("pk"), user, VIEW_CAMPAIGNS).distinct()
    return Preview(
        total=total,
        waves=[b - a for a, b in zip([0, *(one.last for one in cuts)], (one.last for one in cuts), strict=False)],
        left_out=left_out,
        superseded=taken.count(),
        superseded_of=sorted({*seen.filter(waves__members__in=taken).values_list("name", flat=True)[:SHOWN]}),
        told=said.kind.told(said.arguments),
        needs_approval=said.kind.needs_approval(said.arguments),
        passing=said.kind.passing,
        follows=said.follows,
    )


@transaction.atomic
def propose(
    *,
    name: str,
    kind: str,
    arguments: Arguments,
    text: str,
    settings: Any,
    user: Any,
    among: Among = None,
    rolls_back: Campaign | None = None,
) -> Campaign:
    """Fix what is to be moved, how, and to whom; nothing is moved yet. Raises Refusal where it cannot be."""
    said = asked(kind=kind, arguments=arguments, text=text, settings=settings, user=user, among=among)
    shown = _checked_name(name)
    total = said.terminals.count()
    if not total and not said.follows:
        raise NoTerminal("no_terminal", "no terminal passes the filter where you may do this")
    campaign = Campaign.objects.create(
        name=shown,
        kind=said.kind.name,
        arguments=said.arguments,
        thing=said.kind.thing(said.arguments),
        filter=text,
        settings=said.settings,
        needs_approval=said.kind.needs_approval(said.arguments),
        proposed_by=user,
        rolls_back=rolls_back,
    )
    cuts = _cuts(said, total)
    waves = _make_waves(campaign, cuts)
    if total:
        _choose(campaign, said, waves, cuts)
    _settle_down(campaign, waves, user)
    if not all(holds(user, permission, campaign) for permission in (PROPOSE, said.kind.permission)):
        raise PARTS.again()
    detail = {"kind": campaign.kind, "arguments": said.arguments, "filter": text, "total": campaign.total}
    detail |= {"settings": said.settings, "digest": campaign.digest}  # over the terminals, too: their rows stay
    audit.record(actor=user.get_username(), action="campaign.propose", subject=subject_of(campaign), detail=detail)
    return campaign


def _checked_name(name: str) -> str:
    shown = name.strip()
    if not 0 < len(shown) <= 80 or not shown.isprintable():
        raise Refusal("bad_name", "a name has 1 to 80 printable characters")
    return shown


def _make_waves(campaign: Campaign, cuts: list[Cut]) -> list[Wave]:
    return Wave.objects.bulk_create(
        Wave(campaign=campaign, number=number, total=0, guard=one.guard._asdict())
        for number, one in enumerate(cuts, start=1)
    )


# Raw: the ORM has no INSERT ... SELECT, and 100,000 ids need not travel. Who pass a wave's filter come first, the others in an
# order that favours nobody and is the same if it is worked out again.
CHOOSE = """
INSERT INTO campaigns_member (wave_id, terminal_id, thing, state, attempt, code, reasons)
SELECT (%s::bigint[])[(SELECT 1 + count(*) FROM unnest(%s::bigint[]) AS last WHERE last < n)], terminal_id, %s, %s, 0, '', '[]'
  FROM (SELECT id AS terminal_id, row_number() OVER (ORDER BY rank, hashint8extended(id, %s)) AS n
          FROM (SELECT id, CASE {first} ELSE 0 END AS rank FROM ({target}) AS t(id)) AS ranked) AS placed
"""


def _choose(campaign: Campaign, said: Asked, waves: list[Wave], cuts: list[Cut]) -> None:
    """Write a campaign's terminals with their waves. Whoever came to pass meanwhile is in the last one."""
    target, mine = said.terminals.values("pk").query.sql_with_params()
    whens, theirs = ["WHEN false THEN 0"], list[Any]()
    for rank, chosen in enumerate(said.first, start=-len(said.first)):
        with suppress(EmptyResultSet):  # Django knows it without asking
            text, parameters = chosen.values("pk").query.sql_with_params()
            whens.append(f"WHEN id IN ({text}) THEN {rank}")
            theirs += parameters
    numbers = [wave.pk for wave in waves]
    limits = [one.last for one in cuts[:-1]]
    with connection.cursor() as cursor:
        cursor.execute(
            CHOOSE.replace("{first}", " ".join(whens)).replace("{target}", target),
            [numbers, limits, campaign.thing, MemberState.PLANNED.value, campaign.pk, *theirs, *mine],
        )


# Raw: one pass over the members: how many a wave has, what they have in common, and what tells that they are still the same.
FIXED = """
SELECT m.wave_id, count(*), min(t.path), max(t.path),
       encode(sha256(string_agg(m.terminal_id::text, ',' ORDER BY m.terminal_id)::bytea), 'hex')
  FROM campaigns_member m JOIN terminals_terminal t ON t.id = m.terminal_id
 WHERE m.wave_id = ANY(%s) GROUP BY 1 ORDER BY 1
"""


def _settle_down(campaign: Campaign, waves: list[Wave], user: Any) -> None:
    """Keep what follows from a campaign's terminals: sizes, tallies, the node below which they stand, the digest."""
    with connection.cursor() as cursor:
        cursor.execute(FIXED, [[wave.pk for wave in waves]])
        rows = cursor.fetchall()
    sizes = {wave_id: number for wave_id, number, *_rest in rows}
    kept = sizes.keys() | ({waves[-1].pk} if follows(campaign) else set())  # where those that come later go
    Wave.objects.filter(pk__in={wave.pk for wave in waves} - kept).delete()
    for wave in waves:
        Wave.objects.filter(pk=wave.pk).update(total=sizes.get(wave.pk, 0))
    Tally.objects.bulk_create(
        Tally(wave_id=wave_id, state=MemberState.PLANNED.value, number=number) for wave_id, number in sizes.items()
    )
    campaign.total = sum(sizes.values())
    campaign.path = _path_of(campaign, rows, user)
    said: dict[str, Any] = {
        "kind": campaign.kind,
        "arguments": campaign.arguments,
        "filter": campaign.filter,
        "settings": campaign.settings,
        "waves": [[number, digest] for _wave, number, _first, _last, digest in rows],
    }
    campaign.digest = hashlib.sha256(rfc8785.dumps(said)).hexdigest()
    campaign.save(update_fields=["total", "path", "digest"])


def _path_of(campaign: Campaign, rows: Sequence[tuple[Any, ...]], user: Any) -> str:
    """Return the node under which a campaign's terminals stand: those that there are, or, where it follows, all that may come,
    which is where its proposer may do this."""
    known = common_node(min(row[2] for row in rows), max(row[3] for row in rows)) if rows else None
    if not follows(campaign):
        return known or ""
    reaches = [reach_of(user, name).paths for name in (PROPOSE, kinds.named(campaign.kind).permission)]
    covering = [[path for path in paths if known is None or known.startswith(path)] for paths in reaches]
    if any(len(paths) != 1 for paths in covering):
        raise PARTS.again()
    return max((path for paths in covering for path in paths), key=len)


def follows(campaign: Campaign) -> bool:
    """Whether a campaign goes on with terminals that come to pass its filter later."""
    return bool(campaign.settings.get("follows"))


def common_node(first: str, last: str) -> str:
    """Return the path of the deepest node above both of two paths, which are the first and the last of many: `o1.m2.`."""
    common = ""
    for mine, theirs in zip(first.split(".")[:-1], last.split(".")[:-1], strict=False):
        if mine != theirs:
            break
        common += f"{mine}."
    return common
