#!/usr/bin/env python3
"""Starts ministack with its faults patched that the tests would otherwise measure or trip over.

Written against ministack 1.5.33 (requirements.txt pins it); every patch asserts that what it replaces is there, so
that another version fails at the start and not in a test.
"""

import random
import socketserver

from ministack import app
from ministack.core import lambda_runtime
from ministack.services import lambda_svc


def send_small_packets_at_once() -> None:
    """The Runtime API answers in two writes; with Nagle's algorithm each invocation waits 40 ms twice."""
    assert socketserver.StreamRequestHandler.disable_nagle_algorithm is False
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True


def wait_less_for_log_lines() -> None:
    """After an invocation that logged nothing, ministack waits 50 ms for a line before it answers."""
    silent_wait_s, pause_s, whole_wait_s = 0.002, 0.001, 0.25
    patched = 0
    for worker in vars(lambda_runtime).values():
        if isinstance(worker, type) and "_drain_stderr_bounded" in vars(worker):
            drain = worker._drain_stderr_bounded
            assert len(drain.__defaults__) == 3
            drain.__defaults__ = (silent_wait_s, pause_s, whole_wait_s)
            patched += 1
    assert patched, "no worker drains its log lines"


def route_by_weight() -> None:
    """An alias's RoutingConfig is stored, but every invocation goes to its main version."""
    invoke, find = lambda_svc._invoke, lambda_svc._effective_func_record_for_qualifier

    async def invoke_by_weight(name, event, headers, path_qualifier=None, query_params=None):
        function = lambda_svc._functions[name] if name in lambda_svc._functions else None
        qualifier = (
            path_qualifier
            or lambda_svc._qp_first(query_params or {}, "Qualifier")
            or lambda_svc._qp_first(headers, "x-amz-qualifier")
        )
        if function is not None and qualifier:
            path_qualifier = choose_version(function, qualifier)
        return await invoke(name, event, headers, path_qualifier, query_params)

    def find_by_weight(function, qualifier):
        if function is not None and qualifier:
            qualifier = choose_version(function, qualifier)
        return find(function, qualifier)

    lambda_svc._invoke = invoke_by_weight
    lambda_svc._effective_func_record_for_qualifier = find_by_weight


def choose_version(function: dict, qualifier: str) -> str:
    """The version that one invocation of an alias goes to; the qualifier itself where it has no weights."""
    alias = function.get("aliases", {}).get(qualifier) or {}
    weights = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    point = random.random()
    for version, weight in weights.items():
        if point < float(weight):
            return version
        point -= float(weight)
    return qualifier


if __name__ == "__main__":
    send_small_packets_at_once()
    wait_less_for_log_lines()
    route_by_weight()
    app.main()
