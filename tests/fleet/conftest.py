"""An operator at the API."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from knox.models import AuthToken
from rest_framework.test import APIClient

from terminals.models import Merchant, Store, TerminalModel


@pytest.fixture
def operator(db: None) -> Any:
    return get_user_model().objects.create_superuser("ops", password="a-long-password-here")


@pytest.fixture
def api(operator: Any) -> APIClient:
    """A client that bears the operator's token."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AuthToken.objects.create(user=operator)[1]}")
    return client


@pytest.fixture
def shop(db: None) -> dict[str, int]:
    """The ids of a store and a model, as the body of a registration wants them."""
    store = Store.objects.create(merchant=Merchant.objects.create(name="Bakery", mid="1"), name="Corner")
    model = TerminalModel.objects.create(vendor="Acme", name="One", platform="linux-arm64")
    return {"store": store.pk, "model": model.pk}
