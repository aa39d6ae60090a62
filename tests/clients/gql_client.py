"""The Python package gql, by default as it comes: it offers both WebSocket protocols, the legacy one first.

    gql_client.py URL DOCUMENT --token TOKEN --count N [--subprotocol NAME]
    gql_client.py URL DOCUMENT --token TOKEN --reconnect [--subprotocol NAME] [--extensions JSON] [--resume]

Prints lines of JSON as the scripts for Node.js do. Without --reconnect the first says which protocol the server
chose; with it the session connects again by itself, and the subscription is begun again, as gql's manual shows.
"""

import argparse
import asyncio
import json

from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportClosed, TransportConnectionFailed
from gql.transport.websockets import WebsocketsTransport

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("document")
parser.add_argument("--token", required=True)
parser.add_argument("--count", type=int)
parser.add_argument("--subprotocol")
parser.add_argument("--reconnect", action="store_true")
parser.add_argument("--extensions", type=json.loads, default={})
parser.add_argument("--resume", action="store_true")
arguments = parser.parse_args()


def say(line):
    print(json.dumps(line), flush=True)


def confirm_sending(transport):
    """An event that is set once the subscription's first message was sent."""
    sent = asyncio.Event()
    send = transport.adapter.send

    async def watched(message):
        await send(message)
        if json.loads(message)["type"] in ("start", "subscribe"):
            sent.set()

    transport.adapter.send = watched
    return sent


def new_transport():
    return WebsocketsTransport(
        url=arguments.url.replace("http", "ws", 1),
        init_payload={"Authorization": f"Bearer {arguments.token}"},
        subprotocols=[arguments.subprotocol] if arguments.subprotocol else None,
    )


async def follow():
    """Goes on for ever, and says each time when the subscription is live."""
    extensions = arguments.extensions
    client = Client(transport=new_transport())
    sent = confirm_sending(client.transport)
    session = await client.connect_async(reconnecting=True, retry_execute=False)

    async def subscribe():
        nonlocal extensions
        request = GraphQLRequest(arguments.document, extensions=extensions)
        async for result in session.subscribe(request, get_execution_result=True):
            say({"data": result.data, "extensions": result.extensions})
            cursor = (result.extensions or {}).get("cursor")
            if arguments.resume and cursor:
                extensions = {**extensions, "cursor": cursor}

    async def confirm():
        # gql keeps results without data to itself, so an acknowledgement would not be seen.
        await sent.wait()
        await session.execute(gql("{ __typename }"))
        say({"extensions": {"subscribed": True}})

    while True:
        sent.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(subscribe())
                tasks.create_task(confirm())
        except* (TransportClosed, TransportConnectionFailed):
            # Connecting is the session's business; its state is not told.
            await asyncio.sleep(0.2)


async def main():
    transport = new_transport()
    sent = confirm_sending(transport)
    async with Client(transport=transport) as session:
        results = session.subscribe(gql(arguments.document))
        first = asyncio.create_task(anext(results))
        await sent.wait()
        # Messages are taken in order, so the answer to a query says that the subscription is live.
        answer = await session.execute(gql("{ __typename }"))
        assert answer == {"__typename": "Query"}, answer
        say({"subscribed": True, "subprotocol": transport.subprotocol})
        say({"data": await first})
        for _ in range(arguments.count - 1):
            say({"data": await anext(results)})
        await results.aclose()


asyncio.run(follow() if arguments.reconnect else main())
