import pytest
from hypothesis import given
from hypothesis import strategies as st

from herojobs.frames import FrameReader, Over, Start, decode_from_worker, decode_to_worker, frame


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 40))
def test_frames_survive_any_cut(jobs: list[bytes], size: int) -> None:
    sent = [Start(number, job, "c/t/1") for number, job in enumerate(jobs)]
    stream = b"".join(frame([start]) for start in sent)
    reader = FrameReader()
    got = []
    for at in range(0, len(stream), size):
        for payload in reader.feed(stream[at : at + size]):
            got += decode_to_worker(payload)
    assert got == sent


def test_messages_that_collect_share_a_frame() -> None:
    ends = [Over(n, "done", str(n), "", 5) for n in range(3)]
    (payload,) = FrameReader().feed(frame(ends))
    assert decode_from_worker(payload) == ends


def test_rubbish_is_refused_before_it_is_buffered() -> None:
    with pytest.raises(ValueError, match="bytes"):
        FrameReader().feed(b"\xff\xff\xff\xff")
