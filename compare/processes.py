"""Processes that are started, pinned, watched and ended by their number; what the kernel says of them."""

import atexit
import ctypes
import os
import resource
import signal
import socket
import subprocess
import time

# So long may a server take until it listens, and to end when it is asked to, in seconds.
START_WAIT = 20.0
STOP_WAIT = 5.0
# From <sys/prctl.h>: the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1

running = []
libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something did not start, or did not do what it was asked; the text says what."""


def raise_open_files():
    """Takes as many open files as the process may have, for what it starts too. How many these are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def pinned(cores, is_ahead):
    """What a child does before it becomes its program: keeps to these cores, goes before what is not `is_ahead` there (if
    this process may say so), and ends when this process does."""
    parent = os.getpid()

    def prepare():
        os.sched_setaffinity(0, cores)
        if is_ahead:
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            except PermissionError:
                pass
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def start(command, cores, log, env=None, cwd=None, is_ahead=False):
    """Starts a process on these cores; what it says goes to the file `log`."""
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=pinned(cores, is_ahead),
            env=env and {**os.environ, **env},
            cwd=cwd,
        )
    running.append(process)
    return process


def wait_for_port(process, port, log):
    """Returns when something listens on the port, which must happen while the process runs."""
    end = time.monotonic() + START_WAIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"it ended with {process.returncode}: {tail(log)}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"nothing listens after {START_WAIT:.0f} s: {tail(log)}")


def stop(process):
    """Ends a process: in order, or else at once."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_WAIT)
        except subprocess.TimeoutExpired:
            for child in children(process.pid):
                end_at_once(child)
            process.kill()
            process.wait()
    if process in running:
        running.remove(process)


def stop_all():
    for process in list(running):
        stop(process)


def end_in_order(number, frame):
    raise SystemExit(128 + number)


def watch_over():
    """Ends everything that was started when this process ends, whatever ends it."""
    atexit.register(stop_all)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_in_order)


def ends_by(process, end):
    """Waits for a process until then (on the monotonic clock), and ends it if that is not enough."""
    try:
        process.wait(max(0.0, end - time.monotonic()))
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        stop(process)


def end_at_once(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def thread_times(pid):
    """Seconds of processor time that each thread of a process had so far, by thread and with its name."""
    times = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                nanoseconds = int(file.read().split()[0])
            with open(f"/proc/{pid}/task/{thread}/comm") as file:
                name = file.read().strip()
        except OSError:
            continue
        times[int(thread)] = (name, nanoseconds / 1e9)
    return times


def tail(log, lines=3):
    try:
        with open(log, errors="replace") as file:
            last = [line.strip() for line in file if line.strip()][-lines:]
    except OSError:
        return "it said nothing"
    return " / ".join(last) or "it said nothing"
