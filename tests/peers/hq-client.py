#!/usr/bin/env python3
"""hqpy: HTTP/0.9 and HTTP/3 by the cases of quic-interop-runner, over aioquic or picoquic.

    hqpy aioquic transfer downloads https://10.0.0.1:443/a https://10.0.0.1:443/b

It exits with 127 for a case that the QUIC implementation does not support.
"""
import asyncio
import importlib
import os
import ssl
import sys
from urllib.parse import urlparse

# picoquic's Python package, aiopquic, has the interface of aioquic.
PACKAGES = {"aioquic": "aioquic", "picoquic": "aiopquic"}
LACKS = {
    "aioquic": {"ecn": "aioquic neither sends nor reports ECN"},
    "picoquic": {
        "http3": "the HTTP/3 of the package has another interface",
        "chacha20": "the package has no way to choose cipher suites",
        "keyupdate": "the package has no way to ask for it",
    },
}
PATIENCE = 180


def main():
    stack, case, folder, *urls = sys.argv[1:]
    if case in LACKS[stack]:
        print(LACKS[stack][case])
        sys.exit(127)
    asyncio.run(asyncio.wait_for(Client(stack, case, folder).run(urls), PATIENCE))
    # Threads of a library do not outlive us.
    sys.stdout.flush()
    os._exit(0)


class Client:
    """What a case asks of a client."""

    def __init__(self, stack, case, folder):
        package = PACKAGES[stack]
        part = lambda name: importlib.import_module(f"{package}.{name}")
        self.connect = part("asyncio.client").connect
        self.base = part("asyncio.protocol").QuicConnectionProtocol
        self.configuration = part("quic.configuration").QuicConfiguration
        self.events = part("quic.events")
        self.stack, self.case, self.folder, self.ticket = stack, case, folder, None

    async def run(self, urls):
        if self.case == "multiconnect":
            for url in urls:
                await self.connection([url])
        elif self.case in ("resumption", "zerortt"):
            await self.connection(urls[:1])
            if self.stack == "aioquic" and self.ticket is None:
                raise ConnectionError("no session ticket came")
            await self.connection(urls[1:], resumes=True)
        else:
            await self.connection(urls)

    def config(self, resumes):
        h3 = self.case == "http3"
        config = self.configuration(is_client=True, alpn_protocols=["h3" if h3 else "hq-interop"])
        config.server_name, config.verify_mode = "server", ssl.CERT_NONE
        if self.stack == "picoquic":
            config.session_ticket_file = os.path.join(self.folder, ".tickets")
        elif resumes:
            config.session_ticket = self.ticket
        if self.case == "chacha20":
            tls = importlib.import_module("aioquic.tls")
            config.cipher_suites = [tls.CipherSuite.CHACHA20_POLY1305_SHA256]
        return config

    async def connection(self, urls, resumes=False):
        """All files on one connection, each on a stream."""
        where = urlparse(urls[0])
        early = resumes and self.case == "zerortt"
        options = {"configuration": self.config(resumes), "wait_connected": not early}
        if self.stack == "aioquic":
            options["session_ticket_handler"] = self.keep
        make = lambda quic, **others: self.protocol()(self, quic, **others)
        way = self.connect(where.hostname, where.port, create_protocol=make, **options)
        protocol = await way.__aenter__()
        try:
            fetches = [asyncio.ensure_future(protocol.fetch(urlparse(url).path)) for url in urls]
            if early:
                protocol.flush()
                await protocol.wait_connected()
            if self.case == "keyupdate":
                await asyncio.sleep(0.1)
                protocol._quic.request_key_update()
            bodies = await asyncio.gather(*fetches)
            if resumes:
                protocol.check(early)
            elif self.case in ("resumption", "zerortt"):
                await asyncio.sleep(0.2)  # the ticket comes with or behind the answer
        finally:
            if self.stack == "aioquic":
                protocol.close()  # leaving would wait for the end of its draining period
            else:
                await way.__aexit__(None, None, None)
        for url, body in zip(urls, bodies):
            with open(os.path.join(self.folder, os.path.basename(urlparse(url).path)), "wb") as file:
                file.write(body)

    def keep(self, ticket):
        self.ticket = ticket

    def protocol(self):
        events = self.events

        class Protocol(self.base):
            def __init__(self, client, quic, **others):
                super().__init__(quic, **others)
                self.client, self.waiting, self.bodies, self.early, self.resumed = client, {}, {}, False, False
                self.h3 = None
                if client.case == "http3":
                    self.h3 = importlib.import_module("aioquic.h3.connection").H3Connection(quic)

            def flush(self):
                # picoquic has a thread of its own that sends.
                getattr(self, "transmit", lambda: None)()

            async def fetch(self, path):
                stream = self._quic.get_next_available_stream_id()
                self.waiting[stream] = asyncio.get_running_loop().create_future()
                self.bodies[stream] = bytearray()
                if self.h3:
                    fields = {":method": "GET", ":scheme": "https", ":authority": "server", ":path": path}
                    fields = [(k.encode(), v.encode()) for k, v in fields.items()]
                    self.h3.send_headers(stream, fields, end_stream=True)
                else:
                    self._quic.send_stream_data(stream, f"GET {path}\r\n".encode(), end_stream=True)
                self.flush()
                await self.waiting[stream]
                return bytes(self.bodies[stream])

            def quic_event_received(self, event):
                name = type(event).__name__
                if name == "HandshakeCompleted":
                    self.early, self.resumed = event.early_data_accepted, event.session_resumed
                elif name == "ConnectionTerminated":
                    self.fail(f"connection closed: {event.error_code:#x} {event.reason_phrase}")
                elif name == "StreamReset":
                    self.fail(f"stream reset: {event.error_code:#x}")
                elif self.h3:
                    for part in self.h3.handle_event(event):
                        self.received(part.stream_id, getattr(part, "data", b""), part.stream_ended)
                elif isinstance(event, events.StreamDataReceived):
                    self.received(event.stream_id, bytes(event.data), event.end_stream)

            def received(self, stream, data, ended):
                if stream in self.waiting:
                    self.bodies[stream].extend(data)
                    if ended and not self.waiting[stream].done():
                        self.waiting[stream].set_result(None)

            def fail(self, why):
                for waiting in self.waiting.values():
                    if not waiting.done():
                        waiting.set_exception(ConnectionError(why))

            def check(self, early):
                # Whether early data was accepted is nothing that picoquic's package tells.
                accepted = self.early or self.client.stack == "picoquic"
                if not self.resumed or early and not accepted:
                    raise ConnectionError(f"resumed: {self.resumed}, 0-RTT accepted: {self.early}")

        return Protocol


main()
