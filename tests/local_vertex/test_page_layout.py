"""Properties of the layout of pipeline graphs."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from local_vertex.ui.layout import NODE_HEIGHT, NODE_WIDTH, draw


@st.composite
def graphs(sample: st.DrawFn) -> dict[str, list[str]]:
    """Make a graph without cycles: a node needs only nodes before it."""
    count = sample(st.integers(0, 12))
    return {
        str(node): [str(before) for before in range(node) if sample(st.booleans())] for node in range(count)
    }


def implied(needs: dict[str, list[str]], node: str) -> set[str]:
    """Return all nodes that `node` needs, directly or not."""
    return {*needs[node], *(far for before in needs[node] for far in implied(needs, before))}


@given(graphs())
def test_nodes_do_not_overlap_and_lie_inside(needs: dict[str, list[str]]) -> None:
    """Every node has its own place in the picture."""
    picture = draw(needs)
    corners = picture.corners

    assert set(corners) == set(needs)
    assert all(0 <= x <= picture.width - NODE_WIDTH for x, _ in corners.values())
    assert all(0 <= y <= picture.height - NODE_HEIGHT for _, y in corners.values())
    assert all(
        abs(one[0] - other[0]) >= NODE_WIDTH or abs(one[1] - other[1]) >= NODE_HEIGHT
        for one, other in combinations(corners.values(), 2)
    )


@given(graphs())
def test_arrows_lead_down_and_imply_every_need(needs: dict[str, list[str]]) -> None:
    """A node stands below all that it needs, and can be reached from it along arrows."""
    picture = draw(needs)
    drawn: dict[str, list[str]] = {node: [] for node in needs}
    for edge in picture.edges:
        drawn[edge.end].append(edge.start)

    assert all(picture.corners[edge.start][1] < picture.corners[edge.end][1] for edge in picture.edges)
    assert all(implied(drawn, node) == implied(needs, node) for node in needs)


def test_a_shortcut_is_not_drawn() -> None:
    """A dependency that another task implies has no arrow of its own."""
    picture = draw({"gen": [], "transform": ["gen"], "trainer": ["gen", "transform"]})

    assert [(edge.start, edge.end) for edge in picture.edges] == [
        ("gen", "transform"),
        ("transform", "trainer"),
    ]
