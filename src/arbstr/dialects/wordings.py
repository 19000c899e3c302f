"""How providers say the same thing: the codes and the wordings by which a refusal's meaning is told.

Each is lower-case. They are what vendors' APIs and the servers that imitate them answer; a new one is a line here and
a line in the tests.
"""

from __future__ import annotations

import re

CREDIT_CODES = frozenset(
    {
        "insufficient_quota",
        "enforced_spend_limit_reached",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "insufficient_user_quota",
        "insufficient_balance",
        "insufficient_credits",
        "insufficient_funds",
        "credits_exhausted",
        "exceeded_current_quota_error",
        "payment_required",
        "arrearage",
    }
)
RATE_CODES = frozenset({"rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "too_many_requests"})
CONTEXT_CODES = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "model_max_prompt_tokens_exceeded",
        "tokens_limit_reached",
        "prompt_too_long",
        "input_too_long",
    }
)
FILTER_CODES = frozenset(
    {
        "content_filter",
        "content_filtered",
        "content_filter_error",
        "content_policy_violation",
        "responsibleaipolicyviolation",
        "moderation_blocked",
        "data_inspection_failed",
        "datainspectionfailed",
        "prompt_blocked",
        "invalid_prompt",
    }
)
MODEL_CODES = frozenset(
    {
        "model_not_found",
        "model_not_found_error",
        "modelnotfound",
        "model_not_exist",
        "model_not_available",
        "invalid_model",
        "unknown_model",
        "deploymentnotfound",
        "unsupported_model",
    }
)

CREDIT = re.compile(
    r"credit balance is too low|insufficient (?:account )?(?:balance|credits?|funds|quota)|out of credits?"
    r"|requires more credits|(?:spend|spending|billing) (?:hard )?limit|exceeded your (?:current )?(?:quota|monthly)"
)
"""Credit is gone, in words that stand for nothing else."""

BILLING = re.compile(r"billing|payment|credits?\b|prepaid|top[ -]?up|recharge|spend")
"""Words of a 429 that is about money, unless it speaks of a rate, too."""

RATE = re.compile(r"rate.?limit|per (?:minute|second|hour|day)|\b[rt]pm\b|too many requests|retry in|try again in")

CONTEXT = re.compile(
    r"context.?(?:length|window|size|limit)|(?:prompt|input)(?: is| are)? too long|too many (?:input )?tokens"
    r"|reduce (?:the|your) (?:length|message size|prompt)|maximum (?:prompt|input) length"
    r"|maximum number of (?:input )?tokens|(?:prompt|input) exceeds (?:the )?max|input token(?:s| length| count)?"
    r"[^.]{0,80}(?:too long|exceed)|tokens`? \+ `?max_new_tokens`? must be|range of input length"
    r"|too large for model with"
)
FILTER = re.compile(
    r"content.?(?:filter|management policy|policy)|usage polic|safety system|moderation|was flagged|flagged as"
    r"|inappropriate content"
)
MODEL = re.compile(
    r"\bmodels?\b[^.]{0,120}(?:not found|not exist|not a valid|is invalid)|not a valid model"
    r"|(?:no such|unknown|invalid|unable to access) model|no endpoints found|^model: "
    r"|deployment [^.]{0,60}does not exist"
)
"""The model is not there. Of a 404, the mere word ``model`` says so."""

NO_SUCH_PATH = re.compile(
    r"^(?:404 )?(?:page |file )?not found\W*$|(?:invalid|unknown request) url|no (?:such )?route|cannot post"
)
"""A 404 that speaks of the path: a provider whose ``base_url`` is wrong, for one."""
