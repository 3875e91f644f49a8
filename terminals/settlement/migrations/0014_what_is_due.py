"""What a settlement tick may find, as a function: its plans are kept for as long as a connection lasts, and planning the seven
look-ups costs three times their execution. Each takes the first row of a partial index, so that its plan is right for any instant.
"""

from django.db import migrations

FUNCTION = """
CREATE FUNCTION settlement_due(now timestamptz, silent timestamptz, since timestamptz, until timestamptz, gap timestamptz)
RETURNS boolean[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY[
        (SELECT true FROM settlement_settlementschedule WHERE is_stale LIMIT 1),
        (SELECT requested_at FROM settlement_settlementrun WHERE state IN ('requested', 'settling')
          ORDER BY requested_at LIMIT 1) < silent,
        (SELECT finished_at FROM settlement_settlementrun WHERE state = 'failed' AND finished_at >= since
          ORDER BY finished_at LIMIT 1) <= until,
        (SELECT next_due_at FROM settlement_settlementschedule WHERE next_due_at IS NOT NULL
          ORDER BY next_due_at LIMIT 1) <= now,
        (SELECT retry_at FROM settlement_settlementrun WHERE retry_at IS NOT NULL ORDER BY retry_at LIMIT 1) <= now,
        (SELECT check_at FROM settlement_settlementschedule WHERE check_at IS NOT NULL ORDER BY check_at LIMIT 1) <= now,
        (SELECT gap_since FROM settlement_batchsequence WHERE gap_since IS NOT NULL ORDER BY gap_since LIMIT 1) < gap];
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("settlement", "0013_credit_indexes")]
    operations = [
        migrations.RunSQL(
            FUNCTION, "DROP FUNCTION settlement_due(timestamptz, timestamptz, timestamptz, timestamptz, timestamptz)"
        )
    ]
