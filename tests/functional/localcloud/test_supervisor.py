"""The supervisor with small genuine processes: up, down, and whatever a crash can leave."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from localcloud.supervision import processes
from localcloud.supervision.component import Component, stop_waves
from localcloud.supervision.health import HttpCheck
from localcloud.supervisor import OWNER_VARIABLE, Health, Supervisor
from tests.functional.localcloud.emulator_fixture import eventually, free_port

DUMMY = Path(__file__).with_name("dummy_component.py")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A state directory and what the tests need to look into it."""

    state: Path

    @property
    def journal(self) -> Path:
        return self.state / "journal"

    @property
    def events(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def component(self, name: str, *arguments: str, needs: frozenset[str] = frozenset(), port: int = 0) -> Component:
        taken = port or free_port()
        options = ("--port", str(taken), "--journal", str(self.journal), "--name", name, *arguments)
        return Component(
            name=name,
            command=(sys.executable, str(DUMMY), *options),
            ports=(taken,),
            check=HttpCheck(port=taken),
            needs=needs,
            writes=(self.state / name,),
        )

    def supervisor(self, *components: Component) -> Supervisor:
        return Supervisor(state=self.state, base_port=20000, components=components, start_timeout_s=15)

    def owned(self) -> list[processes.Process]:
        return processes.with_variable(OWNER_VARIABLE, str(self.state))


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    ground = Ground(state=tmp_path / "state")
    yield ground
    processes.kill(ground.owned())


def pid_of(supervisor: Supervisor, name: str) -> int:
    pid = next(line.pid for line in supervisor.status() if line.name == name)
    assert pid is not None
    return pid


def health_of(supervisor: Supervisor) -> dict[str, Health]:
    return {line.name: line.health for line in supervisor.status()}


def test_what_comes_up_is_healthy_and_what_goes_down_is_gone(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one"), ground.component("two"))
    assert supervisor.up() == ["one", "two"]
    assert health_of(supervisor) == {"one": Health.HEALTHY, "two": Health.HEALTHY}
    assert supervisor.down() == []
    assert health_of(supervisor) == {"one": Health.STOPPED, "two": Health.STOPPED}
    assert ground.owned() == []


def test_another_shell_finds_and_stops_what_this_one_started(ground: Ground) -> None:
    component = ground.component("one")
    ground.supervisor(component).up()
    elsewhere = ground.supervisor()  # knows no component: the records suffice
    elsewhere.down()
    assert ground.events == ["one starts", "one stops"]


def test_up_a_second_time_starts_nothing(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one"))
    supervisor.up()
    assert supervisor.up() == []
    assert ground.events == ["one starts"]


def test_starts_after_and_stops_before_what_it_stands_on(ground: Ground) -> None:
    base = ground.component("base")
    top = ground.component("top", needs=frozenset({"base"}))
    supervisor = ground.supervisor(top, base)
    supervisor.up()
    supervisor.down()
    assert ground.events == ["base starts", "top starts", "top stops", "base stops"]
    assert stop_waves((top, base)) == {"top": 0, "base": 1}


def test_completes_a_stack_of_which_one_part_was_killed(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one"), ground.component("two"))
    supervisor.up()
    survivor = pid_of(supervisor, "two")
    os.kill(pid_of(supervisor, "one"), signal.SIGKILL)
    eventually(lambda: health_of(supervisor)["one"] is Health.CRASHED)
    assert supervisor.up() == ["one"]
    assert pid_of(supervisor, "two") == survivor


def test_starts_anew_what_stood_on_a_killed_part(ground: Ground) -> None:
    base, top = ground.component("base"), ground.component("top", needs=frozenset({"base"}))
    supervisor = ground.supervisor(base, top)
    supervisor.up()
    os.kill(pid_of(supervisor, "base"), signal.SIGKILL)
    eventually(lambda: health_of(supervisor)["base"] is Health.CRASHED)
    assert supervisor.up() == ["base", "top"]


def test_starts_anew_what_would_now_be_started_differently(ground: Ground) -> None:
    component = ground.component("one")
    ground.supervisor(component).up()
    changed = replace(component, environment={"CHANGED": "1"})
    assert ground.supervisor(changed).up() == ["one"]
    assert ground.events == ["one starts", "one stops", "one starts"]


def test_stops_a_component_that_is_no_longer_wanted(ground: Ground) -> None:
    one, two = ground.component("one"), ground.component("two")
    ground.supervisor(one, two).up()
    ground.supervisor(two).up()
    assert ground.events[-1] == "one stops"


def test_a_killed_parts_children_are_ended_too(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one", "--with-child"))
    supervisor.up()
    assert len(ground.owned()) == 2
    os.kill(pid_of(supervisor, "one"), signal.SIGKILL)
    eventually(lambda: len(ground.owned()) == 1)
    supervisor.up()
    assert len(ground.owned()) == 2  # the new one and its child, not the orphan
    supervisor.down()
    assert ground.owned() == []


def test_children_in_sessions_of_their_own_go_down_with_it(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one", "--with-child"))
    supervisor.up()
    supervisor.down()
    assert ground.owned() == []


def test_a_recycled_pid_is_never_signalled(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one"))
    supervisor.up()
    file = ground.state / "run" / "one.json"
    document = json.loads(file.read_text())
    supervisor.down()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    try:
        document["process"]["pid"] = bystander.pid  # the same pid, another start
        file.write_text(json.dumps(document))
        assert health_of(supervisor) == {"one": Health.CRASHED}
        supervisor.down()
        supervisor.up()
        assert bystander.poll() is None
        assert not (ground.state / "run" / "one.json").read_text().count(f'"pid": {bystander.pid},')
    finally:
        bystander.kill()
        bystander.wait()
        supervisor.down()


def test_a_record_of_an_earlier_boot_names_nobody(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one"))
    supervisor.up()
    file = ground.state / "run" / "one.json"
    document = json.loads(file.read_text())
    document["process"]["boot_id"] = "an earlier one"
    file.write_text(json.dumps(document))
    assert health_of(supervisor) == {"one": Health.CRASHED}


@pytest.mark.parametrize("left", ["", "{", "[]", '{"name": "one"}', "null"])
def test_a_damaged_record_is_cleared_and_its_process_ended(ground: Ground, left: str) -> None:
    supervisor = ground.supervisor(ground.component("one"))
    supervisor.up()
    (ground.state / "run" / "one.json").write_text(left)
    assert supervisor.up() == ["one"]
    assert ground.events == ["one starts", "one stops", "one starts"]


def test_names_who_holds_a_port_and_the_way_out(ground: Ground) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        supervisor = ground.supervisor(ground.component("one"), ground.component("two", port=port))
        with pytest.raises(CommandError) as refusal:
            supervisor.up()
    message = str(refusal.value)
    assert f"port {port} is in use by pid {os.getpid()} (" in message
    assert "set FISO_LOCAL_PORT=2" in message
    assert "\n" not in message
    assert ground.events == []


def test_a_start_that_fails_says_why_and_leaves_nothing(ground: Ground) -> None:
    good = ground.component("good")
    bad = ground.component("bad", "--dies-saying", "no such profile", needs=frozenset({"good"}))
    with pytest.raises(CommandError, match=r"bad ended at once: no such profile \(see .*bad\.log\)"):
        ground.supervisor(good, bad).up()
    assert ground.events == ["good starts", "good stops"]
    assert ground.owned() == []


def test_a_failed_start_leaves_running_what_ran_before(ground: Ground) -> None:
    good = ground.component("good")
    ground.supervisor(good).up()
    with pytest.raises(CommandError):
        ground.supervisor(good, ground.component("bad", "--dies-saying", "no")).up()
    assert health_of(ground.supervisor(good)) == {"good": Health.HEALTHY}


def test_a_program_that_is_not_there_is_told_in_one_line(ground: Ground) -> None:
    absent = replace(ground.component("one"), command=("/nowhere/python",))
    with pytest.raises(CommandError, match=r"one cannot be started: .*make setup"):
        ground.supervisor(absent).up()


def test_one_that_never_answers_is_given_up(ground: Ground) -> None:
    supervisor = replace(ground.supervisor(ground.component("one", "--mute")), start_timeout_s=1)
    with pytest.raises(CommandError, match="did not answer"):
        supervisor.up()
    assert ground.owned() == []


def test_one_that_will_not_stop_is_killed_and_named(ground: Ground) -> None:
    stubborn = replace(ground.component("one", "--ignores-signals"), stop_timeout_s=0.3)
    supervisor = ground.supervisor(stubborn)
    supervisor.up()
    assert supervisor.down() == ["one"]
    assert ground.owned() == []


def test_components_see_nothing_of_the_callers_account(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("HTTPS_PROXY", "http://mine")
    supervisor = ground.supervisor(ground.component("one"))
    supervisor.up()
    seen = Path(f"/proc/{pid_of(supervisor, 'one')}/environ").read_bytes()
    assert b"mine" not in seen


def test_reset_deletes_what_components_write_and_nothing_else(ground: Ground) -> None:
    supervisor = ground.supervisor(ground.component("one"))
    supervisor.up()
    locked = ground.state / "one" / "locked"
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0)
    kept = ground.state / "kept"
    kept.touch()
    supervisor.reset()
    assert sorted(path.name for path in ground.state.iterdir()) == ["journal", "kept", "lock"]
    assert ground.owned() == []


def test_down_where_nothing_ever_was_does_nothing(ground: Ground) -> None:
    assert ground.supervisor(ground.component("one")).down() == []
    assert not ground.state.exists()


def test_the_log_is_appended_to(ground: Ground) -> None:
    bad = ground.component("bad", "--dies-saying", "first")
    with pytest.raises(CommandError, match="first"):
        ground.supervisor(bad).up()
    with pytest.raises(CommandError, match="second"):
        ground.supervisor(replace(bad, command=(*bad.command[:-1], "second"))).up()
    assert (ground.state / "logs" / "bad.log").read_text() == "first\nsecond\n"
