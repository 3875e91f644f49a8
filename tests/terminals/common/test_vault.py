"""The software vault: sealed keys open only in their own row, and nothing shows a clear key."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import override_settings

from terminals.common import vault
from terminals.common.audit.models import AuditEntry
from terminals.common.vault import VaultError
from terminals.estate.models import Terminal
from terminals.keys.services import request_key_delivery
from terminals.link.models import Command
from tests.conftest import obey, working_device


def test_a_sealed_key_opens_in_its_own_row() -> None:
    sealed = vault.seal(b"k" * 16, bound_to="key 1")
    assert vault.unseal(sealed, bound_to="key 1") == b"k" * 16
    assert b"k" * 16 not in sealed


def test_a_sealed_key_moved_to_another_row_does_not_open() -> None:
    with pytest.raises(VaultError, match="of key 2 does not open"):
        vault.unseal(vault.seal(b"k" * 16, bound_to="key 1"), bound_to="key 2")


def test_a_damaged_sealed_key_does_not_open() -> None:
    sealed = bytearray(vault.seal(b"k" * 16, bound_to="key 1"))
    sealed[-1] ^= 1
    with pytest.raises(VaultError):
        vault.unseal(bytes(sealed), bound_to="key 1")


@override_settings(VAULT_MASTER_KEY_FILE="/dev/null")
def test_without_a_master_key_the_vault_stays_closed() -> None:
    with pytest.raises(VaultError, match="32 bytes in hex"):
        vault.seal(b"k" * 16, bound_to="key 1")


def test_no_row_of_the_database_holds_the_clear_working_key(register: Callable[[str], Terminal]) -> None:
    terminal = register("SN-1")
    device = working_device(terminal)
    request_key_delivery(terminal=terminal, usage="P0", actor="ops")
    obey(device, "deliver_key")
    clear_hex = device.memory.keys[0].key_hex
    assert len(clear_hex) == 32
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ''), '') FROM \"{table}\" t")  # noqa: S608
            text = str(cursor.fetchone()[0]).lower()
            assert clear_hex not in text, f"the clear key stands in {table}"
            assert device.memory.kbpk_hex not in text, f"the protection key stands in {table}"
    assert clear_hex.encode() not in bytes(Command.objects.get(type="deliver_key").payload).lower()
    assert AuditEntry.objects.filter(action__startswith="key").exists()
