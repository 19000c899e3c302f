from __future__ import annotations

import json

from arbstr.dialects.openai import model_object, models_list


def test_models_are_listed_in_the_given_order() -> None:
    """With the four members that clients read."""
    listed = json.loads(models_list(["b", "a"], created=5, owned_by="arbstr"))

    assert listed == {
        "object": "list",
        "data": [
            {"id": "b", "object": "model", "created": 5, "owned_by": "arbstr"},
            {"id": "a", "object": "model", "created": 5, "owned_by": "arbstr"},
        ],
    }
    assert json.loads(model_object("a", created=5, owned_by="arbstr")) == listed["data"][1]
    assert json.loads(models_list([], created=5, owned_by="arbstr"))["data"] == []
