"""docs/operators.md says what the compiler does."""

from __future__ import annotations

import warnings

import onnx
import pytest

import operator_table
from onnx_cases import PINNED


@pytest.mark.skipif(onnx.__version__ != PINNED, reason=f"the page is about the operator tests of onnx {PINNED}")
def test_the_page_is_what_the_compiler_does() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = operator_table.page()
    assert operator_table.PAGE.read_text() == made, (
        "docs/operators.md is out of date: python tests/conformance/operator_table.py --write"
    )
