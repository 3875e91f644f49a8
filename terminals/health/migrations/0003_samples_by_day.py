"""The history of readings lies in a partition a day, so that old days are dropped; what is there becomes today's partition.

A state's row has room for its next version in the same page, so that what changes all the time moves no index entry.
"""

from django.db import migrations

PARTITION = """
DROP INDEX health_sample_by_age;
DO $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    present text := 'health_healthsample_' || to_char(today, 'YYYY_MM_DD');
BEGIN
    EXECUTE format('ALTER TABLE health_healthsample RENAME TO %I', present);
    EXECUTE format('ALTER TABLE %I RENAME CONSTRAINT health_healthsample_pkey TO %I', present, present || '_pkey');
    EXECUTE format('CREATE TABLE health_healthsample (LIKE %I) PARTITION BY RANGE (received_at)', present);
    ALTER TABLE health_healthsample ADD PRIMARY KEY (terminal_id, received_at, message_id);
    CREATE TABLE health_healthsample_other PARTITION OF health_healthsample DEFAULT;
    EXECUTE format('ALTER TABLE health_healthsample ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', present,
                   (today + 1)::timestamp AT TIME ZONE 'UTC');
    FOR ahead IN 1..2 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF health_healthsample FOR VALUES FROM (%L) TO (%L)',
                       'health_healthsample_' || to_char(today + ahead, 'YYYY_MM_DD'),
                       (today + ahead)::timestamp AT TIME ZONE 'UTC', (today + ahead + 1)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END $$;
"""
JOIN = """
CREATE TABLE health_healthsample_whole (LIKE health_healthsample);
INSERT INTO health_healthsample_whole SELECT * FROM health_healthsample;
DROP TABLE health_healthsample;
ALTER TABLE health_healthsample_whole RENAME TO health_healthsample;
ALTER TABLE health_healthsample ADD PRIMARY KEY (terminal_id, received_at, message_id);
CREATE INDEX health_sample_by_age ON health_healthsample USING brin (received_at);
"""


class Migration(migrations.Migration):
    dependencies = [("health", "0002_index_what_is_rare")]
    operations = [
        migrations.RunSQL(
            PARTITION, JOIN, [migrations.RemoveIndex(model_name="healthsample", name="health_sample_by_age")]
        ),
        migrations.RunSQL(
            "ALTER TABLE health_healthstate SET (fillfactor = 50)", "ALTER TABLE health_healthstate RESET (fillfactor)"
        ),
    ]
