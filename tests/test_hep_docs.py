"""docs/hep.md says what the receivers do. Run as a program, this brings its generated tables up to date."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from api.collect import collect  # noqa: E402
from collector import received_calls, received_plain  # noqa: E402
from collector.protocols import hep, hep_reports, sip_publish  # noqa: E402
from collector.receivers import hep as receiver  # noqa: E402
from collector.receivers import hep_source, rtcp_reports, sip_intake  # noqa: E402
from collector.receivers import sip_publish as publish  # noqa: E402
from collector.receivers.listening import ConnectionLimits  # noqa: E402

PAGE = ROOT / "docs" / "hep.md"
NS = 1_000_000_000
TAKEN = {hep.SIP: "calls, reports", **dict.fromkeys((hep.RTCP, *hep_reports.REPORTS), "reports")}
MEANINGS = {
    "version_unknown": "begins with none of the three versions",
    "cut_short": "ends before its end, or its connection did",
    "length_wrong": "states an impossible length",
    "family_unknown": "is neither IPv4 nor IPv6",
    "chunk_cut_short": "ends within the head of a chunk",
    "chunk_length_wrong": "a chunk is longer than the packet, or shorter than its own head",
    "chunk_size_wrong": "a number or address has the wrong size",
    "too_many_chunks": f"has more than {hep.MAX_CHUNKS} chunks",
    "address_missing": "says not where from or where to",
    "payload_type_missing": "says not what it carries",
    "payload_missing": "carries nothing",
    "payload_too_large": "unpacks to more than the limit",
    "compression_wrong": "cannot be unpacked",
    "time_wrong": "has a million microseconds or more",
    "auth_key_wrong": "carries not the key of `--hep-key`",
}
WRITTEN_ALONE = {"packet_too_large"}
"""Raised when a packet is made, which only tests do."""


def payloads() -> str:
    rows = [f"| {kind} | {name} | {TAKEN.get(kind, 'counted')} |" for kind, name in sorted(hep.PAYLOAD_NAMES.items())]
    return "\n".join(["| type | name | becomes |", "|---|---|---|", *rows])


def defects() -> str:
    return "\n".join(
        ["| name | the packet |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in MEANINGS.items())]
    )


def statuses() -> str:
    source = inspect.getsource(sip_publish.PublishServer)
    found = re.findall(r"return (\d{3}), f?\"([a-z_{}.]+)\"", source)
    found.append(("400", "header_missing"))
    assert {int(status) for status, _ in found} == set(sip_publish.REASONS)
    rows = [
        f"| {status} {sip_publish.REASONS[int(status)]} | `{reason.replace('{error.defect}', '…')}` |"
        for status, reason in sorted(set(found))
    ]
    return "\n".join(["| answer | counted as |", "|---|---|", *rows])


GENERATED = {"payloads": payloads, "statuses": statuses, "defects": defects}


def section(name: str) -> str:
    match = re.search(rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert match is not None
    return match[1]


def test_the_tables_are_those_of_the_code() -> None:
    for name, made in GENERATED.items():
        assert section(name) == made(), "run: python tests/test_hep_docs.py"


def test_every_reason_has_its_meaning() -> None:
    raised = {
        node.value
        for call in ast.walk(ast.parse(inspect.getsource(hep)))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "HepError"
        for node in ast.walk(call)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert raised | {"auth_key_wrong"} == set(MEANINGS) | WRITTEN_ALONE


def test_every_option_of_the_page_exists() -> None:
    options = set(re.findall(r"^\| `?(--[a-z-]+)`?|, `(--[a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    named = {one or other for one, other in options}
    source = inspect.getsource(collect)
    assert named == {"--hep", "--hep-key", "--certificate", "--certificate-key", "--client-authority", "--publish"}
    assert all(f'"{name}"' in source for name in named)


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    limits = ConnectionLimits()
    text = " ".join(PAGE.read_text("utf-8").split())
    for sentence in (
        f"the port is {receiver.PORT} unless given",
        f"the port is {publish.PORT} unless given",
        f"up to {hep.MAX_UNPACKED >> 10} KiB",
        f"{rtcp_reports.SILENT // NS} s after its last report",
        f"for {sip_intake.CALL_LIMITS.grace // NS} s after its end, looked at every {hep_source.FLUSH_SECONDS:.0f} s",
        f"after {received_calls.UNANSWERED_IDLE // NS} s of silence",
        f"after {received_calls.IDLE // (3600 * NS)} h",
        f"{limits.receive_buffer >> 20} MiB if `net.core.rmem_max` allows",
        f"{sip_intake.CALL_LIMITS.max_calls:,} calls at once",
        f"beyond {received_plain.TEXT >> 20} MiB of messages",
        f"{limits.connections} connections; a further one",
        f"more than {limits.message_seconds:.0f} s, after {limits.idle_seconds:.0f} s of silence, "
        f"and after {limits.garbage_octets >> 20} MiB",
        f"for at most {hep_source.PATIENCE_SECONDS:.0f} s",
    ):
        assert sentence in text
    assert receiver.CLOCK_LIMIT == 86_400 * NS, "a day"


def test_the_settings_shown_for_senders_are_those_that_tests_run_with() -> None:
    text = PAGE.read_text("utf-8")
    senders = (ROOT / "tests" / "hep_senders.py").read_text("utf-8")
    for line in re.findall(r'^modparam\("siptrace", ("[a-z_]+"), .*\)$', text, re.MULTILINE):
        assert f'modparam("siptrace", {line}, ' in senders
    started = (ROOT / "tests" / "test_hep_senders.py").read_text("utf-8")
    for option in re.findall(r"--homer[a-z-]*=", text):
        assert option in started


if __name__ == "__main__":
    page = PAGE.read_text("utf-8")
    for part, make in GENERATED.items():
        begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->"
        page = page[: page.index(begin) + len(begin)] + make() + "\n" + page[page.index(end) :]
    PAGE.write_text(page, "utf-8")
