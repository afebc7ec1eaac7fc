"""A Google provider's schema, read from the TypeScript of its published bindings (cdktf-provider-google).

Beside each argument the bindings say whether it is computed, optional or required; the argument's getter
has its type, a block's class the number of times it may occur. What the provider's code checks beyond its
schema (formats of names, lists of values, arguments that exclude each other) is in no binding.
"""

from __future__ import annotations

import base64
import json
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    # A type as Terraform writes it in JSON: "string", ["set", "string"], ["object", {...}].
    Kind = str | list[Any]

_USED = re.compile(r'^(resource|data) "google_(\w+)"', re.MULTILINE)
_SECTIONS = {"resource": "resource_schemas", "data": "data_source_schemas"}
_CLASS = re.compile(r"^export class (\w+) extends cdktf\.(\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_ARGUMENT = re.compile(
    r"  // (?P<name>\w+) - "
    r"computed: (?P<computed>\w+), optional: (?P<optional>\w+), required: (?P<required>\w+)\n"
    r"(?P<code>(?:  .*\n)*?  \})"
)
_NESTED = re.compile(r' = new (?:cdktf\.)?(\w+)\(this, "\w+"(?:, (true|false))?\)')
_READ = re.compile(r"return (cdktf\.Fn\.tolist\()?this\.get(\w+)Attribute\(")
_DECLARED = re.compile(r"  private _\w+\?: ([^;]+);")
_TYPES: dict[str, Kind] = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
}
# How arguments of the provider itself, which no getter of a type reads, are declared instead.
_GETTERS = {"string": "String", "number": "Number", "string[]": "List"} | {
    "boolean | cdktf.IResolvable": "Boolean",
    "{ [key: string]: string }": "StringMap",
}


def schema_of(archive: Path, configuration: str, *, prefix: str = "") -> tuple[str, dict[str, Any]]:
    """Return the provider's version, and what `terraform providers schema -json` shows of it.

    It has only those of the 1,500 types that the configuration uses. `archive` is the bindings' package for
    Node.js, which the one for Python carries; `prefix` begins the names of its folders.
    """
    wanted = {
        f"package/lib/{'data-google-' * (kind == 'data')}{prefix}{name.replace('_', '-')}/index.js": (
            kind,
            name,
        )
        for kind, name in _USED.findall(configuration)
    }
    found: dict[str, Any] = {section: {} for section in _SECTIONS.values()}
    version = ""
    with tarfile.open(archive, "r|gz") as files:
        for file in files:
            if file.name in wanted:
                kind, name = wanted[file.name]
                found[_SECTIONS[kind]][f"google_{name}"] = Bindings.parse(_text(files, file)).schema()
            elif file.name == "package/lib/provider/index.js":
                provider = Bindings.parse(_text(files, file))
                version, found["provider"] = provider.version, provider.schema()
    return version, found


def _text(files: tarfile.TarFile, file: tarfile.TarInfo) -> str:
    content = files.extractfile(file)
    return content.read().decode() if content else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """The TypeScript of one resource, data source, or of the provider: its classes by name."""

    version: str
    classes: dict[str, str]
    root: str

    @classmethod
    def parse(cls, compiled: str) -> Bindings:
        """Read a compiled module, whose source map carries its source."""
        encoded = compiled.rpartition("base64,")[2]
        source = json.loads(base64.b64decode(encoded))["sourcesContent"][0]
        found = _CLASS.findall(source)
        roots = ("TerraformResource", "TerraformDataSource", "TerraformProvider")
        return cls(
            version=re.findall(r"providerVersion: '(.+)'", source)[0],
            classes={name: body for name, _, body in found},
            root=next(name for name, parent, _ in found if parent in roots),
        )

    def schema(self) -> dict[str, Any]:
        """Return what `terraform providers schema -json` shows for it."""
        return {"version": 0, "block": self._block(self.root)}

    def _block(self, name: str) -> dict[str, Any]:
        attributes, blocks = {}, {}
        for argument in _ARGUMENT.finditer(self.classes[name]):
            nested = _NESTED.search(argument["code"])
            if nested is not None and nested[1] != "StringMap" and argument["computed"] == "false":
                blocks[argument["name"]] = self._nested(argument, nested)
            elif kind := self._type(argument["code"], nested):
                flags = {flag: argument[flag] == "true" for flag in ("computed", "optional", "required")}
                attributes[argument["name"]] = {**flags, "type": kind}
        return {"attributes": attributes, "block_types": blocks}

    def _type(self, code: str, nested: re.Match[str] | None) -> Kind | None:
        if nested is not None and nested[1] == "StringMap":
            return ["map", "string"]
        if nested is not None:
            attributes = self._block(_element(nested[1]))["attributes"]
            members = {name: attribute["type"] for name, attribute in attributes.items()}
            return ["set" if nested[2] == "true" else "list", ["object", members]]
        if read := _READ.search(code):
            found = _TYPES[read[2]]
            return ["set", found[1]] if read[1] else found
        declared = _DECLARED.search(code)
        return _TYPES.get(_GETTERS.get(declared[1], "")) if declared else None

    def _nested(self, argument: re.Match[str], nested: re.Match[str]) -> dict[str, Any]:
        least = 1 if argument["required"] == "true" else 0
        limits = {"min_items": least} if nested[2] else {"min_items": least, "max_items": 1}
        mode = {"true": "set", "false": "list", None: "list"}[nested[2]]
        if argument["name"] == "timeouts":
            mode, limits = "single", {}
        return {"nesting_mode": mode, "block": self._block(_element(nested[1])), **limits}


def _element(name: str) -> str:
    return re.sub(r"List$", "OutputReference", name)
