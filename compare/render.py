"""From the samples to the tables and plots of docs/performance.md. Pure but for `write`: the same samples, the same text.

A sample is one run against one server:
    {"figure", "case", "round", "who", "ok", "why", "values": {metric: number}, "report": {..}}
`figure` names a table, `case` its column; all samples of one round were taken within minutes."""

import json
import os
import re
import statistics
import subprocess

from processes import Failed

FLOOR, OURS = "floor", "tallycast"
# What is no peer.
NO_PEERS = (FLOOR, OURS, "tallycast-uring")


class Samples:
    """All samples of a run, and what they say of a server."""

    def __init__(self, samples):
        self.samples = samples

    def of(self, figure, case, who):
        return [s for s in self.samples if (s["figure"], s["case"], s["who"]) == (figure, case, who)]

    def cases(self, figure):
        return list(dict.fromkeys(s["case"] for s in self.samples if s["figure"] == figure))

    def servers(self, figure):
        return list(dict.fromkeys(s["who"] for s in self.samples if s["figure"] == figure))

    def by_round(self, figure, case, who, metric):
        """The values of the runs without a fault, by round."""
        good = [s for s in self.of(figure, case, who) if s["ok"] and metric in s["values"]]
        return {s["round"]: s["values"][metric] for s in good}

    def values(self, figure, case, who, metric):
        return list(self.by_round(figure, case, who, metric).values())

    def ratios(self, figure, case, who, to, metric):
        """This server's value over the other's of the same round, for the rounds that have both."""
        mine = self.by_round(figure, case, who, metric)
        other = self.by_round(figure, case, to, metric)
        return [mine[number] / other[number] for number in mine if other.get(number)]

    def best_peer(self, figure, case, metric):
        """The peer with the least median, of those without any fault; None if there is none."""
        medians = {}
        for who in self.servers(figure):
            values = self.values(figure, case, who, metric)
            faults = any(not s["ok"] for s in self.of(figure, case, who))
            if who not in NO_PEERS and values and not faults:
                medians[who] = statistics.median(values)
        return min(medians, key=medians.get) if medians else None

    def faults(self, figure, case, who):
        return [s["why"] for s in self.of(figure, case, who) if not s["ok"]]


def number(value):
    """Three digits that say something."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100_000:
        return f"{value / 1000:,.0f}k"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def spread(values):
    """Median and spread: `3.46 (3.40-3.52)`."""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}–{number(max(values))})"


def ratio(values):
    return f"{statistics.median(values):.2f}"


# A longer explanation is cut; the raw results have all of it.
WHY_CHARACTERS_MAX = 90


def plainly(why):
    """An explanation as it may stand in a table: without folders and bars, and short."""
    short = re.sub(r"(?:/[\w.+-]+)+/", "", why).replace("|", "/").replace("*", "")
    return short if len(short) <= WHY_CHARACTERS_MAX else short[: WHY_CHARACTERS_MAX - 2] + ".."


def fault_mark(faults, runs):
    """What stands in a cell of a server that failed some runs, or all."""
    if not faults:
        return ""
    why = plainly(faults[0])
    return f"**{why}**" if len(faults) == runs else f" **({len(faults)} of {runs} runs: {why})**"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def cell(samples, figure, case, who, metric, to):
    """A value with its spread, and its ratio to `to`; what went wrong, if something did."""
    runs = samples.of(figure, case, who)
    if not runs:
        return "–", "–"
    values = samples.values(figure, case, who, metric)
    mark = fault_mark(samples.faults(figure, case, who), len(runs))
    if not values:
        return mark or "–", "–"
    ratios = samples.ratios(figure, case, who, to, metric) if to else []
    return spread(values) + mark, ratio(ratios) if ratios else "–"


def comparison(samples, figure, metric, labels, cases, unit, yardstick):
    """One row for each server, two columns for each case: the value, and how many times the yardstick's it is.
    The yardstick is a server, or `best peer`. The last row says what ours is of the best peer's."""
    servers = [who for who in labels if who in samples.servers(figure)]
    head = ["", *sum(([f"{title}, {unit}", f"× {yardstick}"] for title in cases.values()), [])]
    rows = []
    for who in servers:
        row = [labels[who]]
        for case in cases:
            to = samples.best_peer(figure, case, metric) if yardstick == "best peer" else yardstick
            row += cell(samples, figure, case, who, metric, to)
        rows.append(row)
    if yardstick != "best peer":
        row = [f"{labels[OURS]} ÷ best peer"]
        for case in cases:
            best = samples.best_peer(figure, case, metric)
            ratios = samples.ratios(figure, case, OURS, best, metric) if best else []
            row += [labels[best] if ratios else "–", ratio(ratios) if ratios else "–"]
        rows.append(row)
    return table(head, rows)


def fan_out(samples, labels, outstanding):
    cases = {case: title(case.split()[0]) for case in samples.cases("fanout") if case.endswith(f" W{outstanding}")}
    return comparison(samples, "fanout", "cpu_us", labels, cases, "µs", FLOOR)


def title(subscribers):
    count = int(subscribers)
    return f"{count // 1000}k" if count >= 1000 and count % 1000 == 0 else f"{count:,}"


# With more of its time used than this, the generator may be what a delivery waited for.
CLIENT_SHARE_MAX = 0.85
LATENCY_COLUMNS = ("p50_ms", "p99_ms", "cpu_us")


def latency(samples, labels):
    servers = [who for who in labels if who in samples.servers("latency")]
    cases = samples.cases("latency")
    head, rows = [""], []
    for case in cases:
        head += [f"{words(case)}: p50, ms", "p99, ms", "CPU µs"]
    for who in servers:
        row = [labels[who]]
        for case in cases:
            shares = samples.values("latency", case, who, "client_share")
            mark = " †" if shares and statistics.median(shares) > CLIENT_SHARE_MAX else ""
            cells = [cell(samples, "latency", case, who, metric, None)[0] + mark for metric in LATENCY_COLUMNS]
            # What went wrong is said once.
            row += cells if samples.values("latency", case, who, "p50_ms") else [cells[0], "–", "–"]
        rows.append(row)
    row = [f"{labels[OURS]} ÷ best peer"]
    for case in cases:
        for metric in ("p50_ms", "p99_ms"):
            best = samples.best_peer("latency", case, metric)
            ratios = samples.ratios("latency", case, OURS, best, metric) if best else []
            row.append(f"{ratio(ratios)} ({labels[best]})" if ratios else "–")
        # A server that cannot keep up puts more into a write, and is cheaper for it: there is no best.
        row.append("–")
    rows.append(row)
    text = table(head, rows)
    if "†" in text:
        text += f"\n\n† The generator was busy for more than {CLIENT_SHARE_MAX:.0%} of the time: it may be what is slow."
    return text


def simple(samples, labels, figure, metric, unit):
    """One case, its ratio to the best peer."""
    cases = {case: case for case in samples.cases(figure)}
    return comparison(samples, figure, metric, labels, cases, unit, "best peer")


# What is measured of ours alone: figure, case (None: whatever it is), metric, what it is called, unit, what is expected,
# and whether it is met.
OWN = [
    ("votes", "200 voters", "per_second", "votes into one loop, by 200 connections", "a second", "at least 1,000,000",
     lambda value: value >= 1e6),
    ("votes", "200 voters", "cpu_us", "server CPU for a vote", "µs", "", None),
    ("steps", "1000", "cpu_us", "a vote told step by step to 1000 listeners, server CPU for a delivery", "µs", "", None),
    ("steps", "1000", "per_second", "the same, deliveries", "a second", "", None),
    ("stuck", "20", "alone_p99_ms", "480 readers at full rate: p99", "ms", "", None),
    ("stuck", "20", "p99_ms", "the same 480 beside 20 that never read: p99", "ms", "", None),
    ("stuck", "20", "p99_ratio", "the ratio of these two", "×", "1 within the spread", None),
    ("stuck", "20", "memory_mib", "memory growth with 20 that never read", "MiB", "flat", lambda value: value <= 4),
    ("loops", "1", "cpu_us", "fan-out by one loop, server CPU for a delivery", "µs", "", None),
    ("loops", "2", "cpu_us", "the same by two loops", "µs", "", None),
    ("loops", "2", "cpu_imbalance", "two loops: the busier one's CPU over the mean", "×", "at most 1.10",
     lambda value: value <= 1.1),
    ("other", "idle", "p99_ms", "another connection's message on an idle server: p99", "ms", "", None),
    ("other", "crowd", "p99_ms", "the same during a fan-out to the crowd: p99", "ms", "less than 5", lambda value: value < 5),
    ("other", "crowd", "max_ms", "the same: the worst", "ms", "", None),
    ("idle", None, "wake_ups", "wake-ups of the server while all connections are idle", "a second", "none but its ping",
     lambda value: value <= 1),
]
# What is a ratio of two runs of the same round: figure, case and server of both, metric, what it is called, what is
# expected, and whether it is met.
OWN_RATIOS = [
    (("loops", "2", OURS), ("loops", "1", OURS), "cpu_us", "two loops ÷ one loop, server CPU for a delivery", "0.90 to 1.10",
     lambda value: 0.9 <= value <= 1.1),
    (("steps", "1000", OURS), ("fanout", "1000 W16", FLOOR), "cpu_us", "a step ÷ the floor's delivery, both 16 outstanding",
     "about 1", lambda value: value <= 1.1),
]


def verdict(judge, values):
    if judge is None or not values:
        return ""
    return "yes" if judge(statistics.median(values)) else "**no**"


def own(samples):
    rows = []
    for figure, case, metric, what, unit, expected, judge in OWN:
        case = case or next(iter(samples.cases(figure)), None)
        if samples.of(figure, case, OURS):
            shown, _ = cell(samples, figure, case, OURS, metric, None)
            rows.append([what, shown, unit, expected, verdict(judge, samples.values(figure, case, OURS, metric))])
    for one, other, metric, what, expected, judge in OWN_RATIOS:
        mine, theirs = samples.by_round(*one, metric), samples.by_round(*other, metric)
        ratios = [mine[number] / theirs[number] for number in mine if theirs.get(number)]
        if ratios:
            rows.append([what, spread(ratios), "×", expected, verdict(judge, ratios)])
    return table(["", "measured", "", "expected", "reached"], rows)


# What is expected of ours beside the best peer: figure, metric, what it is called, what is expected, and whether a ratio
# and a value meet it.
AGAINST_PEERS = [
    ("fanout", "cpu_us", "fan-out CPU", "below 1", lambda ratio, _: ratio < 1),
    ("latency", "p50_ms", "fan-out latency p50", "at most 1", lambda ratio, _: ratio <= 1),
    ("latency", "p99_ms", "fan-out latency p99", "at most 1", lambda ratio, _: ratio <= 1),
    ("echo", "cpu_us", "echo CPU", "at most 0.95", lambda ratio, _: ratio <= 0.95),
    ("handshake", "cpu_us", "handshake CPU", "at most 1, or 25 µs", lambda ratio, value: ratio <= 1 or value <= 25),
]


def expectations(samples, labels):
    """What the comparison is to bear out, each with what was measured."""
    rows = []
    for case in samples.cases("fanout"):
        ratios = samples.ratios("fanout", case, OURS, FLOOR, "cpu_us")
        if ratios:
            row = [f"fan-out CPU ÷ floor, {words(case)}", spread(ratios), "at most 1.05"]
            rows.append([*row, verdict(lambda value: value <= 1.05, ratios)])
    for figure, metric, what, expected, judge in AGAINST_PEERS:
        for case in samples.cases(figure):
            best = samples.best_peer(figure, case, metric)
            ratios = samples.ratios(figure, case, OURS, best, metric) if best else []
            if ratios:
                middle = statistics.median(samples.values(figure, case, OURS, metric))
                met = verdict(lambda value: judge(value, middle), ratios)
                rows.append([f"{what} ÷ that of {labels[best]}, {words(case)}", spread(ratios), expected, met])
    for case in samples.cases("idle"):
        values = samples.values("idle", case, OURS, "bytes")
        if values:
            row = [f"memory of an idle WebSocket, {words(case)}, bytes", spread(values), "at most 400"]
            rows.append([*row, verdict(lambda value: value <= 400, values)])
    return table(["", "measured", "expected", "reached"], rows)


def words(case):
    """A case as one reads it: `1000 W16`, `1000 @100`, or what it says itself."""
    if found := re.fullmatch(r"(\d+) W(\d+)", case):
        return f"{title(found[1])}, {found[2]} outstanding"
    if found := re.fullmatch(r"(\d+) @(\d+)", case):
        return f"{title(found[1])} × {found[2]}/s"
    return case


def conditions(run):
    """What was compared, on what, and when."""
    rows = [[run["labels"][who], run["versions"].get(who) or "–"] for who in run["labels"] if who in run["versions"]]
    rows += [[run["labels"].get(who, who), f"**left out: {plainly(why)}**"] for who, why in run["left_out"].items()]
    machine = f"{run['date']}, Linux {run['kernel']}, {run['cores']} cores; {run['rounds']} round{'s' * (run['rounds'] > 1)}"
    if run["quick"]:
        machine += "; **a quick run: good for the mechanics, not for figures**"
    text = f"{machine}.\n\n{table(['', 'version'], rows)}"
    for gap in run["gaps"]:
        text += f"\n\n**Not measured: {gap}.**"
    return text


def blocks(run, has_plots=True):
    """The text of each marked block of docs/performance.md, by name, with the plots that belong to it."""
    samples, labels = Samples(run["samples"]), run["labels"]
    made = {"conditions": conditions(run), "expectations": expectations(samples, labels)}
    figures = {s["figure"] for s in run["samples"]}
    if "fanout" in figures:
        made["fanout-w1"], made["fanout-w16"] = fan_out(samples, labels, 1), fan_out(samples, labels, 16)
    if "latency" in figures:
        made["latency"] = latency(samples, labels)
    for figure in ("echo", "handshake", "idle"):
        if figure in figures:
            metric, unit = ("bytes", "bytes") if figure == "idle" else ("cpu_us", "CPU µs")
            made[figure] = simple(samples, labels, figure, metric, unit)
    made["own"] = own(samples)
    for name, heading, unit, _ in plots(run) if has_plots else []:
        block = re.fullmatch(r"performance-(.*)\.svg", name)[1]
        made[block] += f"\n\n![{heading}: {unit}](pictures/{name})"
    return made


def fill(page, made):
    """The page with its blocks replaced. A block without figures keeps what it has; one without a place is an error."""
    for name, text in made.items():
        marks = rf"(<!-- compare:begin {re.escape(name)} -->\n).*?(<!-- compare:end -->)"
        page, places = re.subn(marks, lambda found: f"{found[1]}{text}\n{found[2]}", page, flags=re.DOTALL)
        if places != 1:
            raise ValueError(f"docs/performance.md has {places} places for {name}")
    return page


def bars(samples, figure, metric, labels, groups):
    """What `tallycast-loadtest plot --kind bars` reads."""
    made = []
    for case, group in groups.items():
        for who in labels:
            values = samples.values(figure, case, who, metric)
            if values:
                made.append({"group": group, "name": plain(labels[who]), "min": min(values),
                             "median": statistics.median(values), "max": max(values)})
    return made


def plain(label):
    return label.replace("*", "").replace("`", "")


def plots(run):
    """The plots: file name, title, unit, bars."""
    samples, labels = Samples(run["samples"]), run["labels"]
    made = []
    for outstanding, how in ((1, "one publication at a time"), (16, "16 outstanding")):
        cases = [case for case in samples.cases("fanout") if case.endswith(f" W{outstanding}")]
        groups = {case: f"{title(case.split()[0])} subscribers" for case in cases}
        made.append((f"performance-fanout-w{outstanding}.svg", f"Fan-out, {how}", "server CPU µs per delivery",
                     bars(samples, "fanout", "cpu_us", labels, groups)))
    groups = {case: words(case) for case in samples.cases("latency")}
    paced = bars(samples, "latency", "p99_ms", labels, groups)
    made.append(("performance-latency.svg", "Fan-out latency, p99", "ms", paced))
    for figure, metric, heading, unit in (
        ("echo", "cpu_us", "Echo", "server CPU µs per message"),
        ("handshake", "cpu_us", "Handshake", "server CPU µs"),
        ("idle", "bytes", "Memory of an idle WebSocket", "bytes"),
    ):
        groups = {case: case for case in samples.cases(figure)}
        made.append((f"performance-{figure}.svg", heading, unit, bars(samples, figure, metric, labels, groups)))
    return [plot for plot in made if plot[3]]


def write(run, page, pictures, results, loadtest):
    """Fills the page and draws the plots. What was drawn."""
    with open(page) as file:
        text = file.read()
    filled = fill(text, blocks(run))
    drawn = []
    os.makedirs(pictures, exist_ok=True)
    for name, heading, unit, made in plots(run):
        data = os.path.join(results, name.replace(".svg", ".json"))
        with open(data, "w") as file:
            json.dump(made, file, indent=1)
        command = [loadtest, "plot", "--kind", "bars", data, "-o", os.path.join(pictures, name),
                   "--title", heading, "--unit", unit, "--highlight", "Tallycast"]
        if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed(f"{name} could not be drawn, and docs/performance.md is as it was")
        drawn.append(name)
    with open(page, "w") as file:
        file.write(filled)
    return drawn
