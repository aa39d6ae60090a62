"""The Python package gql, by default as it comes: it offers both WebSocket protocols, the legacy one first.

    gql_client.py URL DOCUMENT --token TOKEN --count N [--subprotocol NAME]

Prints lines of JSON as the scripts for Node.js do, the first with the protocol that the server chose.
"""

import argparse
import asyncio
import json

from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("document")
parser.add_argument("--token", required=True)
parser.add_argument("--count", type=int, required=True)
parser.add_argument("--subprotocol")
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


async def main():
    transport = WebsocketsTransport(
        url=arguments.url.replace("http", "ws", 1),
        init_payload={"Authorization": f"Bearer {arguments.token}"},
        subprotocols=[arguments.subprotocol] if arguments.subprotocol else None,
    )
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


asyncio.run(main())
