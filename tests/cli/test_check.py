"""`wad check` and `wad token new`: the configuration, and what goes into it."""

from __future__ import annotations

import stat
from pathlib import Path

import yaml

from tests.cli.conftest import Wad


def written(place: Path, text: str) -> str:
    path = place / "wad.yaml"
    path.write_text(text)
    return str(path)


def test_a_good_configuration_is_shown_in_short(wad: Wad, elsewhere: Path):
    """What `wad serve` would run with, without a secret in it."""
    file = written(
        elsewhere, "http: {bind: ['127.0.0.1:9000']}\nsecrets: {master_key: '%s'}" % ("A" * 43 + "=")
    )
    ran = wad("check", "--config", file)
    assert ran.status == 0
    assert "127.0.0.1:9000" in ran.out
    assert "AAAA" not in ran.out


def test_nothing_is_made(wad: Wad, elsewhere: Path):
    """Checking is not starting: no key, no directory."""
    assert wad("check").status == 0
    assert list(elsewhere.iterdir()) == []


def test_every_problem_is_told_with_its_path_and_78(wad: Wad, elsewhere: Path):
    """EX_CONFIG stops systemd from restarting; a person mends all of it in one go."""
    file = written(elsewhere, "http: {bnd: x}\nlog: {level: loud}\nflow: {timeout: -1}\n")
    ran = wad("check", "--config", file)
    assert ran.status == 78
    assert ["http.bnd" in ran.err, "log.level" in ran.err, "flow.timeout" in ran.err] == [True] * 3
    assert "did you mean bind?" in ran.err


def test_with_json_the_problems_are_data(wad: Wad, elsewhere: Path):
    ran = wad("check", "--json", "--config", written(elsewhere, "log: {level: loud}"))
    assert ran.status == ran.problem["exit"] == 78
    assert [each["path"] for each in ran.problem["problems"]] == ["log.level"]


def test_every_command_that_reads_it_refuses_a_bad_one(wad: Wad, elsewhere: Path):
    """Not only `check`: a daemon that guessed would be worse than none."""
    file = written(elsewhere, "store: {url: postgres}")
    for arguments in (["serve"], ["store", "export", "x"], ["store", "import", "x"]):
        ran = wad(*arguments, "--config", file)
        assert (ran.status, "store.url" in ran.err) == (78, True), arguments


def test_rules_that_cannot_be_used_are_a_problem_of_the_configuration(wad: Wad, elsewhere: Path):
    """The daemon would not start with them, so a check that passed would be a lie."""
    (elsewhere / "rules.yaml").write_text("rules: [{match: {txt: hola}, replies: []}]")
    file = written(elsewhere, "flow: {rules: rules.yaml}")
    for command in ("check", "serve"):
        ran = wad(command, "--config", file)
        assert (ran.status, "/rules/0/match/txt" in ran.err) == (78, True), command


# --- token new --------------------------------------------------------------------------------------


def test_a_new_token_comes_with_the_lines_that_let_it_in(wad: Wad, elsewhere: Path):
    """What is printed can be pasted: the configuration with it is a good one."""
    ran = wad("token", "new", "--name", "shop9", "--shop", "shop-9")
    token, _, stanza = ran.out.partition("\n")
    [entry] = yaml.safe_load(stanza)["auth"]["tokens"]
    assert entry == {"name": "shop9", "token": token, "scope": "shop", "shops": ["shop-9"]}
    assert wad("check", "--config", written(elsewhere, stanza)).status == 0


def test_no_two_tokens_are_the_same(wad: Wad):
    assert len({wad("token", "new", "--json").json["token"] for _ in range(20)}) == 20


def test_a_token_can_go_into_a_file_that_only_its_owner_reads(wad: Wad, elsewhere: Path):
    """Then the screen, and whoever looks at it, does not see it."""
    ran = wad("token", "new", "--out", "ops-token")
    file = elsewhere / "ops-token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in ran.out
    assert f"file:{file}" in ran.out
    assert wad("check", "--config", written(elsewhere, ran.out)).status == 0


def test_a_token_never_goes_over_another_file(wad: Wad, elsewhere: Path):
    (elsewhere / "ops-token").write_text("the old one")
    assert wad("token", "new", "--out", "ops-token").status == 73
    assert (elsewhere / "ops-token").read_text() == "the old one"
