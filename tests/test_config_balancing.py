"""How shops share their work, as people write it: read whole, and every mistake told with its path."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from wad.config import ConfigError, load


def loaded(tmp_path: Path, section: object):
    file = tmp_path / "wad.yaml"
    file.write_text(yaml.safe_dump({"balancing": section}))
    return load(file, {}).balancing


def test_a_shop_has_its_policy_and_the_others_the_default(tmp_path):
    """A name that YAML takes for a number is a name all the same."""
    read = loaded(
        tmp_path,
        {
            "default": {"policy": "weighted", "weights": {"a": 3, 5: 0}},
            "shops": {
                9: {"policy": "priority", "order": ["a", "b"]},
                "shop-8": {"policy": "cheapest", "costs": {"a": 0.02, "b": 0}},
            },
        },
    )
    assert (read.default.policy, read.default.weights) == ("weighted", {"a": 3.0, "5": 0.0})
    assert (read.shops["9"].policy, read.shops["9"].order) == ("priority", ("a", "b"))
    assert (read.shops["shop-8"].policy, read.shops["shop-8"].costs) == ("cheapest", {"a": 0.02, "b": 0.0})


def test_nobody_has_to_say_anything(tmp_path):
    """`sticky`, and every session as good as another."""
    read = loaded(tmp_path, {})
    assert (read.default.policy, read.default.weights, read.shops) == ("sticky", {}, {})


WRONG = [
    (
        "a policy that is none",
        {"policy": "fair"},
        "policy",
        "should be sticky, weighted, priority or cheapest",
    ),
    (
        "no order",
        {"policy": "priority"},
        "order",
        "is required with policy: priority, and names the sessions, the first one first",
    ),
    (
        "no costs",
        {"policy": "cheapest"},
        "costs",
        "is required with policy: cheapest, and says what a message of each session costs",
    ),
    (
        "an order that nobody reads",
        {"policy": "weighted", "order": ["a"]},
        "order",
        "goes with policy: priority alone, and here it is weighted",
    ),
    (
        "costs that nobody reads",
        {"costs": {"a": 1}},
        "costs",
        "goes with policy: cheapest alone, and here it is sticky",
    ),
    ("one session twice", {"policy": "priority", "order": ["a", "b", "a"]}, "order", "names a twice"),
    ("a weight below nothing", {"weights": {"a": -1}}, "weights.a", "should be at least 0"),
    ("a weight that is a word", {"weights": {"a": "much"}}, "weights.a", "should be a number"),
    ("a weight that is yes", {"weights": {"a": True}}, "weights.a", "should be a number"),
    (
        "weights that are a list",
        {"weights": ["a"]},
        "weights",
        "should be a section with names of your own, such as {tienda-1: ...}",
    ),
    (
        "a key that is none",
        {"wieghts": {}},
        "wieghts",
        "unknown key; did you mean weights? known here: policy, weights, order, costs",
    ),
]


@pytest.mark.parametrize(
    ("section", "key", "detail"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_a_mistake_is_told_by_its_path(tmp_path, section, key, detail):
    """For the default and for a shop's own policy, both at once."""
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, {"default": section, "shops": {"shop-9": section}})
    told = [(problem.path, problem.detail) for problem in refused.value.problems]
    assert told == [(f"balancing.default.{key}", detail), (f"balancing.shops.shop-9.{key}", detail)]


def test_a_shop_that_is_no_section_is_told_what_one_holds(tmp_path):
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, {"shops": {"shop-9": "sticky"}})
    assert str(refused.value) == (
        "balancing.shops.shop-9: should be a section with the keys policy, weights, order, costs"
    )
