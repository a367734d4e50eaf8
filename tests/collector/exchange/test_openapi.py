"""The API against its own OpenAPI document, by schemathesis: no 5xx, every answer to its schema, errors in their shape.

CI tries few examples of each call; `CITYEYE_EXAMPLES=200` as many as that.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from collector.exchange.reports import Report, take
from collector.places import shops
from collector.places.codes import load_codes
from collector.web import documents
from collector.web.calls import application
from tests import scenes
from tests.collector.conftest import Desk
from tests.collector.exchange.test_people_reports import SHOP
from tests.collector.tickets.conftest import LI, Street
from tests.people import bearer, browser, make_pages, make_person
from tests.places import AROUND, AUTHOR
from tests.services import ROOT

PARTS = 6
EXAMPLES = int(os.environ.get("CITYEYE_EXAMPLES", "4"))
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
KNOWN = {"number": 1, "shop": "shop-9", "person": "li", "street": "s", "box": "box-1", "camera": "cam-1"}
"""Of paths: half of the tries go to what is there."""


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    """A center with a ticket of a camera, one of a person with a picture, a shop, and an admin's token."""
    desk = Desk(tmp_path_factory.mktemp("center"))
    street = Street(desk)
    street.appears()
    desk.write(shops.add, SHOP, AUTHOR, AROUND)
    desk.write(take, LI, Report("grid", "0501", "s", "x", address="1"), load_codes(), street.now_ms)
    for person, role in (("root", "admin"), ("li", "operator@s")):
        make_person(desk.store, person, role)
    app = make_pages(desk)
    picture = {"content": scenes.jpeg(scenes.street(3)), "headers": {"content-type": "image/jpeg"}}
    picture["headers"] |= bearer(desk.store, "li")
    assert browser(app).put("/api/tickets/2/pictures/abcdefgh", **picture).status_code == 201
    yield desk, app
    desk.store.close()


@pytest.fixture(scope="module")
def headers(center):
    return bearer(center[0].store, "root", days=300) | {"host": "127.0.0.1"}


@pytest.fixture(scope="module")
def api(center, headers):
    return schemathesis.openapi.from_asgi("/api/openapi.json", center[1], headers=headers)


def faults_of(operation, headers):
    """What an operation's answers have that the document does not say."""
    faults = []

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(), known=st.booleans())
    def tries(case, known):
        if known:
            case.path_parameters |= {name: KNOWN[name] for name in KNOWN.keys() & case.path_parameters.keys()}
        response = case.call(headers=headers)
        try:
            case.validate_response(response, checks=CHECKS, headers=headers)
        except FailureGroup as group:
            said = "; ".join(f"{one.title}: {one.message:.160}" for one in group.exceptions)
            faults.append(f"{case.method} {case.formatted_path} {response.status_code}: {said}")

    tries()
    return sorted(set(faults))[:2]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_answer_is_as_the_document_says(api, headers, part):
    operations = [one.ok() for one in api.get_all_operations()][part::PARTS]
    assert len(operations) > 5
    assert [fault for one in operations for fault in faults_of(one, headers)] == []


def test_the_document_takes_a_right_and_says_how_to_sign_in(center, headers):
    client = browser(center[1], address="192.0.2.1")
    assert client.get("/api/openapi.json").status_code == 401
    made = client.get("/api/openapi.json", headers=headers).json()
    assert set(made["components"]["securitySchemes"]) == {"token", "session"}
    for path, operations in made["paths"].items():
        for one in operations.values():
            assert one["summary"], path
            assert one["responses"]["401"]["content"]["application/json"]["schema"]["$ref"].endswith("Refusal")


def test_a_ticket_has_exactly_what_the_document_says(center, headers):
    client = browser(center[1], address="192.0.2.1")
    for number in (1, 2):
        documents.TicketShape.model_validate(client.get(f"/api/tickets/{number}", headers=headers).json())


def test_the_table_of_calls_is_the_one_in_the_docs():
    assert (ROOT / "docs/ref/api.md").read_text("utf-8") == documents.table(application().openapi()), "run: make docs"
    assert documents.main([str(ROOT / "docs/ref"), "--check"]) == 0
