"""YAML 1.2 as plain data, and plain data as YAML.

ruamel.yaml parses the text and decides what each scalar is. This module builds the data from the parsed nodes, so that
it can refuse two equal keys by their key path, and a document that its aliases would make huge.
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter

from .errors import UserError

MOST_VALUES = 100_000  # in a document whose aliases are written out
NAMED_TAG = "tag:yaml.org,2002:"
TEXT_TAGS = (f"{NAMED_TAG}str", f"{NAMED_TAG}timestamp")  # a date stays text: no setting is a date
PLAIN_TAGS = (*TEXT_TAGS, *(f"{NAMED_TAG}{kind}" for kind in ("null", "bool", "int", "float", "seq", "map")))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping at the top of a YAML file.

    Raises:
        UserError: the file cannot be read, or the causes of `parse_yaml`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected a YAML file, got a file that is not UTF-8 text") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """As `read_yaml`, from a text; `source` names it in errors.

    Raises:
        UserError: not YAML, empty, no mapping at the top, a key given twice, or more than 100,000 values once every
            alias is written out.
    """
    try:
        data = parse_value(text)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error
    if data is None:
        raise UserError(f"{source}: expected a mapping of keys to values, got an empty file")
    if not isinstance(data, dict):
        raise UserError(f"{source}: top level: expected a mapping of keys to values, got {shown(data)}")
    return data


def parse_value(text: str) -> Any:
    """Any YAML text as plain data: mappings with text keys, lists, text, numbers, truth values, None.

    What an alias stands for is copied: two places never share one list.

    Raises:
        ValueError: with one line that says what is wrong, and where.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    try:
        node = yaml.compose(text)
        if node is None:
            return None
        _require_size(node, {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ruamel's advice on numbers in files that declare YAML 1.1
            return _data(node, yaml, "")
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = f"{error.context}, {error.problem}" if error.context else error.problem
        raise ValueError(f"expected valid YAML, got a fault{where}: {problem}") from error
    except YAMLError as error:
        problem = str(error).partition("\n")[0]
        raise ValueError(f"expected valid YAML, got a fault: {problem}") from error
    except RecursionError as error:
        raise ValueError("expected valid YAML, got lists or mappings that are nested too deeply") from error


def _require_size(node: Node, sizes: dict[int, int]) -> int:
    """Count the values under `node`, aliases written out, without writing them out. `sizes`: by node, 0 while open."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise ValueError(f"expected valid YAML, got an anchor that contains itself{_line(node)}")
        return sizes[id(node)]
    sizes[id(node)] = 0
    inner: list[Node] = []
    if isinstance(node, MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, SequenceNode):
        inner = node.value
    sizes[id(node)] = size = 1 + sum(_require_size(part, sizes) for part in inner)
    if size > MOST_VALUES and any(part.anchor for part in inner):
        raise ValueError(f"expected at most {MOST_VALUES} values, got more through repeated aliases{_line(node)}")
    return size


def _data(node: Node, yaml: YAML, path: str) -> Any:
    if node.tag not in PLAIN_TAGS:
        raise ValueError(f"{path or 'top level'}: expected plain data, got the tag {node.tag}{_line(node)}")
    if isinstance(node, MappingNode):
        return _mapping(node, yaml, path)
    if isinstance(node, SequenceNode):
        return [_data(item, yaml, f"{path}[{index}]") for index, item in enumerate(node.value)]
    if node.tag in TEXT_TAGS:
        return node.value
    try:
        return yaml.constructor.construct_object(node)
    except (ValueError, KeyError):  # `!!int x`
        kind = node.tag.removeprefix(NAMED_TAG)
        raise ValueError(f"{path or 'top level'}: expected {kind}, got {shown(node.value)}{_line(node)}") from None


def _mapping(node: MappingNode, yaml: YAML, path: str) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or key.tag == f"{NAMED_TAG}merge":
            kind = "a merge key (<<)" if isinstance(key, ScalarNode) else "a list or a mapping"
            raise ValueError(f"{path or 'top level'}: expected text as a key, got {kind}{_line(key)}")
        here = f"{path}.{key.value}" if path else key.value
        if key.value in mapping:
            raise ValueError(f"{here}: expected each key once, got it a second time{_line(key)}")
        mapping[key.value] = _data(value, yaml, here)
    return mapping


def _line(node: Node) -> str:
    return f" at line {node.start_mark.line + 1}"


class _Representer(SafeRepresenter):
    """Plain data without anchors; text with line breaks or control characters in quotes, where YAML would fold it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(representer: _Representer, text: str) -> ScalarNode:
    # ruamel's writer leaves a leading ? or : without quotes, which its reader takes for a mark in short lists.
    style = '"' if not text.isprintable() or text.startswith(("?", ":")) else None
    node: ScalarNode = representer.represent_scalar(TEXT_TAGS[0], text, style=style)
    return node


_Representer.add_representer(str, _represent_text)


def to_yaml(data: Any, width: int = 110, short_lists: bool = False) -> str:
    """Plain data as YAML, in the order of the mappings; `parse_yaml` reads it back unchanged.

    Args:
        width: where long text is folded.
        short_lists: write lists of scalars on one line.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None if short_lists else False
    yaml.width = width
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue().removesuffix("...\n")


def shown(value: Any) -> str:
    """A value as errors show it: short, with its kind where that is the point."""
    kinds: dict[type, str] = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value", int: "an integer",
                              float: "a number", type(None): "nothing"}  # fmt: skip
    kind = kinds.get(type(value), type(value).__name__)
    if value is None:
        return kind
    text = json.dumps(value, default=str)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"
