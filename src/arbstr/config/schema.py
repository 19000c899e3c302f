"""Every key of the configuration: its type, its default and what it means.

The one table. Reading, error messages and ``docs/reference/config.md`` follow it. A field is a key; its annotation
carries a :class:`Key` with the help text and the bounds. A field without a default is required.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from arbstr.config.alerts import Alert
from arbstr.config.kinds import (
    Api,
    ApiKey,
    ByteCount,
    Command,
    Format,
    HeaderName,
    HeaderValue,
    Key,
    Kind,
    Level,
    ModelName,
    Name,
    Sats,
    Seconds,
    StorePath,
    Url,
)
from arbstr.config.money import Auth, Budget, Pricing, RateTable, Savings
from arbstr.config.units import Address
from arbstr.domain.routing import Commit, Network, Strategy, StreamMetadata, Tier


class Timeout(msgspec.Struct, frozen=True):
    connect: Annotated[Seconds | None, Key("TCP and TLS.", low=1)] = None
    first_token: Annotated[
        Seconds | None, Key("Streams: from the request sent to the first content-bearing event.", low=1)
    ] = None
    answer: Annotated[Seconds | None, Key("Whole answers: one attempt.", low=1)] = None
    idle: Annotated[Seconds | None, Key("Between two reads of a stream.", low=1)] = None


class Server(msgspec.Struct, frozen=True):
    listen: Annotated[
        Address,
        Key("`HOST:PORT`. Beyond loopback it needs keys, or `allow_unauthenticated = true`. Port 0 takes a free one."),
    ] = Address("127.0.0.1", 8080)
    max_body: Annotated[ByteCount, Key("The longest request body, decoded. Beyond it: 413.")] = ByteCount(32 * 1024**2)
    max_in_flight: Annotated[int, Key("Requests at a time. Beyond it 503 at once.", low=1, high=1_000_000)] = 1000
    drain_timeout: Annotated[
        Seconds,
        Key("How long requests in flight may take to finish after SIGTERM; streams past it get an error event."),
    ] = Seconds(30.0)
    stream_metadata: Annotated[
        StreamMetadata,
        Key("How cost and latency follow a stream's `[DONE]`: as an SSE comment, as an event, or not at all."),
    ] = StreamMetadata.COMMENT
    allow_unauthenticated: Annotated[bool, Key("Listen beyond loopback, where others can spend your money.")] = False
    trusted_proxies: Annotated[
        tuple[Network, ...],
        Key(
            "Whose `X-Forwarded-For` counts: networks such as `10.0.0.0/8`, or single addresses. Of anybody else it is "
            "ignored, and the caller is the other end of the connection."
        ),
    ] = ()
    admin_key: Annotated[
        ApiKey | None,
        Key(
            "What the operator shows: as `Authorization: Bearer` or `X-Admin-Key`. Without one, `/admin` answers "
            "callers on this machine alone."
        ),
    ] = None


class Store(msgspec.Struct, frozen=True):
    url: Annotated[
        StorePath,
        Key(
            "The request log: `sqlite:///relative.db` or `sqlite:////absolute.db`. "
            "Relative to the folder of the configuration file."
        ),
    ] = StorePath("arbstr.db")
    keep: Annotated[
        Seconds | None,
        Key(
            "How long the rows of the request log are kept, by the full day; for ever if absent. What statistics and "
            "budgets need of them stays, and so do the rows of the running day and the one before (UTC): "
            "[all of it](../how-to/keep-the-log.md).",
            low=1,
        ),
    ] = None


class Model(msgspec.Struct, frozen=True):
    upstream_model: Annotated[
        ModelName | None, Key("The name that the provider knows the model by; its own name if absent.")
    ] = None
    input_rate: Annotated[Sats | None, Key("Satoshis per 1,000 input tokens; the provider's if absent.")] = None
    output_rate: Annotated[Sats | None, Key("Satoshis per 1,000 output tokens; the provider's if absent.")] = None
    base_fee: Annotated[Sats | None, Key("Satoshis per request; the provider's if absent.")] = None
    rates: Annotated[RateTable | None, Key("What it charges, in whole; the provider's if absent.")] = None
    context_window: Annotated[
        int | None, Key("Tokens that fit. If absent, what the price catalogue says, where it knows.", low=1)
    ] = None
    max_output: Annotated[int | None, Key("Tokens that it can write, where it is known.", low=1)] = None
    tools: Annotated[bool | None, Key("Whether it can call tools. If absent, it is not known, and it is asked.")] = None
    vision: Annotated[bool | None, Key("Whether it can read images.")] = None
    json: Annotated[bool | None, Key("Whether it can be made to answer in JSON.")] = None
    reasoning: Annotated[bool | None, Key("Whether it can be told how much to reason.")] = None
    timeout: Annotated[Timeout, Key("Overrides the provider's timeouts for this model.")] = Timeout()


class Provider(msgspec.Struct, frozen=True):
    kind: Annotated[
        Kind | None,
        Key(
            "`openai` is any API that speaks OpenAI's chat completions, `azure` Azure OpenAI, `anthropic` the Messages "
            "API, `gemini` Google's, `bedrock` AWS's Converse, `ollama` a local server. "
            "Default: the provider's name if it is a kind, else `openai`."
        ),
    ] = None
    base_url: Annotated[
        Url | None,
        Key(
            "Of kind openai required: the root of its API, with its `/v1`: `https://api.example.com/v1`. Of azure "
            "required: the resource, `https://name.openai.azure.com`. Of the others the root; default: the vendor's.",
            alias="url",
        ),
    ] = None
    api: Annotated[Api, Key("Of kind openai: by which of its APIs it is called.")] = "chat"
    api_version: Annotated[
        str | None,
        Key("Of kind azure: called by deployment, with this version. If absent: by its `/openai/v1` path."),
    ] = None
    region: Annotated[str | None, Key("Of kind bedrock: the AWS region. Default: `us-east-1`.")] = None
    project: Annotated[
        str | None,
        Key(
            "Of kind gemini, with `location`: the project of Google Cloud whose Vertex AI is called, with the "
            "credentials that google-auth finds (the extra `google`) or the token of `token_command`."
        ),
    ] = None
    location: Annotated[
        str | None, Key("Of kind gemini, with `project`: where, as `global`, `us` or `europe-west4`.")
    ] = None
    api_key: Annotated[
        ApiKey | None,
        Key(
            "Its credential. If absent, the variable `ARBSTR_NAME_API_KEY`, where `NAME` is the provider's name in "
            "upper case with `_` for all but letters and digits; if that is unset too, it is called without a key."
        ),
    ] = None
    token_command: Annotated[
        Command | None,
        Key(
            "Instead of `api_key`: a command that prints a bearer token, or JSON with `access_token` (`accessToken`, "
            "`token`) and its lifetime in `expires_on` or `expires_in`. It runs without a shell, for at most 20 "
            "seconds; a token that does not say how long it lasts is used for five minutes."
        ),
    ] = None
    headers: Annotated[
        dict[HeaderName, HeaderValue],
        Key(
            'Sent with every request to it: `{ "X-Cashu" = "${TOKEN}" }`. Each value is kept secret as a key is. '
            "What frames a message (`Host`, `Content-Length`, `Connection` and the like) is not to be set."
        ),
    ] = {}
    models: Annotated[
        dict[ModelName, Model],
        Key("What it sells: a list of names, or a table for each model. Routes may name others too."),
    ] = {}
    auto_discover: Annotated[
        bool,
        Key(
            "Ask it for its models, at the start and every five minutes, and sell them too, at its own rates or those "
            "of the price catalogue. Those in `models` keep their settings."
        ),
    ] = False
    tier: Annotated[Tier | None, Key("What quality it stands for. Default: `standard`; of kind ollama `local`.")] = None
    input_rate: Annotated[
        Sats | None,
        Key(
            "Satoshis per 1,000 input tokens; 0 if it is free. Without any rates those of the price catalogue hold, "
            "and a model that it does not know has no price. Of kind ollama it is 0 by default."
        ),
    ] = None
    output_rate: Annotated[
        Sats | None,
        Key("Satoshis per 1,000 output tokens; given together with `input_rate`. Of kind ollama it is 0 by default."),
    ] = None
    base_fee: Annotated[Sats, Key("Satoshis per request.")] = Sats(Decimal(0))
    rates: Annotated[RateTable | None, Key("Instead of the three: in dollars, or with rates of more kinds.")] = None
    timeout: Annotated[Timeout, Key("Overrides `resilience.timeout` for this provider.")] = Timeout()


class Endpoint(msgspec.Struct, frozen=True):
    provider: Annotated[
        Name, Key("A provider's name. It need not list the model itself.", expected="the name of a provider")
    ]
    model: Annotated[
        ModelName | None,
        Key("A model that the provider lists, or the name it knows the model by. Default: the route's name."),
    ] = None


class Route(msgspec.Struct, frozen=True):
    strategy: Annotated[
        Strategy | None,
        Key("How candidates are ordered. Default: `priority` with `primary`, else `policies.default_strategy`."),
    ] = None
    primary: Annotated[Endpoint | None, Key("Who is tried first.")] = None
    fallbacks: Annotated[tuple[Endpoint, ...], Key("Who is tried next, in this order.")] = ()
    endpoints: Annotated[
        tuple[Endpoint, ...], Key("Candidates on equal terms, instead of `primary` and `fallbacks`.")
    ] = ()
    commit: Annotated[
        Commit,
        Key("How long a stream is held so that it can still fall back: until its first content, or until it is whole."),
    ] = Commit.FIRST_CONTENT


class Rule(msgspec.Struct, frozen=True):
    name: Annotated[Name, Key("What `X-Arbstr-Policy` chooses it by.", expected="a name for the rule")]
    allowed_models: Annotated[tuple[ModelName, ...] | None, Key("Models it may be used with; all if absent.")] = None
    strategy: Annotated[Strategy | None, Key("Instead of the route's.")] = None
    max_sats_per_1k_output: Annotated[
        Sats | None, Key("Candidates with a higher output rate are left out. Satoshis per 1,000 tokens.")
    ] = None
    keywords: Annotated[
        tuple[str, ...],
        Key("Whole words of the last user message, in any case, that choose it. Without any, only the header does."),
    ] = ()


class Policies(msgspec.Struct, frozen=True):
    default_strategy: Annotated[Strategy, Key("For models without a route of their own.")] = Strategy.CHEAPEST
    rules: Annotated[tuple[Rule, ...], Key("The first that matches wins.")] = ()


class Retry(msgspec.Struct, frozen=True):
    max_attempts: Annotated[int, Key("On one provider, the first included.", low=1, high=100)] = 3
    initial_backoff: Annotated[Seconds, Key("The first wait; each is uniform between half the step and the step.")] = (
        Seconds(0.25)
    )
    max_backoff: Annotated[Seconds, Key("The longest step.")] = Seconds(10.0)
    backoff_multiplier: Annotated[Decimal, Key("From one step to the next.", low=1, high=100)] = Decimal("2.0")
    retryable_errors: Annotated[
        tuple[int, ...],
        Key("Statuses after which a provider may be tried again, if they may pass at all.", low=400, high=599),
    ] = (408, 429, 500, 502, 503, 504, 529)


class CircuitBreaker(msgspec.Struct, frozen=True):
    failure_threshold: Annotated[int, Key("Consecutive failures that open a provider's circuit.", low=1)] = 3
    success_threshold: Annotated[int, Key("Successful probes that close it.", low=1)] = 1
    timeout: Annotated[Seconds, Key("From opening to the first probe.", low=1)] = Seconds(30.0)
    half_open_max_requests: Annotated[int, Key("Probes at a time.", low=1)] = 1


class Timeouts(msgspec.Struct, frozen=True):
    connect: Annotated[Seconds, Key("TCP and TLS.", low=1)] = Seconds(5.0)
    first_token: Annotated[
        Seconds, Key("Streams: from the request sent to the first content-bearing event.", low=1)
    ] = Seconds(30.0)
    answer: Annotated[Seconds, Key("Whole answers: one attempt.", low=1)] = Seconds(300.0)
    idle: Annotated[Seconds, Key("Between two reads of a stream.", low=1)] = Seconds(30.0)
    request: Annotated[Seconds, Key("Everything, all attempts.", low=1)] = Seconds(600.0)


class Resilience(msgspec.Struct, frozen=True):
    retry: Annotated[Retry, Key("When and how often a provider is tried again.")] = Retry()
    circuit_breaker: Annotated[CircuitBreaker, Key("When a provider is left alone.")] = CircuitBreaker()
    timeout: Annotated[Timeouts, Key("How long to wait. The first four also per provider and per model.")] = Timeouts()


class Limits(msgspec.Struct, frozen=True):
    rpm: Annotated[int | None, Key("Requests a minute.", low=1)] = None
    tpm: Annotated[int | None, Key("Tokens a minute, of input and output together.", low=1)] = None
    max_parallel: Annotated[int | None, Key("Requests at a time.", low=1)] = None


class Logging(msgspec.Struct, frozen=True):
    level: Annotated[Level, Key("The least important lines that are written.")] = "info"
    format: Annotated[Format, Key("For machines, or for people.")] = "json"


class Config(msgspec.Struct, frozen=True):
    """A configuration as it was written, with defaults filled in."""

    server: Annotated[Server, Key("How callers reach it.")] = Server()
    store: Annotated[Store, Key("Where it remembers.")] = Store()
    providers: Annotated[dict[Name, Provider], Key("Who sells models. Also `[[providers]]` with a `name`.")] = {}
    models: Annotated[
        dict[ModelName, Route],
        Key(
            "Routes, all optional: without one, every provider that lists the model is a candidate. "
            "`[models.default]` takes the models that nobody lists."
        ),
    ] = {}
    auth: Annotated[Auth, Key("Who may call.")] = Auth()
    budget: Annotated[Budget, Key("What may be spent by all together, and how budgets of keys are held.")] = Budget()
    pricing: Annotated[Pricing, Key("How prices are compared.")] = Pricing()
    savings: Annotated[Savings, Key("What prices are compared with.")] = Savings()
    policies: Annotated[Policies, Key("What may be chosen for whom.")] = Policies()
    resilience: Annotated[Resilience, Key("What to do when a provider fails.")] = Resilience()
    alerts: Annotated[
        tuple[Alert, ...],
        Key(
            "Where to tell of budgets that are spent, keys that stopped working and circuits that opened: "
            "[all of it](../how-to/get-alerts.md), to each."
        ),
    ] = ()
    limits: Annotated[
        Limits,
        Key(
            "What each caller may use, by key, or by address where no key is asked for; what is absent is not limited. "
            "A key with limits of its own has those instead."
        ),
    ] = Limits()
    logging: Annotated[Logging, Key("Lines on stdout.")] = Logging()
