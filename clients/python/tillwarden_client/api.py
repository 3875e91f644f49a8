"""What the API's OpenAPI document says, as types and methods. Made by `manage.py client_code`; do not edit."""

# ruff: noqa: E501
from collections.abc import Iterator, Sequence
from typing import IO, Any, Literal, NotRequired, TypedDict

from tillwarden_client.transport import Transport, segment


class ActivationCode(TypedDict):
    activation_code: str | None


class ApprovalRequest(TypedDict):
    """`sha256` is the digest of the file that was looked at."""

    sha256: str


class AssignmentRequest(TypedDict):
    """`downgrade`: it may replace a newer version."""

    terminals: list[int]
    downgrade: NotRequired[bool]


class AuditEntry(TypedDict):
    """`position` and `hash` are the entry's place in the chain; null until it is sealed, a second after its commit."""

    id: int
    at: str
    actor: str
    action: str
    subject: str
    detail: NotRequired[Any]
    position: int | None
    hash: str | None


class BringRequest(TypedDict):
    profile: int
    file: IO[bytes]


class Calendar(TypedDict):
    """`weekend` is a list of ISO days (6 is Saturday); `closed_days` and `open_days` are day -> name."""

    id: int
    name: str
    country: NotRequired[str]
    subdivision: NotRequired[str]
    weekend: NotRequired[Any]
    closed_days: NotRequired[Any]
    open_days: NotRequired[Any]


class CalendarRequest(TypedDict):
    """`weekend` is a list of ISO days (6 is Saturday); `closed_days` and `open_days` are day -> name."""

    name: str
    country: NotRequired[str]
    subdivision: NotRequired[str]
    weekend: NotRequired[Any]
    closed_days: NotRequired[Any]
    open_days: NotRequired[Any]


CampaignStateEnum = Literal["proposed", "running", "paused", "done", "cancelled"]


class Campaign(TypedDict):
    """Whoever approves sends the `digest` of what was looked at."""

    id: int
    name: str
    kind: str
    arguments: NotRequired[Any]
    filter: str
    settings: NotRequired[Any]
    state: NotRequired[CampaignStateEnum]
    total: NotRequired[int]
    digest: str
    needs_approval: NotRequired[bool]
    proposed_by: str
    proposed_at: str
    approved_by: str
    approved_at: NotRequired[str | None]
    started_at: NotRequired[str | None]
    ends_at: NotRequired[str | None]
    finished_at: NotRequired[str | None]
    expected_end: str | None
    rolls_back: NotRequired[int | None]
    waves: list[dict[str, Any]]


class LeftOut(TypedDict):
    reason: str
    detail: str
    count: int
    serials: list[str]


class CampaignPreview(TypedDict):
    """`waves` is how many terminals each has; `superseded` of them are waiting in other campaigns for the same thing."""

    total: int
    waves: list[int]
    left_out: list[LeftOut]
    superseded: int


class Cancelled(TypedDict):
    """`under_way` terminals have what was sent: it cannot be taken back."""

    taken_back: int
    under_way: int


SubjectEnum = Literal["records", "settling", "credit", "risk"]


CaseStateEnum = Literal["open", "approving", "resolved", "explained"]


CaseSeverityEnum = Literal["low", "medium", "high"]


CaseResolutionEnum = Literal["terminal_error", "host_error", "acquirer_corrects", "merchant_charged", "written_off", "fraud", "no_difference"]


BlankEnum = Literal[""]


class Case(TypedDict):
    id: int
    subject: SubjectEnum
    state: NotRequired[CaseStateEnum]
    severity: NotRequired[CaseSeverityEnum]
    currency: str
    amount_minor: NotRequired[int]
    difference_count: NotRequired[int]
    seen_count: NotRequired[int]
    opened_at: str
    grown_at: str
    due_at: str
    resolution: NotRequired[CaseResolutionEnum | BlankEnum]
    needs_four_eyes: NotRequired[bool]
    resolved_by: NotRequired[str]
    resolved_at: NotRequired[str | None]
    approved_by: NotRequired[str]
    closed_at: NotRequired[str | None]
    terminal: NotRequired[int | None]
    organisation: NotRequired[int | None]
    owner: NotRequired[int | None]


class Figures(TypedDict):
    """Amounts are minor units; `outstanding_minor` was settled, and neither arrived nor was kept as a fee; `excess_minor` came too much. Both are of each batch by itself."""

    id: int | None
    name: str
    day: str | None
    currency: str
    batches: int
    transactions: int
    card_minor: int
    qr_minor: int
    settled_minor: int
    recorded_minor: int
    credited_minor: int
    fee_minor: int
    outstanding_minor: int
    excess_minor: int
    open_difference_minor: int


class Change(TypedDict):
    """A terminal's figures as they were closed, and as they are now."""

    terminal: int
    then: Figures
    now: Figures


class ClaimRequest(TypedDict):
    """An activation code, and the serial of the device at hand. `in_place` lets another device than the one that was registered take its place, where that never enrolled."""

    code: str
    serial: str
    in_place: NotRequired[bool]


CloseResolutionEnum = Literal["terminal_error", "host_error", "acquirer_corrects", "merchant_charged", "written_off", "fraud", "no_difference"]


class CloseRequest(TypedDict):
    resolution: CloseResolutionEnum
    note: NotRequired[str]


CommandStateEnum = Literal["queued", "sent", "accepted", "running", "succeeded", "failed", "rejected", "expired", "cancelled"]


class Command(TypedDict):
    """`state` follows the terminal's word: `sent` only says that the broker has it."""

    id: str
    terminal: int
    type: str
    state: NotRequired[CommandStateEnum]
    percent: NotRequired[int | None]
    code: NotRequired[str]
    detail: NotRequired[str]
    requested_by: str
    created_at: str
    expires_at: str
    sent_at: NotRequired[str | None]
    answered_at: NotRequired[str | None]
    finished_at: NotRequired[str | None]
    attempts: NotRequired[int]
    traceparent: NotRequired[str]
    message: dict[str, Any] | None


class Component(TypedDict):
    id: int
    release: int
    name: str
    version: NotRequired[str]
    purl: NotRequired[str]
    licences: NotRequired[str]


CreditEntryStateEnum = Literal["read", "matched", "unknown", "repeated", "withdrawn"]


MethodEnum = Literal["card", "qr"]


class CreditEntry(TypedDict):
    """Amounts are minor units: `net_minor` arrived, `fee_minor` was kept."""

    id: int
    account: str | None
    number: int
    state: NotRequired[CreditEntryStateEnum]
    tid: str
    mid: NotRequired[str]
    batch_number: int
    currency: str
    method: NotRequired[MethodEnum | BlankEnum]
    scheme: NotRequired[str]
    net_minor: int
    fee_minor: NotRequired[int]
    value_date: NotRequired[str | None]
    is_other_account: NotRequired[bool]
    reference: NotRequired[str]
    file: int
    terminal: NotRequired[int | None]


CreditFileStateEnum = Literal["reading", "matching", "done", "failed", "withdrawing", "withdrawn"]


class CreditFile(TypedDict):
    """`percent` is how far the work has come, `why` says why a file failed."""

    id: int
    profile: int
    file_name: str
    sha256: str
    size_bytes: int
    state: NotRequired[CreditFileStateEnum]
    percent: int
    reason: NotRequired[str]
    why: str
    entry_count: NotRequired[int]
    other_count: NotRequired[int]
    reject_count: NotRequired[int]
    brought_by: str
    brought_at: str
    finished_at: NotRequired[str | None]
    withdrawn_by: NotRequired[str]


CreditProfileFormatEnum = Literal["camt", "csv"]


class CreditProfile(TypedDict):
    """`settings`: `reference` (`TID {tid} BATCH {batch}`), and for CSV `columns`, `delimiter`, `decimal_mark`, ..."""

    id: int
    organisation: NotRequired[int | None]
    name: str
    format: CreditProfileFormatEnum
    settings: NotRequired[Any]


class CreditProfileRequest(TypedDict):
    """`settings`: `reference` (`TID {tid} BATCH {batch}`), and for CSV `columns`, `delimiter`, `decimal_mark`, ..."""

    organisation: NotRequired[int | None]
    name: str
    format: CreditProfileFormatEnum
    settings: NotRequired[Any]


class CreditReject(TypedDict):
    """An entry that could not be read; `detail` says why."""

    number: int
    reason: NotRequired[str]
    detail: str


class DailyClose(TypedDict):
    id: int
    organisation: NotRequired[int | None]
    day: str
    closed_by: str
    closed_at: str


class DailyCloseRequest(TypedDict):
    organisation: NotRequired[int | None]
    day: str


class DeadLetter(TypedDict):
    """`detail` is the refusal in the caller's language."""

    id: int
    topic: str
    reason: str
    detail: str
    payload_bytes: int
    count: NotRequired[int]
    first_at: str
    last_at: str


DifferenceKindEnum = Literal["count", "amount", "missing_record", "duplicate", "not_counted", "late", "foreign_currency", "host", "host_totals", "incomplete", "unclosed_batch", "not_settled", "unknown_terminal", "credited_short", "credited_over", "credited_twice", "other_account", "not_credited", "velocity", "refund_share", "off_hours", "unusual_amount", "repeated_card", "round_amounts", "moved"]


class Difference(TypedDict):
    """`sentence` says it in words of the caller's language; amounts are minor units."""

    id: int
    sentence: str
    batch_number: NotRequired[int | None]
    kind: DifferenceKindEnum
    currency: str
    method: NotRequired[MethodEnum | BlankEnum]
    scheme: NotRequired[str]
    transaction_kind: NotRequired[str]
    expected_count: NotRequired[int]
    expected_minor: NotRequired[int]
    found_count: NotRequired[int]
    found_minor: NotRequired[int]
    suspects: NotRequired[Any]
    missing: NotRequired[Any]
    detail: NotRequired[str]
    is_open: NotRequired[bool]
    found_at: str
    explained_at: NotRequired[str | None]
    case: int
    terminal: NotRequired[int | None]


class DigestRequest(TypedDict):
    digest: str


class Origin(TypedDict):
    """A value and where it comes from: the template, or what is set at a level."""

    name: str
    value: Any
    level: str
    where: str
    set: int | None


class Effective(TypedDict):
    """What a terminal shall have, and how far it is with it."""

    template: str | None
    values: list[Origin]
    wanted: int | None
    applied: int | None
    state: str | None
    detail: str


EnrolmentStateEnum = Literal["waiting", "approved", "rejected", "enrolled"]


class EnrolmentRequest(TypedDict):
    """`fingerprint` is what the device can show of its key, so that a person can compare."""

    id: int
    serial: str
    fingerprint: str
    address: str
    state: NotRequired[EnrolmentStateEnum]
    asked_at: str
    last_asked_at: str
    decided_at: NotRequired[str | None]
    decided_by: NotRequired[str]
    terminal: NotRequired[int | None]


class FileRequest(TypedDict):
    """A CSV (UTF-8) or XLSX file; its first line names the columns."""

    file: IO[bytes]


TerminalStateEnum = Literal["registered", "enrolled", "active", "suspended", "retired"]


class LastSettlement(TypedDict):
    """The latest finished settlement; amounts in minor units."""

    id: int
    state: str
    finished_at: str
    batch_number: int | None
    currency: str
    reported_minor: int | None
    difference_minor: int | None
    reasons: list[dict[str, Any]]
    reason: str


class FleetTerminal(TypedDict):
    id: int
    serial: str
    device_id: str
    model: int
    store: int
    tid: NotRequired[str]
    mid: NotRequired[str]
    state: TerminalStateEnum
    tags: NotRequired[list[str]]
    replaces: int | None
    registered_at: str
    online: bool
    last_seen_at: str | None
    locked: bool
    software_version: str | None
    confirmed_keys: int | None
    last_settlement: LastSettlement | None


class Group(TypedDict):
    """Members are written, a thousand at most, and listed by `?filter=group = "NAME"` on terminals. Members elsewhere in the tree stay."""

    id: int
    name: str
    filter: NotRequired[str]
    organisation: NotRequired[int | None]
    merchant: NotRequired[int | None]
    store: NotRequired[int | None]
    created_at: str


class GroupRequest(TypedDict):
    """Members are written, a thousand at most, and listed by `?filter=group = "NAME"` on terminals. Members elsewhere in the tree stay."""

    name: str
    filter: NotRequired[str]
    members: NotRequired[list[int]]
    organisation: NotRequired[int | None]
    merchant: NotRequired[int | None]
    store: NotRequired[int | None]


class Hit(TypedDict):
    """A batch that the rule would have found; amounts are minor units."""

    terminal: int
    batch_number: int
    settled_at: str
    currency: str
    expected_count: int
    found_count: int
    expected_minor: int
    found_minor: int
    detail: str


ImportStateEnum = Literal["checked", "running", "done", "cancelled", "failed"]


class Import(TypedDict):
    """`progress` counts the rows by state, `adds` what they add or have added."""

    id: int
    file_name: str
    state: NotRequired[ImportStateEnum]
    total: int
    progress: dict[str, int]
    adds: dict[str, int]
    requested_by: str
    requested_at: str
    finished_at: NotRequired[str | None]


ImportRowStateEnum = Literal["ready", "made", "unchanged", "refused", "cancelled"]


class ImportRow(TypedDict):
    """A row that was refused; `detail` says why."""

    number: int
    state: NotRequired[ImportRowStateEnum]
    reason: NotRequired[str]
    detail: str
    cells: NotRequired[Any]


InstallationStateEnum = Literal["assigned", "installing", "installed", "failed", "rejected", "expired", "replaced"]


class Installation(TypedDict):
    """`reasons` is why it did not succeed, as data; `reason` the same in words of the caller's language."""

    id: int
    terminal: int
    release: int
    state: NotRequired[InstallationStateEnum]
    percent: NotRequired[int]
    reasons: NotRequired[Any]
    reason: str
    command: NotRequired[str | None]
    assigned_at: str
    assigned_by: str
    finished_at: NotRequired[str | None]


ItemStateEnum = Literal["waiting", "done", "left_out", "cancelled"]


class Item(TypedDict):
    """What became of one terminal; `detail` is why it was left out."""

    terminal: int
    serial: str
    state: NotRequired[ItemStateEnum]
    reason: NotRequired[str]
    detail: str


JobStateEnum = Literal["running", "done", "cancelled", "failed"]


class Job(TypedDict):
    """`progress` counts the terminals by state."""

    id: int
    verb: str
    arguments: NotRequired[Any]
    filter: str
    state: NotRequired[JobStateEnum]
    total: int
    progress: dict[str, int]
    requested_by: str
    requested_at: str
    finished_at: NotRequired[str | None]


UsageEnum = Literal["P0", "D0", "M6"]


KeyStateEnum = Literal["pending", "confirmed", "mismatch", "failed", "expired", "replaced", "destroyed"]


class Key(TypedDict):
    id: str
    terminal: int
    usage: UsageEnum
    algorithm: str
    kcv: str
    state: KeyStateEnum
    command: str | None
    created_at: str
    answered_at: str | None
    answered_kcv: str


class KeyRequest(TypedDict):
    terminal: int
    usage: UsageEnum


class KeyRequirement(TypedDict):
    id: int
    model: int
    usage: UsageEnum


class KeyRequirementRequest(TypedDict):
    model: int
    usage: UsageEnum


MemberStateEnum = Literal["planned", "waiting", "ordered", "succeeded", "failed", "left_out", "superseded", "cancelled"]


class Member(TypedDict):
    """What became of one terminal; `detail` says why, in words."""

    terminal: int
    serial: str
    wave: int
    state: NotRequired[MemberStateEnum]
    code: NotRequired[str]
    detail: str
    attempt: NotRequired[int]
    due_at: NotRequired[str | None]
    ordered_at: NotRequired[str | None]
    finished_at: NotRequired[str | None]


class Merchant(TypedDict):
    id: int
    organisation: NotRequired[int | None]
    name: str
    mid: str
    created_at: str


class MerchantRequest(TypedDict):
    organisation: NotRequired[int | None]
    name: str
    mid: str


class NoteRequest(TypedDict):
    """Why, or what is to be known."""

    note: str


OrganisationKindEnum = Literal["processor", "acquirer", "reseller"]


class Organisation(TypedDict):
    id: int
    name: str
    kind: NotRequired[OrganisationKindEnum]
    parent: NotRequired[int | None]
    created_at: str


class OrganisationRequest(TypedDict):
    name: str
    kind: NotRequired[OrganisationKindEnum]
    parent: NotRequired[int | None]


PackageKindEnum = Literal["payment_app", "os", "emv_kernel", "parameter_file", "other"]


class Package(TypedDict):
    id: int
    name: str
    component: NotRequired[str]
    kind: NotRequired[PackageKindEnum]
    description: NotRequired[str]


class PackageRequest(TypedDict):
    name: str
    component: NotRequired[str]
    kind: NotRequired[PackageKindEnum]
    description: NotRequired[str]


class Invalid(TypedDict):
    serial: str
    detail: str


class ParameterPreview(TypedDict):
    """`below` terminals stand below the level, for `touched` something changes; `invalid` would get what does not fit."""

    below: int
    touched: int
    serials: list[str]
    invalid: int
    examples: list[Invalid]


class ParameterSet(TypedDict):
    """What is set at a level: the one that is named, or the whole installation. `values` replaces all that was set there; a secret is read as `{"$secret": "set"}`, and stays where that is written."""

    id: int
    template: str
    organisation: NotRequired[int | None]
    merchant: NotRequired[int | None]
    store: NotRequired[int | None]
    group: NotRequired[int | None]
    terminal: NotRequired[int | None]
    values: dict[str, Any]
    revision: int
    is_current: bool
    set_at: str
    set_by: str


class ParameterSetRequest(TypedDict):
    """What is set at a level: the one that is named, or the whole installation. `values` replaces all that was set there; a secret is read as `{"$secret": "set"}`, and stays where that is written."""

    template: str
    organisation: NotRequired[int | None]
    merchant: NotRequired[int | None]
    store: NotRequired[int | None]
    group: NotRequired[int | None]
    terminal: NotRequired[int | None]
    values: dict[str, Any]


class PatchedCalendarRequest(TypedDict):
    """`weekend` is a list of ISO days (6 is Saturday); `closed_days` and `open_days` are day -> name."""

    name: NotRequired[str]
    country: NotRequired[str]
    subdivision: NotRequired[str]
    weekend: NotRequired[Any]
    closed_days: NotRequired[Any]
    open_days: NotRequired[Any]


class PatchedCreditProfileRequest(TypedDict):
    """`settings`: `reference` (`TID {tid} BATCH {batch}`), and for CSV `columns`, `delimiter`, `decimal_mark`, ..."""

    organisation: NotRequired[int | None]
    name: NotRequired[str]
    format: NotRequired[CreditProfileFormatEnum]
    settings: NotRequired[Any]


class PatchedFleetTerminalRequest(TypedDict):
    serial: NotRequired[str]
    model: NotRequired[int]
    store: NotRequired[int]
    tid: NotRequired[str]
    mid: NotRequired[str]
    tags: NotRequired[list[str]]


class PatchedGroupRequest(TypedDict):
    """Members are written, a thousand at most, and listed by `?filter=group = "NAME"` on terminals. Members elsewhere in the tree stay."""

    name: NotRequired[str]
    filter: NotRequired[str]
    members: NotRequired[list[int]]
    organisation: NotRequired[int | None]
    merchant: NotRequired[int | None]
    store: NotRequired[int | None]


class PatchedKeyRequirementRequest(TypedDict):
    model: NotRequired[int]
    usage: NotRequired[UsageEnum]


class PatchedMerchantRequest(TypedDict):
    organisation: NotRequired[int | None]
    name: NotRequired[str]
    mid: NotRequired[str]


class PatchedOrganisationRequest(TypedDict):
    name: NotRequired[str]
    kind: NotRequired[OrganisationKindEnum]
    parent: NotRequired[int | None]


class PatchedPackageRequest(TypedDict):
    name: NotRequired[str]
    component: NotRequired[str]
    kind: NotRequired[PackageKindEnum]
    description: NotRequired[str]


WhenMissedEnum = Literal["catch_up", "skip", "alarm"]


CheckSeverityEnum = Literal["block", "warn", "ignore"]


class SettingsRequest(TypedDict):
    """A plan's settings; what is absent comes from above, or has its default. After ISO 20022's reconciliation policies."""

    enabled: NotRequired[bool]
    cycle: NotRequired[str]
    time_zone: NotRequired[str]
    calendar: NotRequired[int | None]
    cut_off: NotRequired[str]
    amount_limits: NotRequired[dict[str, int]]
    count_limit: NotRequired[int | None]
    by_hand: NotRequired[bool]
    jitter_seconds: NotRequired[int]
    window_minutes: NotRequired[int]
    expiry_minutes: NotRequired[int]
    retries: NotRequired[int]
    retry_minutes: NotRequired[int]
    when_missed: NotRequired[WhenMissedEnum]
    warn_minutes: NotRequired[int]
    check_network: NotRequired[CheckSeverityEnum]
    check_screen: NotRequired[CheckSeverityEnum]
    check_printer: NotRequired[CheckSeverityEnum]
    check_keypad: NotRequired[CheckSeverityEnum]
    check_software: NotRequired[CheckSeverityEnum]
    check_account: NotRequired[CheckSeverityEnum]
    check_update: NotRequired[CheckSeverityEnum]
    check_clock: NotRequired[CheckSeverityEnum]
    check_key: NotRequired[CheckSeverityEnum]


class PatchedPlanRequest(TypedDict):
    name: NotRequired[str]
    settings: NotRequired[SettingsRequest]
    is_default: NotRequired[bool]


ReportFormatEnum = Literal["csv", "xlsx", "pdf"]


class PatchedReportScheduleRequest(TypedDict):
    """`spec` as for a report, with `period`; `crontab` is read in `time_zone`."""

    name: NotRequired[str]
    spec: NotRequired[Any]
    format: NotRequired[ReportFormatEnum]
    recipients: NotRequired[list[str]]
    crontab: NotRequired[str]
    time_zone: NotRequired[str]
    enabled: NotRequired[bool]


class PatchedStoreRequest(TypedDict):
    merchant: NotRequired[int]
    name: NotRequired[str]
    city: NotRequired[str]
    time_zone: NotRequired[str]


class PatchedTerminalModelRequest(TypedDict):
    vendor: NotRequired[str]
    name: NotRequired[str]
    platform: NotRequired[str]
    capabilities: NotRequired[list[str]]


class PlaceRequest(TypedDict):
    """Where a device is let in."""

    store: int
    model: int
    tid: NotRequired[str]


TypeEnum = Literal["ping", "reboot", "lock", "unlock"]


class PlainCommandRequest(TypedDict):
    """A command that needs no more than its type. Software, keys, settlement and parameters have endpoints of their own."""

    type: TypeEnum


class Settings(TypedDict):
    """A plan's settings; what is absent comes from above, or has its default. After ISO 20022's reconciliation policies."""

    enabled: NotRequired[bool]
    cycle: NotRequired[str]
    time_zone: NotRequired[str]
    calendar: NotRequired[int | None]
    cut_off: NotRequired[str]
    amount_limits: NotRequired[dict[str, int]]
    count_limit: NotRequired[int | None]
    by_hand: NotRequired[bool]
    jitter_seconds: NotRequired[int]
    window_minutes: NotRequired[int]
    expiry_minutes: NotRequired[int]
    retries: NotRequired[int]
    retry_minutes: NotRequired[int]
    when_missed: NotRequired[WhenMissedEnum]
    warn_minutes: NotRequired[int]
    check_network: NotRequired[CheckSeverityEnum]
    check_screen: NotRequired[CheckSeverityEnum]
    check_printer: NotRequired[CheckSeverityEnum]
    check_keypad: NotRequired[CheckSeverityEnum]
    check_software: NotRequired[CheckSeverityEnum]
    check_account: NotRequired[CheckSeverityEnum]
    check_update: NotRequired[CheckSeverityEnum]
    check_clock: NotRequired[CheckSeverityEnum]
    check_key: NotRequired[CheckSeverityEnum]


class Plan(TypedDict):
    id: int
    name: str
    settings: NotRequired[Settings]
    is_default: NotRequired[bool]


class PlanLevel(TypedDict):
    """What is set at one level: name an organisation, a merchant, a store or a terminal."""

    id: int
    organisation: NotRequired[int | None]
    merchant: NotRequired[int | None]
    store: NotRequired[int | None]
    terminal: NotRequired[int | None]
    plan: NotRequired[int | None]
    settings: NotRequired[Settings]
    changed_at: str
    changed_by: str


class PlanLevelRequest(TypedDict):
    """What is set at one level: name an organisation, a merchant, a store or a terminal."""

    organisation: NotRequired[int | None]
    merchant: NotRequired[int | None]
    store: NotRequired[int | None]
    terminal: NotRequired[int | None]
    plan: NotRequired[int | None]
    settings: NotRequired[SettingsRequest]


class PlanRequest(TypedDict):
    name: str
    settings: NotRequired[SettingsRequest]
    is_default: NotRequired[bool]


class Preview(TypedDict):
    """`total` terminals pass the filter, `ready` of them would have it done; the others are left out."""

    total: int
    ready: int
    left_out: list[LeftOut]
    warnings: list[str]


class ProposalRequest(TypedDict):
    """The same, with the name under which people find it."""

    kind: str
    filter: str
    arguments: NotRequired[dict[str, Any]]
    settings: NotRequired[dict[str, Any]]
    name: str


class ReasonRequest(TypedDict):
    reason: str


class Registered(TypedDict):
    """A terminal just registered, with the code that enrols it. The code is shown once."""

    id: int
    serial: str
    device_id: str
    model: int
    store: int
    tid: NotRequired[str]
    mid: NotRequired[str]
    state: TerminalStateEnum
    tags: NotRequired[list[str]]
    replaces: int | None
    registered_at: str
    online: bool
    last_seen_at: str | None
    locked: bool
    software_version: str | None
    confirmed_keys: int | None
    last_settlement: LastSettlement | None
    activation_code: str | None


class RegistrationRequest(TypedDict):
    """A terminal to register: model and store by their ids. What another has already is the service's to say."""

    serial: str
    model: int
    store: int
    tid: NotRequired[str]
    mid: NotRequired[str]
    tags: NotRequired[list[str]]


ReleaseStateEnum = Literal["draft", "approved", "deprecated", "withdrawn"]


class Release(TypedDict):
    """`listed_at` is null as long as the release repository does not list it; until then it cannot be sent."""

    id: int
    package: int
    version: str
    platform: str
    size_bytes: int
    sha256: str
    notes: NotRequired[str]
    models_only: NotRequired[list[int]]
    requires: NotRequired[dict[str, str]]
    conflicts: NotRequired[dict[str, str]]
    expires_at: NotRequired[str | None]
    state: ReleaseStateEnum
    state_reason: str
    created_at: str
    created_by: str
    approved_at: str | None
    approved_by: str
    listed_at: str | None


class ReleaseReasonRequest(TypedDict):
    reason: NotRequired[str]


class ReleaseRequest(TypedDict):
    """`listed_at` is null as long as the release repository does not list it; until then it cannot be sent."""

    package: int
    version: str
    platform: str
    artifact: IO[bytes]
    notes: NotRequired[str]
    models_only: NotRequired[list[int]]
    requires: NotRequired[dict[str, str]]
    conflicts: NotRequired[dict[str, str]]
    expires_at: NotRequired[str | None]


class ReplacementRequest(TypedDict):
    """The device that takes a terminal's place, and the money that it is agreed to lose."""

    serial: str
    model: NotRequired[int]
    write_off: NotRequired[dict[str, int]]


ReportStateEnum = Literal["waiting", "running", "done", "failed"]


class Report(TypedDict):
    id: int
    spec: NotRequired[Any]
    format: ReportFormatEnum
    state: NotRequired[ReportStateEnum]
    percent: NotRequired[int]
    why: str
    requested_at: str
    finished_at: NotRequired[str | None]


class ReportSchedule(TypedDict):
    """`spec` as for a report, with `period`; `crontab` is read in `time_zone`."""

    id: int
    name: str
    spec: NotRequired[Any]
    format: NotRequired[ReportFormatEnum]
    recipients: list[str]
    crontab: NotRequired[str]
    time_zone: NotRequired[str]
    enabled: NotRequired[bool]
    next_at: str | None
    sent_at: str | None
    why: str


class ReportScheduleRequest(TypedDict):
    """`spec` as for a report, with `period`; `crontab` is read in `time_zone`."""

    name: str
    spec: NotRequired[Any]
    format: NotRequired[ReportFormatEnum]
    recipients: list[str]
    crontab: NotRequired[str]
    time_zone: NotRequired[str]
    enabled: NotRequired[bool]


LevelEnum = Literal["organisation", "merchant", "store", "terminal"]


PeriodEnum = Literal["today", "yesterday", "last_week", "this_month", "last_month"]


RequestFormatEnum = Literal["csv", "xlsx", "pdf"]


class RequestRequest(TypedDict):
    """`period`, or `first` and `last`; `at` is a place as `merchant:3`."""

    level: NotRequired[LevelEnum]
    period: NotRequired[PeriodEnum]
    first: NotRequired[str]
    last: NotRequired[str]
    by_day: NotRequired[bool]
    at: NotRequired[str]
    format: NotRequired[RequestFormatEnum]


class RetirementRequest(TypedDict):
    """Why an operator retires a terminal, and the money that it is agreed to lose."""

    reason: NotRequired[str]
    write_off: NotRequired[dict[str, int]]


class Retried(TypedDict):
    terminals: int


RiskRuleSignalEnum = Literal["velocity", "refund_share", "off_hours", "unusual_amount", "repeated_card", "round_amounts", "moved"]


class RiskRule(TypedDict):
    id: int
    organisation: NotRequired[int | None]
    signal: RiskRuleSignalEnum
    settings: NotRequired[Any]
    enabled: NotRequired[bool]


class RiskRuleRequest(TypedDict):
    organisation: NotRequired[int | None]
    signal: RiskRuleSignalEnum
    settings: NotRequired[Any]
    enabled: NotRequired[bool]


class RowAnswer(TypedDict):
    """What became of a row: the terminal with its code, or why it was left out."""

    id: NotRequired[int]
    serial: NotRequired[str]
    activation_code: NotRequired[str | None]
    reason: NotRequired[str]
    detail: NotRequired[str]


class RowsRequest(TypedDict):
    """Rows of `serial`, `model` and `store` (ids), and where wanted `tid`, `mid`, `tags`."""

    terminals: list[dict[str, Any]]


SettlementTriggerEnum = Literal["cycle", "threshold", "count", "operator", "terminal"]


RunStateEnum = Literal["blocked", "requested", "settling", "waiting", "balanced", "unbalanced", "failed"]


class Line(TypedDict):
    """One line of the batch: what the terminal reported beside what its transactions add up to, in minor units."""

    currency: str
    method: str
    scheme: str
    kind: str
    reported_count: int
    reported_minor: int
    recorded_count: int
    recorded_minor: int


class Run(TypedDict):
    """`reasons` is why it failed or does not balance, as data; `reason` the same in words of the caller's language."""

    id: int
    terminal: int
    trigger: SettlementTriggerEnum
    state: RunStateEnum
    command: str | None
    requested_at: str
    due_at: str | None
    business_day: str | None
    ends_at: str | None
    attempt: int
    retry_at: str | None
    problems: Any
    finished_at: str | None
    opened_at: str | None
    closed_at: str | None
    batch_number: int | None
    currency: str
    host_response: str
    upload_complete: bool
    reported_minor: int | None
    difference_minor: int | None
    reasons: Any
    reason: str
    totals: list[Line]


class RunRequest(TypedDict):
    """`reasons` is why it failed or does not balance, as data; `reason` the same in words of the caller's language."""

    terminal: int


class Schedule(TypedDict):
    """When a terminal is due, by which settings; `problems` is what readiness found ahead of it, as data."""

    terminal: int
    plan: int | None
    settings: Settings
    next_due_at: str | None
    due_reason: SettlementTriggerEnum
    is_blocked: bool
    problems: Any


SettlementAccountStateEnum = Literal["proposed", "active", "replaced", "rejected"]


class SettlementAccount(TypedDict):
    """`number` is an IBAN, or with `local_country` that country's form (US as routing/account, NZ, NO, CZ)."""

    id: int
    merchant: int
    currency: NotRequired[str]
    holder: str
    bic: NotRequired[str]
    masked: str
    country: str
    state: SettlementAccountStateEnum
    proposed_by: str
    proposed_at: str
    decided_by: str
    decided_at: str | None


class SettlementAccountRequest(TypedDict):
    """`number` is an IBAN, or with `local_country` that country's form (US as routing/account, NZ, NO, CZ)."""

    merchant: int
    currency: NotRequired[str]
    holder: str
    number: str
    local_country: NotRequired[str]
    bic: NotRequired[str]


class SpecRequest(TypedDict):
    """`period`, or `first` and `last`; `at` is a place as `merchant:3`."""

    level: NotRequired[LevelEnum]
    period: NotRequired[PeriodEnum]
    first: NotRequired[str]
    last: NotRequired[str]
    by_day: NotRequired[bool]
    at: NotRequired[str]


class Store(TypedDict):
    id: int
    merchant: int
    name: str
    city: NotRequired[str]
    time_zone: NotRequired[str]
    created_at: str


class StoreRequest(TypedDict):
    merchant: int
    name: str
    city: NotRequired[str]
    time_zone: NotRequired[str]


class TargetToken(TypedDict):
    """What a device that speaks hawkBit's DDI is set up with."""

    controller_id: str
    target_token: str


class TemplateVersion(TypedDict):
    """POST writes the next version of the named template. `writeOnly` properties are secrets; the format `money` is an object of currency and minor units."""

    id: int
    name: str
    version: int
    schema: Any
    created_at: str
    created_by: str


class TemplateVersionRequest(TypedDict):
    """POST writes the next version of the named template. `writeOnly` properties are secrets; the format `money` is an object of currency and minor units."""

    name: str
    schema: Any


class Terminal(TypedDict):
    id: int
    serial: str
    device_id: str
    model: int
    store: int
    tid: NotRequired[str]
    mid: NotRequired[str]
    state: TerminalStateEnum
    tags: NotRequired[list[str]]
    replaces: int | None
    registered_at: str


class HealthState(TypedDict):
    terminal: int
    boot_id: str
    seq: int
    sent_at: str
    received_at: str
    network_kind: str
    rssi_dbm: NotRequired[int | None]
    latency_ms: NotRequired[int | None]
    printer: str
    screen: str
    keypad: str
    card_reader: str
    battery_percent: NotRequired[int | None]
    battery_charging: NotRequired[bool | None]
    storage_free_mb: int
    tamper: bool
    unsettled_minor: int
    unsettled_currency: str
    unsettled_count: int
    software: NotRequired[Any]


class HealthSample(TypedDict):
    boot_id: str
    seq: int
    sent_at: str
    received_at: str
    network_kind: str
    rssi_dbm: NotRequired[int | None]
    latency_ms: NotRequired[int | None]
    printer: str
    screen: str
    keypad: str
    card_reader: str
    battery_percent: NotRequired[int | None]
    battery_charging: NotRequired[bool | None]
    storage_free_mb: int
    tamper: bool
    unsettled_minor: int
    unsettled_currency: str
    unsettled_count: int


class TerminalHealth(TypedDict):
    """A terminal's latest reading, null before the first, and its last hundred."""

    current: HealthState | None
    history: list[HealthSample]


class TerminalModel(TypedDict):
    id: int
    vendor: str
    name: str
    platform: str
    capabilities: NotRequired[list[str]]


class TerminalModelRequest(TypedDict):
    vendor: str
    name: str
    platform: str
    capabilities: NotRequired[list[str]]


class Timeline(TypedDict):
    """What happened to a terminal: `body` is the data, `text` its words in the caller's language."""

    at: str
    kind: str
    text: str
    state: str
    body: dict[str, Any]


TransactionKindEnum = Literal["sale", "refund", "credit", "void", "reversal", "declined"]


class Transaction(TypedDict):
    id: int
    transaction_id: str
    batch_number: int
    sequence: NotRequired[int]
    kind: TransactionKindEnum
    method: MethodEnum
    scheme: NotRequired[str]
    amount_minor: int
    currency: str
    approval_code: NotRequired[str]
    card_last4: NotRequired[str]
    card_token: NotRequired[str]
    stan: NotRequired[str]
    rrn: NotRequired[str]
    occurred_at: str
    terminal: int


class TransitionRequest(TypedDict):
    """Why an operator suspends or resumes a terminal."""

    reason: NotRequired[str]


TrialSignalEnum = Literal["velocity", "refund_share", "off_hours", "unusual_amount", "repeated_card", "round_amounts", "moved"]


class TrialRequest(TypedDict):
    signal: TrialSignalEnum
    settings: NotRequired[dict[str, int]]
    days: NotRequired[int]


class WantedCampaignRequest(TypedDict):
    """What is moved, and to whom. `filter` is the filter language; `arguments` depend on the kind; what `settings` leave out is as usual. With `follows` in them terminals that come to pass the filter later are included."""

    kind: str
    filter: str
    arguments: NotRequired[dict[str, Any]]
    settings: NotRequired[dict[str, Any]]


class WantedRequest(TypedDict):
    """What to do to which terminals. `filter` is the filter language; `arguments` depend on the verb."""

    verb: str
    filter: str
    arguments: NotRequired[dict[str, Any]]


WeaknessSeverityEnum = Literal["critical", "high", "medium", "low", "unknown"]


class Weakness(TypedDict):
    id: int
    release: int
    identifier: str
    severity: WeaknessSeverityEnum
    part: NotRequired[str]


class AuditResource:
    """Lists and shows. A query parameter that nobody knows is refused: a filter with a typing error would list all."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, action: str | None = None, actor: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, subject: str | None = None) -> Iterator[AuditEntry]:
        return self._transport.pages("/api/v1/audit/", {"action": action, "actor": actor, "ordering": ordering, "page_size": page_size, "subject": subject})

    def get(self, id: int) -> AuditEntry:
        return self._transport.call("GET", f"/api/v1/audit/{segment(id)}/")  # type: ignore[no-any-return]


class BulkResource:
    """POST does one verb to every terminal that passes a filter, in the background. Who may do it depends on the verb."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["cancelled", "done", "failed", "running"] | None = None, verb: str | None = None) -> Iterator[Job]:
        return self._transport.pages("/api/v1/bulk/", {"ordering": ordering, "page_size": page_size, "state": state, "verb": verb})

    def create(self, body: WantedRequest) -> Job:
        return self._transport.call("POST", "/api/v1/bulk/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Job:
        return self._transport.call("GET", f"/api/v1/bulk/{segment(id)}/")  # type: ignore[no-any-return]

    def cancel(self, id: int) -> Job:
        """Stop it: what was not done yet is not done any more; what was done stays done."""
        return self._transport.call("POST", f"/api/v1/bulk/{segment(id)}/cancel/")  # type: ignore[no-any-return]

    def items(self, id: int) -> Sequence[Item]:
        """The first thousand terminals that were left out, and why."""
        return self._transport.call("GET", f"/api/v1/bulk/{segment(id)}/items/")  # type: ignore[no-any-return]

    def preview(self, body: WantedRequest) -> Preview:
        """Say what would be done and who would be left out, and why. Changes nothing."""
        return self._transport.call("POST", "/api/v1/bulk/preview/", body=body)  # type: ignore[no-any-return]


class CampaignsResource:
    """One thing on its way to many terminals, in waves. POST proposes one; it needs what its kind needs, too."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, kind: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["cancelled", "done", "paused", "proposed", "running"] | None = None, thing: str | None = None) -> Iterator[Campaign]:
        return self._transport.pages("/api/v1/campaigns/", {"kind": kind, "ordering": ordering, "page_size": page_size, "state": state, "thing": thing})

    def create(self, body: ProposalRequest) -> Campaign:
        return self._transport.call("POST", "/api/v1/campaigns/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Campaign:
        return self._transport.call("GET", f"/api/v1/campaigns/{segment(id)}/")  # type: ignore[no-any-return]

    def approve(self, id: int, body: DigestRequest) -> Campaign:
        """Agree to what somebody else proposed."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/approve/", body=body)  # type: ignore[no-any-return]

    def cancel(self, id: int) -> Cancelled:
        """End it: nobody is asked any more, and what nobody can have seen is taken back."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/cancel/")  # type: ignore[no-any-return]

    def force(self, id: int, body: ReasonRequest) -> Campaign:
        """Go on although a guard does not hold; the reason is kept."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/force/", body=body)  # type: ignore[no-any-return]

    def members(self, id: int) -> Sequence[Member]:
        """The first thousand terminals that failed or were left out, and why."""
        return self._transport.call("GET", f"/api/v1/campaigns/{segment(id)}/members/")  # type: ignore[no-any-return]

    def pause(self, id: int) -> Campaign:
        """Ask no more terminals; those that were asked go on."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/pause/")  # type: ignore[no-any-return]

    def resume(self, id: int) -> Campaign:
        """Go on; a guard that does not hold is looked at again first."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/resume/")  # type: ignore[no-any-return]

    def retry(self, id: int) -> Retried:
        """Let those that failed or were left out have another turn."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/retry/")  # type: ignore[no-any-return]

    def roll_back(self, id: int) -> Sequence[Campaign]:
        """Propose campaigns that bring back what was there before."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/roll_back/")  # type: ignore[no-any-return]

    def start(self, id: int) -> Campaign:
        """Let the first wave begin."""
        return self._transport.call("POST", f"/api/v1/campaigns/{segment(id)}/start/")  # type: ignore[no-any-return]

    def preview(self, body: WantedCampaignRequest) -> CampaignPreview:
        """Say what a campaign would do. Changes nothing."""
        return self._transport.call("POST", "/api/v1/campaigns/preview/", body=body)  # type: ignore[no-any-return]


class CommandsResource:
    """What was asked of terminals, and what came of it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["accepted", "cancelled", "expired", "failed", "queued", "rejected", "running", "sent", "succeeded"] | None = None, terminal: int | None = None, type: str | None = None) -> Iterator[Command]:
        return self._transport.pages("/api/v1/commands/", {"ordering": ordering, "page_size": page_size, "state": state, "terminal": terminal, "type": type})

    def get(self, id: str) -> Command:
        return self._transport.call("GET", f"/api/v1/commands/{segment(id)}/")  # type: ignore[no-any-return]


class DeadLettersResource:
    """Messages that could not be taken, with the reason."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, reason: str | None = None, topic: str | None = None) -> Iterator[DeadLetter]:
        return self._transport.pages("/api/v1/dead-letters/", {"ordering": ordering, "page_size": page_size, "reason": reason, "topic": topic})

    def get(self, id: int) -> DeadLetter:
        return self._transport.call("GET", f"/api/v1/dead-letters/{segment(id)}/")  # type: ignore[no-any-return]


class EnrolmentRequestsResource:
    """Devices that nobody registered and that ask to enrol, where the server lets them ask (ENROLMENT_QUEUE)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, serial: str | None = None, state: Literal["approved", "enrolled", "rejected", "waiting"] | None = None) -> Iterator[EnrolmentRequest]:
        return self._transport.pages("/api/v1/enrolment-requests/", {"ordering": ordering, "page_size": page_size, "serial": serial, "state": state})

    def get(self, id: int) -> EnrolmentRequest:
        return self._transport.call("GET", f"/api/v1/enrolment-requests/{segment(id)}/")  # type: ignore[no-any-return]

    def approve(self, id: int, body: PlaceRequest) -> EnrolmentRequest:
        """Register the device at a store; it enrols when it asks again."""
        return self._transport.call("POST", f"/api/v1/enrolment-requests/{segment(id)}/approve/", body=body)  # type: ignore[no-any-return]

    def reject(self, id: int) -> EnrolmentRequest:
        """Send the device away."""
        return self._transport.call("POST", f"/api/v1/enrolment-requests/{segment(id)}/reject/")  # type: ignore[no-any-return]


class GroupsResource:
    """Terminals that are meant together: by a filter, or by name. `?filter=group = "NAME"` on terminals lists them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, merchant: int | None = None, name: str | None = None, ordering: Literal["id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None, store: int | None = None) -> Iterator[Group]:
        return self._transport.pages("/api/v1/groups/", {"merchant": merchant, "name": name, "ordering": ordering, "organisation": organisation, "page_size": page_size, "store": store})

    def create(self, body: GroupRequest) -> Group:
        return self._transport.call("POST", "/api/v1/groups/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Group:
        return self._transport.call("GET", f"/api/v1/groups/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[Group, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/groups/{segment(id)}/")

    def update(self, id: int, body: PatchedGroupRequest, *, if_match: str = "") -> Group:
        return self._transport.call("PATCH", f"/api/v1/groups/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/groups/{segment(id)}/")


class ImportsResource:
    """POST brings a file, whose rows are judged and shown; `start` lets them be added in the background."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["cancelled", "checked", "done", "failed", "running"] | None = None) -> Iterator[Import]:
        return self._transport.pages("/api/v1/imports/", {"ordering": ordering, "page_size": page_size, "state": state})

    def create(self, body: FileRequest) -> Import:
        return self._transport.call("POST", "/api/v1/imports/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Import:
        return self._transport.call("GET", f"/api/v1/imports/{segment(id)}/")  # type: ignore[no-any-return]

    def cancel(self, id: int) -> Import:
        """Stop it: what was added stays."""
        return self._transport.call("POST", f"/api/v1/imports/{segment(id)}/cancel/")  # type: ignore[no-any-return]

    def rows(self, id: int) -> Sequence[ImportRow]:
        """The first thousand rows that were refused, and why."""
        return self._transport.call("GET", f"/api/v1/imports/{segment(id)}/rows/")  # type: ignore[no-any-return]

    def start(self, id: int) -> Import:
        """Let what the file adds be added; rows that were refused are left out."""
        return self._transport.call("POST", f"/api/v1/imports/{segment(id)}/start/")  # type: ignore[no-any-return]


class InstallationsResource:
    """Releases on their way to terminals, and what came of them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, release: int | None = None, state: Literal["assigned", "expired", "failed", "installed", "installing", "rejected", "replaced"] | None = None, terminal: int | None = None) -> Iterator[Installation]:
        return self._transport.pages("/api/v1/installations/", {"ordering": ordering, "page_size": page_size, "release": release, "state": state, "terminal": terminal})

    def get(self, id: int) -> Installation:
        return self._transport.call("GET", f"/api/v1/installations/{segment(id)}/")  # type: ignore[no-any-return]


class KeyRequirementsResource:
    """Keys that each terminal of a model gets when it connects."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, model: int | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, usage: Literal["D0", "M6", "P0"] | None = None) -> Iterator[KeyRequirement]:
        return self._transport.pages("/api/v1/key-requirements/", {"model": model, "ordering": ordering, "page_size": page_size, "usage": usage})

    def create(self, body: KeyRequirementRequest) -> KeyRequirement:
        return self._transport.call("POST", "/api/v1/key-requirements/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> KeyRequirement:
        return self._transport.call("GET", f"/api/v1/key-requirements/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[KeyRequirement, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/key-requirements/{segment(id)}/")

    def update(self, id: int, body: PatchedKeyRequirementRequest, *, if_match: str = "") -> KeyRequirement:
        return self._transport.call("PATCH", f"/api/v1/key-requirements/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/key-requirements/{segment(id)}/")


class KeysResource:
    """POST makes a working key of the usage for the terminal and delivers it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["confirmed", "destroyed", "expired", "failed", "mismatch", "pending", "replaced"] | None = None, terminal: int | None = None, usage: Literal["D0", "M6", "P0"] | None = None) -> Iterator[Key]:
        return self._transport.pages("/api/v1/keys/", {"ordering": ordering, "page_size": page_size, "state": state, "terminal": terminal, "usage": usage})

    def create(self, body: KeyRequest) -> Key:
        return self._transport.call("POST", "/api/v1/keys/", body=body)  # type: ignore[no-any-return]

    def get(self, id: str) -> Key:
        return self._transport.call("GET", f"/api/v1/keys/{segment(id)}/")  # type: ignore[no-any-return]


class MerchantsResource:
    """Who sells."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, mid: str | None = None, name: str | None = None, ordering: Literal["id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None) -> Iterator[Merchant]:
        return self._transport.pages("/api/v1/merchants/", {"mid": mid, "name": name, "ordering": ordering, "organisation": organisation, "page_size": page_size})

    def create(self, body: MerchantRequest) -> Merchant:
        return self._transport.call("POST", "/api/v1/merchants/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Merchant:
        return self._transport.call("GET", f"/api/v1/merchants/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[Merchant, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/merchants/{segment(id)}/")

    def update(self, id: int, body: PatchedMerchantRequest, *, if_match: str = "") -> Merchant:
        return self._transport.call("PATCH", f"/api/v1/merchants/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/merchants/{segment(id)}/")


class OrganisationsResource:
    """Processors, acquirers and resellers, one below the other; merchants stand below them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, kind: Literal["acquirer", "processor", "reseller"] | None = None, name: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, parent: int | None = None) -> Iterator[Organisation]:
        return self._transport.pages("/api/v1/organisations/", {"kind": kind, "name": name, "ordering": ordering, "page_size": page_size, "parent": parent})

    def create(self, body: OrganisationRequest) -> Organisation:
        return self._transport.call("POST", "/api/v1/organisations/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Organisation:
        return self._transport.call("GET", f"/api/v1/organisations/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[Organisation, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/organisations/{segment(id)}/")

    def update(self, id: int, body: PatchedOrganisationRequest, *, if_match: str = "") -> Organisation:
        return self._transport.call("PATCH", f"/api/v1/organisations/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/organisations/{segment(id)}/")


class PackagesResource:
    """Payment applications and other software, release by release."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, component: str | None = None, name: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None) -> Iterator[Package]:
        return self._transport.pages("/api/v1/packages/", {"component": component, "name": name, "ordering": ordering, "page_size": page_size})

    def create(self, body: PackageRequest) -> Package:
        return self._transport.call("POST", "/api/v1/packages/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Package:
        return self._transport.call("GET", f"/api/v1/packages/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[Package, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/packages/{segment(id)}/")

    def update(self, id: int, body: PatchedPackageRequest, *, if_match: str = "") -> Package:
        return self._transport.call("PATCH", f"/api/v1/packages/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/packages/{segment(id)}/")


class ParametersTemplatesResource:
    """Versions of templates, the latest first; the latest of a name is in force."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, template__name: str | None = None, version: int | None = None) -> Iterator[TemplateVersion]:
        return self._transport.pages("/api/v1/parameters/templates/", {"ordering": ordering, "page_size": page_size, "template__name": template__name, "version": version})

    def create(self, body: TemplateVersionRequest) -> TemplateVersion:
        return self._transport.call("POST", "/api/v1/parameters/templates/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> TemplateVersion:
        return self._transport.call("GET", f"/api/v1/parameters/templates/{segment(id)}/")  # type: ignore[no-any-return]


class ParametersValuesResource:
    """POST sets what holds at a level, as a new revision; terminals for which something changes get it in the background."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, group: int | None = None, is_current: bool | None = None, merchant: int | None = None, ordering: Literal["id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None, store: int | None = None, template__name: str | None = None, terminal: int | None = None) -> Iterator[ParameterSet]:
        return self._transport.pages("/api/v1/parameters/values/", {"group": group, "is_current": is_current, "merchant": merchant, "ordering": ordering, "organisation": organisation, "page_size": page_size, "store": store, "template__name": template__name, "terminal": terminal})

    def create(self, body: ParameterSetRequest) -> ParameterSet:
        return self._transport.call("POST", "/api/v1/parameters/values/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> ParameterSet:
        return self._transport.call("GET", f"/api/v1/parameters/values/{segment(id)}/")  # type: ignore[no-any-return]

    def restore(self, id: int) -> ParameterSet:
        """Set again what this revision said, as a new one."""
        return self._transport.call("POST", f"/api/v1/parameters/values/{segment(id)}/restore/")  # type: ignore[no-any-return]

    def restore_preview(self, id: int) -> ParameterPreview:
        """Say what setting this revision again would do. Changes nothing."""
        return self._transport.call("POST", f"/api/v1/parameters/values/{segment(id)}/restore/preview/")  # type: ignore[no-any-return]

    def preview(self, body: ParameterSetRequest) -> ParameterPreview:
        """Say what setting these values would do. Changes nothing."""
        return self._transport.call("POST", "/api/v1/parameters/values/preview/", body=body)  # type: ignore[no-any-return]


class ReleaseComponentsResource:
    """What releases are made of, by their bills of materials: `?name=openssl&version=3.0.7`, as the document spells it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, name: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, release: int | None = None, version: str | None = None) -> Iterator[Component]:
        return self._transport.pages("/api/v1/release-components/", {"name": name, "ordering": ordering, "page_size": page_size, "release": release, "version": version})

    def get(self, id: int) -> Component:
        return self._transport.call("GET", f"/api/v1/release-components/{segment(id)}/")  # type: ignore[no-any-return]


class ReleasesResource:
    """POST takes multipart form data: package, version, platform and the file as `artifact`; somebody else approves it then."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, package: int | None = None, page_size: int | None = None, platform: str | None = None, state: Literal["approved", "deprecated", "draft", "withdrawn"] | None = None, version: str | None = None) -> Iterator[Release]:
        return self._transport.pages("/api/v1/releases/", {"ordering": ordering, "package": package, "page_size": page_size, "platform": platform, "state": state, "version": version})

    def create(self, body: ReleaseRequest) -> Release:
        return self._transport.call("POST", "/api/v1/releases/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Release:
        return self._transport.call("GET", f"/api/v1/releases/{segment(id)}/")  # type: ignore[no-any-return]

    def approve(self, id: int, body: ApprovalRequest) -> Release:
        """Agree to a release that somebody else built; the release repository lists it then."""
        return self._transport.call("POST", f"/api/v1/releases/{segment(id)}/approve/", body=body)  # type: ignore[no-any-return]

    def assign(self, id: int, body: AssignmentRequest) -> Sequence[Installation]:
        """Send this release to terminals: to all of them, or to none where one cannot take it."""
        return self._transport.call("POST", f"/api/v1/releases/{segment(id)}/assign/", body=body)  # type: ignore[no-any-return]

    def bill_of_materials(self, id: int, body: dict[str, Any]) -> Sequence[Component]:
        """Attach the release's bill of materials: a CycloneDX document (JSON) as the body, with the vulnerabilities that are known of it. It replaces an earlier one."""
        return self._transport.call("POST", f"/api/v1/releases/{segment(id)}/bill-of-materials/", body=body)  # type: ignore[no-any-return]

    def deprecate(self, id: int, body: ReleaseReasonRequest) -> Release:
        """Say that nobody should choose this release any more; it can still be sent."""
        return self._transport.call("POST", f"/api/v1/releases/{segment(id)}/deprecate/", body=body)  # type: ignore[no-any-return]

    def reinstate(self, id: int) -> Release:
        """Take a deprecation back."""
        return self._transport.call("POST", f"/api/v1/releases/{segment(id)}/reinstate/")  # type: ignore[no-any-return]

    def withdraw(self, id: int, body: ReleaseReasonRequest) -> Release:
        """Take a release out of the repository for good, with a reason: no terminal can fetch it any more."""
        return self._transport.call("POST", f"/api/v1/releases/{segment(id)}/withdraw/", body=body)  # type: ignore[no-any-return]


class SettlementAccountsResource:
    """POST proposes an account; it counts when somebody else has approved it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, currency: str | None = None, merchant: int | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["active", "proposed", "rejected", "replaced"] | None = None) -> Iterator[SettlementAccount]:
        return self._transport.pages("/api/v1/settlement/accounts/", {"currency": currency, "merchant": merchant, "ordering": ordering, "page_size": page_size, "state": state})

    def create(self, body: SettlementAccountRequest) -> SettlementAccount:
        return self._transport.call("POST", "/api/v1/settlement/accounts/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> SettlementAccount:
        return self._transport.call("GET", f"/api/v1/settlement/accounts/{segment(id)}/")  # type: ignore[no-any-return]

    def approve(self, id: int) -> SettlementAccount:
        """Let it count, in the place of the present one."""
        return self._transport.call("POST", f"/api/v1/settlement/accounts/{segment(id)}/approve/")  # type: ignore[no-any-return]

    def reject(self, id: int) -> SettlementAccount:
        """Turn it down."""
        return self._transport.call("POST", f"/api/v1/settlement/accounts/{segment(id)}/reject/")  # type: ignore[no-any-return]


class SettlementCalendarsResource:
    """Business calendars: a country's holidays, a weekend, days of one's own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, country: str | None = None, name: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None) -> Iterator[Calendar]:
        return self._transport.pages("/api/v1/settlement/calendars/", {"country": country, "name": name, "ordering": ordering, "page_size": page_size})

    def create(self, body: CalendarRequest) -> Calendar:
        return self._transport.call("POST", "/api/v1/settlement/calendars/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Calendar:
        return self._transport.call("GET", f"/api/v1/settlement/calendars/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[Calendar, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/settlement/calendars/{segment(id)}/")

    def update(self, id: int, body: PatchedCalendarRequest, *, if_match: str = "") -> Calendar:
        return self._transport.call("PATCH", f"/api/v1/settlement/calendars/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/settlement/calendars/{segment(id)}/")


class SettlementCasesResource:
    """Differences that somebody follows to their end. Large ones are closed by two."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, currency: str | None = None, ordering: Literal["id", "-id"] | None = None, owner: int | None = None, page_size: int | None = None, severity: Literal["high", "low", "medium"] | None = None, state: Literal["approving", "explained", "open", "resolved"] | None = None, subject: Literal["credit", "records", "risk", "settling"] | None = None, terminal: int | None = None) -> Iterator[Case]:
        return self._transport.pages("/api/v1/settlement/cases/", {"currency": currency, "ordering": ordering, "owner": owner, "page_size": page_size, "severity": severity, "state": state, "subject": subject, "terminal": terminal})

    def get(self, id: int) -> Case:
        return self._transport.call("GET", f"/api/v1/settlement/cases/{segment(id)}/")  # type: ignore[no-any-return]

    def agree(self, id: int) -> Case:
        """Agree to the end of a large one that somebody else closed."""
        return self._transport.call("POST", f"/api/v1/settlement/cases/{segment(id)}/agree/")  # type: ignore[no-any-return]

    def close(self, id: int, body: CloseRequest) -> Case:
        """Close it for a reason; a large one waits for somebody else to agree."""
        return self._transport.call("POST", f"/api/v1/settlement/cases/{segment(id)}/close/", body=body)  # type: ignore[no-any-return]

    def reopen(self, id: int, body: NoteRequest) -> Case:
        """Open a closed one again."""
        return self._transport.call("POST", f"/api/v1/settlement/cases/{segment(id)}/reopen/", body=body)  # type: ignore[no-any-return]

    def send_back(self, id: int, body: NoteRequest) -> Case:
        """Do not agree: it is open again."""
        return self._transport.call("POST", f"/api/v1/settlement/cases/{segment(id)}/send_back/", body=body)  # type: ignore[no-any-return]

    def take(self, id: int) -> Case:
        """Become its owner."""
        return self._transport.call("POST", f"/api/v1/settlement/cases/{segment(id)}/take/")  # type: ignore[no-any-return]

    def take_back(self, id: int) -> Case:
        """Think better of closing a large one, before somebody agrees."""
        return self._transport.call("POST", f"/api/v1/settlement/cases/{segment(id)}/take_back/")  # type: ignore[no-any-return]

    def write(self, id: int, body: NoteRequest) -> Case:
        """Add a note."""
        return self._transport.call("POST", f"/api/v1/settlement/cases/{segment(id)}/write/", body=body)  # type: ignore[no-any-return]


class SettlementClosesResource:
    """POST closes a day: its figures are kept as they are; `changes` are what came later."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, day: str | None = None, ordering: Literal["id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None) -> Iterator[DailyClose]:
        return self._transport.pages("/api/v1/settlement/closes/", {"day": day, "ordering": ordering, "organisation": organisation, "page_size": page_size})

    def create(self, body: DailyCloseRequest) -> DailyClose:
        return self._transport.call("POST", "/api/v1/settlement/closes/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> DailyClose:
        return self._transport.call("GET", f"/api/v1/settlement/closes/{segment(id)}/")  # type: ignore[no-any-return]

    def changes(self, id: int) -> Sequence[Change]:
        """What changed since the day was closed: the first 5,000 terminals."""
        return self._transport.call("GET", f"/api/v1/settlement/closes/{segment(id)}/changes/")  # type: ignore[no-any-return]


class SettlementCreditEntriesResource:
    """What files tell of batches, entry by entry."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, batch_number: int | None = None, file: int | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["matched", "read", "repeated", "unknown", "withdrawn"] | None = None, terminal: int | None = None, tid: str | None = None, value_date: str | None = None) -> Iterator[CreditEntry]:
        return self._transport.pages("/api/v1/settlement/credit-entries/", {"batch_number": batch_number, "file": file, "ordering": ordering, "page_size": page_size, "state": state, "terminal": terminal, "tid": tid, "value_date": value_date})

    def get(self, id: int) -> CreditEntry:
        return self._transport.call("GET", f"/api/v1/settlement/credit-entries/{segment(id)}/")  # type: ignore[no-any-return]


class SettlementCreditFilesResource:
    """POST brings a file, which is read in the background; `withdraw` takes it back."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, profile: int | None = None, sha256: str | None = None, state: Literal["done", "failed", "matching", "reading", "withdrawing", "withdrawn"] | None = None) -> Iterator[CreditFile]:
        return self._transport.pages("/api/v1/settlement/credit-files/", {"ordering": ordering, "page_size": page_size, "profile": profile, "sha256": sha256, "state": state})

    def create(self, body: BringRequest) -> CreditFile:
        return self._transport.call("POST", "/api/v1/settlement/credit-files/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> CreditFile:
        return self._transport.call("GET", f"/api/v1/settlement/credit-files/{segment(id)}/")  # type: ignore[no-any-return]

    def rejects(self, id: int) -> Sequence[CreditReject]:
        """The entries that could not be read, and why."""
        return self._transport.call("GET", f"/api/v1/settlement/credit-files/{segment(id)}/rejects/")  # type: ignore[no-any-return]

    def withdraw(self, id: int) -> CreditFile:
        """Take it back: none of its entries counts any more."""
        return self._transport.call("POST", f"/api/v1/settlement/credit-files/{segment(id)}/withdraw/")  # type: ignore[no-any-return]


class SettlementCreditProfilesResource:
    """How one acquirer's or bank's files are read, and whose terminals they may name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, format: Literal["camt", "csv"] | None = None, ordering: Literal["id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None) -> Iterator[CreditProfile]:
        return self._transport.pages("/api/v1/settlement/credit-profiles/", {"format": format, "ordering": ordering, "organisation": organisation, "page_size": page_size})

    def create(self, body: CreditProfileRequest) -> CreditProfile:
        return self._transport.call("POST", "/api/v1/settlement/credit-profiles/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> CreditProfile:
        return self._transport.call("GET", f"/api/v1/settlement/credit-profiles/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[CreditProfile, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/settlement/credit-profiles/{segment(id)}/")

    def update(self, id: int, body: PatchedCreditProfileRequest, *, if_match: str = "") -> CreditProfile:
        return self._transport.call("PATCH", f"/api/v1/settlement/credit-profiles/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/settlement/credit-profiles/{segment(id)}/")


class SettlementDifferencesResource:
    """What does not agree, one by one; each belongs to a case."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, batch_number: int | None = None, case: int | None = None, currency: str | None = None, is_open: bool | None = None, kind: Literal["amount", "count", "credited_over", "credited_short", "credited_twice", "duplicate", "foreign_currency", "host", "host_totals", "incomplete", "late", "missing_record", "moved", "not_counted", "not_credited", "not_settled", "off_hours", "other_account", "refund_share", "repeated_card", "round_amounts", "unclosed_batch", "unknown_terminal", "unusual_amount", "velocity"] | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, terminal: int | None = None) -> Iterator[Difference]:
        return self._transport.pages("/api/v1/settlement/differences/", {"batch_number": batch_number, "case": case, "currency": currency, "is_open": is_open, "kind": kind, "ordering": ordering, "page_size": page_size, "terminal": terminal})

    def get(self, id: int) -> Difference:
        return self._transport.call("GET", f"/api/v1/settlement/differences/{segment(id)}/")  # type: ignore[no-any-return]


class SettlementLevelsResource:
    """POST sets the whole of what holds at a level; neither a plan nor settings takes away what was set there (204)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, merchant: int | None = None, ordering: Literal["id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None, plan: int | None = None, store: int | None = None, terminal: int | None = None) -> Iterator[PlanLevel]:
        return self._transport.pages("/api/v1/settlement/levels/", {"merchant": merchant, "ordering": ordering, "organisation": organisation, "page_size": page_size, "plan": plan, "store": store, "terminal": terminal})

    def create(self, body: PlanLevelRequest) -> PlanLevel:
        return self._transport.call("POST", "/api/v1/settlement/levels/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> PlanLevel:
        return self._transport.call("GET", f"/api/v1/settlement/levels/{segment(id)}/")  # type: ignore[no-any-return]


class SettlementPlansResource:
    """Named sets of settings; the default one holds wherever no other is set."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, is_default: bool | None = None, name: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None) -> Iterator[Plan]:
        return self._transport.pages("/api/v1/settlement/plans/", {"is_default": is_default, "name": name, "ordering": ordering, "page_size": page_size})

    def create(self, body: PlanRequest) -> Plan:
        return self._transport.call("POST", "/api/v1/settlement/plans/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Plan:
        return self._transport.call("GET", f"/api/v1/settlement/plans/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[Plan, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/settlement/plans/{segment(id)}/")

    def update(self, id: int, body: PatchedPlanRequest, *, if_match: str = "") -> Plan:
        return self._transport.call("PATCH", f"/api/v1/settlement/plans/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/settlement/plans/{segment(id)}/")


class SettlementReportSchedulesResource:
    """Reports that are sent by e-mail; everybody sees their own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, enabled: bool | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None) -> Iterator[ReportSchedule]:
        return self._transport.pages("/api/v1/settlement/report-schedules/", {"enabled": enabled, "ordering": ordering, "page_size": page_size})

    def create(self, body: ReportScheduleRequest) -> ReportSchedule:
        return self._transport.call("POST", "/api/v1/settlement/report-schedules/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> ReportSchedule:
        return self._transport.call("GET", f"/api/v1/settlement/report-schedules/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[ReportSchedule, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/settlement/report-schedules/{segment(id)}/")

    def update(self, id: int, body: PatchedReportScheduleRequest, *, if_match: str = "") -> ReportSchedule:
        return self._transport.call("PATCH", f"/api/v1/settlement/report-schedules/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/settlement/report-schedules/{segment(id)}/")


class SettlementReportsResource:
    """POST has a report made in the background; `file` is fetched when it is done. `figures` answers at once."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["done", "failed", "running", "waiting"] | None = None) -> Iterator[Report]:
        return self._transport.pages("/api/v1/settlement/reports/", {"ordering": ordering, "page_size": page_size, "state": state})

    def create(self, body: RequestRequest) -> Report:
        return self._transport.call("POST", "/api/v1/settlement/reports/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Report:
        return self._transport.call("GET", f"/api/v1/settlement/reports/{segment(id)}/")  # type: ignore[no-any-return]

    def file(self, id: int) -> IO[bytes]:
        """The file, when the report is done."""
        return self._transport.call("GET", f"/api/v1/settlement/reports/{segment(id)}/file/")  # type: ignore[no-any-return]

    def figures(self, body: SpecRequest) -> Sequence[Figures]:
        """A report's rows at once. A large one is refused: have it made in the background."""
        return self._transport.call("POST", "/api/v1/settlement/reports/figures/", body=body)  # type: ignore[no-any-return]


class SettlementRiskRulesResource:
    """POST sets a signal's rule for an organisation, or for all; `trial` says what it would have found."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, enabled: bool | None = None, ordering: Literal["id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None, signal: Literal["moved", "off_hours", "refund_share", "repeated_card", "round_amounts", "unusual_amount", "velocity"] | None = None) -> Iterator[RiskRule]:
        return self._transport.pages("/api/v1/settlement/risk-rules/", {"enabled": enabled, "ordering": ordering, "organisation": organisation, "page_size": page_size, "signal": signal})

    def create(self, body: RiskRuleRequest) -> RiskRule:
        return self._transport.call("POST", "/api/v1/settlement/risk-rules/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> RiskRule:
        return self._transport.call("GET", f"/api/v1/settlement/risk-rules/{segment(id)}/")  # type: ignore[no-any-return]

    def trial(self, body: TrialRequest) -> Sequence[Hit]:
        """What a rule would have found in the last days; nothing is changed."""
        return self._transport.call("POST", "/api/v1/settlement/risk-rules/trial/", body=body)  # type: ignore[no-any-return]


class SettlementRunsResource:
    """Settlements, from their trigger to the comparison; POST asks a terminal to settle now."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, batch_number: int | None = None, business_day: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, state: Literal["balanced", "blocked", "failed", "requested", "settling", "unbalanced", "waiting"] | None = None, terminal: int | None = None, trigger: Literal["count", "cycle", "operator", "terminal", "threshold"] | None = None) -> Iterator[Run]:
        return self._transport.pages("/api/v1/settlement/runs/", {"batch_number": batch_number, "business_day": business_day, "ordering": ordering, "page_size": page_size, "state": state, "terminal": terminal, "trigger": trigger})

    def create(self, body: RunRequest) -> Run:
        return self._transport.call("POST", "/api/v1/settlement/runs/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Run:
        return self._transport.call("GET", f"/api/v1/settlement/runs/{segment(id)}/")  # type: ignore[no-any-return]


class SettlementSchedulesResource:
    """When terminals settle by themselves. It follows from the levels above each terminal (`settlement/levels`)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, is_blocked: bool | None = None, ordering: Literal["terminal_id", "-terminal_id"] | None = None, page_size: int | None = None, terminal: int | None = None) -> Iterator[Schedule]:
        return self._transport.pages("/api/v1/settlement/schedules/", {"is_blocked": is_blocked, "ordering": ordering, "page_size": page_size, "terminal": terminal})

    def get(self, terminal: int) -> Schedule:
        return self._transport.call("GET", f"/api/v1/settlement/schedules/{segment(terminal)}/")  # type: ignore[no-any-return]


class SettlementTransactionsResource:
    """Transactions as terminals uploaded them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, amount_minor: int | None = None, approval_code: str | None = None, batch_number: int | None = None, card_last4: str | None = None, currency: str | None = None, kind: Literal["credit", "declined", "refund", "reversal", "sale", "void"] | None = None, method: Literal["card", "qr"] | None = None, occurred_after: str | None = None, occurred_before: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, rrn: str | None = None, scheme: str | None = None, search: str | None = None, sequence: int | None = None, stan: str | None = None, terminal: int | None = None) -> Iterator[Transaction]:
        return self._transport.pages("/api/v1/settlement/transactions/", {"amount_minor": amount_minor, "approval_code": approval_code, "batch_number": batch_number, "card_last4": card_last4, "currency": currency, "kind": kind, "method": method, "occurred_after": occurred_after, "occurred_before": occurred_before, "ordering": ordering, "page_size": page_size, "rrn": rrn, "scheme": scheme, "search": search, "sequence": sequence, "stan": stan, "terminal": terminal})

    def get(self, id: int) -> Transaction:
        return self._transport.call("GET", f"/api/v1/settlement/transactions/{segment(id)}/")  # type: ignore[no-any-return]


class StoresResource:
    """Where a merchant sells, and its clock."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, city: str | None = None, merchant: int | None = None, name: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None) -> Iterator[Store]:
        return self._transport.pages("/api/v1/stores/", {"city": city, "merchant": merchant, "name": name, "ordering": ordering, "page_size": page_size})

    def create(self, body: StoreRequest) -> Store:
        return self._transport.call("POST", "/api/v1/stores/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> Store:
        return self._transport.call("GET", f"/api/v1/stores/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[Store, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/stores/{segment(id)}/")

    def update(self, id: int, body: PatchedStoreRequest, *, if_match: str = "") -> Store:
        return self._transport.call("PATCH", f"/api/v1/stores/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/stores/{segment(id)}/")


class TerminalModelsResource:
    """Makes of terminal, and the platform that a release is built for."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, name: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, platform: str | None = None, vendor: str | None = None) -> Iterator[TerminalModel]:
        return self._transport.pages("/api/v1/terminal-models/", {"name": name, "ordering": ordering, "page_size": page_size, "platform": platform, "vendor": vendor})

    def create(self, body: TerminalModelRequest) -> TerminalModel:
        return self._transport.call("POST", "/api/v1/terminal-models/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> TerminalModel:
        return self._transport.call("GET", f"/api/v1/terminal-models/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[TerminalModel, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/terminal-models/{segment(id)}/")

    def update(self, id: int, body: PatchedTerminalModelRequest, *, if_match: str = "") -> TerminalModel:
        return self._transport.call("PATCH", f"/api/v1/terminal-models/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def delete(self, id: int) -> None:
        self._transport.call("DELETE", f"/api/v1/terminal-models/{segment(id)}/")


class TerminalsResource:
    """Terminals are never deleted: they retire, because their money and their audit remain."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, filter: str | None = None, merchant: int | None = None, model: int | None = None, online: bool | None = None, ordering: Literal["serial", "-serial", "id", "-id"] | None = None, organisation: int | None = None, page_size: int | None = None, serial: str | None = None, serial_contains: str | None = None, state: Literal["active", "enrolled", "registered", "retired", "suspended"] | None = None, store: int | None = None, tag: str | None = None, tid: str | None = None) -> Iterator[FleetTerminal]:
        return self._transport.pages("/api/v1/terminals/", {"filter": filter, "merchant": merchant, "model": model, "online": online, "ordering": ordering, "organisation": organisation, "page_size": page_size, "serial": serial, "serial_contains": serial_contains, "state": state, "store": store, "tag": tag, "tid": tid})

    def create(self, body: RegistrationRequest) -> Registered:
        """Register a terminal; the answer holds the one-time activation code, for who may issue one."""
        return self._transport.call("POST", "/api/v1/terminals/", body=body)  # type: ignore[no-any-return]

    def get(self, id: int) -> FleetTerminal:
        return self._transport.call("GET", f"/api/v1/terminals/{segment(id)}/")  # type: ignore[no-any-return]

    def get_versioned(self, id: int) -> tuple[FleetTerminal, str]:
        """Return an object and its ETag, for `if_match`."""
        return self._transport.versioned(f"/api/v1/terminals/{segment(id)}/")

    def update(self, id: int, body: PatchedFleetTerminalRequest, *, if_match: str = "") -> FleetTerminal:
        return self._transport.call("PATCH", f"/api/v1/terminals/{segment(id)}/", body=body, if_match=if_match)  # type: ignore[no-any-return]

    def activation_code(self, id: int) -> ActivationCode:
        """Make a fresh one-time code; an unused earlier one loses its force."""
        return self._transport.call("POST", f"/api/v1/terminals/{segment(id)}/activation-code/")  # type: ignore[no-any-return]

    def commands(self, id: int) -> Sequence[Command]:
        """The terminal's last hundred commands."""
        return self._transport.call("GET", f"/api/v1/terminals/{segment(id)}/commands/")  # type: ignore[no-any-return]

    def create_commands(self, id: int, body: PlainCommandRequest) -> Command:
        """Send a command that needs no more than its type."""
        return self._transport.call("POST", f"/api/v1/terminals/{segment(id)}/commands/", body=body)  # type: ignore[no-any-return]

    def ddi_token(self, id: int) -> TargetToken:
        """Make a fresh target token for a device that speaks hawkBit's DDI; an earlier one loses its force."""
        return self._transport.call("POST", f"/api/v1/terminals/{segment(id)}/ddi-token/")  # type: ignore[no-any-return]

    def health(self, id: int) -> TerminalHealth:
        """Current health, and the last hundred readings as `history`."""
        return self._transport.call("GET", f"/api/v1/terminals/{segment(id)}/health/")  # type: ignore[no-any-return]

    def parameters(self, id: int) -> Effective:
        """What the terminal shall have, where each value comes from, and how far it is with it."""
        return self._transport.call("GET", f"/api/v1/terminals/{segment(id)}/parameters/")  # type: ignore[no-any-return]

    def replace(self, id: int, body: ReplacementRequest) -> Registered:
        """Let another device take over the terminal's place and work; the terminal retires. The answer is the new one."""
        return self._transport.call("POST", f"/api/v1/terminals/{segment(id)}/replace/", body=body)  # type: ignore[no-any-return]

    def resume(self, id: int, body: TransitionRequest) -> FleetTerminal:
        return self._transport.call("POST", f"/api/v1/terminals/{segment(id)}/resume/", body=body)  # type: ignore[no-any-return]

    def retire(self, id: int, body: RetirementRequest) -> FleetTerminal:
        return self._transport.call("POST", f"/api/v1/terminals/{segment(id)}/retire/", body=body)  # type: ignore[no-any-return]

    def suspend(self, id: int, body: TransitionRequest) -> FleetTerminal:
        return self._transport.call("POST", f"/api/v1/terminals/{segment(id)}/suspend/", body=body)  # type: ignore[no-any-return]

    def timeline(self, id: int) -> Sequence[Timeline]:
        """Commands and events, the latest first, as far as the caller may see them."""
        return self._transport.call("GET", f"/api/v1/terminals/{segment(id)}/timeline/")  # type: ignore[no-any-return]

    def claim(self, body: ClaimRequest) -> Terminal:
        """Say that the device at hand is what an activation code was issued for."""
        return self._transport.call("POST", "/api/v1/terminals/claim/", body=body)  # type: ignore[no-any-return]

    def register(self, body: RowsRequest) -> Sequence[RowAnswer]:
        """Register up to 1,000 terminals; an answer for each row, in order. A row that does not fit is left out, with its reason."""
        return self._transport.call("POST", "/api/v1/terminals/register/", body=body)  # type: ignore[no-any-return]


class WeaknessesResource:
    """Known weaknesses of releases, by their bills of materials: `?identifier=CVE-2026-1234`, or those of a release."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, identifier: str | None = None, ordering: Literal["id", "-id"] | None = None, page_size: int | None = None, release: int | None = None, severity: Literal["critical", "high", "low", "medium", "unknown"] | None = None) -> Iterator[Weakness]:
        return self._transport.pages("/api/v1/weaknesses/", {"identifier": identifier, "ordering": ordering, "page_size": page_size, "release": release, "severity": severity})

    def get(self, id: int) -> Weakness:
        return self._transport.call("GET", f"/api/v1/weaknesses/{segment(id)}/")  # type: ignore[no-any-return]


class Tillwarden(Transport):
    """The API of one installation, by a token of an operator. Use it as a context, or `close()` it."""

    def __init__(self, url: str, token: str, *, timeout: float = 30.0, verify: Any = True) -> None:
        super().__init__(url, token, timeout=timeout, verify=verify)
        self.audit = AuditResource(self)
        self.bulk = BulkResource(self)
        self.campaigns = CampaignsResource(self)
        self.commands = CommandsResource(self)
        self.dead_letters = DeadLettersResource(self)
        self.enrolment_requests = EnrolmentRequestsResource(self)
        self.groups = GroupsResource(self)
        self.imports = ImportsResource(self)
        self.installations = InstallationsResource(self)
        self.key_requirements = KeyRequirementsResource(self)
        self.keys = KeysResource(self)
        self.merchants = MerchantsResource(self)
        self.organisations = OrganisationsResource(self)
        self.packages = PackagesResource(self)
        self.parameters_templates = ParametersTemplatesResource(self)
        self.parameters_values = ParametersValuesResource(self)
        self.release_components = ReleaseComponentsResource(self)
        self.releases = ReleasesResource(self)
        self.settlement_accounts = SettlementAccountsResource(self)
        self.settlement_calendars = SettlementCalendarsResource(self)
        self.settlement_cases = SettlementCasesResource(self)
        self.settlement_closes = SettlementClosesResource(self)
        self.settlement_credit_entries = SettlementCreditEntriesResource(self)
        self.settlement_credit_files = SettlementCreditFilesResource(self)
        self.settlement_credit_profiles = SettlementCreditProfilesResource(self)
        self.settlement_differences = SettlementDifferencesResource(self)
        self.settlement_levels = SettlementLevelsResource(self)
        self.settlement_plans = SettlementPlansResource(self)
        self.settlement_report_schedules = SettlementReportSchedulesResource(self)
        self.settlement_reports = SettlementReportsResource(self)
        self.settlement_risk_rules = SettlementRiskRulesResource(self)
        self.settlement_runs = SettlementRunsResource(self)
        self.settlement_schedules = SettlementSchedulesResource(self)
        self.settlement_transactions = SettlementTransactionsResource(self)
        self.stores = StoresResource(self)
        self.terminal_models = TerminalModelsResource(self)
        self.terminals = TerminalsResource(self)
        self.weaknesses = WeaknessesResource(self)
