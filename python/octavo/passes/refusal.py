"""Why a converter does not take a node."""

from __future__ import annotations


class Refused(Exception):
    """The node runs as a Python step instead; the text says why."""


def require(condition: object, why: str) -> None:
    """Refuses the node unless the condition holds."""
    if not condition:
        raise Refused(why)
