"""Tests of the tables, the plots' data and what reads the generator's reports, on fixed results:
python3 compare/test_render.py"""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import figures
import generator
import peers
import render
import run

LABELS = {"floor": "floor", "tallycast": "**Tallycast**", "uwebsockets": "uWebSockets", "ws": "npm ws", "gevent": "gevent"}


def sample(figure, case, number, who, why="", **values):
    return {"figure": figure, "case": case, "round": number, "who": who, "ok": not why, "why": why, "values": values,
            "report": None}


def fan_out():
    """Two rounds, of which the second is twice as slow for all; the ratios are the same."""
    samples = []
    for number, slowness in ((1, 1), (2, 2), (3, 1)):
        for who, cost in (("floor", 4.0), ("tallycast", 4.1), ("uwebsockets", 4.4)):
            samples.append(sample("fanout", "1000 W1", number, who, cpu_us=cost * slowness, per_second=1e5))
    samples.append(sample("fanout", "1000 W1", 1, "ws", cpu_us=8.0, per_second=1e5))
    samples.append(sample("fanout", "1000 W1", 2, "ws", why="lost 3 of 100"))
    # It would be the best if it did what it is asked to.
    samples.append(sample("fanout", "1000 W1", 1, "gevent", why="does not start: no"))
    return samples


def row(text, label):
    [found] = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    return [part.strip() for part in found.strip("|").split("|")][1:]


def run_of(samples, **others):
    run = {"date": "May 2030", "kernel": "6.1.2", "cores": 2, "quick": False, "rounds": 3, "labels": LABELS,
           "versions": {"floor": "1", "tallycast": "1", "ws": "8"}, "left_out": {}, "gaps": [], "samples": samples}
    return {**run, **others}


class Tables(unittest.TestCase):
    def test_ratios_are_those_of_the_same_round(self):
        text = render.fan_out(render.Samples(fan_out()), LABELS, 1)
        self.assertEqual(row(text, "floor"), ["4.00 (4.00–8.00)", "1.00"])
        self.assertEqual(row(text, "**Tallycast**"), ["4.10 (4.10–8.20)", "1.02"])
        self.assertEqual(row(text, "uWebSockets"), ["4.40 (4.40–8.80)", "1.10"])
        self.assertEqual(row(text, "**Tallycast** ÷ best peer"), ["uWebSockets", "0.93"])

    def test_what_fails_is_marked_and_never_the_best(self):
        samples = fan_out()
        samples.append(sample("fanout", "1000 W1", 3, "gevent", cpu_us=0.1))
        text = render.fan_out(render.Samples(samples), LABELS, 1)
        self.assertEqual(row(text, "npm ws"), ["8.00 **(1 of 2 runs: lost 3 of 100)**", "2.00"])
        self.assertEqual(row(text, "gevent")[0], "0.100 **(1 of 2 runs: does not start: no)**")
        self.assertEqual(row(text, "**Tallycast** ÷ best peer")[0], "uWebSockets")
        only = render.fan_out(render.Samples(fan_out()), LABELS, 1)
        self.assertEqual(row(only, "gevent"), ["**does not start: no**", "–"])

    def test_a_case_is_a_column_and_each_has_its_best(self):
        samples = [sample("latency", case, 1, who, p50_ms=p50, p99_ms=2 * p50, cpu_us=4)
                   for case, who, p50 in (("1000 @100", "tallycast", 2), ("1000 @100", "uwebsockets", 4), ("1000 @100", "ws", 5),
                                          ("5000 @20", "tallycast", 9), ("5000 @20", "uwebsockets", 12), ("5000 @20", "ws", 10))]
        text = render.latency(render.Samples(samples), LABELS)
        self.assertIn("1k × 100/s: p50, ms", text)
        self.assertEqual(row(text, "npm ws"), ["5.00", "10.0", "4.00", "10.0", "20.0", "4.00"])
        ratios = row(text, "**Tallycast** ÷ best peer")
        self.assertEqual([ratios[0], ratios[3]], ["0.50 (uWebSockets)", "0.90 (npm ws)"])

    def test_a_busy_generator_is_said(self):
        for share, marked in ((0.5, False), (0.9, True)):
            values = {"p50_ms": 1, "p99_ms": 2, "cpu_us": 3, "client_share": share}
            text = render.latency(render.Samples([sample("latency", "1000 @100", 1, "ws", **values)]), LABELS)
            self.assertEqual("1.00 †" in text and "85%" in text, marked)

    def test_the_yardstick_may_be_the_best_peer(self):
        samples = [sample("echo", "200 clients", 1, who, cpu_us=cost)
                   for who, cost in (("tallycast", 4.5), ("uwebsockets", 5.0), ("ws", 9.0))]
        text = render.simple(render.Samples(samples), LABELS, "echo", "cpu_us", "CPU µs")
        self.assertEqual([row(text, label)[1] for label in ("**Tallycast**", "uWebSockets", "npm ws")], ["0.90", "1.00", "1.80"])

    def test_expectations_say_yes_and_no(self):
        samples = fan_out() + [sample("echo", "200 clients", 1, who, cpu_us=cost)
                               for who, cost in (("tallycast", 4.9), ("uwebsockets", 5.0))]
        # Dearer than the best peer, but within what is expected all the same.
        samples += [sample("handshake", "handshakes", 1, who, cpu_us=cost) for who, cost in (("tallycast", 24), ("ws", 23))]
        samples.append(sample("idle", "15,000 connections", 1, "tallycast", bytes=420.0))
        text = render.expectations(render.Samples(samples), LABELS)
        self.assertEqual(row(text, "fan-out CPU ÷ floor, 1k, 1 outstanding")[-1], "yes")
        self.assertEqual(row(text, "fan-out CPU ÷ that of uWebSockets, 1k, 1 outstanding")[-1], "yes")
        self.assertEqual(row(text, "echo CPU ÷ that of uWebSockets, 200 clients")[-1], "**no**")
        self.assertEqual(row(text, "handshake CPU ÷ that of npm ws, handshakes")[-1], "yes")
        self.assertEqual(row(text, "memory of an idle WebSocket, 15,000 connections, bytes")[-1], "**no**")

    def test_ours_alone(self):
        samples = [sample("votes", "200 voters", number, "tallycast", per_second=rate, cpu_us=0.8)
                   for number, rate in ((1, 1.2e6), (2, 1.1e6))]
        samples += [sample("loops", case, number, "tallycast", cpu_us=cost, **more)
                    for case, number, cost, more in (("1", 1, 4.0, {}), ("2", 1, 4.2, {"cpu_imbalance": 1.04}))]
        text = render.own(render.Samples(samples))
        self.assertEqual(row(text, "votes into one loop, by 200 connections")[0::3], ["1,150k (1,100k–1,200k)", "yes"])
        self.assertEqual(row(text, "two loops ÷ one loop, server CPU for a delivery")[0::3], ["1.05", "yes"])
        self.assertEqual(row(text, "two loops: the busier one's CPU over the mean")[-1], "yes")
        self.assertNotIn("stuck", text)

    def test_conditions_hide_nothing(self):
        text = render.conditions(run_of([], quick=True, left_out={"gevent": "no compiler"}, gaps=["15,000 subscribers"]))
        for part in ("May 2030, Linux 6.1.2, 2 cores; 3 rounds", "| gevent | **left out: no compiler** |",
                     "**Not measured: 15,000 subscribers.**", "a quick run"):
            self.assertIn(part, text)

    def test_explanations_name_no_folders(self):
        rows = [("g++ ended with 1: /a/b/server.cpp:3 | no", "g++ ended with 1: server.cpp:3 / no"), ("x" * 200, "x" * 88 + "..")]
        for why, wanted in rows:
            self.assertEqual(render.plainly(why), wanted)

    def test_numbers(self):
        rows = [(0, "0"), (0.2334, "0.233"), (3.456, "3.46"), (12.34, "12.3"), (137_000, "137k"), (459.4, "459"), (7_123, "7,123")]
        self.assertEqual([render.number(value) for value, _ in rows], [text for _, text in rows])


class Page(unittest.TestCase):
    PAGE = "before\n<!-- compare:begin a -->\nold\n<!-- compare:end -->\nbetween\n<!-- compare:begin b -->\n<!-- compare:end -->\n"

    def test_blocks_are_replaced_and_nothing_else(self):
        filled = render.fill(self.PAGE, {"a": r"new \1 \g<0>"})
        self.assertEqual(filled, self.PAGE.replace("old", r"new \1 \g<0>"))
        self.assertEqual(render.fill(filled, {"a": "old"}), self.PAGE)
        with self.assertRaises(ValueError):
            render.fill(self.PAGE, {"c": "x"})

    def test_the_page_has_a_place_for_each_block(self):
        figures = ["latency", "echo", "handshake", "idle"]
        samples = fan_out() + [sample(figure, "1000 @100", 1, who, cpu_us=1, p50_ms=1, p99_ms=1, bytes=1)
                               for figure in figures for who in ("tallycast", "ws")]
        with open(os.path.join(peers.ROOT, "docs/performance.md")) as file:
            page = file.read()
        made = render.blocks(run_of(samples))
        self.assertEqual(page.count("<!-- compare:begin "), len(made))
        page = render.fill(page, made)
        for name, _, _, bars in render.plots(run_of(samples)):
            self.assertIn(f"(pictures/{name})", page)
            self.assertTrue(all(bar["min"] <= bar["median"] <= bar["max"] for bar in bars))

    def test_bars(self):
        plots = {name: bars for name, _, _, bars in render.plots(run_of(fan_out()))}
        self.assertEqual(list(plots), ["performance-fanout-w1.svg"])
        bars = plots["performance-fanout-w1.svg"]
        self.assertEqual([bar["name"] for bar in bars], ["floor", "Tallycast", "uWebSockets", "npm ws"])
        self.assertEqual(bars[0], {"group": "1k subscribers", "name": "floor", "min": 4.0, "median": 4.0, "max": 8.0})


class Runs(unittest.TestCase):
    def test_what_the_machine_does_not_allow_is_said(self):
        plan = figures.Plan(False, None, 4000)
        self.assertEqual(plan.sizes, [1000, 3500])
        self.assertEqual(len(plan.gaps), 3)
        self.assertEqual((plan.latency, plan.idle), ([(1000, 100)], 3500))
        self.assertEqual(figures.Plan(False, None, 20_000).gaps, [])

    def test_each_figure_has_its_servers(self):
        [echo] = figures.compared(["echo"], figures.Plan(True, None, 20_000))
        fits = [peer.name for peer in [peers.Floor("", ""), *peers.all_peers("")] if echo.fits(peer)]
        self.assertNotIn("floor", fits)
        self.assertNotIn("nchan", fits)
        self.assertIn("ws", fits)

    def test_an_update_replaces_whole_figures(self):
        old = run_of(fan_out() + [sample("echo", "200 clients", 1, "ws", cpu_us=9)], gaps=["a"])
        part = run_of([sample("echo", "200 clients", 1, "tallycast", cpu_us=4)], versions={"tallycast": "2"}, gaps=["a", "b"])
        new = run.updated(old, part)
        self.assertEqual(new["samples"], fan_out() + part["samples"])
        self.assertEqual((new["versions"]["tallycast"], new["versions"]["ws"], new["gaps"]), ("2", "8", ["a", "b"]))


class Reports(unittest.TestCase):
    def test_complaints(self):
        rows = [
            ({"lost": 3, "expected": 1000}, "lost 3 of 1,000"),
            ({"lost": 0, "doubled": 2, "expected": 10}, "doubled 2 of 10"),
            ({"failures": [{"what": "connection refused", "count": 1200}]}, "connection refused (1,200)"),
            ({"failures": []}, "the generator ended with 3"),
        ]
        for report, wanted in rows:
            self.assertEqual(generator.complaint(report, 3), wanted)

    def test_the_configuration_is_moved_and_widened(self):
        text = '[server]\ncores = 1\n[[listener]]\naddress = "127.0.0.1:9100"\n'
        wanted = text.replace("9100", "7").replace("cores = 1", 'driver = "uring"\ncores = 2')
        for given in (text, text.replace("cores", 'driver = "auto" # as it comes\ncores')):
            self.assertEqual(peers.bench_config(given, 7, 2, "uring"), wanted)
        for wrong in (text.replace("cores", "loops"), text + text):
            with self.assertRaises(peers.Failed):
                peers.bench_config(wrong, 7, 2, "epoll")


if __name__ == "__main__":
    unittest.main()
