"""The command `python -m local_vertex.fidelity`: writes docs/fidelity.md from the table of methods."""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_vertex.api.field_rules import RULES
from local_vertex.composition import SERVICES
from local_vertex.evidence import Evidence, checks
from local_vertex.server.methods import method_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from local_vertex.server.methods import Method

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "fidelity.md"

_JOB_LIMITS = "Service account and network are kept and change nothing."
DIFFERENCES: Final[Mapping[str, str]] = {
    "PipelineService.CreatePipelineJob": "Refused with UNIMPLEMENTED: `template_uri`, `encryption_spec`, "
    "`psc_interface_config`, `preflight_validations`, `runtime_config.input_artifacts`; in the spec: loops, "
    "Custom Jobs as executors, `IfPresent` and `Concat` arguments, parameter selectors, conditions with "
    "functions or macros that neither TFX nor kfp uses, artifact queries of resolvers beyond equations "
    "joined by AND. Queries see the artifacts of the same pipeline. Images must be in the image table and "
    "containers have a command. Requests of CPUs and memory bound what runs at once; limits are not enforced "
    "and accelerators ignored, which the head of the task's log and its page in the console say. "
    "A container finds an artifact in a folder of this machine, which is both its `uri` and its `path`: on "
    "Vertex AI these are `gs://…` and `/gcs/…`. Strings that say `gs://` stay as they are, but not for TFX's "
    "executors (`--executor_class_path`), to which all of them name such folders. Outputs and the record of "
    "the task say `gs://`. What a container installs with pip ends with it, as on Vertex AI, but files of "
    "its image are this machine's, and nothing protects them from being written by their paths. "
    f"{_JOB_LIMITS}",
    "JobService.CreateCustomJob": "One worker pool with one replica of a container; refused with "
    "UNIMPLEMENTED: more of them, `python_package_spec`, `persistent_resource_id`, "
    "`psc_interface_config`, `tensorboard`, `enable_web_access`, `enable_dashboard_access`, `experiment`, "
    "`experiment_run`, `models`. The machine, accelerators included, is kept and changes nothing. "
    f"{_JOB_LIMITS}",
    "ModelService.UploadModel": "Refused with UNIMPLEMENTED: `explanation_spec`, `encryption_spec`, "
    "`base_model_source`. The artifact is not copied.",
    "EndpointService.CreateEndpoint": "Refused with UNIMPLEMENTED: encryption, private service connect, "
    "dedicated endpoints, request logging.",
    "EndpointService.DeployModel": "One process on this machine for each deployed model, whatever "
    "resources are asked for. Refused with UNIMPLEMENTED: `shared_resources`, `explanation_spec`, "
    "`speculative_decoding_spec`.",
    "EndpointService.MutateDeployedModel": "The resources asked for are kept and change nothing.",
    "PredictionService.Predict": "Custom containers only.",
    "PredictionService.RawPredict": "Custom containers only; the answer is always `application/json`.",
    "MetadataService.GetMetadataStore": "There is one store, `default`.",
    "MetadataService.ListMetadataStores": "There is one store, `default`.",
    "MetadataService.ListExecutions": "Those of tasks; there is no `system.Run` for a run as a whole, so "
    "that the SDK's `get_pipeline_df` is empty.",
    "MetadataService.QueryArtifactLineageSubgraph": "`max_hops` 0 is taken as absent: the whole graph.",
    "Locations.ListLocations": "The one region that is served.",
    "Locations.GetLocation": "The one region that is served.",
    "Projects.GetProject": "The one project that is served.",
    "MetricService.ListTimeSeries": "Metric types `aiplatform.googleapis.com/prediction/online/…`: "
    "`prediction_count`, `error_count`, `response_count`, `prediction_latencies`; Google's others for "
    "endpoints are refused with UNIMPLEMENTED, unknown ones with NOT_FOUND. Labels, kinds and units are"
    " those of Google's list of metrics and of a recorded answer. Not documented, so Google may differ:"
    " `response_code` is `2xx`, `4xx` or `5xx`; an error is any answer but a 2xx; `prediction_count` "
    "counts instances, a `rawPredict` as one; the buckets of latencies (66, from 1 ms, factor 1.4); a "
    "period without requests has no point; a point belongs to the alignment period in which it ends, "
    "and the first of these may begin before the interval; a reduced series keeps `project_id`. Samples"
    " are kept for a day. Alignment: `ALIGN_DELTA`, `ALIGN_SUM`, `ALIGN_RATE`, `ALIGN_PERCENTILE_…`; "
    "reduction: `REDUCE_SUM`, of numbers `REDUCE_MEAN`, `REDUCE_MIN`, `REDUCE_MAX`, of distributions "
    "`REDUCE_PERCENTILE_…`; filters: `=`, `!=`, `starts_with`, `ends_with`, `has_substring`, `one_of`. "
    "Others, and `secondary_aggregation`, are refused with UNIMPLEMENTED.",
    "Operations.CancelOperation": "Reaches deployments; any other operation is done at once.",
}
"""Differences of supported methods from the real ones, by service and method."""

_HEAD = """\
# What the local Vertex AI supports

<!-- Written by `python -m local_vertex.fidelity`; do not edit. -->

The local Vertex AI answers `google.cloud.aiplatform.v1`, and what its clients need of other services, over
gRPC and REST from one table of methods, which is read from Google's generated clients. *Supported* means
that the method behaves as documented, as far as the clients can tell; *partial* means that it does, with the
differences named. Anything else is refused with UNIMPLEMENTED, and nothing is done.

On all methods: there is one project in one region; credentials and permissions are not checked; quotas are
those of the machine; `v1beta1` is not served. NaN and Infinity in a Struct, messages nested more than 90 deep
and filters with more than 50 parentheses and NOTs are refused with INVALID_ARGUMENT; Google does not document
its bounds. A task that publishes NaN or Infinity fails, as kfp's own launcher fails it.
REST answers only at the addresses that it was given, refuses web pages of other origins, and accepts a body
only as `application/json` (`rawPredict` any), see [SECURITY.md](../SECURITY.md#web-pages-in-your-browser).

Lists and traffic are current, which Google does not promise. To test a client where they are not:

| Option | What it does |
| --- | --- |
| `--stale-lists SECONDS` | {stale} |
| `--late-traffic SECONDS` | {late} |

Cloud Monitoring has a point a minute about predictions, which is visible some minutes later. Here:

| Option | What it does |
| --- | --- |
| `--metrics-period SECONDS` | {period} |
| `--metrics-delay SECONDS[:SECONDS]` | {delay} |
"""
_STALE = (
    "List methods show the state of SECONDS ago: what is new is missing, what was deleted or changed is "
    "there as it was. Get methods show the current state."
)
_LATE = (
    "Predict and RawPredict are routed by the traffic split of SECONDS ago. Before its first split takes "
    'effect, an endpoint answers FAILED_PRECONDITION, "doesn\'t have traffic_split". A request that the old '
    "split gives to a model that is no longer deployed is UNAVAILABLE."
)
_PERIOD = (
    "The time that a point is about; 60 is the default, as on Google. With a shorter one, the shortest "
    "alignment period, a minute on Google, is as short. `python -m local_gcp` sets 2 seconds: a roll-out of "
    "the demo lasts seconds."
)
_DELAY = (
    "A point is visible SECONDS after its period, by default 2; with two numbers, between them, each series' "
    "points at times of their own, so that errors may be seen before or after the requests. `python -m "
    "local_gcp` sets 0.5:1.5. Google documents up to six minutes for other metrics of endpoints, nothing for "
    "these."
)

_RULES_HEAD = """\
## Rules of fields

A request that breaks one of these rules is refused with INVALID_ARGUMENT before anything is done; the details
of the error name each field (`google.rpc.BadRequest`). Sources are quoted comments of the fields in Google's
clients, or pages. The same comments say which fields are *Required*: a request without them is refused.
*Output only* fields are ignored in a new resource, as https://google.aip.dev/203 says. In an update, the
fields that its mask names are checked; fields that no update can change are refused.
"""


class UnknownMethodError(ValueError):
    """A difference is listed for a method that is not supported."""


def render() -> str:
    """Return the page; raises UnknownMethodError."""
    table = method_table({name: service for service, name in SERVICES.items()})
    _check(table)
    by_service = {
        service: sorted(methods, key=lambda method: method.rpc)
        for service, methods in groupby(sorted(table, key=_service), key=_service)
    }
    served = {name: methods for name, methods in by_service.items() if any(each.handler for each in methods)}
    refused = {name: methods for name, methods in by_service.items() if name not in served}
    count = sum(method.handler is not None for method in table)
    evidence = Evidence.read()
    return "\n".join(
        [
            _HEAD.format(stale=_STALE, late=_LATE, period=_PERIOD, delay=_DELAY),
            f"{count} of {len(table)} methods are supported.\n",
            *(line for name, methods in served.items() for line in _section(name, methods, evidence)),
            *evidence.section(),
            "## Services that are refused as a whole\n",
            "| Service | Methods, all UNIMPLEMENTED |",
            "| --- | --- |",
            *(f"| {name} | {', '.join(each.rpc for each in methods)} |" for name, methods in refused.items()),
            "",
            *_rules(),
        ]
    )


def _check(table: Iterable[Method]) -> None:
    supported = {_name(method) for method in table if method.handler is not None}
    asked = {method for check in checks() for method in check.methods}
    for table_name, named in (("DIFFERENCES", set(DIFFERENCES)), ("checks.toml", asked)):
        if unknown := sorted(named - supported):
            raise UnknownMethodError(
                f"{table_name} has '{unknown[0]}', which is not a supported method; remove it"
            )


def _service(method: Method) -> str:
    return method.service.rpartition(".")[2]


def _name(method: Method) -> str:
    return f"{_service(method)}.{method.rpc}"


def _section(service: str, methods: Iterable[Method], evidence: Evidence) -> Iterator[str]:
    yield f"## {service}\n"
    yield "| Method | Status | Known from | What differs |"
    yield "| --- | --- | --- | --- |"
    for method in methods:
        difference = DIFFERENCES.get(_name(method), "")
        supported = "partial" if difference else "supported"
        status = supported if method.handler is not None else "UNIMPLEMENTED"
        known = evidence.of_method(_name(method)) if method.handler is not None else ""
        yield f"| {method.rpc} | {status} | {known} | {difference} |"
    yield ""


def _rules() -> Iterator[str]:
    yield _RULES_HEAD
    yield "| Field | Allowed | Source |"
    yield "| --- | --- | --- |"
    for rule in RULES:
        source = rule.source if rule.source.startswith("https://") else f"“{rule.source}”"
        yield f"| `{rule.field}` | {rule.rule} | {source} |"
    yield ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with `--check` return 1 if it is not current."""
    parser = argparse.ArgumentParser(prog="python -m local_vertex.fidelity", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail unless the page is current")
    options = parser.parse_args(arguments)
    if not PAGE.parent.is_dir():
        sys.stderr.write(
            f"{PAGE.parent} does not exist: run this in the repository, not where it is installed\n"
        )
        return 1
    text = render()
    if not options.check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.stderr.write("docs/fidelity.md is not current; run `python -m local_vertex.fidelity`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
