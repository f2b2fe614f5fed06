"""Call detail records of an estate with known truth: what CUCM would have written of a month of its calls.

Everything follows from the seed. Numbers of the public network are from the ranges that Ofcom keeps for drama.
"""

from __future__ import annotations

import gzip
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from analytics.sites import Estate, TrunkKind, Validity
from collector.cdr.cucm_layout import CDR, CMR, HOLDS_TEXT, ORDER

CLUSTER = "County"
HOURS = (1, 1, 1, 1, 1, 2, 4, 10, 22, 30, 31, 29, 24, 25, 28, 27, 24, 17, 9, 6, 5, 4, 2, 1)
"""Weight of each local hour of a working day."""
WEEKEND = 0.25
"""Calls of a day at the weekend, of those of a working day."""
KINDS = {"outbound": 46, "inbound": 26, "inner": 20, "transfer": 4, "unanswered": 3, "dropped": 1}
FAR = {
    "0113496": 34,
    "0207946": 20,
    "07700900": 30,
    "03069990": 8,
    "08081570": 4,
    "08450": 2,
    "0012125550": 1,
    "101": 1,
}
"""Beginnings of far numbers, and their weights."""
LENGTHS = {"0113496": 11, "0207946": 11, "07700900": 11, "03069990": 11, "08081570": 11, "08450": 11, "0012125550": 14}
MEDIAN_TALK_S = 95
RINGING_S = 7
ABANDONED = 0.06
POOR_SITE_SHARE = 0.12

Record = dict[str, int | str]


@dataclass(slots=True)
class Truth:
    """What is true of the records, by site."""

    outbound_calls: Counter[str] = field(default_factory=Counter)
    outbound_seconds: Counter[str] = field(default_factory=Counter)
    inbound_calls: Counter[str] = field(default_factory=Counter)
    inner_calls: Counter[str] = field(default_factory=Counter)
    recordings: int = 0
    redials: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Phone:
    """A telephone of the estate."""

    device: str
    extension: str
    site: str
    recorded: bool


class RecordSimulator:
    """Makes records of an estate, a day at a time, in the order of their end."""

    def __init__(self, estate: Estate, seed: int, calls_a_day: int, poor_site: str | None = None) -> None:
        """`calls_a_day` is of a working day over all sites; telephones of `poor_site` report losses."""
        self.truth = Truth()
        self._estate = estate
        self._dice = random.Random(seed)
        self._zone = ZoneInfo(estate.settings.timezone)
        self._calls = calls_a_day
        self.phones = list(_phones(estate))
        self._by_site: dict[str, list[Phone]] = {}
        for phone in self.phones:
            self._by_site.setdefault(phone.site, []).append(phone)
        self._poor = frozenset(phone.device for phone in self._by_site.get(poor_site or "", ()))
        self._access = {plan.site: plan.access_digits for plan in estate.plans}
        self._reference = 0
        self._leg = 100

    def day(self, day: date) -> tuple[list[Record], list[Record]]:
        """Return the call records and the phone reports of a local day."""
        busy = self._calls if day.weekday() < 5 and day not in self._estate.holidays else self._calls * WEEKEND
        trunks = [t.device for t in self._estate.trunks if t.kind is TrunkKind.PSTN and t.valid.holds(day)]
        begin = datetime.combine(day, time(), self._zone)
        length = int(((begin + timedelta(days=1)).astimezone(UTC) - begin.astimezone(UTC)).total_seconds())
        records: list[Record] = []
        reports: list[Record] = []
        for _ in range(round(busy)):
            hour = self._dice.choices(range(24), HOURS)[0]
            at = int(begin.timestamp()) + min(hour * 3_600 + self._dice.randrange(3_600), length - 1)
            kind = self._dice.choices(list(KINDS), list(KINDS.values()))[0]
            made = list(getattr(self, f"_{kind}")(at, self._dice.choice(trunks)))
            records += made
            for record in made:
                reports += self._reports(record)
        records.sort(key=lambda record: int(record["dateTimeDisconnect"]))
        return records, reports

    def _outbound(self, at: int, trunk: str) -> Iterator[Record]:
        phone, number = self._someone(), self.far_number()
        yield from self._call_out(at, trunk, phone, number, self._talk())

    def _call_out(self, at: int, trunk: str, phone: Phone, number: str, talk: int, cause: int = 16) -> Iterator[Record]:
        self.truth.outbound_calls[phone.site] += 1
        self.truth.outbound_seconds[phone.site] += talk
        record = self._record(at, talk, phone.extension, self._dialled(phone, number), phone.device, trunk)
        if cause != 16:
            record |= {"origCause_value": 0, "destCause_value": cause}
        yield record
        if phone.recorded:
            yield from self._recording(record, phone)

    def _recording(self, recorded: Record, phone: Phone) -> Iterator[Record]:
        """Both extra records of a call that a telephone's built-in bridge sends to the recorder."""
        for leg in (recorded["origLegCallIdentifier"], recorded["destLegIdentifier"]):
            self.truth.recordings += 1
            at, talk = int(recorded["dateTimeConnect"]), int(recorded["duration"])
            extra = self._record(at, talk, "b0021791445", "8999", phone.device, "RECORDER")
            extra |= {
                "lastRedirectRedirectReason": 354,
                "lastRedirectRedirectOnBehalfOf": 27,
                "origConversationId": leg,
            }
            yield extra

    def _unanswered(self, at: int, trunk: str) -> Iterator[Record]:
        phone, number = self._someone(), self.far_number()
        self.truth.outbound_calls[phone.site] += 1
        yield self._record(at, None, phone.extension, self._dialled(phone, number), phone.device, trunk)

    def _dropped(self, at: int, trunk: str) -> Iterator[Record]:
        """A call that the network ends, and its repetition half a minute later."""
        phone, number, talk = self._someone(), self.far_number(), self._dice.randint(20, 120)
        self.truth.redials[phone.site] += 1
        yield from self._call_out(at, trunk, phone, number, talk, cause=41)
        again = at + RINGING_S + talk + self._dice.randint(10, 40)
        yield from self._call_out(again, trunk, phone, number, self._talk())

    def _inner(self, at: int, _: str) -> Iterator[Record]:
        one, other = self._dice.sample(self.phones, 2)
        self.truth.inner_calls[one.site] += 1
        yield self._record(at, self._talk(), one.extension, other.extension, one.device, other.device)

    def _inbound(self, at: int, trunk: str) -> Iterator[Record]:
        public = self._dice.choice(self._estate.public_numbers) if self._dice.random() < 0.5 else None
        site = public.site if public is not None and public.site in self._by_site else None
        phone = self._dice.choice(self._by_site[site]) if site else self._someone()
        self.truth.inbound_calls[phone.site] += 1
        waited = min(180, round(self._dice.expovariate(1 / RINGING_S)))
        talk = None if self._dice.random() < ABANDONED else self._talk()
        record = self._record(at, talk, self.far_number(), phone.extension, trunk, phone.device, waited)
        if public is not None:
            record |= {"originalCalledPartyNumber": public.number, "huntPilotDN": public.number}
        yield record

    def _transfer(self, at: int, trunk: str) -> Iterator[Record]:
        """A call out, blind transferred to a colleague: three records, one leg on the trunk."""
        phone = self._someone()
        colleague = self._dice.choice(self._by_site[phone.site])
        number, first, second = self.far_number(), max(10, self._talk()), self._talk()
        self.truth.outbound_calls[phone.site] += 1
        self.truth.outbound_seconds[phone.site] += first + second
        split = {"origCause_value": 393216, "destCause_value": 393216}
        call = self._record(at, first, phone.extension, self._dialled(phone, number), phone.device, trunk)
        end = int(call["dateTimeDisconnect"])
        consult = self._record(end - 5, None, phone.extension, colleague.extension, phone.device, colleague.device)
        final = self._record(end, second, number, colleague.extension, trunk, colleague.device, 0)
        final |= {
            "globalCallID_callId": call["globalCallID_callId"],
            "origLegCallIdentifier": call["destLegIdentifier"],
            "destLegIdentifier": consult["destLegIdentifier"],
            "joinOnBehalfOf": 10,
        }
        yield from (call | split, consult | split | {"dateTimeDisconnect": end}, final)

    def _record(
        self, at: int, talk: int | None, calling: str, called: str, source: str, target: str, ringing: int = RINGING_S
    ) -> Record:
        """A record of a call that began at `at`; None talks for those that nobody answered."""
        self._reference += 1
        self._leg += 2
        up = at + ringing
        return {
            "cdrRecordType": 1,
            "globalCallID_callManagerId": 1,
            "globalCallID_callId": self._reference,
            "globalCallId_ClusterID": CLUSTER,
            "origLegCallIdentifier": self._leg,
            "destLegIdentifier": self._leg + 1,
            "dateTimeOrigination": at,
            "dateTimeConnect": 0 if talk is None else up,
            "dateTimeDisconnect": up if talk is None else up + talk,
            "duration": talk or 0,
            "callingPartyNumber": calling,
            "originalCalledPartyNumber": called,
            "finalCalledPartyNumber": called,
            "origDeviceName": source,
            "destDeviceName": target,
            "origCause_value": 0 if talk is None else 16,
            "destCause_value": 19 if talk is None else 0,
            "pkid": str(uuid.UUID(int=self._dice.getrandbits(128), version=4)),
        }

    def _reports(self, record: Record) -> Iterator[Record]:
        """What the telephones of a call report of it at its end."""
        talk = int(record["duration"])
        if not talk or record.get("lastRedirectRedirectReason") == 354:
            return
        for leg, device in (
            (record["origLegCallIdentifier"], str(record["origDeviceName"])),
            (record["destLegIdentifier"], str(record["destDeviceName"])),
        ):
            if not device.startswith("SEP"):
                continue
            poor = device in self._poor and self._dice.random() < POOR_SITE_SHARE
            sent = talk * 50
            lost = round(sent * self._dice.uniform(0.04, 0.12)) if poor else self._dice.choice((0, 0, 0, 1, 2))
            yield {
                "cdrRecordType": 2,
                "globalCallID_callManagerId": 1,
                "globalCallID_callId": record["globalCallID_callId"],
                "globalCallId_ClusterID": CLUSTER,
                "callIdentifier": leg,
                "dateTimeStamp": record["dateTimeDisconnect"],
                "numberPacketsSent": sent,
                "numberOctetsSent": sent * 160,
                "numberPacketsReceived": sent - lost,
                "numberOctetsReceived": (sent - lost) * 172,
                "numberPacketsLost": lost,
                "jitter": self._dice.randint(18, 60) if poor else self._dice.randint(0, 6),
                "deviceName": device,
                "pkid": str(uuid.UUID(int=self._dice.getrandbits(128), version=4)),
            }

    def _someone(self) -> Phone:
        """A telephone, any as likely as others."""
        return self._dice.choice(self.phones)

    def far_number(self) -> str:
        """A number of the public network."""
        start = self._dice.choices(list(FAR), list(FAR.values()))[0]
        missing = LENGTHS.get(start, len(start)) - len(start)
        return start + "".join(self._dice.choices("0123456789", k=missing))

    def _dialled(self, phone: Phone, number: str) -> str:
        return self._access.get(phone.site, self._access.get(None, "")) + number

    def _talk(self) -> int:
        return max(1, min(7_200, round(self._dice.lognormvariate(0, 1.0) * MEDIAN_TALK_S)))


def _phones(estate: Estate) -> Iterator[Phone]:
    """A telephone for each device that stands at a site for ever, with an extension of that site."""
    sites = {pool.pool: pool.site for pool in estate.pools if pool.valid == Validity()}
    control = {site.site for site in estate.sites if site.priority == "control_room"}
    firsts = {row.site: (row.first, row.last) for row in estate.ranges if not row.first.startswith("0")}
    used: Counter[str] = Counter()
    for device in estate.devices:
        site = device.site or sites.get(device.pool or "")
        if site is None or site not in firsts or device.valid != Validity():
            continue
        first, last = firsts[site]
        extension = str(int(first) + used[site]).zfill(len(first))
        if extension > last:
            continue
        used[site] += 1
        yield Phone(device.device, extension, site, site in control)


def write_month(simulator: RecordSimulator, first: date, days: int, folder: Path) -> list[Path]:
    """Write a file of call records and one of reports for each day, as CUCM names them, compressed; return them."""
    made = []
    for number in range(days):
        day = first + timedelta(days=number)
        for record, rows in zip((CDR, CMR), simulator.day(day), strict=True):
            path = folder / f"{record}_{CLUSTER}_01_{day:%Y%m%d}2359_{number + 1}.gz"
            # The same bytes each time: no name and no time in the head of the file.
            with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
                file.write(cucm_text(record, rows).encode())
            made.append(path)
    return made


def cucm_text(record: str, rows: Sequence[Mapping[str, int | str]]) -> str:
    """Write rows as CUCM does: names, types, then text in quotes and numbers bare."""
    columns = list(zip(ORDER[record], HOLDS_TEXT[record], strict=True))
    lines = [
        ",".join(f'"{name}"' for name, _ in columns),
        ",".join("VARCHAR(50)" if is_text else "INTEGER" for _, is_text in columns),
    ]
    # Most columns are the same in every row: only those that it names are written anew.
    places = {name: (place, is_text) for place, (name, is_text) in enumerate(columns)}
    bare = ['""' if is_text else "0" for _, is_text in columns]
    for row in rows:
        cells = list(bare)
        for name, value in row.items():
            place, is_text = places[name]
            cells[place] = f'"{value}"' if is_text else str(value)
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"
