from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_vertex.domain.errors import InvalidArgument
from local_vertex.plan.placeholders import Kind, Placeholder, parse_template

KEYS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
LITERALS = st.text(alphabet="ab1_ .,:'\"[]()\né", min_size=1, max_size=20)


@st.composite
def placeholders(draw: st.DrawFn) -> str:
    """Strings of all placeholders that exist."""
    key = draw(KEYS)
    form = draw(
        st.sampled_from(
            [
                "{{$}}",
                "{{$.inputs.parameters['KEY']}}",
                '{{$.inputs.parameters["KEY"]}}',
                "{{$.inputs.artifacts['KEY'].uri}}",
                "{{$.inputs.artifacts['KEY'].metadata['KEY']}}",
                "{{$.outputs.artifacts['KEY'].path}}",
                "{{$.outputs.parameters['KEY'].output_file}}",
                "{{$.outputs.output_file}}",
                "{{$.pipeline_job_name}}",
            ]
        )
    )
    return form.replace("KEY", key)


@given(st.lists(st.one_of(LITERALS, placeholders()), max_size=6))
def test_a_template_keeps_its_text(parts: list[str]) -> None:
    """A parsed template prints as the string that it came from."""
    text = "".join(parts)

    assert str(parse_template(text)) == text


@given(st.lists(placeholders(), min_size=1, max_size=4), LITERALS)
def test_every_placeholder_is_found(texts: list[str], between: str) -> None:
    """Each placeholder is found, in order, and its value takes exactly its place."""
    template = parse_template(between.join(texts))

    assert [found.text for found in template.placeholders] == texts
    assert template.render(lambda _: "X") == between.join("X" for _ in texts)


def test_a_placeholder_is_parsed_into_its_parts() -> None:
    """Side, key and metadata property of a placeholder become fields."""
    (found,) = parse_template("{{$.inputs.artifacts['model'].metadata['id']}}").placeholders

    assert found == Placeholder(
        text="{{$.inputs.artifacts['model'].metadata['id']}}",
        kind=Kind.INPUT_ARTIFACT,
        key="model",
        field="metadata",
        property="id",
    )


@pytest.mark.parametrize(
    "text",
    [
        "{{$.inputs.parameter['x']}}",
        "{{$.inputs.parameters['x'].uri}}",
        "{{$.inputs.artifacts['x']}}",
        "{{$.outputs.artifacts['x'].value}}",
        "{{$.outputs.parameters['x']}}",
        "{{$.pipeline_job}}",
        "{{$.inputs.parameters['x]}}",
        "{{$.inputs.parameters['x']",
    ],
)
def test_an_unknown_placeholder_is_an_error(text: str) -> None:
    """An invalid placeholder is refused; it never becomes null."""
    with pytest.raises(InvalidArgument, match="placeholder"):
        parse_template(f"before {text} after")


def test_braces_of_json_are_no_placeholder() -> None:
    """Two braces without a dollar sign, as in nested JSON, stay as they are."""
    template = parse_template('{"a": {"b": {}}}')

    assert template.placeholders == ()
