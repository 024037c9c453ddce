"""The load generator, tallycast-loadtest: its flags, a run of it, and what came of it."""

import json
import os
import tempfile
import time

import processes

# So long may a run take that is measured for a few seconds: connections, warm-up and the last deliveries included.
RUN_WAIT = 90.0
# An event of Socket.IO: the namespace is joined first, and a text travels in an array with the event's name.
SOCKETIO_HELLO = ["--hello", "40"]
SOCKETIO_TEXT = ["--engine-io", "--prefix", '42["m","', "--suffix", '"]']


class Load:
    """What the generator is asked for."""

    def __init__(self, mode, *flags, has_texts=False, is_ahead=False):
        self.mode, self.words = mode, [str(flag) for flag in flags]
        # Whether the server may want its texts wrapped, and whether it goes before other programs on its core.
        self.has_texts, self.is_ahead = has_texts, is_ahead

    @classmethod
    def fan_out(cls, subscribers, seconds, outstanding=None, rate=None):
        """One publisher: so many texts at a time, the next when all have these; or so many a second, when each is due."""
        pace = ["--outstanding", outstanding] if outstanding else ["--rate", rate]
        return cls("fanout", "-n", subscribers, "--seconds", seconds, *pace, has_texts=True)

    @classmethod
    def echo(cls, clients, seconds):
        return cls("echo", "-n", clients, "--seconds", seconds)

    @classmethod
    def probe(cls, seconds):
        """One client that sends at a rate and gets its own texts: an echo, told by when each was due."""
        return cls("fanout", "-n", 1, "--seconds", seconds, "--rate", 100, is_ahead=True)

    @classmethod
    def connect(cls, seconds):
        """Handshake after handshake, some at a time."""
        return cls("connect", "--seconds", seconds)

    @classmethod
    def idle(cls, connections):
        return cls("idle", "-n", connections, "--seconds", 1, "--settle", 1)

    @classmethod
    def votes(cls, voters, seconds):
        """Votes as fast as they are counted, many in each write."""
        return cls("vote", "--voters", voters, "--seconds", seconds, "--warm-seconds", 1)

    @classmethod
    def steps(cls, listeners, seconds):
        """16 votes at a time, each of which is told to every listener."""
        return cls("vote", "--voters", 1, "--listeners", listeners, "--outstanding", 16, "--pipeline", 16,
                   "--seconds", seconds, "--warm-seconds", 1)

    @classmethod
    def slow(cls, readers, stuck, seconds):
        """Readers at full rate, alone and then beside some that never read."""
        return cls("slow", "-n", readers, "--stuck", stuck, "--gap", "gap", "--seconds", seconds)

    def flags(self, url, pid, socketio):
        words = [self.mode, url, *self.words, "--pid", str(pid), "--quiet"]
        if socketio:
            words += SOCKETIO_HELLO + (SOCKETIO_TEXT if self.has_texts else [])
        return words

    def begin(self, comparison, flags, cores):
        return Run(comparison, flags, cores, self.is_ahead)


class Run:
    """A run of the generator that has begun."""

    def __init__(self, comparison, flags, cores, is_ahead):
        self.folder = tempfile.mkdtemp(dir=comparison.work)
        self.report_file = os.path.join(self.folder, "report.json")
        self.log = os.path.join(self.folder, "log")
        self.end_time = time.monotonic() + RUN_WAIT
        command = [comparison.loadtest, *flags, "--json", self.report_file]
        self.process = processes.start(command, cores, self.log, is_ahead=is_ahead)

    def outcome(self, read):
        """Waits for its end. `read` makes the values of a report."""
        if not processes.ends_by(self.process, self.end_time):
            return fault(f"took more than {RUN_WAIT:.0f} s")
        code = self.process.returncode
        try:
            with open(self.report_file) as file:
                report = json.load(file)
        except (OSError, ValueError):
            return fault(f"the generator ended with {code}: {processes.tail(self.log)}")
        why = "" if code == 0 and report.get("ok") else complaint(report, code)
        try:
            values = read(report)
        except (KeyError, TypeError, ZeroDivisionError) as error:
            return {"ok": False, "why": why or f"no such figure: {error!r}", "values": {}, "report": report}
        return {"ok": not why, "why": why, "values": values, "report": report}

    def end(self):
        """Gives it up."""
        processes.stop(self.process)


def complaint(report, code):
    """What went wrong, in the few words of a table's cell."""
    for key in ("lost", "doubled"):
        if report.get(key):
            return f"{key} {report[key]:,} of {report.get('expected', 0):,}"
    failures = report.get("failures") or []
    if failures:
        return f"{failures[0]['what']} ({failures[0]['count']:,})"
    return f"the generator ended with {code}"


def fault(why):
    return {"ok": False, "why": why, "values": {}, "report": None}
