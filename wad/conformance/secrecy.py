"""Credentials are checked by name, and what is secret is shown nowhere."""

from __future__ import annotations

import logging
import traceback
from typing import Final

import pytest

from wad.conformance.harness import Harness
from wad.conformance.rows import rows
from wad.conformance.world import Script
from wad.errors import ProviderError

_EVERYTHING: Final = 1  # below DEBUG: whatever any library has to say


class Secrecy:
    async def test_credentials_are_checked_by_name(self, harness: Harness) -> None:
        """Complete ones pass; each that is missing, and each that is unknown, is named."""
        async with harness.world() as w:
            complete = dict(harness.session().credentials)
            assert w.kind.check_credentials(complete) == []
            for name in complete:
                left = {key: value for key, value in complete.items() if key != name}
                errors = [error.pointer for error in w.kind.check_credentials(left)]
                assert errors == ([f"/credentials/{name}"] if name in harness.required else [])
            (error,) = w.kind.check_credentials({**complete, "colour": "red"})
            assert error.pointer == "/credentials/colour"

    async def test_a_bad_credential_is_not_repeated(self, harness: Harness) -> None:
        """Whoever puts a key into the wrong field does not find it in the answer."""
        async with harness.world() as w:
            secret = w.secrets[0]
            for name in (*harness.session().credentials, "colour"):
                spoilt = {**harness.session().credentials, name: f"{secret}\r\n"}
                for error in w.kind.check_credentials(spoilt):
                    assert secret not in error.detail

    @rows("failure", lambda harness: harness.exposes())
    async def test_no_secret_is_shown(
        self, harness: Harness, failure: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not by a repr, not by a log, and not by an error, whatever that quotes."""
        caplog.set_level(_EVERYTHING)
        seen = [repr(harness.session())]
        async with harness.world() as w:
            for work in (lambda: w.connection.send(w.message()), w.connection.connect):
                await w.plan(failure)
                try:
                    await work()
                except ProviderError as error:
                    seen += [repr(error), str(error), error.detail, str(error.provider_code)]
                    seen.append("".join(traceback.format_exception(error)))
            assert len(seen) > 1, "nothing failed"
            seen += [repr(w.kind), repr(w.connection)]
            seen += [record.getMessage() + str(record.__dict__) for record in caplog.records]
            assert w.secrets
            assert not [text for text in seen for secret in w.secrets if secret in text]

    async def test_the_log_is_listened_to(self, harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
        """Or the row above would hold for a provider that logs everything."""
        caplog.set_level(_EVERYTHING)
        logging.getLogger("anybody").debug("canary")
        assert "canary" in caplog.text
