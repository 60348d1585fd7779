"""Where a configuration comes from: the file that is read, and what the environment puts over it.

Nothing here knows a key: it yields a plain tree, and the problems met on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from wad.config.problems import Problem

SYSTEM_FILE: Final = Path("/etc/wad/wad.yaml")
_PREFIX: Final = "WAD_"


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one named, else `$WAD_CONFIG`, else the system's if there is one, else none."""
    if path is not None:
        return path
    if named := environ.get("WAD_CONFIG"):
        return Path(named)
    return SYSTEM_FILE if SYSTEM_FILE.exists() else None


class _Loader(yaml.SafeLoader):
    """YAML without a trap: a key written twice is a problem, where PyYAML takes the last one in silence."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[Problem] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    self.repeated.append(
                        Problem(key.value, f"is written twice, the second time on line {line}")
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The tree that the file holds. An empty file is an empty tree."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return {}, [Problem(str(path), f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return {}, [Problem(str(path), "should be text in UTF-8")]
    try:
        loader = _Loader(text)
        tree = loader.get_single_data()
    except yaml.YAMLError as error:
        return {}, [Problem(str(path), f"is not YAML: {_where(error)}")]
    except ValueError:  # PyYAML's own, of a date such as 2026-13-45
        return {}, [Problem(str(path), "holds a date that does not exist; put it in quotes if it is none")]
    if tree is None:
        return {}, []
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        return {}, [Problem(str(path), "should hold sections, such as `http:` with its keys below it")]
    return tree, loader.repeated


def _where(error: yaml.YAMLError) -> str:
    """What PyYAML found, and where, without the line itself: it may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "it holds characters that YAML does not allow"
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def override(
    tree: dict[str, Any], environ: Mapping[str, str], sections: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Put `WAD_SECTION__KEY=value` over *tree*, in place; returns which variable set which path.

    Variables without `__` are somebody else's (WAD_CONFIG, the client's), unless they only lack an underscore.
    """
    came_from: dict[str, str] = {}
    problems: list[Problem] = []
    for name in sorted(environ):
        if not name.startswith(_PREFIX):
            continue
        path = name.removeprefix(_PREFIX).lower().split("__")
        if len(path) == 1:
            section, _, key = path[0].partition("_")
            if key and section in sections:
                meant = f"{_PREFIX}{section}__{key}".upper()
                problems.append(Problem(name, f"has one underscore after its section; did you mean {meant}?"))
            continue
        try:
            _set(tree, path, _value(environ[name]))
        except (TypeError, yaml.YAMLError):
            problems.append(Problem(name, "cannot be set: what it names, or its value, has no such shape"))
        came_from[".".join(path)] = name
    return came_from, problems


def _value(text: str) -> Any:
    """Nothing is null; what starts like a list, a mapping or a quoted text is read as YAML; else the text itself.

    Plain text stays as it is, since a secret may hold what YAML would take for a comment or an alias.
    """
    stripped = text.strip()
    if stripped in ("", "null", "~"):
        return None
    return yaml.safe_load(stripped) if stripped[0] in "[{\"'" else stripped


def _set(tree: dict[str, Any], path: list[str], value: Any) -> None:
    *parents, last = path
    for key in parents:
        if tree.get(key) is None:
            tree[key] = {}
        tree = tree[key]
        if not isinstance(tree, dict):
            raise TypeError(key)
    tree[last] = value
