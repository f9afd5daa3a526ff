"""What a peer's number of instances means when it holds results of this box in the same study."""

from __future__ import annotations

import pytest

from appliance.assemble.confirm import images_there


@pytest.mark.parametrize(
    ("said", "kept", "results", "images"),
    [
        (28, 28, 0, 28),  # complete
        (28, 20, 0, 28),  # more to come
        (33, 29, 4, 29),  # complete; the peer counts four results of ours
        (33, 28, 4, 29),  # one more to come beside our results
        (29, 29, 4, 29),  # complete; this peer does not count results
        (29, 27, 4, None),  # two more to come, or nothing: the number can be read both ways
        (10, 28, 4, 10),  # the box has more than the peer
        (None, 28, 4, None),
    ],
)
def test_results_of_ours_are_not_images_to_wait_for(said, kept, results, images):
    assert images_there(said, kept=kept, results=results) == images
