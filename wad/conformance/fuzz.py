"""Webhooks nobody has thought of: whatever is sent, parsing ends in events or in InvalidRequest, and nothing is lost."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wad.conformance.http import Hooks, HttpHarness, hooks_of, requests_of
from wad.conformance.world import decoded
from wad.errors import InvalidRequest
from wad.models import InboundMessage, WebhookRequest
from wad.providers.base import WebhookEvent

_settings: Final = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
#: What may stand in a piece of JSON where something else should be.
_JSON: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_GONE: Final = object()
Path = tuple[str | int, ...]


def _paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Every place in *value*, itself first."""
    yield here
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from _paths(part, (*here, key))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(value: Any, path: Path, what: Any) -> Any:
    """*value* with *what* at *path*; `_GONE` takes out what stands there."""
    if not path:
        return None if what is _GONE else what
    changed = copy.deepcopy(value)
    *parents, last = path
    outer = _at(changed, tuple(parents))
    if what is _GONE:
        del outer[last]
    else:
        outer[last] = what
    return changed


def _parsed(hooks: Hooks, request: WebhookRequest) -> list[WebhookEvent]:
    """Its events; none where it was refused. Whatever else is raised fails the test."""
    try:
        found = hooks.webhooks.parse(request)
    except InvalidRequest:
        return []
    for each in found:
        msgspec.json.encode(each.event)  # it is going to be stored
    return found


def _messages(found: list[WebhookEvent]) -> set[str]:
    return {each.event.provider_message_id for each in found if isinstance(each.event, InboundMessage)}


class Fuzzed:
    async def test_any_bytes_are_parsed_or_refused(self, harness: HttpHarness) -> None:
        """And verified without an error, which comes before."""
        async with hooks_of(harness) as hooks:
            genuine = harness.inbound("id-1")

            @_settings
            @given(body=st.binary(max_size=200), header=st.text(max_size=50), secret=st.text(max_size=20))
            def holds(body: bytes, header: str, secret: str) -> None:
                headers = dict.fromkeys(genuine.headers, header)
                request = msgspec.structs.replace(genuine, headers=headers, body=body)
                assert hooks.webhooks.verify(request, secret=secret) in (False, True)
                _parsed(hooks, request)

            holds()

    async def test_a_genuine_webhook_with_something_else_in_it_is_parsed_or_refused(
        self, harness: HttpHarness
    ) -> None:
        """Whatever stands in whichever place, of a message and of a status: JSON, or the fields of a form."""
        async with hooks_of(harness) as hooks:
            genuine = [harness.inbound("id-1"), harness.status("id-1", "msg_1")]
            genuine += requests_of(harness.said()) + requests_of(harness.told())

            @_settings
            @given(data=st.data())
            def holds(data: st.DataObject) -> None:
                request = data.draw(st.sampled_from(genuine))
                _parsed(hooks, msgspec.structs.replace(request, body=data.draw(_spoilt(request.body))))

            holds()

    async def test_one_bad_message_of_a_batch_loses_no_other(self, harness: HttpHarness) -> None:
        """Whatever one of them turns into, the two beside it come through."""
        async with hooks_of(harness) as hooks:
            if (batch := harness.batch(["id-1", "id-2", "id-3"])) is None:
                return
            assert hooks.webhooks.verify(batch, secret=hooks.secret)
            assert _messages(hooks.webhooks.parse(batch)) == {"id-1", "id-2", "id-3"}
            tree = decoded(batch.body)
            at = _item_of(tree, "id-1", "id-2")
            places = [at + path for path in _paths(_at(tree, at))]

            @_settings
            @given(place=st.sampled_from(places), what=_JSON | st.just(_GONE))
            def holds(place: Path, what: Any) -> None:
                if what is _GONE and place == at:
                    return
                body = json.dumps(_with(tree, place, what)).encode()
                found = _parsed(hooks, msgspec.structs.replace(batch, body=body))
                assert {"id-1", "id-3"} <= _messages(found)
                assert len(found) >= 3  # what it turned into is kept, too

            holds()


def _item_of(tree: Any, one: str, other: str) -> Path:
    """Where the item that holds *other* stands, in the list that *one* is in as well."""
    first, second = (next(path for path in _paths(tree) if _at(tree, path) == each) for each in (one, other))
    apart = next(step for step in range(len(first)) if first[step] != second[step])
    return second[: apart + 1]


@st.composite
def _spoilt(draw: st.DrawFn, body: bytes) -> bytes:
    """*body* with one of its places holding something else."""
    tree = decoded(body)
    if tree is not None:
        place = draw(st.sampled_from(list(_paths(tree))))
        return json.dumps(_with(tree, place, draw(_JSON | st.just(_GONE)))).encode()
    fields = parse_qsl(body.decode(), keep_blank_values=True)
    at = draw(st.integers(0, len(fields) - 1))
    name, _ = fields[at]
    instead = draw(
        st.sampled_from([[], [(name, "")], [fields[at]] * 2])
        | st.text(max_size=30).map(lambda text: [(name, text)])
    )
    return urlencode([*fields[:at], *instead, *fields[at + 1 :]], errors="replace").encode()
