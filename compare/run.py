"""Compares push servers: see scripts/compare. Installs the peers, runs them, the floor and ours in turn, keeps what was
measured below target/compare/results, and fills docs/performance.md from it."""

import argparse
import json
import os
import platform
import shutil
import sys
import time

import figures
import peers
import processes
import render
from processes import Failed

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
# Those that are close to each other are run in every round, the others in so many: a factor of two needs no more.
FEW_ROUNDS = 2
# A peer that is run in every round.
CLOSE = ("uwebsockets",)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/compare", description="Compares Tallycast with other push servers.")
    parser.add_argument("--quick", action="store_true", help="one round, few subscribers: 3 to 5 minutes, for the mechanics")
    parser.add_argument("--rounds", type=positive, help="rounds (5; quick: 1)")
    parser.add_argument("--sizes", type=numbers, help="subscribers of the fan-out (1000,5000,15000; quick: 1000)")
    parser.add_argument("--only", type=names, help=f"figures: {','.join(figures.ALL)}")
    parser.add_argument("--peers", type=names, help=f"peers: {','.join(p.name for p in peers.all_peers(''))}; or none")
    parser.add_argument("--minutes", type=positive, default=40, help="begin nothing more after so long (40)")
    parser.add_argument("--update", action="store_true", help="with --only: put these figures in the place of the last whole run's")
    parser.add_argument("--render", action="store_true", help="only make the tables and plots of the last whole run anew")
    parser.add_argument("--config", metavar="FILE", help="another configuration than configs/bench.toml")
    chosen = parser.parse_args()
    if chosen.update and (chosen.quick or chosen.peers or not chosen.only):
        parser.error("--update goes with --only, and with neither --quick nor --peers")
    known = {"--only": set(figures.ALL), "--peers": {p.name for p in peers.all_peers("")} | {"none"}}
    for flag, given in (("--only", chosen.only), ("--peers", chosen.peers)):
        for name in given or []:
            if name not in known[flag]:
                parser.error(f"{flag} {name}: known are {', '.join(sorted(known[flag]))}")
    return chosen


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("a number from 1 on")
    return value


def numbers(text):
    return [positive(part) for part in text.split(",")]


def names(text):
    return text.split(",")


def say(text):
    print(text, file=sys.stderr, flush=True)


class Comparison:
    """One run of this program: what is compared, and what was found so far."""

    def __init__(self, chosen, target):
        self.chosen = chosen
        self.work = os.path.join(target, "work")
        self.results = os.path.join(target, "results")
        shutil.rmtree(self.work, ignore_errors=True)
        for folder in (self.work, self.results):
            os.makedirs(folder, exist_ok=True)
        self.cores = two_cores()
        release = os.path.join(os.path.dirname(target), "release")
        binary = os.environ.get("TALLYCAST_BIN") or os.path.join(release, "tallycast")
        self.loadtest = loadtest_binary(target)
        self.floor = peers.Floor(target, self.loadtest)
        self.ours = peers.Tallycast(target, os.path.abspath(binary), chosen.config)
        self.uring = peers.Tallycast(target, os.path.abspath(binary), chosen.config, driver="uring")
        wanted = peers.all_peers(target)
        self.peers = [peer for peer in wanted if not chosen.peers or peer.name in chosen.peers]
        self.left_out, self.gaps, self.samples = {}, [], []
        self.labels = {server.name: server.label for server in (self.floor, self.ours, self.uring, *wanted)}
        self.files = processes.raise_open_files()
        self.plan = figures.Plan(chosen.quick, chosen.sizes, self.files)
        self.rounds = chosen.rounds or (1 if chosen.quick else 5)
        self.end = time.monotonic() + 60 * chosen.minutes

    def install(self):
        self.floor.install()
        self.ours.install()
        for peer in list(self.peers):
            begin = time.monotonic()
            try:
                peer.install()
                say(f"{peer.name}: {peer.version} ({time.monotonic() - begin:.0f} s)")
            except (Failed, OSError, KeyError, IndexError, AttributeError) as error:
                say(f"*** {peer.name} IS LEFT OUT: {error} ***")
                self.left_out[peer.name] = f"{error}"
                self.peers.remove(peer)
        self.gaps += self.plan.gaps
        for gap in self.plan.gaps:
            say(f"*** NOT MEASURED: {gap} ***")

    def measure(self):
        wanted = self.chosen.only or figures.ALL
        # What this program itself does is not to fall to the server.
        os.sched_setaffinity(0, {self.cores[1]})
        for number in range(1, self.rounds + 1):
            close = [self.ours, *(peer for peer in self.peers if peer.name in CLOSE)]
            others = [peer for peer in self.peers if peer.name not in CLOSE]
            # The floor and those that are close to it follow each other, in one order and then in the other.
            contenders = [self.floor, *close][:: 1 if number % 2 else -1]
            if number <= FEW_ROUNDS:
                contenders += [self.uring, *others]
            for figure in figures.compared(wanted, self.plan):
                for contender in contenders:
                    self.one(figure, contender, number)
            if number <= max(FEW_ROUNDS, (self.rounds + 1) // 2):
                for figure in figures.own(wanted, self.plan):
                    self.one(figure, self.ours, number)
            self.keep()

    def one(self, figure, contender, number):
        """Measures one figure of one server, all its cases in one life of the server; keeps a sample for each case."""
        name = contender.name
        if not figure.fits(contender):
            return
        if time.monotonic() > self.end:
            gap = f"{name}, {figure.name}, round {number}: the time was up"
            say(f"*** NOT MEASURED: {gap} ***")
            self.gaps.append(gap)
            return
        begin = time.monotonic()
        found = figure.measure(self, contender)
        for case, outcome in found:
            sample = {"figure": figure.name, "case": case, "round": number, "who": name, **outcome}
            self.samples.append(sample)
            shown = " ".join(f"{key} {render.number(value)}" for key, value in outcome["values"].items())
            fault = "" if outcome["ok"] else f" *** {outcome['why']} ***"
            say(f"round {number} {figure.name} {case} {name}: {shown}{fault}")
        say(f"    {time.monotonic() - begin:.1f} s")

    def described(self):
        shown = {server.name: server for server in (self.floor, self.ours, *self.peers)}
        return {
            "date": time.strftime("%B %Y"),
            "kernel": platform.release().split("-")[0],
            "cores": os.cpu_count(),
            "quick": self.chosen.quick,
            "rounds": self.rounds,
            "labels": self.labels,
            "versions": {name: peer.version for name, peer in shown.items()},
            "left_out": self.left_out,
            "gaps": self.gaps,
            "samples": self.samples,
        }

    def is_whole(self):
        """Only what has all figures of all servers becomes the page."""
        return not (self.chosen.quick or self.chosen.only or self.chosen.peers)

    def keep(self):
        write_run(self.results, WHOLE if self.is_whole() else PART, self.described())


# The results of the last whole run, and of the last that was not.
WHOLE, PART = "run.json", "part.json"


def write_run(results, name, run):
    path = os.path.join(results, name)
    with open(path + ".new", "w") as file:
        json.dump(run, file, indent=1)
    os.replace(path + ".new", path)


def read_run(results):
    try:
        with open(os.path.join(results, WHOLE)) as file:
            return json.load(file)
    except FileNotFoundError as error:
        raise Failed("there is no whole run yet") from error


def updated(run, part):
    """The whole run with the figures of the other one in the place of its own."""
    figures_of_part = {sample["figure"] for sample in part["samples"]}
    kept = [sample for sample in run["samples"] if sample["figure"] not in figures_of_part]
    return {**run, "samples": kept + part["samples"], "versions": {**run["versions"], **part["versions"]},
            "gaps": run["gaps"] + [gap for gap in part["gaps"] if gap not in run["gaps"]]}


def two_cores():
    """The server's, and the generator's."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Failed("two cores are needed, one for the server and one for the generator")
    return allowed[:2]


def loadtest_binary(target):
    named = os.environ.get("TALLYCAST_LOADTEST")
    return os.path.abspath(named or os.path.join(os.path.dirname(target), "release/tallycast-loadtest"))


def make_page(run, results, loadtest):
    docs = os.path.join(ROOT, "docs")
    drawn = render.write(run, f"{docs}/performance.md", f"{docs}/pictures", results, loadtest)
    say(f"docs/performance.md and {len(drawn)} plots are made; the raw results are in {os.path.relpath(results, ROOT)}")


def main():
    chosen = arguments()
    target = os.path.join(os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))), "compare")
    results = os.path.join(target, "results")
    if chosen.render:
        make_page(read_run(results), results, loadtest_binary(target))
        return 0
    if chosen.update:
        read_run(results)
    processes.watch_over()
    comparison = Comparison(chosen, target)
    comparison.install()
    try:
        comparison.measure()
    finally:
        processes.stop_all()
        if comparison.samples:
            comparison.keep()
    run = comparison.described()
    if chosen.update:
        run = updated(read_run(results), run)
        write_run(results, WHOLE, run)
    if chosen.update or comparison.is_whole():
        make_page(run, results, comparison.loadtest)
    else:
        for name, text in render.blocks(run, has_plots=False).items():
            print(f"\n{name}\n\n{text}")
        say("docs/performance.md is as it was: this was not a whole run")
    faults = [s for s in comparison.samples if not s["ok"] and s["who"] in (render.FLOOR, comparison.ours.name)]
    for sample in faults:
        say(f"FAILED: {sample['who']}, {sample['figure']} {sample['case']}, round {sample['round']}: {sample['why']}")
    return 1 if faults else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        say(f"scripts/compare: {error}")
        sys.exit(1)
