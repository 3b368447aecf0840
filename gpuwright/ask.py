"""One question to a model on a host: find its service and key, open the tunnel, stream the answer."""

from __future__ import annotations

import difflib
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import openai
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from gpuwright.connection import Connection
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.stamp import Stamp, StampedService
from gpuwright.tunnel import LOOPBACK, PortRefused

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Question:
    """What to ask; `timeout_s` bounds the whole answer."""

    prompt: str
    system: str | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    timeout_s: float = 300.0


@dataclass(frozen=True)
class Answer:
    """What came back. `tokens_per_second` counts from the first token on; None where nothing was counted."""

    question: str
    answer: str
    model: str
    service: str
    host: str
    first_token_s: float
    total_s: float
    completion_tokens: int | None
    tokens_per_second: float | None


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server within reach; the key stays out of repr."""

    host: str
    service: str
    unit: str
    model: str
    port: int
    key: str = field(repr=False)


def ask(
    connection: Connection, service: StampedService, question: Question, on_text: Callable[[str], None]
) -> Answer:
    """Ask `service` on the connected host; `on_text` gets every piece of text as it arrives."""
    key = fetch_key(connection, service)
    try:
        with connection.tunnel(service.port) as port:
            endpoint = Endpoint(connection.name, service.name, service.unit, service.model, port, key)
            return stream(endpoint, question, on_text)
    except PortRefused as error:
        observed = f"nothing listens on {LOOPBACK}:{service.port}"
        raise _down(connection.name, service.name, service.unit, observed) from error


def choose(stamp: Stamp, host: str, name: str | None = None) -> StampedService:
    """The service called `name`, or the only one; GpuwrightError lists what there is."""
    names = [service.name for service in stamp.services]
    subject = f"host {host}"
    if not names:
        raise GpuwrightError.of(
            subject, "has no service", "a deployed model", "Declare inference_services for it and deploy."
        )
    if name is None and len(names) > 1:
        observed = f"runs several services: {', '.join(names)}"
        raise GpuwrightError.of(subject, observed, "one of them", "Choose with --service NAME.")
    for service in stamp.services:
        if name in (None, service.name):
            return service
    close = difflib.get_close_matches(name or "", names, n=1)
    remedy = f"Did you mean {close[0]}?" if close else f"It has: {', '.join(names)}."
    raise GpuwrightError.of(subject, f"has no service {name}", "a deployed service", remedy)


def fetch_key(connection: Connection, service: StampedService) -> str:
    """The service's API key from its root-only env file on the host."""
    name = service.key
    subject = f"{service.env_file} on {connection.name}"
    result = connection.run(f"cat {shlex.quote(service.env_file)}", timeout=30)
    if not result.ok:
        raise GpuwrightError.of(subject, result.stderr.strip(), "a file that root can read", "Deploy again.")
    key = parse_env(result.stdout).get(name)
    if not key:
        raise GpuwrightError.of(subject, f"holds no {name}", f"a line {name}=...", "Deploy again.")
    return key


def parse_env(text: str) -> dict[str, str]:
    """The NAME=value lines of an env file, taken literally as systemd and docker take them here."""
    lines = (line.strip() for line in text.splitlines())
    return {
        name: value
        for name, found, value in (line.partition("=") for line in lines if not line.startswith("#"))
        if found
    }


def stream(endpoint: Endpoint, question: Question, on_text: Callable[[str], None]) -> Answer:
    """Stream one chat completion and time it; every failure is a GpuwrightError without the key."""
    started = time.monotonic()
    first: float | None = None
    texts: list[str] = []
    tokens: int | None = None
    finish: str | None = None
    try:
        with _client(endpoint, question) as client, _start(client, endpoint, question) as chunks:
            for chunk in chunks:
                if time.monotonic() - started > question.timeout_s:
                    raise _slow(endpoint, question)
                tokens = chunk.usage.completion_tokens if chunk.usage else tokens
                text, reason = _text(chunk)
                finish = reason or finish
                if text:
                    first = first or time.monotonic()
                    texts.append(text)
                    on_text(text)
    except (openai.OpenAIError, ValueError) as error:  # ValueError: a stream that is not JSON
        raise _failure(endpoint, question, error) from None  # the cause's request headers hold the key
    ended = time.monotonic()
    answer = "".join(texts)
    if first is None or not answer.strip():
        observed = f"gave an empty answer (finish reason: {finish or 'none'})"
        raise GpuwrightError.of(
            f"service {endpoint.service} on {endpoint.host}",
            observed,
            "text",
            "Raise --max-tokens, or read the unit's journal.",
        )
    return Answer(
        question=question.prompt,
        answer=answer,
        model=endpoint.model,
        service=endpoint.service,
        host=endpoint.host,
        first_token_s=round(first - started, 4),
        total_s=round(ended - started, 4),
        completion_tokens=tokens,
        tokens_per_second=_rate(tokens, ended - first),
    )


def _client(endpoint: Endpoint, question: Question) -> openai.OpenAI:
    timeout = openai.Timeout(question.timeout_s, connect=CONNECT_TIMEOUT_S)
    return openai.OpenAI(
        base_url=f"http://{LOOPBACK}:{endpoint.port}/v1",
        api_key=endpoint.key,
        timeout=timeout,
        max_retries=0,
        # A proxy from the environment could not reach this machine's loopback, and must not see the key.
        http_client=openai.DefaultHttpxClient(trust_env=False, timeout=timeout),
    )


def _start(
    client: openai.OpenAI, endpoint: Endpoint, question: Question
) -> openai.Stream[ChatCompletionChunk]:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question.prompt}]
    if question.system is not None:
        messages.insert(0, {"role": "system", "content": question.system})
    return client.chat.completions.create(
        model=endpoint.model,
        messages=messages,
        temperature=question.temperature,
        max_tokens=question.max_tokens,  # null is "no limit" in the API
        stream=True,
        stream_options={"include_usage": True},
    )


def _text(chunk: ChatCompletionChunk) -> tuple[str, str | None]:
    """A chunk's text and finish reason; the chunk with the usage has neither."""
    if not chunk.choices:
        return "", None
    return chunk.choices[0].delta.content or "", chunk.choices[0].finish_reason


def _rate(tokens: int | None, seconds: float) -> float | None:
    return round((tokens - 1) / seconds, 2) if tokens and tokens > 1 and seconds > 0 else None


def _failure(endpoint: Endpoint, question: Question, error: Exception) -> GpuwrightError:
    subject = f"service {endpoint.service} on {endpoint.host}"
    status = f"See `gpuwright status {endpoint.host}`."
    message = str(error).replace(endpoint.key, "***")
    if isinstance(error, openai.APITimeoutError):
        return _slow(endpoint, question)
    if isinstance(error, openai.APIConnectionError):
        observed = "the connection closed before the answer was complete"
        return _down(endpoint.host, endpoint.service, endpoint.unit, observed)
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        remedy = f"The key changed after the start: run `systemctl restart {endpoint.unit}` on the host."
        return GpuwrightError.of(subject, "refuses the key of its env file", "that key", remedy)
    if isinstance(error, openai.APIStatusError) and error.status_code == 503:
        return GpuwrightError.of(subject, f"is not ready ({message})", "a loaded model", f"Wait. {status}")
    return GpuwrightError.of(subject, f"failed ({message})", "a chat completion", status)


def _down(host: str, service: str, unit: str, observed: str) -> GpuwrightError:
    remedy = f"See `gpuwright status {host}`, or `journalctl -u {unit}` on the host."
    return GpuwrightError(Refusal(f"service {service} on {host}", observed, f"{unit} running", remedy))


def _slow(endpoint: Endpoint, question: Question) -> GpuwrightError:
    observed = f"did not finish its answer within {question.timeout_s:g} s"
    remedy = f"Raise --timeout or lower --max-tokens. See `gpuwright status {endpoint.host}`."
    return GpuwrightError.of(f"service {endpoint.service} on {endpoint.host}", observed, "an answer", remedy)
