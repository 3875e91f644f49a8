"""The router of the API: every resource, under its address."""

from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import APIRootView, DefaultRouter

from firmware import api as firmware
from fleet.terminal_api import FleetTerminalViewSet
from terminals.bulk import api as bulk
from terminals.campaigns import api as campaigns
from terminals.common.api.records import AuditViewSet
from terminals.enrolment import api as enrolment
from terminals.estate import api as estate
from terminals.importing import api as importing
from terminals.keys import api as keys
from terminals.link import api as link
from terminals.parameters import api as parameters
from terminals.settlement.accounts import api as accounts
from terminals.settlement.cases import api as cases
from terminals.settlement.credits import api as credits
from terminals.settlement.plans import api as plans
from terminals.settlement.reports import api as reports
from terminals.settlement.risk import api as risk
from terminals.settlement.runs import api as runs
from terminals.settlement.transactions import api as transactions


class Directory(APIRootView):
    """Where everything is."""

    permission_classes = (IsAuthenticated,)


router = DefaultRouter()
router.APIRootView = Directory
router.include_format_suffixes = False
router.register("organisations", estate.OrganisationViewSet)
router.register("merchants", estate.MerchantViewSet)
router.register("stores", estate.StoreViewSet)
router.register("groups", estate.GroupViewSet)
router.register("terminal-models", estate.TerminalModelViewSet)
router.register("terminals", FleetTerminalViewSet)
router.register("bulk", bulk.JobViewSet)
router.register("campaigns", campaigns.CampaignViewSet)
router.register("enrolment-requests", enrolment.EnrolmentRequestViewSet)
router.register("imports", importing.ImportViewSet)
router.register("commands", link.CommandViewSet)
router.register("dead-letters", link.DeadLetterViewSet)
router.register("parameters/templates", parameters.TemplateViewSet)
router.register("parameters/values", parameters.ParameterSetViewSet)
router.register("packages", firmware.PackageViewSet)
router.register("releases", firmware.ReleaseViewSet)
router.register("release-components", firmware.ComponentViewSet)
router.register("weaknesses", firmware.WeaknessViewSet)
router.register("installations", firmware.InstallationViewSet)
router.register("keys", keys.KeyViewSet)
router.register("key-requirements", keys.KeyRequirementViewSet)
router.register("settlement/accounts", accounts.SettlementAccountViewSet)
router.register("settlement/cases", cases.CaseViewSet)
router.register("settlement/differences", cases.DifferenceViewSet)
router.register("settlement/credit-profiles", credits.CreditProfileViewSet)
router.register("settlement/credit-files", credits.CreditFileViewSet)
router.register("settlement/credit-entries", credits.CreditEntryViewSet)
router.register("settlement/plans", plans.PlanViewSet)
router.register("settlement/calendars", plans.CalendarViewSet)
router.register("settlement/levels", plans.PlanLevelViewSet)
router.register("settlement/schedules", plans.ScheduleViewSet)
router.register("settlement/reports", reports.ReportViewSet)
router.register("settlement/closes", reports.DailyCloseViewSet)
router.register("settlement/report-schedules", reports.ReportScheduleViewSet)
router.register("settlement/risk-rules", risk.RiskRuleViewSet)
router.register("settlement/runs", runs.RunViewSet)
router.register("settlement/transactions", transactions.TransactionViewSet)
router.register("audit", AuditViewSet)
