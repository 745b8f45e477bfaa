"""Sends packets without ever reading what comes back, until it is killed: flood.py <port>"""
import socket
import struct
import sys

connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
packet = struct.pack(">I", 50000) + bytes(50000)
connection.sendall(packet)
print("flooding", flush=True)
while True:
    connection.sendall(packet)
