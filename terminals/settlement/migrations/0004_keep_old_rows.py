"""Puts aside what the next migrations move into new shapes: schedules, run totals, transactions, plans."""

from django.db import migrations

KEEP = """
CREATE TABLE settlement_kept_plan AS SELECT * FROM settlement_settlementplan;
CREATE TABLE settlement_kept_schedule AS SELECT * FROM settlement_settlementschedule;
CREATE TABLE settlement_kept_total AS SELECT * FROM settlement_runtotal;
CREATE TABLE settlement_kept_transaction AS SELECT * FROM settlement_transaction;
"""
DROP = "DROP TABLE settlement_kept_plan, settlement_kept_schedule, settlement_kept_total, settlement_kept_transaction"


class Migration(migrations.Migration):
    dependencies = [("settlement", "0003_default_plan_told")]
    operations = [
        migrations.RunSQL(KEEP, DROP),
        migrations.DeleteModel("SettlementSchedule"),
        migrations.DeleteModel("RunTotal"),
        migrations.DeleteModel("Transaction"),
    ]
