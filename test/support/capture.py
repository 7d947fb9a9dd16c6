"""Records what crosses a network interface until SIGTERM: the interface, the path of the file for the packets."""

import signal
import socket
import struct
import sys

ALL_PROTOCOLS = 3
PACKET_SOCKETS, STATISTICS = 263, 6
BUFFER_BYTES = 64 << 20
MAX_PACKET_BYTES = 1 << 17

interface, path = sys.argv[1:]
stopped = False


def stop(*_):
    global stopped
    stopped = True


signal.signal(signal.SIGTERM, stop)
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
try:
    packets.setsockopt(socket.SOL_SOCKET, 33, BUFFER_BYTES)  # SO_RCVBUFFORCE
except PermissionError:
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
packets.bind((interface, 0))
packets.settimeout(0.2)
print("recording", flush=True)
with open(path, "wb") as file:
    while True:
        try:
            file.write(packets.recv(MAX_PACKET_BYTES))
        except socket.timeout:
            # What was sent before the signal has arrived by now.
            if stopped:
                break
lost = struct.unpack("II", packets.getsockopt(PACKET_SOCKETS, STATISTICS, 8))[1]
print("lost", lost, flush=True)
