"""Columns of CUCM's records: names in order, their other names, and how a file says which it has.

Order and types: Cisco Call Detail Records Administration Guide 15, chapters "CDR Field Descriptions" and "CMR Field
Descriptions", and exports of 2015 to 2025: CDR 94, 129 or 133 columns, CMR 19, 44 or 48, each the first of the next.
A file with names is read by name, whatever their order; the guide's own order differs from that of the files.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from collector.cdr.files import HEAD, Layout, LayoutError

CDR: Final = "cdr"
CMR: Final = "cmr"
SAMPLE: Final = 20
"""Lines that are looked at to tell what a file without names holds."""
BOM: Final = b"\xef\xbb\xbf"

_FIELDS: Final = {
    CDR: """
    cdrRecordType globalCallID_callManagerId globalCallID_callId origLegCallIdentifier dateTimeOrigination
    origNodeId origSpan origIpAddr callingPartyNumber$ callingPartyUnicodeLoginUserID$ origCause_location
    origCause_value origPrecedenceLevel origMediaTransportAddress_IP origMediaTransportAddress_Port
    origMediaCap_payloadCapability origMediaCap_maxFramesPerPacket origMediaCap_g723BitRate origVideoCap_Codec
    origVideoCap_Bandwidth origVideoCap_Resolution origVideoTransportAddress_IP origVideoTransportAddress_Port
    origRSVPAudioStat$ origRSVPVideoStat$ destLegIdentifier destNodeId destSpan destIpAddr
    originalCalledPartyNumber$ finalCalledPartyNumber$ finalCalledPartyUnicodeLoginUserID$ destCause_location
    destCause_value destPrecedenceLevel destMediaTransportAddress_IP destMediaTransportAddress_Port
    destMediaCap_payloadCapability destMediaCap_maxFramesPerPacket destMediaCap_g723BitRate destVideoCap_Codec
    destVideoCap_Bandwidth destVideoCap_Resolution destVideoTransportAddress_IP destVideoTransportAddress_Port
    destRSVPAudioStat$ destRSVPVideoStat$ dateTimeConnect dateTimeDisconnect lastRedirectDn$ pkid$
    originalCalledPartyNumberPartition$ callingPartyNumberPartition$ finalCalledPartyNumberPartition$
    lastRedirectDnPartition$ duration origDeviceName$ destDeviceName$ origCallTerminationOnBehalfOf
    destCallTerminationOnBehalfOf origCalledPartyRedirectOnBehalfOf lastRedirectRedirectOnBehalfOf
    origCalledPartyRedirectReason lastRedirectRedirectReason destConversationId globalCallId_ClusterID$
    joinOnBehalfOf comment$ authCodeDescription$ authorizationLevel clientMatterCode$ origDTMFMethod
    destDTMFMethod callSecuredStatus origConversationId origMediaCap_Bandwidth destMediaCap_Bandwidth
    authorizationCodeValue$ outpulsedCallingPartyNumber$ outpulsedCalledPartyNumber$ origIpv4v6Addr$
    destIpv4v6Addr$ origVideoCap_Codec_Channel2 origVideoCap_Bandwidth_Channel2 origVideoCap_Resolution_Channel2
    origVideoTransportAddress_IP_Channel2 origVideoTransportAddress_Port_Channel2 origVideoChannel_Role_Channel2
    destVideoCap_Codec_Channel2 destVideoCap_Bandwidth_Channel2 destVideoCap_Resolution_Channel2
    destVideoTransportAddress_IP_Channel2 destVideoTransportAddress_Port_Channel2 destVideoChannel_Role_Channel2
    IncomingProtocolID IncomingProtocolCallRef$ OutgoingProtocolID OutgoingProtocolCallRef$ currentRoutingReason
    origRoutingReason lastRedirectingRoutingReason huntPilotPartition$ huntPilotDN$ calledPartyPatternUsage
    IncomingICID$ IncomingOrigIOI$ IncomingTermIOI$ OutgoingICID$ OutgoingOrigIOI$ OutgoingTermIOI$
    outpulsedOriginalCalledPartyNumber$ outpulsedLastRedirectingNumber$ wasCallQueued totalWaitTimeInQueue
    callingPartyNumber_uri$ originalCalledPartyNumber_uri$ finalCalledPartyNumber_uri$ lastRedirectDn_uri$
    mobileCallingPartyNumber$ finalMobileCalledPartyNumber$ origMobileDeviceName$ destMobileDeviceName$
    origMobileCallDuration destMobileCallDuration mobileCallType originalCalledPartyPattern$
    finalCalledPartyPattern$ lastRedirectingPartyPattern$ huntPilotPattern$ origDeviceType$ destDeviceType$
    origDeviceSessionID$ destDeviceSessionID$
    """,
    CMR: """
    cdrRecordType globalCallID_callManagerId globalCallID_callId nodeId directoryNum$ callIdentifier
    dateTimeStamp numberPacketsSent numberOctetsSent numberPacketsReceived numberOctetsReceived
    numberPacketsLost jitter latency pkid$ directoryNumPartition$ globalCallId_ClusterID$ deviceName$
    varVQMetrics$ duration videoContentType$ videoDuration numberVideoPacketsSent numberVideoOctetsSent
    numberVideoPacketsReceived numberVideoOctetsReceived numberVideoPacketsLost videoAverageJitter
    videoRoundTripTime videoOneWayDelay videoReceptionMetrics$ videoTransmissionMetrics$
    videoContentType_channel2$ videoDuration_channel2 numberVideoPacketsSent_channel2
    numberVideoOctetsSent_channel2 numberVideoPacketsReceived_channel2 numberVideoOctetsReceived_channel2
    numberVideoPacketsLost_channel2 videoAverageJitter_channel2 videoRoundTripTime_channel2
    videoOneWayDelay_channel2 videoReceptionMetrics_channel2$ videoTransmissionMetrics_channel2$ localSessionID$
    remoteSessionID$ headsetSN$ headsetMetrics$
    """,
}
"""Names in order; a $ marks those that hold text."""

ORDER: Final = {record: tuple(name.rstrip("$") for name in names.split()) for record, names in _FIELDS.items()}
"""Names of the columns in order, by record."""
HOLDS_TEXT: Final = {record: tuple(name.endswith("$") for name in names.split()) for record, names in _FIELDS.items()}
"""Whether each column holds text, in order."""
WIDTHS: Final = {CDR: (94, 129, 133), CMR: (19, 44, 48)}
"""Numbers of columns of files without names or types."""
LEAST: Final = {CDR: 58, CMR: 15}
"""Columns that a line of types must at least have: as far as the devices, and as far as pkid."""
ALIASES: Final = {
    "cmrrecordtype": "cdrrecordtype",
    "destlegcallidentifier": "destlegidentifier",
    "directorynumber": "directorynum",
    "directorynumberpartition": "directorynumpartition",
    "globalcallidclusterid": "globalcallid_clusterid",
    "globalcallidcallmanagerid": "globalcallid_callmanagerid",
    "globalcallidcallid": "globalcallid_callid",
}
"""Other names of columns that are in use, in lower case."""
REQUIRED: Final = {
    CDR: ("cdrRecordType", "globalCallID_callId", "dateTimeOrigination"),
    CMR: ("cdrRecordType", "globalCallID_callId", "callIdentifier", "dateTimeStamp"),
}
"""Columns without which a record says nothing."""
TELLING: Final = 8
"""Names of CUCM's columns that tell its files when they are half of all names."""

_TYPE = re.compile(
    r"(?:INTEGER|INT|BIGINT|SMALLINT|STRING|UNIQUEIDENTIFIER|N?(?:VAR)?CHAR)(?: *\( *\d+ *\))?", re.IGNORECASE
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER = re.compile(r"-?\d{1,11}")


def canonical(name: str) -> str:
    """Return a column's name as it is compared: lower case, its usual name where it has several."""
    plain = name.strip().lower()
    return ALIASES.get(plain, plain)


_KNOWN: Final = frozenset(canonical(name) for names in ORDER.values() for name in names)


def cells_of(line: bytes) -> list[str]:
    """Cut a line into cells, without quotes and the spaces around them."""
    text = line.decode("utf-8", "replace").replace("\0", "\ufffd").replace("\r", " ")
    try:
        return [cell.strip() for cell in next(csv.reader([text], skipinitialspace=True), [])]
    except csv.Error:
        return []


def is_types(cells: Sequence[str]) -> bool:
    """Whether a line is the line of types that CUCM writes after the names."""
    return len(cells) > 1 and all(_TYPE.fullmatch(cell) for cell in cells)


def is_names(cells: Sequence[str]) -> bool:
    """Whether a line holds the names of columns, needed ones or not."""
    names = {canonical(cell) for cell in cells}
    return "globalcallid_callid" in names or len(names & _KNOWN) >= max(TELLING, len(cells) / 2)


def sniff(head: bytes) -> Layout | None:
    """Tell whether a file holds CUCM's records, and how its columns lie.

    Raises `LayoutError` for a file that is CUCM's and whose columns are not known: to guess would put values into
    fields that they do not belong to.
    """
    lines = head.removeprefix(BOM).split(b"\n", SAMPLE + 1)
    if len(lines) > SAMPLE + 1 or len(head) >= HEAD:
        lines.pop()  # it may be cut
    if not lines:
        return None
    layout = _by_heading(lines[0], lines[1] if len(lines) > 1 else b"")
    return layout or _by_values(lines)


@lru_cache(64)
def _by_heading(first: bytes, second: bytes) -> Layout | None:
    """What names or types in the first line say; a feed of a file a minute repeats them."""
    cells = cells_of(first)
    if is_names(cells):
        return Layout("cucm", record_named(cells), tuple(cells), 3 if is_types(cells_of(second)) else 2)
    return _by_types(cells) if is_types(cells) else None


def record_named(names: Sequence[str]) -> str:
    """Tell CDR from CMR by the names of columns; LayoutError where needed ones are missing."""
    present = {canonical(name) for name in names}
    record = CMR if "callidentifier" in present and "datetimeorigination" not in present else CDR
    missing = [name for name in REQUIRED[record] if canonical(name) not in present]
    if record == CDR and "duration" not in present and not {"datetimeconnect", "datetimedisconnect"} <= present:
        missing.append("duration")
    if missing:
        raise LayoutError(f"is a CUCM file without the column {' and '.join(missing)}")
    twice = len(names) - len({canonical(name) or str(k) for k, name in enumerate(names)})
    if twice:
        raise LayoutError("is a CUCM file that names a column twice")
    return record


def _by_types(types: Sequence[str]) -> Layout | None:
    """A file whose first line holds types: they must be those of the known order, as far as both go."""
    text = ["INT" not in cell.upper() for cell in types]
    for record, known in HOLDS_TEXT.items():
        if LEAST[record] <= len(text) and all(a == b for a, b in zip(text, known, strict=False)):
            return Layout("cucm", record, _positional(record, len(text)), 2)
    raise LayoutError(f"has a line of {len(text)} types that fit neither a CDR nor a CMR, and no names of columns")


def _by_values(lines: Sequence[bytes]) -> Layout | None:
    """A file of values alone: only a known number of columns, with values that make sense where they stand.

    One line that does is enough: the first may be damaged.
    """
    wrong: LayoutError | None = None
    for line in lines:
        try:
            layout = _by_line(cells_of(line))
        except LayoutError as error:
            wrong = wrong or error
            continue
        if layout is not None:
            return layout
    if wrong is not None:
        raise wrong
    return None


def _by_line(cells: Sequence[str]) -> Layout | None:
    for record, number in ((CDR, "1"), (CMR, "2")):
        pkid = ORDER[record].index("pkid")
        if not cells or cells[0] != number or len(cells) <= pkid or not _UUID.fullmatch(cells[pkid]):
            continue
        if len(cells) not in WIDTHS[record] and len(cells) < WIDTHS[record][-1]:
            raise LayoutError(f"has {len(cells)} columns without names or types; known are {_listed(WIDTHS[record])}")
        odd = [
            name
            for name, holds_text, cell in zip(ORDER[record], HOLDS_TEXT[record], cells, strict=False)
            if not holds_text and cell and not _NUMBER.fullmatch(cell)
        ]
        if odd:
            raise LayoutError(f"has {len(cells)} columns without names, and no number where {odd[0]} should be")
        return Layout("cucm", record, _positional(record, len(cells)), 1)
    return None


def _positional(record: str, width: int) -> tuple[str, ...]:
    """Names of columns by position; those after the last known one have none."""
    return (*ORDER[record][:width], *("" for _ in range(width - len(ORDER[record]))))


def _listed(numbers: Sequence[int]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
