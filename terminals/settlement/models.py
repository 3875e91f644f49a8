"""All rows of settlement, where Django looks for them; each room declares its own."""

from terminals.settlement.accounts.models import SettlementAccount
from terminals.settlement.cases.models import Case, CaseNote, Difference
from terminals.settlement.credits.models import (
    BatchCredit,
    CreditAccount,
    CreditChunk,
    CreditEntry,
    CreditFile,
    CreditProfile,
    CreditReject,
)
from terminals.settlement.plans.models import (
    BusinessCalendar,
    EffectivePlan,
    PlanLevel,
    SettlementPlan,
    SettlementSchedule,
)
from terminals.settlement.reports.models import DailyClose, DailyFigure, Report, ReportSchedule
from terminals.settlement.risk.models import BatchProfile, RiskRule
from terminals.settlement.runs.models import SettlementRun
from terminals.settlement.transactions.models import Batch, BatchSequence, BatchTotal, Transaction

__all__ = [
    "Batch",
    "BatchCredit",
    "BatchProfile",
    "BatchSequence",
    "BatchTotal",
    "BusinessCalendar",
    "Case",
    "CaseNote",
    "CreditAccount",
    "CreditChunk",
    "CreditEntry",
    "CreditFile",
    "CreditProfile",
    "CreditReject",
    "DailyClose",
    "DailyFigure",
    "Difference",
    "EffectivePlan",
    "PlanLevel",
    "Report",
    "ReportSchedule",
    "RiskRule",
    "SettlementAccount",
    "SettlementPlan",
    "SettlementRun",
    "SettlementSchedule",
    "Transaction",
]
