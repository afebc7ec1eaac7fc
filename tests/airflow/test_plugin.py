from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk._shared.module_loading import find_path_from_directory

from taxi_airflow.plugin import TaxiPlugin
from tests.airflow.test_templates import operator_classes
from vertex_airflow.hooks.vertex import ApiEndpoint, EndpointError, console_page

PLUGINS = Path(__file__).parents[2] / "plugins"


def test_airflow_loads_one_file() -> None:
    """Airflow executes plugin.py at start, and none of the modules beside it under a bare name."""
    files = list(find_path_from_directory(str(PLUGINS), ".airflowignore", "glob"))

    assert [str(PLUGINS / "taxi_airflow" / "plugin.py")] == [each for each in files if each.endswith(".py")]


def test_every_link_of_an_operator_is_registered() -> None:
    """The web server, which sees operators as text only, knows each of their links, and no others.

    Providers register their own.
    """
    used = {type(link) for operator in operator_classes() for link in operator.operator_extra_links}
    ours = {link for link in used if not link.__module__.startswith("airflow.providers.")}

    assert ours == {type(link) for link in TaxiPlugin.operator_extra_links}


@pytest.mark.parametrize(
    ("url", "target", "plaintext"),
    [
        ("http://127.0.0.1:8443", "127.0.0.1:8443", True),
        ("https://us-central1-aiplatform.googleapis.com", "us-central1-aiplatform.googleapis.com:443", False),
        ("http://vertex", "vertex:80", True),
    ],
)
def test_endpoints_are_urls(url: str, target: str, plaintext: bool) -> None:  # noqa: FBT001  # a parameter
    """The scheme decides about TLS, and the port has a default."""
    endpoint = ApiEndpoint.parse(url)

    assert (target, plaintext) == (endpoint.target, endpoint.plaintext)


@pytest.mark.parametrize("url", ["127.0.0.1:8443", "ftp://host", "https://"])
def test_other_endpoints_are_refused(url: str) -> None:
    """The error for a string that is not a URL says how to write one."""
    with pytest.raises(EndpointError, match="write https://host"):
        ApiEndpoint.parse(url)


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("projects/p/locations/l/pipelineJobs/j", "locations/l/pipelines/runs/j?project=p"),
        ("projects/p/locations/l/customJobs/1", "locations/l/training/1?project=p"),
        ("projects/p/locations/l/models/m@3", "models/locations/l/models/m/versions/3?project=p"),
        ("projects/p/locations/l/endpoints/e", "online-prediction/locations/l/endpoints/e?project=p"),
    ],
)
def test_pages_of_the_console(resource: str, path: str) -> None:
    """Each kind of resource has its page in Google Cloud's console."""
    page = console_page(resource)

    assert f"https://console.cloud.google.com/vertex-ai/{path}" == page
