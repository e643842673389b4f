#!/usr/bin/env python3
"""unlock: what a QUIC server sent in a capture, decrypted by aioquic with the TLS secrets of a key log.

    unlock trace_node_left.pcap keys.log served-file

It takes the one connection of a capture and the server's packets of it, long and short, and prints as JSON how many of
each were decrypted and whether the octets of the file came in their order. It exits with 1 if any could not be
decrypted.
"""
import json
import struct
import sys

from aioquic.buffer import Buffer
from aioquic.quic.crypto import CryptoContext, CryptoPair
from aioquic.quic.packet import QuicPacketType, QuicProtocolVersion, pull_quic_header
from aioquic.tls import CipherSuite

PORT, UDP = 443, 17
V1 = QuicProtocolVersion.VERSION_1


def datagrams(path):
    """UDP payloads over IPv4, each with whether the server sent it."""
    octets = open(path, "rb").read()
    at = 24
    while at < len(octets):
        length = struct.unpack("=IIII", octets[at : at + 16])[2]
        frame, at = octets[at + 16 : at + 16 + length], at + 16 + length
        if frame[12:14] != b"\x08\x00" or frame[23] != UDP:
            continue
        udp = 14 + 4 * (frame[14] & 15)
        source, target, size = struct.unpack(">HHH", frame[udp : udp + 6])
        if PORT in (source, target):
            yield source == PORT, frame[udp + 8 : udp + size]


def secrets(path):
    """Those of the one connection, by their labels."""
    lines = [line.split() for line in open(path) if line.strip()]
    assert len({line[1] for line in lines}) == 1, "the key log is of more than one connection"
    return {label: bytes.fromhex(secret) for label, _, secret in lines}


def contexts(secret, suite):
    """One for handshake packets and one for 1-RTT packets of the server."""
    labels = {"handshake": "SERVER_HANDSHAKE_TRAFFIC_SECRET", "one_rtt": "SERVER_TRAFFIC_SECRET_0"}
    made = {}
    for kind, label in labels.items():
        made[kind] = CryptoContext()
        made[kind].setup(cipher_suite=suite, secret=secret[label], version=V1)
    return made


def main():
    trace, keys, served = sys.argv[1:]
    secret, file = secrets(keys), open(served, "rb").read()
    # The length of a secret is that of the suite's hash; clients prefer AES-128 here, or there is SHA-384.
    long = len(secret["SERVER_TRAFFIC_SECRET_0"]) == 48
    suite = CipherSuite.AES_256_GCM_SHA384 if long else CipherSuite.AES_128_GCM_SHA256
    opened, seen, failed, plain = contexts(secret, suite), {"initial": 0, "handshake": 0, "one_rtt": 0}, 0, b""
    initial, expected, client = None, {"initial": 0, "handshake": 0, "one_rtt": 0}, b""
    for from_server, payload in datagrams(trace):
        buffer = Buffer(data=payload)
        while not buffer.eof():
            start = buffer.tell()
            header = pull_quic_header(buffer, host_cid_length=len(client))
            offset, end = buffer.tell() - start, start + header.packet_length
            packet = payload[start:end]
            buffer.seek(end)
            if not from_server:
                if initial is None:
                    client = header.source_cid
                    initial = CryptoPair()
                    initial.setup_initial(header.destination_cid, is_client=True, version=V1)
                continue
            kind = {QuicPacketType.INITIAL: "initial", QuicPacketType.HANDSHAKE: "handshake"}.get(
                header.packet_type, "one_rtt"
            )
            context = initial.recv if kind == "initial" else opened[kind]
            try:
                _, octets, number, _ = context.decrypt_packet(packet, offset, expected[kind])
            except Exception as error:
                print(f"{kind}: {error!r}", file=sys.stderr)
                failed += 1
                continue
            expected[kind] = max(expected[kind], number + 1)
            seen[kind] += 1
            plain += octets
    print(json.dumps({"decrypted": seen, "failed": failed, "file": file in plain}))
    return 1 if failed else 0


sys.exit(main())
