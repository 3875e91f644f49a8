"""What goes wrong around the device CA."""

import pytest

from terminals.common import vault


@pytest.fixture
def closed_vault(device: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vault that opens nothing any more, once the test's device has enrolled."""

    def refuse(*_: object, **__: object) -> bytes:
        raise vault.VaultError

    monkeypatch.setattr(vault, "unseal", refuse)
