"""The Evaluator's metrics, and the threshold for its blessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tensorflow_model_analysis.proto import config_pb2

from taxi_ml.evaluation.findings import SIGNATURE, SLICES
from taxi_ml.modules.features import LABEL

if TYPE_CHECKING:
    from taxi_ml.pipeline.request import CompileRequest

CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"


def evaluation_config(request: CompileRequest) -> Any:  # noqa: ANN401  # protobuf messages have no types here
    """Configure RMSE and MAE in USD and the count, overall and by slice; bless by RMSE overall.

    The label is the raw column, in USD: no transformed label is involved.
    """
    # The threshold is for all rows together, because a slice of three trips proves nothing.
    overall = config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()], threshold=_threshold(request)
    )
    metrics = [
        config_pb2.MetricConfig(class_name="RootMeanSquaredError", per_slice_thresholds=[overall]),
        config_pb2.MetricConfig(class_name="MeanAbsoluteError"),
        config_pb2.MetricConfig(class_name="ExampleCount"),
    ]
    return config_pb2.EvalConfig(
        model_specs=_models(request),
        slicing_specs=[
            config_pb2.SlicingSpec(),
            *(config_pb2.SlicingSpec(feature_keys=[name]) for name in SLICES),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def _models(request: CompileRequest) -> list[Any]:
    candidate = config_pb2.ModelSpec(name=CANDIDATE, label_key=LABEL, signature_name=SIGNATURE)
    if not request.compares:
        return [candidate]
    baseline = config_pb2.ModelSpec(
        name=BASELINE, label_key=LABEL, signature_name=SIGNATURE, is_baseline=True
    )
    return [candidate, baseline]


def _threshold(request: CompileRequest) -> Any:  # noqa: ANN401
    ceiling = config_pb2.GenericValueThreshold(upper_bound={"value": request.max_rmse_usd})
    if not request.compares:
        return config_pb2.MetricThreshold(value_threshold=ceiling)
    growth = config_pb2.GenericChangeThreshold(
        direction=config_pb2.MetricDirection.LOWER_IS_BETTER, relative={"value": request.max_rmse_growth}
    )
    return config_pb2.MetricThreshold(value_threshold=ceiling, change_threshold=growth)
