"""One request over a real connection: what is sent, what is taken, and what is given back however it ends."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import REGISTRY

from loaders.errors import LoadError, UpstreamResponseError
from loaders.upstream import connections as connecting
from loaders.upstream.background import Background
from loaders.upstream.breaker import Breaker
from loaders.upstream.budget import Budget
from loaders.upstream.calls import logging_requests
from loaders.upstream.connections import Connections
from loaders.upstream.http import HttpClient, RequestPolicy
from loaders.upstream.retries import RetryBudget
from loaders.upstream.tracing import operation_span

NAME = "TESTED"
PATH = "/v1/things"
CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "rojo=1"}

Part = bytes | float | None
"""What an upstream does: it sends, waits so long, or hangs up."""


def answer(body: bytes = b"{}", status: str = "200 OK", *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def chunked(*chunks: bytes, fields: tuple[str, ...] = ()) -> bytes:
    head = "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""]).encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


class Upstream:
    """A server that does for each request what was planned for it, or answers with ``{}``."""

    def __init__(self) -> None:
        self.plans: list[list[Part]] = []
        self.requests: list[bytes] = []
        self.opened = self.closed = 0
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    def plan(self, *parts: Part) -> None:
        self.plans.append([*parts])

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
        async with server:
            yield self
        while self._serving:
            await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.opened += 1
        doing = set()
        unread = b""
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                *requests, unread = (unread + data).split(b"\r\n\r\n")
                for request in requests:
                    self.requests.append(request)
                    doing.add(asyncio.create_task(self._do(self.plans.pop(0) if self.plans else [answer()], writer)))
        self.closed += 1
        for one in doing:
            one.cancel()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self._serving.discard(task)

    async def _do(self, plan: list[Part], writer: asyncio.StreamWriter) -> None:
        for part in plan:
            if isinstance(part, bytes):
                writer.write(part)
            elif isinstance(part, float):
                await asyncio.sleep(part)
            else:
                writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream().listening() as upstream:
        yield upstream


@asynccontextmanager
async def asking(
    url: str,
    *,
    connector: Callable[[], aiohttp.BaseConnector] = aiohttp.TCPConnector,
    headers: dict[str, str] | None = None,
    request_seconds: float = 10.0,
    retries: int = 0,
    backoff_seconds: float = 0.001,
    places: int = 64,
) -> AsyncIterator[HttpClient]:
    connections, background = Connections(connector()), Background()
    try:
        yield HttpClient(
            lambda: connections,
            NAME,
            url,
            headers or {},
            policy=RequestPolicy(
                request_seconds=request_seconds,
                connect_seconds=0.3,
                retries=retries,
                backoff_seconds=backoff_seconds,
                hedge=False,
                max_per_operation=100,
            ),
            budget=Budget(NAME, requests_per_minute=0, connections=places, max_waiting=9, background=background),
            breaker=Breaker(NAME, failure_rate=0.0, min_requests=1, open_seconds=1, background=background),
            retry_budget=RetryBudget(1.0),
        )
    finally:
        await connections.close()


async def get(client: HttpClient, path: str = PATH, within_seconds: float = 20.0, **params: str) -> bytes:
    deadline = asyncio.get_running_loop().time() + within_seconds
    return (await client.get_body(path, params, lambda body: body, deadline)).value


async def code(client: HttpClient, within_seconds: float = 20.0) -> str:
    """How a request goes."""
    try:
        await get(client, within_seconds=within_seconds)
    except LoadError as error:
        return error.code.value
    return "OK"


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"walletgraph_upstream_{name}", {"source": NAME, **labels}) or 0.0


def assert_all_is_given_back() -> None:
    assert (metric("requests_running"), metric("requests_waiting")) == (0, 0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class TestWhatIsSent:
    async def test_it_is_as_short_as_can_be(self, upstream: Upstream) -> None:
        async with asking(f"{upstream.url}/api/", headers={"x-api-key": "secret"}) as client:
            with operation_span("operation", CALLER):
                await get(client, PATH, limit="5", ids="a:1,b/2")
        line, *fields = upstream.requests[0].decode().split("\r\n")
        told = dict(field.split(": ", 1) for field in fields)
        assert len(told) == len(fields)
        assert line == "GET /api/v1/things?limit=5&ids=a:1,b/2 HTTP/1.1"
        assert told.pop("Host") == upstream.url.removeprefix("http://")
        assert "gzip" in told.pop("Accept-Encoding")
        assert told.pop("traceparent").startswith("00-0af7651916cd43dd8448eb211c80319c-")
        assert told == {
            "Accept": "application/json",
            "User-Agent": "walletgraph",
            "x-api-key": "secret",
            "tracestate": "rojo=1",
        }

    async def test_no_value_gets_out_of_its_place(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            await get(client, q="a b&c=d\r\nX-More: 1\x00", name="é+%", empty="")
        line, *fields = upstream.requests[0].decode().split("\r\n")
        assert line == "GET /v1/things?q=a%20b%26c%3Dd%0D%0AX-More:%201%00&name=%C3%A9%2B%25&empty= HTTP/1.1"
        assert not any(field.startswith("X-More") for field in fields)

    async def test_what_would_be_two_requests_is_none(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            with pytest.raises(ValueError, match="control"):
                await get(client, "/v1\r\n\r\nGET /v2")
        async with asking(upstream.url, headers={"x-api-key": "k\r\nX-More: 1"}) as client:
            with pytest.raises(ValueError, match="control"):
                await get(client)
        assert upstream.opened == 0
        assert_all_is_given_back()

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "/v1", ""])
    async def test_an_address_that_is_none_is_unreachable(self, url: str) -> None:
        async with asking(url, retries=2) as client:
            sent = metric("retries_total")
            assert await code(client) == "UNREACHABLE"
            assert metric("retries_total") == sent

    async def test_a_request_is_under_way_before_anything_is_waited_for(self) -> None:
        """Or those of one operation would go out one after the other."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            second = threading.Event()

            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer())
                    connection.recv(65_536)
                    second.set()
                    connection.recv(65_536)

            thread = threading.Thread(target=serve)
            thread.start()
            async with asking(f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
                await get(client)
                asked = get(client)
                asked.send(None)
                assert second.wait(10)  # the loop has not run meanwhile
                assert metric("requests_running") == 1
                asked.close()
                assert_all_is_given_back()
            thread.join(10)


class TestConnections:
    @pytest.mark.parametrize("status", ["200 OK", "400 Bad", "404 Not", "429 Many", "500 Oh", "503 No", "302 There"])
    async def test_one_is_used_again_whatever_the_status(self, upstream: Upstream, status: str) -> None:
        async with asking(upstream.url) as client:
            for _ in range(3):
                upstream.plan(answer(b'{"a": 1}', status, "Location: /elsewhere"))
                await code(client)
            await get(client)
        assert (upstream.opened, len(upstream.requests)) == (1, 4)
        assert all(b" /v1/things " in request for request in upstream.requests)

    @pytest.mark.parametrize("status", ["204 Nothing", "304 Same"])
    async def test_one_without_a_body_is_used_again(self, upstream: Upstream, status: str) -> None:
        async with asking(upstream.url) as client:
            upstream.plan(f"HTTP/1.1 {status}\r\n\r\n".encode())
            assert await code(client) == "BAD_RESPONSE"
            await get(client)
        assert upstream.opened == 1

    async def test_one_that_is_not_read_to_the_end_is_closed(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            upstream.plan(answer(b" " * 5_000_000, "500 Oh"))
            assert await code(client) == "UPSTREAM_ERROR"
            await get(client)
            await until(lambda: upstream.closed == 1)
        assert upstream.opened == 2

    @pytest.mark.parametrize(
        "parts",
        [
            (answer(b"{}", "200 OK", "Connection: close"), None),
            (b"HTTP/1.0 200 OK\r\n\r\n{}", None),
            (b"HTTP/1.1 200 OK\r\n\r\n{", 0.01, b"}", None),
        ],
    )
    async def test_one_that_the_upstream_closes_is_replaced(
        self, upstream: Upstream, parts: tuple[Part, ...]
    ) -> None:
        async with asking(upstream.url) as client:
            upstream.plan(*parts)
            assert await get(client) == b"{}"
            assert await get(client) == b"{}"
        assert upstream.opened == 2

    async def test_a_request_that_gets_no_answer_is_not_sent_again_by_itself(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            await get(client)
            upstream.plan(None)
            assert await code(client) == "UNREACHABLE"
        assert len(upstream.requests) == 2

    async def test_an_answer_that_nobody_asked_for_is_nobody_s(self, upstream: Upstream) -> None:
        async with asking(upstream.url, retries=1) as client:
            upstream.plan(answer(b'"mine"'), 0.01, answer(b'"whose?"'))
            assert await get(client) == b'"mine"'
            await asyncio.sleep(0.05)
            upstream.plan(answer(b'"mine"'))
            assert await get(client) == b'"mine"'
        assert (upstream.opened, len(upstream.requests)) == (2, 2)

    async def test_two_answers_at_once_are_one_too_many(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            upstream.plan(answer(b'"mine"') + answer(b'"whose?"'))
            assert await get(client) == b'"mine"'
            assert await get(client) == b"{}"
        assert upstream.opened == 2

    async def test_an_upstream_that_speaks_first_is_not_understood(self) -> None:
        gone = asyncio.Event()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 welcome\r\n")
            await reader.read()
            writer.close()
            gone.set()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, asking(url) as client:
            assert await code(client) == "BAD_RESPONSE"
            await gone.wait()
        assert_all_is_given_back()

    async def test_what_is_said_beforehand_is_not_the_answer(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
            upstream.plan(b"HTTP/1.1 102 Processing\r\n\r\n", 0.01, early + answer(b'"this"'))
            assert await get(client) == b'"this"'
            await get(client)
        assert upstream.opened == 1

    async def test_another_protocol_is_no_answer(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            upstream.plan(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert await code(client) == "BAD_RESPONSE"
            await get(client)
        assert upstream.opened == 2

    async def test_over_tls_it_is_the_same(self, tmp_path: Path) -> None:
        theirs, ours = _certificates(tmp_path)
        async with Upstream().listening(theirs) as upstream:
            async with asking(upstream.url, connector=lambda: aiohttp.TCPConnector(ssl=ours)) as client:
                for body in (b'"a"', b'"%b"' % (b"x" * 1_000_000)):
                    upstream.plan(answer(body))
                    assert await get(client) == body
            assert upstream.opened == 1
            async with asking(upstream.url) as client:  # which knows nobody who vouches for it
                assert await code(client) == "UNREACHABLE"
            assert len(upstream.requests) == 2


def _certificates(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server on localhost, and for those who trust it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (file := folder / "chain.pem").write_bytes(certificate.public_bytes(pem) + private)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(file)
    return theirs, ssl.create_default_context(cafile=file)


class TestBounds:
    LIMIT = 200_000

    @pytest.fixture(autouse=True)
    def _limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connecting, "MAX_BODY_BYTES", self.LIMIT)

    @pytest.mark.parametrize("over", [0, 1])
    @pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
    @pytest.mark.parametrize("pieces", [0, 1, 7])
    async def test_a_body_counts_as_it_is_read(
        self, upstream: Upstream, encoding: str, pieces: int, over: int
    ) -> None:
        body = b" " * (self.LIMIT + over)
        sent = {"identity": body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[encoding]
        field = f"Content-Encoding: {encoding}"
        size = len(sent) // max(pieces, 1) + 1
        chunks = [sent[at : at + size] for at in range(0, len(sent), size)]
        upstream.plan(chunked(*chunks, fields=(field,)) if pieces else answer(sent, "200 OK", field))
        async with asking(upstream.url) as client:
            if over:
                assert await code(client) == "BAD_RESPONSE"
            else:
                assert await get(client) == body
            await get(client)
        assert upstream.opened == 1 + over

    async def test_of_what_is_packed_a_thousandfold_no_more_is_unpacked_than_is_read(
        self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken = 0
        feed = aiohttp.StreamReader.feed_data

        def counting(reader: aiohttp.StreamReader, data: bytes, size: int = 0) -> bool:
            nonlocal taken
            taken += len(data)
            return feed(reader, data, size)

        monkeypatch.setattr(aiohttp.StreamReader, "feed_data", counting)
        upstream.plan(answer(gzip.compress(b" " * 50_000_000, 9), "200 OK", "Content-Encoding: gzip"))
        async with asking(upstream.url) as client:
            assert await code(client) == "BAD_RESPONSE"
        assert taken < 5_000_000

    @pytest.mark.parametrize("encoding", ["identity", "gzip"])
    async def test_a_refusal_that_is_too_long_is_a_refusal(self, upstream: Upstream, encoding: str) -> None:
        body = b'{"code": "NOT_YOURS"}' + b" " * 70_000
        sent = gzip.compress(body) if encoding == "gzip" else body
        upstream.plan(answer(sent, "403 Forbidden", f"Content-Encoding: {encoding}"))
        async with asking(upstream.url) as client:
            assert await code(client) == "FORBIDDEN"
            await get(client)

    @pytest.mark.parametrize(
        "parts",
        [
            (answer(b"{}")[:-1], None),
            (chunked(b"{}")[:-7], None),
            (answer(b"no gzip at all", "200 OK", "Content-Encoding: gzip"),),
            (answer(zlib.compress(b"{}")[:-5], "200 OK", "Content-Encoding: deflate"),),
        ],
    )
    async def test_a_body_that_is_not_whole_is_no_body(self, upstream: Upstream, parts: tuple[Part, ...]) -> None:
        upstream.plan(*parts)
        async with asking(upstream.url) as client:
            assert await code(client) == "BAD_RESPONSE"
            await get(client)
        assert upstream.opened == 2


class _NoAddress(aiohttp.abc.AbstractResolver):
    """Looks for addresses, and finds none before it is given up."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        await asyncio.Event().wait()
        return []

    async def close(self) -> None:
        pass


class TestDeadlines:
    @pytest.mark.parametrize("parts", [(9.0,), (answer()[:9], 9.0), (answer()[:-1], 9.0)])
    @pytest.mark.parametrize("seconds", [(0.1, 20.0), (10.0, 0.1)], ids=["request", "caller"])
    async def test_they_end_a_request_wherever_it_is(
        self, upstream: Upstream, parts: tuple[Part, ...], seconds: tuple[float, float]
    ) -> None:
        request_seconds, within_seconds = seconds
        upstream.plan(*parts)
        async with asking(upstream.url, request_seconds=request_seconds) as client:
            started = asyncio.get_running_loop().time()
            assert await code(client, within_seconds) == "TIMEOUT"
            assert 0.095 <= asyncio.get_running_loop().time() - started < 3
            await until(lambda: upstream.closed == 1)
            assert await code(client, 20.0) == "OK"
        assert_all_is_given_back()

    async def test_who_drips_is_not_waited_for(self, upstream: Upstream) -> None:
        upstream.plan(*[part for byte in answer() for part in (bytes([byte]), 0.02)])
        async with asking(upstream.url, request_seconds=0.2) as client:
            assert await code(client) == "TIMEOUT"

    async def test_a_connection_that_does_not_open_in_its_time_is_unreachable(self) -> None:
        with socket.socket() as full:  # whoever connects to it is not let in
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            with socket.create_connection(full.getsockname()):
                async with asking(f"http://127.0.0.1:{full.getsockname()[1]}") as client:
                    started = asyncio.get_running_loop().time()
                    assert await code(client) == "UNREACHABLE"
                    assert asyncio.get_running_loop().time() - started < 3
        assert_all_is_given_back()

    async def test_a_search_for_an_address_is_part_of_a_request(self) -> None:
        connector = lambda: aiohttp.TCPConnector(resolver=_NoAddress())  # noqa: E731
        async with asking("http://nowhere.invalid", connector=connector, request_seconds=0.1) as client:
            assert await code(client) == "TIMEOUT"
        assert_all_is_given_back()

    async def test_each_of_many_ends_at_its_own(self, upstream: Upstream) -> None:
        loop = asyncio.get_running_loop()
        async with asking(upstream.url) as client:

            async def ask(seconds: float) -> float:
                started = loop.time()
                assert await code(client, seconds) == "TIMEOUT"
                return loop.time() - started

            all_seconds = [0.5, 0.1, 0.3, 0.1, 0.2, 0.4, 0.6, 0.15]
            for _ in all_seconds:
                upstream.plan(9.0)
            took = await asyncio.gather(*map(ask, all_seconds))
        for expected, seconds in zip(all_seconds, took, strict=True):
            assert expected - 0.005 <= seconds < expected + 1.0
        assert sorted(all_seconds) == [seconds for _, seconds in sorted(zip(took, all_seconds, strict=True))]

    async def test_one_that_comes_when_others_were_in_time_is_kept(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            for _ in range(30):
                assert await code(client, 0.5) == "OK"
                await asyncio.sleep(0.02)
            upstream.plan(9.0)
            assert await code(client, 0.2) == "TIMEOUT"

    async def test_who_is_cancelled_when_it_comes_stays_cancelled(self, upstream: Upstream) -> None:
        deadlines = connecting._Deadlines()
        when = asyncio.get_running_loop().time() + 0.05

        async def wait() -> None:
            with connecting._Deadline(deadlines, when):
                await asyncio.sleep(9)

        task = asyncio.create_task(wait())
        asyncio.get_running_loop().call_at(when, task.cancel)  # in the same turn of the loop
        asyncio.get_running_loop().call_at(when, deadlines._expire)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not deadlines.pending

    async def test_one_within_another_ends_itself_alone(self) -> None:
        deadlines, now = connecting._Deadlines(), asyncio.get_running_loop().time()
        with connecting._Deadline(deadlines, now + 9):
            with pytest.raises(TimeoutError), connecting._Deadline(deadlines, now + 0.02):
                await asyncio.sleep(9)
            await asyncio.sleep(0)
        async with asyncio.timeout(9):
            with pytest.raises(TimeoutError), connecting._Deadline(deadlines, now - 1):
                await asyncio.sleep(9)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async def test_other_errors_pass(self) -> None:
        deadlines, now = connecting._Deadlines(), asyncio.get_running_loop().time()
        with pytest.raises(KeyError), connecting._Deadline(deadlines, now + 9):
            raise KeyError
        assert not deadlines.pending


class TestCancellation:
    @pytest.mark.parametrize(
        "parts",
        [(9.0,), (answer()[:9], 9.0), (answer()[:-1], 9.0), (answer(b"{}", "500 Oh")[:-1], 9.0)],
        ids=["no answer", "head", "body", "refusal"],
    )
    async def test_one_that_waits_for_an_answer_closes_its_connection(
        self, upstream: Upstream, parts: tuple[Part, ...]
    ) -> None:
        upstream.plan(*parts)
        async with asking(upstream.url, connector=lambda: aiohttp.TCPConnector(limit=1)) as client:
            with logging_requests() as requests:
                task = asyncio.create_task(get(client))
                await until(lambda: len(upstream.requests) == 1)
                await asyncio.sleep(0.02)
                await give_up(task)
            assert requests.requests == {NAME: 1}
            assert_all_is_given_back()
            await until(lambda: upstream.closed == 1)
            await get(client)
        assert upstream.opened == 2

    async def test_one_that_waits_for_its_place(self, upstream: Upstream) -> None:
        upstream.plan(9.0)
        async with asking(upstream.url, places=1) as client:
            first = asyncio.create_task(get(client))
            await until(lambda: len(upstream.requests) == 1)
            with logging_requests() as requests:
                second = asyncio.create_task(get(client))
                await until(lambda: metric("requests_waiting") == 1)
                await give_up(second)
            assert requests.requests == {NAME: 0}
            await give_up(first)
            assert_all_is_given_back()
            await get(client)

    async def test_one_that_waits_for_a_connection_to_be_free(self, upstream: Upstream) -> None:
        upstream.plan(9.0)
        async with asking(upstream.url, connector=lambda: aiohttp.TCPConnector(limit=1)) as client:
            first, second = asyncio.create_task(get(client)), asyncio.create_task(get(client))
            await until(lambda: metric("requests_running") == 2 and len(upstream.requests) == 1)
            await give_up(second)
            await give_up(first)
            assert_all_is_given_back()
            await get(client)

    async def test_one_that_looks_for_an_address(self) -> None:
        connector = lambda: aiohttp.TCPConnector(resolver=_NoAddress(), limit=1)  # noqa: E731
        async with asking("http://nowhere.invalid", connector=connector) as client:
            for _ in range(2):
                task = asyncio.create_task(get(client))
                await until(lambda: metric("requests_running") == 1)
                await asyncio.sleep(0.01)
                await give_up(task)
                assert_all_is_given_back()

    async def test_one_that_waits_to_try_again(self, upstream: Upstream) -> None:
        upstream.plan(answer(b"{}", "500 Oh"))
        async with asking(upstream.url, retries=1, backoff_seconds=9.0) as client:
            task = asyncio.create_task(get(client))
            await until(lambda: len(upstream.requests) == 1)
            await until(lambda: metric("requests_running") == 0)
            await asyncio.sleep(0.01)
            await give_up(task)
            assert_all_is_given_back()
            await get(client)
        assert (upstream.opened, len(upstream.requests)) == (1, 2)

    async def test_at_any_moment(self, upstream: Upstream) -> None:
        """After so many turns of the loop."""
        async with asking(upstream.url, connector=lambda: aiohttp.TCPConnector(limit=1)) as client:
            for turns in range(40):
                task = asyncio.create_task(get(client))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await give_up(task)
                assert_all_is_given_back()
            assert await get(client) == b"{}"


async def give_up(task: asyncio.Task[bytes]) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.done()


class TestGarbage:
    """What is left for the garbage collector makes all wait while it is collected."""

    FATES: ClassVar[Mapping[str, tuple[Part, ...]]] = {
        "answered": (answer(),),
        "refused": (answer(b"{}", "500 Oh"),),
        "not JSON": (answer(b"<html>"),),
        "truncated": (answer()[:-1], None),
        "lost": (None,),
        "late": (9.0,),
    }

    @pytest.mark.parametrize("fate", FATES)
    async def test_a_request_leaves_none(self, upstream: Upstream, fate: str) -> None:
        async with asking(upstream.url, retries=1, request_seconds=0.01 if fate == "late" else 9.0) as client:

            async def ask() -> None:
                deadline = asyncio.get_running_loop().time() + 9
                with operation_span("operation", CALLER), logging_requests(), suppress(LoadError):
                    await client.get(PATH, {"limit": "5"}, lambda records: records, deadline)

            for times in (1, 10):  # the first ones set up what stays
                upstream.plans = [[*self.FATES[fate]] for _ in range(2 * times)]
                with collecting() as left:
                    for _ in range(times):
                        await ask()
        assert Counter(filter(None, map(_ours, left))) == {}

    async def test_one_that_is_cancelled_leaves_none(self, upstream: Upstream) -> None:
        async with asking(upstream.url) as client:
            await get(client)
            upstream.plans = [[9.0] for _ in range(5)]
            with collecting() as left:
                for _ in range(5):
                    task = asyncio.create_task(get(client))
                    await asyncio.sleep(0.01)
                    await give_up(task)
                    del task
        assert Counter(filter(None, map(_ours, left))) == {}


@contextmanager
def collecting() -> Iterator[list[object]]:
    """Gives, at the end, all that only a collection would have freed."""
    left: list[object] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
        left += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def _ours(thing: object) -> str | None:
    """What it is, if our side of the connection has made it or is held by it."""
    frame = getattr(thing, "cr_frame", None) or thing
    if isinstance(frame, FrameType) and Path(frame.f_code.co_filename).parent == Path(connecting.__file__).parent:
        return f"a frame of {frame.f_code.co_qualname}"
    if isinstance(thing, BaseException) or type(thing).__module__.startswith(("loaders.", "aiohttp.")):
        return type(thing).__qualname__
    return None


async def test_an_error_tells_the_numbers_of_all_its_requests(upstream: Upstream) -> None:
    async with asking(upstream.url, retries=2) as client:
        for _ in range(3):
            upstream.plan(answer(b"{}", "503 No"))
        with pytest.raises(LoadError) as failed:
            await get(client)
        assert len(failed.value.calls) == 3
        deadline = asyncio.get_running_loop().time() + 9
        fetched = await client.get(PATH, {}, lambda records: records, deadline)
        assert len(fetched.calls) == 1
        assert not fetched.calls & failed.value.calls


async def test_what_reads_an_answer_may_say_that_it_is_none(upstream: Upstream) -> None:
    def refuse(body: bytes) -> None:
        raise UpstreamResponseError

    async with asking(upstream.url, retries=2) as client:
        with pytest.raises(UpstreamResponseError) as failed:
            await client.get_body(PATH, {}, refuse, asyncio.get_running_loop().time() + 9)
        assert len(failed.value.calls) == 1
        await get(client)
    assert upstream.opened == 1


async def test_a_fault_of_ours_is_none_of_the_upstream_s(upstream: Upstream) -> None:
    def fault(body: bytes) -> None:
        raise KeyError("ours")

    async with asking(upstream.url, retries=2) as client:
        with pytest.raises(KeyError) as raised:
            await client.get_body(PATH, {}, fault, asyncio.get_running_loop().time() + 9)
        assert raised.traceback[-1].name == "fault"
        assert_all_is_given_back()
