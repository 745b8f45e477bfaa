"""Sends everything, ends its side, and only then reads up to the server's end: half_close.py <port>"""
import os
import socket
import struct
import sys
import threading

connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
stream = b""
for length in (0, 70000, 1, 300000, 65536, 0):
    stream += struct.pack(">I", length) + os.urandom(length)


def send():
    connection.sendall(stream)
    connection.shutdown(socket.SHUT_WR)


threading.Thread(target=send).start()
back = b""
while True:
    piece = connection.recv(65536)
    if not piece:
        break
    back += piece
if back != stream:
    sys.exit("%d bytes came back of %d, or changed" % (len(back), len(stream)))
print("%d bytes" % len(back))
