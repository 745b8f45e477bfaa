"""Sends packets a byte at a time and checks what comes back: bytewise.py <port>"""
import os
import socket
import struct
import sys


def read(connection, length):
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise EOFError("the server closed after %d of %d bytes" % (len(data), length))
        data += piece
    return data


connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
packets = 0
for length in (0, 1, 2, 3, 4, 5, 10, 255, 256, 1000):
    payload = os.urandom(length)
    for byte in struct.pack(">I", length) + payload:
        connection.sendall(bytes([byte]))
    (back,) = struct.unpack(">I", read(connection, 4))
    if back != length or read(connection, back) != payload:
        sys.exit("packet of %d bytes came back changed" % length)
    packets += 1
print("%d packets" % packets)
