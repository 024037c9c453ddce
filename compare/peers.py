"""The servers that are compared: how each is installed below target/compare, started, and which version it is."""

import glob
import json
import os
import re
import shutil
import subprocess
import time

import processes
from processes import Failed

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PACKAGES = {"nginx": "nginx", "nchan": "libnginx-mod-nchan", "libuv": "libuv1", "go": "golang-go"}
# One step of an installation may take so long, in seconds.
INSTALL_WAIT = 900
GOPATH = "/usr/share/gocode"
GORILLA = f"{GOPATH}/src/github.com/gorilla/websocket"


class Peer:
    """A server: `command(port)` runs it. `path` is where it fans out, `echo` where it echoes, if it does."""

    path, echo = "/bench", "/echo"
    # What a text must look like on the wire, for servers that speak a protocol of their own on top.
    socketio = False
    env = None

    def __init__(self, name, label, target):
        self.name, self.label = name, label
        self.work = os.path.join(target, name)
        self.target = target
        self.version = ""

    def install(self):
        """Makes it ready to run, and learns its version. Raises Failed if that cannot be."""

    def start(self, port, cores, log):
        """Starts it, and waits until it listens. Its process, and the number of the process that serves."""
        os.makedirs(self.work, exist_ok=True)
        process = processes.start(self.command(port), cores, log, self.env, self.work)
        try:
            processes.wait_for_port(process, port, log)
            return process, self.serving(process)
        except Failed:
            processes.stop(process)
            raise

    def serving(self, process):
        return process.pid


class Floor(Peer):
    """The yardstick, which the generator brings along: a server that does nothing but `send` what lies ready."""

    echo = None

    def __init__(self, target, binary):
        super().__init__("floor", "floor: nothing but `send`", target)
        self.binary = binary

    def install(self):
        if not os.access(self.binary, os.X_OK):
            raise Failed(f"{os.path.relpath(self.binary, ROOT)} is missing: cargo build --release --workspace")
        self.version = output([self.binary, "--version"]).split()[-1]

    def command(self, port):
        return [self.binary, "floor", f"127.0.0.1:{port}"]


class Tallycast(Peer):
    """Ours, with configs/bench.toml on another port, and as many loops and what driver are asked for."""

    def __init__(self, target, binary, config=None, loops=1, driver="epoll"):
        names = {"epoll": ("tallycast", "**Tallycast**"), "uring": ("tallycast-uring", "Tallycast, io_uring")}
        super().__init__(*names[driver], target)
        self.binary, self.loops, self.driver = binary, loops, driver
        self.config = config or os.path.join(ROOT, "configs/bench.toml")

    def install(self):
        if not os.access(self.binary, os.X_OK):
            raise Failed(f"{os.path.relpath(self.binary, ROOT)} is missing: cargo build --release")
        self.version = output([self.binary, "--version"]).split()[-1]

    def command(self, port):
        with open(self.config) as file:
            text = bench_config(file.read(), port, self.loops, self.driver)
        path = os.path.join(self.work, f"bench-{self.loops}.toml")
        with open(path, "w") as file:
            file.write(text)
        return [self.binary, "serve", "--config", path]


def bench_config(text, port, loops, driver):
    """The configuration with another port, number of loops and driver. Raises Failed if it has not exactly one address and
    one number of loops."""
    text, ports = re.subn(r'"127\.0\.0\.1:9100"', f'"127.0.0.1:{port}"', text)
    text = re.sub(r"(?m)^driver\s*=.*\n", "", text)
    text, cores = re.subn(r"(?m)^cores\s*=\s*\d+", f'driver = "{driver}"\ncores = {loops}', text)
    if (ports, cores) != (1, 1):
        raise Failed(f"configs/bench.toml has 127.0.0.1:9100 {ports} times and cores {cores} times")
    return text


class UWebSockets(Peer):
    """uWebSockets in C++, compiled here from the sources that the crate libuwebsockets-sys carries."""

    def install(self):
        manifest = os.path.join(HERE, "rust/Cargo.toml")
        known = output(["cargo", "metadata", "--locked", "--format-version=1", "--features=sources",
                        "--manifest-path", manifest, "--filter-platform", host()])
        crates = [crate for crate in json.loads(known)["packages"] if crate["name"] == "libuwebsockets-sys"]
        self.version = f"of libuwebsockets-sys {crates[0]['version']}"
        tree = os.path.join(os.path.dirname(crates[0]["manifest_path"]), "uWebSockets")
        sockets = os.path.join(tree, "uSockets/src")
        server = os.path.join(HERE, "uwebsockets/server.cpp")
        self.binary = os.path.join(self.work, "server")
        if fresh(self.binary, [server, manifest]):
            return
        need("g++", "g++")
        fast = ["-O3", "-flto", "-march=native", "-w", "-DLIBUS_NO_SSL", f"-I{sockets}"]
        sources = [path for part in ("", "eventing", "crypto") for path in glob.glob(os.path.join(sockets, part, "*.c"))]
        call(["gcc", "-std=c11", *fast, "-c", *sorted(sources)], self.work)
        objects = sorted(glob.glob(os.path.join(self.work, "*.o")))
        call(["g++", "-std=c++20", *fast, "-DUWS_NO_ZLIB", f"-I{tree}/src", server, *objects, "-o", self.binary], self.work)

    def command(self, port):
        return [self.binary, str(port)]


class Rust(Peer):
    """One of the servers of compare/rust."""

    def install(self):
        manifest = os.path.join(HERE, "rust/Cargo.toml")
        build = os.path.join(self.target, "rust")
        call(["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest,
              "--target-dir", build, "--bin", self.name], HERE)
        self.binary = os.path.join(build, "release", self.name)
        with open(os.path.join(HERE, "rust/Cargo.lock")) as lock:
            self.version = re.search(rf'name = "{self.name}"\nversion = "([^"]+)"', lock.read()).group(1)

    def command(self, port):
        return [self.binary, str(port)]


class Node(Peer):
    """One of the servers of compare/node."""

    def install(self):
        need("node", "nodejs")
        need("npm", "npm")
        build = os.path.join(self.target, "node")
        lock = os.path.join(HERE, "node/package-lock.json")
        for file in glob.glob(os.path.join(HERE, "node/*.*")):
            os.makedirs(build, exist_ok=True)
            shutil.copy(file, build)
        installed = os.path.join(build, "node_modules/.installed-lock.json")
        if not same(lock, installed):
            call(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], build)
            shutil.copy(lock, installed)
        with open(lock) as file:
            package = json.load(file)["packages"][f"node_modules/{self.name}"]
        self.version = f"{package['version']}, Node {output(['node', '--version']).strip().lstrip('v')}"
        self.script = os.path.join(build, f"{self.name}.mjs")

    def command(self, port):
        return ["node", self.script, str(port)]


class SocketIo(Node):
    """Its own protocol on top of WebSocket: the generator must speak it."""

    path, echo, socketio = "/socket.io/?EIO=4&transport=websocket", None, True


class Python(Peer):
    """A server of compare/NAME/server.py, in a virtual environment of its own."""

    imports = ""

    def install(self):
        folder = self.name.split("-")[0]
        self.script = os.path.join(HERE, folder, "server.py")
        wanted = os.path.join(HERE, folder, "requirements.txt")
        self.python = os.path.join(self.work, "venv/bin/python")
        installed = os.path.join(self.work, "installed.txt")
        if not same(wanted, installed):
            shutil.rmtree(os.path.join(self.work, "venv"), ignore_errors=True)
            os.makedirs(self.work, exist_ok=True)
            call(["python3", "-m", "venv", os.path.join(self.work, "venv")], self.work)
            call([self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "-r", wanted], self.work)
            shutil.copy(wanted, installed)
        call([self.python, "-c", f"import {self.imports}"], self.work)
        with open(wanted) as file:
            version = re.search(rf"(?m)^{self.name}==(\S+)", file.read()).group(1)
        self.version = f"{version}, {output(['python3', '--version']).strip()}"

    def command(self, port):
        return [self.python, self.script, str(port)]


class Socketify(Python):
    """uWebSockets behind Python: its library wants libuv."""

    imports = "socketify"

    def install(self):
        if "libuv.so.1" not in output(["/sbin/ldconfig", "-p"]):
            packages(PACKAGES["libuv"])
        super().install()


class Gevent(Python):
    imports = "geventwebsocket"


class Nchan(Peer):
    """nginx with its own configuration and folder, never as the system's service."""

    echo = None
    module = "/usr/lib/nginx/modules/ngx_nchan_module.so"

    def install(self):
        self.nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if not self.nginx or not os.path.exists(self.module):
            packages(PACKAGES["nginx"], PACKAGES["nchan"])
            self.nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        nginx = re.search(r"nginx/([\d.]+)", output([self.nginx, "-v"], subprocess.STDOUT)).group(1)
        nchan = output(["dpkg-query", "-W", "-f=${Version}", PACKAGES["nchan"]])
        self.version = f"{re.sub(r'^[0-9]+:|[+-].*', '', nchan)}, nginx {nginx}"

    def command(self, port):
        with open(os.path.join(HERE, "nchan/nginx.conf.in")) as file:
            text = file.read()
        values = {
            "USER": "user root;" if os.getuid() == 0 else "",
            "MODULE": self.module,
            "FILES": str(processes.raise_open_files()),
            "WORK": self.work,
            "PORT": str(port),
        }
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        path = os.path.join(self.work, "nginx.conf")
        with open(path, "w") as file:
            file.write(text)
        return [self.nginx, "-p", self.work, "-c", path]

    def serving(self, process):
        # It listens before it starts its worker.
        for _ in range(100):
            if workers := processes.children(process.pid):
                return workers[0]
            time.sleep(0.02)
        raise Failed("nginx has no worker")


class Gorilla(Peer):
    """Go with gorilla/websocket, on one processor as it is pinned to one."""

    env = {"GOMAXPROCS": "1"}

    def install(self):
        if not shutil.which("go") or not os.path.isdir(GORILLA):
            packages(PACKAGES["go"], "golang-github-gorilla-websocket-dev")
        source = os.path.join(HERE, "gorilla/main.go")
        self.binary = os.path.join(self.work, "server")
        env = {"GO111MODULE": "off", "GOPATH": GOPATH, "GOCACHE": os.path.join(self.work, "cache"), "GOFLAGS": ""}
        call(["go", "build", "-o", self.binary, source], self.work, env)
        go = re.search(r"go([\d.]+)", output(["go", "version"])).group(1)
        library = output(["dpkg-query", "-W", "-f=${Version}", "golang-github-gorilla-websocket-dev"])
        self.version = f"{library.split('-')[0]}, Go {go}"

    def command(self, port):
        return [self.binary, str(port)]


def all_peers(target):
    """In the order of the tables."""
    return [
        UWebSockets("uwebsockets", "uWebSockets (C++)", target),
        Socketify("socketify", "socketify (uWebSockets behind Python)", target),
        Rust("fastwebsockets", "fastwebsockets", target),
        Rust("tokio-tungstenite", "tokio-tungstenite", target),
        Nchan("nchan", "nginx + nchan", target),
        Gorilla("gorilla", "Go gorilla/websocket", target),
        Node("ws", "npm ws", target),
        SocketIo("socket.io", "npm socket.io", target),
        Gevent("gevent-websocket", "gevent-websocket", target),
    ]


def packages(*names):
    """Installs packages of Debian, as root; as another user it says which ones."""
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise Failed(f"as root: apt-get install {' '.join(names)}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    call(["apt-get", "-qq", "update"], "/", env)
    # A service that a package would start has no business here: 101 is Debian's "not allowed".
    policy = "/usr/sbin/policy-rc.d"
    made = not os.path.exists(policy)
    if made:
        with open(policy, "w") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    try:
        call(["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *names], "/", env)
    finally:
        if made:
            os.remove(policy)


def need(program, package):
    if not shutil.which(program):
        packages(package)


def call(command, folder, env=None):
    """Runs a command; its output is shown only if it fails."""
    os.makedirs(folder, exist_ok=True)
    try:
        done = subprocess.run(command, cwd=folder, env=env and {**os.environ, **env}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=INSTALL_WAIT)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{os.path.basename(command[0])} took more than {INSTALL_WAIT} s") from error
    if done.returncode != 0:
        said = " / ".join(line.strip() for line in done.stdout.splitlines()[-3:])
        raise Failed(f"{os.path.basename(command[0])} ended with {done.returncode}: {said}")


def output(command, stderr=subprocess.DEVNULL):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True)
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise Failed(f"{os.path.basename(command[0])} ended with {done.returncode}")
    return done.stdout


def host():
    return re.search(r"(?m)^host: (\S+)", output(["rustc", "-vV"])).group(1)


def same(one, other):
    try:
        with open(one, "rb") as first, open(other, "rb") as second:
            return first.read() == second.read()
    except FileNotFoundError:
        return False


def fresh(made, sources):
    """Is `made` there, and newer than all it is made from?"""
    return os.path.exists(made) and all(os.path.getmtime(made) > os.path.getmtime(source) for source in sources)
