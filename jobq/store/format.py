"""The version of the store's format, which the first line of the journal records.

Raise FORMAT with every change; raise MIN_WRITER when older versions may read but must not write, MIN_READER when they
must not even read. Every version keeps reading all older forms.
"""

from __future__ import annotations

from jobq.sealed import is_whole

FORMAT = 1
MIN_READER = 1
MIN_WRITER = 1
JOURNAL = "journal.jsonl"


def is_todays(header: bytes, generation: int) -> bool:
    """Return True if this version writes such a first line, for that generation; a quick check for `jobq add`."""
    versions = b',"format":%d,"min_reader":%d,"min_writer":%d,"crc":"' % (FORMAT, MIN_READER, MIN_WRITER)
    begins = b'{"jobq":"journal","generation":%d,' % generation
    return header.startswith(begins) and versions in header and is_whole(header)
