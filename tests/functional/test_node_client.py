"""The client for Node, packed as it ships and run by Node itself against FISO's handler and endpoints over HTTP."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fiso.domain.policy import Idempotent
from fiso_client.core.scoping import scoped_key
from tests.documented import blocks
from tests.emulator import free_port
from tests.functional.lease_servers import World

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "scripts/distributions/fiso-client-js"
BEGIN = """
import { Client, FisoDeclined, FisoRefused, NoAnswer, NoLease } from "fiso-client";
const told = (error) => ({ error: error.constructor.name, ran: error.mayHaveRun, says: error.message });
const text = (answer) => ({ ...answer, headers: undefined, body: new TextDecoder().decode(answer.body) });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const urls = process.env.FISO_URL.split(" ");
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the packed client is all there is."""
    folder = tmp_path_factory.mktemp("node")
    packed = _ran(["npm", "pack", "--silent", "--pack-destination", str(folder)], SOURCE).strip().splitlines()[-1]
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    _ran(["npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", str(folder / packed)], folder)
    return folder


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(**getattr(request, "param", {}))
    yield made
    made.close()


def _ran(command: list[str], folder: Path, **environ: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ, **environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node(installed: Path, url: str, program: str) -> Any:
    """What the program gives `say`."""
    script = f"{BEGIN}\nconst say = (what) => console.log(JSON.stringify(what));\n{program}"
    out = _ran(["node", "--input-type=module", "-e", script], installed, FISO_URL=url)
    return json.loads(out)


CALL = """
const fiso = new Client(urls);
const answer = await fiso.call("word-count", { body: "one two", contentType: "text/plain" }).then(text, told);
await fiso.close();
say({ ...answer, tally: fiso.tally });
"""


def test_it_leases_calls_and_reports(installed: Path, world: World) -> None:
    said = node(installed, world.url, CALL)
    (record,) = world.records
    assert (said["status"], said["body"], said["attempts"], said["isStale"]) == (200, "ONE TWO", 1, False)
    assert said["endpoint"] == record.result.endpoint
    assert said["tally"] == {"accepted": 1, "dropped": 0}
    assert record.decision.lease_id


def test_a_lease_serves_many_calls_and_each_is_in_the_log(installed: Path, world: World) -> None:
    said = node(
        installed,
        world.url,
        """
        const fiso = new Client(urls);
        const all = await Promise.all([...Array(20)].map((_, n) => fiso.call("word-count", { body: `n${n}` })));
        await fiso.close();
        say({ bodies: all.map((each) => text(each).body), tally: fiso.tally });
        """,
    )
    assert said == {"bodies": [f"N{n}" for n in range(20)], "tally": {"accepted": 20, "dropped": 0}}
    assert (world.decided(), len(world.records)) == (1, 20)


def away(world: World, installed: Path, program: str) -> Any:
    """The program's `say`; between its lines `begun` and the rest FISO is gone."""
    script = f"{BEGIN}\nconst say = (what) => console.log(JSON.stringify(what));\n{program}"
    command = ["node", "--input-type=module", "-e", script]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environ = {**os.environ, "FISO_URL": world.url}
    with subprocess.Popen(command, cwd=installed, text=True, env=environ, **pipes) as begun:  # type: ignore[call-overload]
        assert begun.stdout.readline() == '"begun"\n'
        world.stop_fiso()
        out, _ = begun.communicate("gone\n", timeout=60)
    assert begun.returncode == 0
    return json.loads(out)


def test_the_last_lease_serves_while_fiso_is_away_and_not_for_longer_than_it_may(installed: Path, world: World) -> None:
    said = away(
        world,
        installed,
        """
        // the lease is over at once, as it would be after a minute
        const real = performance.now.bind(performance);
        let later = 0;
        performance.now = () => real() + later;
        const fiso = new Client(urls, { graceMs: 1000_000, retryMs: 50 });
        await fiso.call("word-count", { body: "a" });
        say("begun");
        await new Promise((done) => process.stdin.once("data", done));
        later = 61_000;
        const stale = text(await fiso.call("word-count", { body: "b" }));
        later = 61_000 + 901_000;
        const over = await fiso.call("word-count", { body: "c" }).catch(told);
        await fiso.close();
        say({ stale: stale.isStale, body: stale.body, over: over.error, waits: fiso.tally.accepted });
        process.exit(0);
        """,
    )
    assert said == {"stale": True, "body": "B", "over": "NoLease", "waits": 0}


@pytest.mark.parametrize("world", [{"idempotent": Idempotent.NO}], indirect=True)
def test_after_a_copy_that_cannot_be_reached_the_next_one_is_called(installed: Path, world: World) -> None:
    said = node(
        installed,
        world.url,
        """
        const fetched = globalThis.fetch;
        const cause = Object.assign(new Error(), { code: "ECONNREFUSED" });
        const gone = Object.assign(new TypeError("fetch failed"), { cause });
        let first;
        globalThis.fetch = (url, ...rest) => {
          if (!String(url).includes("/v1/")) first ??= url;
          return url === first ? Promise.reject(gone) : fetched(url, ...rest);
        };
        """
        + CALL,
    )
    assert (said["status"], said["attempts"], len(world.calls)) == (200, 2, 1)
    (record,) = world.records
    assert [attempt.failure for attempt in record.attempts] == ["unreachable", None]


BROKEN = """
const fetched = globalThis.fetch;
let broken = false;
globalThis.fetch = async (url, ...rest) => {
  const answer = await fetched(url, ...rest);
  if (String(url).includes("/v1/") || broken) return answer;
  broken = true;
  throw Object.assign(new TypeError("fetch failed"), { cause: Object.assign(new Error(), { code: "ECONNRESET" }) });
};
"""


@pytest.mark.parametrize(
    ("world", "runs"),
    [({"idempotent": Idempotent.NO}, 1), ({"idempotent": Idempotent.YES}, 2)],
    indirect=["world"],
    ids=["no", "yes"],
)
def test_what_may_have_run_is_repeated_only_where_the_policy_says_so(installed: Path, world: World, runs: int) -> None:
    said = node(installed, world.url, BROKEN + CALL)
    assert len(world.calls) == runs
    assert said.get("status") == (200 if runs == 2 else None)
    assert said.get("ran") == (None if runs == 2 else True)


@pytest.mark.parametrize("world", [{"idempotent": Idempotent.DEDUPLICATES_ON_KEY}], indirect=True)
def test_a_key_is_sent_as_fiso_itself_would_send_it(installed: Path, world: World) -> None:
    with_key = CALL.replace('contentType: "text/plain"', 'idempotencyKey: "order-7"')
    assert node(installed, world.url, with_key)["status"] == 200
    (_, headers, _) = world.calls[0]
    tenant = world.records[0].request.tenant
    assert headers["idempotency-key"] == scoped_key(tenant, "word-count", "order-7")


def test_the_functions_own_errors_go_back_as_they_are(installed: Path, world: World) -> None:
    world.statuses = dict.fromkeys(("aws", "azure", "gcp"), 500)
    said = node(installed, world.url, CALL)
    assert (said["status"], said["isFunctionError"], said["attempts"]) == (500, True, 1)


@pytest.mark.parametrize(
    ("answered", "error"),
    [
        ((404, b"{}"), "FisoRefused"),
        ((401, b""), "FisoDeclined"),
        ((429, b"slow"), "FisoDeclined"),
        ((502, b""), "NoLease"),
        ((200, b"[1"), "NoLease"),
        ((503, b'{"type": "urn:fiso:problem:no-endpoint-available"}'), "FisoDeclined"),
    ],
)
def test_what_fiso_says_instead_of_a_lease_calls_nothing(
    installed: Path, world: World, answered: tuple[int, bytes], error: str
) -> None:
    world.says = answered
    assert node(installed, world.url, CALL)["error"] == error
    assert world.calls == []


def test_through_fiso_and_by_the_second_door_when_the_first_is_gone(installed: Path, world: World) -> None:
    said = node(
        installed,
        f"http://127.0.0.1:{free_port()} {world.url}",
        """
        const fiso = new Client(urls);
        const invoked = text(await fiso.invoke("word-count", { body: "one", contentType: "text/plain" }));
        const called = text(await fiso.call("word-count", { body: "two", contentType: "text/plain" }));
        const keyed = await fiso.invoke("word-count", { body: "x", idempotencyKey: "k" }).catch(told);
        const wrong = await fiso.invoke("../admin", {}).catch(told);
        const unknown = await fiso.invoke("nobody", {}).catch(told);
        await fiso.close();
        say([invoked.body, invoked.status, called.body, keyed.error, keyed.ran, wrong.error, unknown.error]);
        """,
    )
    assert said == [said[0], 200, "TWO", "NoAnswer", False, "FisoRefused", "FisoRefused"]


def test_the_command_calls_and_says_in_one_line_what_is_wrong(installed: Path, world: World) -> None:
    npx = ["npx", "--offline", "fiso-call"]
    assert _ran([*npx, "word-count", "--lease", "--data", "a b", "--url", world.url], installed) == "A B"
    for words, code in (([], 2), (["word-count"], 2), (["word-count", "--no"], 2), (["nobody", "--url", world.url], 1)):
        done = subprocess.run([*npx, *words], cwd=installed, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
        assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("program", blocks("client.md", "js"))
def test_the_documented_program_runs(installed: Path, world: World, program: str) -> None:
    out = _ran(["node", "--input-type=module", "-e", program], installed, FISO_URL=world.url)
    assert out.splitlines() == [f"200 {world.records[0].result.endpoint} ONE TWO TWO", "reported: 1"]


def test_a_lease_has_what_its_description_says(world: World) -> None:
    """The client's types are made from it."""
    described = yaml.safe_load((ROOT / "functions/console/openapi.yaml").read_text())["components"]["schemas"]["Lease"]
    answer = world.rig.send(
        {"rawPath": "/v1/decide/word-count", "headers": {}, "requestContext": {"http": {"method": "POST"}}, "body": ""}
    )
    lease = json.loads(answer["body"])
    assert set(lease) == set(described["properties"])
    assert set(lease["endpoints"][0]) == set(described["properties"]["endpoints"]["items"]["properties"])
