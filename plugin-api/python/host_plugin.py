"""A backend of `host` as a Python script. One file, no dependencies, Python 3.9 or later.

Put this file beside your script, name both in a `NAME.plugin.toml`, and write:

    from host_plugin import Backend, Completion, run

    class Acme(Backend):
        async def generate(self, request, io):
            reply = await io.post(
                self.config["base_url"] + "/complete",
                json={"prompt": request.text(), "limit": request.max_tokens},
                secret=("authorization", "Bearer ", "api_key"),
            )
            answer = reply.json()
            return Completion(answer["text"], finish_reason=answer["ended_by"])

    run(Acme)

The host owns sockets, clocks, retries and secrets, so a script opens no connection, never sleeps and does not retry:
it awaits what `io` gives. There is one thread and no asyncio; requests run concurrently, each as a coroutine. What
is written to standard output appears among the host's warnings. `plugin-api/docs/script.md` tells the whole contract.
"""

from __future__ import annotations

import json as _json
import math
import os
import stat
import struct
import sys
from _thread import allocate_lock
from collections import deque
from dataclasses import dataclass, field
from time import thread_time_ns
from typing import Any, Callable, Coroutine, Iterable, Mapping, Sequence, Union

__all__ = [
    "Backend", "Changed", "Choice", "Completion", "Description", "Embed", "Generate", "Health", "Held", "Host",
    "Image", "Io", "Likelihood", "Loglikelihood", "Message", "PluginError", "Reply", "Rolling", "Secret",
    "SseEvent", "Stream", "TokenLogprob", "Usage", "run",
]

PROTOCOL = 1
MAX_HEAD = 16 * 1024 * 1024
MAX_BODY = 256 * 1024 * 1024

Json = Any
Span = Sequence[int]


class PluginError(Exception):
    """A failure of one item. `kind` is one of the contract's: `rate_limited`, `overloaded`, `loading`, `timeout`,
    `transport`, `unauthorized`, `forbidden_origin`, `invalid_request`, `context_length`, `content_filter`,
    `unsupported`, `unexpected_reply`, `cancelled`, `other`. The host alone decides what is asked again."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        http_status: int | None = None,
        retry_after_ms: int | None = None,
        request_id: str | None = None,
        excerpt: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.http_status = http_status
        self.retry_after_ms = retry_after_ms
        self.request_id = request_id
        self.excerpt = excerpt

    def _head(self) -> dict[str, Json]:
        return _known(
            kind=_str("PluginError.kind", self.kind), message=str(self.message),
            http_status=_whole("PluginError.http_status", self.http_status, 2**16),
            retry_after_ms=_rounded_up("PluginError.retry_after_ms", self.retry_after_ms),
            request_id=None if self.request_id is None else str(self.request_id),
            excerpt=None if self.excerpt is None else str(self.excerpt),
        )


def _unsupported(what: str) -> PluginError:
    return PluginError("unsupported", f"this backend does not support {what}")


# What is asked


@dataclass(frozen=True)
class Image:
    """An image in a message."""

    media_type: str
    data: bytes


@dataclass(frozen=True)
class Message:
    """A chat message. `role` is `system`, `user`, `assistant` or a vendor's own; the parts come in order."""

    role: str
    content: list[Union[str, Image]]

    def text(self) -> str:
        """All of it, if it is nothing but text; `unsupported` otherwise."""
        if not all(isinstance(part, str) for part in self.content):
            raise _unsupported("images")
        return "".join(part for part in self.content if isinstance(part, str))


Prompt = Union[str, "list[Message]"]


class _Prompted:
    prompt: Prompt

    def text(self) -> str:
        """The plain text; `unsupported` if the prompt is a conversation."""
        if isinstance(self.prompt, str):
            return self.prompt
        raise _unsupported("chat messages")

    def messages(self) -> list[Message]:
        """The conversation; a plain text is that of one user."""
        return [Message("user", [self.prompt])] if isinstance(self.prompt, str) else self.prompt


@dataclass(frozen=True)
class Generate(_Prompted):
    """Generate `n` choices. A last message of the assistant is a prefix that the answer continues. `extra` holds
    parameters of the vendor's own, to be passed through; `stream` says whether deltas are wanted."""

    prompt: Prompt
    n: int = 1
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: list[str] = field(default_factory=list)
    seed: int | None = None
    logprobs: int | None = None
    stream: bool = False
    extra: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Loglikelihood(_Prompted):
    """Score each continuation on its own after one shared context."""

    prompt: Prompt
    continuations: list[str]
    token_logprobs: bool = False


@dataclass(frozen=True)
class Rolling:
    """Score every token of a text once."""

    text: str


@dataclass(frozen=True)
class Embed:
    """One vector a text."""

    texts: list[str]


@dataclass(frozen=True)
class Held:
    """An outside resource that was noted by `Io.hold` and not freed since."""

    name: str
    note: Json


# What is answered


@dataclass
class TokenLogprob:
    """Log-probability of a generated token, and the alternatives there, the likeliest first."""

    token: str
    logprob: float | None
    top: list[tuple[str, float | None]] = field(default_factory=list)

    def _head(self) -> dict[str, Json]:
        top = [
            [_str("TokenLogprob.top", token), _number("TokenLogprob.top", logprob)] for token, logprob in self.top
        ]
        return {
            "token": _str("TokenLogprob.token", self.token),
            "logprob": _number("TokenLogprob.logprob", self.logprob),
            **({"top": top} if top else {}),
        }


@dataclass
class Choice:
    """One choice. `finish_reason` is `stop`, `length`, `content_filter`, `tool_calls` or a vendor's own."""

    text: str
    finish_reason: str = "stop"
    reasoning: str | None = None
    logprobs: list[TokenLogprob] | None = None


@dataclass
class Usage:
    """Tokens used, as far as the server says."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd_nanos: int | None = None


@dataclass
class Changed:
    """A parameter that was dropped or changed, because the server or model would not take it."""

    parameter: str
    detail: str


@dataclass
class Completion:
    """What a model generated: one choice by `text`, `finish_reason` and `reasoning`, or several by `choices`."""

    text: str = ""
    finish_reason: str = "stop"
    reasoning: str | None = None
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    changed: list[Changed] = field(default_factory=list)
    choices: list[Choice] | None = None

    def _head(self, body: bytearray) -> dict[str, Json]:
        choices, of = self.choices, "Choice"
        if choices is None:
            choices, of = [Choice(self.text, self.finish_reason, self.reasoning)], "Completion"
        heads = []
        for choice in _list("Completion.choices", choices, Choice):
            logprobs = choice.logprobs
            if logprobs is not None:
                logprobs = [one._head() for one in _list(f"{of}.logprobs", logprobs, TokenLogprob)]
            heads.append(_known(
                text=_put(body, f"{of}.text", choice.text),
                reasoning=None if choice.reasoning is None else _put(body, f"{of}.reasoning", choice.reasoning),
                finish_reason=_str(f"{of}.finish_reason", choice.finish_reason),
                logprobs=logprobs,
            ))
        changed = [
            {name: _str(f"Changed.{name}", value) for name, value in vars(one).items()}
            for one in _list("Completion.changed", self.changed, Changed)
        ]
        usage = Usage() if self.usage is None else _is("Completion.usage", self.usage, Usage)
        used = {name: _whole(f"Usage.{name}", value) for name, value in vars(usage).items()}
        model = _str_or_none("Completion.model", self.model)
        return _known(choices=heads, usage=_known(**used), model=model, changed=changed or None)


@dataclass
class Likelihood:
    """How likely a continuation is: the sum of the natural log-probabilities of its tokens, their number (never 0),
    whether each is the likeliest one (None: unknown)."""

    logprob: float | None
    tokens: int
    greedy: bool | None = None
    boundary_merged: bool = False
    token_logprobs: list[float | None] | None = None
    prompt_tokens: int | None = None

    def _head(self) -> dict[str, Json]:
        each = self.token_logprobs
        if each is not None:
            each = [_number("Likelihood.token_logprobs", one) for one in each]
        return {
            "logprob": _number("Likelihood.logprob", self.logprob),
            "tokens": _whole("Likelihood.tokens", _is_there("Likelihood.tokens", self.tokens), 2**32),
            **_known(
                greedy=None if self.greedy is None else _is("Likelihood.greedy", self.greedy, bool),
                boundary_merged=_is("Likelihood.boundary_merged", self.boundary_merged, bool) or None,
                token_logprobs=each,
                prompt_tokens=_whole("Likelihood.prompt_tokens", self.prompt_tokens),
            ),
        }


@dataclass
class Health:
    """Whether the server is ready, and why not."""

    ready: bool
    detail: str = ""

    def _head(self) -> dict[str, Json]:
        return {"ready": _is("Health.ready", self.ready, bool), "detail": _str("Health.detail", self.detail)}


@dataclass
class Description:
    """What is behind the backend. `bos` is `bos`, `none` or words; `lacks` names capabilities of the manifest that
    this backend lacks all the same."""

    model: str | None = None
    engine: str | None = None
    version: str | None = None
    context_tokens: int | None = None
    bos: str | None = None
    lacks: list[str] = field(default_factory=list)
    prices: str | None = None

    def _head(self) -> dict[str, Json]:
        texts = {
            name: _str_or_none(f"Description.{name}", getattr(self, name))
            for name in ("model", "engine", "version", "bos", "prices")
        }
        return _known(
            **texts, context_tokens=_whole("Description.context_tokens", self.context_tokens),
            lacks=_list("Description.lacks", self.lacks, str) or None,
        )


# What a backend may use


@dataclass(frozen=True)
class Secret:
    """A part of a header value that the host fills in: the secret of this slot. It never enters this process."""

    slot: str

    def _head(self) -> dict[str, str]:
        return {"secret": self.slot}


HeaderValue = Union[str, "Sequence[Union[str, Secret]]"]


class Host:
    """What a backend is opened with, beside its configuration."""

    def __init__(self, plugin: _Plugin, head: Mapping[str, Json]) -> None:
        self._plugin = plugin
        self.secrets: frozenset[str] = frozenset(head.get("secrets", ()))
        """The slots that the host has a secret for."""
        self.env: dict[str, str] = head.get("env", {})
        """The environment variables that the manifest names, as far as they are set."""
        self.assets: dict[str, str] = head.get("assets", {})
        """Paths of the files that the run file grants."""

    def log(self, text: str, level: int = 2) -> None:
        """Writes a line to the host's log: 1 an error, 2 a warning; 3 to 5 are not shown."""
        self._plugin.send({"log": {"level": level, "text": str(text)}})


class Reply:
    """A server's reply."""

    def __init__(self, status: int, headers: Iterable[Sequence[str]], body: bytes) -> None:
        self.status = status
        self.headers: dict[str, str] = {}
        """Those that the manifest, or the call, asked for, by names in lower case. The first of a name."""
        for name, value in headers:
            self.headers.setdefault(name, value)
        self.body = body

    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Json:
        """The body as JSON; `unexpected_reply` if it is none."""
        try:
            return _json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise PluginError(
                "unexpected_reply", f"the reply is not JSON: {error}", http_status=self.status,
                excerpt=_excerpt(self.body),
            ) from None

    def check(self) -> Reply:
        """Itself if the status is 2xx, else raises `error()`."""
        if 200 <= self.status < 300:
            return self
        raise self.error()

    def error(self) -> PluginError:
        """The failure that the status alone tells, with the beginning of the body."""
        status = self.status
        if status in (401, 403):
            kind, message = "unauthorized", "the server refused the key"
        elif status in (408, 504):
            kind, message = "timeout", "the server ran out of time"
        elif status == 429:
            kind, message = "rate_limited", "the server asks for fewer requests"
        elif 400 <= status < 500:
            kind, message = "invalid_request", "the server does not accept the request"
        elif 500 <= status < 600:
            kind, message = "overloaded", "the server failed"
        else:
            kind, message = "unexpected_reply", "the status is neither success nor a known failure"
        return PluginError(
            kind, message, http_status=status, retry_after_ms=self._retry_after_ms(),
            request_id=self.headers.get("x-request-id"), excerpt=_excerpt(self.body),
        )

    def _retry_after_ms(self) -> int | None:
        for name, factor in (("retry-after-ms", 1), ("retry-after", 1000)):
            try:
                wait = float(self.headers[name]) * factor
            except (KeyError, ValueError):
                continue
            if 0 <= wait < 2**63:
                return round(wait)
        return None


@dataclass
class SseEvent:
    """A server-sent event."""

    name: str
    data: str

    def json(self) -> Json:
        """The data as JSON; `unexpected_reply` if it is none."""
        return Reply(200, (), self.data.encode("utf-8", "replace")).json()


class Stream:
    """A streamed reply: `async for chunk in stream` gives bytes, cut anywhere; `stream.events()` gives server-sent
    events. Both raise for a status that is not 2xx, unless `check=False` was said."""

    def __init__(self, call: _Call, check: bool) -> None:
        self._call = call
        self._check = check
        self._head: Reply | None = None

    async def head(self) -> Reply:
        """Status and headers, with no body."""
        if self._head is None:
            _, head, _ = await self._call.next()
            reply = Reply(head["status"], head.get("headers", ()), b"")
            if self._check and not 200 <= reply.status < 300:
                reply.body = b"".join([chunk async for chunk in _Chunks(self._call)])
                raise reply.error()
            self._head = reply
        return self._head

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        await self.head()
        return await _Chunks(self._call).__anext__()

    def events(self) -> _Events:
        """The events of a `text/event-stream`."""
        return _Events(self)

    def close(self) -> None:
        """The rest is not wanted."""
        self._call.cancel()


class _Chunks:
    def __init__(self, call: _Call) -> None:
        self._call = call

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        if self._call.over and not self._call.queue:
            raise StopAsyncIteration
        name, _, body = await self._call.next()
        if name == "end":
            raise StopAsyncIteration
        return body


class _Events:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._parser = SseParser()
        self._ready: deque[SseEvent] = deque()

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> SseEvent:
        while not self._ready:
            self._ready.extend(self._parser.push(await self._stream.__anext__()))
        return self._ready.popleft()


class SseParser:
    """Server-sent events out of bytes cut anywhere. Lines end in LF, CRLF or CR; comments are passed over."""

    def __init__(self) -> None:
        self._pending = b""
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []

    def push(self, chunk: bytes) -> list[SseEvent]:
        """Takes bytes in and gives the events that they complete."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        text = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._pending = (self._pending + text).split(b"\n")
        events = []
        for line in lines:
            if line:
                self._line(line.decode("utf-8", "replace"))
                continue
            if self._data:
                events.append(SseEvent(self._name, "\n".join(self._data)))
            self._name, self._data = "", []
        return events

    def _line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value


class Io:
    """The host's services for one item. Everything awaited in a backend comes from here."""

    def __init__(self, session: _Session, item: int) -> None:
        self._session = session
        self.item = item
        """The number of the item in its batch, from 0."""

    @property
    def request_id(self) -> str:
        """The host's name for the sample and attempt."""
        return str(self._session.start.get("request_id", ""))

    @property
    def attempt(self) -> int:
        """1 for the first one."""
        return int(self._session.start.get("attempt", 1))

    @property
    def deadline_ms(self) -> int:
        """Milliseconds from the beginning until the host ends this; 0 if it never does."""
        return int(self._session.start.get("deadline_ms", 0))

    async def get(self, url: str, **options: Any) -> Reply:
        """`send` with GET."""
        return await self.send("GET", url, **options)

    async def post(self, url: str, **options: Any) -> Reply:
        """`send` with POST."""
        return await self.send("POST", url, **options)

    async def send(self, method: str, url: str, *, check: bool = True, **options: Any) -> Reply:
        """Sends a request and waits for the whole reply. Raises for a status that is not 2xx, unless `check` is
        False, and for what the host's transport says. The options are:

        - `json`: the body, written as JSON, with its content type; or `body`: bytes or text as they stand
        - `headers`: names, and values: a text, or a list of texts and `Secret`s
        - `secret`: a header with one secret, `(name, before, slot)`
        - `timeout_ms`: for this request; the host's own bound holds too
        - `reply_headers`: names wanted beside those of the manifest
        """
        call = self._http(method, url, stream=False, **options)
        _, head, body = await call.next()
        reply = Reply(head["status"], head.get("headers", ()), body)
        return reply.check() if check else reply

    def stream(self, url: str, *, method: str = "POST", check: bool = True, **options: Any) -> Stream:
        """Sends a request whose reply comes in chunks. The options are those of `send`."""
        return Stream(self._http(method, url, stream=True, **options), check)

    def _http(
        self,
        method: str,
        url: str,
        *,
        stream: bool,
        json: Json = None,
        body: bytes | str = b"",
        headers: Mapping[str, HeaderValue] | None = None,
        secret: tuple[str, str, str] | None = None,
        timeout_ms: int = 0,
        reply_headers: Sequence[str] = (),
    ) -> _Call:
        values: dict[str, HeaderValue] = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            body = _json.dumps(json, ensure_ascii=False, separators=(",", ":"))
            values.setdefault("content-type", "application/json")
        if secret is not None:
            name, before, slot = secret
            values[name.lower()] = [before, Secret(slot)] if before else [Secret(slot)]
        return self._session.call("http", {
            "method": _str("method", method), "url": _str("url", url),
            "headers": [[name, _header(name, value)] for name, value in values.items()],
            "stream": stream, "timeout_ms": _rounded_up("timeout_ms", timeout_ms) or 0,
            "reply_headers": _list("reply_headers", list(reply_headers), str),
        }, body.encode("utf-8", "replace") if isinstance(body, str) else bytes(body))

    async def wait(self, seconds: float) -> None:
        """Waits. The host owns the clock."""
        await self._session.call("wait", {"ms": max(0, round(seconds * 1000))}).next()

    async def hold(self, name: str, note: Json) -> None:
        """Notes that an outside resource, one that costs until it is freed, is about to be made. When this returns
        the note is on the disk, and `release` will be given it."""
        await self._session.call("hold", {"name": _str("name", name)}, _dumps(note)).next()

    async def free(self, name: str) -> None:
        """Notes that a resource is held no more."""
        await self._session.call("free", {"name": _str("name", name)}).next()

    async def turn(self) -> None:
        """Gives others a turn. A backend that computes calls this at least every 200 ms."""
        self._session.push({"again": {}})
        await self._session.resumed

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function on a thread of its own and waits for what it returns or raises."""
        return await self._session.in_thread(function, arguments)

    async def gather(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Runs coroutines concurrently and gives what they return, in order. The first failure ends the others."""
        return await self._session.gather(coroutines, self.item)

    def delta(self, text: str) -> None:
        """Passes on text of this item as it is generated. The completion brings the whole text all the same."""
        self._session.push({"delta": {"item": self.item}}, _str("text", text).encode("utf-8", "replace"))

    def limits(
        self,
        *,
        requests_remaining: int | None = None,
        tokens_remaining: int | None = None,
        reset_ms: int | None = None,
    ) -> None:
        """Passes on what the server said of its rate limits."""
        self._session.push({"limits": _known(
            requests_remaining=_whole("requests_remaining", requests_remaining),
            tokens_remaining=_whole("tokens_remaining", tokens_remaining), reset_ms=_rounded_up("reset_ms", reset_ms),
        )})


class Backend:
    """A vendor's backend. One value is one configured backend; its requests run concurrently. Overwrite what it can
    do, and declare that in the manifest's `capabilities`.

    A `PluginError` that is raised is the item's failure. Any other exception is a fault of the plugin: the item fails
    as `panic`, with the traceback among the host's warnings, and the backend goes on."""

    def __init__(self, config: dict[str, Json], host: Host) -> None:
        """`config` is that of the backend's table in the run file, with the table's own `base_url` and `model`, checked
        against the manifest's schema. No I/O here, but to the files that `host.assets` names."""
        self.config = config
        self.host = host

    async def generate(self, request: Generate, io: Io) -> Completion:
        """Generates `request.n` choices."""
        raise _unsupported("generate")

    async def loglikelihood(self, request: Loglikelihood, io: Io) -> list[Likelihood]:
        """Scores each continuation; the answers in the same order."""
        raise _unsupported("loglikelihood")

    async def loglikelihood_rolling(self, request: Rolling, io: Io) -> Likelihood:
        """Scores every token of `request.text` once."""
        raise _unsupported("loglikelihood_rolling")

    async def health(self, io: Io) -> Health:
        """Whether the server is ready."""
        raise _unsupported("health")

    async def prepare(self, held: list[Held], io: Io) -> None:
        """Comes once before the first sample, with what an earlier run of the same directory still holds."""

    async def release(self, held: list[Held], io: Io) -> None:
        """Comes once after the last sample, perhaps in a later process: `held` is all that it may rely on."""

    async def describe(self, io: Io) -> Description:
        """What is behind the backend, as far as it can tell."""
        return Description()

    async def tokenize(self, text: str, io: Io) -> list[int]:
        """Token ids of a text, special tokens added as the server adds them."""
        raise _unsupported("tokenize")

    async def render(self, messages: list[Message], io: Io) -> str:
        """Chat messages as the text that the model sees."""
        raise _unsupported("render")

    async def embed(self, request: Embed, io: Io) -> list[list[float]]:
        """One vector a text."""
        raise _unsupported("embed")


def run(backend: Callable[[dict[str, Json], Host], Backend]) -> None:
    """Serves the host until it wants no more. Call this at the end of the script."""
    if _STREAMS is None:
        sys.exit(f"{sys.argv[0]} is a plugin, which a run of `host` starts; `host plugin list` shows what there is")
    _Plugin(*_STREAMS).serve(backend)


# Requests and answers as they travel: texts are spans of a message's body.


def _request(kind: str, head: Mapping[str, Json], body: bytes) -> tuple[Any, ...]:
    """What the backend's method of this name gets before its `io`."""
    try:
        return _read_request(kind, head, body)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PluginError("protocol", f"a request that cannot be read: {_in_words(error)}") from None


def _read_request(kind: str, head: Mapping[str, Json], body: bytes) -> tuple[Any, ...]:
    if kind == "generate":
        seed = head.get("seed")
        rest = {name: head[name] for name in _GENERATE if head.get(name) is not None}
        return (Generate(_prompt(head["prompt"], body), seed=None if seed is None else int(seed), **rest),)
    if kind == "loglikelihood":
        continuations = [_text(span, body) for span in head["continuations"]]
        prompt = _prompt(head["prompt"], body)
        return (Loglikelihood(prompt, continuations, head.get("token_logprobs", False)),)
    if kind == "loglikelihood_rolling":
        return (Rolling(_text(head["text"], body)),)
    if kind in ("prepare", "release"):
        return ([Held(one["name"], one.get("note")) for one in head.get("held", ())],)
    if kind == "tokenize":
        return (_text(head["text"], body),)
    if kind == "render":
        return ([_message(one, body) for one in head["messages"]],)
    if kind == "embed":
        return (Embed([_text(span, body) for span in head["texts"]]),)
    if kind in ("health", "describe"):
        return ()
    raise _unsupported(f"requests of the kind {kind}")


_GENERATE = (
    "n", "max_tokens", "temperature", "top_p", "top_k", "stop", "logprobs", "stream", "extra",
)


def _prompt(head: Mapping[str, Json], body: bytes) -> Prompt:
    if "text" in head:
        return _text(head["text"], body)
    return [_message(one, body) for one in head["messages"]]


def _message(head: Mapping[str, Json], body: bytes) -> Message:
    parts: list[Union[str, Image]] = []
    for part in head["content"]:
        if "text" in part:
            parts.append(_text(part["text"], body))
        else:
            parts.append(Image(part["image"]["media_type"], _bytes(part["image"]["data"], body)))
    return Message(head["role"], parts)


def _bytes(span: Span, body: bytes) -> bytes:
    start, length = span
    if not 0 <= start <= start + length <= len(body):
        raise ValueError(f"the span {span} leaves the body")
    return body[start:start + length]


def _text(span: Span, body: bytes) -> str:
    return _bytes(span, body).decode("utf-8")


def _answer(kind: str, answer: Any, body: bytearray) -> dict[str, Json]:
    """The head of an answer, whose texts go into `body`."""
    _check(kind, answer)
    if kind == "generate":
        return {"completion": answer._head(body)}
    if kind == "loglikelihood":
        return {"likelihoods": [one._head() for one in _list("loglikelihood", answer, Likelihood)]}
    if kind == "loglikelihood_rolling":
        return {"likelihoods": [answer._head()]}
    if kind == "health":
        return {"health": answer._head()}
    if kind == "describe":
        return {"description": answer._head()}
    if kind == "tokenize":
        return {"tokens": [_whole("tokenize", _is_there("tokenize", one), 2**32) for one in answer]}
    if kind == "render":
        return {"rendered": _put(body, "render", answer)}
    if kind == "embed":
        return {"vectors": [[_number("embed", x) for x in vector] for vector in answer]}
    return {"nothing": {}}


def _check(kind: str, answer: object) -> None:
    expected = _ANSWERS[kind]
    if not isinstance(answer, expected):
        raise TypeError(f"`{kind}` must return {expected.__name__}, and returned {type(answer).__name__}")


_ANSWERS: dict[str, type] = {
    "generate": Completion, "loglikelihood": list, "loglikelihood_rolling": Likelihood, "health": Health,
    "prepare": type(None), "release": type(None), "describe": Description, "tokenize": list, "render": str,
    "embed": list,
}


def _put(body: bytearray, field: str, text: str) -> Span:
    try:
        raw = _str(field, text).encode("utf-8")
    except UnicodeEncodeError as error:
        found = ascii(text[error.start])
        message = f"`{field}` is no text: it holds the lone surrogate {found} at character {error.start}"
        raise PluginError("unexpected_reply", message) from None
    span = (len(body), len(raw))
    body += raw
    return span


def _known(**values: Any) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


# What the host would not read is told here, where the field still has its name. (To Python `True` is a number, and to
# nobody else.)


def _is(field: str, value: Any, expected: type) -> Any:
    if not isinstance(value, expected):
        raise TypeError(f"`{field}` must be {expected.__name__}, and is {type(value).__name__}")
    return value


def _is_there(field: str, value: Any) -> Any:
    if value is None:
        raise TypeError(f"`{field}` must be int, and is NoneType")
    return value


def _str(field: str, value: Any) -> str:
    text: str = _is(field, value, str)
    return text


def _str_or_none(field: str, value: Any) -> str | None:
    return None if value is None else _str(field, value)


def _list(field: str, values: Any, expected: type) -> list[Any]:
    if isinstance(values, (list, tuple)):
        for one in values:
            if not isinstance(one, expected):
                raise TypeError(f"`{field}` must be list of {expected.__name__}, and holds {type(one).__name__}")
        return list(values)
    raise TypeError(f"`{field}` must be list, and is {type(values).__name__}")


def _number(field: str, value: Any) -> float | None:
    """What is not a number of JSON travels as null."""
    if value is None:
        return None
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"`{field}` must be a number, and is {value!r}")
    value = value if type(value) in (int, float) else float(value)
    return value if math.isfinite(value) else None


def _whole(field: str, value: Any, end: int = 2**64) -> int | None:
    """A whole number from 0 to below `end`, also one that is written as a float."""
    number = value
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    elif not isinstance(value, bool) and hasattr(value, "__index__"):
        number = value.__index__()
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < end:
        raise TypeError(f"`{field}` must be a whole number from 0 to {end - 1}, and is {value!r}")
    return number


def _rounded_up(field: str, ms: Any) -> int | None:
    """A time, of which a part of a millisecond is a whole one, and one that is over is none."""
    if isinstance(ms, (int, float)) and not isinstance(ms, bool) and math.isfinite(ms):
        ms = max(0, math.ceil(ms))
    return _whole(field, ms)


def _header(name: str, value: HeaderValue) -> Json:
    if isinstance(value, str):
        return value
    if not isinstance(value, (list, tuple)) or not all(isinstance(part, (str, Secret)) for part in value):
        raise TypeError(f"header `{name}` must be str, or a list of str and Secret")
    return [part._head() if isinstance(part, Secret) else {"text": part} for part in value]


def _excerpt(body: bytes) -> str:
    text = body[:500].decode("utf-8", "ignore")
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _dumps(value: Json) -> bytes:
    return _json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


# Sessions: coroutines that wait for the host's events.


class _Event:
    """What coroutines wait for."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[_Task] = []

    def __await__(self) -> Any:
        yield self

    def fire(self) -> None:
        waiting, self.waiting = self.waiting, []
        for task in waiting:
            task.session.ready.append(task)


class _Task:
    """A coroutine on its way."""

    def __init__(self, session: _Session, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.session = session
        self.coroutine = coroutine
        self.calls: list[_Call] = []
        self.over = False
        self.finished = _Event()
        self.result: Any = None
        self.error: Exception | None = None

    def resume(self) -> None:
        """Goes on to where it waits next. What ends the process (`sys.exit`) does."""
        if self.over:
            return
        self.session.task = self
        try:
            awaited = self.coroutine.send(None)
            while not isinstance(awaited, _Event):
                awaited = self.coroutine.throw(TypeError(
                    f"only what `io` gives can be awaited here, and not {awaited!r} (asyncio does not work)"
                ))
            awaited.waiting.append(self)
            return
        except StopIteration as stop:
            self.result = stop.value
        except Exception as error:
            self.error = error
        self.end()

    def end(self) -> None:
        self.over = True
        self.cancel_calls()
        self.finished.fire()

    def cancel_calls(self) -> None:
        """Nobody waits for what it asked for any more."""
        for call in self.calls:
            call.cancel()
        self.calls = []

    def cancel(self) -> None:
        """It is not wanted any more."""
        if not self.over:
            try:
                self.coroutine.close()
            except Exception as error:
                _report(error)
            self.end()


class _Call:
    """Something asked of the host, and the events that answered it."""

    def __init__(self, session: _Session, number: str) -> None:
        self.session = session
        self.number = number
        self.over = False
        self.queue: deque[tuple[str, dict[str, Json], bytes]] = deque()
        self.came = _Event()

    async def next(self) -> tuple[str, dict[str, Json], bytes]:
        """The next event; raises what the transport says."""
        while not self.queue:
            if self.over:
                raise PluginError("cancelled", "the call was given up")
            await self.came
        name, head, body = self.queue.popleft()
        if name == "transport_error":
            raise PluginError(head.get("kind", "transport"), head.get("message", ""))
        return name, head, body

    def take(self, name: str, head: dict[str, Json], body: bytes, is_last: bool) -> None:
        if is_last:
            self.forget()
        self.queue.append((name, head, body))
        self.came.fire()

    def cancel(self) -> None:
        if not self.over:
            self.forget()
            self.session.push({"cancel": {"call": self.number}})

    def forget(self) -> None:
        self.over = True
        self.session.calls.pop(self.number, None)


class _Session:
    """One request, or a batch, from its first event to its end."""

    def __init__(self, plugin: _Plugin, token: str) -> None:
        self.plugin = plugin
        self.token = token
        self.start: dict[str, Json] = {}
        self.actions: list[tuple[bytes, bytes]] = []
        self.tasks: list[_Task] = []
        self.ready: deque[_Task] = deque()
        self.task: _Task | None = None
        self.calls: dict[str, _Call] = {}
        self.streamed: set[str] = set()
        self.last_call = 0
        self.resumed = _Event()
        self.threads = 0
        self.returned: deque[Callable[[], None]] = deque()

    def step(self, event: Mapping[str, Json], body: bytes) -> None:
        """Takes an event in, and goes on as far as it can."""
        for name, head in event.items():
            if name == "start":
                self.begin(head, body)
            elif name == "resumed":
                self.resumed.fire()
            elif isinstance(head, dict) and "call" in head:
                call = self.calls.get(head["call"])
                if call is not None:
                    goes_on = call.number in self.streamed and name in ("reply", "chunk")
                    call.take(name, head, body, not goes_on)
        while self.returned:
            self.threads -= 1
            self.returned.popleft()()
        while self.ready:
            self.ready.popleft().resume()
        if self.threads:
            self.push({"park": {}})

    def begin(self, head: dict[str, Json], body: bytes) -> None:
        self.start = head
        for item, request in enumerate(head["requests"]):
            for kind, fields in request.items():
                self.spawn(self.serve(item, kind, fields, body))

    async def serve(self, item: int, kind: str, head: Mapping[str, Json], body: bytes) -> None:
        """One item, to its answer or failure."""
        try:
            arguments = _request(kind, head, body)
            answer = await getattr(self.plugin.backend, kind)(*arguments, Io(self, item))
            texts = bytearray()
            head = _answer(kind, answer, texts)
            self.give_up_calls()
            self.push({"done": {"item": item, "answer": head}}, bytes(texts))
        except Exception as error:
            self.give_up_calls()
            self.push({"fail": {"item": item, **_failure(error)}})

    def give_up_calls(self) -> None:
        if self.task is not None:
            self.task.cancel_calls()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> _Task:
        task = _Task(self, coroutine)
        self.tasks.append(task)
        self.ready.append(task)
        return task

    async def gather(self, coroutines: Sequence[Coroutine[Any, Any, Any]], item: int) -> list[Any]:
        tasks = [self.spawn(coroutine) for coroutine in coroutines]
        try:
            for task in tasks:
                while not task.over:
                    await task.finished
                if task.error is not None:
                    raise task.error
            return [task.result for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
                self.tasks.remove(task)

    async def in_thread(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        from threading import Thread

        outcome: list[Any] = []
        finished = _Event()

        def work() -> None:
            try:
                outcome.extend((function(*arguments), None))
            except Exception as error:
                outcome.extend((None, error))
            self.returned.append(finished.fire)
            self.plugin.send({"wake": {"session": self.token}})

        self.threads += 1
        Thread(target=work, daemon=True).start()
        while not outcome:
            await finished
        result, error = outcome
        if error is not None:
            raise error
        return result

    def call(self, kind: str, head: dict[str, Json], body: bytes = b"") -> _Call:
        self.last_call += 1
        number = str(self.last_call)
        self.push({kind: {"call": number, **head}}, body)
        call = self.calls[number] = _Call(self, number)
        if head.get("stream"):
            self.streamed.add(number)
        if self.task is not None:
            self.task.calls.append(call)
        return call

    def push(self, action: dict[str, Json], body: bytes = b"") -> None:
        head = _dumps(action)
        # The host ends a process that sends longer ones.
        if len(head) > MAX_HEAD - 1000 or len(body) > MAX_BODY:
            raise PluginError("invalid_request", f"longer than a message may be ({len(head)} and {len(body)} bytes)")
        self.actions.append((head, body))

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()


class _Plugin:
    """The frames from and to the host."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.lock = allocate_lock()
        self.sessions: dict[str, _Session] = {}
        self.backend: Any = None

    def serve(self, backend: Callable[[dict[str, Json], Host], Backend]) -> None:
        try:
            for head, body in self.frames():
                self.take(_json.loads(head), body, backend)
        except (BrokenPipeError, ConnectionResetError):
            return  # The host is gone.

    def take(self, message: dict[str, Json], body: bytes, backend: Callable[[dict[str, Json], Host], Backend]) -> None:
        for name, head in message.items():
            if name == "step":
                self.step(head, body)
            elif name == "end":
                session = self.sessions.pop(head["session"], None)
                if session is not None:
                    session.end()
            elif name == "open":
                self.open(head, body, backend)
            elif name == "close":
                self.close()

    def open(self, head: Mapping[str, Json], body: bytes, backend: Callable[[dict[str, Json], Host], Backend]) -> None:
        try:
            if head.get("protocol", PROTOCOL) != PROTOCOL:
                raise PluginError("unsupported", f"the host speaks protocol {head['protocol']}, this one {PROTOCOL}")
            opening = _object(body)
            config = opening.get("config", {})
            if not isinstance(config, dict):
                raise PluginError("other", "the configuration must be a table")
            self.backend = backend(config, Host(self, opening))
        except PluginError as error:
            self.send({"failed": {"panicked": False, "message": error.message}})
        except Exception as error:
            _report(error)
            self.send({"failed": {"panicked": True, "message": _in_words(error)}})
        else:
            self.send({"opened": {}})

    def close(self) -> None:
        for session in self.sessions.values():
            session.end()
        self.sessions.clear()
        from threading import active_count

        self.send({"closed": {"threads": active_count() - 1}})

    def step(self, head: Mapping[str, Json], body: bytes) -> None:
        token = head["session"]
        session = self.sessions.get(token)
        if session is None and head.get("begin"):
            session = self.sessions[token] = _Session(self, token)
        actions: list[tuple[bytes, bytes]] = []
        stepped, before = b"ok", thread_time_ns()
        if session is not None:
            try:
                event: Any = head.get("event")
                if "event" not in head:
                    # In its place the beginning of the body, which need not be JSON.
                    length = head["head_bytes"]
                    event, body = _object(body[:length]), body[length:]
                session.step(event, body)
            except Exception as error:
                # What the backend raises comes to an item's end before it comes here: the event is none.
                session.actions.clear()
                session.push({"fail": {"kind": "protocol", "message": f"an event that is none: {_in_words(error)}"}})
                stepped = b"failed"
            actions, session.actions = session.actions, []
        did = b'{"did":{"session":"%s"' % token.encode()
        # One frame an action; the last one says that the step is over.
        frames = [_frame(did + b',"action":' + action + b"}}", text) for action, text in actions[:-1]]
        end = b',"stepped":"%s","cpu_us":%d}}' % (stepped, (thread_time_ns() - before) // 1000)
        last, text = actions[-1] if actions else (b"", b"")
        frames.append(_frame(did + (b',"action":' + last if last else b"") + end, text))
        self.write(b"".join(frames))

    def send(self, head: dict[str, Json]) -> None:
        self.write(_frame(_dumps(head), b""))

    def write(self, data: bytes) -> None:
        with self.lock:
            view = memoryview(data)
            while view:
                view = view[os.write(self.sink, view):]

    def frames(self) -> Iterable[tuple[bytes, bytes]]:
        """The frames that come, until the end."""
        held = bytearray()
        start = 0
        while True:
            wanted = 8
            if len(held) - start >= 8:
                head, body = struct.unpack_from("<II", held, start)
                wanted += head + body
                if len(held) - start >= wanted:
                    middle = start + 8 + head
                    yield bytes(held[start + 8:middle]), bytes(held[middle:start + wanted])
                    start += wanted
                    continue
            del held[:start]
            start = 0
            more = os.read(self.source, max(65536, min(wanted - len(held), 1 << 20)))
            if not more:
                return
            held += more


def _object(raw: bytes) -> dict[str, Json]:
    """A JSON object; `protocol` if it is none."""
    try:
        value = _json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PluginError("protocol", f"a message that is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise PluginError("protocol", "a message that is no JSON object")
    return value


def _frame(head: bytes, body: bytes) -> bytes:
    return struct.pack("<II", len(head), len(body)) + head + body


def _failure(error: Exception) -> dict[str, Json]:
    """What an item fails with: what the plugin says, or else a fault of its own."""
    if isinstance(error, PluginError):
        try:
            return error._head()
        except TypeError as fault:
            error = fault
    _report(error)
    return {"kind": "panic", "message": _in_words(error)}


def _in_words(error: Exception) -> str:
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{where}"


def _report(error: Exception) -> None:
    """Writes the traceback of a fault, once for each place that it comes from."""
    from traceback import format_exception

    # The first frame is this file's own.
    trace = error.__traceback__ and error.__traceback__.tb_next
    text = "".join(format_exception(type(error), error, trace))
    if text not in _REPORTED and len(_REPORTED) < 100:
        _REPORTED.add(text)
        sys.stderr.write(text)
        sys.stderr.flush()


_REPORTED: set[str] = set()


def _take_streams() -> tuple[int, int] | None:
    """Where the host started this, takes its two streams for frames alone: what is printed goes to standard error,
    where it cannot come between frames, and nothing is read from standard input."""
    try:
        if not all(stat.S_ISSOCK(os.fstat(stream).st_mode) for stream in (0, 1)):
            return None
    except OSError:
        return None
    taken = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return taken


_STREAMS = _take_streams()
