from __future__ import annotations

import json

from arbstr.dialects.openai import model_object, models_list


def test_models_are_listed_in_the_given_order() -> None:
    """With the members that OpenAI's clients read, and those that Anthropic's do."""
    listed = json.loads(models_list(["b", "a"], created=5, owned_by="arbstr"))

    both = {
        "object": "model",
        "created": 5,
        "owned_by": "arbstr",
        "type": "model",
        "created_at": "1970-01-01T00:00:05Z",
    }
    assert listed == {
        "object": "list",
        "data": [{"id": "b", "display_name": "b", **both}, {"id": "a", "display_name": "a", **both}],
        "has_more": False,
        "first_id": "b",
        "last_id": "a",
    }
    assert json.loads(model_object("a", created=5, owned_by="arbstr")) == listed["data"][1]
    assert json.loads(models_list([], created=5, owned_by="arbstr"))["data"] == []
