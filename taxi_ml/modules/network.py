"""The Keras model: one block embeds the trip, one turns the embedding into a fare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import keras

AREA_UNITS = 8
CALENDAR_UNITS = 2
TRIP_UNITS = 64
WEIGHT_DECAY = 1e-4
AREA_DROPOUT = 0.2
CALENDAR_DROPOUT = 0.5
HIDDEN_DROPOUT = 0.1
AVERAGING = 0.98
"""Momentum of the weights' moving average, which is what is evaluated and kept."""

RMSE = "rmse"
MAE = "mae"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSizes:
    """How many of each kind of transformed input a trip has."""

    numbers: int
    absent: int
    cycles: int
    area_ids: int
    calendar_ids: int
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
        optimizer=keras.optimizers.AdamW(
            hyperparameters.learning_rate,
            weight_decay=WEIGHT_DECAY,
            use_ema=True,
            ema_momentum=AVERAGING,
        ),
        loss="mean_squared_error",
        metrics=[
            keras.metrics.RootMeanSquaredError(name=RMSE),
            keras.metrics.MeanAbsoluteError(name=MAE),
        ],
    )
    return network


def _inputs(sizes: InputSizes) -> dict[str, Any]:
    numbers = {
        features.NUMBERS: sizes.numbers,
        features.ABSENT: sizes.absent,
        features.CYCLES: sizes.cycles,
    }
    ids = {features.AREA_IDS: sizes.area_ids, features.CALENDAR_IDS: sizes.calendar_ids}
    return {
        **{name: keras.Input((width,), name=name) for name, width in numbers.items()},
        **{name: keras.Input((width,), dtype="int64", name=name) for name, width in ids.items()},
    }


def _trip_block(inputs: dict[str, Any], sizes: InputSizes) -> Any:  # noqa: ANN401  # keras has no types
    areas = _embedded(inputs[features.AREA_IDS], sizes.vocabulary, AREA_UNITS, AREA_DROPOUT)
    calendar = _embedded(inputs[features.CALENDAR_IDS], sizes.vocabulary, CALENDAR_UNITS, CALENDAR_DROPOUT)
    dense = [inputs[name] for name in (features.NUMBERS, features.ABSENT, features.CYCLES)]
    joined = keras.layers.Concatenate()([areas, calendar, *dense])
    return keras.layers.Dense(TRIP_UNITS, activation="gelu", name="trip")(joined)


def _embedded(ids: Any, vocabulary: int, units: int, dropout: float) -> Any:  # noqa: ANN401  # as above
    # Zeros leave a category that training never saw without a say.
    embed = keras.layers.Embedding(vocabulary, units, embeddings_initializer="zeros")
    return keras.layers.Dropout(dropout)(keras.layers.Flatten()(embed(ids)))


def _fare_block(trip: Any, scale: FareScale, depth: int) -> Any:  # noqa: ANN401  # as above
    hidden = keras.layers.Dropout(HIDDEN_DROPOUT)(trip)
    for layer in range(depth):
        hidden = keras.layers.Dense(TRIP_UNITS, activation="gelu", name=f"hidden_{layer + 1}")(hidden)
        hidden = keras.layers.Dropout(HIDDEN_DROPOUT)(hidden)
    standardised = keras.layers.Dense(1, name="standardised_fare")(hidden)
    return keras.layers.Rescaling(scale.deviation, scale.mean, name="fare_usd")(standardised)
