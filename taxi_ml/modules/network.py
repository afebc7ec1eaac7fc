"""The Keras model: an ensemble of small networks, trained side by side as one.

Members differ by their initial weights and their dropout, see the same batches, and have a loss each, so that
none leans on another; their mean is the fare. One matrix product over all members costs little more than one
network (deep ensembles: Lakshminarayanan, Pritzel and Blundell, 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import keras

MEMBERS = 8
HUBER_USD = 3.0
"""Where the loss turns from squared to absolute: larger errors are outliers, which no feature explains."""
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
    """Build and compile a `keras.Model` from a dict of transformed inputs to the members' fares in USD.

    Its output is [batch, MEMBERS]; `fare` makes one fare of them.
    """
    inputs = _inputs(sizes)
    trip = _trip_block(inputs, sizes)
    fares = _fare_block(trip, scale, hyperparameters.depth)
    network = keras.Model(inputs=inputs, outputs=fares, name="fare")
    network.compile(
        optimizer=keras.optimizers.AdamW(
            hyperparameters.learning_rate,
            weight_decay=WEIGHT_DECAY,
            use_ema=True,
            ema_momentum=AVERAGING,
        ),
        loss=keras.losses.Huber(delta=HUBER_USD),
        metrics=[
            _OfTheFare(keras.metrics.RootMeanSquaredError(name=RMSE)),
            _OfTheFare(keras.metrics.MeanAbsoluteError(name=MAE)),
        ],
    )
    return network


def fare(members: Any) -> Any:  # noqa: ANN401  # tensors of keras
    """Return the mean of the members' fares, [batch, 1]."""
    return keras.ops.mean(members, axis=-1, keepdims=True)


class _OfTheFare(keras.metrics.Metric):  # type: ignore[misc]  # keras has no types
    """A metric of the ensemble's fare instead of its members'."""

    def __init__(self, metric: Any) -> None:  # noqa: ANN401  # as above
        super().__init__(name=metric.name)
        self._metric = metric

    def update_state(self, fares: Any, members: Any, sample_weight: Any = None) -> None:  # noqa: ANN401
        self._metric.update_state(fares, fare(members), sample_weight)

    def result(self) -> Any:  # noqa: ANN401  # as above
        return self._metric.result()

    def reset_state(self) -> None:
        self._metric.reset_state()


class _MembersDense(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """A dense layer for each member: [batch, members, inputs] to [batch, members, units]."""

    def __init__(self, units: int, *, activation: str | None = None, name: str) -> None:
        super().__init__(name=name)
        self._units = units
        self._activation = keras.activations.get(activation)

    def build(self, shape: tuple[int, ...]) -> None:
        _, members, inputs = shape
        # The initial weights of Dense; a Glorot initializer would take the members for a part of the kernel.
        limit = math.sqrt(6 / (inputs + self._units))
        start = keras.initializers.RandomUniform(-limit, limit)
        self._kernel = self.add_weight(shape=(members, inputs, self._units), initializer=start, name="kernel")
        self._bias = self.add_weight(shape=(members, self._units), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # as above
        return self._activation(keras.ops.einsum("bmi,mio->bmo", inputs, self._kernel) + self._bias)


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


def _trip_block(inputs: dict[str, Any], sizes: InputSizes) -> Any:  # noqa: ANN401  # as above
    areas = _embedded(inputs[features.AREA_IDS], sizes.vocabulary, AREA_UNITS, AREA_DROPOUT)
    calendar = _embedded(inputs[features.CALENDAR_IDS], sizes.vocabulary, CALENDAR_UNITS, CALENDAR_DROPOUT)
    dense = keras.layers.Concatenate()(
        [inputs[name] for name in (features.NUMBERS, features.ABSENT, features.CYCLES)]
    )
    joined = keras.layers.Concatenate()([areas, calendar, keras.layers.RepeatVector(MEMBERS)(dense)])
    return _MembersDense(TRIP_UNITS, activation="gelu", name="trip")(joined)


def _embedded(ids: Any, vocabulary: int, units: int, dropout: float) -> Any:  # noqa: ANN401  # as above
    """Embed ids [batch, n] as [batch, MEMBERS, n * units]."""
    # Zeros leave a category that training never saw without a say.
    embedded = keras.layers.Embedding(vocabulary, MEMBERS * units, embeddings_initializer="zeros")(ids)
    count = ids.shape[1]
    by_member = keras.layers.Permute((2, 1, 3))(keras.layers.Reshape((count, MEMBERS, units))(embedded))
    return keras.layers.Dropout(dropout)(keras.layers.Reshape((MEMBERS, count * units))(by_member))


def _fare_block(trip: Any, scale: FareScale, depth: int) -> Any:  # noqa: ANN401  # as above
    hidden = keras.layers.Dropout(HIDDEN_DROPOUT)(trip)
    for layer in range(depth):
        hidden = _MembersDense(TRIP_UNITS, activation="gelu", name=f"hidden_{layer + 1}")(hidden)
        hidden = keras.layers.Dropout(HIDDEN_DROPOUT)(hidden)
    standardised = keras.layers.Flatten()(_MembersDense(1, name="standardised_fare")(hidden))
    return keras.layers.Rescaling(scale.deviation, scale.mean, name="fares_usd")(standardised)
