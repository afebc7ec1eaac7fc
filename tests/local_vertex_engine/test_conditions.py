from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_vertex.domain.errors import InvalidArgument, Unimplemented
from local_vertex.plan.conditions import ConditionError, parse_condition

BLESSING = {"uri": "gs://b/blessing", "metadata": {"blessed": 1, "name": "it's"}}
INPUTS: dict[str, Any] = {
    "artifacts": {"blessing": {"artifacts": [BLESSING]}, "none": {"artifacts": []}},
    "parameter_values": {"flip": "heads", "rows": 7.0, "on": True},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(inputs.artifacts['blessing'].artifacts[0].metadata['blessed'] == 1.0)", True),
        ("!((inputs.artifacts['blessing'].artifacts[0].metadata['blessed'] == 1.0))", False),
        ("(inputs.artifacts['blessing'].artifacts[0].uri == ('gs://b/' + 'blessing'))", True),
        ("inputs.parameter_values['flip'] == 'heads' && int(inputs.parameter_values['rows']) > 6", True),
        ("inputs.parameter_values['flip'] != 'heads' || inputs.parameter_values['on'] == true", True),
        ("!(inputs.parameter_values['on'])", False),
        ("inputs.parameter_values['rows'] == '7.0'", False),
        ("string(inputs.parameter_values['flip']) < 'tails'", True),
        ("-1.5 <= 2 && 2 >= 2e0", True),
        ('inputs.artifacts["blessing"].artifacts[0].metadata["name"] == \'it\\\'s\'', True),
        ("true || inputs.artifacts['none'].artifacts[0].uri == ''", True),
    ],
)
def test_value(text: str, expected: bool) -> None:  # noqa: FBT001  # an expected value
    """A condition as TFX or kfp compiles it has the value that CEL gives it."""
    assert parse_condition(text).value_of(INPUTS) is expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("inputs.artifacts['none'].artifacts[0].uri == ''", "no 0 in"),
        ("inputs.parameter_values['else'] == ''", "no 'else' in"),
        ("inputs.parameter_values['flip'] > 3", "cannot be applied to"),
        ("inputs.parameter_values['flip'] && true", "neither true nor false"),
        ("int(inputs.parameter_values['flip']) == 1", "is not a valid int"),
    ],
)
def test_no_value(text: str, problem: str) -> None:
    """A condition over something that does not exist, or over values of incompatible types, is an error."""
    with pytest.raises(ConditionError, match=problem):
        parse_condition(text).value_of(INPUTS)


@pytest.mark.parametrize("text", ["1 +", "(1", "inputs.", "1 2", "'a' == == 'b'", "inputs[1", ")"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    """A mistake in a condition is found at the door."""
    with pytest.raises(InvalidArgument, match="condition"):
        parse_condition(text)


@pytest.mark.parametrize(
    "text", ["size(inputs.x) == 1", "1 in [1]", "a ? b : c", "1 * 2 == 2", "has(inputs.x)"]
)
def test_what_nobody_compiles_to_is_refused(text: str) -> None:
    """The rest of CEL is refused at the door, not misunderstood."""
    with pytest.raises((Unimplemented, InvalidArgument)):
        parse_condition(text)


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No string makes the parser fail in another way."""
    try:
        parse_condition(text)
    except (InvalidArgument, Unimplemented):
        return


@given(
    st.integers(-1000, 1000), st.integers(-1000, 1000), st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
)
def test_numbers_compare_as_numbers(left: int, right: int, sign: str) -> None:
    """Whole and fractional spellings compare by value, as in Python."""
    condition = parse_condition(f"{left} {sign} {float(right)}")

    assert condition.value_of({}) == eval(f"{left} {sign} {right}")  # noqa: S307  # the reference
