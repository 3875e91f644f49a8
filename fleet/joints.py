"""What ties rooms together that must not know each other: who follows when a terminal enrols, moves, or changes its state."""

from functools import partial

from firmware import readiness as firmware_readiness
from firmware import targets as firmware_fields
from firmware.installations import forget_software, reset_software
from firmware.tuf.services import root_document
from fleet.bulk_verbs import VERBS
from fleet.campaign_kinds import KINDS, MEASURES
from fleet.roles import SENSITIVE
from terminals.bulk.verbs import verbs
from terminals.campaigns import following
from terminals.campaigns import targets as campaign_fields
from terminals.campaigns.kinds import kinds
from terminals.common.fresh import freshness
from terminals.enrolment import certificates
from terminals.enrolment import services as enrolment
from terminals.enrolment import targets as certificate_fields
from terminals.enrolment.codes import withdraw_codes
from terminals.enrolment.trust import release_root
from terminals.estate.models import Terminal
from terminals.estate.rules import TerminalTransition
from terminals.estate.services import hooks, on_move, on_replace, on_store_clock
from terminals.estate.targets import own as estate_fields
from terminals.estate.targets.fields import fields
from terminals.health import readiness as health_readiness
from terminals.health import targets as health_fields
from terminals.health.services import forget_condition
from terminals.importing import targets as import_fields
from terminals.keys import readiness as key_readiness
from terminals.keys import targets as key_fields
from terminals.keys.services import destroy_keys, establish_protection_key, protect_texts
from terminals.link import readiness as link_readiness
from terminals.link import targets as link_fields
from terminals.link.outcomes import cancel_commands
from terminals.link.sessions import close_sessions
from terminals.parameters import targets as parameter_fields
from terminals.parameters.sending import follow_resumed, forget_parameters, protection
from terminals.parameters.services import take_over_values
from terminals.settlement import leaving
from terminals.settlement import targets as settlement_fields
from terminals.settlement.accounts.services import without_account
from terminals.settlement.plans import services as plans
from terminals.settlement.readiness import Finder, readiness
from terminals.settlement.runs import services as runs

# What may stand in the way of a settlement, by the room that knows of it.
CHECKS: dict[str, Finder] = {
    "network": link_readiness.offline,
    **{part: partial(health_readiness.part_not_ready, part) for part in health_readiness.FIT},
    "software": firmware_readiness.outdated,
    "account": without_account,
    "update": firmware_readiness.updating,
    "clock": health_readiness.clock_wrong,
    "key": key_readiness.missing_keys,
}


def join_rooms() -> None:
    """Fill the rooms' lists of followers; called once, at start."""
    verbs.fill(*VERBS)
    kinds.fill(*KINDS, measures=MEASURES)
    freshness.sensitive = SENSITIVE
    fields.fill(
        *estate_fields.FIELDS,
        *import_fields.FIELDS,
        *link_fields.FIELDS,
        *certificate_fields.FIELDS,
        *health_fields.FIELDS,
        *firmware_fields.FIELDS,
        *key_fields.FIELDS,
        *parameter_fields.FIELDS,
        *settlement_fields.FIELDS,
        *campaign_fields.FIELDS,
    )
    readiness.fill(CHECKS)
    _join_enrolment()
    on_store_clock[:] = [plans.follow_store]
    on_move[:] = [plans.follow_terminals]
    protection.protect = protect_texts
    release_root.document = root_document
    on_replace[:] = [plans.take_over_schedule, take_over_values]
    hooks.before_move = [leaving.refuse_other_merchant]
    hooks.before = {TerminalTransition.retire: [leaving.refuse_stranded_money]}
    hooks.after = {
        TerminalTransition.resume: [runs.resume_settling, follow_resumed],
        TerminalTransition.suspend: [withdraw_codes],
        TerminalTransition.retire: [
            cancel_commands,
            withdraw_codes,
            certificates.revoke,
            destroy_keys,
            leaving.end_schedules,
            close_sessions,
            forget_condition,
            forget_software,
        ],
    }


def _join_enrolment() -> None:
    # An earlier device's commands end before the new one is given anything.
    enrolment.on_enrolled = [
        cancel_queued,
        establish_protection_key,
        runs.assign_batch_number,
        forget_parameters,
        reset_software,
        begin_anew,
    ]


def begin_anew(terminal: Terminal, public_key: object) -> dict[str, object]:
    """Have the device brought what campaigns follow, whatever the one before had."""
    following.begin_anew(terminal)
    return {}


def cancel_queued(terminal: Terminal, public_key: object) -> dict[str, object]:
    """Close what was queued for the device that held this identity before."""
    cancel_commands([terminal.pk])
    return {}
