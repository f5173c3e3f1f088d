"""Messages between a WatchDog and its workers: length-prefixed msgpack frames over socket pairs.

A frame is four bytes of length, little-endian, and a list of messages: what has collected since the last frame
travels together. Jobs and their ends go over the data socket. Orders that must reach a worker while it runs a
job (interrupt, recall) go over the control socket, which a thread of the worker reads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import msgspec

_size = struct.Struct("<I").unpack_from
MAX_FRAME = 64 * 1024 * 1024


class Message(msgspec.Struct, array_like=True, gc=False):
    """Base of all messages; `number` is the WatchDog's number of the run it speaks of."""


# from the WatchDog, on the data socket


class Setup(Message, tag="setup"):
    """First message to a worker: how it is to be."""

    settings: bytes
    concurrent: bool
    python_path: list[str]


class Start(Message, tag="start"):
    """Run this job."""

    number: int
    job: bytes
    """The job's JSON."""
    ref: str
    """`circle/topic/id` of the job, which may differ from what its JSON says."""
    alone: bool = False
    """Run it in this exclusive worker though it is asynchronous: it has blocked the concurrent one."""
    not_after: float = 0.0
    """Monotonic time after which it mustn't start any more: should the WatchDog be stopped, its lease runs out."""


# from the WatchDog, on the control socket


class Interrupt(Message, tag="interrupt"):
    """End this run if it is the one running: it is over its time, or cancelled."""

    number: int
    why: str


class Recall(Message, tag="recall"):
    """Give back the runs that haven't been started."""


# from a worker


class Ready(Message, tag="ready"):
    """The worker has loaded everything."""

    pid: int
    """Its process id; that of the WatchDog's child may be its guard's."""


class Unfit(Message, tag="unfit"):
    """The worker can't start, for a reason that another try won't change."""

    error: str


class Over(Message, tag="over"):
    """A run has ended. `how`: done, failed, interrupted, oom."""

    number: int
    how: str
    text: str
    """The result of a run that is done, else the error."""
    partial: str
    """Results from before the error."""
    took: int
    """Microseconds it ran."""
    detail: bytes = b""
    """JSON object for `Job.error_detail`; empty: none."""
    checkpoint: bool = False
    """The job has a checkpoint, to be dropped once the job is done."""
    usage: bytes = b""
    """JSON object for `Job.usage`; empty: none."""


class Back(Message, tag="back"):
    """These runs weren't started and can be given to another worker."""

    numbers: list[int]
    late: bool = False
    """They can't: it was too late for them."""


class Elsewhere(Message, tag="elsewhere"):
    """This run belongs to the other sort of worker: asynchronous content to the concurrent one and vice versa."""

    number: int
    blocked: bool
    """It was started, and blocked the event loop."""


class Blocks(Message, tag="blocks"):
    """This run holds the event loop of the concurrent worker; told by another thread than the one it holds."""

    number: int


class Progress(Message, tag="progress"):
    """How far a run is."""

    number: int
    percent: float
    text: str


class Output(Message, tag="output"):
    """What a run wrote to its log."""

    number: int
    text: str


class Beat(Message, tag="beat"):
    """The concurrent worker's event loop goes round."""


ToWorker = Setup | Start
Control = Interrupt | Recall
FromWorker = Ready | Unfit | Over | Back | Elsewhere | Blocks | Output | Progress | Beat

_encoder = msgspec.msgpack.Encoder()
decode_to_worker: Callable[[bytes | memoryview], list[ToWorker]] = msgspec.msgpack.Decoder(list[ToWorker]).decode
decode_control: Callable[[bytes | memoryview], list[Control]] = msgspec.msgpack.Decoder(list[Control]).decode
decode_from_worker: Callable[[bytes | memoryview], list[FromWorker]] = msgspec.msgpack.Decoder(list[FromWorker]).decode


def frame(messages: Sequence[Message]) -> bytes:
    """Return the bytes that carry these messages."""
    payload = _encoder.encode(messages)
    return len(payload).to_bytes(4, "little") + payload


class FrameReader:
    """Cuts a byte stream into the payloads of its frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = 4  # bytes of the rest that make it worth a look

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that are complete now that `data` has come, in order.

        Raises:
            ValueError: a frame claims to be over 64 MB: the other side isn't one of ours.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return []
            data = bytes(rest)
            rest.clear()
        payloads, start, end = [], 4, len(data)
        while start <= end:
            (size,) = _size(data, start - 4)
            if size > MAX_FRAME:
                raise ValueError(f"a frame of {size} bytes; at most {MAX_FRAME}")
            if end - start < size:
                self._needed = size + 4
                break
            payloads.append(data[start : start + size])
            start += size + 4
        else:
            self._needed = 4
        rest += data[start - 4 :]
        return payloads
