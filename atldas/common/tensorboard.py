"""Scalars for TensorBoard, written by the calling thread.

tensorboardX's `SummaryWriter` writes from a thread of its own. When the disk is full, that thread ends, and the next
calls wait for it for ever. Here the caller gets the error.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

SECONDS = 30  # at most so long until rows can be seen


class EventFile:
    """One event file in `folder`. TensorBoard hides what earlier files there say of step `start` and later ones.

    Raises:
        OSError: in every method, if the file cannot be written.
    """

    def __init__(self, folder: Path, start: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        self._writer.write_event(Event(step=start, session_log=SessionLog(status=SessionLog.START)))
        self._flush_at = 0.0

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one value to each of the named curves."""
        for name, value in values.items():
            self._writer.write_event(Event(step=step, wall_time=time.time(), summary=scalar(name, value)))
        if time.monotonic() >= self._flush_at:
            self._writer.flush()
            self._flush_at = time.monotonic() + SECONDS

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
