from __future__ import annotations

import sys
from pathlib import Path

import pytest

from local_vertex.domain.errors import InvalidArgument
from local_vertex.images import NO_IMAGES, ImageRule, ImageTable

OWN = Path("/state/own-images.json")
RULE = ImageRule(image="python:3.*", interpreter=Path(sys.executable))


@pytest.mark.parametrize(
    ("table", "remedy"),
    [
        (NO_IMAGES, r"\(empty\); start the server with a row for it$"),
        (ImageTable(own=OWN), rf"\(empty\); make a virtual environment .* to {OWN} "),
        (ImageTable(rules=(RULE,)), r"\(python:3\.\*\); use one of these$"),
        (ImageTable(rules=(RULE,), own=OWN), rf"; use one of these, or make a virtual .* to {OWN} "),
    ],
    ids=["nothing", "own", "given", "given and own"],
)
def test_a_refusal_offers_only_what_there_is(table: ImageTable, remedy: str) -> None:
    """An unknown image is refused with the table, and what can be done about it."""
    with pytest.raises(
        InvalidArgument, match=rf"^image 'x:1' is not in this machine's image table.*{remedy}"
    ):
        table.rule("x:1")
