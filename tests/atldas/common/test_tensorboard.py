"""Event files: what TensorBoard reads in them, record by record."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from atldas.common.tensorboard import EventFile


def events(folder: Path) -> list[Event]:
    """The events of the only file: each a length, its checksum, the content, its checksum."""
    (path,) = folder.glob("events.out.tfevents.*")
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def test_values_are_kept_by_step_and_name(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "tensorboard", start=5)
    file.write(5, {"loss": 0.5, "rate": 0.25})
    file.write(6, {"loss": 0.125})
    file.close()
    version, session, *rest = events(tmp_path / "tensorboard")
    assert version.file_version == "brain.Event:2"
    assert session.step == 5 and session.session_log.status == SessionLog.START  # hides what came from step 5 on
    values = [(event.step, event.summary.value[0].tag, event.summary.value[0].simple_value) for event in rest]
    assert values == [(5, "loss", 0.5), (5, "rate", 0.25), (6, "loss", 0.125)]


def test_the_first_values_can_be_seen_at_once(tmp_path: Path) -> None:
    file = EventFile(tmp_path, start=0)
    file.write(0, {"loss": 1.0})
    assert len(events(tmp_path)) == 3
    file.close()


def test_the_writer_gets_the_error_of_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = EventFile(tmp_path, start=0)

    def full(event: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file._writer, "write_event", full)
        with pytest.raises(OSError, match="No space left"):
            for step in range(50):  # a thread of its own would have to be waited for here
                file.write(step, {"loss": 1.0})
    file.close()
