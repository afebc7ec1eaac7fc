"""Beam's arguments for Dataflow, filled in from settings or refused."""

from __future__ import annotations

import pytest

from taxi_ml.dataflow import BeamArguments
from taxi_ml.rules import SettingsError
from taxi_ml.settings import Settings

SETTINGS = Settings.from_environment(
    {
        "TAXI_PROJECT": "taxi-prod",
        "TAXI_BUCKET": "gs://taxi-bucket/prod",
        "TAXI_PIPELINE_IMAGE": "registry.example/taxi/pipeline:1.0",
        "TAXI_REGION": "europe-west1",
        "TAXI_SERVICE_ACCOUNT": "taxi@taxi-prod.iam.gserviceaccount.com",
    }
)
FILLED = (
    "--project=taxi-prod",
    "--region=europe-west1",
    "--temp_location=gs://taxi-bucket/prod/dataflow/temp",
    "--staging_location=gs://taxi-bucket/prod/dataflow/staging",
    "--service_account_email=taxi@taxi-prod.iam.gserviceaccount.com",
    "--sdk_container_image=registry.example/taxi/pipeline:1.0",
    "--experiments=use_runner_v2",
    "--labels=app=taxi-vertex",
    "--dataflow_service_options=max_workflow_runtime_walltime_seconds=21600",
)


def test_dataflow_gets_what_the_settings_say() -> None:
    """The runner's name is enough: place, account, folders and image are the settings'."""
    chosen = SETTINGS.with_overrides(beam_args="--runner=DataflowRunner --max_num_workers=8")

    assert chosen.beam_arguments() == ("--runner=DataflowRunner", "--max_num_workers=8", *FILLED)


def test_arguments_that_agree_are_kept() -> None:
    """Arguments that are given are not repeated, and other experiments, labels and folders are kept."""
    given = (
        "--runner=DataflowRunner",
        "--project=taxi-prod",
        "--worker_harness_container_image=registry.example/taxi/pipeline:1.0",
        "--temp_location=gs://taxi-bucket/prod/elsewhere",
        "--experiments=use_runner_v2,enable_data_sampling",
        "--labels=team=fares",
        "--dataflow_service_options=max_workflow_runtime_walltime_seconds=3600",
    )
    added = set(SETTINGS.with_overrides(beam_args=given).beam_arguments()) - set(given)

    assert added == {FILLED[1], FILLED[3], FILLED[4]}


def test_no_account_leaves_it_to_dataflow() -> None:
    """Without a service account, Dataflow uses its own."""
    chosen = SETTINGS.with_overrides(service_account="", beam_args="--runner=DataflowRunner")

    assert not [each for each in chosen.beam_arguments() if each.startswith("--service_account_email")]


def test_other_runners_get_the_image_alone() -> None:
    """Arguments of a runner on this machine are unchanged; an image that is given is kept."""
    own = ("--runner=FnApiRunner", "--sdk_container_image=registry.example/other:1.0")

    assert SETTINGS.beam_arguments() == ("--runner=FnApiRunner", "--direct_num_workers=1", FILLED[5])
    assert SETTINGS.with_overrides(beam_args=own).beam_arguments() == own


def test_the_settings_name_the_runner() -> None:
    """TAXI_BEAM_RUNNER=dataflow needs no arguments, and is bounded in workers."""
    chosen = SETTINGS.with_overrides(beam_runner="dataflow", dataflow_workers=8)

    assert chosen.beam_arguments() == (
        "--runner=DataflowRunner",
        *FILLED[:6],
        "--max_num_workers=8",
        *FILLED[6:],
    )


def test_arguments_without_a_runner_complete_the_chosen_one() -> None:
    """Arguments add to those of the settings' runner, and replace its defaults."""
    local = SETTINGS.with_overrides(beam_args="--direct_num_workers=4")
    cloud = SETTINGS.with_overrides(
        beam_runner="dataflow",
        dataflow_workers=8,
        beam_args="--max_num_workers=3 --machine_type=n2-standard-8",
    )

    assert local.beam_arguments() == ("--runner=FnApiRunner", "--direct_num_workers=4", FILLED[5])
    assert cloud.beam_arguments() == (
        "--runner=DataflowRunner",
        "--max_num_workers=3",
        "--machine_type=n2-standard-8",
        *FILLED,
    )


def test_arguments_of_one_machine_are_none_of_dataflow() -> None:
    """An argument of a runner in one process is refused if the settings choose Dataflow."""
    with pytest.raises(SettingsError, match="--direct_num_workers is for Beam's single-process runners"):
        SETTINGS.with_overrides(
            beam_runner="dataflow", dataflow_workers=8, beam_args="--direct_num_workers=4"
        )


@pytest.mark.parametrize(
    ("runner", "expected"),
    [
        ("DataflowRunner", True),
        ("dataflow", True),
        ("apache_beam.runners.dataflow.dataflow_runner.DataflowRunner", True),
        ("FnApiRunner", False),
        ("DirectRunner", False),
    ],
)
def test_dataflow_is_known_by_each_of_its_names(runner: str, expected: bool) -> None:  # noqa: FBT001
    """Beam takes names without case, without the ending, and whole paths."""
    assert BeamArguments(("--streaming", f"--runner={runner}")).names_dataflow is expected


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--project=other-project", "contradicts project (TAXI_PROJECT) = 'taxi-prod'"),
        ("--region=us-east1", "contradicts region (TAXI_REGION) = 'europe-west1'"),
        ("--service_account_email=a@b.example", "contradicts service_account (TAXI_SERVICE_ACCOUNT)"),
        ("--sdk_container_image=other:1", "contradicts pipeline_image (TAXI_PIPELINE_IMAGE)"),
        ("--worker_harness_container_image=other:1", "contradicts pipeline_image (TAXI_PIPELINE_IMAGE)"),
        ("--temp_location=gs://other/temp", "is outside of gs://taxi-bucket/prod"),
        ("--staging_location=gs://taxi-bucket/production", "is outside of gs://taxi-bucket/prod"),
        ("--experiments=disable_runner_v2", "would not run custom containers"),
        ("--direct_num_workers=2", "is for Beam's single-process runners"),
        ("--project=taxi-prod --project=taxi-prod", "--project is given 2 times"),
    ],
)
def test_contradictions_are_refused_at_the_door(argument: str, problem: str) -> None:
    """An argument that contradicts a setting is refused with both values and the remedy."""
    with pytest.raises(SettingsError) as refused:
        SETTINGS.with_overrides(beam_args=f"--runner=DataflowRunner {argument}")

    (found,) = refused.value.problems
    assert found.startswith("setting beam_args (TAXI_BEAM_ARGS): --")
    assert problem in found


def test_all_contradictions_are_told_at_once() -> None:
    """The environment's settings are checked together, and each contradiction is named."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(
            {
                "TAXI_PROJECT": "taxi-prod",
                "TAXI_BUCKET": "gs://taxi-bucket",
                "TAXI_PIPELINE_IMAGE": "image:1",
                "TAXI_BEAM_ARGS": "--runner=DataflowRunner --project=other --temp_location=gs://other/temp",
            }
        )

    assert len(refused.value.problems) == 2
