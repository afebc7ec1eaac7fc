"""Average hand-made models in the pipeline environment, and print their answers: `… means_of <folder>`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.pipeline.requests import MODULES

# The modules import each other as TFX's wheel has them: top-level.
sys.path.insert(0, str(MODULES))
import means  # type: ignore[import-not-found]  # found from here on

EXAMPLES = tf.TensorSpec([None], tf.string, name="examples")
LEAST_FARE = 2.0


class Vocabulary(tf.Module):  # type: ignore[misc]  # tensorflow has no types
    """A model whose fare is the place of a word in its vocabulary, 100 USD for other words."""

    def __init__(self, words: list[str], folder: Path) -> None:
        super().__init__()
        file = folder / "vocabulary"
        file.write_text("\n".join(words))
        place = tf.lookup.TextFileInitializer(
            str(file),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        # As in models of Transform, tables and files of all of them have the same name.
        self.table = tf.lookup.StaticHashTable(place, 100, name="vocabulary")

    @tf.function(input_signature=[EXAMPLES])  # type: ignore[untyped-decorator]  # as above
    def predict(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer each word."""
        return {"fare": tf.cast(self.table.lookup(examples), tf.float32)[:, None]}

    @tf.function(input_signature=[EXAMPLES])  # type: ignore[untyped-decorator]  # as above
    def transform(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answer the word's id."""
        return {"id": self.table.lookup(examples)}


def save(words: list[str], folder: Path, *, reads: list[str]) -> str:
    """Save a model whose instances have these features, and return its folder."""
    folder.mkdir(parents=True)
    model = Vocabulary(words, folder)
    signatures = {"serving_default": model.predict, "transform_features": model.transform}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    contract = folder / means.CONTRACT_FILE
    contract.parent.mkdir()
    contract.write_text(json.dumps({"features": [{"name": name} for name in reads]}))
    return str(folder)


def answers(folder: Path, signature: str, output: str) -> list[float]:
    """Return what a SavedModel answers to three words."""
    model: Any = tf.saved_model.load(str(folder))
    found = model.signatures[signature](examples=tf.constant(["a", "b", "other"]))[output]
    values: list[float] = found.numpy().reshape(-1).tolist()
    return values


def main(root: Path) -> None:
    """Print the answers of a mean, after its folder was moved, and which models it was made of."""
    mean = root / "mean"
    save(["a", "b"], mean / means.OWN, reads=[])
    earlier = save(["x", "b", "y", "z", "w", "a"], root / "earlier/Format-Serving", reads=["rawDistance"])
    save(["a"], root / "other", reads=["rawDistance", "weather"])
    taken = list(means.networks([str(root / "earlier"), str(root / "other")]))
    means.save_mean(str(mean), taken, least_fare=LEAST_FARE)
    moved = mean.rename(root / "moved")
    found = {
        "taken": [str(Path(each).relative_to(root)) for each in taken],
        "fares": answers(moved, "serving_default", "fare"),
        "ids": answers(moved, "transform_features", "id"),
        "earlier": answers(Path(earlier), "serving_default", "fare"),
    }
    (root / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
