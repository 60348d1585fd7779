"""Refusals: one form for all of them, whoever refuses, and each explained where its type points."""

import pytest
import trio

from tests.http.front import front
from wad.errors import (
    ActorDown,
    FieldError,
    InvalidRequest,
    ProviderError,
    StoreUnavailable,
    Verdict,
    WadError,
)
from wad.http.problems import KINDS, Refused, headers_of, problem_of, status_of
from wad.http.routes import OPERATIONS
from wad.store.memory import MemoryEngine

JSON = {"Content-Type": "application/json"}


async def test_a_problem_has_the_members_of_its_kind(autojump_clock):
    """RFC 9457, and code and retryable for programs."""
    async with front() as ask:
        reply = await ask("GET", "/sessions/nope")
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json == {
            "type": "/problems/not_found",
            "title": "Not found",
            "status": 404,
            "detail": "there is no session 'nope'",
            "code": "not_found",
            "retryable": False,
        }


BODIES = [
    ("empty", b"", JSON, 400, "invalid_json"),
    ("not JSON", b"{", JSON, 400, "invalid_json"),
    ("not UTF-8", b'"\xff"', JSON, 400, "invalid_json"),
    ("half an emoji", b'{"text":"\\ud83d"}', JSON, 400, "invalid_json"),
    ("no number", b"NaN", JSON, 400, "invalid_json"),
    ("bottomless", b"[" * 200_000, JSON, 400, "invalid_json"),
    ("deep", b'{"a":' * 33 + b"1" + b"}" * 33, JSON, 400, "invalid_json"),
    ("deep with a NUL", b'{"a":' * 900 + b'"\\u0000"' + b"}" * 900, JSON, 400, "invalid_json"),
    ("no object", b"[]", JSON, 422, "invalid_request"),
    ("null", b"null", JSON, 422, "invalid_request"),
    ("no type", b"{}", {}, 415, "unsupported_media_type"),
    ("a form", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ("text", b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    ("no media type at all", b"{}", {"Content-Type": "///;;"}, 415, "unsupported_media_type"),
    ("with a charset", b"{}", {"Content-Type": "application/json; charset=utf-8"}, 422, "invalid_request"),
    ("too large", b" " * 2**20 + b"{}", JSON, 413, "body_too_large"),
]


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
async def test_a_body_that_cannot_be_used_is_refused_by_its_kind(raw, headers, status, code, autojump_clock):
    """400 what cannot be read, 413 what is too large, 415 what is no JSON, 422 what is read and wrong."""
    async with front(config={"http": {"max_body": "1MiB"}}) as ask:
        reply = await ask("POST", "/send", raw=raw, headers=headers)
        assert (reply.status, reply.json["code"]) == (status, code)


async def test_a_NUL_is_refused_wherever_it_stands(autojump_clock):  # noqa: N802
    """In a text, in a list, in a name; and the six characters that only look like one are let in."""
    async with front() as ask:
        await ask.session()
        reply = await ask(
            "POST", "/send", raw=b'{"text":{"body":"a\\u0000b"},"x":["\\u0000"],"\\u0000":1}', headers=JSON
        )
        assert (reply.status, reply.pointers) == (422, {"/text/body", "/x/0", ""})
        body = b'{"sessionId":"shop","to":"+5215512345678","text":"\\\\u0000"}'
        assert (await ask("POST", "/send", raw=body, headers=JSON)).status == 202


async def test_what_is_not_there_and_what_is_not_allowed(autojump_clock):
    """404 and 405 of the framework are problems like all others, and 405 says what is allowed."""
    async with front() as ask:
        missing = await ask("GET", "/nowhere")
        assert (missing.status, missing.json["code"]) == (404, "not_found")
        for method, path in (
            ("PUT", "/send"),
            ("DELETE", "/messages"),
            ("OPTIONS", "/send"),
            ("TRACE", "/sessions"),
        ):
            wrong = await ask(method, path)
            assert (wrong.status, wrong.json["code"]) == (405, "method_not_allowed")
            assert wrong.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/whatsapp/sessions/",
        "/api//whatsapp/sessions",
        "/api/whatsapp/sessions/../messages/x",
    ],
)
async def test_no_path_is_bent_into_another(path, autojump_clock):
    """No redirect, no merged slashes: what is not a path of ours is a 404."""
    async with front() as ask:
        assert (await ask("GET", path)).status == 404


async def test_a_bug_is_a_problem_too_and_tells_nothing(autojump_clock, caplog, monkeypatch):
    """500; the log has it under the request's id, the answer has not."""
    async with front() as ask:

        async def broken(*_, **__):
            raise RuntimeError("password=hunter2")

        monkeypatch.setattr(ask.sessions.messages, "send", broken)
        await ask.session()
        reply = await ask.send()
        assert (reply.status, reply.json["code"]) == (500, "internal")
        assert b"hunter2" not in reply.body
        [record] = [each for each in caplog.records if each.message == "request_failed"]
        assert record.request_id == reply.headers["x-request-id"]


async def test_a_store_that_is_away_is_a_503_and_nothing_is_promised(autojump_clock, monkeypatch):
    """With Retry-After; and when it is back, all is well."""
    async with front() as ask:
        await ask.session()

        async def away(*_, **__):
            raise StoreUnavailable("the store is away")

        with monkeypatch.context() as broken:
            for name in ("write", "find", "ping"):
                broken.setattr(MemoryEngine, name, away)
            reply = await ask.send()
            assert (reply.status, reply.json["code"], reply.json["retryable"]) == (
                503,
                "store_unavailable",
                True,
            )
            assert int(reply.headers["retry-after"]) >= 1
            assert (await ask("GET", "/messages")).status == 503
            ready = await ask("GET", "/readyz")
            assert (ready.status, ready.json["status"]) == (503, "no_store")
            assert (await ask("GET", "/healthz")).status == 200
            assert (await ask("GET", "/sessions/shop/status")).status == 200  # from memory
        assert (await ask.send()).status == 202


ERRORS = [
    (InvalidRequest("x", [FieldError("/a", "b")]), 422, False),
    (ActorDown("x"), 503, True),
    (StoreUnavailable("x", retry_after=0.2), 503, True),
    (ProviderError(Verdict.NOT_SENT, "x", code="connect_failed"), 502, True),
    (ProviderError(Verdict.THROTTLED, "x", code="throttled", retry_after=3.2), 429, True),
    (ProviderError(Verdict.REJECTED, "x", code="bad", provider_code="100"), 422, False),
    (ProviderError(Verdict.UNKNOWN, "x", code="timeout"), 502, False),
    (ProviderError(Verdict.NEEDS_PERSON, "x", code="bad_credentials"), 409, False),
    (Refused("not_acceptable", "x"), 406, False),
    (WadError("x"), 500, False),
]


@pytest.mark.parametrize(("error", "status", "retryable"), ERRORS, ids=[repr(row[0]) for row in ERRORS])
def test_every_error_has_its_status(error, status, retryable):
    """By its class and verdict, never by its text."""
    problem = problem_of(error)
    assert (status_of(error), problem.status, problem.retryable) == (status, status, retryable)
    assert ("Retry-After" in headers_of(error, problem)) == (status in (429, 503))


def test_waiting_is_told_in_whole_seconds_and_never_as_none():
    """A client that rounds down would come back at once."""
    assert problem_of(ProviderError(Verdict.THROTTLED, "x", code="t", retry_after=3.2)).retry_after == 4
    assert problem_of(StoreUnavailable("x", retry_after=0.01)).retry_after == 1


async def test_every_kind_of_problem_is_explained(autojump_clock):
    """`type` leads to a page; an unknown word of a provider's shares the provider's page."""
    async with front() as ask:
        for code, kind in KINDS.items():
            page = await ask("GET", f"/problems/{code}")
            assert page.status == 200
            assert kind.title in page.body.decode()
        assert b"Provider error" in (await ask("GET", "/problems/window_closed")).body
        for code in ("No", "%3Cscript%3E", "a" * 65):
            assert (await ask("GET", f"/problems/{code}")).status == 404


def test_every_status_of_a_kind_is_one_that_operations_declare():
    """What is described has the refusals that there are."""
    declared = {status for op in OPERATIONS for status in op.refusals}
    assert {kind.status for kind in KINDS.values()} - declared == {405}  # of paths, not of operations


# --- what every answer carries --------------------------------------------------------------------


@pytest.mark.parametrize("given", ["req-1", "0" * 128, "a:b/c=d+e._-"])
async def test_a_request_keeps_its_id(given, autojump_clock):
    """Whoever stands before us numbers requests, and finds them again."""
    async with front() as ask:
        assert (await ask("GET", "/healthz", headers={"X-Request-Id": given})).headers[
            "x-request-id"
        ] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "<script>", "é"])
async def test_a_request_without_a_sane_id_gets_one(given, autojump_clock):
    """An id is written into logs: it is nobody's to put anything there."""
    async with front() as ask:
        headers = {} if given is None else {"X-Request-Id": given}
        ids = {(await ask("GET", "/healthz", headers=headers)).headers["x-request-id"] for _ in range(2)}
        assert len(ids) == 2
        assert given not in ids


async def test_every_answer_is_marked_for_browsers(autojump_clock):
    """Also those that no handler made. Only the console's own files, the same for everybody, may be kept."""
    async with front() as ask:
        for method, path, cached in (
            ("GET", "/", "no-cache"),
            ("GET", "/nowhere", "no-store"),
            ("PUT", "/send", "no-store"),
            ("GET", "/sessions", "no-store"),
        ):
            reply = await ask(method, path)
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["cache-control"] == cached
            assert "x-request-id" in reply.headers
            assert "server" not in reply.headers


async def test_large_answers_are_compressed_for_who_takes_it(autojump_clock):
    """By Accept-Encoding, above a kibibyte; and caches are told that it matters."""
    import gzip

    async with front() as ask:
        plain = await ask("GET", "/openapi.json")
        packed = await ask("GET", "/openapi.json", headers={"Accept-Encoding": "br, gzip;q=0.5"})
        assert (plain.headers.get("content-encoding"), packed.headers["content-encoding"]) == (None, "gzip")
        assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body) / 4
        assert int(packed.headers["content-length"]) == len(packed.body)
        refused = await ask("GET", "/openapi.json", headers={"Accept-Encoding": "gzip;q=0"})
        assert "content-encoding" not in refused.headers
        small = await ask("GET", "/healthz", headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in small.headers


async def test_requests_are_counted_by_route_and_never_by_path(autojump_clock):
    """A session's id is no label."""
    from wad.events import RequestServed

    async with front() as ask:
        await ask("GET", "/sessions/secret-name")
        await ask("GET", "/nowhere")
        await ask("BREW", "/nowhere")
        served = [(fact.route, fact.method, fact.status) for fact in ask.house.facts_of(RequestServed)]
        assert served == [
            ("/api/whatsapp/sessions/{sessionId}", "GET", 404),
            ("none", "GET", 404),
            ("none", "other", 404),
        ]


async def test_two_lengths_for_one_body_are_refused(autojump_clock):
    """Content-Length beside Transfer-Encoding is how one request is smuggled inside another."""
    async with front() as ask:
        reply = await ask(
            "POST", "/send", raw=b"{}", headers={"Transfer-Encoding": "chunked", "Content-Length": "2"}
        )
        assert (reply.status, reply.json["code"]) == (400, "bad_request")
        assert reply.headers["connection"] == "close"


async def test_a_body_that_never_comes_is_not_waited_for(autojump_clock):
    """408 after http.body_timeout."""
    async with front(config={"http": {"body_timeout": 7}}) as ask:
        client = ask.app.test_client()
        began = trio.current_time()
        async with client.request(
            "/api/whatsapp/send", method="POST", headers=ask.headers({"Content-Type": "application/json"})
        ) as connection:
            await connection.send(b"{")
            await trio.sleep(7.5)
            await connection.send_complete()
        response = await connection.as_response()
        assert response.status_code == 408
        assert trio.current_time() - began < 9
