"""Migrations that carry rows over: tallies keep their sums both ways, and baselines are named before they go."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


@pytest.fixture
def back_to_the_present(transactional_db: None) -> Iterator[None]:
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def migrate(*targets: tuple[str, str]) -> MigrationExecutor:
    executor = MigrationExecutor(connection)
    executor.migrate(list(targets))
    return MigrationExecutor(connection)


def test_tallies_keep_their_sums_both_ways(back_to_the_present: None) -> None:
    state = migrate(("campaigns", "0003_follow_moved_nodes"), ("firmware", "0008_ddi"))
    before = [("campaigns", "0003_follow_moved_nodes"), ("auth", "0012_alter_user_first_name_max_length")]
    apps = state.loader.project_state(before).apps
    user = apps.get_model("auth", "User").objects.create(username="ann")
    campaign = apps.get_model("campaigns", "Campaign").objects.create(
        name="x", kind="install", thing="software:payment", filter="", path="", digest="", proposed_by=user
    )
    wave = apps.get_model("campaigns", "Wave").objects.create(campaign=campaign, number=1, total=3)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO campaigns_tally (wave_id, state, code, number) VALUES (%s, 'planned', '', 3)", [wave.pk]
        )
    migrate(("campaigns", "0004_tallies_are_added"))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO campaigns_tally (wave_id, state, code, number) VALUES (%s, 'planned', '', -1)", [wave.pk]
        )
        cursor.execute("SELECT count(DISTINCT id), sum(number) FROM campaigns_tally")
        assert cursor.fetchone() == (2, 2)
    migrate(("campaigns", "0003_follow_moved_nodes"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT wave_id, state, code, number FROM campaigns_tally")
        assert cursor.fetchall() == [(wave.pk, "planned", "", 2)]


def test_baselines_are_named_before_they_go(back_to_the_present: None, capsys: pytest.CaptureFixture[str]) -> None:
    state = migrate(("firmware", "0008_ddi"))
    apps = state.loader.project_state([("firmware", "0008_ddi")]).apps
    model = apps.get_model("terminals", "TerminalModel").objects.create(vendor="Acme", name="A920", platform="android")
    package = apps.get_model("firmware", "Package").objects.create(name="pay")
    release = apps.get_model("firmware", "Release").objects.create(
        package=package, version="2.0.0", platform="android", size_bytes=1, sha256="0", created_by="ann"
    )
    apps.get_model("firmware", "Baseline").objects.create(model=model, package=package, release=release)
    migrate(("firmware", "0009_baselines_become_campaigns"))
    said = capsys.readouterr().out
    assert "The baseline of Acme A920 was pay 2.0.0 (android)" in said
    assert 'model = "A920"' in said
