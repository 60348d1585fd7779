"""Meta's Cloud API: one phone number, one session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from wad.models import Session
from wad.providers.credentials import Credential, digits
from wad.providers.meta.account import Account
from wad.providers.meta.kind import GraphKind
from wad.providers.meta.probe import FIELDS, LEAST_FIELDS

_PROBES: Final = (f"?fields={FIELDS}", f"?fields={LEAST_FIELDS}")


class CloudApi(GraphKind):
    name = "cloud_api"
    known_credentials: ClassVar = {
        **GraphKind.app_credentials,
        "phoneNumberId": Credential(digits, required=True),
    }

    def account_of(self, credentials: Mapping[str, str]) -> str | None:
        return credentials.get("phoneNumberId")

    def _account(self, session: Session) -> Account:
        return self._account_of(session, session.credentials.get("phoneNumberId", ""), _PROBES)
