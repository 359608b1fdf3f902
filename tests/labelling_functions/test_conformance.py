"""What every labelling function must do, over the whole registry."""

from __future__ import annotations

import pytest

from stillhouse.errors import UsageError
from stillhouse.labelling_functions import LABELLING_FUNCTIONS
from tests.labelling_functions.cases import CONFIGS, LABELS, function

KINDS = LABELLING_FUNCTIONS.names()
LATE = ["it is late", "IT  HAS NOT\nCOME", "他迟到了", "late"]
OTHER = ["", "too lately", "🙂", "a\x00b", "x" * 20_000, "½ \ud83d", "{{label}}"]


def test_every_kind_has_a_case() -> None:
    assert sorted(CONFIGS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
async def test_one_verdict_a_text_in_order_and_the_same_whatever_stands_beside_it(kind: str) -> None:
    made = function(kind)
    assert (made.name, made.weight) == (f"my {kind}", 1.0)
    whole = await made.say([*LATE, *OTHER])
    assert [verdict.label for verdict in whole] == ["late"] * len(LATE) + [None] * len(OTHER)
    assert not [verdict.problem for verdict in whole if verdict.problem]
    assert await made.say([OTHER[1], LATE[1]]) == [whole[5], whole[1]]
    assert await made.say([]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_that_is_none_and_a_field_that_is_none_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=r"here: .*colour"):
        function(kind, colour="red")
    if "label" in CONFIGS[kind]:
        with pytest.raises(UsageError, match=f"'early' is none of the {len(LABELS)} labels"):
            function(kind, label="early")
    assert function(kind, weight=2.5).weight == 2.5
