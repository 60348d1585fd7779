"""The configuration: everything wrong at once, secrets that never show, and a reference file that tells the truth."""

import base64
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr

from wad.config import Config, ConfigError, ensure_secrets, find, load
from wad.config.first_start import DATABASE_FILE
from wad.config.model import Secrets
from wad.config.values import duration, is_loopback, size
from wad.store.open import FILE

ROOT = Path(__file__).parent.parent
KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(32)).decode()


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "wad.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    """What is wrong with a file, by path."""
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), environ)
    return {problem.path: problem.detail for problem in caught.value.problems}


# --- the reference file ---------------------------------------------------------------------------


def keys(model: type[BaseModel]) -> dict[str, Any]:
    """Every key of a section, with the keys below it."""
    return {
        name: keys(field.annotation)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        else None
        for name, field in model.model_fields.items()
    }


def shape(tree: Any, like: dict[str, Any]) -> dict[str, Any]:
    return {
        key: shape(value, like[key]) if isinstance(value, dict) and like.get(key) else None
        for key, value in tree.items()
    }


def test_the_reference_file_names_every_key_and_no_other():
    """Whoever reads config/wad.yaml has seen all that can be set."""
    tree = yaml.safe_load((ROOT / "config" / "wad.yaml").read_text())
    assert shape(tree, keys(Config)) == keys(Config)


def test_the_reference_file_holds_the_defaults():
    """Running with the reference file is running with none."""
    assert load(ROOT / "config" / "wad.yaml", {}) == Config()


def test_the_reference_file_says_something_about_each_section():
    """It is the documentation of the keys: a section without a comment above or beside its keys explains nothing."""
    text = (ROOT / "config" / "wad.yaml").read_text()
    for section in Config.model_fields:
        block = text.partition(f"\n{section}:\n")
        above = block[0].rsplit("\n\n", 1)[-1]
        below = block[2].partition("\n\n")[0]
        assert "#" in above + below, section


# --- where it comes from --------------------------------------------------------------------------


def test_the_file_named_comes_before_the_environments_and_the_systems(tmp_path, monkeypatch):
    """--config, else $WAD_CONFIG, else the system's file if it exists, else the defaults."""
    system = tmp_path / "system.yaml"
    monkeypatch.setattr("wad.config.source.SYSTEM_FILE", system)
    assert find(None, {}) is None
    system.write_text("")
    assert find(None, {}) == system
    assert find(None, {"WAD_CONFIG": "/named.yaml"}) == Path("/named.yaml")
    assert find(Path("/given.yaml"), {"WAD_CONFIG": "/named.yaml"}) == Path("/given.yaml")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        pytest.param("http: [unclosed", "is not YAML: line 1", id="not YAML"),
        pytest.param("- a\n- b\n", "should hold sections", id="a list"),
        pytest.param("just words", "should hold sections", id="a text"),
        pytest.param("1: {}", "should hold sections", id="a number as a section"),
        pytest.param("http: {bind: 2026-13-45}", "date that does not exist", id="an impossible date"),
        pytest.param("http: !!python/object:os.system {}", "is not YAML", id="a Python object"),
        pytest.param("http: \x07", "is not YAML: it holds characters", id="a control character"),
    ],
)
def test_a_file_that_holds_no_configuration_is_reported_by_its_name(tmp_path, text, detail):
    """Nothing of the file itself is repeated: the line at fault may hold a secret."""
    found = problems(tmp_path, text)
    assert detail in found[str(tmp_path / "wad.yaml")]


def test_a_file_that_cannot_be_read_is_reported_by_its_name(tmp_path):
    """A missing file is a problem, and not the defaults."""
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path, {})
    (tmp_path / "latin.yaml").write_bytes(b"node: {id: caf\xe9}")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "latin.yaml", {})


def test_a_key_written_twice_is_reported(tmp_path):
    """PyYAML takes the last one in silence, and the first half of a file would be lost."""
    found = problems(tmp_path, "log: {level: info}\nhttp: {}\nlog: {}\n")
    assert found == {"log": "is written twice, the second time on line 3"}


def test_an_empty_file_and_an_empty_section_are_the_defaults(tmp_path):
    """A section whose keys are all commented out reads as null."""
    assert load(written(tmp_path, ""), {}) == Config()
    assert load(written(tmp_path, "http:\nsupervisor:\n  backoff:\n"), {}) == Config()


# --- the environment ------------------------------------------------------------------------------


def test_the_environment_comes_before_the_file(tmp_path):
    """WAD_SECTION__KEY overrides one key and leaves its neighbours; lists and nulls are YAML, the rest is text."""
    path = written(tmp_path, "http: {max_body: 1MiB, backlog: 7}\nflow: {url: 'https://a.example/'}\n")
    config = load(
        path,
        {
            "WAD_HTTP__MAX_BODY": "8MiB",
            "WAD_HTTP__BIND": '["127.0.0.1:1", "[::1]:2"]',
            "WAD_FLOW__URL": "",
            "WAD_PROVIDERS__CLOUD_API__VERSION": "v27.0",
            "WAD_PROVIDERS__CLOUD_API__VERIFY_TOKEN": "0123 # not a comment",
            "WAD_SUPERVISOR__BACKOFF__MAX": "90",
            "WAD_AUTH__TOKENS": '[{name: a, token: "env:A", scope: admin}]',
            "A": "value-of-a\n",
            "UNRELATED": "x",
            "WAD_TOKEN": "the client's",
        },
    )
    assert config.http.max_body == 8 * 2**20
    assert config.http.backlog == 7
    assert config.http.bind == ("127.0.0.1:1", "[::1]:2")
    assert config.flow.url is None
    assert config.providers.cloud_api.version == "v27.0"
    verify_token = config.providers.cloud_api.verify_token
    assert verify_token is not None
    assert verify_token.get_secret_value() == "0123 # not a comment"
    assert config.supervisor.backoff.max == 90
    assert config.supervisor.backoff.initial == 1
    assert config.auth.tokens[0].token.get_secret_value() == "value-of-a"


@pytest.mark.parametrize(
    ("name", "value", "path", "detail"),
    [
        pytest.param("WAD_STROE__URL", "x", "stroe", "did you mean store?", id="a section's typo"),
        pytest.param("WAD_STORE__ULR", "x", "store.ulr", "did you mean url?", id="a key's typo"),
        pytest.param(
            "WAD_STORE_URL", "x", "WAD_STORE_URL", "did you mean WAD_STORE__URL?", id="one underscore"
        ),
        pytest.param("WAD_LOG__LEVEL", "loud", "log.level", "(set by WAD_LOG__LEVEL)", id="a bad value"),
        pytest.param("WAD_HTTP__BIND", "[a", "WAD_HTTP__BIND", "no such shape", id="a broken list"),
        pytest.param("WAD_HTTP__BIND__X", "1", "WAD_HTTP__BIND__X", "no such shape", id="below a list"),
    ],
)
def test_a_bad_override_is_reported_with_its_variable(tmp_path, name, value, path, detail):
    """A value set by the environment is mended there, so the problem names the variable."""
    found = problems(tmp_path, 'http: {bind: ["127.0.0.1:1"]}', **{name: value})
    assert detail in found[path]
    assert name in f"{path} {found[path]}"


# --- everything at once ---------------------------------------------------------------------------


def test_everything_wrong_is_reported_at_once(tmp_path):
    """Unknown keys, wrong types, values out of range and impossible combinations, each with its path."""
    found = problems(
        tmp_path,
        """
        http: {bnd: [x], bind: ["0.0.0.0"], max_body: lots, max_wait: 40s}
        stroe: {}
        store: {url: "mongodb://u:secretpw@h/"}
        auth:
          tokens:
            - {name: a, scope: shop}
            - {name: b, token: "x y", scope: boss}
            - {name: c, token: cc, scope: admin}
            - {name: c, token: cc, scope: admin, shops: [s]}
            - {name: d, token: cc, scope: admin}
            - {name: c, token: dd, scope: admin}
            - 5
        secrets: {old_master_keys: ["abcd", "env:NOPE", "file:/nope"]}
        flow: {url: "ftp://x", rules: /nope, events: [message.status, foo]}
        providers: {cloud_api: {version: 26, verify_token: 12}, telegram: {}}
        guard: {allow: ["10.0.0.1/8", 5]}
        limits: {queue_per_session: yes, retry: 5}
        supervisor: {backoff: {initial: 10m}, intensity: 1.5}
        retention: {messages: 1d}
        log: {level: loud}
        """,
    )
    assert sorted(found) == sorted(
        [
            "http.bnd",
            "http.bind[0]",
            "http.max_body",
            "http.max_wait",
            "stroe",
            "auth.tokens[0].token",
            "auth.tokens[0].shops",
            "auth.tokens[1].token",
            "auth.tokens[1].scope",
            "auth.tokens[3].shops",
            "auth.tokens[6]",
            "auth.tokens",  # the two named c, and the two with one value
            "secrets.master_key",  # a mongodb store has to be given one
            "secrets.old_master_keys[0]",
            "secrets.old_master_keys[1]",
            "secrets.old_master_keys[2]",
            "flow.url",
            "flow.rules",
            "flow.events[1]",
            "providers.cloud_api.version",
            "providers.cloud_api.verify_token",
            "providers.telegram",
            "guard.allow[0]",
            "guard.allow[1]",
            "limits.queue_per_session",
            "limits.retry",
            "supervisor.backoff.max",
            "supervisor.intensity",
            "retention.messages",
            "log.level",
        ]
    )
    assert found["log.level"] == "should be debug, info, warning or error"
    assert found["auth.tokens[1].scope"] == "should be admin or shop"
    assert "secretpw" not in str(found)


@pytest.mark.parametrize(
    ("text", "path", "detail"),
    [
        pytest.param(
            "store: {url: 'mongodb://h/'}\nauth: {tokens: [{name: a, token: t, scope: admin}]}",
            "secrets.master_key",
            "is required with a mongodb store",
            id="mongodb without a master key",
        ),
        pytest.param(
            f"store: {{url: 'mongodb://h/'}}\nsecrets: {{master_key: {KEY}}}",
            "auth.tokens",
            "at least one is required with a mongodb store",
            id="mongodb without a token",
        ),
        pytest.param(
            "http: {bind: ['127.0.0.1:80', '0.0.0.0:80']}",
            "auth.tokens",
            "where others can reach wad (http.bind: 0.0.0.0:80)",
            id="reachable without a token",
        ),
        pytest.param(
            "auth: {tokens: [{name: a, token: t, scope: shop}]}",
            "auth.tokens[0].shops",
            "is required with scope: shop",
            id="a shop's token without a shop",
        ),
        pytest.param(
            "auth: {tokens: [{name: a, token: t, scope: admin, shops: [x]}]}",
            "auth.tokens[0].shops",
            "does not go with scope: admin",
            id="an admin's token with a shop",
        ),
        pytest.param(
            "auth: {tokens: [{name: a, token: t, scope: admin}, {name: a, token: u, scope: admin}]}",
            "auth.tokens",
            "2 tokens are named a",
            id="two tokens of one name",
        ),
        pytest.param(
            "auth: {tokens: [{name: a, token: t, scope: admin}, {name: b, token: t, scope: admin}]}",
            "auth.tokens",
            "a and b are the same token",
            id="two tokens of one value",
        ),
        pytest.param("http: {bind: []}", "http.bind", "should not be empty", id="nowhere to listen"),
        pytest.param(
            "http: {bind: ['127.0.0.1:80', '127.0.0.1:80']}",
            "http.bind",
            "twice",
            id="the same address twice",
        ),
        pytest.param(
            f"secrets: {{master_key: {KEY}, old_master_keys: [{KEY}]}}",
            "secrets.old_master_keys",
            "the master key itself",
            id="an old key that is the new one",
        ),
        pytest.param(
            "http: {response_timeout: 10s}",
            "http.max_wait",
            "shorter than response_timeout",
            id="a wait too long",
        ),
        pytest.param(
            "supervisor: {cooldown: {initial: 2h}}",
            "supervisor.cooldown.max",
            "should not be shorter than initial",
            id="a cooldown that shrinks",
        ),
        pytest.param(
            "secrets: {master_key: c2hvcnQ=}", "secrets.master_key", "32 bytes", id="a short master key"
        ),
        pytest.param(
            "secrets: {master_key: '*'}", "secrets.master_key", "32 bytes", id="a key not in base64"
        ),
    ],
)
def test_a_combination_that_cannot_be_meant_is_reported_alone(tmp_path, text, path, detail):
    """One cause, one problem."""
    found = problems(tmp_path, text)
    assert list(found) == [path]
    assert detail in found[path]


def test_what_follows_from_a_reported_problem_is_not_reported_again(tmp_path):
    """A bad master key is not also a missing one, and a bad token list not an empty one."""
    text = """
        store: {url: "mongodb://h/"}
        secrets: {master_key: short}
        auth: {tokens: [{name: a, token: t, scope: boss}]}
    """
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), {})
    assert sorted(each.path for each in caught.value.problems) == [
        "auth.tokens[0].scope",
        "secrets.master_key",
    ]


def test_what_is_wrong_with_one_token_hides_nothing_of_the_others(tmp_path):
    """The bad one is taken out whole, and once: the two that share a name still stand beside each other."""
    found = problems(
        tmp_path,
        """
        auth:
          tokens:
            - {name: a, scope: shop}
            - {name: b, token: t, scope: admin}
            - {name: b, token: u, scope: admin}
        """,
    )
    assert sorted(found) == ["auth.tokens", "auth.tokens[0].shops", "auth.tokens[0].token"]
    assert found["auth.tokens"].startswith("2 tokens are named b")


def test_the_error_reads_as_one_line_for_each_problem(tmp_path):
    """What `wad check` prints."""
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, "log: {level: x, form: y}"), {})
    assert str(caught.value).splitlines() == [
        "log.level: should be debug, info, warning or error",
        "log.form: unknown key; did you mean format? known here: level, format",
    ]


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["url", "bind", "tokens", "name", "token", "retry", "max", "shops", "weights", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*Config.model_fields, "other"]), json, max_size=4))
def test_no_tree_whatever_makes_loading_fail_in_another_way(tree):
    """Either a Config, or a ConfigError with problems: never a traceback."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(yaml.safe_dump(tree))
        file.flush()
        try:
            found = load(Path(file.name), {})
        except ConfigError as error:
            found = error.problems
    assert found


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10s", 10),
        ("250ms", 0.25),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("30d", 2592000),
        (7, 7),
        ("7", 7),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_has_units(written, seconds):
    """Numbers without a unit are seconds."""
    assert duration(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "ten", "10x", "s", "1h 5", True, None, [], float("inf"), "nan", "-5s"]
)
def test_what_is_no_duration_is_refused(written):
    """In silence nothing becomes 0 or for ever."""
    with pytest.raises(ValueError, match="should be a duration"):
        duration(written)


@pytest.mark.parametrize("key", ["http.grace", "flow.timeout", "limits.settle_window"])
def test_a_duration_of_nothing_is_refused(tmp_path, key):
    """No call without a timeout, and no timeout of zero."""
    section, _, name = key.partition(".")
    for value in ("0s", "-1"):
        assert problems(tmp_path, f"{section}: {{{name}: {value}}}").keys() >= {key}


@pytest.mark.parametrize(
    ("written", "count"),
    [("4MiB", 4 * 2**20), ("256KiB", 2**18), ("10MB", 10**7), ("1gib", 2**30), (512, 512), ("1.5k", None)],
)
def test_a_size_is_a_number_of_bytes_or_has_a_unit(written, count):
    """KiB is 1024 and KB is 1000, and K alone says neither."""
    if count is None:
        with pytest.raises(ValueError, match="should be a size"):
            size(written)
    else:
        assert size(written) == count


@pytest.mark.parametrize(
    ("bind", "alone"),
    [
        ("127.0.0.1:80", True),
        ("127.8.8.8:80", True),
        ("[::1]:80", True),
        ("localhost:80", True),
        ("unix:/run/wad.sock", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("192.168.1.1:80", False),
        ("example.com:80", False),
    ],
)
def test_who_can_reach_an_address_is_told_by_the_address(bind, alone):
    """A name that is not localhost may point anywhere."""
    assert is_loopback(bind) is alone


@pytest.mark.parametrize(
    "bind", ["8080", ":8080", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "::1:80", "unix:"]
)
def test_an_address_without_a_host_or_a_port_is_refused(tmp_path, bind):
    """An empty host would mean every interface, and nobody wrote that."""
    assert "HOST:PORT" in problems(tmp_path, f"http: {{bind: ['{bind}']}}")["http.bind[0]"]


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("graph.facebook.com", "starts with http:// or https://"),
        ("https://", "starts with http:// or https://"),
        ("https://h:0/", "starts with http:// or https://"),
        ("https://h:99999/", "starts with http:// or https://"),
        ("https://u:p@h/", "should not carry a user name or a password"),
        ("https://h/?a=b", "should not have a query"),
        ("https://h/#x", "should not have a fragment"),
    ],
)
def test_a_base_url_that_paths_cannot_be_appended_to_is_refused(tmp_path, url, detail):
    """Nor may it carry a secret: base URLs are shown."""
    found = problems(tmp_path, f"providers: {{twilio: {{base_url: '{url}'}}}}")
    assert detail in found["providers.twilio.base_url"]


@pytest.mark.parametrize(
    ("section", "bad"),
    [
        ("{region: ie1, edge: dublin}", set()),
        ("{base_url: 'https://api.twilio.com', region: au1}", set()),
        ("{region: 'ie1.evil.example/'}", {"region"}),
        ("{base_url: 'http://127.0.0.1:8081', region: ie1, edge: dublin}", {"region", "edge"}),
    ],
)
def test_a_region_goes_with_twilios_own_host(tmp_path, section, bad):
    """Another host is named in full; and neither word may hold anything but a part of a host's name."""
    text = f"providers: {{twilio: {section}}}"
    if not bad:
        assert load(written(tmp_path, text), {}).providers.twilio.region
        return
    assert problems(tmp_path, text).keys() == {f"providers.twilio.{name}" for name in bad}


def test_a_base_url_loses_the_slash_at_its_end(tmp_path):
    """So that one slash stands between it and a path."""
    config = load(written(tmp_path, "http: {public_url: 'https://wa.example.com/'}"), {})
    assert config.http.public_url == "https://wa.example.com"


def test_networks_are_read_as_networks(tmp_path):
    """An address alone is the network that holds it alone."""
    config = load(written(tmp_path, "guard: {allow: ['127.0.0.0/8', '::1']}"), {})
    assert [str(network) for network in config.guard.allow] == ["127.0.0.0/8", "::1/128"]


# --- secrets --------------------------------------------------------------------------------------


def test_a_secret_comes_from_a_file_or_the_environment_or_stands_there(tmp_path):
    """One newline of an editor does not count; a credential of systemd is found by its directory."""
    (tmp_path / "secret").write_text("from-file\n")
    (tmp_path / "kek").write_text(KEY + "\n")
    config = load(
        written(
            tmp_path,
            f"""
            secrets: {{master_key: "file:$CREDENTIALS_DIRECTORY/kek", old_master_keys: ["{OTHER_KEY}"]}}
            flow: {{secret: "env:FLOW"}}
            providers:
              cloud_api: {{app_secret: "file:{tmp_path}/secret", verify_token: plain}}
              meta_business: {{app_secret: "file:${{CREDENTIALS_DIRECTORY}}/secret"}}
            """,
        ),
        {"CREDENTIALS_DIRECTORY": str(tmp_path), "FLOW": "whsec_abc"},
    )
    assert config.secrets.master_key == SecretBytes(bytes(range(32)))
    assert config.secrets.old_master_keys == (SecretBytes(bytes(32)),)
    assert config.flow.secret == SecretStr("whsec_abc")
    assert config.providers.cloud_api.app_secret == SecretStr("from-file")
    assert config.providers.cloud_api.verify_token == SecretStr("plain")
    assert config.providers.meta_business.app_secret == SecretStr("from-file")


@pytest.mark.parametrize(
    ("secret", "detail"),
    [
        ("env:NOPE", "the environment variable NOPE is not set"),
        ("file:/no/such", "cannot read /no/such: No such file or directory"),
        ("file:$CREDENTIALS_DIRECTORY/kek", "$CREDENTIALS_DIRECTORY is not set"),
        ("file:{tmp}/empty", "is empty"),
        ("file:{tmp}/binary", "should hold text"),
        ("", "should not be empty"),
    ],
)
def test_a_secret_that_is_not_there_is_reported_by_where_it_should_be(tmp_path, secret, detail):
    """The reference is shown: it is no secret."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    found = problems(tmp_path, f"flow: {{secret: '{secret.format(tmp=tmp_path)}'}}")
    assert detail in found["flow.secret"]


def test_a_token_that_cannot_travel_in_a_header_is_refused(tmp_path):
    """A space or an accent would never match what a client can send."""
    for token in ("a b", "clavé"):
        found = problems(tmp_path, f"auth: {{tokens: [{{name: a, token: '{token}', scope: admin}}]}}")
        assert "visible ASCII" in found["auth.tokens[0].token"]
        assert token not in str(found)


@pytest.fixture
def full_of_secrets(tmp_path) -> Config:
    return load(
        written(
            tmp_path,
            f"""
            store: {{url: "mongodb://user:canary-mongo@h1,h2/db?replicaSet=rs"}}
            secrets: {{master_key: {KEY}}}
            auth: {{tokens: [{{name: a, token: canary-token, scope: admin}}]}}
            flow: {{secret: canary-flow}}
            providers: {{cloud_api: {{app_secret: canary-app, verify_token: canary-verify}}}}
            """,
        ),
        {},
    )


def test_no_way_of_printing_a_configuration_shows_a_secret(full_of_secrets):
    """repr, str, and both dumps; the master key neither as bytes nor in base64."""
    shown = [
        repr(full_of_secrets),
        str(full_of_secrets),
        repr(full_of_secrets.model_dump()),
        full_of_secrets.model_dump_json(),
        full_of_secrets.store.shown_url,
        repr(list(full_of_secrets)),
    ]
    for text in shown:
        assert "canary" not in text
        assert KEY not in text
        assert repr(bytes(range(32)))[2:-1] not in text
    assert full_of_secrets.store.shown_url == "mongodb://h1,h2/db"


def test_the_log_is_told_every_secret(full_of_secrets):
    """So that it can hide them where nothing gives them away."""
    assert set(full_of_secrets.secret_values()) >= {
        "canary-mongo", "canary-token", "canary-flow", "canary-app", "canary-verify", KEY,
    }  # fmt: skip
    assert Config().secret_values() == []


def test_no_section_can_be_changed(full_of_secrets):
    """Who holds a configuration holds it for good."""
    with pytest.raises(ValueError, match="frozen"):
        full_of_secrets.http.max_body = 1


# --- the first start ------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_key_and_a_token_that_later_starts_find(tmp_path):
    """Readable by their owner alone, and the same ever after."""
    config = load(written(tmp_path, f"store: {{data_dir: {tmp_path}/var}}"), {})
    first, made = ensure_secrets(config)
    assert made == [tmp_path / "var" / "master-key", tmp_path / "var" / "admin-token"]
    assert mode(tmp_path / "var") == 0o700
    assert [mode(path) for path in made] == [0o600, 0o600]
    assert sorted(path.name for path in (tmp_path / "var").iterdir()) == ["admin-token", "master-key"]

    assert first.secrets.master_key is not None
    assert len(first.secrets.master_key.get_secret_value()) == 32
    assert [(token.name, token.scope) for token in first.auth.tokens] == [("admin", "admin")]
    assert first.auth.tokens[0].token.get_secret_value() == made[1].read_text().strip()
    assert config.secrets.master_key is None

    again, made_again = ensure_secrets(config)
    assert made_again == []
    assert again == first


def test_what_is_configured_is_not_made(tmp_path):
    """A key or a token of the configuration's own leaves nothing on disk."""
    config = load(
        written(
            tmp_path,
            f"""
            store: {{data_dir: {tmp_path}/var}}
            secrets: {{master_key: {KEY}}}
            auth: {{tokens: [{{name: a, token: t, scope: admin}}]}}
            """,
        ),
        {},
    )
    assert ensure_secrets(config) == (config, [])
    assert not (tmp_path / "var").exists()


def test_mongodb_gets_nothing_made(full_of_secrets):
    """Several processes share it: a key of one process's own would lock the others out."""
    assert ensure_secrets(full_of_secrets) == (full_of_secrets, [])


def test_the_memory_store_keeps_its_key_in_memory(tmp_path):
    """It forgets everything, so a key on disk would outlive what it seals; the token has to be told, though."""
    config = load(written(tmp_path, f"store: {{url: memory, data_dir: {tmp_path}/var}}"), {})
    _, made = ensure_secrets(config)
    assert [path.name for path in made] == ["admin-token"]


@pytest.mark.parametrize("content", ["", "not base64!", "c2hvcnQ="])
def test_a_key_file_that_was_damaged_is_reported_and_never_replaced(tmp_path, content):
    """A new key in its place would make everything unreadable for good."""
    (tmp_path / "master-key").write_text(content)
    config = load(written(tmp_path, f"store: {{data_dir: {tmp_path}}}"), {})
    with pytest.raises(ConfigError, match="master-key"):
        ensure_secrets(config)
    assert (tmp_path / "master-key").read_text() == content


def test_a_key_that_is_gone_is_not_replaced_while_there_is_a_database(tmp_path):
    """It would not open what the lost one has sealed."""
    assert DATABASE_FILE == FILE
    (tmp_path / DATABASE_FILE).write_text("")
    config = load(written(tmp_path, f"store: {{data_dir: {tmp_path}}}"), {})
    with pytest.raises(ConfigError, match=r"secrets\.master_key: .*wad\.db is there, but the key .* is gone"):
        ensure_secrets(config)
    assert not (tmp_path / "master-key").exists()
    with_its_key = config.model_copy(update={"secrets": Secrets(master_key=SecretBytes(bytes(32)))})
    ensure_secrets(with_its_key)


def test_a_data_directory_that_cannot_be_made_is_reported(tmp_path):
    """By its key, with the system's reason."""
    (tmp_path / "file").write_text("")
    config = load(written(tmp_path, f"store: {{data_dir: {tmp_path}/file/var}}"), {})
    with pytest.raises(ConfigError, match=r"store\.data_dir: .*Not a directory"):
        ensure_secrets(config)
