"""From the store and the estate to a document: what `callgauge report` asks of both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from analytics.attribution import Attributor
from analytics.cost import channels
from analytics.cost.access import AccessFacts, access_document, bounds_of
from analytics.cost.costs_document import costs_document
from analytics.cost.credits import with_credits
from analytics.cost.document import Document
from analytics.cost.months import month_of, months_after, spoken, spoken_span
from analytics.cost.outliers import MOST_WEEKS, Judgement, Past, judge
from analytics.cost.rating import Rater
from analytics.cost.savings_document import savings_document
from analytics.cost.site_report import SiteFacts, sites_document
from analytics.cost.statement import CostFacts
from analytics.cost.traffic import Traffic, busier, traffic_of
from analytics.cost.withholding import withheld
from analytics.sites import Estate
from analytics.store import site_queries
from analytics.store.cost_queries import CoveredSum, Usage, usage_sums, utc_span
from analytics.store.lake import Lake
from analytics.usage.covered import covered_sums
from api.report.gaps import day_facts, feed_facts, month_facts, recorded_local_days
from api.report.one_site import NoSuchSiteError, of_site
from api.report.rated_by import days_waiting, present_digest, rated_facts, rated_lines, rated_sources
from api.report.site_names import with_names
from collector.cdr.feed import missing_between
from collector.estate.costs import load_costs
from collector.estate.folder import load_estate
from collector.estate.tariffs import FOLDER, load_tariffs

if TYPE_CHECKING:
    import duckdb


class ReportError(ValueError):
    """The report cannot be made; the message is one line for the person who asked."""


class Request(NamedTuple):
    """What was asked for."""

    name: str
    """savings, costs, sites or access."""
    months: tuple[int, ...]
    """yyyymm, ascending, without gaps."""
    store: Path
    estate: Path
    now: datetime
    """Moment of the question: months that begin after it are not reported."""
    site: str | None = None
    exact: bool = False


def months_to(month: int, count: int) -> tuple[int, ...]:
    """Return so many months that end with one."""
    return tuple(months_after(month, back) for back in range(1 - count, 1))


def make(request: Request) -> Document:
    """Make a document. ReportError, EstateError or StoreError say in a line why there is none."""
    if request.name == "costs" and len(request.months) > 1:
        raise ReportError("costs are those of one month: leave --months out, or ask for savings or sites")
    estate = load_estate(request.estate)
    today = request.now.astimezone(ZoneInfo(estate.settings.timezone)).date()
    if max(request.months) > month_of(today):
        raise ReportError(f"{spoken(max(request.months))} lies in the future: there is nothing to report of it")
    if request.site is not None and request.site not in {site.site for site in estate.sites}:
        raise ReportError(f"the estate knows no site {request.site}")
    with closing(Lake.open(request.store)) as lake, closing(lake.connect()) as connection:
        making = _Making(request, estate, lake, connection)
        made = {"savings": making.savings, "costs": making.costs, "sites": making.sites, "access": making.access}
        return making.with_grounds(made[request.name](), today)


class _Making:
    """Makes one document from an open store."""

    def __init__(self, request: Request, estate: Estate, lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
        self._request = request
        self._estate = estate
        self._lake = lake
        self._connection = connection
        self._zone = estate.settings.timezone

    def with_grounds(self, document: Document, today: date) -> Document:
        """Add what the lines were rated by and which of the months' records are not there."""
        months, view = self._request.months, self._usage_view()
        tariffs = present_digest(self._request.estate)
        rated = rated_lines(self._lake, self._connection, view, months, self._estate.digest or None, tariffs)
        since, until = site_queries.local_span(months, self._zone)
        waiting = days_waiting(self._lake, self._connection, since, until)
        days = recorded_local_days(self._connection, view, months, self._zone)
        facts = [
            *rated_facts(rated, waiting),
            *month_facts(months, days, today),
            *day_facts(months, days, self._estate.holidays, today),
            *feed_facts(missing_between(self._lake, since, until)),
        ]
        own = (("tariffs", f"sha256:{tariffs}"),) if tariffs else ()
        sources = (*document.sources, *own, *rated_sources(rated))
        names = {site.site: site.name for site in self._estate.sites if site.name not in ("", site.site)}
        document = with_names(document, names)
        return replace(document, facts=(*document.facts, *facts), sources=sources)

    def _usage_view(self) -> str:
        since, until = utc_span(self._request.months, self._zone)
        return self._lake.view(self._connection, "usage", since=since, until=until)

    def _sources(self, *tables: str) -> tuple[tuple[str, str], ...]:
        versions = ((table, self._lake.version(table)) for table in tables)
        written = tuple((table, f"version {version}") for table, version in versions if version is not None)
        return (("estate", f"sha256:{self._estate.digest}"), *written)

    def _source(self, table: str) -> str:
        version = self._lake.version(table)
        return table if version is None else f"{table}, version {version}"

    def _usage(self) -> Usage:
        """Sums of the usage; ReportError where the months hold none."""
        view = self._usage_view()
        usage = usage_sums(self._connection, view, self._request.months, source=self._source("usage"))
        if not usage.sums and not usage.excluded:
            raise ReportError(self._nothing())
        return usage

    def _nothing(self) -> str:
        when = spoken_span(self._request.months)
        since, until = site_queries.local_span(self._request.months, self._zone)
        waiting = len(days_waiting(self._lake, self._connection, since, until))
        if waiting:
            some = f"{waiting} days of records wait" if waiting != 1 else "1 day of records waits"
            return f"the store holds no usage of {when}: {some} to be rated by callgauge rerate"
        return f"the store holds no usage of {when}: callgauge cdr import PATH --store {self._request.store}"

    def _cost_facts(self) -> CostFacts:
        costs = load_costs(self._request.estate, {site.site for site in self._estate.sites})
        usage = replace(self._usage(), covered=self._covered())
        return CostFacts(self._estate.settings, self._estate.sites, costs, usage, self._sources("usage"))

    def _covered(self) -> tuple[CoveredSum, ...]:
        """What inclusive minutes of either tariff take off the months' calls."""
        settings = self._estate.settings
        if not (self._request.estate / FOLDER).is_dir():
            return ()
        tariffs = load_tariffs(self._request.estate, settings)
        held = {"ip": tariffs.named(settings.ip_tariff), "legacy": tariffs.named(settings.legacy_tariff)}
        raters = {
            tariff: Rater(versions, self._zone, self._estate.holidays)
            for tariff, versions in held.items()
            if any(version.inclusive for version in versions)
        }
        return covered_sums(self._connection, self._usage_view(), self._request.months, raters)

    def savings(self) -> Document:
        """Savings, or the lines of one site in them."""
        facts = self._cost_facts()
        document = self._with_lines(savings_document(facts, self._request.months), facts)
        if self._request.site is None:
            return document
        try:
            return of_site(document, self._request.site)
        except NoSuchSiteError:
            when = spoken_span(self._request.months)
            raise ReportError(f"site {self._request.site} is in no line of the savings of {when}") from None

    def costs(self) -> Document:
        """Costs of a month."""
        facts = self._cost_facts()
        return self._with_lines(costs_document(facts, max(self._request.months), self._request.site), facts)

    def _with_lines(self, document: Document, facts: CostFacts) -> Document:
        """Add the credit of inclusive minutes, and hold small counts of lines back."""
        only = self._request.site if self._request.name == "costs" else None
        document = with_credits(document, facts.usage, self._request.months, only)
        return document if self._request.exact else withheld(document, facts.usage, self._request.months)

    def sites(self) -> Document:
        """What each site did."""
        usage = self._usage()
        group = channels.group_of(self._estate.trunks)
        by_site: dict[str | None, Traffic] = {}
        by_group: dict[str, Traffic] = {}
        whole = channels.NOTHING
        for month in self._request.months:
            # One month at a time: a year of calls would fill the memory.
            calls = site_queries.outside_calls(self._connection, self._usage_view(), month)
            by_site = channels.joined(by_site, channels.by_site(calls))
            by_group = channels.joined(by_group, channels.by_group(calls, group))
            whole = busier(whole, traffic_of(calls.begins, calls.ends))
        facts = SiteFacts(
            settings=self._estate.settings,
            sites=self._estate.sites,
            trunks=self._estate.trunks,
            months=self._request.months,
            usage=usage,
            site_traffic=by_site,
            all_traffic=whole,
            group_traffic=by_group,
            quality=tuple(site_queries.quality_sums(self._connection, self._usage_view(), self._request.months)),
            judgement=self._judgement(),
            sources=self._sources("usage"),
            only=self._request.site,
        )
        return sites_document(facts, exact=self._request.exact)

    def _judgement(self) -> Judgement:
        """Days of the months that stand out from the weeks before them."""
        begin, end = site_queries.local_span(self._request.months, self._zone)
        since = begin - timedelta(weeks=MOST_WEEKS, days=1)
        view = self._lake.view(self._connection, "usage", name="past", since=since, until=end)
        hours = site_queries.watched_hours(self._connection, view)
        recorded = site_queries.recorded_days(self._connection, view)
        first = {site: Past(day) for site, day in site_queries.first_days(self._connection, view).items()}
        local = begin.astimezone(ZoneInfo(self._zone))
        days = [local.date() + timedelta(days=number) for number in range((end - begin).days + 1)]
        wanted = {day for day in days if day.year * 100 + day.month in self._request.months}
        return judge(hours, wanted, recorded, first, self._zone, self._estate.holidays)

    def access(self) -> Document:
        """How the public was answered."""
        months, connection = self._request.months, self._connection
        bounds = bounds_of(self._estate.settings, self._estate.public_numbers)
        view = self._usage_view()
        numbers = site_queries.access_by_number(connection, view, months, bounds)
        packets = self._packets({row.name for row in numbers if row.name is not None}, bounds)
        if not numbers and not packets and not site_queries.any_rows(connection, view, months):
            raise ReportError(self._nothing())
        facts = AccessFacts(
            settings=self._estate.settings,
            public_numbers=self._estate.public_numbers,
            months=months,
            numbers=tuple(sorted([*numbers, *packets], key=self._place)),
            sites=tuple(site_queries.access_by_site(connection, view, months, bounds)),
            hours=site_queries.offered_by_hour(connection, view, months, self._zone),
            sources=self._sources("usage", "calls"),
            usage_source=self._source("usage"),
            calls_source=self._source("calls"),
        )
        return access_document(self._of_site(facts), exact=self._request.exact)

    def _place(self, row: site_queries.AccessSum) -> tuple[int, str]:
        """Order of public numbers: as the estate lists them, then by name what it does not list."""
        name = row.name or ""
        listed = [number.number for number in self._estate.public_numbers]
        return (listed.index(name) if name in listed else len(listed), name)

    def _packets(self, known: set[str], bounds: Sequence[int]) -> list[site_queries.AccessSum]:
        """Calls to public numbers without records, as packets show them."""
        since, until = site_queries.local_span(self._request.months, self._zone)
        view = self._lake.view(self._connection, "calls", since=since, until=until)
        attributor = Attributor(self._estate)

        def name_of(number: str, day: date) -> str | None:
            found = attributor.public_number(number, day)
            return None if found is None else found.number

        return site_queries.packets_by_number(self._connection, view, name_of, known, bounds)

    def _of_site(self, facts: AccessFacts) -> AccessFacts:
        site = self._request.site
        if site is None:
            return facts
        own = {number.number for number in self._estate.public_numbers if number.site == site}
        return replace(
            facts,
            public_numbers=tuple(number for number in facts.public_numbers if number.site == site),
            numbers=tuple(row for row in facts.numbers if (row.name or "").removeprefix("+") in own),
            sites=tuple(row for row in facts.sites if row.name == site),
            hours={},
            every_number=facts.numbers,
            every_site=facts.sites,
        )
