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
    "malformed: .." no well-formed answer

With "whole", over HTTP/2 and HTTP/3, the outcome is all that came: "200 4", each status, the octets of
the body, and the trailers in lines; or "200 reset 0x102", how it broke off. "trailers" follow the body.

With "cancel" the request is cancelled once something of the response is there, as that says:
{"by": "stop" (STOP_SENDING), "reset" (RESET_STREAM, or RST_STREAM; then the body has no end) or "both",
"code": ...}; the outcome then has what the router said to that within a second, and the status of
"then", another request on the same connection: "200 reset 0x10c, then 200".

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
import h2.exceptions
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
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


class Answer:
    """All that came of one request, in words."""

    def __init__(self, case):
        self.case, self.words, self.octets, self.trailers = case, [], 0, []
        self.cancelled = False

    def fields(self, fields):
        """A head's or trailers'; what the outcome is, if that was all that was asked for."""
        text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        status = dict(text).get(":status")
        if status:
            self.words.append(status)
            return None if self.case.get("whole") or self.case.get("cancel") else status
        self.trailers = [f"{name}: {value}" for name, value in text]

    def ended(self):
        return " ".join([*self.words, str(self.octets), *self.trailers])

    def broke(self, how):
        return " ".join([*self.words, how])


def http2(address, case):
    config = h2.config.H2Configuration(
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    with over_tls(address, "h2") as stream:
        try:
            outcome = http2_ask(connection, stream, 1, case)
            if case.get("cancel"):
                then = {"fields": [*case["fields"][:3], [":path", case["then"]]], "body": ""}
                outcome += ", then " + http2_ask(connection, stream, 3, then)
            return outcome
        except TimeoutError:
            return "silence"
        except h2.exceptions.ProtocolError as error:
            return f"malformed: {error}"


def http2_ask(connection, stream, number, case):
    body, trailers, cancel = octets(case["body"]), case.get("trailers"), case.get("cancel")
    connection.send_headers(number, fields_of(case), end_stream=not body and not trailers)
    if body:
        connection.send_data(number, body, end_stream=not trailers and not cancel)
    if trailers:
        connection.send_headers(number, [(octets(name), octets(value)) for name, value in trailers], end_stream=True)
    stream.sendall(connection.data_to_send())
    answer, outcome = Answer(case), None
    for piece in received(stream):
        for event in connection.receive_data(piece):
            if isinstance(event, h2.events.ConnectionTerminated):
                outcome = outcome or answer.broke(f"closed {int(event.error_code):#x}")
            if getattr(event, "stream_id", number) == number:
                outcome = outcome or http2_event(connection, event, answer)
        if cancel and answer.words and outcome is None:
            connection.reset_stream(number, cancel["code"])
            outcome = answer.broke("cancelled")
        try:
            stream.sendall(connection.data_to_send())
        except (ConnectionError, ssl.SSLError):
            # It says why in what is still to be read.
            pass
        if outcome:
            return outcome
    return answer.broke("closed")


def http2_event(connection, event, answer):
    """The outcome, if the event is the last that matters."""
    if isinstance(event, h2.events.DataReceived):
        answer.octets += len(event.data)
        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    if isinstance(event, h2.events.StreamReset):
        return answer.broke(f"reset {int(event.error_code):#x}")
    if isinstance(event, h2.events.StreamEnded):
        return answer.ended()
    heads = (h2.events.ResponseReceived, h2.events.InformationalResponseReceived, h2.events.TrailersReceived)
    return answer.fields(event.headers) if isinstance(event, heads) else None


class Http3(QuicConnectionProtocol):
    def __init__(self, quic, **others):
        super().__init__(quic, **others)
        self.h3, self.answer, self.stream, self.outcome = H3Connection(quic), None, None, None

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.comes(self.answer.broke(f"closed {event.error_code:#x}"))
        if isinstance(event, StreamReset) and event.stream_id == self.stream:
            self.comes(self.answer.broke(f"reset {event.error_code:#x}"))
        for part in self.h3.handle_event(event):
            if getattr(part, "stream_id", None) != self.stream:
                continue
            if isinstance(part, HeadersReceived):
                self.comes(self.answer.fields(part.headers))
            if isinstance(part, DataReceived):
                self.answer.octets += len(part.data)
            if part.stream_ended:
                self.comes(self.answer.ended())
            self.cancel()

    def comes(self, outcome):
        if outcome and not self.outcome.done():
            self.outcome.set_result(outcome)

    def cancel(self):
        """What the case says, once."""
        how, answer, outcome = self.answer.case.get("cancel"), self.answer, self.outcome
        if how and not answer.cancelled:
            answer.cancelled = True
            if how["by"] in ("stop", "both"):
                self._quic.stop_stream(self.stream, how["code"])
            if how["by"] in ("reset", "both"):
                self._quic.reset_stream(self.stream, how["code"])
            # The router may have nothing to say to it.
            late = lambda: outcome.done() or outcome.set_result(answer.broke("cancelled"))
            asyncio.get_running_loop().call_later(1, late)

    async def ask(self, case):
        self.stream, self.answer = self._quic.get_next_available_stream_id(), Answer(case)
        self.outcome = asyncio.get_running_loop().create_future()
        body, trailers, cancel = octets(case["body"]), case.get("trailers"), case.get("cancel")
        self.h3.send_headers(self.stream, fields_of(case), end_stream=not body and not trailers)
        if body:
            self.h3.send_data(self.stream, body, not trailers and not cancel)
        if trailers:
            self.h3.send_headers(self.stream, [(octets(name), octets(value)) for name, value in trailers], True)
        self.transmit()
        outcome = await asyncio.wait_for(self.outcome, PATIENCE)
        if cancel:
            then = {"fields": [*case["fields"][:3], [":path", case["then"]]], "body": ""}
            outcome += ", then " + await self.ask(then)
        return outcome


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
