"""A short cut for templates that are text and plain `{{ names }}`, as most are: eight times as fast.

It does what the library would, or declines: for a name that is missing and for any value but texts and whole
numbers the library is asked. tests/content/test_plain.py holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liquid import BoundTemplate
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions.filtered import FilteredExpression
from liquid.builtin.expressions.path import Path
from liquid.builtin.output import OutputNode
from markupsafe import escape

from apps.content.limits import MAX_OUTPUT_BYTES

Pieces = Sequence[str | tuple[str, ...]]  # text, or the path of a value
_SPECIAL = {"size", "first", "last"}  # of a list or a text, where a mapping has no such key
_MOST_BITS = 64
_BYTES_A_CHARACTER = 4  # at most, in UTF-8


def pieces_of(template: BoundTemplate) -> Pieces | None:
    """The template's pieces, or None if there is more in it than text and plain names."""
    pieces: list[str | tuple[str, ...]] = []
    for node in template.nodes:
        piece = node.text if type(node) is ContentNode else _path_of(node)
        if piece is None:
            return None
        pieces.append(piece)
    return pieces


def _path_of(node: object) -> tuple[str, ...] | None:
    if type(node) is not OutputNode or type(node.expression) is not FilteredExpression:
        return None
    path = node.expression.left
    if node.expression.filters or type(path) is not Path:
        return None
    steps = tuple(step for step in path.path if isinstance(step, str) and step not in _SPECIAL)
    return steps if len(steps) == len(path.path) else None


def filled(pieces: Pieces, data: Mapping[str, Any], *, html: bool) -> str | None:
    """The text, or None where the library has to decide."""
    texts = []
    for piece in pieces:
        if type(piece) is str:
            texts.append(piece)
            continue
        value: Any = data
        for step in piece:
            if type(value) is not dict or step not in value:
                return None
            value = value[step]
        if type(value) is int and value.bit_length() <= _MOST_BITS:
            value = str(value)
        elif type(value) is not str:
            return None
        texts.append(str(escape(value)) if html else value)
    text = "".join(texts)
    return text if len(text) * _BYTES_A_CHARACTER <= MAX_OUTPUT_BYTES else None
