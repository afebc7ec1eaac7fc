"""The SavedModel behind the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import tensorflow as tf

from taxi_ml.serving.instances import FeatureType, InstanceContract
from taxi_ml.serving.quotes import QuoteBook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONTRACT_FILE: Final = "assets.extra/instance.json"


class ServedModel:
    """Predicts fares with the signature over serialized examples that the Evaluator used."""

    def __init__(
        self,
        *,
        contract: InstanceContract,
        quotes: QuoteBook,
        signature: Any,  # noqa: ANN401  # tensorflow has no types
        model: Any,  # noqa: ANN401  # as above
    ) -> None:
        self.contract = contract
        self.quotes = quotes
        self._signature = signature
        self._model = model  # its variables live as long as this reference

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load a SavedModel and its contract, and run it once, so that the first request is fast.

        Raises:
            FileNotFoundError: if the folder lacks the contract.
            ContractError: if the contract, or a file beside it, cannot be read.
            OSError: if there is no SavedModel.

        """
        contract = InstanceContract.parse((folder / CONTRACT_FILE).read_text())
        quotes = QuoteBook.load(folder, contract)
        model = tf.saved_model.load(str(folder))
        signature = model.signatures[contract.signature]
        served = cls(contract=contract, quotes=quotes, signature=signature, model=model)
        served.predict([{feature.name: feature.missing or 0 for feature in contract.features}])
        return served

    def predict(self, rows: Sequence[Mapping[str, int | float]]) -> list[float]:
        """Return one fare in USD for each row; a row has a value for every feature."""
        examples = tf.constant([self._serialized(row) for row in rows])
        fares = self._signature(examples=examples)[self.contract.prediction]
        return [float(fare) for fare in fares.numpy().reshape(-1)]

    def _serialized(self, row: Mapping[str, int | float]) -> bytes:
        example = tf.train.Example()
        for feature in self.contract.features:
            value = example.features.feature[feature.name]
            if feature.json_type is FeatureType.INTEGER:
                value.int64_list.value.append(row[feature.name])
            else:
                value.float_list.value.append(row[feature.name])
        serialized: bytes = example.SerializeToString()
        return serialized
