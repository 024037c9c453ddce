"""What is measured: each figure starts a server of its own, loads it case by case, and ends it. A case gives an outcome:
{"ok", "why" not, "values": {metric: number}, "report": the generator's}."""

import os
import time

import peers
import processes
import render
from generator import Load, fault
from processes import Failed

ALL = ["fanout", "latency", "echo", "handshake", "idle", "votes", "steps", "stuck", "loops", "other"]
# What a server and the generator need besides one open file for each connection.
FILES_RESERVE = 500
# Connections that echo, that vote, and readers of which some get stuck.
ECHOERS, VOTERS, READERS, STUCK = 200, 200, 500, 20
MIB = 1 << 20
CROWDED = "crowd"
# How long the generator's warm-up of a crowd takes at most, in seconds.
WARM_UP = 4.0


class Plan:
    """Sizes and times of a run."""

    def __init__(self, quick, sizes, files):
        most = files - FILES_RESERVE
        wanted = sizes or ([1000] if quick else [1000, 5000, 15000])
        self.sizes = list(dict.fromkeys(min(size, most) for size in wanted))
        self.gaps = [f"{size:,} subscribers, but {most:,}: {files:,} open files" for size in wanted if size > most]
        paced = [(1000, 100)] if quick else [(1000, 100), (5000, 20)]
        self.latency = [(size, rate) for size, rate in paced if size <= most]
        self.gaps += [f"latency at {size:,} subscribers" for size, _ in paced if size > most]
        self.idle = min(2000 if quick else 15000, most)
        self.crowd = min(2000 if quick else 15000, most)
        self.listeners = 1000
        self.seconds = 1 if quick else 3
        self.latency_seconds = 2 if quick else 4


class Server:
    """A server that runs, to be loaded; ended when it is left."""

    def __init__(self, comparison, contender, cores=None, client_cores=None):
        self.comparison, self.contender = comparison, contender
        self.client_cores = client_cores or {comparison.cores[1]}
        self.log = os.path.join(comparison.work, f"{contender.name}.log")
        self.port = processes.free_port()
        self.process, self.pid = contender.start(self.port, cores or {comparison.cores[0]}, self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        processes.stop(self.process)

    def begin(self, load, path):
        """Starts to load it."""
        flags = load.flags(f"ws://127.0.0.1:{self.port}{path}", self.pid, self.contender.socketio)
        return load.begin(self.comparison, flags, self.client_cores)

    def outcome(self, running, read):
        """What came of a load that was begun."""
        outcome = running.outcome(read)
        if self.process.poll() is not None:
            return fault(f"the server ended with {self.process.returncode}: {processes.tail(self.log)}")
        return outcome

    def load(self, load, path, read):
        return self.outcome(self.begin(load, path), read)


class Figure:
    """One figure of the servers that `fits` says; `cases` are rows of (case, load, read)."""

    def __init__(self, name, fits, cases, path=lambda contender: contender.path):
        self.name, self.fits, self.cases, self.path = name, fits, cases, path

    def measure(self, comparison, contender):
        try:
            with Server(comparison, contender) as server:
                return [(case, server.load(load, self.path(contender), read)) for case, load, read in self.cases]
        except Failed as error:
            return [(case, fault(f"does not start: {error}")) for case, _, _ in self.cases]


class OwnFigure(Figure):
    """One that is measured of ours alone, in a way of its own; `names` are its cases."""

    def __init__(self, name, names, how):
        super().__init__(name, lambda contender: contender.name == render.OURS, [])
        self.names, self.how = names, how

    def measure(self, comparison, contender):
        try:
            return list(self.how(comparison, contender))
        except Failed as error:
            return [(case, fault(f"does not start: {error}")) for case in self.names]


def fan_out_values(report):
    return {"cpu_us": report["server"]["cpu_us_per_delivery"], "per_second": report["deliveries_per_second"]}


def latency_values(report):
    times = report["latency_us"]
    return {"p50_ms": times["p50"] / 1000, "p99_ms": times["p99"] / 1000, "max_ms": times["max"] / 1000,
            "cpu_us": report["server"]["cpu_us_per_delivery"], "client_share": report["client"]["cpu_share"]}


def compared(wanted, plan):
    """The figures that all servers are compared by, in the order in which they are measured."""
    def everyone(_):
        return True

    def servers(contender):
        return contender.name != render.FLOOR

    made = []
    for size in plan.sizes:
        rows = [(f"{size} W{w}", Load.fan_out(size, plan.seconds, outstanding=w), fan_out_values) for w in (1, 16)]
        made.append(Figure("fanout", everyone, rows))
    for size, rate in plan.latency:
        rows = [(f"{size} @{rate}", Load.fan_out(size, plan.latency_seconds, rate=rate), latency_values)]
        made.append(Figure("latency", everyone, rows))
    rows = [(f"{ECHOERS} clients", Load.echo(ECHOERS, plan.seconds), fan_out_values)]
    made.append(Figure("echo", lambda contender: contender.echo, rows, lambda contender: contender.echo))
    rows = [("handshakes", Load.connect(plan.seconds), fan_out_values)]
    made.append(Figure("handshake", servers, rows))
    rows = [(f"{plan.idle:,} connections", Load.idle(plan.idle), idle_values)]
    made.append(Figure("idle", servers, rows))
    return [figure for figure in made if figure.name in wanted]


def idle_values(report):
    return {"bytes": report["rss_bytes_per_connection"], "wake_ups": report["wake_ups_per_second"]}


def vote_values(report):
    return {"per_second": report["votes_per_second"], "cpu_us": report["cpu_us_per_vote"]}


def step_values(report):
    """A delivery is a step at a listener; the one voter's own are a thousandth, and not counted."""
    listeners = report["subscribers"]
    return {"cpu_us": report["cpu_us_per_vote"] / listeners, "per_second": report["votes_per_second"] * listeners}


def slow_values(report):
    """Beside those that are stuck; `alone_` is what the same readers had before."""
    server = report["server"]
    grown = max(server["rss_bytes_peak"], server["rss_bytes_after"]) - server["rss_bytes_before"]
    return {"p99_ms": report["latency_us"]["p99"] / 1000, "alone_p99_ms": report["alone"]["latency_us"]["p99"] / 1000,
            "p99_ratio": report["p99_beside_to_alone"], "memory_mib": max(grown, 0) / MIB}


def own(wanted, plan):
    """The figures of ours alone."""
    made = [
        OwnFigure("votes", [f"{VOTERS} voters"], votes),
        OwnFigure("steps", [str(plan.listeners)], steps),
        OwnFigure("stuck", [str(STUCK)], stuck),
        OwnFigure("loops", ["1", "2"], loops),
        OwnFigure("other", ["idle", CROWDED], other),
    ]
    return [figure for figure in made if figure.name in wanted]


def votes(comparison, ours):
    with Server(comparison, ours) as server:
        yield f"{VOTERS} voters", server.load(Load.votes(VOTERS, comparison.plan.seconds), "/vote", vote_values)


def steps(comparison, ours):
    listeners = comparison.plan.listeners
    with Server(comparison, ours) as server:
        yield str(listeners), server.load(Load.steps(listeners, comparison.plan.seconds), "/steps", step_values)


def stuck(comparison, ours):
    with Server(comparison, ours) as server:
        yield str(STUCK), server.load(Load.slow(READERS - STUCK, STUCK, comparison.plan.seconds), ours.path, slow_values)


def loops(comparison, ours):
    """One loop and two, both with all of two cores, which the generator shares: the processor time of each thread counts,
    not the wall's."""
    cores = set(comparison.cores)
    for count in (1, 2):
        contender = peers.Tallycast(ours.target, ours.binary, ours.config, loops=count)
        with Server(comparison, contender, cores, cores) as server:
            before = processes.thread_times(server.pid)
            load = Load.fan_out(5000 if comparison.plan.seconds > 1 else 1000, 2 * comparison.plan.seconds, outstanding=1)
            outcome = server.load(load, ours.path, fan_out_values)
            after = processes.thread_times(server.pid)
        spent = [seconds - before.get(thread, ("", 0.0))[1] for thread, (_, seconds) in after.items()]
        busiest = sorted(spent, reverse=True)[:count]
        if outcome["values"] and sum(busiest) > 0:
            outcome["values"]["cpu_imbalance"] = max(busiest) * count / sum(busiest)
        yield str(count), outcome


def other(comparison, ours):
    """One connection that echoes at a rate: first alone, then while another channel's messages go out to the crowd. It
    goes before the crowd's generator on their core, if this process may say so."""
    seconds = 2 * comparison.plan.seconds
    with Server(comparison, ours) as server:
        probe = Load.probe(seconds)
        yield "idle", server.load(probe, ours.echo, latency_values)
        crowd = server.begin(Load.fan_out(comparison.plan.crowd, seconds + 8, outstanding=1), ours.path)
        try:
            wait_for_crowd(server, comparison.plan.crowd)
            yield CROWDED, server.load(probe, ours.echo, latency_values)
        finally:
            crowd.end()


def wait_for_crowd(server, count):
    """Returns when so many are connected, and have had their warm-up."""
    end = time.monotonic() + 30
    while processes.open_files(server.pid) < count:
        if time.monotonic() > end:
            raise Failed(f"{count} connections are not there after 30 s")
        time.sleep(0.2)
    time.sleep(WARM_UP)
