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
FREE_UNITS = 64
RISING_UNITS = 128
"""Units that rise with the distance; the others do not read it."""
FORGOTTEN = 0.1
"""The share of a batch's trips whose coordinates a member does not see, so that it can answer without."""
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
    distances: int
    places: int
    absent: int
    same_place: int
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
    free, rising = _trip(inputs, sizes)
    for layer in range(hyperparameters.depth):
        name = f"hidden_{layer + 1}"
        free, rising = (
            _MembersDense(FREE_UNITS, activation="gelu", name=f"{name}_free")(free),
            _Rising(RISING_UNITS, activation=_elu_both_ways, name=f"{name}_rising")([free, rising]),
        )
    standardised = _ByTrip()(_Rising(1, name="standardised_fare")([free, rising]))
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


class _Rising(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """Units that rise with the second of two inputs, whose weights are not negative.

    [members, batch, free] and [members, batch, rising] to [members, batch, units]. With activations that
    rise, and each such layer over the one before, the network rises with its distances (Sill, 1997).
    """

    def __init__(self, units: int, *, activation: Any = None, name: str) -> None:  # noqa: ANN401  # of keras
        super().__init__(name=name)
        self._units = units
        self._activation = keras.activations.get(activation)

    def build(self, shapes: list[tuple[int, ...]]) -> None:
        (members, _, free), (_, _, rising) = shapes
        limit = math.sqrt(6 / (free + rising + self._units))
        start = keras.initializers.RandomUniform(-limit, limit)
        self._free = self.add_weight(shape=(members, free, self._units), initializer=start, name="free")
        self._rising = self.add_weight(shape=(members, rising, self._units), initializer=start, name="rising")
        self._bias = self.add_weight(shape=(members, 1, self._units), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # as above
        # The absolute value at each use: a weight that is averaged or decayed stays not negative.
        kernel = keras.ops.concatenate([self._free, keras.ops.abs(self._rising)], axis=1)
        return self._activation(keras.ops.matmul(keras.ops.concatenate(inputs, axis=-1), kernel) + self._bias)


def _elu_both_ways(values: Any) -> Any:  # noqa: ANN401  # as above
    """Bend half of the units upward and half downward; all of them rise with their input.

    Units of one kind and weights that are not negative can only make convex or only concave functions
    (Runje and Shankaranarayana, 2023).
    """
    upward, downward = keras.ops.split(values, 2, axis=-1)
    return keras.ops.concatenate([keras.ops.elu(upward), -keras.ops.elu(-downward)], axis=-1)


class _Forget(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """In training, let some trips look like trips without coordinates: values 0, flags 1.

    Takes and returns [members, batch, values] and [members, batch, flags]. Coordinates and distance are known
    together in the public table, but a client may know only the distance.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate
        self._seeds = keras.random.SeedGenerator()

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  # as keras calls it
        values, flags = inputs
        if not training:
            return values, flags
        kept = keras.random.uniform(keras.ops.shape(values[..., :1]), seed=self._seeds) >= self._rate
        return keras.ops.where(kept, values, 0.0), keras.ops.where(kept, flags, 1.0)


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
        features.DISTANCES: sizes.distances,
        features.PLACES: sizes.places,
        features.ABSENT: sizes.absent,
        features.SAME_PLACE: sizes.same_place,
        features.CYCLES: sizes.cycles,
    }
    ids = {features.AREA_IDS: sizes.area_ids, features.CALENDAR_IDS: sizes.calendar_ids}
    return {
        **{name: keras.Input((width,), name=name) for name, width in numbers.items()},
        **{name: keras.Input((width,), dtype="int64", name=name) for name, width in ids.items()},
    }


def _trip(inputs: dict[str, Any], sizes: InputSizes) -> tuple[Any, Any]:
    """Join everything known of a trip except its distances, and these: [MEMBERS, batch, n] each."""
    areas = _embedded(inputs[features.AREA_IDS], sizes.vocabulary, AREA_UNITS, AREA_DROPOUT)
    calendar = _embedded(inputs[features.CALENDAR_IDS], sizes.vocabulary, CALENDAR_UNITS, CALENDAR_DROPOUT)
    coordinates, absent = len(features.COORDINATES), inputs[features.ABSENT]
    places, unlocated = _Forget(FORGOTTEN)(
        (_ForAll()(inputs[features.PLACES]), _ForAll()(absent[:, -coordinates:]))
    )
    rest = keras.layers.Concatenate()(
        [
            inputs[features.NUMBERS],
            absent[:, :-coordinates],
            inputs[features.SAME_PLACE],
            inputs[features.CYCLES],
        ]
    )
    free = keras.layers.Concatenate()([areas, calendar, _ForAll()(rest), places, unlocated])
    return free, _ForAll()(inputs[features.DISTANCES])


def _embedded(ids: Any, vocabulary: int, units: int, dropout: float) -> Any:  # noqa: ANN401  # as above
    """Embed ids [batch, n] as [MEMBERS, batch, n * units]."""
    # Starting from zeros, a category that training never saw contributes nothing.
    embedded = keras.layers.Embedding(vocabulary, MEMBERS * units, embeddings_initializer="zeros")(ids)
    return keras.layers.Dropout(dropout)(_ForMembers()(embedded))
