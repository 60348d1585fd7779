"""The units: systemd finds nothing to say about them, and there is little that they let wad harm.

`systemd-analyze verify` wants the program of ExecStart to exist, so copies are checked that name one which does.
It reports unknown keys on stderr alone and still exits with 0: an empty stderr is the test.
"""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from wad.config import Config, load

UNITS = Path(__file__).parent.parent / "systemd"
PROGRAM = "/opt/wad/bin/wad"
SERVICES = ["wad.service", "wad@.service"]
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: `apt-get install systemd`"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as systemd would find them, with a program that exists."""
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    (tmp_path / "wad@a.service").write_text((tmp_path / "wad@.service").read_text())
    return tmp_path


def analyze(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True, check=False)


def settings(unit: str, section: str) -> dict[str, list[str]]:
    """A section's keys, each with all its lines."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in (UNITS / unit).read_text().splitlines():
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def seconds(unit: str, key: str) -> float:
    [value] = settings(unit, "Service")[key]
    return float(value)


@needs_systemd
@pytest.mark.parametrize("unit", ["wad.service", "wad.socket", "wad@a.service"])
def test_systemd_has_nothing_to_say_about_a_unit(installed, unit):
    """Neither an error nor a warning."""
    done = analyze("verify", installed / unit)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_a_misspelt_key_would_be_seen(installed):
    """The test above is worth something: systemd exits with 0 all the same."""
    unit = installed / "wad.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchDogSecs="))
    assert "WatchDogSecs" in analyze("verify", unit).stderr


@needs_systemd
@pytest.mark.parametrize("unit", ["wad.service", "wad@a.service"])
def test_the_exposure_is_at_most_one_and_a_half(installed, unit):
    """Of ten: what is left is that it is on the network."""
    done = analyze("security", "--offline=true", "--threshold=15", installed / unit)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_what_stays_open_is_the_network(installed):
    """Anything else that systemd counts against the unit would be news."""
    done = analyze("security", "--offline=true", "--json=short", installed / "wad.service")
    exposed = {each["name"] for each in json.loads(done.stdout) if each["set"] is False}
    assert exposed <= {
        "PrivateNetwork=",
        "RestrictAddressFamilies=~AF_(INET|INET6)",
        "RestrictAddressFamilies=~AF_UNIX",
        "IPAddressDeny=",
        "DeviceAllow=",  # the clock's device, read-only, which ProtectClock= itself allows
        "RootDirectory=/RootImage=",
        "MemoryDenyWriteExecute=",  # the bridge's Node compiles as it goes
    }


@pytest.mark.parametrize("unit", SERVICES)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "64 78"),
        ("KillMode", "mixed"),
        ("WatchdogSec", "30"),
        ("DynamicUser", "yes"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("SystemCallErrorNumber", "EPERM"),
        ("LoadCredential", "master-key:/etc/wad/master-key"),
    ],
)
def test_what_operators_rely_on_stands_in_the_unit(unit, key, value):
    """How it starts and ends, whom it runs as, and where its key comes from."""
    assert settings(unit, "Service")[key] == [value]


@pytest.mark.parametrize("unit", SERVICES)
def test_the_drain_ends_before_systemd_loses_patience(unit):
    """First the requests in hand, then the sends in hand; SIGKILL would come in the middle of one."""
    config = Config()
    assert config.http.grace + config.supervisor.grace < seconds(unit, "TimeoutStopSec")
    assert config.supervisor.grace >= config.providers.cloud_api.timeout


@pytest.mark.parametrize("unit", SERVICES)
def test_the_environment_of_a_unit_is_a_configuration(unit, tmp_path):
    """Its overrides name keys that exist, and the master key is the credential."""
    (tmp_path / "master-key").write_text("A" * 43 + "=")
    specifiers = {"%S": str(tmp_path / "lib"), "%d": str(tmp_path), "%l": "host", "%i": "a"}
    text = " ".join(settings(unit, "Service")["Environment"])
    environ = dict(each.split("=", 1) for each in text.split())
    for name, value in environ.items():
        environ[name] = re.sub("|".join(specifiers), lambda found: specifiers[found[0]], value)
    config = load(None, environ | {"WAD_CONFIG": "/dev/null"})
    assert config.secrets.master_key is not None
    assert config.store.data_dir == tmp_path / "lib" / ("wad" if unit == "wad.service" else "wad/a")
    state = settings(unit, "Service")["StateDirectory"][0].replace("%i", "a")
    assert config.store.data_dir == tmp_path / "lib" / state


def test_the_two_services_differ_only_where_they_name_the_instance():
    """Hardening added to one is added to the other."""

    def lines(unit: str) -> list[str]:
        text = (UNITS / unit).read_text()
        return [line for line in text[text.index("[Unit]") :].splitlines() if not line.startswith("#")]

    one, many = lines("wad.service"), lines("wad@.service")
    assert all("%i" in line for line in set(many) - set(one))
    keys = {line.partition("=")[0] for line in set(one) - set(many)}
    assert keys == {"Description", "ExecStart", "Environment", "WorkingDirectory", "StateDirectory"}


def test_the_socket_is_the_port_of_the_default_configuration():
    """So that switching it on moves nothing."""
    parsed = configparser.ConfigParser(strict=False)
    parsed.read(UNITS / "wad.socket")
    assert (parsed["Socket"]["ListenStream"],) == Config().http.bind
    assert int(parsed["Socket"]["Backlog"]) == Config().http.backlog
