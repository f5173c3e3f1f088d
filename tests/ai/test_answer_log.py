"""Batches of an answer on their way into the log."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from herojobs.ai.answer_log import BATCH_CHARACTERS, BATCH_SECONDS, AnswerLog
from herojobs.ai.masking import KeyMask

KEY = "sk-abcabcabd"


def mask() -> KeyMask:
    found = KeyMask()
    found.add(KEY)
    return found


async def test_pieces_travel_together() -> None:
    sent: list[str] = []
    log = AnswerLog(sent.append, mask())
    for _ in range(10):
        log.piece("word ")
    assert sent == []
    await asyncio.sleep(BATCH_SECONDS * 1.5)
    assert sent == ["word " * 10]
    log.piece("x" * BATCH_CHARACTERS)
    assert len(sent) == 2
    log.line("[a line]")
    assert sent[2] == "\n[a line]\n"


@given(st.lists(st.text(alphabet="sk-abcd \n", max_size=6) | st.sampled_from([KEY, KEY[:5], KEY[5:]])))
async def test_however_a_key_is_cut_it_never_passes(pieces: list[str]) -> None:
    sent: list[str] = []
    log = AnswerLog(sent.append, mask())
    for piece in pieces:
        log.piece(piece)
        log._pass_on()
    log.flush()
    assert KEY not in "".join(sent)
    assert "".join(sent) == "".join(pieces).replace(KEY, "***")
