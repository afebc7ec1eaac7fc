"""Reading policy.toml, and the gate in a shell."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate import __main__, policy
from taxi_ml.gate.policy import PolicyError
from tests.taxi_ml.reports import a_report

if TYPE_CHECKING:
    from pathlib import Path

TEXT = policy.DEFAULT_PATH.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (TEXT, "", "^the policy is empty; it would promote everything$"),
        (TEXT, "# nothing", "the policy is empty"),
        (
            "schema_version = 2",
            "schema_version = 1",
            "schema_version is 1; this gate reads 2, .*; start from taxi_ml/gate/policy.toml$",
        ),
        ("mae = 4.0", "", "policy.max_usd has no mae"),
        ("mae = 4.0", "mae = 4.0\nr2 = 1", "policy.max_usd has unknown fields: r2"),
        ("mae = 4.0", "mae = nan", "policy.max_usd.mae is nan"),
        ("mae = 4.0", "mae = inf", "policy.max_usd.mae is inf"),
        ("mae = 4.0", "mae = 0", "policy.max_usd.mae is 0.0; give a ceiling above 0"),
        ("mae = 0.02", "mae = -1", "policy.margin.mae is -1.0; give a fraction, 0 or more"),
        ("better = 0.02", "", "policy.margin has no better"),
        ("required = true", "required = 0", "policy.baseline.required is 0; it must be true or false"),
        ("alpha = 0.05", "alpha = 0", "policy.slices.alpha is 0.0; give a share above 0, 1 at most"),
        (
            "min_rows = 30",
            "min_rows = 29",
            "^policy.slices.min_rows is 29; give 30 or more, because fewer rows say too little",
        ),
        ("test = 150", "test = 0", r"^policy\.min_rows\.test must be 1 or more$"),
        (
            '["train", "eval", "test"]',
            '["holdout"]',
            r"^policy\.anomalies\.splits has \['holdout'\]; the splits are \['train', 'eval', 'test'\]$",
        ),
        (
            '["train", "eval", "test"]',
            '"train"',
            r"^policy\.anomalies\.splits is 'train'; it must be a list of strings$",
        ),
        (
            '["train", "eval", "test"]',
            '["train", 1]',
            r"^policy\.anomalies\.splits\[1\] is 1; it must be a string$",
        ),
        (
            "require_blessing = true",
            "require_blessing = 1",
            r"^policy\.require_blessing is 1; it must be true or false$",
        ),
        ('["train", "test"]', '["holdout"]', "policy.drift.splits has"),
        ("max_distance = 0.15", "max_distance = 0", "policy.drift.max_distance is 0.0; give a share above 0"),
        ("max_new_share = 0.1", "max_new_share = 1.1", "policy.drift.max_new_share is 1.1"),
        ("max_distance = 0.25", "max_distance = 1.1", "policy.skew.max_distance is 1.1"),
        ("[skew]\n", "[skew]\nextra = 1\n", "policy.skew has unknown fields: extra"),
        ("[slices]", "[slices", "not valid TOML"),
        (TEXT, "a = " + "[" * 100_000, "not valid TOML"),
        (TEXT, "a = " + "9" * 5000, "not valid TOML"),
        ("[slices]", "[slice]", "policy has no slices"),
    ],
)
def test_bad_policy_is_an_error_that_names_the_rule(old: str, new: str, problem: str) -> None:
    """A policy with a rule missing, misspelt or impossible is refused."""
    with pytest.raises(PolicyError, match=problem):
        policy.parse(TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    "rule",
    [
        "max_usd.rmse",
        "max_usd.mae",
        "margin.mae",
        "margin.clipped_rmse",
        "margin.better",
        "baseline.mae",
        "baseline.clipped_rmse",
        "anchor.mae",
        "anchor.clipped_rmse",
        "slices.alpha",
        "slices.champion",
        "slices.baseline",
        "drift.max_distance",
        "skew.max_new_share",
    ],
)
def test_bar_that_nothing_reaches_is_an_error(rule: str) -> None:
    """A policy made in code is checked as one that is read: no bar is infinite."""
    with pytest.raises(PolicyError, match=rf"^policy\.{rule} is inf"):
        _changed(policy.load(), rule.split("."), math.inf)


def _changed(part: Any, place: list[str], value: float) -> Any:  # noqa: ANN401  # any part of a policy
    """Return the part with the field at `place` changed."""
    name, *deeper = place
    new = _changed(getattr(part, name), deeper, value) if deeper else value
    return replace(part, **{name: new})


def test_missing_policy_file_is_an_error(tmp_path: Path) -> None:
    """A path without a file is named."""
    with pytest.raises(PolicyError, match=r"none\.toml cannot be read"):
        policy.load(tmp_path / "none.toml")


def test_shell_prints_the_decision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m taxi_ml.gate --json` prints decision.json."""
    path = tmp_path / "report.json"
    path.write_text(a_report().to_json(), encoding="utf-8")
    status = __main__.main(["--report", str(path), "--json"])

    assert status == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "promote"


@pytest.mark.parametrize("content", ["{", "[]"])
def test_shell_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    """An unreadable report ends with status 2 and one line."""
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    status = __main__.main(["--report", str(path)])

    assert status == 2
    assert capsys.readouterr().err.count("\n") == 1
