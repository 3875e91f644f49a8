"""Where Django looks for settlement's admin pages; each room declares its own."""

from terminals.settlement.accounts import admin as accounts
from terminals.settlement.cases import admin as cases
from terminals.settlement.credits import admin as credits
from terminals.settlement.plans import admin as plans
from terminals.settlement.reports import admin as reports
from terminals.settlement.risk import admin as risk
from terminals.settlement.runs import admin as runs
from terminals.settlement.transactions import admin as transactions

__all__ = ["accounts", "cases", "credits", "plans", "reports", "risk", "runs", "transactions"]
