"""Compiles a pipeline of kfp components with the pipeline environment: `python -m … FOLDER WHEEL`."""

import sys
from pathlib import Path

from kfp import compiler, dsl


def with_package(uri: str, table: dsl.Output[dsl.Dataset]) -> str:
    """Write a file with a package that the image lacks, and return the bucket of `uri`."""
    import importlib  # noqa: PLC0415  # a component is the source of its function

    version = importlib.import_module("added").VERSION
    with open(table.path, "w") as file:  # noqa: PTH123  # as above
        file.write(f"{version} {uri}")
    return uri.split("/")[2]


def read(table: dsl.Input[dsl.Dataset]) -> str:
    """Return what the file says."""
    with open(table.path) as file:  # noqa: PTH123  # as above
        return file.read()


def compile_to(folder: Path, wheel: Path) -> None:
    """Write `kfp.json`: one component writes a file with a package of the wheel, another reads it."""
    image = "test/kfp"
    writes = dsl.component(with_package, base_image=image, packages_to_install=[str(wheel)])
    reads = dsl.component(read, base_image=image)

    def pipeline(uri: str) -> None:
        reads(table=writes(uri=uri).outputs["table"])

    compiler.Compiler().compile(dsl.pipeline(pipeline, name="kfp"), str(folder / "kfp.json"))


if __name__ == "__main__":
    compile_to(*map(Path, sys.argv[1:]))
