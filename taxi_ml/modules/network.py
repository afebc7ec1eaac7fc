"""The Keras model: an ensemble of small networks, trained side by side as one.

Members differ by their initial weights and their dropout, see the same batches, and have a loss each, so that
none relies on another; their mean is the fare. One matrix product over all members costs little more than one
network (deep ensembles: Lakshminarayanan, Pritzel and Blundell, 2017). docs/model.md has the measurements
behind the sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import features  # type: ignore[import-not-found]  # a sibling is a top-level module in the wheel
import keras

MEMBERS = 4
HUBER_USD = 2.0
"""The error at which the loss turns from squared to absolute; no feature explains larger ones."""
AREA_UNITS = 8
CALENDAR_UNITS = 2
HIDDEN_UNITS = 128
AREA_DROPOUT = 0.4
CALENDAR_DROPOUT = 0.5
WEIGHT_DECAY = 1e-4
AVERAGING = 0.98
"""Momentum of the weights' moving average, which is evaluated and kept."""

RMSE = "rmse"
MAE = "mae"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSizes:
    """The number of transformed inputs of each kind."""

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
    """The Tuner's search space: the learning rate of the first step, and the number of hidden layers."""

    learning_rate: float = 5e-3
    depth: int = 1


def build_network(
    sizes: InputSizes, scale: FareScale, hyperparameters: Hyperparameters, *, steps: int
) -> Any:  # noqa: ANN401  # keras has no types
    """Build and compile a `keras.Model` from a dict of transformed inputs to the members' fares in USD.

    Its output is [batch, MEMBERS]; `fare` makes one fare of them. The learning rate falls to zero along a
    cosine over `steps` batches.
    """
    inputs = _inputs(sizes)
    hidden = _trip(inputs, sizes)
    for layer in range(hyperparameters.depth):
        hidden = _MembersDense(HIDDEN_UNITS, activation="gelu", name=f"hidden_{layer + 1}")(hidden)
    standardised = _ByTrip()(_MembersDense(1, name="standardised_fare")(hidden))
    fares = keras.layers.Rescaling(scale.deviation, scale.mean, name="fares_usd")(standardised)
    network = keras.Model(inputs=inputs, outputs=fares, name="fare")
    network.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(hyperparameters.learning_rate, steps),
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
    """A dense layer for each member: [members, batch, inputs] to [members, batch, units].

    With the members first, one batched matrix product does it, and nothing is transposed.
    """

    def __init__(self, units: int, *, activation: str | None = None, name: str) -> None:
        super().__init__(name=name)
        self._units = units
        self._activation = keras.activations.get(activation)

    def build(self, shape: tuple[int, ...]) -> None:
        members, _, inputs = shape
        # The initial weights of Dense; a Glorot initializer would count the members as a part of the kernel.
        limit = math.sqrt(6 / (inputs + self._units))
        start = keras.initializers.RandomUniform(-limit, limit)
        self._kernel = self.add_weight(shape=(members, inputs, self._units), initializer=start, name="kernel")
        self._bias = self.add_weight(shape=(members, 1, self._units), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # as above
        return self._activation(keras.ops.matmul(inputs, self._kernel) + self._bias)


class _ForMembers(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """Give every member its part: [batch, n, MEMBERS * units] to [MEMBERS, batch, n * units]."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # as above
        _, count, width = inputs.shape
        apart = keras.ops.reshape(inputs, (-1, count, MEMBERS, width // MEMBERS))
        first = keras.ops.transpose(apart, (2, 0, 1, 3))
        return keras.ops.reshape(first, (MEMBERS, -1, count * width // MEMBERS))


class _ForAll(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """Give every member the same: [batch, n] to [MEMBERS, batch, n]."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # as above
        return keras.ops.repeat(inputs[None], MEMBERS, axis=0)


class _ByTrip(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """Collect the members' answers: [MEMBERS, batch, 1] to [batch, MEMBERS]."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # as above
        return keras.ops.transpose(inputs[..., 0])


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


def _trip(inputs: dict[str, Any], sizes: InputSizes) -> Any:  # noqa: ANN401  # as above
    """Join everything known of a trip: [MEMBERS, batch, n]."""
    areas = _embedded(inputs[features.AREA_IDS], sizes.vocabulary, AREA_UNITS, AREA_DROPOUT)
    calendar = _embedded(inputs[features.CALENDAR_IDS], sizes.vocabulary, CALENDAR_UNITS, CALENDAR_DROPOUT)
    dense = keras.layers.Concatenate()(
        [inputs[name] for name in (features.NUMBERS, features.ABSENT, features.CYCLES)]
    )
    return keras.layers.Concatenate()([areas, calendar, _ForAll()(dense)])


def _embedded(ids: Any, vocabulary: int, units: int, dropout: float) -> Any:  # noqa: ANN401  # as above
    """Embed ids [batch, n] as [MEMBERS, batch, n * units]."""
    # Starting from zeros, a category that training never saw contributes nothing.
    embedded = keras.layers.Embedding(vocabulary, MEMBERS * units, embeddings_initializer="zeros")(ids)
    return keras.layers.Dropout(dropout)(_ForMembers()(embedded))
