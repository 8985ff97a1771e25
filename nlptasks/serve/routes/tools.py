"""`POST /mcp`: the tasks as tools of the Model Context Protocol, over streamable HTTP without sessions."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from nlptasks import __version__
from nlptasks.serve.bodies import read_object
from nlptasks.serve.faults import CLIENT_CLOSED, Fault, answer_of
from nlptasks.serve.routes import tasks
from nlptasks.serve.state import State

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from nlptasks import AnyTask

PATH = "/mcp"
INVALID_PARAMS = -32602
"""JSON-RPC's code for a request of another form."""


class Tools:
    """The ASGI app of the route. Each message is answered as JSON, and there is nothing to keep between two of them.

    The types of `mcp` take a while to import, so that only a server does it.
    """

    path = PATH
    """As the log and the metrics name it."""

    def __init__(self, state: State) -> None:
        from mcp import types
        from mcp.server.lowlevel import Server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        self._state, self._types = state, types
        self._tools = [_tool(task) for task in state.engine.plugins.tasks.values()]
        self._server: Server[Any, Request] = Server("nlptasks", __version__)
        # Its decorators validate in sentences of another language, and log the names of unknown tools.
        self._server.request_handlers |= {types.ListToolsRequest: self._list, types.CallToolRequest: self._call}
        most = int(state.settings.max_body_mb * 1024**2) + 1
        self._manager: StreamableHTTPSessionManager = StreamableHTTPSessionManager(
            self._server, json_response=True, stateless=True, max_request_body_size=most
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """What must be entered as long as the app runs."""
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        scope["route"] = self
        content = await read_object(request, self._state.settings)
        if reply := self._reply(content):
            await reply(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": json.dumps(content).encode(), "more_body": False}]
        request.state.left = False

        async def replay() -> Message:
            return pending.pop() if pending else await receive()

        async def answer(message: Message) -> None:
            # Nobody receives it, and the log should say so.
            if not request.state.left:
                await send(message)

        await self._manager.handle_request(scope, replay, answer)

    def _reply(self, content: dict[str, Any]) -> Response | None:
        """The answer to what is no request; a message that does not fit must not reach the log of the package."""
        if "method" in content and "id" not in content:
            return Response(status_code=202)
        try:
            message = self._types.JSONRPCRequest.model_validate(content)
        except ValidationError:
            raise Fault(400, "Expected a message of the Model Context Protocol, found another object.") from None
        try:
            self._types.ClientRequest.model_validate(message.model_dump(exclude={"jsonrpc", "id"}, exclude_none=True))
        except ValidationError:
            text = f"Expected a request of the Model Context Protocol, found {message.method[:60]!r} or its parameters."
            fault = {"code": INVALID_PARAMS, "message": text}
            return JSONResponse({"jsonrpc": "2.0", "id": message.id, "error": fault})
        return None

    async def _list(self, _: Any) -> Any:
        return self._types.ServerResult(self._types.ListToolsResult(tools=self._tools))

    async def _call(self, call: Any) -> Any:
        types, request = self._types, self._server.request_context.request
        assert request
        try:
            text, result = await self._answer(request, call.params.name, call.params.arguments or {})
        except Exception as error:
            status, body, _ = answer_of(error)
            request.state.left = status == CLIENT_CLOSED
            text, result = body["error"]["message"], None
        content = [types.TextContent(type="text", text=text)]
        return types.ServerResult(
            types.CallToolResult(content=content, structuredContent=result, isError=result is None)
        )

    async def _answer(self, request: Request, name: str, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """A result as text and as values; raises Fault for a list, which is no object, and for a stream."""
        if others := [key for key in ("inputs", "stream") if key in content]:
            raise Fault(422, f"{others[0]}: expected the fields of one input, found more: call the tool once for each.")
        response = await tasks.answer(request, self._state, name, content)
        text = bytes(response.body).decode()
        return text, json.loads(text)


def add_routes(app: FastAPI, state: State) -> Tools:
    """Add the route; returns what must run with the app."""
    tools = Tools(state)
    app.router.routes.append(Route(PATH, tools, methods=["POST"], include_in_schema=False))
    return tools


def _tool(task: AnyTask) -> Any:
    from mcp import types

    return types.Tool(
        name=task.name,
        description=task.summary,
        inputSchema=tasks.body_type(task, single=True).model_json_schema(),
        outputSchema=task.result_type.model_json_schema(mode="serialization"),
        annotations=types.ToolAnnotations(readOnlyHint=True, openWorldHint=False),
    )
