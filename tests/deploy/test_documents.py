"""The documents: their links resolve, and the tests that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = sorted(
    file
    for pattern in ("*.md", "docs/**/*.md", ".github/*.md", "local_vertex/*.md", "plugins/*/*.md")
    for file in REPOSITORY.glob(pattern)
)


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link names a file or folder that exists, and a heading of it."""
    prose = re.sub(r"(?s)```.*?```|`[^`\n]*`", "", document.read_text())
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", prose)
    targets = [((document.parent / path if path else document), anchor) for path, anchor in links]

    assert [str(file) for file, _ in targets if not file.exists()] == []
    assert [(str(file), anchor) for file, anchor in targets if anchor and anchor not in anchors(file)] == []


def test_guarantees_name_tests_that_exist() -> None:
    """A row's tests are in the file that it names; `::test` alone is in the file before it."""
    rows = [line for line in (REPOSITORY / "docs/guarantees.md").read_text().splitlines() if line[:2] == "| "]
    missing = []
    for row in rows:
        source = ""
        for file, test in re.findall(r"`([\w/]*test_\w+\.py)?(?:::(test_\w+))?`", row):
            if file:
                folder = REPOSITORY if "/" in file else REPOSITORY / "tests"
                found = list(folder.glob(file if "/" in file else f"*/{file}"))
                source = "".join(each.read_text() for each in found)
                missing += [] if found else [file]
            missing += [test] if test and f"def {test}(" not in source else []

    assert missing == []
