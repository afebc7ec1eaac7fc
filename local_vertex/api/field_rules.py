"""The limits of fields that Google documents, as one table with the source of each.

Which fields are required is read from the clients' comments (`field_behavior`). Patterns, lengths and ranges
stand there in words only: each row of `RULES` says one, with the words that it comes from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
_LABELS_PAGE: Final = "https://cloud.google.com/resource-manager/docs/labels-overview"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """One limit of one field.

    `field` is `<message>.<field>` and `allows` says whether the service takes a value: of a repeated field
    each element, of a map each pair, unless the rule is one `of_all`. `source` is a part of the comment that
    the clients have of the field, or the address of a page.
    """

    field: str
    rule: str
    source: str
    allows: Callable[[Any], bool]
    of_all: bool = False


def _matches(pattern: str, value: str) -> bool:
    return re.fullmatch(pattern, value) is not None


def _within(least: float, most: float, value: float) -> bool:
    return least <= value <= most


def _at_most(most: int, value: Iterable[object]) -> bool:
    return len(list(value)) <= most


def _is_label(text: str) -> bool:
    """Hold letters of any script to their lower case; those without cases count as lower."""
    return re.fullmatch(r"[\w-]{0,63}", text) is not None and text == text.lower()


_REQUEST_COUNT: Final = "aiplatform.googleapis.com/prediction/online/request_count"
_ALIAS: Final = partial(_matches, r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
_RESOURCES: Final = ("Model", "Endpoint", "CustomJob", "PipelineJob")

RULES: Final = (
    *(
        FieldRule(
            field=f"{resource}.display_name",
            rule="up to 128 characters",
            source="The name can be up to 128 characters long and can consist of any UTF-8 characters.",
            allows=partial(_at_most, 128),
        )
        for resource in _RESOURCES
    ),
    *(
        rule
        for resource in _RESOURCES
        for rule in (
            FieldRule(
                field=f"{resource}.labels",
                rule="up to 64",
                source=_LABELS_PAGE,
                allows=partial(_at_most, 64),
                of_all=True,
            ),
            FieldRule(
                field=f"{resource}.labels",
                rule="keys and values are up to 63 lower-case letters, digits, `_` and `-`; "
                "a key begins with a letter",
                source=_LABELS_PAGE,
                allows=lambda label: label[0][:1].isalpha() and all(map(_is_label, label)),
            ),
        )
    ),
    FieldRule(
        field="CreatePipelineJobRequest.pipeline_job_id",
        rule="`[a-z][a-z0-9-]{0,126}`",
        source="This value should be less than 128 characters, and valid characters are ``/[a-z][0-9]-/``.",
        allows=partial(_matches, r"[a-z][a-z0-9-]{0,126}"),
    ),
    FieldRule(
        field="UploadModelRequest.model_id",
        rule="`[a-z_][a-z0-9_-]{0,62}`",
        source="This value may be up to 63 characters, and valid characters are ``[a-z0-9_-]``. "
        "The first character cannot be a number or hyphen.",
        allows=partial(_matches, r"[a-z_][a-z0-9_-]{0,62}"),
    ),
    FieldRule(
        field="Model.version_aliases",
        rule="`[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]`",
        source="The format is [a-z][a-zA-Z0-9-]{0,126}[a-z0-9] to distinguish from version_id.",
        allows=_ALIAS,
    ),
    FieldRule(
        field="MergeVersionAliasesRequest.version_aliases",
        rule="the same, after a `-` where one is removed",
        source="``-`` is NOT counted in the 128 characters.",
        allows=lambda alias: _ALIAS(alias.removeprefix("-")),
    ),
    FieldRule(
        field="CreateEndpointRequest.endpoint_id",
        rule="`[a-z]([a-z0-9-]{0,61}[a-z0-9])?` or `[1-9][0-9]{0,8}`",
        source="If the first character is a letter, this value may be up to 63 characters, and valid "
        "characters are ``[a-z0-9-]``. The last character must be a letter or number. If the first character "
        "is a number, this value may be up to 9 characters, and valid characters are ``[0-9]`` with no "
        "leading zeros.",
        allows=partial(_matches, r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}"),
    ),
    FieldRule(
        field="DeployedModel.id",
        rule="`[0-9]{1,10}`",
        source="This value should be 1-10 characters, and valid characters are ``/[0-9]/``.",
        allows=partial(_matches, r"[0-9]{1,10}"),
    ),
    FieldRule(
        field="UndeployModelRequest.deployed_model_id",
        rule="digits",
        source="https://github.com/GoogleCloudPlatform/java-docs-samples/issues/8985",
        allows=partial(_matches, r"[0-9]+"),
    ),
    FieldRule(
        field="DedicatedResources.min_replica_count",
        rule="1 or more",
        source="This value must be greater than or equal to 1.",
        allows=lambda count: count >= 1,
    ),
    FieldRule(
        field="DedicatedResources.autoscaling_metric_specs",
        rule="a target of utilization is 1 to 100 percent",
        source="https://cloud.google.com/vertex-ai/docs/reference/rest/v1/AutoscalingMetricSpec",
        allows=lambda spec: spec.metric_name == _REQUEST_COUNT or _within(0, 100, spec.target),
    ),
    FieldRule(
        field="DedicatedResources.autoscaling_metric_specs",
        rule="one for each metric",
        source="At most one entry is allowed per metric.",
        allows=lambda specs: len({each.metric_name for each in specs}) == len(specs),
        of_all=True,
    ),
    FieldRule(
        field="WorkerPoolSpec.machine_spec",
        rule="has a machine type",
        source="https://cloud.google.com/vertex-ai/docs/reference/rest/v1/MachineSpec",
        allows=lambda machine: bool(machine.machine_type),
    ),
    FieldRule(
        field="DiskSpec.boot_disk_type",
        rule="`pd-ssd`, `pd-standard` or `hyperdisk-balanced`",
        source='Valid values: "pd-ssd" (Persistent Disk Solid State Drive), "pd-standard" (Persistent Disk '
        'Hard Disk Drive) or "hyperdisk-balanced".',
        allows=lambda kind: kind in {"pd-ssd", "pd-standard", "hyperdisk-balanced"},
    ),
    FieldRule(
        field="ContainerSpec.env",
        rule="up to 100",
        source="Maximum limit is 100.",
        allows=partial(_at_most, 100),
        of_all=True,
    ),
    FieldRule(
        field="ContainerSpec.env",
        rule="values have no `'` without a `\\` before it",
        source="https://github.com/PrefectHQ/prefect/issues/5940",
        allows=lambda variable: re.search(r"(?<!\\)'", variable.value) is None,
    ),
    FieldRule(
        field="EnvVar.name",
        rule="`[A-Za-z_][A-Za-z0-9_]*`",
        source="Must be a valid C identifier.",
        allows=partial(_matches, r"[A-Za-z_][A-Za-z0-9_]*"),
    ),
    *(
        FieldRule(field=field, rule="1 to 65535", source=source, allows=partial(_within, 1, 65535))
        for field, source in {
            "Port.container_port": "Must be a valid port number, between 1 and 65535 inclusive.",
            "Probe.HttpGetAction.port": "Number must be in the range 1 to 65535.",
            "Probe.GrpcAction.port": "Number must be in the range 1 to 65535.",
            "Probe.TcpSocketAction.port": "Number must be in the range 1 to 65535.",
        }.items()
    ),
    FieldRule(
        field="ModelContainerSpec.deployment_timeout",
        rule="up to 2 hours",
        source="Limit for deployment timeout is 2 hours.",
        allows=lambda timeout: timeout.ToTimedelta() <= timedelta(hours=2),
    ),
    *(
        FieldRule(
            field=f"Batch{verb}PipelineJobsRequest.names",
            rule="up to 32",
            source=f"A maximum of 32 PipelineJobs can be {done} in a batch.",
            allows=partial(_at_most, 32),
            of_all=True,
        )
        for verb, done in {"Cancel": "cancelled", "Delete": "deleted"}.items()
    ),
    *(
        FieldRule(
            field=f"List{kind}Request.page_size",
            rule="up to 1000",
            source="Must be in range 1-1000, inclusive. Defaults to 100.",
            allows=partial(_within, 0, 1000),
        )
        for kind in ("Artifacts", "Contexts", "Executions", "MetadataStores")
    ),
    FieldRule(
        field="QueryArtifactLineageSubgraphRequest.max_hops",
        rule="0 or more",
        source="Negative Value: INVALID_ARGUMENT error is returned",
        allows=lambda hops: hops >= 0,
    ),
)
"""Every limit that is checked here; sums of traffic splits and states are checked where they are known."""
