"""Columns of the stream table: one row per RTP stream, int64 counts in `counts`, float64 sums in `sums`.

A row is one SSRC between two endpoints as long as its sequence does not restart; a restart closes the row and opens
the next one, and rows of one stream are put together afterwards.
"""

from __future__ import annotations

from typing import Final

# --- counts: what tells streams apart (compared word by word) -----------------------------------------------------
KEY_SRC_HI: Final = 0
KEY_SRC_LO: Final = 1
KEY_DST_HI: Final = 2
KEY_DST_LO: Final = 3
KEY_PORTS: Final = 4  # source port << 16 | destination port
KEY_SSRC: Final = 5
# --- what every packet touches: 32 words with the key, so that they share few cache lines -------------------------
# Sequence numbers as in RFC 3550 A.1, extended by 65,536 per cycle.
MAX_SEQ: Final = 6
WINDOW_NEW: Final = 7  # bit k: MAX_SEQ - k was received; 64 newest
WINDOW_OLD: Final = 8  # the 64 before those
BAD_SEQ: Final = 9  # what the next packet must carry to confirm a restart, -1 none
STATE: Final = 10
LAST_AT: Final = 11
PACKETS: Final = 12  # mirror copies left out
OCTETS: Final = 13
PAYLOAD_TYPE: Final = 14  # of the last packet
PAYLOAD_TYPE_RUN: Final = 15  # packets of it not yet added to the payload type table
CLOCK: Final = 16  # of the last payload type [Hz]: 0 to be asked for, -1 not known yet, -2 never will be, -3 asked for
DSCP_NOW: Final = 17
DSCP_RUN: Final = 18
SAMPLES: Final = 19  # packets waiting in `samples`
IDS: Final = 20  # IP identification of the packets MAX_SEQ - 3 ... MAX_SEQ, 16 bits each, newest lowest
MAX_DELTA: Final = 21  # largest time between two packets [ns]
LOST_RUN: Final = 22  # length of the run of losses now leaving the window
EVENT_TYPE: Final = 23  # telephone-event payload type | a second one << 8 (255 none); -1 recognise by shape
TTL_LAST: Final = 24
HELD_AT: Final = 25  # the packet that may have begun a restart
TIMESTAMP_STEP: Final = 26  # most frequent timestamp increment per packet (majority vote)
STEP_VOTES: Final = 27
SEQUENTIAL: Final = 28  # packets whose sequence number followed the one before
LAST_TIMESTAMP: Final = 29
AFTER_COMFORT_NOISE: Final = 30
SPURTS: Final = 31
# --- what is touched rarely ---------------------------------------------------------------------------------------
BASE_SEQ: Final = 32
FIRST_AT: Final = 33
LAST_LOST: Final = 34  # last sequence number of the last run of losses, -1 none yet
SERIAL: Final = 35
REORDERED: Final = 36
DUPLICATES: Final = 37
COPIES: Final = 38
LOST: Final = 39  # runs that left the window
LOSS_RUNS: Final = 40
BURSTS: Final = 41
BURST_PACKETS: Final = 42
BURST_LOST: Final = 43
CLUSTER_PACKETS: Final = 44  # the burst (or lone loss) not closed yet
CLUSTER_LOST: Final = 45
COMFORT_NOISE: Final = 46
INTERVAL_PACKETS: Final = 47  # packets at the end of the last interval that was written down
HELD_TIMESTAMP: Final = 48
HELD_OCTETS: Final = 49
EVENTS_LOGGED: Final = 50
EVENTS_UNLOGGED: Final = 51
EVENT_TIMESTAMP: Final = 52  # the telephone-event in progress, -1 none
EVENT_CODE: Final = 53
EVENT_DURATION: Final = 54
EVENT_VOLUME: Final = 55
EVENT_PACKETS: Final = 56
EVENT_ENDED: Final = 57
EVENT_AT: Final = 58
EVENT_SEQ_FIRST: Final = 59
EVENT_SEQ_LAST: Final = 60
EVENT_PACKETS_ALL: Final = 61
PREVIOUS_AT: Final = 62  # last packet that took part in jitter
PREVIOUS_TIMESTAMP: Final = 63
JITTER_COUNT: Final = 64
PDV_COUNT: Final = 65  # samples waiting in `delays`
PDV_SINCE: Final = 66  # when the first of them arrived [ns]
DRIFT_COUNT: Final = 67
TIMESTAMP_JUMPS: Final = 68
NEXT_FREE: Final = 69
RESTART_OF: Final = 70  # serial of the row this one continues, -1 none
INTERVAL_SINCE: Final = 71  # end of the last interval that was written down [ns], 0 none yet
RUN_CLASSES_AT: Final = 72  # 8 classes of loss-run lengths
COUNT_COLUMNS: Final = 88
HOT_COLUMNS: Final = 32  # those in front, which every packet touches

RUN_CLASS_LOWS: Final = (1, 2, 3, 4, 5, 11, 51, 101)
"""Least length of each class of loss runs [packets]."""

CLOCK_ASKED: Final = -3

STATE_FREE: Final = 0
STATE_PROBATION: Final = 1
STATE_VALID: Final = 2
STATE_CLOSED: Final = 3

# --- sums: float64 ------------------------------------------------------------------------------------------------
JITTER: Final = 0  # [ms]
JITTER_SUM: Final = 1
JITTER_MAX: Final = 2
IPDV_MAX: Final = 3
PDV_MAX: Final = 4
OFFSET: Final = 5  # delay of the last packet against the base of the samples in `delays` [ms]
OFFSET_BASE: Final = 6  # that base against the first packet [ms]
DRIFT_X: Final = 7
DRIFT_Y: Final = 8
DRIFT_XX: Final = 9
DRIFT_XY: Final = 10
SUM_COLUMNS: Final = 11

# --- payload types of a row: 8 slots of three words ---------------------------------------------------------------
TYPE_SLOTS: Final = 8
TYPE_NUMBER: Final = 0  # payload type + 1, 0 for an empty slot
TYPE_CLOCK: Final = 1
TYPE_COUNT: Final = 2
TYPE_COLUMNS: Final = 24

# --- histograms of delays: 16 classes of 8 µs, then 16 per octave up to 134 s -------------------------------------
DELAY_BINS: Final = 336

SAMPLES_PER_ROW: Final = 64
FEWER_SAMPLES: Final = 32  # where many streams are measured for long: of known clocks so many wait at most
SAMPLE_MARKER: Final = 32  # bits of a sample's second word above the timestamp: marker, duplicate, sequence number
SAMPLE_DUPLICATE: Final = 33
SAMPLE_SEQ: Final = 34
RECENT: Final = 128  # delays remembered by sequence number, as far back as a packet may be late
DELAYS_PER_ROW: Final = 512
EVALUATION_NS: Final = 10_000_000_000

# --- jobs: packets of a row that are to be worked out; the first row counts them ----------------------------------
JOB_ROWS: Final = 512
JOB_ROW: Final = 0
JOB_CLOCK: Final = 1
JOB_SAMPLES: Final = 2
JOB_FORGET: Final = 3  # 1: what comes afterwards has another clock
JOB_PACKETS: Final = 4  # where the samples begin
JOB_COLUMNS: Final = JOB_PACKETS + 2 * SAMPLES_PER_ROW

# --- events -------------------------------------------------------------------------------------------------------
EVENT_ROWS: Final = 65536
LOG_SERIAL: Final = 0
LOG_KIND: Final = 1
LOG_AT: Final = 2
LOG_A: Final = 3
LOG_B: Final = 4
LOG_C: Final = 5
LOG_D: Final = 6
LOG_COLUMNS: Final = 8

LOG_JUMP: Final = 1  # first missing extended sequence number, count, time between the neighbours [ns]
LOG_LATE: Final = 2  # extended sequence number that came late and filled a hole
LOG_TYPE: Final = 3  # old payload type, new payload type
LOG_EVENT: Final = 4  # code | ended << 8 | volume << 16, duration [timestamp units], packets, first << 32 | last seq
EVENTS_PER_STREAM: Final = 256

# --- intervals: a stream's counts so far, every so often; only where they are asked for --------------------------
INTERVAL_ROWS: Final = 65536
INTERVAL_SERIAL: Final = 0
INTERVAL_AT: Final = 1  # last packet of the interval [ns]
INTERVAL_COUNT: Final = 2  # packets of the row so far
INTERVAL_DUPLICATES: Final = 3
INTERVAL_EXPECTED: Final = 4  # RFC 3550 A.3, so far
INTERVAL_JITTER: Final = 5  # [ns], -1 not known
INTERVAL_FIRST: Final = 6  # first packet of the row [ns]
INTERVAL_COLUMNS: Final = 8
SETTING_INTERVAL: Final = 0  # length of an interval [ns], 0 none
SETTING_WRITTEN: Final = 1  # rows of `intervals` in use
SETTING_ASKED: Final = 2  # rows whose clock is asked for
SETTINGS: Final = 3

# --- RFC 3550 A.1 -------------------------------------------------------------------------------------------------
MAX_DROPOUT: Final = 3000
MAX_MISORDER: Final = 100
WINDOW_BITS: Final = 128
PAUSE_NS: Final = 2_000_000_000  # nothing is late by more: a lower sequence number after this is a restart
COPY_NS: Final = 50_000_000  # a mirror's copy follows within this
COPY_NO_ID_NS: Final = 1_000_000  # and within this where the sender numbers no datagrams

GMIN: Final = 16  # RFC 3611 4.7.2
