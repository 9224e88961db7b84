# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Client of fdbroker, a privileged file-descriptor broker for Linux.

A broker keeps deposits (a descriptor, a payload of up to 32 KiB, or both) in slots written
``tag/index``, and opens resources for callers that its policy allows::

    with fdbroker.Broker() as broker:
        broker.add("10/3", listener, b"what the next instance should know")
        with broker.get("10/3") as deposit:
            ...
        broker.delete("10/3")

It trusts a broker that runs as root or as the caller, and no other unless told so. Every
descriptor that it receives is close-on-exec, and belongs to an object that closes it; whatever a
broken answer brought is closed. When the broker is restarted, requests are repeated.

One file, Python 3.9 or newer, nothing but the standard library. docs/python.md has more, and
docs/protocol.md is what is spoken.
"""

from __future__ import annotations

import array
import dataclasses
import enum
import errno
import fcntl
import operator
import os
import socket as sockets
import struct
import threading
import time
import weakref
from types import MappingProxyType, TracebackType
from typing import (
    ClassVar,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    NoReturn,
    Optional,
    Protocol,
    Tuple,
    Type,
    Union,
)

__all__ = [
    "MAX_PAYLOAD",
    "Absent",
    "Broken",
    "Broker",
    "Connection",
    "Deposit",
    "Descriptor",
    "Error",
    "Failed",
    "Found",
    "Info",
    "Listed",
    "NoRoom",
    "ProtocolError",
    "Quota",
    "Refused",
    "Slot",
    "Timeout",
    "Trust",
    "Untrusted",
    "Version1",
    "Withheld",
    "default_socket",
]

MAX_PAYLOAD = 32768
"""The largest payload of a deposit, in bytes."""

_MAX_TAG = 2**15 - 1
_MAX_INDEX = 2**31 - 1
_MAX_NAME = 255
_MAX_TEXT = 1024
_MAX_BODY = 65536
_MAX_DESCRIPTORS = 253
_READ = 65536 + 8

_HEL, _ADD, _DEL, _REP, _TAG, _INF, _GET = range(7)
_FIND, _FOUND, _LIST, _LISTING = range(64, 68)
_EXTENDED = range(64, 96)
_FEATURE_LISTING = 1

_HELLO = struct.Struct("=hhiq")
_GREETING = _HELLO.pack(_HEL, 0, _FEATURE_LISTING, 0)
_ADD_HEAD = struct.Struct("=hhiii")
_SLOT = struct.Struct("=hhi")
_REPLY_HEAD = struct.Struct("=hhh")
_TAG_ALONE = struct.Struct("=hh")
_INFO = struct.Struct("=hhii")
_HEAD = struct.Struct("=hHi")
_FOUND_BODY = struct.Struct("=hhi")
_LIST_BODY = struct.Struct("=hhhhi")
_LISTING_HEAD = struct.Struct("=hh")
_ENTRY = struct.Struct("=hBBiIiH")
_FIELD = struct.Struct("=HH")
_CREDENTIALS = struct.Struct("=iII")
_TIMEVAL = struct.Struct("@ll")

_SYSTEM_SOCKET = "/run/fdbroker/fdbroker.sock"
_KINDS = (
    "none file directory pipe char-device block-device tcp tcp-listener udp unix unix-listener"
    " unix-datagram socket path epoll eventfd timerfd signalfd inotify pidfd io-uring other"
).split()

# How the connections of a resource lead to their server, by two bits of an entry's marks.
_ROUTES = (None, "direct", "relayed", "ktls-or-relayed")

# What sendmsg(2) and recvmsg(2) say when the other end has gone.
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
# What connect(2) says while a broker is being restarted.
_ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET)


@dataclasses.dataclass(frozen=True, order=True)
class Slot:
    """One place in a broker."""

    tag: int
    index: int

    def __str__(self) -> str:
        return f"{self.tag}/{self.index}"


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


SlotLike = Union[Slot, Tuple[int, int], str]
"""A slot: ``Slot(10, 3)``, ``(10, 3)`` or ``"10/3"``. For a name, see :meth:`Broker.find`."""

DescriptorLike = Union[int, _HasFileno]
"""A number, or what has one, such as a socket or a file."""


class Trust(enum.Enum):
    """Whom a broker may run as, beside one user id alone, which is given as a number."""

    ROOT_OR_SELF = "root, or the effective user of this process"
    ANYONE = "whoever it is; descriptors from a broker like that may be anything"


class Error(Exception):
    """What can go wrong; the classes below it tell apart what the caller can do about it.

    What makes no sense from the start, such as a negative tag or a payload that is too large, is
    a ValueError, and nothing is sent.
    """

    errno: Optional[int]
    """The error number, where there is one."""

    def __init__(self, what: str, number: Optional[int] = None) -> None:
        super().__init__(what)
        self.errno = number


class Refused(Error):
    """The broker's policy does not allow it. Whether the slot holds anything is not told."""


class Absent(Error):
    """There is nothing in the slot."""


class Quota(Error):
    """A quota of this user is used up (EDQUOT), or the broker's descriptor table is full (EMFILE)."""


class Failed(Error):
    """The broker answered with another error, such as EINVAL, ENODEV or EIO."""


class Version1(Error):
    """The broker speaks version 1 of the protocol only, which has no such request."""


class ProtocolError(Error):
    """The answer makes no sense: what is at the other end is no broker, or of another kind."""


class NoRoom(Error):
    """A descriptor came that found no room in this process's own table; it was closed."""


class Withheld(Error):
    """A descriptor came that a security module of the kernel kept from this process, which has room
    for it."""


class Timeout(Error):
    """No answer came in time. The request may have been carried out, or may yet be."""


class Broken(Error):
    """The broker cannot be reached, or was lost and did not come back in time.

    A request that was under way may have been carried out.
    """


class Untrusted(Error):
    """The broker runs as somebody who is not trusted; nothing was sent to it."""


class Descriptor:
    """An open descriptor, close-on-exec. Closed when it is dropped, or its context is left."""

    def __init__(self, number: int) -> None:
        """Takes a number, and with it the duty to close it."""
        self._number: Optional[int] = number

    def fileno(self) -> int:
        """Its number, which stays this object's to close."""
        if self._number is None:
            raise ValueError("the descriptor is closed, or was given away")
        return self._number

    def detach(self) -> int:
        """Its number, from now on the caller's to close: ``socket.socket(fileno=...)``,
        ``os.fdopen(...)``."""
        number = self.fileno()
        self._number = None
        return number

    def close(self) -> None:
        """Closes it, if it is not closed yet and was not given away."""
        number, self._number = self._number, None
        if number is not None:
            os.close(number)

    def __enter__(self) -> Descriptor:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except (OSError, AttributeError, TypeError):
            # Half made, closed by somebody else, or at the end of the interpreter.
            pass

    def __repr__(self) -> str:
        return f"<Descriptor {'closed' if self._number is None else self._number}>"


class Deposit:
    """What a slot holds. Its descriptor is closed when it is dropped, or its context is left."""

    descriptor: Optional[Descriptor]
    """The descriptor, if the deposit has one."""
    ufd: int
    """The number that the descriptor had where it was deposited; -1 without one."""
    payload: bytes
    """The bytes, at most MAX_PAYLOAD."""

    def __init__(self, descriptor: Optional[Descriptor], ufd: int, payload: bytes) -> None:
        self.descriptor = descriptor
        self.ufd = ufd
        self.payload = payload

    @property
    def connection(self) -> Optional[Connection]:
        """What the descriptor is connected to; ``None`` if the payload is none of a connection.

        The broker writes it for a resource of the kind ``connect``. In any other slot it is as true as whatever the
        depositor wrote.
        """
        if self.descriptor is None:
            return None
        try:
            return Connection(self.payload)
        except ValueError:
            return None

    def detach(self) -> int:
        """The number of the descriptor, from now on the caller's to close."""
        if self.descriptor is None:
            raise ValueError("the deposit has no descriptor")
        return self.descriptor.detach()

    def close(self) -> None:
        """Closes the descriptor, if there is one that was not given away."""
        if self.descriptor is not None:
            self.descriptor.close()

    def __enter__(self) -> Deposit:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Deposit {self.descriptor!r} ufd={self.ufd} {len(self.payload)} bytes>"


class Connection:
    """What a descriptor is connected to: the payload of a connection that the broker has made.

    ``Connection(payload)`` raises :class:`ValueError` if the bytes are none of a connection. The fields are those of
    docs/protocol.md, in their order: :attr:`fields` has all of them.
    """

    def __init__(self, payload: bytes) -> None:
        self.fields: Mapping[str, bytes] = MappingProxyType(_fields(payload))
        """Every value by its name."""

    def text(self, name: str) -> Optional[str]:
        """A value as text; bytes that are not UTF-8 are replaced. ``None`` if it is not there."""
        value = self.fields.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    @property
    def protocol(self) -> str:
        """What is spoken, such as ``postgres``."""
        return self.text("protocol") or ""

    @property
    def peer(self) -> Optional[str]:
        """The address that answered, such as ``tcp:192.0.2.7:5432``."""
        return self.text("peer")

    @property
    def relay(self) -> Optional[str]:
        """How the descriptor leads to the server: ``direct`` for the server's socket itself, ``ktls`` for the
        same where the kernel encrypts, ``relayed`` through a process of the broker that encrypts."""
        return self.text("relay")

    @property
    def parameters(self) -> Mapping[str, str]:
        """What the server reported of itself, such as ``server_version``."""
        start = len("parameter.")
        names = (name for name in self.fields if name.startswith("parameter."))
        return {name[start:]: self.text(name) or "" for name in names}

    @property
    def early(self) -> bytes:
        """What the server has sent already: it comes before what is read from the socket."""
        return self.fields.get("early", b"")

    def __repr__(self) -> str:
        return f"<fdbroker.Connection {self.protocol!r} to {self.peer!r}>"


class Info(NamedTuple):
    """How much a tag holds."""

    used: int
    """The largest used index plus one."""
    total: int
    """The sum of the payloads, in bytes."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a name means."""

    tag: int
    index: Optional[int]
    """None: the name means the whole tag."""

    @property
    def slot(self) -> Slot:
        """The slot that is meant; a ValueError for a whole tag."""
        if self.index is None:
            raise ValueError(f"the name means the whole tag {self.tag}, not a slot")
        return Slot(self.tag, self.index)


class Listed(NamedTuple):
    """What a listing tells of a slot. None stands for what is not known or not told."""

    slot: Slot
    kind: Optional[str]
    """The kind of descriptor, such as ``tcp-listener``; ``none`` for a payload alone."""
    resource: bool
    """Whether the policy fills it itself."""
    unreachable: bool
    """Whether no rule reaches it."""
    owner: Optional[int]
    """The user id of who left it."""
    size: Optional[int]
    """The size of the payload."""
    name: str
    """May be empty."""
    route: Optional[str] = None
    """How connections lead to the server: ``direct``, ``relayed``, or ``ktls-or-relayed``, where each says for
    itself which of the two it is."""
    here_only: bool = False
    """Whether the deposit is lost when the broker ends, although a service manager keeps others."""


def default_socket() -> str:
    """The socket that a broker is expected at when nobody says otherwise.

    That is what FDBROKER_SOCKET names; else /run/fdbroker/fdbroker.sock, for root and for everybody
    on a machine where it exists; else $XDG_RUNTIME_DIR/fdbroker.sock. A program that runs with more
    rights than its caller (set-user-ID) takes neither variable from it.
    """
    environment: Mapping[str, str] = {} if _is_foreign_environment() else os.environ
    named = environment.get("FDBROKER_SOCKET")
    if named:
        return named
    own = environment.get("XDG_RUNTIME_DIR")
    if own and os.geteuid() != 0 and not _may_exist(_SYSTEM_SOCKET):
        return os.path.join(own, "fdbroker.sock")
    return _SYSTEM_SOCKET


def _may_exist(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        # In a directory that this process may not look into.
        pass
    return True


def _is_foreign_environment() -> bool:
    """Whether a caller with fewer rights chose the environment."""
    return os.getuid() != os.geteuid() or os.getgid() != os.getegid()


def _is_ambiguous(uid: int) -> bool:
    """Whether this number may stand for any user without a number in our user namespace, as the
    kernel's overflow user does. Where that cannot be found out, it may."""
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="ascii") as text:
            overflow = int(text.read())
    except (OSError, ValueError):
        overflow = 65534
    if uid != overflow:
        return False
    try:
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            return sum(int(line.split()[2]) for line in lines) < 2**32 - 1
    except FileNotFoundError:
        # A kernel without user namespaces has no such file, while it has the others.
        return not os.path.exists("/proc/self/stat")
    except (OSError, ValueError, IndexError):
        return True


def _has_room() -> bool:
    """Whether one more descriptor finds room in this process's table."""
    try:
        sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM).close()
    except OSError:
        return False
    return True


class Broker:
    """A session with a broker. Requests block until they are answered.

    When the broker is restarted, the session reconnects, checks again whom it runs as, and repeats
    the request that had no answer yet, for as long as ``retry_for`` allows. So each request is
    carried out at least once, which for these requests has the outcome of once, unless somebody
    else changed the slot in between.

    A tag that is marked serial belongs to the first session that touches it until that session is
    closed; a request of another one waits that long.

    Threads may share a session: they take turns. A child after os.fork() never uses its parent's
    connection: its first request on the session raises Broken, and the next one connects for the
    child itself. The same happens to a session whose descriptor the program has closed, such as
    with os.closerange().
    """

    _sessions: ClassVar[weakref.WeakSet[Broker]] = weakref.WeakSet()

    def __init__(
        self,
        path: Union[str, os.PathLike[str], None] = None,
        *,
        trust: Union[Trust, int] = Trust.ROOT_OR_SELF,
        timeout: Optional[float] = None,
        retry_for: float = 5.0,
    ) -> None:
        """Connects to the broker at a socket, or at :func:`default_socket`.

        trust: whom it may run as. timeout: how many seconds to wait for an answer to begin, and
        again for it to be complete; None is without limit, since a request on a serial tag waits
        for its turn. retry_for: how many seconds to try to get back to a broker that is being
        restarted; 0 turns repeating off. The first connection is tried once.
        """
        self._closed = True
        self._connection: Optional[_Connection] = None
        self._lock = threading.RLock()
        self._sessions.add(self)
        self._path = os.fspath(default_socket() if path is None else path)
        if timeout is not None and timeout <= 0:
            raise ValueError("a timeout is above 0; None is without limit")
        self._trust = trust
        self._timeout = timeout
        self._retry_for = retry_for
        self._closed = False
        try:
            self._connect("connect")
        except _Passing as passing:
            raise passing.error from None

    @property
    def path(self) -> str:
        """The broker's socket."""
        return self._path

    def add(
        self,
        slot: SlotLike,
        descriptor: Optional[DescriptorLike] = None,
        payload: Optional[bytes] = None,
        *,
        number: Optional[int] = None,
    ) -> None:
        """Deposits a descriptor, or a payload, or both; what was in the slot is replaced.

        The descriptor stays open here; the broker has a duplicate. Its number, or the one given
        in its place, is what the next owner finds as :attr:`Deposit.ufd`. With neither a descriptor
        nor a payload it is a ValueError; ``payload=b""`` alone deposits an empty payload.
        """
        place = _slot(slot)
        if descriptor is None and payload is None and number is None:
            raise ValueError("nothing to deposit: give a descriptor, a payload, or both")
        payload = _payload(payload)
        ufd = fd = None if descriptor is None else _number(descriptor)
        if number is not None:
            if fd is None:
                raise ValueError("a number without a descriptor")
            ufd = _within(number, _MAX_INDEX, "number")
        head = _ADD_HEAD.pack(
            _ADD, place.tag, place.index, -1 if ufd is None else ufd, len(payload)
        )
        operation = f"add {place}"
        answer, _ = self._ask(operation, _Request(head + payload, fd))
        self._done(operation, answer)

    def get(self, slot: SlotLike) -> Deposit:
        """Gets what is in a slot; it stays there."""
        place = _slot(slot)
        operation = f"get {place}"
        answer, _ = self._ask(operation, _Request(_SLOT.pack(_GET, place.tag, place.index)))
        if answer.op != _ADD:
            self._failed(operation, answer)
        _, tag, index, ufd, _ = _ADD_HEAD.unpack_from(answer.data)
        if (tag, index) != (place.tag, place.index):
            answer.close()
            self._protocol(operation, "the answer is about another slot")
        payload = answer.data[_ADD_HEAD.size :]
        return Deposit(answer.descriptor, ufd, payload)

    def delete(self, slot: SlotLike) -> None:
        """Deletes what is in a slot. (The protocol calls it del, which Python keeps for itself.)"""
        place = _slot(slot)
        operation = f"del {place}"
        request = _Request(_SLOT.pack(_DEL, place.tag, place.index))
        answer, repeated = self._ask(operation, request)
        if repeated and answer.error() == errno.ENOENT:
            # The request before this one was carried out, and its answer lost.
            return
        self._done(operation, answer)

    def tag(self, number: int) -> Info:
        """Asks how much a tag holds."""
        number = _within(number, _MAX_TAG, "tag")
        operation = f"tag {number}"
        answer, _ = self._ask(operation, _Request(_TAG_ALONE.pack(_TAG, number)))
        if answer.op != _INF:
            self._failed(operation, answer)
        _, _, used, total = _INFO.unpack(answer.data)
        if used < 0 or total < 0:
            self._protocol(operation, "a negative amount")
        return Info(used, total)

    def find(self, name: str) -> Found:
        """Asks what a name means: a resource's name, ``tagname/7``, ``7/3``, or a tag's name alone.

        :class:`Refused` when there is no such name, or nothing there that this process has a right
        on: which of the two is not told.
        """
        body = name.encode()
        if not 1 <= len(body) <= _MAX_NAME or b"\0" in body:
            raise ValueError(f"a name has 1 to {_MAX_NAME} bytes, and no NUL")
        operation = f"find {name!r}"
        answer = self._ask_version2(operation, _FIND, body, _FOUND)
        if len(answer) != _FOUND_BODY.size:
            self._protocol(operation, "a body of the wrong length")
        tag, what, index = _FOUND_BODY.unpack(answer)
        if tag < 0 or (what, index < 0) not in ((0, False), (1, True)):
            self._protocol(operation, "neither a slot nor a tag")
        return Found(tag, None if what == 1 else index)

    def list(self, tag: Optional[int] = None) -> List[Listed]:
        """Asks which slots there are, of one tag or of all: those that this process has the right
        ``list`` on, in the order of tag and index. Whether there are others is not told."""
        operation = "list" if tag is None else f"list {tag}"
        asked = -1 if tag is None else _within(tag, _MAX_TAG, "tag")
        listed: List[Listed] = []
        while True:
            after = listed[-1].slot if listed else Slot(-1, 0)
            body = _LIST_BODY.pack(asked, 0, after.tag, 0, after.index)
            answer = self._ask_version2(operation, _LIST, body, _LISTING)
            try:
                more, page = _listing(answer)
            except (struct.error, ValueError) as error:
                self._protocol(operation, f"a listing that is none: {error}")
            for entry in page:
                if entry.slot <= after or (tag is not None and entry.slot.tag != tag):
                    self._protocol(operation, "the listing is out of order")
                after = entry.slot
            listed += page
            if not more:
                return listed
            if not page:
                self._protocol(operation, "the listing does not go on")

    def instance(self) -> int:
        """Asks for the broker's instance number, which is another one after each of its starts.

        A service that keeps something there asks now and then, and adds it again once the number
        has changed: what the broker could not store beyond its own end is gone by then.
        """
        operation = "instance"
        answer, _ = self._ask(operation, _Request(_GREETING))
        if answer.op != _HEL:
            self._refused_greeting(operation, answer)
        return self._instance(operation, answer)

    def close(self) -> None:
        """Ends the session, and with it the hold on serial tags."""
        with self._lock:
            self._closed = True
            self._drop()

    def __enter__(self) -> Broker:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Broker at {self._path!r}{' (closed)' if self._closed else ''}>"

    def _ask(
        self, operation: str, request: _Request, version2: bool = False
    ) -> Tuple[_Answer, bool]:
        """Sends a request until it is answered, or patience ends. Says as well whether it may have
        been carried out before."""
        with self._lock:
            if self._closed:
                raise ValueError("the session is closed")
            pauses = _pauses(self._retry_for)
            repeated = False
            while True:
                try:
                    answer = self._ask_once(operation, request, version2)
                    if answer.error() != errno.EAGAIN or not next(pauses):
                        return answer, repeated
                except _Passing as passing:
                    repeated = repeated or passing.sent
                    if not next(pauses):
                        raise passing.error from None

    def _ask_once(self, operation: str, request: _Request, version2: bool) -> _Answer:
        connection = self._connect(operation)
        if version2 and not connection.greeted:
            try:
                greeting = self._greet(operation, connection)
            except _Passing as passing:
                # A greeting changes nothing.
                raise _Passing(passing.error, sent=False) from None
            if greeting is not None:
                return greeting
        return self._exchange(operation, connection, request)

    def _greet(self, operation: str, connection: _Connection) -> Optional[_Answer]:
        """Says HEL. Gives the answer of a broker that is starting, and is to be asked again."""
        answer = self._exchange(operation, connection, _Request(_GREETING))
        if answer.op == _HEL:
            self._instance(operation, answer)
            connection.greeted = True
            return None
        if answer.error() == errno.EAGAIN:
            return answer
        self._refused_greeting(operation, answer)

    def _instance(self, operation: str, answer: _Answer) -> int:
        number = _HELLO.unpack(answer.data)[3]
        if number <= 0:
            self._protocol(operation, "an instance number that is none")
        return int(number)

    def _refused_greeting(self, operation: str, answer: _Answer) -> NoReturn:
        if answer.error() == errno.EPROTO:
            what = "speaks version 1 of the protocol only, which has no such request"
            raise Version1(self._sentence(operation, what), errno.EPROTO)
        self._failed(operation, answer)

    def _exchange(
        self, operation: str, connection: _Connection, request: _Request
    ) -> _Answer:
        try:
            answer = connection.exchange(request, self._timeout)
        except _Lost as lost:
            self._drop()
            raise _Passing(self._broken(operation, lost.error), sent=True) from None
        except _Nonsense as nonsense:
            self._protocol(operation, str(nonsense))
        except sockets.timeout:
            self._drop()
            what = f"did not answer within {self._timeout} s; another session may hold the tag"
            raise Timeout(self._sentence(operation, what), errno.ETIMEDOUT) from None
        except OSError as error:
            self._drop()
            raise self._broken(operation, error) from None
        except BaseException:
            # Interrupted half way: what comes next would be the answer to this.
            self._drop()
            raise
        if answer.truncated:
            if not _has_room():
                what = "sent a descriptor that this process has no room for"
                raise NoRoom(self._sentence(operation, what), errno.EMFILE)
            what = (
                "sent a descriptor, and a security module (AppArmor, SELinux) did not let this process"
                " receive it; look for file_receive, or for 'use' of fd, in the kernel's audit log"
            )
            raise Withheld(self._sentence(operation, what), errno.EACCES)
        return answer

    def _connect(self, operation: str) -> _Connection:
        """The connection, made if there is none, to a broker that is trusted."""
        if self._connection is not None:
            return self._connection
        socket = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            # An out-of-band byte stays in its place: passed over, its descriptors would be closed by
            # the kernel inside our recvmsg(2), for as long as that takes.
            socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_OOBINLINE, 1)
            if self._timeout is not None:
                # In the manner of settimeout, a full queue would be an error at once.
                seconds, rest = divmod(self._timeout, 1)
                limit = _TIMEVAL.pack(int(seconds), max(int(rest * 1e6), int(seconds == 0)))
                socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDTIMEO, limit)
            socket.connect(self._path)
            self._check(operation, socket)
        except BaseException as error:
            socket.close()
            if isinstance(error, BlockingIOError) and self._timeout is not None:
                what = f"did not accept a connection within {self._timeout} s"
                raise Timeout(self._sentence(operation, what), errno.ETIMEDOUT) from None
            if not isinstance(error, OSError):
                raise
            broken = self._broken(operation, error)
            if error.errno in _ABSENT:
                raise _Passing(broken, sent=False) from None
            raise broken from None
        self._connection = _Connection(socket)
        return self._connection

    def _check(self, operation: str, socket: sockets.socket) -> None:
        if self._trust is Trust.ANYONE:
            return
        trusted = (0, os.geteuid()) if self._trust is Trust.ROOT_OR_SELF else (self._trust,)
        # Of who called listen(2), see unix(7).
        raw = socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        if uid != 0 and _is_ambiguous(uid):
            what = (
                f"runs as a user that has no number in this user namespace: user id {uid} stands for any such"
                " user, and is not trusted; run this program outside of the user namespace, or map the"
                " broker's user into it"
            )
            raise Untrusted(self._sentence(operation, what), errno.EPERM)
        if uid not in trusted:
            what = f"runs as user id {uid}, which is not trusted"
            raise Untrusted(self._sentence(operation, what), errno.EPERM)

    def _ask_version2(self, operation: str, op: int, body: bytes, expected: int) -> bytes:
        request = _Request(_HEAD.pack(op, 0, len(body)) + body)
        answer, _ = self._ask(operation, request, version2=True)
        if answer.op != expected:
            self._failed(operation, answer)
        return answer.data[_HEAD.size :]

    def _done(self, operation: str, answer: _Answer) -> None:
        if answer.op != _REP or answer.code() != 0:
            self._failed(operation, answer)

    def _failed(self, operation: str, answer: _Answer) -> NoReturn:
        number = answer.error()
        answer.close()
        if number is None:
            self._protocol(operation, "the answer does not belong to the question")
        kinds = {
            errno.EACCES: Refused,
            errno.ENOENT: Absent,
            errno.EDQUOT: Quota,
            errno.EMFILE: Quota,
        }
        name = _error_name(number)
        what = f"answered {name}: {answer.text()!r}"
        raise kinds.get(number, Failed)(self._sentence(operation, what), number)

    def _protocol(self, operation: str, reason: str) -> NoReturn:
        self._drop()
        what = f"sent an invalid answer: {reason}; check that it is a broker's socket"
        raise ProtocolError(self._sentence(operation, what), errno.EPROTO) from None

    def _broken(self, operation: str, error: OSError) -> Broken:
        what = f"cannot be reached: {error.strerror or error}"
        return Broken(self._sentence(operation, what), error.errno)

    def _sentence(self, operation: str, what: str) -> str:
        return f"{operation}: the broker at {self._path!r} {what}"

    @staticmethod
    def _unlock_all() -> None:
        """After os.fork(): a thread that had a session is not there in the child."""
        for session in list(Broker._sessions):
            session._lock = threading.RLock()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


os.register_at_fork(after_in_child=Broker._unlock_all)


class _Request(NamedTuple):
    """A request, ready to be sent."""

    data: bytes
    descriptor: Optional[int] = None


class _Answer:
    """A message from the broker, with its descriptor, if it has one."""

    def __init__(self, data: bytes, descriptor: Optional[Descriptor], truncated: bool) -> None:
        self.data = data
        self.descriptor = descriptor
        self.truncated = truncated

    @property
    def op(self) -> int:
        """Its opcode."""
        return _opcode(self.data)

    def code(self) -> int:
        """The code of a REP."""
        code: int = _REPLY_HEAD.unpack_from(self.data)[1]
        return code

    def error(self) -> Optional[int]:
        """The error that a REP tells."""
        return -self.code() if self.op == _REP and self.code() < 0 else None

    def text(self) -> str:
        """The text of a REP."""
        return self.data[_REPLY_HEAD.size :].split(b"\0")[0].decode(errors="replace")

    def close(self) -> None:
        """Closes what it brought."""
        if self.descriptor is not None:
            self.descriptor.close()


class _Passing(Exception):
    """The broker may be restarting. ``sent``: the request may have been carried out."""

    def __init__(self, error: Error, *, sent: bool) -> None:
        super().__init__(error)
        self.error = error
        self.sent = sent


class _Lost(Exception):
    """The connection ended before the first byte of an answer."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


class _Nonsense(Exception):
    """The answer makes no sense."""


class _Connection:
    """A connected socket. One request is under way at most; after any exception it is out of
    step, and has to be closed."""

    def __init__(self, socket: sockets.socket) -> None:
        self._socket = socket
        self._process = os.getpid()
        self._file = _file(socket.fileno())
        self.greeted = False

    def close(self) -> None:
        """Closes the socket, unless its number is another file's by now: then it is left alone."""
        if self._is_same():
            self._socket.close()
        else:
            self._socket.detach()

    def __del__(self) -> None:
        # What the socket would close itself when it is dropped.
        try:
            if not self._is_same():
                self._socket.detach()
        except (AttributeError, TypeError):
            # Half made, or at the end of the interpreter.
            pass

    def _is_same(self) -> bool:
        """Whether the socket is still the one that was connected. A program that closes descriptors which it did not
        open frees its number, and the next file gets it."""
        number = self._socket.fileno()
        return number >= 0 and _file(number) == self._file

    def _check(self) -> None:
        if not self._is_same():
            what = "this program has closed the session's descriptor, which it did not open"
            raise OSError(errno.ENOTCONN, what)
        if self._process != os.getpid():
            what = "the session belongs to another process, from which this one was forked"
            raise OSError(errno.ENOTCONN, what)

    def exchange(self, request: _Request, timeout: Optional[float]) -> _Answer:
        """Sends a request and waits for its answer."""
        self._check()
        self._socket.settimeout(timeout)
        try:
            self._send(request)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            # A broker may answer and leave before it has read the request; that counts.
            try:
                return self._receive(timeout, sockets.MSG_DONTWAIT)
            except (OSError, _Lost):
                raise _Lost(error) from None
        return self._receive(timeout, 0)

    def _send(self, request: _Request) -> None:
        control = []
        if request.descriptor is not None:
            rights = array.array("i", [request.descriptor])
            control = [(sockets.SOL_SOCKET, sockets.SCM_RIGHTS, rights)]
        sent = 0
        while sent < len(request.data):
            parts = [memoryview(request.data)[sent:]]
            sent += self._socket.sendmsg(parts, control, sockets.MSG_NOSIGNAL)
            # The descriptor went with the first part.
            control = []

    def _receive(self, timeout: Optional[float], flags: int) -> _Answer:
        data = bytearray()
        descriptors: List[Descriptor] = []
        truncated = False
        end: Optional[float] = None
        try:
            while True:
                chunk, more, cut = self._receive_part(flags, started=bool(data))
                data += chunk
                descriptors += more
                truncated = truncated or cut
                size = _size(data)
                if size is not None and len(data) >= size:
                    return _bind(bytes(data), size, descriptors, truncated)
                if timeout is not None:
                    # What comes in small pieces has as long for all of them as for the first.
                    now = time.monotonic()
                    end = now + timeout if end is None else end
                    if now >= end:
                        raise sockets.timeout()
                    self._socket.settimeout(end - now)
        except BaseException:
            _close_all(descriptors)
            raise

    def _receive_part(self, flags: int, started: bool) -> Tuple[bytes, List[Descriptor], bool]:
        """One recvmsg(2): bytes, descriptors, and whether there were more than came.

        socket.recv_fds would not do: it ignores its flags, and its descriptors are inherited by
        every program that is run.
        """
        room = sockets.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
        flags |= sockets.MSG_CMSG_CLOEXEC
        try:
            data, control, found, _ = self._socket.recvmsg(_READ, room, flags)
        except OSError as error:
            if error.errno in _GONE and not started:
                raise _Lost(error) from None
            raise
        descriptors = []
        for level, kind, content in control:
            if (level, kind) == (sockets.SOL_SOCKET, sockets.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                descriptors += [Descriptor(number) for number in numbers]
        truncated = bool(found & sockets.MSG_CTRUNC)
        if not data:
            _close_all(descriptors)
            ended = ConnectionResetError(errno.ECONNRESET, "the connection has ended")
            if started:
                raise ended
            raise _Lost(ended)
        return data, descriptors, truncated


def _file(number: int) -> Optional[Tuple[int, int]]:
    """Which file a descriptor is of; None for one that is not open."""
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _bind(data: bytes, size: int, descriptors: List[Descriptor], truncated: bool) -> _Answer:
    """Makes an answer of a complete message, which nothing may follow, since nothing else was asked;
    with the descriptors that it announces, and no other."""
    if len(data) > size:
        raise _Nonsense("more than one answer came to one request")
    if truncated:
        # What is left of them may be anything.
        _close_all(descriptors)
        return _Answer(data, None, True)
    expected = int(_opcode(data) == _ADD and _ADD_HEAD.unpack_from(data)[3] >= 0)
    if len(descriptors) != expected:
        raise _Nonsense(f"{len(descriptors)} descriptors came, and {expected} were announced")
    return _Answer(data, descriptors[0] if descriptors else None, False)


def _size(data: bytearray) -> Optional[int]:
    """How long the message is that begins here; None while too little is there to tell. Judged
    before anything else of it is waited for."""
    if len(data) < 2:
        return None
    op = _opcode(data)
    heads = {_HEL: _HELLO, _ADD: _ADD_HEAD, _REP: _REPLY_HEAD, _INF: _INFO}
    head = _HEAD if op in _EXTENDED else heads.get(op)
    if head is None:
        raise _Nonsense(f"a message {op}, which is no answer")
    if len(data) < head.size:
        return None
    fields = head.unpack_from(data)
    if op == _ADD:
        return head.size + _length(fields[4], 0, MAX_PAYLOAD)
    if op == _REP:
        if fields[1] > 0:
            raise _Nonsense(f"a code of {fields[1]}")
        return head.size + _length(fields[2], 1, _MAX_TEXT)
    if op in _EXTENDED:
        if fields[1] & 0xFF:
            raise _Nonsense("descriptors are announced with a message that has none")
        return head.size + _length(fields[2], 0, _MAX_BODY)
    return head.size


def _opcode(data: Union[bytes, bytearray]) -> int:
    op: int = struct.unpack_from("=h", data)[0]
    return op


def _length(length: int, least: int, most: int) -> int:
    if not least <= length <= most:
        raise _Nonsense(f"a length of {length} bytes; {least} to {most} are possible")
    return length


def _listing(body: bytes) -> Tuple[bool, List[Listed]]:
    """Reads a page of a listing; a ValueError or struct.error for what is none."""
    more, count = _LISTING_HEAD.unpack_from(body)
    if more not in (0, 1) or count < 0:
        raise ValueError("a head that is none")
    at = _LISTING_HEAD.size
    entries = []
    for _ in range(count):
        tag, kind, marks, index, owner, size, length = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        name = body[at : at + length]
        at += length
        if len(name) != length or tag < 0 or index < 0:
            raise ValueError("an entry that is none")
        entries.append(
            Listed(
                slot=Slot(tag, index),
                kind=_KINDS[kind] if kind < len(_KINDS) else None,
                resource=bool(marks & 1),
                unreachable=bool(marks & 2),
                owner=None if owner == 0xFFFFFFFF else owner,
                size=None if size < 0 else size,
                name=name.decode(),
                route=_ROUTES[marks >> 2 & 3],
                here_only=bool(marks & 16),
            )
        )
    if at != len(body):
        raise ValueError("bytes behind the last entry")
    return more == 1, entries


def _fields(payload: bytes) -> Dict[str, bytes]:
    """The fields of a connection's payload; ValueError if it is none."""
    fields: Dict[str, bytes] = {}
    rest = memoryview(payload)
    if len(rest) > MAX_PAYLOAD:
        raise ValueError("the payload is too large for one of a connection")
    while rest:
        if len(rest) < _FIELD.size:
            raise ValueError("the payload of a connection is cut off")
        name_size, size = _FIELD.unpack_from(rest)
        end = _FIELD.size + name_size + size
        name = bytes(rest[_FIELD.size : _FIELD.size + name_size])
        if len(rest) < end or not 0 < name_size <= _MAX_NAME:
            raise ValueError("the payload of a connection is cut off")
        if not all(0x21 <= byte <= 0x7E for byte in name):
            raise ValueError("a field of the payload has no proper name")
        word = name.decode("ascii")
        if word in fields or (not fields and word != "protocol"):
            raise ValueError(f"the field {word} of the payload is out of place")
        fields[word] = bytes(rest[_FIELD.size + name_size : end])
        rest = rest[end:]
    if not fields:
        raise ValueError("the payload is not one of a connection")
    return fields


def _slot(slot: SlotLike) -> Slot:
    if isinstance(slot, Slot):
        tag, index = slot.tag, slot.index
    elif isinstance(slot, str):
        first, slash, second = slot.partition("/")
        if not (slash and _is_number(first) and _is_number(second)):
            raise ValueError(f"{slot!r} is no slot; write tag/index, or find() what a name means")
        tag, index = int(first), int(second)
    else:
        try:
            tag, index = slot
        except (TypeError, ValueError):
            what = f"{slot!r} is no slot; a slot is \"10/3\", (10, 3) or Slot(10, 3)"
            raise ValueError(what) from None
    return Slot(_within(tag, _MAX_TAG, "tag"), _within(index, _MAX_INDEX, "index"))


def _payload(payload: Optional[bytes]) -> bytes:
    """The payload as it is sent; None stands for an empty one."""
    # bytes() would make as many zeros of a number.
    if isinstance(payload, (str, int)):
        raise TypeError(f"a payload is bytes, not {type(payload).__name__}; encode() makes bytes of text")
    content = b"" if payload is None else bytes(payload)
    if len(content) > MAX_PAYLOAD:
        raise ValueError(f"a payload of {len(content)} bytes; the most is {MAX_PAYLOAD}")
    return content


def _error_name(number: int) -> str:
    """The name of an error number, as the rest of fdbroker writes it."""
    # The same number as ENOTSUP on Linux, which is the name that Python finds.
    if number == errno.EOPNOTSUPP:
        return "EOPNOTSUPP"
    return errno.errorcode.get(number, f"errno {number}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _within(number: int, most: int, what: str) -> int:
    try:
        number = operator.index(number)
    except TypeError:
        what = f"{number!r} is no number of a {what}; find() says which one a name has"
        raise TypeError(what) from None
    if not 0 <= number <= most:
        raise ValueError(f"{number} is no {what}; it is from 0 to {most}")
    return number


def _number(descriptor: DescriptorLike) -> int:
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    # One that is not open must not cost the connection: an OSError, EBADF.
    fcntl.fcntl(number, fcntl.F_GETFD)
    return number


def _close_all(descriptors: List[Descriptor]) -> None:
    for descriptor in descriptors:
        try:
            descriptor.close()
        except OSError:
            # Closed all the same, see close(2).
            pass


def _pauses(limit: float) -> Iterator[bool]:
    """Says, each time, whether to try again, after having slept as long as it should be waited:
    not at all the first time, then for growing pauses, within a bound from the first failure on."""
    end = time.monotonic() + limit
    pause = 0.0
    while True:
        left = end - time.monotonic()
        if left <= 0:
            yield False
        else:
            time.sleep(min(pause, left))
            pause = min(max(pause * 2, 0.001), 0.1)
            yield True
