"""The Keras model: one block embeds the trip, one turns the embedding into a fare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import keras

EMBEDDING_UNITS = 8
TRIP_UNITS = 64
WEIGHT_DECAY = 1e-4

RMSE = "rmse"
MAE = "mae"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSizes:
    """How many of each kind of transformed input a trip has."""

    numbers: int
    absent: int
    cycles: int
    categories: int
    vocabulary: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FareScale:
    """Mean and standard deviation of the training fares in USD; the output layer starts from them."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What the Tuner searches."""

    learning_rate: float = 1e-3
    depth: int = 2


def build_network(sizes: InputSizes, scale: FareScale, hyperparameters: Hyperparameters) -> Any:  # noqa: ANN401  # keras has no types
    """Build and compile a `keras.Model` from a dict of transformed inputs to [batch, 1] fares in USD."""
    inputs = _inputs(sizes)
    trip = _trip_block(inputs, sizes)
    fare = _fare_block(trip, scale, hyperparameters.depth)
    network = keras.Model(inputs=inputs, outputs=fare, name="fare")
    network.compile(
        optimizer=keras.optimizers.AdamW(hyperparameters.learning_rate, weight_decay=WEIGHT_DECAY),
        loss="mean_squared_error",
        metrics=[
            keras.metrics.RootMeanSquaredError(name=RMSE),
            keras.metrics.MeanAbsoluteError(name=MAE),
        ],
    )
    return network


def _inputs(sizes: InputSizes) -> dict[str, Any]:
    widths = {
        features.NUMBERS: sizes.numbers,
        features.ABSENT: sizes.absent,
        features.CYCLES: sizes.cycles,
    }
    inputs = {name: keras.Input((width,), name=name) for name, width in widths.items()}
    inputs[features.CATEGORIES] = keras.Input((sizes.categories,), dtype="int64", name=features.CATEGORIES)
    return inputs


def _trip_block(inputs: dict[str, Any], sizes: InputSizes) -> Any:  # noqa: ANN401
    # Zeros leave a category that training never saw without a say.
    embed = keras.layers.Embedding(sizes.vocabulary, EMBEDDING_UNITS, embeddings_initializer="zeros")
    embedded = keras.layers.Flatten()(embed(inputs[features.CATEGORIES]))
    dense = [inputs[name] for name in (features.NUMBERS, features.ABSENT, features.CYCLES)]
    joined = keras.layers.Concatenate()([embedded, *dense])
    return keras.layers.Dense(TRIP_UNITS, activation="gelu", name="trip")(joined)


def _fare_block(trip: Any, scale: FareScale, depth: int) -> Any:  # noqa: ANN401
    hidden = trip
    for layer in range(depth):
        hidden = keras.layers.Dense(TRIP_UNITS, activation="gelu", name=f"hidden_{layer + 1}")(hidden)
    standardised = keras.layers.Dense(1, name="standardised_fare")(hidden)
    return keras.layers.Rescaling(scale.deviation, scale.mean, name="fare_usd")(standardised)
