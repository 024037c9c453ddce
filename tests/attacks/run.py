"""Attacks a server of its own, one attack after the other, while an honest client measures what service is left, and
prints tables in Markdown. `scripts/attack` starts it; `--help` lists what it takes. Loopback only."""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20
# What an honest client notices when it is let alone, before and after.
QUIET = 3.0
# What the honest client and the server itself hold besides: a tolerance for "back at the baseline".
DESCRIPTORS_OVER = 8

CONFIG = """
[server]
cores = {cores}

[[listener]]
name = "main"
address = "127.0.0.1:0"
origins = "any"

[[channel]]
name = "poll/lunch"
kind = "vote"
options = [{{ id = "1" }}, {{ id = "2" }}, {{ id = "3" }}]

[[channel]]
name = "attack/poll"
kind = "vote"
options = [{{ id = "1" }}, {{ id = "2" }}, {{ id = "3" }}]

[[channel]]
name = "attack/polls"
kind = "vote"
options = [{{ id = "1" }}, {{ id = "2" }}, {{ id = "3" }}]

[[channel]]
name = "news"
kind = "feed"

[[channel]]
name = "attack/large"
kind = "feed"

[[channel]]
name = "attack/full"
kind = "feed"

[[channel]]
name = "attack/echo"
kind = "echo"

[[channel]]
pattern = "feed/*"
kind = "feed"

[[route]]
listener = "main"
path = "/c/*"
serve = "channels"

[[route]]
listener = "main"
path = "/"
serve = "page"
page = "vote"
channel = "poll/lunch"
session = true

[[route]]
listener = "main"
path = "/poll"
serve = "long-poll"
channel = "attack/polls"
key = "uid"
"""


@dataclass
class Attack:
    title: str
    # Of attacker.py, or the options of slowhttptest.
    name: str
    processes: int
    # Connections of all processes together.
    count: int
    seconds: float = 8.0
    # What the server may take to let everything go, behind the attack: the longest of its times that apply.
    wait: float = 5.0
    slowhttptest: tuple = ()
    # A server of its own: it leaves history behind, which is kept for ten minutes.
    fresh: bool = False


SLOW = ("-p", "5", "-i", "2")
ATTACKS = [
    Attack("nothing (two processes spin)", "spin", 2, 0),
    Attack("slow headers (slowhttptest -H)", "slow_headers", 1, 4000, 16, slowhttptest=("-H", *SLOW)),
    Attack("slow bodies (slowhttptest -B)", "slow_bodies", 1, 4000, 36, slowhttptest=("-B", *SLOW)),
    Attack("slow reads (slowhttptest -X)", "slow_reads", 1, 4000, 16,
           slowhttptest=("-X", "-w", "1", "-y", "2", "-n", "5", "-z", "1", "-k", "3", "-p", "5")),
    Attack("idle connections", "idle", 2, 15_000, 16),
    Attack("idle WebSockets", "idle_websockets", 2, 15_000, 12),
    Attack("connects without end", "connects", 2, 128),
    Attack("handshakes without end", "handshakes", 2, 128),
    Attack("pings", "pings", 1, 4),
    Attack("pings, pongs not read", "pings_unread", 1, 200),
    Attack("fragments of one byte", "fragments", 1, 4),
    Attack("echoes of 64 KiB, not read", "echoes_unread", 1, 200),
    Attack("stuck in a message of 256 KiB", "large_unread", 1, 200, 10),
    Attack("parked polls, then a vote", "polls", 2, 10_000, 14),
    Attack("heads of 1000 lines", "header_lines", 2, 128),
    Attack("announced lengths", "announced", 3, 96),
    Attack("chunks of one byte", "tiny_chunks", 1, 4),
    Attack("votes from one connection", "votes", 1, 1),
    Attack("the same, answers not read", "votes_unread", 1, 1),
    Attack("refused messages from one", "wrong_votes", 1, 1),
    Attack("pipelined requests", "pipelined", 1, 2),
    Attack("the same, answers not read", "pipelined_unread", 1, 200),
    Attack("messages without their last byte", "half_messages", 1, 200),
    Attack("bodies without their last byte", "half_bodies", 1, 200),
    Attack("5000 listeners, one comes and goes", "comings", 1, 5000, 10),
    Attack("names of channels without end", "names", 1, 4, fresh=True),
    Attack("snapshots without end", "snapshots", 1, 1, fresh=True),
    Attack("replays without end", "replays", 1, 8, fresh=True),
    Attack("answers of 24 MB, not read", "snapshots_unread", 1, 40, fresh=True),
    Attack("replays of 24 MB, not read", "replays_unread", 1, 40, fresh=True),
    Attack("40 histories of 4 MB", "channels", 1, 40, fresh=True),
]  # fmt: skip


class Server:
    """The server under attack, and what /proc says of it twice a second."""

    def __init__(self, binary, cores):
        self.folder = tempfile.TemporaryDirectory()
        config = os.path.join(self.folder.name, "attack.toml")
        with open(config, "w") as file:
            file.write(CONFIG.format(cores=cores))
        self.errors = open(os.path.join(self.folder.name, "stderr"), "w+")
        self.process = subprocess.Popen(
            [binary, "serve", "--config", config], stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        line = self.process.stdout.readline()
        found = re.match(r"listening main http://(\S+)", line)
        if not found:
            sys.exit(f"the server does not start: {line}{self.stderr()}")
        self.address = found[1].rstrip("/")
        self.samples = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def look(self):
        """Seconds, resident bytes, open descriptors, processor seconds."""
        folder = f"/proc/{self.process.pid}"
        with open(f"{folder}/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        with open(f"{folder}/stat") as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        descriptors = len(os.listdir(f"{folder}/fd"))
        return time.monotonic(), resident, descriptors, ticks / os.sysconf("SC_CLK_TCK")

    def watch(self):
        while not self.ended.wait(0.5):
            try:
                self.samples.append(self.look())
            except OSError:
                return

    def alive(self):
        return self.process.poll() is None

    def stderr(self):
        self.errors.flush()
        with open(self.errors.name) as file:
            return file.read()

    def end(self):
        self.ended.set()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "killed"
        text = self.stderr()
        self.errors.close()
        self.folder.cleanup()
        return code, text


class HonestClient:
    """honest.py, and what it measured."""

    def __init__(self, address):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "honest.py"), address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.phase("quiet")

    def phase(self, name):
        """Begins a phase; the samples of the last."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"samples": {}, "failed": ["the honest client failed"]}

    def end(self):
        self.process.stdin.close()
        self.process.wait(20)


def attackers(attack, server, scale):
    """The processes of an attack. They are nicer than others: an attacker elsewhere takes no processor away here."""
    count = max(1, int(attack.count * scale)) if attack.count > 8 else max(1, attack.count)
    if attack.slowhttptest:
        command = ["slowhttptest", *attack.slowhttptest, "-c", str(count), "-r", "2000"]
        command += ["-l", str(int(attack.seconds)), "-u", f"http://{server.address}/"]
        commands = [command]
    else:
        each = -(-count // attack.processes)
        commands = [
            [sys.executable, os.path.join(HERE, "attacker.py"), attack.name, server.address]
            + [str(attack.seconds), str(each), str(index)]
            for index in range(attack.processes)
        ]
    nice = ["nice", "-n", "5"]
    return [
        subprocess.Popen(nice + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for command in commands
    ]


def run(attack, server, honest, scale):
    honest.phase("before")
    time.sleep(QUIET)
    before = honest.phase("during")
    start = server.look()
    processes = attackers(attack, server, scale)
    outputs = []
    for process in processes:
        try:
            outputs.append(process.communicate(timeout=attack.seconds + 120)[0])
        except subprocess.TimeoutExpired:
            process.kill()
            outputs.append("did not end: " + process.communicate()[0][-300:])
    stop = server.look()
    during = honest.phase("after")
    let_go = None
    deadline = time.monotonic() + attack.wait + 10
    while time.monotonic() < deadline:
        if server.look()[2] <= start[2] + DESCRIPTORS_OVER:
            let_go = time.monotonic() - stop[0]
            break
        time.sleep(0.1)
    time.sleep(QUIET)
    after = honest.phase("rest")
    # The allocator gives memory back some seconds later.
    while server.look()[1] > start[1] + 16 * MIB and time.monotonic() < deadline:
        time.sleep(0.5)
    end = server.look()
    within = [sample for sample in server.samples if start[0] <= sample[0] <= end[0]] + [start, stop, end]
    return {
        "attack": attack.title,
        "before": summary(before), "during": summary(during), "after": summary(after),
        "failed": len(during["failed"]), "failures": during["failed"][:3],
        "resident before": start[1], "resident most": max(sample[1] for sample in within), "resident after": end[1],
        "descriptors before": start[2], "descriptors most": max(sample[2] for sample in within),
        "processor": (stop[3] - start[3]) / (stop[0] - start[0]),
        "let go": let_go,
        "alive": server.alive(),
        "attackers": [json_or_text(output) for output in outputs],
    }  # fmt: skip


def json_or_text(output):
    try:
        return json.loads(output)
    except json.JSONDecodeError:
        plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output)
        # The last page of slowhttptest.
        return plain[-700:]


def summary(phase):
    """By act: median, 99th hundredth and worst, in milliseconds, and how many."""
    figures = {}
    for act, samples in phase["samples"].items():
        sorted_ = sorted(samples) or [float("nan")]
        at = lambda part: round(sorted_[min(len(sorted_) - 1, int(len(sorted_) * part))] * 1000, 2)  # noqa: E731
        figures[act] = {"p50": at(0.5), "p99": at(0.99), "worst": at(1.0), "samples": len(samples)}
    return figures


ACTS = ("vote", "GET", "new", "broadcast")


def tables(results):
    lines = ["Milliseconds before → during the attack, median (99th hundredth); × is the ratio of the medians.", ""]
    lines += ["| attack | vote | GET | GET on a new connection | broadcast to 20 | failed |", "|---|---|---|---|---|---|"]
    for result in results:
        cells = []
        for act in ACTS:
            before, during = result["before"].get(act), result["during"].get(act)
            if not before or not during:
                cells.append("-")
                continue
            ratio = during["p50"] / before["p50"] if before["p50"] else float("nan")
            cells.append(
                f"{before['p50']:.1f} ({before['p99']:.0f}) → {during['p50']:.1f} ({during['p99']:.0f}), {ratio:.1f}×"
            )
        lines.append(f"| {result['attack']} | {' | '.join(cells)} | {result['failed']} |")
    lines += ["", "Of the server: resident memory in MiB before / most / after, descriptors, processors used."]
    lines += ["", "| attack | resident | descriptors | processors | let go after |", "|---|---|---|---|---|"]
    for result in results:
        resident = " / ".join(f"{result[f'resident {when}'] / MIB:.0f}" for when in ("before", "most", "after"))
        let_go = "never" if result["let go"] is None else f"{result['let go']:.1f} s"
        lines.append(
            f"| {result['attack']} | {resident} | {result['descriptors before']} / {result['descriptors most']} "
            f"| {result['processor']:.2f} | {let_go} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--cores", type=int, default=0, help="event loops, 0: as many as processors")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each attack's connections")
    parser.add_argument("--only", default="", help="names of attacks, separated by commas")
    parser.add_argument("--json", help="a file for all figures")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20_000 if most == resource.RLIM_INFINITY else min(20_000, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    names = [name for name in options.only.split(",") if name]
    known = {attack.name for attack in ATTACKS}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"no such attacks: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    results, server, honest = [], None, None
    for attack in ATTACKS:
        if names and attack.name not in names:
            continue
        if attack.slowhttptest and not shutil.which("slowhttptest"):
            print(f"*** SKIPPED: {attack.title}: slowhttptest is not installed ***", file=sys.stderr)
            continue
        if server is None or attack.fresh or not server.alive():
            finish(server, honest)
            server = Server(options.binary, options.cores)
            honest = HonestClient(server.address)
        print(f"{time.strftime('%X')} {attack.title}", file=sys.stderr, flush=True)
        result = run(attack, server, honest, options.scale)
        results.append(result)
        print(f"    {json.dumps({key: result[key] for key in ('attackers', 'failures')})}", file=sys.stderr, flush=True)
        if options.json:
            with open(options.json, "w") as file:
                json.dump(results, file, indent=1)
    finish(server, honest)
    print(tables(results))
    if not results or not all(result["alive"] for result in results):
        sys.exit("the server did not live through it")


def finish(server, honest):
    if server is None:
        return
    honest.end()
    code, text = server.end()
    if code != 0 or text.strip():
        print(f"    the server ended with {code} and said: {text.strip()[-2000:]}", file=sys.stderr)


if __name__ == "__main__":
    main()
