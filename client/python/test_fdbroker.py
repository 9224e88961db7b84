# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Tests of fdbroker.py, with real brokers and with ones that mean no good.

FDBROKERD=/path/to/fdbrokerd python3 -m unittest -v test_fdbroker
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import pathlib
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Callable, Iterator, List, Optional, Sequence

import fdbroker
from fdbroker import Broker, Info, Listed, Slot

DAEMON = os.environ.get("FDBROKERD", "fdbrokerd")
WORKER = 64001
PATIENCE = 30.0
MEANWHILE = 0.3

POLICY = """
version = 1
[broker]
user = {worker}
[tags.open]
id = 1
[tags.turns]
id = 2
serial = true
[tags.small]
id = 3
[resources.null]
slot = "small/7"
device = "/dev/null"
access = "read"
[[rules]]
id = "all of two tags to everyone"
allow = ["*"]
slots = ["open/*", "turns/*", "small/7"]
anyone = true
"""

Content = Callable[[socket.socket], None]


def until(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.005)


def open_descriptors() -> List[str]:
    gc.collect()
    names = []
    for name in os.listdir("/proc/self/fd"):
        # The one of listdir itself has gone.
        with contextlib.suppress(FileNotFoundError):
            names.append(f"{name} {os.readlink('/proc/self/fd/' + name)}")
    return sorted(names)


def taken(lock: Any) -> bool:
    """Whether another thread has it."""
    if not lock.acquire(blocking=False):
        return True
    lock.release()
    return False


def runs(pid: int) -> bool:
    """Whether any of its threads does: one that ends late still keeps the descriptors of all."""
    try:
        threads = [runs_thread(thread) for thread in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(threads)


def runs_thread(thread: pathlib.Path) -> bool:
    try:
        state = (thread / "stat").read_text().rpartition(") ")[2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state[0] not in "ZX"


def is_worker(pid: str) -> bool:
    """Whether it is a worker, and not a closer."""
    try:
        return b"--worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def bind(kind: socket.SocketKind, address: Any) -> socket.socket:
    """A socket of IPv4 that is bound, and listens if it can."""
    bound = socket.socket(socket.AF_INET, kind)
    try:
        bound.bind(address)
        if kind == socket.SOCK_STREAM:
            bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


class Daemon:
    """A broker, ended by its process id."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.socket = str(directory / "socket")
        policy = directory / "policy.toml"
        policy.write_text(POLICY.format(worker=WORKER))
        self._log = directory / "log"
        self.start()

    def start(self) -> None:
        ready, tells = os.pipe()
        policy = str(pathlib.Path(self.socket).parent / "policy.toml")
        command = [DAEMON, "--policy", policy, "--socket", self.socket]
        command += ["--log-format", "json", "--ready-fd", str(tells)]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[tells], cwd="/"
            )
        os.close(tells)
        answer = os.read(ready, 1)
        os.close(ready)
        assert answer == b"\n", self._log.read_text()

    def worker(self) -> int:
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        workers: List[int] = []

        def found() -> bool:
            # Any thread may have started it.
            children = [thread.read_text().split() for thread in tasks.glob("*/children")]
            workers[:] = [int(child) for child in sum(children, []) if is_worker(child)]
            return bool(workers)

        until("there is a worker", found)
        return workers[0]

    def kill_worker(self) -> None:
        os.kill(self.worker(), signal.SIGKILL)

    def kill(self) -> None:
        """Kills it; its worker notices, and is gone when this returns."""
        worker = self.worker()
        self.process.kill()
        self.process.wait()
        until("the worker is gone", lambda: not runs(worker))

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


class WithDirectory(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="fdbroker-python-"))
        self.directory.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.directory)
        self.before = open_descriptors()
        self.addCleanup(lambda: self.assertEqual(self.before, open_descriptors()))


class WithDaemon(WithDirectory):
    def setUp(self) -> None:
        super().setUp()
        self.daemon = Daemon(self.directory)
        self.addCleanup(self.daemon.end)

    def connect(self, **options: Any) -> Broker:
        broker = Broker(self.daemon.socket, **options)
        self.addCleanup(broker.close)
        return broker


class RealBroker(WithDaemon):
    def test_every_size_with_and_without_a_descriptor(self) -> None:
        broker = self.connect()
        with open("/dev/zero", "rb") as file:
            for index, size in enumerate((0, 1, 32767, 32768)):
                payload = os.urandom(size)
                for descriptor in (None, file, file.fileno()):
                    broker.add((1, index), descriptor, payload)
                    with broker.get(f"1/{index}") as deposit:
                        self.assertEqual(deposit.payload, payload)
                        ufd = -1 if descriptor is None else file.fileno()
                        self.assertEqual(deposit.ufd, ufd)
                        if descriptor is None:
                            self.assertIsNone(deposit.descriptor)
                        else:
                            assert deposit.descriptor is not None
                            number = deposit.descriptor.fileno()
                            self.assertTrue(os.path.sameopenfile(number, file.fileno()))
                            self.assertFalse(os.get_inheritable(number))
                    self.assertEqual(broker.tag(1), Info(index + 1, size))
                broker.delete(Slot(1, index))
        self.assertEqual(broker.tag(1), Info(0, 0))

    def test_another_number_is_told_to_the_next_owner(self) -> None:
        broker = self.connect()
        broker.add("1/0", 0, number=2**31 - 1)
        self.assertEqual(broker.get("1/0").ufd, 2**31 - 1)

    def test_a_descriptor_is_closed_when_it_is_dropped_and_not_when_it_is_given_away(self) -> None:
        broker = self.connect()
        broker.add("1/0", 0)
        before = open_descriptors()
        broker.get("1/0")
        self.assertEqual(open_descriptors(), before)
        deposit = broker.get("1/0")
        number = deposit.detach()
        deposit.close()
        os.close(number)
        with self.assertRaises(ValueError):
            deposit.detach()
        broker.add("1/0", payload=b"alone")
        with self.assertRaises(ValueError):
            broker.get("1/0").detach()

    def test_a_listener_goes_from_hand_to_hand(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.connect().add("1/0", listener)
            address = listener.getsockname()
        with socket.socket(fileno=self.connect().get("1/0").detach()) as inherited:
            self.assertEqual(inherited.getsockname(), address)

    def test_what_is_not_there_and_what_is_refused_are_told_apart(self) -> None:
        broker = self.connect()
        for ask in (broker.get, broker.delete):
            with self.assertRaises(fdbroker.Absent) as absent:
                ask("1/5")
            self.assertEqual(absent.exception.errno, errno.ENOENT)
            with self.assertRaises(fdbroker.Refused) as refused:
                ask("3/0")
            self.assertEqual(refused.exception.errno, errno.EACCES)
        with self.assertRaises(fdbroker.Refused):
            broker.tag(3)
        with self.assertRaises(fdbroker.Refused):
            broker.add("4/0", payload=b"x")

    def test_nonsense_is_not_even_sent(self) -> None:
        broker = self.connect()
        slots: Sequence[Any] = ("web/3", "1", "1/-1", "/", "1/²", (-1, 0), (1, 2**31), (32768, 0))
        for slot in slots:
            with self.assertRaises(ValueError, msg=repr(slot)):
                broker.get(slot)
        others: Sequence[Any] = (5, None, (1,), (1, 2, 3))
        for slot in others:
            with self.assertRaisesRegex(ValueError, r"is no slot; a slot is \"10/3\", \(10, 3\)"):
                broker.get(slot)
        with self.assertRaisesRegex(ValueError, "nothing to deposit"):
            broker.add("1/0")
        payloads: Sequence[Any] = ("text", 5)
        for payload in payloads:
            with self.assertRaisesRegex(TypeError, "a payload is bytes, not"):
                broker.add("1/0", payload=payload)
        with self.assertRaises(ValueError):
            broker.add("1/0", payload=bytes(32769))
        with self.assertRaises(ValueError):
            broker.add("1/0", number=5)
        for name in ("", "x" * 256, "a\0b"):
            with self.assertRaises(ValueError):
                broker.find(name)
        with self.assertRaises(OSError) as bad:
            broker.add("1/0", 987)
        self.assertEqual(bad.exception.errno, errno.EBADF)
        self.assertEqual(broker.tag(1), Info(0, 0))

    def test_an_address_is_free_once_its_deletion_or_replacement_is_answered(self) -> None:
        broker = self.connect()
        with bind(socket.SOCK_STREAM, ("127.0.0.1", 0)) as free:
            address = free.getsockname()
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            for _ in range(100):
                with bind(kind, address) as bound:
                    broker.add("1/0", bound)
                broker.delete("1/0")
                with bind(kind, address) as bound:
                    broker.add("1/0", bound)
                broker.add("1/0", payload=b"another")

    def test_names_are_found_and_slots_are_listed(self) -> None:
        broker = self.connect()
        self.assertEqual(broker.list(1), [])
        self.assertEqual(broker.find("open/5").slot, Slot(1, 5))
        self.assertEqual(broker.find("open").index, None)
        self.assertEqual(broker.find("null").slot, Slot(3, 7))
        with self.assertRaises(fdbroker.Refused):
            broker.find("nothing-like-that")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            broker.add("1/2", listener, b"four")
        broker.add("1/1", payload=b"x")
        listed = broker.list(1)
        self.assertEqual([entry.slot for entry in listed], [Slot(1, 1), Slot(1, 2)])
        self.assertEqual([entry.kind for entry in listed], ["none", "tcp-listener"])
        self.assertEqual([entry.name for entry in listed], ["open/1", "open/2"])
        resource_entry = [entry for entry in broker.list() if entry.resource]
        self.assertEqual([entry.name for entry in resource_entry], ["null"])

    def test_a_long_listing_comes_in_several_answers(self) -> None:
        broker = self.connect()
        for index in range(0, 9000, 3):
            broker.add((1, index), payload=b"x")
        listed = broker.list(1)
        self.assertEqual([entry.slot.index for entry in listed], list(range(0, 9000, 3)))

    def test_a_session_outlives_the_worker_and_the_whole_broker(self) -> None:
        broker = self.connect(retry_for=PATIENCE)
        broker.add("1/0", payload=b"kept")
        broker.find("open")
        instance = broker.instance()
        self.daemon.kill_worker()
        self.assertEqual(broker.get("1/0").payload, b"kept")
        self.assertEqual(broker.find("open").tag, 1)
        self.assertEqual(broker.instance(), instance)
        self.daemon.kill()
        starts = threading.Timer(MEANWHILE, self.daemon.start)
        starts.start()
        with self.assertRaises(fdbroker.Absent):
            broker.get("1/0")
        starts.join()
        self.assertNotEqual(broker.instance(), instance)
        self.daemon.kill()
        with self.assertRaises(fdbroker.Broken):
            self.connect(retry_for=0)

    def test_without_patience_nothing_is_repeated(self) -> None:
        broker = self.connect(retry_for=0)
        self.daemon.kill()
        with self.assertRaises(fdbroker.Broken):
            broker.tag(1)

    def test_a_serial_tag_is_waited_for_and_a_timeout_ends_that(self) -> None:
        first = self.connect()
        first.tag(2)
        impatient = self.connect(timeout=MEANWHILE)
        with self.assertRaises(fdbroker.Timeout):
            impatient.tag(2)
        self.assertEqual(impatient.tag(1), Info(0, 0))
        answered = threading.Event()
        second = self.connect()

        def ask() -> None:
            second.tag(2)
            answered.set()

        asks = threading.Thread(target=ask)
        asks.start()
        self.assertFalse(answered.wait(MEANWHILE))
        first.close()
        self.assertTrue(answered.wait(PATIENCE))
        asks.join()

    def test_threads_take_turns(self) -> None:
        broker = self.connect()
        wrong: List[bytes] = []

        def work(index: int) -> None:
            for turn in range(30):
                payload = f"{index} {turn}".encode()
                broker.add((1, index), 0, payload)
                with broker.get((1, index)) as deposit:
                    if deposit.payload != payload:
                        wrong.append(deposit.payload)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_a_number_that_is_a_strangers_by_now_is_left_alone(self) -> None:
        with Broker(self.daemon.socket) as broker:
            broker.add("1/0", payload=b"kept")
            number = broker._connection._socket.fileno()  # type: ignore[union-attr]
            os.close(number)
            with self.assertRaises(fdbroker.Broken) as caught:
                broker.get("1/0")
            self.assertIn("closed the session's descriptor", str(caught.exception))
            self.assertEqual(broker.get("1/0").payload, b"kept")
            # Once more, and now the number is somebody else's.
            number = broker._connection._socket.fileno()  # type: ignore[union-attr]
            os.close(number)
            stranger, other = socket.socketpair()
            with stranger, other:
                self.assertEqual(stranger.fileno(), number)
                with self.assertRaises(fdbroker.Broken):
                    broker.get("1/0")
                self.assertEqual(broker.get("1/0").payload, b"kept")
                other.setblocking(False)
                with self.assertRaises(BlockingIOError):
                    other.recv(8)
                self.assertEqual(stranger.send(b"x"), 1)

    def test_a_session_that_ends_leaves_a_strangers_number_alone(self) -> None:
        def drop(broker: Broker) -> None:
            # Nothing here refers to it but this name and the one of who calls.
            broker._connection = None

        for end in (Broker.close, drop):
            broker = Broker(self.daemon.socket)
            number = broker._connection._socket.fileno()  # type: ignore[union-attr]
            os.close(number)
            stranger, other = socket.socketpair()
            with stranger, other:
                self.assertEqual(stranger.fileno(), number)
                end(broker)
                self.assertEqual(stranger.send(b"x"), 1)
            broker.close()

    def test_a_child_after_fork_is_told_that_the_session_is_not_its_own(self) -> None:
        with Broker(self.daemon.socket) as broker:
            broker.add("1/0", payload=b"kept")
            child = os.fork()
            if child == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    try:
                        broker.get("1/0")
                    except fdbroker.Broken as error:
                        kept = broker.get("1/0").payload == b"kept"
                        status = 0 if kept and "forked" in str(error) else 2
                os._exit(status)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertEqual(broker.get("1/0").payload, b"kept")

    def test_a_child_after_fork_does_not_wait_for_a_thread_of_its_parent(self) -> None:
        with self.connect() as broker, self.connect() as owner:
            owner.add("2/0", payload=b"")
            waiting = threading.Thread(target=broker.tag, args=[2])
            waiting.start()
            # The thread has the session until the owner of the serial tag has left.
            until("the thread asks", lambda: taken(broker._lock))
            child = os.fork()
            if child == 0:
                signal.alarm(int(PATIENCE))
                status = 1
                with contextlib.suppress(BaseException):
                    with contextlib.suppress(fdbroker.Broken):
                        broker.tag(1)
                    status = 0 if broker.tag(1).used >= 0 else 2
                os._exit(status)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            owner.close()
            waiting.join()

    def test_in_a_namespace_without_numbers_no_broker_is_trusted(self) -> None:
        unshare = ["unshare", "--user"]
        with contextlib.suppress(OSError):
            if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                program = f"import fdbroker; fdbroker.Broker({str(self.daemon.socket)!r})"
                command = [*unshare, sys.executable, "-c", program]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertIn("fdbroker.Untrusted", done.stderr)
                self.assertIn("no number in this user namespace", done.stderr)
                return
        self.skipTest("no user namespace can be made here")

    def test_a_name_where_a_number_belongs_is_told_as_one(self) -> None:
        with self.connect() as broker:
            name: Any = "shop"
            with self.assertRaisesRegex(TypeError, "'shop' is no number of a tag.*find"):
                broker.tag(name)
            with self.assertRaisesRegex(TypeError, "'shop' is no number of a tag.*find"):
                broker.list(name)

    def test_a_closed_session_asks_nothing(self) -> None:
        with self.connect() as broker:
            self.assertEqual(broker.path, self.daemon.socket)
        with self.assertRaises(ValueError):
            broker.tag(1)

    def test_a_broker_of_somebody_else_is_not_trusted(self) -> None:
        with self.assertRaises(fdbroker.Untrusted):
            self.connect(trust=os.geteuid() + 1)
        self.connect(trust=os.geteuid()).tag(1)
        self.connect(trust=fdbroker.Trust.ANYONE).tag(1)

    def test_a_descriptor_without_room_here_is_told_and_the_session_goes_on(self) -> None:
        broker = self.connect()
        broker.add("1/0", 0, b"payload")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The first number that is free will be beyond the limit.
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with self.assertRaises(fdbroker.NoRoom):
                broker.get("1/0")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertEqual(broker.get("1/0").payload, b"payload")


class Places(WithDirectory):
    def test_the_environment_names_the_socket(self) -> None:
        changed = dict(os.environ)
        try:
            os.environ["FDBROKER_SOCKET"] = "/somewhere/s"
            self.assertEqual(fdbroker.default_socket(), "/somewhere/s")
            os.environ["FDBROKER_SOCKET"] = ""
            os.environ.pop("XDG_RUNTIME_DIR", None)
            self.assertEqual(fdbroker.default_socket(), "/run/fdbroker/fdbroker.sock")
        finally:
            os.environ.clear()
            os.environ.update(changed)

    def test_nobody_there_is_told_at_once(self) -> None:
        began = time.monotonic()
        places = [str(self.directory / "none"), str(self.directory), "x" * 200, "/dev/null"]
        for path in places:
            with self.assertRaises(fdbroker.Broken):
                Broker(path)
        self.assertLess(time.monotonic() - began, 2)

    def test_a_full_queue_is_waited_for_until_the_timeout(self) -> None:
        path = str(self.directory / "full")
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as fills:
            listener.bind(path)
            listener.listen(0)
            fills.connect(path)
            with self.assertRaises(fdbroker.Timeout):
                Broker(path, timeout=MEANWHILE)


def rep(code: int, text: bytes = b"") -> bytes:
    return struct.pack("=hhh", 3, code, len(text) + 1) + text + b"\0"


def add(tag: int, index: int, ufd: int, payload: bytes, nob: Optional[int] = None) -> bytes:
    nob = len(payload) if nob is None else nob
    return struct.pack("=hhiii", 1, tag, index, ufd, nob) + payload


def entry(tag: int, index: int, name: bytes = b"", length: Optional[int] = None) -> bytes:
    length = len(name) if length is None else length
    return struct.pack("=hBBiIiH", tag, 0, 0, index, 0, 0, length) + name


def listing(*entries: bytes, more: int = 0, count: Optional[int] = None) -> bytes:
    count = len(entries) if count is None else count
    body = struct.pack("=hh", more, count) + b"".join(entries)
    return struct.pack("=hHi", 67, 0, len(body)) + body


HELLO = struct.pack("=hhiq", 0, 1, 1, 77)


class Fake:
    """A broker of the test's own: one thread, which plays one part for each connection, and takes
    the last one for all that follow."""

    def __init__(self, path: str, *parts: Content) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.connections = 0
        self.thread = threading.Thread(target=self.play, args=(parts,), daemon=True)
        self.thread.start()

    def play(self, parts: Sequence[Content]) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            part = parts[min(self.connections, len(parts) - 1)]
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                part(connection)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)


def says(*messages: bytes, fds: int = 0, then_ends: bool = False) -> Content:
    """Answers each request with the next message, and the last one with descriptors."""

    def part(connection: socket.socket) -> None:
        for number, message in enumerate(messages):
            if not connection.recv(65536):
                return
            last = number == len(messages) - 1
            socket.send_fds(connection, [message], [0] * (fds if last else 0))
        if not then_ends:
            # Until the client has had enough.
            connection.recv(65536)

    return part


def leaves(connection: socket.socket) -> None:
    """Reads a request, and goes without an answer."""
    connection.recv(65536)


class FakeBroker(WithDirectory):
    @contextlib.contextmanager
    def faked(self, *parts: Content, **options: Any) -> Iterator[Broker]:
        path = str(self.directory / "fake")
        fake = Fake(path, *parts)
        try:
            with Broker(path, **options) as broker:
                self.fake = fake
                yield broker
        finally:
            fake.end()
            os.unlink(path)

    def nonsense(self, part: Content, ask: Callable[[Broker], object]) -> None:
        with self.faked(part) as broker, self.assertRaises(fdbroker.ProtocolError):
            ask(broker)
        self.assertEqual(open_descriptors(), self.before)

    def test_nonsense_in_answer_to_get(self) -> None:
        parts = {
            "a huge nob": says(add(1, 0, -1, b"", nob=2**31 - 1)),
            "a nob just too large": says(add(1, 0, -1, bytes(32769))),
            "a negative nob": says(add(1, 0, -1, b"", nob=-1)),
            "another slot": says(add(1, 1, -1, b"")),
            "another slot, with a descriptor": says(add(2, 0, 5, b""), fds=1),
            "two answers": says(add(1, 0, -1, b"") * 2),
            "a byte too many": says(add(1, 0, -1, b"") + b"x"),
            "a descriptor that is missing": says(add(1, 0, 5, b"")),
            "a descriptor that was not announced": says(add(1, 0, -1, b"x"), fds=1),
            "two descriptors": says(add(1, 0, 5, b"x"), fds=2),
            "as many descriptors as can be": says(add(1, 0, 5, b"x"), fds=253),
            "a refusal with a descriptor": says(rep(-errno.EACCES), fds=1),
            "a refusal of no length": says(struct.pack("=hhh", 3, -13, 0)),
            "a refusal of a huge length": says(struct.pack("=hhh", 3, -13, 2000)),
            "a positive code": says(rep(13)),
            "success without a deposit": says(rep(0)),
            "an answer to something else": says(struct.pack("=hhii", 5, 0, 0, 0)),
            "a request": says(struct.pack("=hhi", 6, 1, 0)),
            "a HEL": says(HELLO),
            "an opcode below zero": says(struct.pack("=h", -1) + bytes(20)),
            "an opcode that is none": says(struct.pack("=h", 40) + bytes(20)),
            "a private opcode": says(struct.pack("=hHi", 96, 0, 0)),
            "a huge body": says(struct.pack("=hHi", 67, 0, 2**31 - 1)),
            "a body with descriptors": says(struct.pack("=hHi", 67, 3, 0), fds=3),
            "HTTP": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        }
        for name, part in parts.items():
            with self.subTest(name):
                self.nonsense(part, lambda broker: broker.get("1/0"))

    def test_nonsense_in_answer_to_the_others(self) -> None:
        deposit = says(add(1, 0, 5, b""), fds=1)
        self.nonsense(deposit, lambda broker: broker.delete("1/0"))
        self.nonsense(deposit, lambda broker: broker.add("1/0", payload=b""))
        self.nonsense(deposit, lambda broker: broker.tag(1))
        self.nonsense(deposit, lambda broker: broker.find("x"))
        amount = says(struct.pack("=hhii", 5, 0, -1, 0))
        self.nonsense(amount, lambda broker: broker.tag(1))
        self.nonsense(says(struct.pack("=hhiq", 0, 1, 1, 0)), lambda broker: broker.find("x"))
        for body in (b"", bytes(9), struct.pack("=hhi", 1, 2, 0), struct.pack("=hhi", 1, 1, 0)):
            found = struct.pack("=hHi", 65, 0, len(body)) + body
            self.nonsense(says(HELLO, found), lambda broker: broker.find("x"))

    def test_listings_that_are_none(self) -> None:
        pages = {
            "no head": struct.pack("=hHi", 67, 0, 0),
            "out of order": listing(entry(1, 5), entry(1, 4)),
            "twice the same": listing(entry(1, 5), entry(1, 5)),
            "of another tag": listing(entry(2, 0)),
            "of a negative tag": listing(entry(-1, 0)),
            "a name beyond the end": listing(entry(1, 0, b"x", length=60000)),
            "more entries than come": listing(entry(1, 0), count=30000),
            "fewer entries than come": listing(entry(1, 0), entry(1, 1), count=1),
            "a negative count": listing(count=-1),
            "more, of nothing": listing(more=1),
            "neither more nor not": listing(more=7),
            "a name that is no text": listing(entry(1, 0, b"\xff\xfe")),
        }
        for name, page in pages.items():
            with self.subTest(name):
                self.nonsense(says(HELLO, page), lambda broker: broker.list(1))
        endless = says(HELLO, listing(entry(1, 0), more=1), listing(entry(1, 0), more=1))
        self.nonsense(endless, lambda broker: broker.list())

    def test_what_is_not_known_in_a_listing_is_none(self) -> None:
        raw = struct.pack("=hBBiIiH", 1, 200, 0xFF, 0, 0xFFFFFFFF, -1, 0)
        with self.faked(says(HELLO, listing(raw))) as broker:
            route = "ktls-or-relayed"
            expected = Listed(Slot(1, 0), None, True, True, None, None, "", route, True)
            self.assertEqual(broker.list(), [expected])

    def test_an_answer_that_breaks_off_is_not_asked_for_again(self) -> None:
        whole = add(1, 0, 5, b"payload")
        for length in (1, 2, 15, 16, len(whole) - 1):
            with self.subTest(length=length):
                part = says(whole[:length], fds=1, then_ends=True)
                with self.faked(part) as broker, self.assertRaises(fdbroker.Broken):
                    broker.get("1/0")
                self.assertEqual(self.fake.connections, 1)
                self.assertEqual(open_descriptors(), self.before)

    def test_an_answer_in_pieces_is_put_together(self) -> None:
        def drips(connection: socket.socket) -> None:
            connection.recv(65536)
            message = add(1, 0, 5, b"abc")
            socket.send_fds(connection, [message[:1]], [0])
            for byte in message[1:]:
                time.sleep(0.002)
                connection.send(bytes([byte]))
            connection.recv(1)

        with self.faked(drips) as broker, broker.get("1/0") as deposit:
            self.assertEqual(deposit.payload, b"abc")
            assert deposit.descriptor is not None
            self.assertTrue(os.path.sameopenfile(deposit.descriptor.fileno(), 0))

    def test_an_answer_that_never_becomes_complete_times_out(self) -> None:
        def drips(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.send(add(1, 0, -1, b"", nob=32768))
            while True:
                time.sleep(0.05)
                connection.send(b"x")

        began = time.monotonic()
        with self.faked(drips, timeout=MEANWHILE) as broker:
            with self.assertRaises(fdbroker.Timeout):
                broker.get("1/0")
            self.assertLess(time.monotonic() - began, 10 * MEANWHILE)

    def test_an_out_of_band_byte_is_read_in_its_place(self) -> None:
        def part(connection: socket.socket) -> None:
            answer = add(1, 0, -1, b"x")
            connection.recv(65536)
            connection.sendall(answer[:-1])
            connection.send(answer[-1:], socket.MSG_OOB)
            connection.recv(65536)

        with self.faked(part, timeout=PATIENCE) as broker:
            self.assertEqual(broker.get("1/0").payload, b"x")

    def test_silence_times_out(self) -> None:
        with self.faked(lambda connection: time.sleep(2 * MEANWHILE), timeout=MEANWHILE) as broker:
            with self.assertRaises(fdbroker.Timeout):
                broker.get("1/0")

    def test_a_lost_request_is_repeated_on_a_new_connection(self) -> None:
        with self.faked(leaves, leaves, says(rep(0))) as broker:
            broker.add("1/0", payload=b"x")
            self.assertEqual(self.fake.connections, 3)

    def test_a_repeated_delete_that_finds_nothing_left_is_done(self) -> None:
        with self.faked(leaves, says(rep(-errno.ENOENT))) as broker:
            broker.delete("1/0")
        with self.faked(says(rep(-errno.ENOENT))) as broker:
            with self.assertRaises(fdbroker.Absent):
                broker.delete("1/0")

    def test_a_lost_greeting_does_not_count_as_a_repeated_request(self) -> None:
        with self.faked(leaves, says(HELLO, listing())) as broker:
            self.assertEqual(broker.list(), [])

    def test_patience_ends(self) -> None:
        began = time.monotonic()
        with self.faked(leaves, retry_for=MEANWHILE) as broker:
            with self.assertRaises(fdbroker.Broken):
                broker.get("1/0")
        self.assertLess(time.monotonic() - began, 10 * MEANWHILE)

    def test_a_broker_that_is_starting_is_asked_again(self) -> None:
        busy = rep(-errno.EAGAIN)
        with self.faked(says(busy, busy, rep(0))) as broker:
            broker.delete("1/0")
        with self.faked(says(busy, HELLO, listing())) as broker:
            self.assertEqual(broker.list(), [])

    def test_a_refusal_before_any_request_is_heard(self) -> None:
        def turns_away(connection: socket.socket) -> None:
            connection.send(rep(-errno.EDQUOT, b"too many"))

        with self.faked(turns_away) as broker, self.assertRaises(fdbroker.Quota) as quota:
            until("the connection has ended", lambda: self.fake.connections == 1)
            time.sleep(0.05)
            broker.get("1/0")
        self.assertIn("too many", str(quota.exception))

    def test_version_1_is_told_apart_and_served_on(self) -> None:
        part = says(rep(-errno.EPROTO), rep(-errno.EPROTO), add(1, 0, -1, b"x"))
        with self.faked(part) as broker:
            for _ in range(2):
                with self.assertRaises(fdbroker.Version1):
                    broker.list()
            self.assertEqual(broker.get("1/0").payload, b"x")

    def test_every_error_has_its_class(self) -> None:
        classes = {
            errno.EACCES: fdbroker.Refused,
            errno.ENOENT: fdbroker.Absent,
            errno.EDQUOT: fdbroker.Quota,
            errno.EMFILE: fdbroker.Quota,
            errno.EINVAL: fdbroker.Failed,
            errno.EIO: fdbroker.Failed,
            errno.EOPNOTSUPP: fdbroker.Failed,
            4000: fdbroker.Failed,
        }
        for number, kind in classes.items():
            with self.faked(says(rep(-number, b"why\x1b[2J"))) as broker:
                with self.assertRaises(fdbroker.Error) as raised:
                    broker.get("1/0")
                self.assertIs(type(raised.exception), kind)
                self.assertEqual(raised.exception.errno, number)
                if number == errno.EOPNOTSUPP:
                    self.assertIn("answered EOPNOTSUPP: ", str(raised.exception))
                self.assertNotIn("\x1b", str(raised.exception), "it can be shown on a terminal")

    def test_nothing_is_sent_to_a_broker_that_is_not_trusted(self) -> None:
        heard: List[bytes] = []
        path = str(self.directory / "fake")
        fake = Fake(path, lambda connection: heard.append(connection.recv(100)))
        with self.assertRaises(fdbroker.Untrusted):
            Broker(path, trust=os.geteuid() + 1)
        until("the connection has ended", lambda: bool(heard))
        fake.end()
        self.assertEqual(heard, [b""])

    def test_after_an_interruption_the_next_answer_is_to_the_next_question(self) -> None:
        class Interrupted(Exception):
            pass

        def interrupt(number: int, frame: object) -> None:
            raise Interrupted

        def late(connection: socket.socket) -> None:
            connection.recv(100)
            time.sleep(2 * MEANWHILE)
            connection.send(add(1, 0, -1, b"late"))

        previous = signal.signal(signal.SIGALRM, interrupt)
        try:
            with self.faked(late, says(add(1, 0, -1, b"new"))) as broker:
                signal.setitimer(signal.ITIMER_REAL, MEANWHILE)
                with self.assertRaises(Interrupted):
                    broker.get("1/0")
                self.assertEqual(broker.get("1/0").payload, b"new")
        finally:
            signal.signal(signal.SIGALRM, previous)


if __name__ == "__main__":
    unittest.main()
