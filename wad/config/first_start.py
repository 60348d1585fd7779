"""What wad makes for itself on its first start, so that a newcomer needs no configuration: its key and its token.

Only for the stores that live in this process. With MongoDB several processes share what is stored, so the
operator makes the key and the tokens, and `load` insists on them.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Final

from pydantic import SecretBytes, SecretStr

from wad.config.model import ApiToken, Auth, Config, Secrets
from wad.config.problems import ConfigError, Problem
from wad.config.values import decoded_key

MASTER_KEY_FILE: Final = "master-key"
DATABASE_FILE: Final = "wad.db"  # the embedded store's
ADMIN_TOKEN_FILE: Final = "admin-token"  # noqa: S105  a file's name


def ensure_secrets(config: Config) -> tuple[Config, list[Path]]:
    """*config* with a master key and a token, and the files made for them just now, readable by the owner alone.

    A key or a token in the configuration comes first, and no file is made or read for it then. The memory
    store forgets everything, so its key needs no file.
    """
    if config.store.kind == "mongodb":
        return config, []
    made: list[Path] = []
    changes: dict[str, Secrets | Auth] = {}
    if config.secrets.master_key is None:
        if config.store.kind == "embedded":
            _refuse_a_second_key(config.store.data_dir)
            key = _kept_key(config.store.data_dir / MASTER_KEY_FILE, made)
        else:
            key = secrets.token_bytes(32)
        changes["secrets"] = config.secrets.model_copy(update={"master_key": SecretBytes(key)})
    if not config.auth.tokens:
        token = _kept(config.store.data_dir / ADMIN_TOKEN_FILE, f"wad_{secrets.token_urlsafe(32)}", made)
        changes["auth"] = Auth(tokens=(ApiToken(name="admin", token=SecretStr(token), scope="admin"),))
    return config.model_copy(update=changes), made


def _refuse_a_second_key(data_dir: Path) -> None:
    """A new key would not open what the lost one has sealed; it would only hide that it is lost."""
    if (data_dir / DATABASE_FILE).exists() and not (data_dir / MASTER_KEY_FILE).exists():
        detail = f"{data_dir / DATABASE_FILE} is there, but the key that sealed it, {data_dir / MASTER_KEY_FILE}, is gone"
        raise ConfigError([Problem("secrets.master_key", f"{detail}: put it back, or name it here")])


def _kept_key(path: Path, made: list[Path]) -> bytes:
    written = _kept(path, base64.b64encode(secrets.token_bytes(32)).decode(), made)
    try:
        return decoded_key(written)
    except ValueError as error:
        raise ConfigError([Problem("store.data_dir", f"{path} {error}")]) from None


def _kept(path: Path, fresh: str, made: list[Path]) -> str:
    """What the file holds; if there is none, *fresh*, once it is on disk."""
    try:
        if not path.exists():
            _write(path, fresh)
            made.append(path)
        kept = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("store.data_dir", f"{path} cannot be made or read: {error}")]) from error
    if not kept:
        raise ConfigError([Problem("store.data_dir", f"{path} is empty")])
    return kept


def _write(path: Path, text: str) -> None:
    """Write and sync a file of mode 0600 that appears whole or not at all, and never over another."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    finally:
        fresh.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
