"""The documentation tells the truth: its links lead somewhere, its examples run, and its names exist."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml
from pydantic import BaseModel

from tests import capabilities
from wad.cli import wad
from wad.config import Config, load
from wad.content import parse_reply, parse_send
from wad.flow.event import sign
from wad.flow.rules import Rules
from wad.gauges import Gauges
from wad.http.events import EVENT_TYPES
from wad.http.problems import KINDS
from wad.http.routes import OPERATIONS
from wad.metrics import Metrics

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
}
API = PAGES["docs/api.md"]
pages = pytest.mark.parametrize("page", PAGES)


def fences(page: str, info: str) -> list[str]:
    """The fenced blocks of *page* that are marked so, such as `yaml wad.yaml`."""
    return re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", PAGES[page], re.DOTALL | re.MULTILINE)


def prose(page: str) -> str:
    """*page* without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def words_of(page: str) -> list[str]:
    """What stands between backticks in the running text."""
    return re.findall(r"`([^`\n]+)`", prose(page))


# --- links ----------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pages
def test_every_link_leads_somewhere(page: str) -> None:
    """To a file that is there, and to a heading that it has."""
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            lost.append(target)
    assert not lost


def test_every_page_can_be_found_from_the_first() -> None:
    """A page that nobody links to is a page that nobody reads."""
    for page in PAGES:
        assert page == "README.md" or f"({page})" in PAGES["README.md"], page


# --- configuration --------------------------------------------------------------------------------

CONFIGS = [(page, at) for page in PAGES for at in range(len(fences(page, "yaml wad.yaml")))]


@pytest.mark.parametrize(("page", "at"), CONFIGS)
def test_every_configuration_loads(page: str, at: int, tmp_path: Path) -> None:
    """As it stands, with files and variables where it says that they are."""
    text = fences(page, "yaml wad.yaml")[at]
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    for number, path in enumerate(re.findall(r'file:([^"\s,}]+)', text)):
        name = path.rpartition("/")[2]
        key = base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
        secret = {"mongodb-url": "mongodb://db/wad", "flow-secret": f"whsec_{key}"}.get(name, key)
        (tmp_path / name).write_text(f"{secret}\n")
        assert number < 20
    text = re.sub(r'file:(?!\$)[^"\s,}]*/', f"file:{tmp_path}/", text)
    for name in re.findall(r"env:(\w+)", text):
        environ[name] = f"secret-{name}"
    if rules := re.search(r"rules: ([^\s}]+)", text):
        text = text.replace(rules[1], str(ROOT / "config/rules.yaml"))
    file = tmp_path / "wad.yaml"
    file.write_text(text)
    load(file, environ)


def test_there_are_configurations_to_load() -> None:
    assert len(CONFIGS) > 15


def keys_of(section: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            yield from keys_of(below, f"{path}{name}.")
        else:
            yield f"{path}{name}"


KEYS = set(keys_of(Config))
SECTIONS = {key[: at.start()] for key in KEYS for at in re.finditer(r"\.", key)}
#: What looks like a key and is a file, a host, an event or somebody else's field.
_NO_KEYS = {".md", ".yaml", ".yml", ".json", ".py", ".mjs", ".php", ".jsonl", ".service", ".socket", ".db"}


@pages
def test_every_configuration_key_that_is_named_exists(page: str) -> None:
    """Whoever reads of one can write it."""
    for word in words_of(page):
        if not re.fullmatch(r"[a-z_0-9]+(\.[a-z_0-9]+)+(: .+)?", word) or Path(word).suffix in _NO_KEYS:
            continue
        key = word.partition(":")[0]
        if key.partition(".")[0] in Config.model_fields and key not in EVENT_TYPES:
            assert key in KEYS | SECTIONS, key


def test_every_configuration_key_is_explained() -> None:
    """All of them, but for those of providers that have nothing behind them yet."""
    named = set(words_of("docs/configuration.md"))
    unbuilt = tuple(f"providers.{name}." for name in ("meta_business",))
    missing = {key for key in KEYS - named if not key.startswith(unbuilt) and not key.startswith("auth.")}
    assert not missing


def test_defaults_are_those_of_the_program() -> None:
    """The page's tables say what a key is when nobody says anything."""
    table = dict(
        re.findall(r"^\| `(\w+\.[a-z_0-9.]+)` \| (\S[^|]*?) \|", PAGES["docs/configuration.md"], re.MULTILINE)
    )
    assert len(table) > 40
    for key, shown in table.items():
        value: Any = Config()
        for part in key.split("."):
            value = getattr(value, part)
        written = yaml.safe_load(shown.strip("`"))
        if written in ("none", "the host's name"):
            continue
        tree: dict[str, Any] = {}
        here = tree
        *parents, last = key.split(".")
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = written
        said: Any = Config.model_validate(tree)
        for part in key.split("."):
            said = getattr(said, part)
        assert said == value, key


# --- commands -------------------------------------------------------------------------------------


def commands_in(page: str) -> set[str]:
    """Every `wad ...` of the page, in prose and in shells."""
    found = {word for word in words_of(page) if word.startswith("wad ")}
    for info in ("sh", "console"):
        for block in fences(page, info):
            for line in block.replace("\\\n", " ").splitlines():
                found |= set(re.findall(r"(?:^|[;|&] ?|\$ |# )(?:[A-Z_]+=\S+ )*(wad [^|;#>]+)", line))
    return found


@pages
def test_every_command_that_is_named_exists(page: str) -> None:
    """With its subcommand and its options."""
    for named in commands_in(page):
        command: click.Command = wad
        for part in named.split()[1:]:
            if isinstance(command, click.Group) and not part.startswith("-"):
                if part.isupper() or part == "...":
                    break
                alternatives = re.split(r"[|·]", part)
                assert all(each in command.commands for each in alternatives), named
                command = command.commands[alternatives[0]]
            elif part.startswith("--"):
                options = {name for each in command.params for name in each.opts} | {"--help"}
                assert part.partition("=")[0] in options, named


# --- the API --------------------------------------------------------------------------------------


def test_the_page_of_the_api_has_every_route_and_no_other() -> None:
    """In a heading or in a table, with its method."""
    told = set(re.findall(r"`(GET|POST|PATCH|DELETE|PUT) (/[^`\s]*)`", API))
    assert told == {(op.method, op.path) for op in OPERATIONS} | {
        (method, path)
        for method, path in told
        if path.startswith(("/send", "/sessions", "/messages", "/dead-letters"))
    }
    short = {path.removeprefix("/api/whatsapp") for path in (op.path for op in OPERATIONS)}
    for method, path in told:
        pattern = re.sub(r"\{[^}]*\}", "{}", path.removeprefix("/api/whatsapp"))
        assert pattern in {re.sub(r"\{[^}]*\}", "{}", each) for each in short}, (method, path)


@pages
def test_every_route_that_is_named_exists(page: str) -> None:
    """Wherever a page says `GET /something`, something is there."""
    known = {
        (op.method, re.sub(r"\{[^}]*\}", "{}", op.path.removeprefix("/api/whatsapp"))) for op in OPERATIONS
    }
    if page == "docs/sandbox.md":  # another program's
        return
    for method, path in re.findall(r"`(GET|POST|PATCH|DELETE|PUT) (/[^`\s?]*)", prose(page)):
        pattern = re.sub(r"\{[^}]*\}|(?<=/)(ID|\.\.\.)", "{}", path.removeprefix("/api/whatsapp"))
        assert (method, pattern) in known, (method, path)


def test_every_problem_has_its_line() -> None:
    """Whoever gets a code finds it on the page."""
    named = set(words_of("docs/api.md"))
    missing = KINDS.keys() - named
    assert missing <= {"unknown_provider", "url_not_allowed", "invalid_flow_secret", "message_failed", "provider_error",
                       "bad_signature"}  # fmt: skip


def test_every_event_is_told_of() -> None:
    assert set(EVENT_TYPES) <= set(words_of("docs/api.md"))


def test_every_body_of_a_send_can_be_sent() -> None:
    """The examples of what a message may hold."""
    (block,) = [each for each in fences("docs/api.md", "json") if '{"audio"' in each]
    decoder = json.JSONDecoder()
    count = 0
    while block := block.lstrip():
        body, end = decoder.raw_decode(block)
        parse_send({"sessionId": "tienda-1", "to": "+5215512345678", **body})
        block = block[end:]
        count += 1
    assert count == 11


async def test_the_page_of_capabilities_is_what_is_declared() -> None:
    """`python -m tests.capabilities` writes it anew."""
    assert PAGES["docs/capabilities.md"] == capabilities.page(await capabilities.declared())


# --- metrics --------------------------------------------------------------------------------------

METRICS = {
    family.name + ("_total" if family.type == "counter" else "")
    for family in Metrics(version="1", providers=["cloud_api"], snapshot=Gauges).registry.collect()
}


@pages
def test_every_metric_that_is_named_exists(page: str) -> None:
    """In the words of Prometheus."""
    named = re.findall(r"\bwad_[a-z_]+\b", prose(page))
    assert set(named) <= METRICS | {"wad_"}


def test_every_metric_is_explained() -> None:
    missing = {name for name in METRICS if name.startswith("wad_")} - set(words_of("docs/operating.md"))
    assert not missing


# --- rules and flow services ------------------------------------------------------------------------


@pages
def test_every_rules_file_can_be_used(page: str) -> None:
    """Each mistake in one would be told at the start."""
    for block in fences(page, "yaml rules.yaml"):
        Rules.parse(block, parse_reply)


SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
EVENT = {
    "type": "message.received",
    "data": {
        "contentType": "text",
        "text": {"body": "hola"},
        "from": {"name": "Ana", "phone": "+5215512345678"},
    },
}


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(command: list[str], file: Path, source: str) -> Iterator[str]:
    """A program of the docs, on a port of its own; its URL."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file.write_text(source)
    environ = {**os.environ, "PORT": str(port), "FLOW_SECRET": SECRET}
    arguments = [part.replace("PORT", str(port)) for part in (*command, str(file))]
    with subprocess.Popen(
        arguments, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 20
            while not listens(port):
                assert process.poll() is None, "it ended"
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.02)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.kill()


FLOWS = [
    pytest.param([sys.executable], "python flow.py", id="Python"),
    pytest.param(["node"], "js flow.mjs", id="Node"),
    pytest.param(["php", "-S", "127.0.0.1:PORT"], "php flow.php", id="PHP"),
]


@pytest.mark.parametrize(("command", "info"), FLOWS)
def test_every_flow_service_answers_what_wad_signed_and_nothing_else(
    command: list[str], info: str, tmp_path: Path
) -> None:
    """The right secret, one of two, another one, an old signature, none."""
    (source,) = fences("docs/flow-service.md", info)
    body = json.dumps(EVENT).encode()
    other = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    now = int(time.time())
    with running(command, tmp_path / info.split()[1], source) as url:

        def answer(secret: str | None, at: int = now) -> httpx.Response:
            headers = {
                "Content-Type": "application/json",
                "webhook-id": "msg_1",
                "webhook-timestamp": str(at),
            }
            if secret is not None:
                headers["webhook-signature"] = sign(secret, "msg_1", at, body)
            return httpx.post(url, content=body, headers=headers, trust_env=False)

        for secret in (SECRET, f"{other} {SECRET}"):
            said = answer(secret).json()
            assert said == {"replies": [{"text": "Hola Ana, ¿en qué te ayudo?"}]}
            parse_reply(said["replies"][0])
        assert [
            answer(None).status_code,
            answer(other).status_code,
            answer(SECRET, now - 3600).status_code,
        ] == [401] * 3


def test_the_smallest_flow_service_answers(tmp_path: Path) -> None:
    """The one that a newcomer copies first."""
    (source,) = fences("README.md", "python flow.py")
    source = source.replace("9000", 'int(__import__("os").environ["PORT"])')
    with running([sys.executable], tmp_path / "flow.py", source) as url:
        said = httpx.post(url, json=EVENT, trust_env=False).json()
    for reply in said["replies"]:
        parse_reply(reply)
    assert said["replies"]


# --- the provider -----------------------------------------------------------------------------------

EXAMPLE = ROOT / "docs/examples/wad-paloma"


@pytest.mark.parametrize(
    ("info", "file"),
    [
        ("toml pyproject.toml", "pyproject.toml"),
        ("python wad_paloma.py", "wad_paloma.py"),
        ("python test_wad_paloma.py", "test_wad_paloma.py"),
    ],
)
def test_the_example_of_a_provider_is_the_one_that_is_tested(info: str, file: str) -> None:
    """File by file, as it stands in docs/examples: tests/test_example_provider.py installs and runs that."""
    assert fences("docs/adding-a-provider.md", info) == [(EXAMPLE / file).read_text()]
