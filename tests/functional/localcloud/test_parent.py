"""The parent process over small genuine processes: up, down, and whatever a crash can leave."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT, PORTS_NEEDED
from localcloud import cloud, ports
from localcloud.cloud import Lease, Record
from localcloud.layout import LocalCloud
from tests.functional.localcloud.emulator_fixture import eventually, free_port

DUMMY_CLOUD = Path(__file__).with_name("dummy_cloud.py")


@dataclass(kw_only=True)
class Ground:
    """A state directory, and what the tests need to start clouds in it and to look into it."""

    state: Path
    leases: list[Lease] = field(default_factory=list)

    @property
    def cloud(self) -> LocalCloud:
        return LocalCloud(root=CHECKOUT, state=self.state, base_port=20000)

    @property
    def events(self) -> list[str]:
        journal = self.state / "journal"
        return journal.read_text().splitlines() if journal.exists() else []

    def start(self, *parts: Mapping[str, object], timeout_s: float = 15) -> Lease:
        lease = cloud.launch(self.cloud, command(parts, timeout_s))
        self.leases.append(lease)
        return lease

    def pid(self, name: str) -> int:
        return Record.read(self.state).running[name].pid

    def processes(self) -> set[int]:
        """Every process of this cloud, whoever its parent is by now: they inherit the name of its folder."""
        found, wanted = set(), os.fsencode(f"FISO_LOCAL_DIR={self.state}")
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
        return found


def part(name: str, *says: str, after: tuple[str, ...] = (), port: int = 0, **more: object) -> Mapping[str, object]:
    return {"name": name, "port": port or free_port(), "says": says, "after": after, **more}


def command(parts: tuple[Mapping[str, object], ...], timeout_s: float) -> list[str]:
    return [sys.executable, str(DUMMY_CLOUD), json.dumps(parts), str(timeout_s)]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(state=tmp_path / "state")
    yield ground
    cloud.stop(ground.cloud)
    for lease in ground.leases:
        lease.end()
    assert ground.processes() == set()


def test_what_is_started_is_ready_and_what_is_stopped_is_gone(ground: Ground) -> None:
    lease = ground.start(part("one"), part("two"))
    assert set(Record.read(ground.state).running) == {"one", "two"}
    lease.end()
    assert sorted(ground.events) == ["one starts", "one stops", "two starts", "two stops"]
    assert ground.processes() == set()


def test_starts_after_and_stops_before_what_it_stands_on(ground: Ground) -> None:
    ground.start(part("top", after=("base",)), part("base")).end()
    assert ground.events == ["base starts", "top starts", "top stops", "base stops"]


def test_another_shell_finds_and_stops_a_cloud_that_was_released(ground: Ground) -> None:
    lease = ground.start(part("one"))
    lease.release()
    time.sleep(0.3)
    assert cloud.holder(ground.state) == lease.process.pid
    assert cloud.stop(ground.cloud) == []
    assert cloud.holder(ground.state) is None
    assert ground.events == ["one starts", "one stops"]
    assert cloud.stop(ground.cloud) == []


def test_a_second_cloud_on_one_state_is_refused_with_the_firsts_pid_and_another_range(ground: Ground) -> None:
    lease = ground.start(part("one"))
    with pytest.raises(CommandError, match=rf"runs here already \(pid {lease.process.pid}, port 20000\).*PORT=2"):
        ground.start(part("one"))
    assert ground.events == ["one starts"]


def test_two_parents_at_once_get_one_cloud(ground: Ground) -> None:
    ground.state.mkdir()
    environ = {**os.environ, "FISO_LOCAL_DIR": str(ground.state), "FISO_LOCAL_PORT": "20000"}
    start = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environ, "text": True}
    both = [subprocess.Popen(command((part("one"),), 15), **start) for _ in range(2)]  # type: ignore[call-overload]
    told = sorted(process.stdout.readline() for process in both)
    for process in both:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)
    assert told[0].startswith("a local cloud runs here already")
    assert told[1] == "ready\n"
    assert ground.events == ["one starts", "one stops"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_cloud_dies_with_whoever_started_it(ground: Ground, number: signal.Signals) -> None:
    script = (
        "import sys, time; from pathlib import Path; from localcloud import cloud; "
        "from localcloud.layout import LocalCloud; import json; "
        "lease = cloud.launch(LocalCloud.from_environ(), json.loads(sys.argv[1])); print('up', flush=True); "
        "time.sleep(600)"
    )
    environ = {**os.environ, "FISO_LOCAL_DIR": str(ground.state), "FISO_LOCAL_PORT": "20000"}
    words = [sys.executable, "-c", script, json.dumps(command((part("one", "--with-child"),), 15))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        assert len(ground.processes()) >= 4  # the starter, the parent, the part and its child
        starter.send_signal(number)
    eventually(lambda: not ground.processes())
    assert ground.events == ["one starts", "one stops"]


def test_the_parts_die_with_a_killed_parent(ground: Ground) -> None:
    lease = ground.start(part("one"), part("two"))
    lease.process.kill()
    eventually(lambda: not ground.processes())
    assert cloud.holder(ground.state) is None
    assert sorted(ground.events) == ["one starts", "one stops", "two starts", "two stops"]
    ground.start(part("one"))


def test_what_ends_is_started_again_and_its_own_children_are_ended(ground: Ground) -> None:
    ground.start(part("one", "--with-child"), part("two"))
    first, survivor, before = ground.pid("one"), ground.pid("two"), ground.processes()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: ground.events.count("one starts") == 2)
    assert ground.pid("two") == survivor
    assert ground.pid("one") != first
    eventually(lambda: len(ground.processes()) == len(before))


def test_children_in_sessions_of_their_own_go_down_with_it(ground: Ground) -> None:
    lease = ground.start(part("one", "--with-child"))
    lease.end()
    assert ground.processes() == set()


def test_names_who_holds_a_port_and_the_way_out(ground: Ground) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError) as refusal:
            ground.start(part("one"), part("two", port=port))
    message = str(refusal.value)
    assert f"port {port} is in use by pid {os.getpid()} (" in message
    assert "set FISO_LOCAL_PORT=2" in message
    assert "\n" not in message
    assert ground.events == []


def test_a_start_that_fails_says_why_and_leaves_nothing(ground: Ground) -> None:
    with pytest.raises(CommandError, match=r"bad ended at once: no such profile \(see .*bad\.log\)"):
        ground.start(part("good"), part("bad", "--dies-saying", "no such profile", after=("good",)))
    assert ground.events == ["good starts", "good stops"]
    assert ground.processes() == set()


def test_a_log_is_appended_to_and_only_its_new_lines_are_told(ground: Ground) -> None:
    for reason in ("first", "second"):
        with pytest.raises(CommandError, match=reason):
            ground.start(part("bad", "--dies-saying", reason))
    assert (ground.state / "logs" / "bad.log").read_text() == "first\nsecond\n"


def test_a_program_that_is_not_there_is_told_in_one_line(ground: Ground) -> None:
    with pytest.raises(CommandError, match=r"one (cannot be started|ended at once): .*/nowhere/python"):
        ground.start(part("one", python="/nowhere/python"))


def test_one_that_never_answers_is_given_up(ground: Ground) -> None:
    with pytest.raises(CommandError, match="one did not answer within 1 s"):
        ground.start(part("one", "--mute"), timeout_s=1)
    assert ground.processes() == set()


def test_one_that_will_not_stop_is_killed_and_named(ground: Ground) -> None:
    ground.start(part("one", "--ignores-signals", stop_timeout_s=0.3), part("two"))
    assert cloud.stop(ground.cloud) == ["one"]
    assert ground.processes() == set()


def test_parts_see_nothing_of_the_callers_account(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://mine")
    ground.start(part("one"))
    assert b"mine" not in Path(f"/proc/{ground.pid('one')}/environ").read_bytes()


def test_reset_deletes_what_parts_write_and_nothing_else(ground: Ground) -> None:
    locked = ground.state / "google" / "locked"
    locked.mkdir(parents=True)
    (locked / "file").touch()
    locked.chmod(0)
    (ground.state / "kept").touch()
    ground.start(part("one")).release()
    cloud.reset(ground.cloud)
    assert sorted(path.name for path in ground.state.iterdir()) == ["journal", "kept", "lock", "one"]


def test_where_nothing_ever_was_nothing_is_stopped_or_made(ground: Ground) -> None:
    assert cloud.stop(ground.cloud) == []
    cloud.reset(ground.cloud)
    assert not ground.state.exists()


def test_a_connection_that_has_the_port_is_nothing_to_stop(ground: Ground) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there, socket.create_connection(there.getsockname()) as begun:
        port = begun.getsockname()[1]
        with pytest.raises(CommandError) as refusal:
            ground.start(part("one", port=port))
    assert f"port {port} is in use by a connection that begins at it, or did until now: wait" in str(refusal.value)


def test_another_base_port_is_none_of_those_that_connections_begin_at() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for base in (21_000, first - 1_000, (first + last) // 2):
        found = ports.free_base(base)
        assert found > base
        assert found + PORTS_NEEDED <= first or found > last or last > 64_000  # with no others left
