"""Connects many times at once, sends on every connection, checks every echo: many.py <port> <connections>"""
import os
import selectors
import socket
import struct
import sys

port, count = int(sys.argv[1]), int(sys.argv[2])
selector = selectors.DefaultSelector()
waiting = {}
connections = []  # all stay open until the end
for _ in range(count):
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", port))
    connections.append(connection)
    payload = os.urandom(1000)
    selector.register(connection, selectors.EVENT_WRITE)
    waiting[connection] = [struct.pack(">I", len(payload)) + payload, b""]

done = 0
while waiting:
    ready = selector.select(timeout=30)
    if not ready:
        sys.exit("nothing came for 30 seconds; %d of %d are done" % (done, count))
    for key, events in ready:
        connection = key.fileobj
        sent = waiting[connection]
        if events & selectors.EVENT_WRITE:
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                sys.exit("connect: " + os.strerror(error))
            connection.send(sent[0])  # fits into the socket's buffer
            selector.modify(connection, selectors.EVENT_READ)
        else:
            piece = connection.recv(65536)
            if not piece:
                sys.exit("the server closed a connection")
            sent[1] += piece
            if len(sent[1]) == len(sent[0]):
                if sent[0] != sent[1]:
                    sys.exit("a packet came back changed")
                done += 1
                selector.unregister(connection)
                del waiting[connection]
print("%d connections" % done)
