"""Calls of an estate with known truth, as records say them and as a tap on the network would have heard them.

What telephones report (CMR) and what packets show come from the same two directions of a call, so they agree as far as
they would in life: a telephone knows what it received.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import IPv4Network
from typing import NamedTuple

from analytics.sites import Estate, TrunkKind
from collector.simulator.faults import CONGESTED_SITE, MISMARKED_SITE, ONE_WAY_SITE, Fault, FaultKind
from collector.simulator.records import HOURS, KINDS, WEEKEND, Phone, Record, RecordSimulator

PACKETS_A_SECOND = 50
FRAUD_CALLS_AN_HOUR = 40
FRAUD_TALK_S = 540
WATCHED = frozenset({CONGESTED_SITE, ONE_WAY_SITE, MISMARKED_SITE})
OFTEN = 8
"""How much more a telephone of such a site is used than others."""
PREMIUM = "09098790"
"""Beginning of premium numbers that Ofcom keeps for drama; three digits more."""
GATEWAYS = "10.250.0."
"""Addresses of trunks: no site's."""
EXPEDITED, BEST_EFFORT = 46, 0
NETWORK_OUT_OF_ORDER = 38
SURE_ENDING_S = 2 * 3_600 + 300
"""No call lasts longer."""


@dataclass(frozen=True, slots=True)
class Direction:
    """What one side of a call sent, as it arrived."""

    expected: int
    """[packets]"""
    lost: int
    """[packets]"""
    runs: int
    """Runs of lost packets."""
    jitter_ms: float
    dscp: int


class Heard(NamedTuple):
    """One call on the network."""

    reference: int
    """As in its record; a call of several records is heard once for each of them."""
    at: int
    """INVITE [s since the epoch]."""
    up: int | None
    """Answer [s since the epoch]."""
    end: int
    """[s since the epoch]"""
    status: int
    """Final SIP status."""
    calling: str
    called: str
    caller: str
    """Address of its telephone or trunk."""
    callee: str
    site: str | None
    """Site of the caller."""
    other_site: str | None
    there: Direction | None
    """From the caller to the callee; None: nothing arrived."""
    back: Direction | None


class HeardSimulator(RecordSimulator):
    """A `RecordSimulator` whose calls were also heard, and which knows faults."""

    def __init__(self, estate: Estate, seed: int, calls_a_day: int, faults: Sequence[Fault]) -> None:
        super().__init__(estate, seed, calls_a_day)
        self.heard: list[Heard] = []
        """Calls since the list was last emptied."""
        # Offices have four telephones each: those with a fault are used more, so that it is seen.
        watched = [phone for phone in self.phones if phone.site in WATCHED]
        self._sought = self.phones + OFTEN * watched
        self._faults = faults
        self._by_place: dict[tuple[FaultKind, str], list[Fault]] = {}
        for fault in faults:
            self._by_place.setdefault((fault.kind, fault.place), []).append(fault)
        self.addresses = dict(_addresses(estate, self._by_site))
        """Address of each telephone, by its device."""
        self._site_of = {phone.device: phone.site for phone in self.phones}
        self._trunks = [trunk for trunk in estate.trunks if trunk.kind is TrunkKind.PSTN]
        self.trunks = [trunk.device for trunk in self._trunks if trunk.valid.last is None]
        """Trunks to the public network that are still there."""
        self._reference = seed * 10_000_000
        self._leg = seed * 20_000_000

    def until(self, day: date, end: datetime) -> tuple[list[Record], list[Record]]:
        """Return the records and reports of a local day, of the calls that were over at a moment."""
        busy = self._calls if day.weekday() < 5 and day not in self._estate.holidays else self._calls * WEEKEND
        begin = datetime.combine(day, time(), self._zone)
        length = int(((begin + timedelta(days=1)).astimezone(UTC) - begin.astimezone(UTC)).total_seconds())
        last = int(end.timestamp())
        trunks = [trunk.device for trunk in self._trunks if trunk.valid.holds(day)]
        records: list[Record] = []
        reports: list[Record] = []
        starts = [
            (int(begin.timestamp()) + min(hour * 3_600 + self._dice.randrange(3_600), length - 1), kind)
            for hour, kind in zip(
                self._dice.choices(range(24), HOURS, k=round(busy)),
                self._dice.choices(list(KINDS), list(KINDS.values()), k=round(busy)),
                strict=True,
            )
        ]
        starts += [(at, "fraud") for at in self._frauds(int(begin.timestamp()), length)]
        for at, kind in sorted(starts):
            if at >= last:
                break
            truth = copy.deepcopy(self.truth) if at > last - SURE_ENDING_S else None
            kept = len(self.heard)
            made = list(getattr(self, f"_{kind}")(at, self._dice.choice(trunks)))
            told = [report for record in made for report in self._reports(record)]
            if truth is not None and any(int(record["dateTimeDisconnect"]) > last for record in made):
                # It is not over: no record of it was written yet.
                self.truth = truth
                del self.heard[kept:]
                continue
            records += made
            reports += told
        records.sort(key=lambda record: int(record["dateTimeDisconnect"]))
        return records, reports

    def _someone(self) -> Phone:
        return self._dice.choice(self._sought)

    def _inner(self, at: int, _: str) -> Iterator[Record]:
        one = other = self._someone()
        while other.device == one.device:
            other = self._someone()
        self.truth.inner_calls[one.site] += 1
        yield self._record(at, self._talk(), one.extension, other.extension, one.device, other.device)

    def _frauds(self, begin: int, length: int) -> Iterator[int]:
        for fault in self._faults:
            if fault.kind is FaultKind.TOLL_FRAUD and begin <= fault.since < begin + length:
                hours = (fault.until - fault.since) // 3_600
                for _ in range(FRAUD_CALLS_AN_HOUR * hours):
                    yield self._dice.randrange(fault.since, fault.until)

    def _fraud(self, at: int, trunk: str) -> Iterator[Record]:
        place = next(fault.place for fault in self._faults if fault.kind is FaultKind.TOLL_FRAUD and fault.holds(at))
        phone = self._by_site[place][0]
        number = PREMIUM + "".join(self._dice.choices("0123456789", k=3))
        yield from self._call_out(at, trunk, phone, number, self._dice.randint(FRAUD_TALK_S // 2, FRAUD_TALK_S))

    def _outbound(self, at: int, trunk: str) -> Iterator[Record]:
        if not self._is(FaultKind.DEAD_TRUNK, trunk, at):
            yield from super()._outbound(at, trunk)
            return
        phone, number = self._someone(), self.far_number()
        self.truth.outbound_calls[phone.site] += 1
        failed = self._record(at, None, phone.extension, self._dialled(phone, number), phone.device, trunk, ringing=1)
        yield failed | {"destCause_value": NETWORK_OUT_OF_ORDER}

    def _reports(self, record: Record) -> Iterator[Record]:
        """What telephones report of a call, and, beside it, what was heard."""
        if record.get("lastRedirectRedirectReason") == 354:
            return
        talk, at = int(record["duration"]), int(record["dateTimeConnect"])
        ends = str(record["origDeviceName"]), str(record["destDeviceName"])
        there = back = None
        if talk:
            there, back = self._direction(ends[0], ends[1], at, talk), self._direction(ends[1], ends[0], at, talk)
        self.heard.append(self._heard(record, ends, there, back))
        legs = record["origLegCallIdentifier"], record["destLegIdentifier"]
        for leg, device, received, sent in (
            (legs[0], ends[0], back, there),
            (legs[1], ends[1], there, back),
        ):
            if talk and device.startswith("SEP"):
                yield self._report(record, int(leg), device, received, sent)

    def _report(
        self, record: Record, leg: int, device: str, received: Direction | None, sent: Direction | None
    ) -> Record:
        """What a telephone says: of a stream that never came it knows no loss."""
        packets = int(record["duration"]) * PACKETS_A_SECOND if sent is None else sent.expected
        got = 0 if received is None else received.expected - received.lost
        return {
            "cdrRecordType": 2,
            "globalCallID_callManagerId": 1,
            "globalCallID_callId": record["globalCallID_callId"],
            "globalCallId_ClusterID": record["globalCallId_ClusterID"],
            "callIdentifier": leg,
            "dateTimeStamp": record["dateTimeDisconnect"],
            "directoryNum": "",
            "numberPacketsSent": packets,
            "numberOctetsSent": packets * 172,
            "numberPacketsReceived": got,
            "numberOctetsReceived": got * 172,
            "numberPacketsLost": 0 if received is None else received.lost,
            "jitter": 0 if received is None else round(received.jitter_ms),
            "deviceName": device,
            "pkid": self._key(),
        }

    def _heard(self, record: Record, ends: tuple[str, str], there: Direction | None, back: Direction | None) -> Heard:
        up = int(record["dateTimeConnect"])
        cause = int(record["destCause_value"])
        return Heard(
            reference=int(record["globalCallID_callId"]),
            at=int(record["dateTimeOrigination"]),
            up=up or None,
            end=int(record["dateTimeDisconnect"]),
            status=200 if up else 503 if cause == NETWORK_OUT_OF_ORDER else 480,
            calling=str(record["callingPartyNumber"]),
            called=str(record["finalCalledPartyNumber"]),
            caller=self._address(ends[0]),
            callee=self._address(ends[1]),
            site=self._site_of.get(ends[0]),
            other_site=self._site_of.get(ends[1]),
            there=there,
            back=back,
        )

    def _direction(self, sender: str, receiver: str, at: int, talk: int) -> Direction | None:
        """What arrives at one side of what the other sends."""
        dice, expected = self._dice, talk * PACKETS_A_SECOND
        sites = self._site_of.get(sender), self._site_of.get(receiver)
        if sites[1] is not None and self._is(FaultKind.ONE_WAY_NAT, sites[1], at):
            return None
        loss, run, jitter = 0.0, 1.0, dice.lognormvariate(0.4, 0.5)
        luck = dice.random()
        if luck < 0.004:
            loss, run, jitter = dice.uniform(0.02, 0.05), 2.5, dice.uniform(12, 35)
        elif luck < 0.08:
            loss = dice.expovariate(1 / 0.001)
        marked = EXPEDITED
        if sites[0] is not None and self._is(FaultKind.MISMARKED_DSCP, sites[0], at):
            marked = BEST_EFFORT
            if dice.random() < 0.10:
                loss, run, jitter = dice.uniform(0.01, 0.06), 2.0, dice.uniform(15, 45)
        if self._is(FaultKind.CONGESTED_WAN, sites[0] or "", at) or self._is(
            FaultKind.CONGESTED_WAN, sites[1] or "", at
        ):
            loss, run, jitter = dice.uniform(0.03, 0.11), 3.0, dice.uniform(25, 70)
        lost = min(expected, round(expected * loss))
        return Direction(expected, lost, max(1, round(lost / run)) if lost else 0, round(jitter, 3), marked)

    def _is(self, kind: FaultKind, place: str, at: int) -> bool:
        there = self._by_place.get((kind, place))
        return there is not None and any(fault.holds(at) for fault in there)

    def _address(self, device: str) -> str:
        found = self.addresses.get(device)
        return found if found is not None else gateway(device)

    def _key(self) -> str:
        bits = f"{self._dice.getrandbits(128):032x}"
        return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"


def gateway(trunk: str) -> str:
    """Address of a trunk."""
    return f"{GATEWAYS}{10 + sum(trunk.encode()) % 200}"


def _addresses(estate: Estate, phones: Mapping[str, Sequence[Phone]]) -> Iterator[tuple[str, str]]:
    """Each telephone has an address of its site's first IPv4 network."""
    networks: dict[str, IPv4Network] = {}
    for subnet in estate.subnets:
        if ":" not in subnet.subnet:
            networks.setdefault(subnet.site, IPv4Network(subnet.subnet))
    for site, there in phones.items():
        if site in networks:
            for number, phone in enumerate(there):
                yield phone.device, str(networks[site].network_address + 10 + number)
