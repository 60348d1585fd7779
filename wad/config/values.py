"""The kinds of values a configuration is written in: durations, sizes, secrets, addresses, networks.

Each is an annotated type whose validator turns what a person wrote into what the program uses, or says what
is allowed there. No message ever repeats a secret.
"""

from __future__ import annotations

import base64
import ipaddress
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    IPvAnyNetwork,
    SecretBytes,
    SecretStr,
    ValidationInfo,
)

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES: Final = {
    "": 1,
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?i?b?)")


def duration(value: Any) -> float:
    """Seconds: a number, or numbers with units (`10s`, `1h30m`, `250ms`, `30d`)."""
    number = _number(value)
    if number is not None:
        return number
    text = value.strip().lower() if isinstance(value, str) else ""
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(
            f"should be a duration such as 10s, 5m, 1h or 30d, or a number of seconds; not {value!r}"
        )
    return float(sum(float(amount) * _SECONDS[unit] for amount, unit in parts))


def size(value: Any) -> int:
    """Bytes: a whole number, or one with a unit (`4MiB`, `256KiB`, `10MB`)."""
    number = _number(value)
    if number is not None and number == int(number):
        return int(number)
    match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"should be a size such as 4MiB or 256KiB, or a number of bytes; not {value!r}")
    return int(float(match[1]) * _BYTES[match[2]])


def _number(value: Any) -> float | None:
    """*value* as a number, also where an environment variable made it text. `true` is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _not_a_bool(value: Any) -> Any:
    """YAML's `yes` and `on` are true, and pydantic would read them as 1."""
    if isinstance(value, bool):
        raise ValueError("should be a number")  # noqa: TRY004  pydantic reports ValueErrors only
    return value


def at_least(shortest: str) -> AfterValidator:
    def check(value: float) -> float:
        if value < duration(shortest):
            raise ValueError(f"should be at least {shortest}")
        return value

    return AfterValidator(check)


Count = Annotated[int, BeforeValidator(_not_a_bool)]
Rate = Annotated[float, BeforeValidator(_not_a_bool), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_not_a_bool), Field(ge=0, allow_inf_nan=False)]
Duration = Annotated[float, BeforeValidator(duration), Field(gt=0)]
Size = Annotated[int, BeforeValidator(size), Field(gt=0)]


# --- secrets --------------------------------------------------------------------------------------


def _referred(value: Any, info: ValidationInfo) -> Any:
    """The value behind `file:PATH` or `env:NAME`; any other text is the value itself.

    A trailing newline goes: editors and `echo` leave one. `$CREDENTIALS_DIRECTORY` in a path is the directory
    in which systemd puts what LoadCredential= names.
    """
    if not isinstance(value, str):
        return value
    environ: Mapping[str, str] = (info.context or {}).get("environ", {})
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        if not environ.get(name):
            raise ValueError(f"the environment variable {name} is not set")
        return environ[name].rstrip("\r\n")
    if value.startswith("file:"):
        return _content(value.removeprefix("file:"), environ)
    return value


def _content(written: str, environ: Mapping[str, str]) -> str:
    if "CREDENTIALS_DIRECTORY" in written and not environ.get("CREDENTIALS_DIRECTORY"):
        raise ValueError(
            f"{written}: $CREDENTIALS_DIRECTORY is not set (systemd sets it for LoadCredential=)"
        )
    path = re.sub(
        r"\$(?:\{CREDENTIALS_DIRECTORY\}|CREDENTIALS_DIRECTORY\b)",
        lambda _: environ["CREDENTIALS_DIRECTORY"],
        written,
    )
    try:
        content = Path(path).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} should hold text") from None
    if not content:
        raise ValueError(f"{path} is empty")
    return content


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise ValueError("should not be empty")
    return value


def _visible_ascii(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("should be visible ASCII without spaces, as it travels in a header")
    return value


def decoded_key(text: str) -> bytes:
    """The 32 bytes of a key in base64, of either alphabet."""
    try:
        key = base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")), validate=True)
    except ValueError:  # not the alphabet, not the padding, not ASCII
        key = b""
    if len(key) != 32:
        raise ValueError("should be 32 bytes in base64, such as `openssl rand -base64 32` prints")
    return key


def _master_key(value: Any, info: ValidationInfo) -> Any:
    text = _referred(value, info)
    return decoded_key(text) if isinstance(text, str) else text


#: Text that `repr`, `str` and `model_dump` never show; read it with `.get_secret_value()`.
Secret = Annotated[SecretStr, BeforeValidator(_referred), AfterValidator(_not_empty)]
Token = Annotated[Secret, AfterValidator(_visible_ascii)]
#: The 32 bytes themselves, decoded.
MasterKey = Annotated[SecretBytes, BeforeValidator(_master_key)]


# --- the network ----------------------------------------------------------------------------------


def _url(value: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_fine = urlsplit(""), False
    if parts.scheme not in schemes or not parts.hostname or not port_is_fine:
        raise ValueError(
            f"should be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError("should not carry a user name or a password")
    if parts.fragment:
        raise ValueError("should not have a fragment")
    return value


def _http_url(value: str) -> str:
    return _url(value, ("http", "https"))


def _base_url(value: str) -> str:
    """Paths are appended to it, so it has no query and no slash at its end."""
    if "?" in value:
        raise ValueError("should not have a query: paths are appended to it")
    return _http_url(value).rstrip("/")


def _web_socket_url(value: str) -> str:
    return _url(value, ("ws", "wss"))


def _bind(value: str) -> str:
    """An address to listen on, as hypercorn takes it: `host:port`, `[v6]:port` or `unix:PATH`."""
    if value.startswith("unix:") and value != "unix:":
        return value
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ValueError("should be HOST:PORT, [IPv6]:PORT or unix:PATH, such as 127.0.0.1:8080")
    return value


def is_loopback(bind: str) -> bool:
    """Whether only this machine can reach *bind*. A host name other than localhost counts as reachable."""
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _network(value: Any) -> Any:
    if isinstance(value, Network):
        return value
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            "should be an address or a network without host bits, such as 127.0.0.0/8 or ::1"
        ) from None


def _existing_file(value: Path) -> Path:
    if not value.is_file():
        raise ValueError(f"there is no file {value}")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
WebSocketUrl = Annotated[str, AfterValidator(_web_socket_url)]
Bind = Annotated[str, AfterValidator(_bind)]
AllowedNetwork = Annotated[IPvAnyNetwork, BeforeValidator(_network)]
ExistingFile = Annotated[Path, AfterValidator(_existing_file)]
