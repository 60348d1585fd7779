from __future__ import annotations

import pytest
import trio

from wad.node.find import Node, NodeMissing, find_node


@pytest.fixture(scope="session")
def node() -> Node:
    """A real Node; without one there is nothing to test here."""
    try:
        return trio.run(find_node)
    except NodeMissing as error:
        pytest.skip(str(error))
