"""From a charge to its lines: which they are, what each cost by which row, from which file, and who may see them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from call_facts import put, record
from estate_files import write_estate
from test_report_command import COSTS
from usage_rows import LONDON, inbound, line, usage_table
from web_app import App, application

from analytics.cost.money import to_atoms
from analytics.questions.asking import micros
from analytics.questions.charged import Charge
from api.web.rights import Role
from dashboards.under_charges import charge_of

TEN = datetime(2025, 10, 1, 10, tzinfo=LONDON)
PRICED: dict[str, Any] = {
    "ip_cost": to_atoms(Decimal("0.012")),
    "ip_tariff": "sip@2025-04-01",
    "ip_row": 4,
    "ip_seconds": 60,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """40 lines of A in October 2025, 9 of B, and in September 2 of B to mobiles; one file, one record."""
    root = tmp_path_factory.mktemp("charged")
    (root / "estate").mkdir()
    write_estate(root / "estate", dict(COSTS))
    rows = [line(TEN + timedelta(minutes=7 * n), file_key=7, **PRICED) | {"line": n + 2} for n in range(40)]
    rows += [line(TEN + timedelta(minutes=5 * n), 90, site="B", **PRICED) for n in range(9)]
    rows += [line(TEN - timedelta(days=20, minutes=n), site="B", number_class="mobile", **PRICED) for n in range(2)]
    rows += [inbound(TEN + timedelta(minutes=3 * n), 2, site="B") for n in range(30)]
    with application(root / "store", estate=root / "estate") as app:
        lake = app.context.lake
        lake.append("usage", usage_table(rows), batch="october")
        read_in = {"file_key": 7, "name": "cdr_County_01_1", "source": "cucm", "record": "cdr", "sha256": "00"}
        # 1 October 2025 is day 20 362 since 1970.
        counts = {"month": 20_362, "imported": micros(TEN), "rows": 40, "kept": 40, "rejected": 0}
        put(lake, "imports", read_in | counts)
        put(lake, "cdr_rows", record(1, line=2, origination=micros(TEN)))
        yield app


def ask(app: App, token: str = "", **query: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else app.headers(Role.FINANCE)
    named = {"month": "2025-10", "site": "A", "number_class": "geographic"} | query
    return app.client.get("/api/v1/costs/lines", params=named, headers=headers)


def test_lines_of_a_charge_add_up_to_it_page_by_page(app: App) -> None:
    found, cursor = list[Any](), None
    while True:
        page = ask(app, limit=17, **({"cursor": cursor} if cursor else {})).json()
        found += page["lines"]
        assert page["in_all"] == 40
        cursor = page["cursor"]
        if cursor is None:
            break
    # 40 lines at 1.2 pence each.
    assert (len(found), sum(Decimal(one["cost"]) for one in found)) == (40, Decimal("0.48"))
    assert len({one["line"] for one in found}) == 40


def test_line_names_its_tariff_row_and_its_file(app: App) -> None:
    first = ask(app).json()["lines"][0]
    assert (first["tariff"], first["tariff_row"], first["charged_seconds"]) == ("sip@2025-04-01", 4, 60)
    assert (first["file"], first["line"], first["file_key"]) == ("cdr_County_01_1", 2, "0000000000000007")


def test_csv_has_all_lines_at_once(app: App) -> None:
    rows = list(csv.DictReader(io.StringIO(ask(app, format="csv").text)))
    assert (len(rows), rows[0]["tariff_row"]) == (40, "4")


def test_numbers_are_shown_to_those_alone_who_may_see_them(app: App) -> None:
    first = ask(app).json()["lines"][0]
    assert (first["calling"], first["called"]) == (None, None)
    token = app.context.accounts.add_token("auditing", Role.FINANCE, app.context.clock(), numbers=True)[1]
    first = ask(app, token).json()["lines"][0]
    assert (first["calling"], first["called"]) == ("60101", "902079460123")


def test_lines_whose_number_is_not_told_take_the_right_to_see_numbers(app: App) -> None:
    assert ask(app, month="2025-09", site="B", number_class="mobile").status_code == 403
    token = app.context.accounts.add_token("counting", Role.FINANCE, app.context.clock(), numbers=True)[1]
    assert ask(app, token, month="2025-09", site="B", number_class="mobile").json()["in_all"] == 2


def test_charge_that_is_not_there_is_said_so(app: App) -> None:
    assert ask(app, site="nowhere").status_code == 404
    assert ask(app, number_class="satellite").status_code == 404


def test_engineers_see_no_lines_of_costs(app: App) -> None:
    answer = app.client.get(
        "/api/v1/costs/lines", params={"site": "A", "number_class": "geographic"}, headers=app.headers(Role.ENGINEER)
    )
    assert answer.status_code == 403


def test_look_at_lines_is_noted(app: App) -> None:
    assert ask(app).status_code == 200
    noted = app.client.get("/api/v1/audit", headers=app.headers(Role.AUDITOR)).text
    assert "costs.lines" in noted


@pytest.mark.parametrize(
    ("key", "charge"),
    [
        ("202510.A.ip_calls.mobile", Charge(202510, "A", "mobile", "ip")),
        ("202510.A.rerated.mobile.atoms", Charge(202510, "A", "mobile", "legacy")),
        ("202510.Old·town.ip_calls.inbound.atoms.whole", Charge(202510, "Old.town", "inbound", "ip")),
        ("202510.*.ip_calls.mobile", Charge(202510, "*", "mobile", "ip")),
        ("202510.A.ip_calls", None),
        ("202510.Nowhere.ip_calls.mobile", None),
        ("total.s1", None),
    ],
)
def test_figures_that_are_charges_of_a_class_lead_to_lines(key: str, charge: Charge | None) -> None:
    assert charge_of(key, ("A", "Old.town")) == charge
