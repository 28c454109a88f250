"""The two public classes: the same operations, one blocking, one awaited."""

from __future__ import annotations

from inspect import iscoroutinefunction, signature

import pytest

from redis_retention import AsyncRetention, Retention
from redis_retention.operations import Operations

NOT_SENT = {"use"}
OPERATIONS = sorted(name for name in vars(Operations) if name[0] != "_" and name not in NOT_SENT)


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_classes_have_each_operation_with_the_same_signature(name: str) -> None:
    assert signature(getattr(Retention, name)) == signature(getattr(AsyncRetention, name))


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_have_its_docstring(name: str) -> None:
    expected = getattr(Operations, name).__doc__
    assert expected
    assert getattr(Retention, name).__doc__ == getattr(AsyncRetention, name).__doc__ == expected


@pytest.mark.parametrize("name", OPERATIONS)
def test_only_the_asynchronous_class_is_awaited(name: str) -> None:
    assert not iscoroutinefunction(getattr(Retention, name))
    assert iscoroutinefunction(getattr(AsyncRetention, name))


def test_a_signature_names_the_result_and_no_operation() -> None:
    assert signature(Retention.plan).return_annotation == "Plan"
    assert signature(AsyncRetention.pins).return_annotation == "list[Pin]"
