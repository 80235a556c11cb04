"""The servers of the local stack: how each is started, when it is ready, and how it is stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
REGION = "us-east-1"
ACCOUNT = "000000000000"
ACCESS_KEY, SECRET_KEY = "test", "test"
"""ministack's root credentials; everybody else is held to the policies of a role or a user."""

READY_WITHIN_S = 60
STOPPED_WITHIN_S = 10


@dataclass(frozen=True)
class Server:
    """One server: its command, what its own environment adds, and a request that it answers once it is ready."""

    name: str
    port: int
    command: list[str | Path]
    environment: dict[str, str]
    ready: str


class Stack:
    """All servers, running between `with` and its end. `environment` is what a client of theirs needs.

    `asked` holds the signals that have asked us to end: with one of them, the start is given up.
    """

    def __init__(self, root: Path, folder: Path, ports: list[int], asked: list[int]):
        self.folder = folder
        self._asked = asked
        gateway, tables, keys, issuer = ports
        self.environment = {
            "SEALCAST_TEST_MINISTACK": f"http://{HOST}:{gateway}",
            "SEALCAST_TEST_DYNAMODB_LOCAL": f"http://{HOST}:{tables}",
            "SEALCAST_TEST_KMS": f"http://{HOST}:{keys}",
            "SEALCAST_TEST_ISSUER": f"http://{HOST}:{issuer}",
            "AWS_ENDPOINT_URL": f"http://{HOST}:{gateway}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            # Nobody's own account is ever meant here.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
        }
        self._servers = define_servers(root, folder, self.environment)
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Stack":
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        self._write("owner.json", describe_process(os.getpid()))
        try:
            for server in self._servers:
                self._start(server)
            for server in self._servers:
                self._wait_until_ready(server)
        except BaseException:
            self.print_logs()
            self.__exit__()
            raise
        return self

    def __exit__(self, *_reason) -> None:
        for process in self._running.values():
            signal_group(process.pid, signal.SIGTERM)
        until = time.monotonic() + STOPPED_WITHIN_S
        for process in self._running.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            # Whatever it started, ministack's functions above all, is in its group.
            kill_group(process.pid)
            process.wait()
        self._running.clear()
        (self.folder / "processes.json").unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", "--", self.folder / "tmp"], check=True)

    def ended(self) -> list[str]:
        """The servers that ended by themselves."""
        return [name for name, process in self._running.items() if process.poll() is not None]

    def print_logs(self) -> None:
        """The last lines of every log, on the error output."""
        for server in self._servers:
            log = self.folder / f"{server.name}.log"
            if log.exists() and log.stat().st_size:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
                print(f"--- the last lines of {log}", *lines, sep="\n", file=sys.stderr)

    def _start(self, server: Server) -> None:
        if is_taken(server.port):
            raise SystemExit(f"{server.name}: {HOST}:{server.port} is in use")
        log = open(self.folder / f"{server.name}.log", "wb")  # noqa: SIM115: the server writes to it
        with log:
            self._running[server.name] = subprocess.Popen(
                server.command,
                env={**inherit(), **self.environment, **server.environment, "TMPDIR": str(self.folder / "tmp")},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._write("processes.json", [describe_process(process.pid) for process in self._running.values()])

    def _wait_until_ready(self, server: Server) -> None:
        process, until = self._running[server.name], time.monotonic() + READY_WITHIN_S
        while not answers(server.ready):
            if self._asked:
                raise SystemExit(128 + self._asked[0])
            if process.poll() is not None:
                raise SystemExit(f"{server.name} ended with {process.returncode} before it was ready")
            if time.monotonic() > until:
                raise SystemExit(f"{server.name} was not ready within {READY_WITHIN_S} s")
            time.sleep(0.05)

    def _write(self, name: str, content) -> None:
        # Whoever reads it, also after a kill, finds it whole.
        whole = self.folder / f".{name}"
        whole.write_text(json.dumps(content), encoding="utf-8")
        whole.replace(self.folder / name)


def define_servers(root: Path, folder: Path, environment: dict[str, str]) -> list[Server]:
    """The servers, at the addresses that their clients' environment names."""
    binaries, here = root / ".venv-stack" / "bin", root / "tests" / "stack"
    tables = root / ".tools" / "dynamodb-local"
    address = {name: environment[f"SEALCAST_TEST_{name}"] for name in ("MINISTACK", "DYNAMODB_LOCAL", "KMS", "ISSUER")}
    port = {name: int(url.rsplit(":", 1)[1]) for name, url in address.items()}
    ministack = Server(
        "ministack",
        port["MINISTACK"],
        [binaries / "python", here / "ministack_launcher.py"],
        {
            "GATEWAY_PORT": str(port["MINISTACK"]),
            "BIND_HOST": HOST,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # With it every call is held to its caller's policies, as on AWS.
            "AUTH": "true",
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "STATE_DIR": str(folder / "tmp" / "state"),
        },
        f"{address['MINISTACK']}/_ministack/ready",
    )
    dynamodb_local = Server(
        "dynamodb-local",
        port["DYNAMODB_LOCAL"],
        [
            os.environ.get("JAVA", "java"),
            "-Xmx512m",
            f"-Djava.library.path={tables / 'DynamoDBLocal_lib'}",
            "-cp",
            tables / "DynamoDBLocal.jar",
            here / "DynamoDbLocal.java",
            *("-port", str(port["DYNAMODB_LOCAL"]), "-sharedDb", "-inMemory", "-disableTelemetry"),
        ],
        {},
        address["DYNAMODB_LOCAL"],
    )
    roto = Server(
        "roto",
        port["KMS"],
        [
            binaries / "roto-server",
            *("--host", HOST, "--port", str(port["KMS"]), "--account-id", ACCOUNT),
            *("--ephemeral", "--data-dir", folder / "tmp" / "roto"),
        ],
        {},
        address["KMS"],
    )
    issuer = Server(
        "issuer",
        port["ISSUER"],
        [binaries / "python", here / "issuer.py", HOST, str(port["ISSUER"])],
        {},
        f"{address['ISSUER']}/.well-known/openid-configuration",
    )
    return [dynamodb_local, ministack, roto, issuer]


def inherit() -> dict[str, str]:
    """What a server gets of our own environment. Functions get their server's, so nothing of ours must reach them."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "JAVA_HOME")
    return {name: os.environ[name] for name in kept if name in os.environ}


def find_free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment; all held until the last is found."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def answers(url: str) -> bool:
    """Whether an HTTP server answers there, with whatever status below 500."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def describe_process(pid: int) -> dict | None:
    """A process by its id and its start, which together are not given twice; None where none runs."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        state, started = fields[0], fields[19]
    else:
        shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
        if shown.returncode != 0:
            return None
        state, _, started = shown.stdout.strip().partition(" ")
    return None if state.startswith("Z") else {"pid": pid, "started": started.strip()}


def signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass


def kill_group(pid: int) -> None:
    """Ends a server that we started, with everything in its process group."""
    signal_group(pid, signal.SIGKILL)
