"""Checks of what a service does: where it listens, whom it answers, what, and how fast."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.plan import HostPlan
from gpuwright.plan.model import Json, Service
from gpuwright.verify.answers import probe_for
from gpuwright.verify.check import UNREAD, Finding, check, compare, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import Completion, Listener, Readings

LOOPBACK = "127.0.0.1"
API = "OpenAI API, chat completions"


@check("service.port-loopback", severity="critical", source="plan, port; ss(8)")
def port_loopback(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the service's port listen on 127.0.0.1 and nowhere else?"""
    for service in planned(plan, Service):
        found = _on_port(readings, service)
        observed = None
        if found is not None:
            observed = ", ".join(sorted(f"{each.address}:{each.port}" for each in found)) or "nothing listens"
        meaning = "Others than this host can reach the port, or nobody can."
        action = f"See who listens: ss -ltnp 'sport = :{service.port}'; end it, or systemctl restart {service.unit}."
        yield compare(service.name, observed, f"{LOOPBACK}:{service.port}", meaning, action)


@check("service.port-owner", severity="critical", source="mount namespaces, namespaces(7)")
def port_owner(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is it the service's own container that listens, and no other process?"""
    for service in planned(plan, Service):
        found = _on_port(readings, service)
        container = (readings.processes or {}).get(service.container)
        expected = f"processes of {service.container} alone"
        if found is None or readings.owners is None or readings.processes is None:
            yield unknown(service.name, UNREAD, expected)
            continue
        programs = [program for each in found for program in each.programs]
        if found and (
            not all(each.programs for each in found) or any(pid not in readings.owners for _, pid in programs)
        ):
            yield unknown(service.name, "a listener whose process nobody can name", expected)
            continue
        space = container.space if container else None
        foreign = sorted({f"{name} (pid {pid})" for name, pid in programs if readings.owners[pid] != space})
        observed = ", ".join(foreign) or (expected if found else "nothing listens")
        meaning = "Another program answers in the service's place, and sees its clients' keys."
        yield compare(
            service.name, observed, expected, meaning, f"End it, then: systemctl restart {service.unit}."
        )


@check("service.key-required", severity="critical", source=API)
def key_required(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is a question without a key refused, and one with a wrong key?"""
    for service in planned(plan, Service):
        doors = readings.doors(service.name)
        observed = (
            None if doors is None else f"{_http(doors[0])} without a key, {_http(doors[1])} with a wrong one"
        )
        meaning = "Anybody on the host can use the model, or nothing answers."
        action = f"Compare the unit's files with the plan; systemctl restart {service.unit}."
        yield compare(service.name, observed, "401 without a key, 401 with a wrong one", meaning, action)


@check("service.completion", severity="critical", source=f"{API}; catalog/answers.toml")
def completion(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the model give the expected answer, with a reason to finish and a count of tokens?"""
    for service in planned(plan, Service):
        probe = probe_for(service.model)
        found = readings.completion(service.name)
        if found is None:
            yield unknown(service.name, UNREAD, probe.expected)
            continue
        text, reason = _answer(found)
        tokens = _tokens(found)
        wrong = [
            words
            for bad, words in (
                (found.code != "200", _http(found.code)),
                (not probe.accepts(text), f"answers {_short(text)}"),
                (reason not in ("stop", "length"), f"finish reason {reason}"),
                (tokens is None, "no count of tokens"),
            )
            if bad
        ]
        observed = _http(found.code) if found.code != "200" else ", ".join(wrong) or _short(text)
        meaning = "It does not answer, or not as this model does: clients get errors or nonsense."
        action = f"Read `journalctl -u {service.unit}`; check the model's digests; systemctl restart {service.unit}."
        yield compare(service.name, observed, probe.expected, meaning, action, good=not wrong)


@check("service.model-served", severity="major", source=API)
def model_served(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the answer come from the declared model?"""
    for service in planned(plan, Service):
        found = readings.completion(service.name)
        named = found and found.body.get("model")
        observed = None if found is None else str(named) if named else "no model named"
        meaning = "Another model answers under this service's name."
        yield compare(service.name, observed, service.model, meaning, f"systemctl restart {service.unit}")


@check(
    "service.tokens-per-second", severity="minor", source="completion tokens over the whole request's seconds"
)
def tokens_per_second(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """How fast is an answer, from the request to its last token? A missing number is a failure."""
    expected = "a number above 0"
    for service in planned(plan, Service):
        found = readings.completion(service.name)
        if found is None:
            yield unknown(service.name, UNREAD, expected)
            continue
        tokens = _tokens(found)
        rate = tokens / found.seconds if tokens and found.seconds > 0 else 0
        observed = (
            f"{rate:.1f} tokens/s ({tokens} in {found.seconds:.2f} s, prompt included)"
            if rate
            else "no number"
        )
        meaning = "Nobody can say how fast it is."
        yield compare(service.name, observed, expected, meaning, "See service.completion.", good=rate > 0)


def _on_port(readings: Readings, service: Service) -> list[Listener] | None:
    listeners = readings.listeners
    return None if listeners is None else [each for each in listeners if each.port == service.port]


def _http(code: str) -> str:
    return {"000": "no answer", "foreign": "not asked: another account has the port"}.get(code, code)


def _choice(found: Completion) -> dict[str, Json]:
    choices = found.body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _answer(found: Completion) -> tuple[str, str]:
    """The text and the finish reason; a model that thinks aloud may not have come further than its thoughts."""
    choice = _choice(found)
    message = choice.get("message")
    words = message if isinstance(message, dict) else {}
    return str(words.get("content") or words.get("reasoning_content") or ""), str(choice.get("finish_reason"))


def _tokens(found: Completion) -> int | None:
    usage = found.body.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return count if type(count) is int and count > 0 else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line[:60]}{"..." if len(line) > 60 else ""}"'
