"""Sessions: what they allow, who is let in, and that who was let in once isn't any more."""

from __future__ import annotations

import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from herojobs.errors import InvalidSession, RedisUnavailable, SessionError, SessionNotFound
from herojobs.sessions import Role, Session, Sessions
from herojobs.sessions import sessions as module
from herojobs.sessions.keys import PATTERN
from herojobs.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    made = Sessions(settings)
    yield made
    made.close()


def test_roles_build_on_each_other_and_hold_in_their_circles() -> None:
    session = Session("1", "x", ("my_circle", "b"), Role.SUBMITTER, 0)
    assert session.allows(Role.VIEWER, "My Circle")
    assert session.allows(Role.SUBMITTER, "b")
    assert not session.allows(Role.OPERATOR, "b")
    assert not session.allows(Role.VIEWER, "c")
    assert session.allows(Role.VIEWER)
    assert not session.allows(Role.ADMIN)
    assert Session("1", "x", ("*",), Role.VIEWER, 0).allows(Role.VIEWER, "whatever")


def test_a_key_lets_its_session_in(sessions: Sessions) -> None:
    assert not sessions.any()
    session, key = sessions.create("billing", ["My Circle", "b"], "operator", ttl=60)
    assert PATTERN.fullmatch(key)
    assert key.startswith(f"hjs_{session.id}_")
    assert (session.circles, session.role) == (("b", "my_circle"), Role.OPERATOR)
    assert session.expires_ms == session.created_ms + 60_000
    assert sessions.check(key) == session
    assert sessions.list() == [session]
    assert sessions.get("billing") == sessions.get(session.id) == session
    assert sessions.any()


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: key[:-1],
        lambda key: key.upper(),
        lambda key: key + "\n",
        lambda key: "",
        lambda key: "é",
    ],
)
def test_a_wrong_key_doesnt(sessions: Sessions, change: object) -> None:
    _, key = sessions.create("a", ["c"])
    assert sessions.check(change(key)) is None  # type: ignore[operator]


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(strategies.text() | strategies.from_regex(r"hjs_[0-9a-f]{8}_[0-9a-f]{64}", fullmatch=True))
def test_no_text_gets_in(sessions: Sessions, text: str) -> None:
    if not sessions.exist:
        sessions.create("a", ["*"])
    assert sessions.check(text) is None


def test_an_expired_one_doesnt(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    session, key = sessions.create("a", ["c"], ttl=10)
    monkeypatch.setattr(module, "now_ms", lambda: session.expires_ms - 1)
    assert sessions.check(key) == session
    monkeypatch.setattr(module, "now_ms", lambda: session.expires_ms)
    assert sessions.check(key) is None
    assert sessions.list() == []
    assert sessions.list(ended=True) == [session]
    assert sessions.create("a", ["c"])[0].id != session.id  # its name is free again


def test_a_revoked_one_doesnt_and_the_door_stays_shut(sessions: Sessions) -> None:
    session, key = sessions.create("a", ["c"])
    assert sessions.revoke("a") == session
    assert sessions.check(key) is None
    assert sessions.any()
    assert sessions.list() == []
    with pytest.raises(SessionNotFound, match="no session 'a'"):
        sessions.revoke("a")
    assert sessions.create("a", ["d"])[0].circles == ("d",)


def test_a_rotated_key_lives_on_for_the_grace(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    session, first = sessions.create("a", ["c"])
    _, second = sessions.rotate("a", grace=60)
    assert sessions.check(first) == sessions.check(second) == session
    _, third = sessions.rotate(session.id, grace=10_000)  # must not lengthen the first one's life
    now = module.now_ms()
    monkeypatch.setattr(module, "now_ms", lambda: now + 61_000)
    assert sessions.check(first) is None
    assert sessions.check(second) == session
    sessions.rotate("a")
    assert sessions.check(second) is None
    assert sessions.check(third) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((" ", ["c"]), "name ' '"),
        (("a\nb", ["c"]), "name"),
        (("a", []), "name the circles"),
        (("a", ["é"]), "circle 'é'"),
        (("a", ["c"], "root"), "one of viewer, submitter, operator, admin"),
        (("a", ["c"], "admin"), "all circles"),
        (("a", ["c"], "viewer", -1), "ttl -1"),
    ],
)
def test_bad_input_is_told(sessions: Sessions, arguments: tuple[str], told: str) -> None:
    with pytest.raises(InvalidSession, match=told):
        sessions.create(*arguments)
    assert not sessions.list()


def test_names_are_unique(sessions: Sessions) -> None:
    session, _ = sessions.create("billing", ["c"])
    with pytest.raises(InvalidSession, match=session.id):
        sessions.create("billing", ["d"])
    with pytest.raises(SessionNotFound, match="did you mean 'billing'"):
        sessions.get("biling")


def test_a_login_link_works_once_and_not_for_long(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sessions.login("x") is None
    token = sessions.new_login()
    made = sessions.login(token)
    assert made is not None
    session, key = made
    assert sessions.check(key) == session
    assert (session.role, session.login) == (Role.ADMIN, True)
    assert sessions.login(token) is None
    assert not sessions.any()  # a browser alone doesn't shut out programs of this host
    late = sessions.new_login(ttl=1)
    now = module.now_ms()
    monkeypatch.setattr(module, "now_ms", lambda: now + 1001)
    assert sessions.login(late) is None


def test_only_the_owner_can_read_the_book_and_it_holds_no_secret(sessions: Sessions, settings: Settings) -> None:
    _, key = sessions.create("a", ["c"])
    token = sessions.new_login()
    files = list((settings.home / "var" / "sessions").iterdir())
    assert len(files) >= 2  # the write-ahead log, too
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert key.encode() not in file.read_bytes()
        assert key[-20:].encode() not in file.read_bytes()
        assert token.encode() not in file.read_bytes()
    assert stat.S_IMODE((settings.home / "var" / "sessions").stat().st_mode) == 0o700


_CHECKER = """
import sys
from pathlib import Path
from herojobs.sessions import Sessions
from herojobs.settings import Settings
sessions = Sessions(Settings(home=Path(sys.argv[1]), redis_url=sys.argv[2]))
for key in sys.stdin:
    print(sessions.check(key.strip()) is not None, flush=True)
"""


@pytest.mark.parametrize("has_home", [True, False])
def test_a_revoked_key_fails_in_the_very_next_call_of_another_process(
    tmp_path: Path, redis_url: str, has_home: bool
) -> None:
    settings = Settings(home=tmp_path / "home", redis_url=redis_url)
    sessions = Sessions(settings)
    session, key = sessions.create("a", ["c"])
    other = settings if has_home else Settings(home=tmp_path / "other", redis_url=redis_url)
    process = subprocess.Popen(
        [sys.executable, "-c", _CHECKER, other.home, redis_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def check() -> bool:
        process.stdin.write(key + "\n")  # type: ignore[union-attr]
        return process.stdout.readline() == "True\n"  # type: ignore[union-attr]

    assert check()
    assert check()
    _, new = sessions.rotate("a", grace=100)
    assert check()
    sessions.revoke(session.id)
    assert not check()
    process.communicate()
    assert process.returncode == 0
    assert sessions.check(new) is None
    sessions.close()


def test_hosts_without_the_home_trust_redis_alone(tmp_path: Path, redis_url: str) -> None:
    here = Sessions(Settings(home=tmp_path / "here", redis_url=redis_url))
    there = Sessions(Settings(home=tmp_path / "there", redis_url=redis_url))
    assert not there.any()
    session, key = here.create("a", ["c"], ttl=100)
    assert there.check(key) == session
    assert there.any()
    second, other = there.create("b", ["d"])  # now it has a book of its own, and both are told of
    third = Sessions(Settings(home=tmp_path / "third", redis_url=redis_url))
    assert (third.check(key), third.check(other)) == (session, second)
    here.revoke("a")
    assert (third.check(key), third.check(other)) == (None, second)
    for each in (here, there, third):
        each.close()


def test_redis_is_told_again_after_it_was_wiped(tmp_path: Path, redis_url: str) -> None:
    here = Sessions(Settings(home=tmp_path / "here", redis_url=redis_url))
    there = Sessions(Settings(home=tmp_path / "there", redis_url=redis_url))
    session, key = here.create("a", ["c"])
    from herojobs.live.redis import BlockingRedis, run_sync

    redis = BlockingRedis(redis_url)
    run_sync(redis.command("FLUSHALL"))
    assert there.check(key) is None
    here.publish()
    assert there.check(key) == session
    assert key.encode() not in b"".join(run_sync(redis.command("HGETALL", "herosessions")))
    run_sync(redis.close())
    here.close()
    there.close()


def test_without_redis_sessions_are_made_and_checked_at_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, redis_url=f"unix://{tmp_path}/none")
    sessions = Sessions(settings)
    session, key = sessions.create("a", ["c"])
    assert sessions.check(key) == session
    sessions.revoke("a")
    assert sessions.check(key) is None
    sessions.close()
    elsewhere = Sessions(Settings(home=tmp_path / "other", redis_url=settings.redis_url))
    with pytest.raises(RedisUnavailable):
        elsewhere.check(key)


def test_require_session_shuts_the_door_of_a_home_without_any(tmp_path: Path) -> None:
    assert Sessions(Settings(home=tmp_path, require_session=True)).any()


def test_a_damaged_book_lets_nobody_in(sessions: Sessions, settings: Settings) -> None:
    _, key = sessions.create("a", ["c"])
    sessions.close()
    (settings.home / "var" / "sessions" / "sessions.sqlite3").write_bytes(b"rubbish" * 1000)
    for call in (lambda: sessions.check(key), sessions.any, sessions.list, lambda: sessions.create("b", ["c"])):
        with pytest.raises(SessionError, match=r"sessions\.sqlite3"):
            call()


def test_a_book_that_may_not_be_read_lets_nobody_in(
    sessions: Sessions, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = sessions.create("a", ["c"])
    sessions.close()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("herojobs.sessions.book.os.stat", denied)
    monkeypatch.setattr("herojobs.sessions.book.os.open", denied)
    for call in (lambda: sessions.check(key), sessions.any, sessions.list):
        with pytest.raises(SessionError, match="Permission denied"):
            call()


def test_what_was_made_outlives_a_kill(settings: Settings) -> None:
    code = (
        "import os, sys; from pathlib import Path; from herojobs.sessions import Sessions;"
        "from herojobs.settings import Settings; s = Sessions(Settings(home=Path(sys.argv[1])));"
        "print(s.create('a', ['c'])[1], flush=True); s.create('b', ['c']); s.revoke('b'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, settings.home], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    sessions = Sessions(settings)
    found = sessions.check(done.stdout.strip())
    assert found is not None
    assert [each.name for each in sessions.list()] == ["a"]
    sessions.close()


def test_a_half_written_change_is_as_if_it_had_not_been(sessions: Sessions, settings: Settings) -> None:
    _, key = sessions.create("a", ["c"])
    with pytest.raises(SessionError, match="no such table"), sessions._book.changing() as db:
        db.execute("DELETE FROM key").execute("DELETE FROM none_such")
    assert sessions.check(key) is not None


def test_threads_share_it(sessions: Sessions) -> None:
    keys: list[str] = []

    def work(number: int) -> None:
        for n in range(10):
            keys.append(sessions.create(f"{number}-{n}", ["c"])[1])
            assert all(sessions.check(key) for key in keys[-5:])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({session.id for session in map(sessions.check, keys) if session}) == 40
    assert re.match(r"\w+", keys[0])
