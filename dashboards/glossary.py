"""The words of the field, once: shown on hover, and printed in the documentation."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

GLOSSARY: Final = MappingProxyType(
    {
        "MOS": "Mean opinion score, 1 (bad) to 4.5: how people would judge the sound, estimated from the packets by "
        "the E-model (ITU-T G.107) as MOS-CQE. Under 3.6 many users are dissatisfied.",
        "R": "Rating of the E-model (ITU-T G.107), 0 to 93.2: what MOS is computed from.",
        "poor": "Share of streams with a MOS under 3.6, with its 95 % interval (Wilson 1927): what the number of "
        "streams allows to say.",
        "loss": "Packets that the sender numbered and that did not come, out of those expected [%].",
        "jitter": "Interarrival jitter (RFC 3550 6.4.1): how unevenly packets come, smoothed [ms].",
        "calls now": "Calls that are up at this time, mean over the newest minute [erlang].",
        "stream": "RTP packets of one sender in one direction of one call.",
        "DSCP": "Mark in each packet that asks the network for priority; 46 (EF) is voice.",
        "ASR": "Answer-seizure ratio: calls answered out of calls tried (ITU-T E.411).",
        "NER": "Network effectiveness ratio: calls that the network delivered, whether people answered or not "
        "(ITU-T E.425).",
        "PDD": "Post-dial delay: from the last digit to the first sign of ringing [s].",
        "setup failure": "A call that the network or a system ended before it rang: busy and unanswered are none.",
        "one-way audio": "A call in which one party hears nothing.",
        "CDR": "Call detail record: what the telephone system wrote of a call.",
        "CMR": "Call management record: what a telephone reported of the quality of a call.",
        "band": "The grey behind a line: this site on the same weekday and hour, 10th to 90th percentile of 8 weeks.",
        "measured": "From packets that were seen (●).",
        "reported": "As a telephone or gateway reported it (◐).",
        "modelled": "Computed from assumptions, for nothing was seen (○).",
        "normal": "Nothing to look at.",
        "degraded": "More streams poor than a good site has: the lower end of the interval lies above 5 %.",
        "bad": "So many streams poor that users complain: the lower end of the interval lies above 20 %.",
        "few": "Too few streams to judge.",
        "no data": "Neither a call nor a stream was seen.",
        "capture unhealthy": "Packets were lost on the way to the measurement: quality is not judged.",
        "silenced": "Somebody asked for no alerts of this site for a while.",
    }
)
"""Word to definition, in one or two sentences."""
