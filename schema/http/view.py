"""GraphQL over HTTP: one schema behind requests, by content negotiation.

Statuses are those of the draft of May 2025: 400 for a request that cannot be executed, 200 for one that was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

from graphql.execution import InitialIncrementalExecutionResult
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from loaders.upstream.logs import log
from schema.http import media
from schema.http.body import read_body
from schema.http.caching import NO_STORE, cache_control, entity_tag, matches
from schema.http.endpoint import ContextValue, Endpoint
from schema.http.headers import first, values
from schema.http.incremental import CurrentFormat, DeferSpec20220824, IncrementalFormat
from schema.http.parameters import Parameters, read_json
from schema.http.refusal import RequestError
from schema.http.results import Answer, fault, formatted, is_request_error, status_of, to_json
from schema.http.streams import (
    EventStream,
    Feed,
    Multipart,
    MultipartSubscription,
    StreamedResponse,
    StreamFormat,
)

RenderPlayground = Callable[[Request], ASGIApp]

_METHODS = ("GET", "HEAD", "POST")


class GraphQLView:
    """An ASGI application that answers GraphQL requests over HTTP with the operations of a schema.

    A GET without an operation that names HTML is answered by ``playground``. ``private`` answers are for one client
    alone, ``vary`` the headers that tell clients apart.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        playground: RenderPlayground | None = None,
        private: bool = False,
        vary: Sequence[str] = (),
    ) -> None:
        self._endpoint = endpoint
        self._playground = playground
        self._private = private
        self._vary = ", ".join(["Accept", *vary])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        async with AsyncExitStack() as stack:
            try:
                response = await self._respond(request, stack)
            except RequestError as error:
                response = self._refuse(request, error)
            except Exception as error:
                headers = {"Cache-Control": NO_STORE}
                response = self._json(500, to_json(formatted(fault(error))), media.JSON, headers)
            try:
                await response(scope, receive, send)
            except TimeoutError:
                log.info("client does not read")

    async def _respond(self, request: Request, stack: AsyncExitStack) -> ASGIApp:
        """The answer to a request; what it needs until it is sent is left on the stack. Raises ``RequestError``."""
        if request.method not in _METHODS:
            raise RequestError(405, "Ask by GET or POST.", headers={"Allow": ", ".join(_METHODS)})
        accept = _accept(request)
        query = [] if request.method == "POST" else request.query_params.multi_items()
        if request.method != "POST" and not query and self._playground is not None and accept.named(media.HTML):
            return self._playground(request)
        await self._endpoint.charge(request, 1)  # before the body costs anything
        if request.method == "POST":
            body = await self._read_body(request)
            if isinstance(body, list):
                return await self._respond_to_batch(request, accept, body)
            parameters = Parameters.of(body)
        else:
            parameters = Parameters.of_query_string(query)
        text = self._endpoint.documents.text_of(parameters)
        if self._endpoint.schema.is_subscription(text, parameters.operation_name, parameters.variables):
            return await self._subscribe(request, accept, parameters, text, stack)
        return await self._execute(request, accept, parameters, text, stack)

    async def _read_body(self, request: Request) -> Any:
        content_type = first(request.scope, b"content-type")
        if content_type != media.JSON:
            name, _, parameters = content_type.partition(";")
            charset = dict(_parameters(parameters)).get("charset", "utf-8")
            if name.strip().lower() != media.JSON or charset.lower() not in ("utf-8", "utf8"):
                raise RequestError(415, "Expected a body of application/json in UTF-8.")
        if first(request.scope, b"content-encoding", "identity").lower() != "identity":
            raise RequestError(415, "Expected a body that is not compressed.")
        return read_json(await read_body(request.receive), "The body")

    # One result

    async def _execute(
        self, request: Request, accept: media.Accept, parameters: Parameters, text: str, stack: AsyncExitStack
    ) -> ASGIApp:
        if (events := accept.prefers_events) or _takes_increments(accept, text):
            return await self._execute_in_parts(request, accept, parameters, text, stack, events=events)
        media_type = _single(accept)
        async with self._endpoint.admission.place():
            context = self._endpoint.get_context(request)
            result = await self._run(text, parameters, context)
        return self._single_response(request, media_type, result, context, parameters)

    async def _run(self, text: str, parameters: Parameters, context: ContextValue) -> ExecutionResult:
        return await self._endpoint.schema.execute(
            text,
            variable_values=parameters.variables,
            operation_name=parameters.operation_name,
            context_value=context,
            allowed_operation_types=(OperationType.QUERY, OperationType.MUTATION),
        )

    async def _respond_to_batch(self, request: Request, accept: media.Accept, body: Sequence[Any]) -> ASGIApp:
        limit = self._endpoint.settings.max_batch_operations
        if not body:
            raise RequestError(400, "The batch has no operations.")
        if len(body) > limit:
            text = f"The batch has {len(body)} operations; {limit} are allowed."
            raise RequestError(400, text if limit > 1 else "Batches are not taken.", "OPERATION_TOO_LARGE")
        _single(accept)
        batch = [Parameters.of(item) for item in body]
        if rest := len(batch) - 1:
            await self._endpoint.charge(request, rest)
        contexts = [self._endpoint.get_context(request) for _ in batch]
        async with self._endpoint.admission.place():
            results = await asyncio.gather(*map(self._execute_one, batch, contexts))
        headers = {"Cache-Control": NO_STORE if any(result.errors for result in results) else self._kept(contexts)}
        return self._json(200, to_json([formatted(result) for result in results]), media.JSON, headers)

    async def _execute_one(self, parameters: Parameters, context: ContextValue) -> ExecutionResult:
        try:
            text = self._endpoint.documents.text_of(parameters)
        except RequestError as error:
            return ExecutionResult(None, [error.graphql_error])
        result = await self._run(text, parameters, context)
        self._remember(parameters, result)
        return result

    def _single_response(
        self,
        request: Request,
        media_type: str,
        result: ExecutionResult,
        context: ContextValue,
        parameters: Parameters,
    ) -> ASGIApp:
        self._remember(parameters, result)
        status = status_of(result) if media_type == media.GRAPHQL_RESPONSE else 200
        body = to_json(formatted(result))
        headers = {"Cache-Control": NO_STORE if result.errors else self._kept([context])}
        if request.method != "POST" and status == 200 and headers["Cache-Control"] != NO_STORE:
            headers["ETag"] = entity_tag(body)
            if matches(", ".join(values(request.scope, b"if-none-match")), headers["ETag"]):
                return Answer(304, {**headers, "Vary": self._vary})
        return self._json(status, body, media_type, headers)

    def _remember(self, parameters: Parameters, result: ExecutionResult) -> None:
        if not is_request_error(result):
            self._endpoint.documents.keep(parameters)

    def _kept(self, contexts: Sequence[ContextValue]) -> str:
        if any(context.trace for context in contexts):
            return NO_STORE
        lifetimes = [lifetime for context in contexts for lifetime in context.lifetimes]
        return cache_control(lifetimes, private=self._private)

    def _json(self, status: int, body: bytes, media_type: str, headers: Mapping[str, str]) -> ASGIApp:
        content_type = f"{media_type}; charset=utf-8"
        return Answer(status, {**headers, "Vary": self._vary, "Content-Type": content_type}, body)

    def _refuse(self, request: Request, error: RequestError) -> ASGIApp:
        media_type = _accept(request).best(media.JSON, media.GRAPHQL_RESPONSE) or media.JSON
        status = error.status
        if error.code == "PERSISTED_QUERY_NOT_FOUND" and media_type == media.JSON:
            status = 200  # a step of Apollo's protocol, which clients take for a lost connection otherwise
        return self._json(status, to_json(error.body), media_type, error.headers)

    # Several parts

    async def _execute_in_parts(
        self,
        request: Request,
        accept: media.Accept,
        parameters: Parameters,
        text: str,
        stack: AsyncExitStack,
        *,
        events: bool,
    ) -> ASGIApp:
        context = self._endpoint.get_context(request)
        context.incremental = not events
        place = await stack.enter_async_context(AsyncExitStack())
        await place.enter_async_context(self._endpoint.admission.place())
        feed = await self._feed(text, parameters, context, stack, place)
        if events:
            return self._streamed(feed, EventStream())
        first: Any = await feed.peek()
        if isinstance(first, InitialIncrementalExecutionResult):
            format = _incremental_format(accept)
            return self._streamed(feed, Multipart(format.media_type, "-"), format)
        return self._single_response(request, _single(accept), first, context, parameters)

    async def _subscribe(
        self, request: Request, accept: media.Accept, parameters: Parameters, text: str, stack: AsyncExitStack
    ) -> ASGIApp:
        format: StreamFormat
        if accept.named(media.EVENT_STREAM):
            format, transport = EventStream(), "sse"
        elif any("subscriptionspec" in one.parameters for one in accept.named(media.MULTIPART)):
            format, transport = MultipartSubscription(), "multipart"
        else:
            types = "text/event-stream, multipart/mixed;subscriptionSpec=1.0"
            raise RequestError(406, f"A subscription is answered over WebSocket, or by one of {types}.")
        stack.enter_context(self._endpoint.streams.opened(transport))
        feed = await self._feed(text, parameters, self._endpoint.get_context(request), stack)
        return self._streamed(feed, format, closing=self._endpoint.streams.closing)

    async def _feed(
        self,
        text: str,
        parameters: Parameters,
        context: ContextValue,
        stack: AsyncExitStack,
        place: AsyncExitStack | None = None,
    ) -> Feed[Any]:
        """The results of an operation, which leaves its place when it has executed, not when its client has read."""

        async def results() -> AsyncGenerator[Any, None]:
            stream = await self._endpoint.schema.stream(
                text,
                variable_values=parameters.variables,
                operation_name=parameters.operation_name,
                context_value=context,
            )
            async with aclosing(stream):
                try:
                    async for result in stream:
                        yield result
                except Exception as error:
                    yield fault(error)
                finally:
                    if place is not None:
                        await place.aclose()

        return await stack.enter_async_context(Feed.of(results()))

    def _streamed(
        self,
        feed: Feed[Any],
        format: StreamFormat,
        increments: IncrementalFormat | None = None,
        *,
        closing: asyncio.Event | None = None,
    ) -> StreamedResponse:
        def encode(result: Any) -> bytes:
            if increments is None:
                return to_json(formatted(result))
            if isinstance(result, ExecutionResult):  # a fault after the first part
                return to_json({**formatted(result), "hasNext": False})
            return to_json(increments.write(result))

        return StreamedResponse(
            feed,
            encode,
            format,
            closing=closing,
            heartbeat_seconds=self._endpoint.settings.heartbeat_seconds,
            send_seconds=self._endpoint.settings.send_timeout_seconds,
            headers={"Vary": self._vary},
        )


def _accept(request: Request) -> media.Accept:
    return media.Accept.of(", ".join(values(request.scope, b"accept")))


def _single(accept: media.Accept) -> str:
    """The media type of one result; raises ``RequestError`` where the client takes none."""
    if accept.one_result is None:
        raise RequestError(406, "Answers are application/graphql-response+json or application/json.")
    return accept.one_result


def _takes_increments(accept: media.Accept, text: str) -> bool:
    if "@defer" not in text and "@stream" not in text:
        return False
    return any("subscriptionspec" not in one.parameters for one in accept.named(media.MULTIPART))


def _incremental_format(accept: media.Accept) -> IncrementalFormat:
    named = accept.named(media.MULTIPART)
    return CurrentFormat() if any("incrementalspec" in one.parameters for one in named) else DeferSpec20220824()


def _parameters(text: str) -> Sequence[tuple[str, str]]:
    pairs = (part.partition("=") for part in text.split(";"))
    return [(name.strip().lower(), value.strip().strip('"')) for name, _, value in pairs]
