"""Lines under a charge: what a figure of costs or savings goes on to when it is opened."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from dash import dcc, html
from dash.development.base_component import Component

from analytics.cost.lines import NO_SITE
from analytics.cost.names import one_part
from analytics.questions.charged import Charge, ChargedLine, charged_lines
from api.report.shown import currency_sign
from api.web.asked import stamp
from api.web.kept import kept_of
from api.web.problems import Problem
from api.web.reporting import Reports
from api.web.rights import Right
from api.web.routes.costs import check_told
from dashboards.pages import Asker
from dashboards.parts import DASH, as_table

MOST_SHOWN: Final = 50
AROUND: Final = timedelta(seconds=30)
"""How far the clock of the records may be from that of the packets."""
_KEY: Final = re.compile(r"(\d{6})\.([^.]+)\.(ip_calls|rerated)\.([^.]+)(?:\.atoms(?:\.whole)?)?")
"""Keys of figures that are charges of a class: 202510.S01.ip_calls.mobile, exact or rounded."""


def charge_of(key: str, sites: tuple[str, ...]) -> Charge | None:
    """Return the charge that a figure is; None where it is another figure."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    site = next((one for one in (NO_SITE, *sites) if one_part(one) == match[2]), None)
    tariff = "ip" if match[3] == "ip_calls" else "legacy"
    return None if site is None else Charge(int(match[1]), site, match[4], tariff)


def lines_below(asker: Asker, key: str) -> Component | None:
    """Return the lines of a charge, its first ones, and the way to all; None where the figure is no charge."""
    estate = asker.here.estate()
    charge = charge_of(key, tuple(site.site for site in estate.sites))
    if charge is None:
        return None
    try:
        check_told(Reports(asker.here, kept_of(asker.connection)), charge, asker.caller)
    except Problem as problem:
        return html.P(problem.detail, className="quiet")
    asker.note("costs.lines", f"{charge.month} {charge.site} {charge.number_class}", tariff=charge.tariff)
    zone, numbers = estate.settings.timezone, asker.caller.numbers
    found = charged_lines(asker.here.lake, charge, zone, numbers=numbers, limit=MOST_SHOWN)
    sign = currency_sign(estate.settings.currency)
    parties = ["From", "To"] if numbers else []
    heads = ["Answered", "Talk [s]", "Charged [s]", f"Price [{sign}]", "Tariff row", "To digits", *parties, "Record"]
    calls = asker.caller.may(Right.CALLS)
    rows = [_row(one, zone, charge.site, numbers=numbers, calls=calls) for one in found.rows]
    named = {"month": f"{charge.month // 100}-{charge.month % 100:02d}", "site": charge.site}
    query = urlencode(named | {"number_class": charge.number_class, "tariff": charge.tariff, "format": "csv"})
    some = f"the first {len(rows)} of {found.in_all:,}" if found.in_all > len(rows) else f"{found.in_all:,}"
    return html.Div(
        [
            html.H4(f"Lines: {some}"),
            html.P(
                [
                    f"Times in {zone}; prices before rounding. ",
                    html.A("All lines as CSV", href=f"/api/v1/costs/lines?{query}"),
                ],
                className="quiet",
            ),
            as_table([*heads, *(["Calls"] if calls else [])], rows),
        ]
    )


def _row(one: ChargedLine, zone: str, site: str, *, numbers: bool, calls: bool) -> list[Component | str]:
    """Return the cells of a line."""
    price = f"{one.tariff}, rates.csv:{one.tariff_row}" if one.tariff is not None else one.why or DASH
    cells: list[Component | str] = [
        f"{one.start.astimezone(ZoneInfo(zone)):%d %b %H:%M:%S}",
        f"{one.seconds:,}",
        DASH if one.charged_seconds is None else f"{one.charged_seconds:,}",
        DASH if one.cost is None else one.cost,
        price,
        one.destination or DASH,
    ]
    cells += [one.calling or DASH, one.called or DASH] if numbers else []
    cells.append(f"{one.file or one.file_key}:{one.line}")
    if calls:
        words = {"since": stamp(one.origination - AROUND), "until": stamp(one.origination + AROUND)}
        words |= {} if site == NO_SITE else {"q": f"site:{site}"}
        cells.append(dcc.Link("then", href=f"/calls?{urlencode(words)}"))
    return cells
