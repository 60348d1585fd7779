"""What a command says where the daemon refuses, or where none answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Wad
from wad.cli.refusal import exit_status


@pytest.fixture(autouse=True)
def a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAD_TOKEN", "wad_a-token")


@contextmanager
def serving(status: int, media_type: str, body: str) -> Iterator[str]:
    """A server that is not wad: it answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def closed_port() -> str:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_no_daemon_is_69_and_how_to_start_one(wad: Wad):
    """The commonest slip of the first hour."""
    ran = wad("sessions", "list", "--url", closed_port())
    assert ran.status == 69
    assert "wad serve" in ran.err


def test_with_json_no_daemon_is_json(wad: Wad):
    ran = wad("sessions", "list", "--json", "--url", closed_port())
    assert (ran.status, ran.problem["exit"], ran.out) == (69, 69, "")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param((200, "text/html", "<h1>It works!</h1>"), 69, id="another server"),
        pytest.param(
            (502, "text/html", "<h1>Bad gateway</h1>"), 69, id="a proxy before a daemon that is down"
        ),
        pytest.param((404, "application/problem+json", "{}"), 69, id="a problem that names no code"),
        pytest.param((500, "application/problem+json", "<"), 69, id="a problem that is none"),
    ],
)
def test_whatever_is_not_wad_is_told_so(wad: Wad, answer: tuple[int, str, str], status: int):
    """No traceback over somebody else's HTML."""
    with serving(*answer) as url:
        ran = wad("sessions", "list", "--url", url)
    assert (ran.status, url in ran.err) == (status, True)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://127.0.0.1:http", "nonsense"])
def test_a_url_that_is_none_is_a_usage_error(wad: Wad, url: str):
    assert wad("sessions", "list", "--url", url).status == 64


def test_no_token_is_77_and_where_to_find_one(wad: Wad, monkeypatch):
    """Before anything is asked: the token is looked for in three places, and each is named."""
    monkeypatch.delenv("WAD_TOKEN")
    ran = wad("sessions", "list")
    assert ran.status == 77
    assert ["var/admin-token" in ran.err, "$WAD_TOKEN" in ran.err, "--token-file" in ran.err] == [True] * 3


@pytest.mark.parametrize("content", ["", "  \n", "zwei Wörter", "a\nb"])
def test_a_token_that_no_header_carries_is_77(wad: Wad, elsewhere: Path, content: str):
    """An empty file is not an anonymous visit."""
    (elsewhere / "token").write_text(content)
    assert wad("sessions", "list", "--token-file", "token").status == 77


def test_the_token_is_never_shown(wad: Wad):
    """Not even where the URL is wrong and the error quotes what it can."""
    ran = wad("sessions", "list", "--url", "nonsense")
    assert "wad_a-token" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        pytest.param({"status": 503, "code": "store_unavailable", "retryable": True}, 75, id="try again"),
        pytest.param({"status": 429, "code": "queue_full", "retryable": True}, 75, id="too much"),
        pytest.param({"status": 401, "code": "unauthorized"}, 77, id="no such token"),
        pytest.param({"status": 403, "code": "forbidden"}, 77, id="not with this token"),
        pytest.param({"status": 404, "code": "not_found"}, 65, id="no such thing"),
        pytest.param({"status": 422, "code": "invalid_request"}, 65, id="bad fields"),
        pytest.param({"status": 409, "code": "session_exists"}, 73, id="the name is taken"),
        pytest.param({"status": 409, "code": "session_unavailable"}, 65, id="a person is needed"),
        pytest.param({"status": 500, "code": "internal"}, 70, id="a bug"),
        pytest.param({"status": 502, "code": "provider_error"}, 69, id="the provider refuses"),
    ],
)
def test_a_refusal_has_the_exit_status_of_its_kind(problem: dict[str, object], status: int):
    """A script tells from it whether to try again (75), to call a person, or to mend its input (65)."""
    assert exit_status(problem) == status


def test_a_send_whose_answer_is_lost_is_asked_again_under_the_same_key(wad: Wad):
    """The daemon may have the message or not; the key makes sure that it is one message in the end."""
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers["Idempotency-Key"])
            if len(keys) == 1:
                self.close_connection = True  # no answer at all
                return
            body = b'{"messageId": "msg_1", "sessionId": "shop", "provider": "cloud_api", "status": "queued"}'
            self.send_response(202)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        ran = wad("send", "shop", "+5215512345678", "hola", "--url", url)
    assert (ran.status, "asking again" in ran.err, "msg_1" in ran.out) == (0, True, True)
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert keys[0]
