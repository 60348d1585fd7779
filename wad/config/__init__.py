"""The configuration: read once, checked as a whole, then frozen.

`load` reports everything that is wrong at once. To check what belongs together although something else is
wrong, it takes the bad values out and looks at what is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wad.config import source
from wad.config.first_start import ensure_secrets
from wad.config.model import ApiToken, Config, Providers, with_providers
from wad.config.problems import ConfigError, Problem, explained, without
from wad.config.section import HttpProvider, ProviderSection
from wad.config.source import find
from wad.config.values import is_loopback

__all__ = [
    "ApiToken",
    "Config",
    "ConfigError",
    "HttpProvider",
    "Problem",
    "ProviderSection",
    "ensure_secrets",
    "find",
    "load",
]


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    others: Callable[[], Mapping[str, type[ProviderSection] | None]] = dict,
) -> Config:
    """The configuration of *path* (else of the file that `find` names), with the environment put over it.

    *others* are the sections of providers that are not wad's own; asked for only where one is named. Raises
    ConfigError.
    """
    file = find(path, environ)
    tree, problems = source.read(file) if file else ({}, [])
    came_from, misnamed = source.override(tree, environ, Config.model_fields)

    context = {"environ": environ}
    model = with_providers(others()) if _names_others(tree) else Config
    invalid: list[Problem] = []
    config: Config | None = None
    while config is None:
        try:
            config = model.model_validate(tree, context=context)
        except ValidationError as error:
            # What a second round finds is only missing because the first took it out.
            invalid = invalid or explained(error, model)
            tree = without(tree, error)

    def bad(path: str) -> bool:
        return any(each.path.startswith(path) or path.startswith(f"{each.path}.") for each in invalid)

    problems += [
        *misnamed,
        *(_with_origin(each, came_from) for each in [*invalid, *_combinations(config, bad)]),
    ]
    if problems:
        raise ConfigError(problems)
    return config


def _names_others(tree: Mapping[str, Any]) -> bool:
    named = tree.get("providers")
    return isinstance(named, dict) and not named.keys() <= Providers.model_fields.keys()


def _with_origin(problem: Problem, came_from: Mapping[str, str]) -> Problem:
    """A value that an environment variable set is mended there, so name it."""
    for path, name in came_from.items():
        inside = problem.path == path or problem.path.startswith((f"{path}.", f"{path}["))
        if inside or path.startswith(f"{problem.path}."):
            return Problem(problem.path, f"{problem.detail} (set by {name})")
    return problem


def _combinations(config: Config, bad: Callable[[str], bool]) -> Iterator[Problem]:
    """What is well written and yet cannot be meant. A path that is *bad* has been reported, and says nothing here."""
    tokens = config.auth.tokens
    if config.store.kind == "mongodb":
        if config.secrets.master_key is None and not bad("secrets.master_key"):
            yield Problem(
                "secrets.master_key", "is required with a mongodb store; `openssl rand -base64 32` makes one"
            )
        if not tokens and not bad("auth.tokens"):
            yield Problem("auth.tokens", "at least one is required with a mongodb store; see `wad token new`")
    elif not tokens and not bad("auth.tokens"):
        for bind in config.http.bind:
            if not is_loopback(bind):
                yield Problem(
                    "auth.tokens", f"at least one is required where others can reach wad (http.bind: {bind})"
                )
                break

    by_name: defaultdict[str, int] = defaultdict(int)
    by_value: defaultdict[str, list[str]] = defaultdict(list)
    for token in tokens:
        by_name[token.name] += 1
        by_value[token.token.get_secret_value()].append(token.name)
    for name, count in by_name.items():
        if count > 1:
            yield Problem("auth.tokens", f"{count} tokens are named {name}; each needs a name of its own")
    for names in by_value.values():
        if len(names) > 1:
            yield Problem(
                "auth.tokens", f"{' and '.join(names)} are the same token; each needs a value of its own"
            )

    for bind in {
        bind for bind in config.http.bind if config.http.bind.count(bind) > 1 and not bind.endswith(":0")
    }:
        yield Problem("http.bind", f"names {bind} twice")
    key = config.secrets.master_key
    if key is not None and key in config.secrets.old_master_keys:
        yield Problem("secrets.old_master_keys", "names the master key itself")
