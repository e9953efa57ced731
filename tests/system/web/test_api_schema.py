"""Whatever the OpenAPI allows, and what not: no error of the server's own, no reply but those that it tells of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from support.attacks import Target, project
from support.http_clients import Served

EXAMPLES = 25  # of each operation
# Not among them: that all that fits is accepted. JSON Schema counts 4.0 among the whole numbers, and asal does not.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    negative_data_rejection,
]
QUIET = settings(
    max_examples=EXAMPLES,
    database=None,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    root = project(tmp_path_factory.mktemp("schema"))
    target = Target(Served(root), root)
    target.people()
    with target.served:
        target.begin()
        yield target


def sent(target: Target, operation: Any, mode: GenerationMode) -> set[int]:
    """Send what fits an operation, or what does not; return the statuses."""
    statuses = set()

    @QUIET
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: Case) -> None:
        reply = case.call(headers=dict(target.signed("Judge")))
        statuses.add(reply.status_code)
        case.validate_response(reply, checks=CHECKS)

    send()
    return statuses


def test_every_operation_answers_as_its_openapi_says(target: Target) -> None:
    told = httpx.get(f"{target.served.url}/api/openapi.json", headers=dict(target.signed("Judge"))).json()
    schema = schemathesis.openapi.from_dict(told)
    schema.config.update(base_url=target.served.url)
    seen = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        seen[operation.label] = sent(target, operation, GenerationMode.POSITIVE)
        if operation.body or operation.path_parameters or operation.query:  # else nothing can be wrong with it
            seen[operation.label] |= sent(target, operation, GenerationMode.NEGATIVE)
    assert len(seen) == 19
    assert all(status < 500 for statuses in seen.values() for status in statuses)
    for label in ("POST /api/next", "GET /api/history"):
        assert {200, 422} <= seen[label], "what fits was not sent, or what does not"
    assert {409, 422} <= seen["POST /api/answers"]
    assert target.get("/api/status").status == 200
