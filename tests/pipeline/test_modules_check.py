from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.pipeline.modules_check import ModuleError, digest, read_modules
from tests.pipeline.requests import MODULES, SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "preprocessing.py": "def preprocessing_fn(inputs):\n    return inputs\n",
    "refit.py": "def run_fn(fn_args): ...\n",
    "trainer.py": "def run_fn(fn_args): ...\n\n\ndef tuner_fn(fn_args): ...\n",
}


def folder_of(tmp_path: Path, **changes: str) -> Path:
    """Write good modules, some of them changed; `trainer` stands for trainer.py."""
    for name, text in {**GOOD, **{f"{stem}.py": text for stem, text in changes.items()}}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_own_modules_are_accepted() -> None:
    """The repository's modules pass, without their `__init__.py`, which no wheel holds."""
    files = read_modules(MODULES, SCHEMA).files

    assert {"features.py", "preprocessing.py", "schema.pbtxt", "trainer.py"} <= files.keys()
    assert "__init__.py" not in files


def test_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    """A syntax error says file and line, before anything is uploaded."""
    folder = folder_of(tmp_path, trainer="def run_fn(fn_args): ...\n\nx = (\n")

    with pytest.raises(ModuleError, match=r"trainer\.py:3: '\(' was never closed"):
        read_modules(folder, SCHEMA)


def test_syntax_error_in_a_sibling_is_named(tmp_path: Path) -> None:
    """Every file goes into the wheel, so every file is checked."""
    with pytest.raises(ModuleError, match=r"sibling\.py:1:"):
        read_modules(folder_of(tmp_path, sibling="def"), SCHEMA)


def test_missing_function_is_named(tmp_path: Path) -> None:
    """The error for a module without a function that TFX calls has the function, file and last line."""
    with pytest.raises(ModuleError, match=r"trainer\.py:1: tuner_fn\(\) is not defined"):
        read_modules(folder_of(tmp_path, trainer="def run_fn(fn_args): ...\n"), SCHEMA)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The error for a folder without a module that TFX needs names it."""
    folder = folder_of(tmp_path)
    (folder / "preprocessing.py").unlink()

    with pytest.raises(ModuleError, match=r"preprocessing\.py:1: no such file"):
        read_modules(folder, SCHEMA)


def test_missing_schema_is_named(tmp_path: Path) -> None:
    """Without a reviewed schema nothing is uploaded, and the command that writes one is named."""
    with pytest.raises(ModuleError, match=r"gone\.pbtxt:1: no such file; `python -m taxi_ml\.schema`"):
        read_modules(folder_of(tmp_path), tmp_path / "gone.pbtxt")


def test_schema_is_part_of_the_address(tmp_path: Path) -> None:
    """Another schema has another digest: it takes effect without a new image, and no cache confuses them."""
    folder, other = folder_of(tmp_path), tmp_path / "other.pbtxt"
    other.write_text('feature { name: "fare" }')

    assert read_modules(folder, other).digest != read_modules(folder, SCHEMA).digest


@given(st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=4))
def test_digest_ignores_order(files: dict[str, bytes]) -> None:
    """The same content has the same address, regardless of the order of reading."""
    assert digest(dict(reversed(files.items()))) == digest(files)


@given(
    st.dictionaries(st.text(max_size=3), st.binary(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.binary(max_size=3), max_size=3),
)
def test_digest_tells_contents_apart(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """Names and contents cannot be shifted into each other."""
    assert (digest(one) == digest(other)) == (one == other)
