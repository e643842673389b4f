#!/usr/bin/env python3
"""rude: requests that no well-meaning client sends, over each version of HTTP.

    rude 10.0.0.1 443 cases.json

A case is {"http": 1, "text": ...}, octets as they go over TLS, or {"http": 2 or 3, "fields":
[[name, value], ...], "body": ...}, a field section as it is encoded; each octet is a character. Each
has a connection of its own, one after the other. The outcomes come as one line of JSON:

    "200"           the status; over HTTP/1.1 of all responses up to the connection's end
    "reset 0x10e"   the stream was reset with that code
    "closed 0x100"  the connection was closed with that code
    "silence"       nothing came in time

The libraries below check what they are asked to send; here they are told not to.
"""
import asyncio
import json
import re
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

PATIENCE = 10


def octets(text):
    return text.encode("latin-1")


def fields_of(case):
    return [(octets(name), octets(value)) for name, value in case["fields"]]


def over_tls(address, protocol):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    plain = socket.create_connection(address, PATIENCE)
    return context.wrap_socket(plain, server_hostname="localhost")


def received(stream):
    """What comes, piece by piece; ends with the connection, however that ends."""
    try:
        while piece := stream.recv(65536):
            yield piece
    except (ConnectionError, ssl.SSLError):
        pass


def http1(address, case):
    with over_tls(address, "http/1.1") as stream:
        try:
            stream.sendall(octets(case["text"]))
            answers = b"".join(received(stream))
        except TimeoutError:
            return "silence"
        except (ConnectionError, ssl.SSLError):
            return "closed"
    return " ".join(status.decode() for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)) or "closed"


def http2(address, case):
    config = h2.config.H2Configuration(
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
        header_encoding="latin-1",
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    body = octets(case["body"])
    connection.send_headers(1, fields_of(case), end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    with over_tls(address, "h2") as stream:
        try:
            stream.sendall(connection.data_to_send())
            for piece in received(stream):
                for event in connection.receive_data(piece):
                    if isinstance(event, h2.events.ResponseReceived):
                        return dict(event.headers)[":status"]
                    if isinstance(event, h2.events.StreamReset):
                        return f"reset {int(event.error_code):#x}"
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return f"closed {int(event.error_code):#x}"
        except TimeoutError:
            return "silence"
    return "closed"


class Http3(QuicConnectionProtocol):
    def __init__(self, quic, **others):
        super().__init__(quic, **others)
        self.h3, self.outcome = H3Connection(quic), asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.comes(f"closed {event.error_code:#x}")
        if isinstance(event, StreamReset):
            self.comes(f"reset {event.error_code:#x}")
        for part in self.h3.handle_event(event):
            if isinstance(part, HeadersReceived):
                self.comes(dict(part.headers)[b":status"].decode())

    def comes(self, outcome):
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    async def ask(self, case):
        stream, body = self._quic.get_next_available_stream_id(), octets(case["body"])
        self.h3.send_headers(stream, fields_of(case), end_stream=not body)
        if body:
            self.h3.send_data(stream, body, True)
        self.transmit()
        return await asyncio.wait_for(self.outcome, PATIENCE)


async def http3(address, case):
    conf = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="localhost")
    try:
        async with connect(*address, configuration=conf, create_protocol=Http3) as client:
            return await client.ask(case)
    except asyncio.TimeoutError:
        return "silence"


def outcome(address, case):
    match case["http"]:
        case 1:
            return http1(address, case)
        case 2:
            return http2(address, case)
        case _:
            return asyncio.run(http3(address, case))


def main():
    address = (sys.argv[1], int(sys.argv[2]))
    with open(sys.argv[3], encoding="utf-8") as file:
        cases = json.load(file)
    print(json.dumps([outcome(address, case) for case in cases]))


main()
