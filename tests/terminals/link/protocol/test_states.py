"""How a command moves."""

import pytest

from terminals.link.protocol.states import last_word


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        (["accepted"], 0),
        (["accepted", "running", "running"], 2),
        (["accepted", "running", "succeeded"], 2),
        (["succeeded", "running"], 0),
        (["succeeded", "failed"], 0),  # the first final word stands
        (["running", "accepted"], 0),
        ([], None),
    ],
)
def test_of_several_results_the_one_that_counts_is_taken(states: list[str], chosen: int | None) -> None:
    assert last_word(enumerate(states)) == chosen
