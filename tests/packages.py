"""Packages that are installed for a test: modules, and the metadata that names their entry points."""

from __future__ import annotations

from pathlib import Path

import pytest


def installed_at(place: Path, name: str, *, entry_points: dict[str, str], modules: dict[str, str]) -> Path:
    """The directory that has it as `pip install` would leave it. It has to go on the path."""
    site = place / name
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = ["[wad.providers]", *(f"{key} = {value}" for key, value in entry_points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    return site


def install(
    monkeypatch: pytest.MonkeyPatch,
    place: Path,
    name: str,
    *,
    entry_points: dict[str, str],
    modules: dict[str, str],
) -> None:
    """Into this process, for as long as the test lasts."""
    monkeypatch.syspath_prepend(str(installed_at(place, name, entry_points=entry_points, modules=modules)))
