"""Ids of messages lie in partitions by the day on which the terminal sent them: a month each of signed ones, a day of others.

What was remembered by the day of its receipt is taken over as if it had been sent then, and on the day that its id (UUIDv7) tells.
"""

from django.db import migrations, models

PARTITION = """
ALTER TABLE link_seenmessage RENAME TO link_seenmessage_before;
CREATE TABLE link_seenmessage (
    message_id uuid NOT NULL, terminal_id bigint NOT NULL, signed boolean NOT NULL, sent_on date NOT NULL,
    CONSTRAINT link_seenmessage_by_day_pkey PRIMARY KEY (message_id, terminal_id, signed, sent_on)
) PARTITION BY LIST (signed);
CREATE TABLE link_seenmessage_signed PARTITION OF link_seenmessage FOR VALUES IN (true) PARTITION BY RANGE (sent_on);
CREATE TABLE link_seenmessage_unsigned PARTITION OF link_seenmessage FOR VALUES IN (false) PARTITION BY RANGE (sent_on);
CREATE TABLE link_seenmessage_signed_other PARTITION OF link_seenmessage_signed DEFAULT;
CREATE TABLE link_seenmessage_unsigned_other PARTITION OF link_seenmessage_unsigned DEFAULT;
DO $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    month date := date_trunc('month', today);
BEGIN
    FOR ahead IN -1..2 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF link_seenmessage_unsigned FOR VALUES FROM (%L) TO (%L)',
                       'link_seenmessage_unsigned_' || to_char(today + ahead, 'YYYY_MM_DD'), today + ahead, today + ahead + 1);
        EXECUTE format('CREATE TABLE %I PARTITION OF link_seenmessage_signed FOR VALUES FROM (%L) TO (%L)',
                       'link_seenmessage_signed_' || to_char(month + ahead * interval '1 month', 'YYYY_MM'),
                       (month + ahead * interval '1 month')::date, (month + (ahead + 1) * interval '1 month')::date);
    END LOOP;
END $$;
INSERT INTO link_seenmessage
SELECT message_id, terminal_id, signed, (seen_at AT TIME ZONE 'UTC')::date FROM link_seenmessage_before
 WHERE signed OR seen_at > now() - interval '2 days';
INSERT INTO link_seenmessage
SELECT message_id, terminal_id, signed,
       (to_timestamp(('x' || left(replace(message_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC')::date
  FROM link_seenmessage_before WHERE signed
ON CONFLICT DO NOTHING;
DROP TABLE link_seenmessage_before;
"""
JOIN = """
ALTER TABLE link_seenmessage RENAME TO link_seenmessage_by_day;
CREATE TABLE link_seenmessage (
    message_id uuid NOT NULL, terminal_id bigint NOT NULL, signed boolean NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT link_seenmessage_pkey PRIMARY KEY (message_id, terminal_id, signed)
);
INSERT INTO link_seenmessage
SELECT message_id, terminal_id, signed, max(sent_on) FROM link_seenmessage_by_day GROUP BY 1, 2, 3;
DROP TABLE link_seenmessage_by_day;
CREATE INDEX seen_message_by_age ON link_seenmessage USING brin (seen_at);
"""


class Migration(migrations.Migration):
    dependencies = [("link", "0005_shared_identity")]
    operations = [
        migrations.RunSQL(
            PARTITION,
            JOIN,
            [
                migrations.RemoveIndex(model_name="seenmessage", name="seen_message_by_age"),
                migrations.RemoveField(model_name="seenmessage", name="seen_at"),
                migrations.AddField(
                    model_name="seenmessage", name="sent_on", field=models.DateField(help_text="The day of the message's own sent_at, in UTC"), preserve_default=False
                ),
                migrations.AlterField(
                    model_name="seenmessage",
                    name="pk",
                    field=models.CompositePrimaryKey(
                        "message_id",
                        "terminal_id",
                        "signed",
                        "sent_on",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
            ],
        )
    ]
