"""Opening a document of a run's folder: JSON of a known version, or an error that says why not."""

from __future__ import annotations

import json

from taxi_ml.gate.fields import Fields


class DocumentError(ValueError):
    """A document of a run's folder cannot be read."""


def opened(content: bytes, name: str, *, version: int) -> Fields:
    """Return the fields of a document, of which a reader takes those that it shows.

    Raises:
        DocumentError: if it is not a JSON object of this version.

    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{name} is not valid JSON: {error}") from error
    fields = Fields(document, name, DocumentError)
    found = fields.count("schema_version")
    if found != version:
        raise DocumentError(f"{name} has schema_version {found}; this page reads {version}: update it")
    return fields
