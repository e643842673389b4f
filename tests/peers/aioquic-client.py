#!/usr/bin/env python3
"""aioq: an aioquic client (HTTP/3) for the tests, for what other clients cannot be made to do.

    aioq https://10.0.0.1:443/whoami -n 6 --conns 20 --rebind --no-spare --json

The rule it keeps: whatever was lost shows in the exit status, which is 0 only if every request
of every connection got the right bytes and every move took place.
"""
import argparse
import asyncio
import collections
import hashlib
import json
import socket
import ssl
import sys
import time
from urllib.parse import urlparse

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset
from aioquic.quic.packet import QuicProtocolVersion


def arguments():
    p = argparse.ArgumentParser(prog="aioq", description="an aioquic client for the tests")
    p.add_argument("url")
    p.add_argument("-n", type=int, default=6, help="requests on each connection")
    p.add_argument("--conns", type=int, default=1, help="connections, all at once")
    p.add_argument("--timeout", type=float, default=5, help="seconds for a handshake, and for each request")
    p.add_argument("--pause", type=float, default=0.02, help="seconds between requests")
    p.add_argument("--post", type=int, default=0, help="POST so many octets")
    p.add_argument("--mtu", type=int, default=0, help="octets of a datagram, from the first Initial on (1200)")
    p.add_argument("--local-port", type=int, default=0)
    p.add_argument("--rebind", action="store_true", help="go on from a new port with the same IDs (NAT rebinding)")
    p.add_argument("--cid", action="store_true", help="go on with the next destination connection ID")
    p.add_argument("--retire", type=int, default=0, help="retire so many of the server's connection IDs half-way")
    p.add_argument("--rebind-at", type=int, default=0, help="move after so many octets of answers, not half-way")
    p.add_argument("--no-spare", action="store_true", help="never give the server a spare connection ID")
    p.add_argument("--dcid", type=bytes.fromhex, default=b"", help="first destination connection ID, in hex (random)")
    p.add_argument("--keyupdate", action="store_true", help="update the 1-RTT keys half-way")
    p.add_argument("--resume", action="store_true", help="twice, the second time with the first one's ticket")
    p.add_argument("--zero-rtt", action="store_true", help="the same with early data")
    p.add_argument("--v2", action="store_true", help="QUIC version 2")
    p.add_argument("--print", action="store_true", help="print the beginning of each answer")
    p.add_argument("--json", action="store_true", help="end with the summary as one line of JSON")
    return p.parse_args()


class Http3(QuicConnectionProtocol):
    """One connection: requests by stream, and at most one move."""

    def __init__(self, args, quic, **others):
        super().__init__(quic, **others)
        self.args, self.h3 = args, H3Connection(quic)
        self.waiting, self.headers, self.bodies = {}, {}, {}
        self.octets, self.move, self.notes, self.ended = 0, None, [], None
        if args.no_spare:
            quic._replenish_connection_ids = lambda: None
        if args.dcid:
            quic._peer_cid.cid = quic._original_destination_connection_id = args.dcid

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.ended = f"connection closed: {event.error_code:#x} {event.reason_phrase}"
            for answer in self.waiting.values():
                fail(answer, self.ended)
            return
        if isinstance(event, StreamReset) and event.stream_id in self.waiting:
            fail(self.waiting[event.stream_id], f"stream reset: {event.error_code:#x}")
        for part in self.h3.handle_event(event):
            if isinstance(part, (HeadersReceived, DataReceived)) and part.stream_id in self.waiting:
                self.received(part)

    def received(self, part):
        if isinstance(part, HeadersReceived):
            self.headers[part.stream_id].update(part.headers)
        else:
            self.bodies[part.stream_id].extend(part.data)
            self.octets += len(part.data)
            if 0 < self.args.rebind_at <= self.octets:
                self.begin_move()
        answer = self.waiting[part.stream_id]
        if part.stream_ended and not answer.done():
            answer.set_result((self.headers[part.stream_id], bytes(self.bodies[part.stream_id])))

    async def request(self, url):
        """One request; its answer, checked as far as it can be."""
        body = bytes(self.args.post) if self.args.post else None
        stream = self._quic.get_next_available_stream_id()
        self.waiting[stream] = asyncio.get_running_loop().create_future()
        self.headers[stream], self.bodies[stream] = {}, bytearray()
        fields = {
            ":method": "POST" if body else "GET",
            ":scheme": "https",
            ":authority": url.netloc,
            ":path": (url.path or "/") + (f"?{url.query}" if url.query else ""),
            "user-agent": "aioq",
        }
        self.h3.send_headers(stream, [(k.encode(), v.encode()) for k, v in fields.items()], end_stream=body is None)
        if body:
            self.h3.send_data(stream, body, True)
        self.transmit()
        headers, answer = await asyncio.wait_for(self.waiting[stream], self.args.timeout)
        del self.waiting[stream], self.headers[stream], self.bodies[stream]
        check(headers, answer)
        return answer

    def begin_move(self):
        """What the flags say is to happen half-way; once."""
        if self.move is None:
            self.move = asyncio.ensure_future(self.change())

    async def change(self):
        quic = self._quic
        if self.args.rebind:
            self.notes.append("rebound %d->%d" % await self.rebind())
        if self.args.cid:
            before = quic._peer_cid.cid.hex()
            quic.change_connection_id()
            self.notes.append(f"cid {before}->{quic._peer_cid.cid.hex()}")
        for _ in range(self.args.retire):
            while not quic._peer_cid_available:
                if self.ended:
                    raise ConnectionError(self.ended)
                await asyncio.sleep(0.001)
            quic.change_connection_id()
            self.transmit()
        if self.args.keyupdate:
            quic.request_key_update()
            self.notes.append("key update")
        # A client that only receives would send nothing from the new address.
        quic.send_ping(0)
        self.transmit()

    async def rebind(self):
        """A new local socket under the same connection, as a NAT that forgets does; both ports."""
        old = self._transport
        new = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        new.bind(("::", 0))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: Receiver(self), sock=new)
        old.close()
        return old.get_extra_info("sockname")[1], self._transport.get_extra_info("sockname")[1]

    async def moved(self):
        if self.move is None:
            raise ConnectionError(f"the move never began: only {self.octets} octets came")
        await asyncio.wait_for(self.move, self.args.timeout)


class Receiver(asyncio.DatagramProtocol):
    """What comes in on the socket after a rebind."""

    def __init__(self, connection):
        self.connection = connection

    def datagram_received(self, data, addr):
        self.connection.datagram_received(data, addr)


def fail(answer, why):
    if not answer.done():
        answer.set_exception(ConnectionError(why))


def check(headers, body):
    """An answer's status, and its digest if the server sent it along."""
    if headers.get(b":status") != b"200":
        raise ConnectionError(f"status {headers.get(b':status', b'none').decode()}")
    promised = headers.get(b"x-sha256")
    if promised and promised.decode() != hashlib.sha256(body).hexdigest():
        raise ConnectionError(f"wrong bytes: {len(body)} of them")


class Summary:
    """What became of all connections, under the names that goq gives them."""

    def __init__(self):
        self.counts = collections.Counter()
        self.errors = collections.Counter()

    def line(self):
        names = ["connections_ok", "connections_failed", "requests_ok", "requests_failed", "moved", "bytes"]
        return json.dumps({**{name: self.counts[name] for name in names}, "errors": self.errors, "bodies": {}})


async def connection(args, tickets, label, summary):
    """All requests of one connection; answers whether they all succeeded."""
    try:
        conf = configuration(args)
        conf.session_ticket = tickets[-1] if tickets else None
        early = args.zero_rtt and conf.session_ticket is not None
        await converse(args, conf, early, tickets, label, summary)
        return True
    except (Exception, asyncio.CancelledError) as error:
        summary.errors[f"{type(error).__name__}: {error}"[:200]] += 1
        print(f"{label}FAIL {error!r}")
        return False


def configuration(args):
    conf = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="localhost")
    if args.v2:
        conf.original_version = QuicProtocolVersion.VERSION_2
        conf.supported_versions = [QuicProtocolVersion.VERSION_2]
    if args.mtu:
        conf.max_datagram_size = args.mtu
    return conf


async def converse(args, conf, early, tickets, label, summary):
    url, begun, counts = urlparse(args.url), time.monotonic(), summary.counts
    async with connect(
        url.hostname, url.port or 443, configuration=conf, local_port=args.local_port, wait_connected=False,
        create_protocol=lambda quic, **others: Http3(args, quic, **others), session_ticket_handler=tickets.append,
    ) as client:
        client.transmit()
        if not early:
            try:
                await asyncio.wait_for(client.wait_connected(), args.timeout)
            except (ConnectionError, asyncio.TimeoutError):
                counts["connections_failed"] += 1
                raise
        counts["connections_ok"] += 1
        handshake, moves, done = time.monotonic() - begun, args.rebind or args.cid or args.retire or args.keyupdate, 0
        for i in range(args.n):
            if moves and not args.rebind_at and i == args.n // 2:
                client.begin_move()
                await client.moved()
            try:
                body = await client.request(url)
            except (ConnectionError, asyncio.TimeoutError):
                counts["requests_failed"] += 1
                raise
            done += 1
            counts["requests_ok"] += 1
            counts["bytes"] += len(body)
            if args.print:
                print(f"  {len(body)} octets: {body[:80]}")
            await asyncio.sleep(args.pause)
        if moves:
            await client.moved()
            counts["moved"] += 1
        quic = client._quic
        print(
            f"{label}ok {done}/{args.n} hs={handshake * 1000:.1f}ms v={quic._version:#x} "
            f"resumed={quic.tls.session_resumed} early_accepted={quic.tls.early_data_accepted} "
            f"scid_len={len(quic._peer_cid.cid)} {'; '.join(client.notes)}"
        )


async def main():
    args, summary, tickets = arguments(), Summary(), []
    if args.resume or args.zero_rtt:
        well = [await connection(args, tickets, label, summary) for label in ("1st: ", "2nd: ")]
    else:
        runs = [connection(args, [], f"{i}: ", summary) for i in range(args.conns)]
        well = await asyncio.gather(*runs)
    if args.json:
        print(summary.line())
    return 0 if all(well) else 1


sys.exit(asyncio.run(main()))
