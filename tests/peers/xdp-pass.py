"""Has an interface receive by XDP, and passes everything: xdp-pass.py INTERFACE, until it is killed.

What an XDP program at one end of a veth sends back is left lying in the other end's queue unless that has an XDP
program, too. (With GRO alone the kernel puts it there, and wakes nothing to look.)
"""

import ctypes
import os
import signal
import socket
import struct
import sys

SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
PROG_LOAD, LINK_CREATE = 5, 28
TYPE_XDP, ATTACH_XDP = 6, 37
MODE_NATIVE = 4

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    result = libc.syscall(SYS_BPF, command, buffer, len(buffer))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


# r0 = XDP_PASS; exit
program = ctypes.create_string_buffer(struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0))
licence = ctypes.create_string_buffer(b"GPL")
loaded = bpf(PROG_LOAD, struct.pack("<IIQQ", TYPE_XDP, 2, ctypes.addressof(program), ctypes.addressof(licence)))
bpf(LINK_CREATE, struct.pack("<IIII", loaded, socket.if_nametoindex(sys.argv[1]), ATTACH_XDP, MODE_NATIVE))
signal.pause()
