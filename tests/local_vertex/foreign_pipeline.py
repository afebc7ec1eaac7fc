"""Compiles a typical kfp pipeline in the pipeline environment: `python -m … FILE`."""

import sys

from kfp import compiler, dsl

IMAGE = "python:3.11"


def total(numbers: list[float]) -> float:
    """Return the sum: a component that kfp writes into the command of its container."""
    return sum(numbers)


def announce(result: float) -> dsl.ContainerSpec:
    """Print the sum: a component that is a command of an image."""
    code = "import sys; print('the sum is', sys.argv[1])"
    return dsl.ContainerSpec(image=IMAGE, command=["python", "-c", code], args=[result])


def compile_to(file: str) -> None:
    """Write a pipeline that adds numbers up, then prints the sum."""
    adds, prints = dsl.component(total, base_image=IMAGE), dsl.container_component(announce)

    def sums(numbers: list[float]) -> None:
        prints(result=adds(numbers=numbers).output)

    compiler.Compiler().compile(dsl.pipeline(sums, name="sums"), file)


if __name__ == "__main__":
    compile_to(sys.argv[1])
