"""Credentials are checked by name, and what is secret in them is shown nowhere."""

from __future__ import annotations

import logging
import traceback
from typing import Final

import pytest

from wad.conformance.harness import Harness
from wad.conformance.peer import Script, answering
from wad.conformance.rows import rows
from wad.conformance.world import kind_of, world
from wad.errors import ProviderError


def _quoting(harness: Harness) -> dict[str, Script]:
    """Answers that quote us."""
    secrets = " ".join(harness.secrets)
    return {
        "a refusal": harness.echoes(secrets),
        "a breakdown": answering(500, secrets.encode()),
        "a success of some other kind": answering(200, secrets.encode()),
        "a header": answering(503, b"", x_seen=harness.secrets[0]),
    }


_EVERYTHING: Final = 1  # below DEBUG: whatever any library has to say


class Secrecy:
    async def test_credentials_are_checked_by_name(self, harness: Harness) -> None:
        """Complete ones pass; each that is missing, and each that is unknown, is named."""
        async with kind_of(harness) as kind:
            complete = dict(harness.session().credentials)
            assert kind.check_credentials(complete) == []
            for name in complete:
                left = {key: value for key, value in complete.items() if key != name}
                errors = [error.pointer for error in kind.check_credentials(left)]
                assert errors == ([f"/credentials/{name}"] if name in harness.required else [])
            (error,) = kind.check_credentials({**complete, "colour": "red"})
            assert error.pointer == "/credentials/colour"

    async def test_a_bad_credential_is_not_repeated(self, harness: Harness) -> None:
        """Whoever puts a key into the wrong field does not find it in the answer."""
        async with kind_of(harness) as kind:
            for name in harness.session().credentials:
                spoilt = {**harness.session().credentials, name: f"{harness.secrets[0]}\r\n"}
                for error in kind.check_credentials(spoilt):
                    assert harness.secrets[0] not in error.detail

    @rows("answer", _quoting)
    async def test_no_secret_is_shown(
        self, harness: Harness, answer: Script, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not by a repr, not by a log, and not by an error whose answer quotes us."""
        caplog.set_level(_EVERYTHING)
        seen = [repr(harness.session())]
        async with world(harness) as w:
            for work in (lambda: w.connection.send(w.message()), w.connection.connect):
                w.peer.scripts = [answer] * 3
                with pytest.raises(ProviderError) as caught:
                    await work()
                error = caught.value
                seen += [repr(error), str(error), error.detail, str(error.provider_code)]
                seen.append("".join(traceback.format_exception(error)))
            seen += [repr(w.kind), repr(w.connection)]
        seen += [record.getMessage() + str(record.__dict__) for record in caplog.records]
        assert not [text for text in seen for secret in harness.secrets if secret in text]

    async def test_the_log_is_listened_to(self, caplog: pytest.LogCaptureFixture) -> None:
        """Or the row above would hold for a provider that logs everything."""
        caplog.set_level(_EVERYTHING)
        logging.getLogger("anybody").debug("canary")
        assert "canary" in caplog.text
