#!/usr/bin/env python3
"""Checks test/vectors/framing.json against implementations that share nothing with the addon.

1. A decoder and an encoder of its own, here: struct for the numbers, whole inputs, no speed.
2. Erlang's gen_tcp, over a loopback connection, for what {packet, 1 | 2 | 4 | line} can express;
   left out, with a word about it, where there is no `erl`.

    python3 test/framing-independent.py [--no-erlang]

Exit code 0: every vector holds. Needs nothing but the standard library.
"""

import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

VECTORS = pathlib.Path(__file__).parent / "vectors" / "framing.json"
MIB = 1 << 20
SHOWN = 32  # bytes of an oversize delimited frame that are reported


class Corrupt(Exception):
    def __init__(self, code, header):
        super().__init__(code)
        self.code, self.header = code, bytes(header)


def unpack_bytes(text):
    """'hex and quoted text', each with *n -> bytes"""
    out = b""
    for quoted, digits, times in re.findall(r"(?:'([^']*)'|([0-9A-Fa-f]+))(?:\*(\d+))?", text):
        out += (quoted.encode() if digits == "" else bytes.fromhex(digits)) * int(times or 1)
    return out


def number(value):
    return int(value, 0) if isinstance(value, str) else value


# ---- prefixes: what stands before the packet ------------------------------------------------------


def read_number(field, endian):
    mark = ">" if endian == "big" else "<"
    if len(field) == 3:
        return struct.unpack(mark + "I", b"\0" + field if endian == "big" else field + b"\0")[0]
    return struct.unpack(mark + {1: "B", 2: "H", 4: "I", 8: "q"}[len(field)], field)[0]


def write_number(value, size, endian):
    mark = ">" if endian == "big" else "<"
    if size == 3:
        packed = struct.pack(mark + "I", value)
        return packed[1:] if endian == "big" else packed[:3]
    return struct.pack(mark + {1: "B", 2: "H", 4: "I", 8: "q"}[size], value)


def length_field_prefix(o, data):
    """-> (frame size, header size, strip), None when the header is not there"""
    end = o.get("offset", 0) + o.get("bytes", 4)
    strip = o.get("strip", end)
    if len(data) < end:
        return None
    length = read_number(data[o.get("offset", 0) : end], o.get("endian", "big"))
    if length < 0:
        raise Corrupt("negative_length", data[:end])
    frame = length + o.get("adjustment", 0) + end
    if frame < end:
        raise Corrupt("shorter_than_header", data[:end])
    if frame < strip:
        raise Corrupt("shorter_than_strip", data[:end])
    return frame, end, strip


def varint_prefix(o, data):
    most = o.get("bytes", 5)
    value = 0
    for i in range(most):
        if i >= len(data):
            return None
        value += (data[i] % 128) * 128**i
        if data[i] < 128:
            break
        if i == most - 1:
            raise Corrupt("bad_varint", data[:most])
    bits = 32 if most == 5 else 64
    if value >= 2**bits:
        raise Corrupt("bad_varint", data[: i + 1])
    if value >= 2 ** (bits - 1):
        raise Corrupt("negative_length", data[: i + 1])
    return value + i + 1, i + 1, i + 1


def hp_socket_prefix(o, data):
    if len(data) < 4:
        return None
    flag, length = divmod(struct.unpack("<I", data[:4])[0], 2**22)
    if o["flag"] not in (0, flag):
        raise Corrupt("bad_flag", data[:4])
    if length == 0:
        raise Corrupt("bad_length", data[:4])
    return length + 4, 4, 4


PREFIXES = {"lengthField": length_field_prefix, "varint": varint_prefix, "hpSocketPack": hp_socket_prefix}


# ---- decoding ------------------------------------------------------------------------------------


def decode(o, data):
    """-> events, bytes held, whether the end lies in a frame that holds nothing"""
    kind = o["kind"]
    if kind == "raw":
        return ([{"packet": data}] if data else []), 0, False
    if kind == "fixed":
        whole = len(data) // o["bytes"]
        packets = [{"packet": data[i * o["bytes"] :][: o["bytes"]]} for i in range(whole)]
        return packets, len(data) % o["bytes"], False
    return decode_delimited(o, data) if kind == "delimiter" else decode_prefixed(o, data)


def decode_prefixed(o, data):
    events = []
    largest, above = number(o.get("maxPacket", MIB)), number(o.get("streamAbove", 2**64))
    while data:
        try:
            prefix = PREFIXES[o["kind"]](o, data)
            if prefix is None:
                return events, len(data), False
            frame, header, strip = prefix
            size, whole = frame - strip, len(data) >= frame
            if size > largest:
                if o.get("onOversize", "close") == "close":
                    raise Corrupt("too_large", data[:header])
                if o.get("failFast", True) or whole:
                    events.append({"discarded": frame, "header": data[:header]})
                if not whole:
                    return events, 0, True
            elif size > above:
                content = data[strip:frame]
                if not whole:
                    return events + [{"streamPart": content, "length": size}], 0, True
                events.append({"stream": content})
            elif whole:
                events.append({"packet": data[strip:frame]})
            else:
                return events, len(data), False
            data = data[frame:]
        except Corrupt as corrupt:
            corrupt.events = events
            raise
    return events, 0, False


def decode_delimited(o, data):
    events = []
    delimiters = [unpack_bytes(d) for d in o["delimiters"]]
    largest = number(o.get("maxPacket", MIB))
    certain = largest + max(map(len, delimiters))  # so many bytes without an end: oversize
    while data:
        # The earliest beginning, Netty's way; the longest of those that begin there.
        found = [(data.find(d), len(d)) for d in delimiters if d in data]
        content, size = min(found, key=lambda f: (f[0], -f[1]), default=(None, 0))
        if content is None and len(data) < certain:
            return events, len(data), False
        if content is None or content > largest:
            shown = data[: min(SHOWN, largest + 1)]
            if o.get("onOversize", "close") == "close":
                corrupt = Corrupt("too_large", shown)
                corrupt.events = events
                raise corrupt
            fast = o.get("failFast", True)
            if fast or content is not None:
                events.append({"discarded": 0 if fast else content + size, "header": shown})
            if content is None:
                return events, 0, True
        else:
            events.append({"packet": data[: content + (0 if o.get("strip", True) else size)]})
        data = data[content + size :]
    return events, 0, False


# ---- encoding ------------------------------------------------------------------------------------


def encode(o, payload):
    """-> wire bytes, None when the payload is refused"""
    kind, size = o["kind"], len(payload)
    if kind == "raw":
        return payload
    if kind == "fixed":
        return payload if size == o["bytes"] else None
    largest = number(o.get("maxPacket", MIB))
    if kind == "delimiter":
        if size == 0 and not o.get("strip", True):
            return None
        endings = [unpack_bytes(d) for d in o["delimiters"]] if o.get("strip", True) else [b""]
        return next((payload + end for end in endings if comes_back(o, payload + end, payload)), None)
    else:
        if size > largest:
            return None
        if kind == "varint":
            head, rest = b"", size
            while rest >= 128:
                head, rest = head + bytes([rest % 128 + 128]), rest // 128
            wire = head + bytes([rest]) + payload
        elif kind == "hpSocketPack":
            if size >= 2**22:
                return None
            wire = struct.pack("<I", o["flag"] * 2**22 + size) + payload
        else:
            end = o.get("offset", 0) + o.get("bytes", 4)
            strip = o.get("strip", end)
            length = size + strip - end - o.get("adjustment", 0)
            try:
                field = write_number(length, o.get("bytes", 4), o.get("endian", "big"))
            except struct.error:
                return None
            if len(field) == 3 and length >= 2**24:
                return None
            wire = (bytes(o.get("offset", 0)) + field).ljust(strip, b"\0")[:strip] + payload
    return wire if comes_back(o, wire, payload) else None


def comes_back(o, wire, payload):
    """The definition: what goes out comes back as this one packet."""
    try:
        return decode(o, wire) == ([{"packet": payload}], 0, False)
    except Corrupt:
        return False


# ---- the vectors ---------------------------------------------------------------------------------


def wanted_events(vector):
    convert = {"packet": unpack_bytes, "stream": unpack_bytes, "streamPart": unpack_bytes}
    convert.update(header=unpack_bytes, discarded=number, length=number)
    return [{key: convert[key](value) for key, value in event.items()} for event in vector["events"]]


def check_decode(vector):
    data = unpack_bytes(vector["input"])
    wanted = wanted_events(vector), vector.get("held", 0), vector.get("open", False)
    try:
        got, error = decode(vector["framing"], data), None
    except Corrupt as corrupt:
        got, error = (corrupt.events, 0, False), {"code": corrupt.code, "header": corrupt.header}
    wanted_error = vector.get("error")
    if wanted_error:
        wanted_error = {"code": wanted_error["code"], "header": unpack_bytes(wanted_error["header"])}
    return got == wanted and error == wanted_error, (got, error)


def check_encode(vector):
    wire = encode(vector["framing"], unpack_bytes(vector["payload"]))
    return wire == (None if vector["wire"] is None else unpack_bytes(vector["wire"])), wire


# ---- Erlang --------------------------------------------------------------------------------------

ERLANG = r"""
-module(framing_peer).
-export([main/0]).

main() ->
    {ok, Cases} = file:consult("cases"),
    lists:foreach(fun run/1, Cases),
    halt(0).

run({decode, Id, Packet, Pieces}) ->
    {Raw, Framed, Listener} = pair(Packet),
    Self = self(),
    spawn_link(fun() -> Self ! {Id, receive_all(Framed, [])} end),
    ok = gen_tcp:controlling_process(Framed, self()),
    [begin ok = gen_tcp:send(Raw, P), timer:sleep(2) end || P <- Pieces],
    gen_tcp:shutdown(Raw, write),
    Packets = receive {Id, All} -> All end,
    lists:foreach(fun gen_tcp:close/1, [Raw, Framed, Listener]),
    print(Id, Packets);
run({encode, Id, Packet, Payload}) ->
    {Raw, Framed, Listener} = pair(Packet),
    ok = gen_tcp:send(Framed, Payload),
    gen_tcp:shutdown(Framed, write),
    Bytes = receive_all(Raw, []),
    lists:foreach(fun gen_tcp:close/1, [Raw, Framed, Listener]),
    print(Id, [iolist_to_binary(Bytes)]).

pair(Packet) ->
    Options = [binary, {active, false}, {nodelay, true}, {ip, {127, 0, 0, 1}}],
    {ok, Listener} = gen_tcp:listen(0, [{packet, raw} | Options]),
    {ok, Port} = inet:port(Listener),
    {ok, Raw} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}]),
    {ok, Framed} = gen_tcp:accept(Listener, 5000),
    ok = inet:setopts(Framed, [{packet, Packet}]),
    {Raw, Framed, Listener}.

receive_all(Socket, Packets) ->
    case gen_tcp:recv(Socket, 0, 5000) of
        {ok, Packet} -> receive_all(Socket, [Packet | Packets]);
        {error, closed} -> lists:reverse(Packets)
    end.

print(Id, Packets) ->
    io:format("~b~s~n", [Id, [[" ", [io_lib:format("~2.16.0b", [B]) || <<B>> <= P], "."] || P <- Packets]]).
"""


def erlang_packet(o):
    """The {packet, _} that says the same, None when there is none."""
    if o["kind"] == "lengthField":
        plain = not any(o.get(key) for key in ("offset", "adjustment", "strip")) and "strip" not in o
        big = o.get("endian", "big") == "big" and "streamAbove" not in o
        return str(o.get("bytes", 4)) if plain and big and o.get("bytes", 4) in (1, 2, 4) else None
    if o["kind"] == "delimiter" and o["delimiters"] == ["0A"] and o.get("strip", True) is False:
        return "line"
    # gen_tcp leaves the line end on; it is taken off before comparing.
    if o["kind"] == "delimiter" and sorted(o["delimiters"]) == ["0A", "0D0A"] and o.get("strip", True):
        return "line"
    return None


def erlang_binary(data):
    return "<<" + ",".join(map(str, data)) + ">>"


def erlang_cases(vectors):
    """-> lines for file:consult, and by id (description, wanted packets, whether to strip line ends)"""
    lines, wanted = [], {}
    for vector in vectors["decode"]:
        packet, data = erlang_packet(vector["framing"]), unpack_bytes(vector["input"])
        only_packets = all("packet" in event for event in vector["events"])
        if packet is None or not data or not only_packets or "error" in vector or vector.get("held"):
            continue
        packets = [unpack_bytes(event["packet"]) for event in vector["events"]]
        for cut in sorted({0, 1, 2, 3, len(data) // 2, len(data) - 1}):
            ident = len(wanted)
            pieces = [p for p in (data[:cut], data[cut:]) if p]
            wanted[ident] = f"{vector['name']}, cut at {cut}", packets, vector["framing"]
            joined = ",".join(map(erlang_binary, pieces))
            lines.append(f"{{decode, {ident}, {packet}, [{joined}]}}.")
    for vector in vectors["encode"]:
        packet = erlang_packet(vector["framing"])
        if packet in (None, "line") or vector["wire"] is None:
            continue
        ident = len(wanted)
        wanted[ident] = f"encode: {vector['name']}", [unpack_bytes(vector["wire"])], vector["framing"]
        payload = erlang_binary(unpack_bytes(vector["payload"]))
        lines.append(f"{{encode, {ident}, {packet}, {payload}}}.")
    return lines, wanted


def check_erlang(vectors):
    lines, wanted = erlang_cases(vectors)
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "framing_peer.erl").write_text(ERLANG)
        (pathlib.Path(folder) / "cases").write_text("\n".join(lines) + "\n")
        command = ["erl", "-noshell", "-noinput", "-eval", "{ok,_}=c:c(framing_peer),framing_peer:main()."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    answers = {}
    for line in done.stdout.splitlines():
        words = line.split()
        if words and words[0].isdigit():
            answers[int(words[0])] = [bytes.fromhex(word[:-1]) for word in words[1:]]
    failures = 0
    for ident, (name, packets, framing) in wanted.items():
        got = answers.get(ident)
        if got is not None and framing["kind"] == "delimiter" and framing.get("strip", True):
            got = [re.sub(rb"\r?\n\Z", b"", line) for line in got]
        if got != packets:
            failures += 1
            print(f"FAIL Erlang: {name}\n  wanted {packets}\n  got    {got}")
    if done.returncode != 0:
        failures += 1
        print(f"FAIL erl ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return len(wanted), failures


def main():
    vectors = json.loads(VECTORS.read_text())
    failures = 0
    for section, check in (("decode", check_decode), ("encode", check_encode)):
        for vector in vectors[section]:
            holds, got = check(vector)
            if not holds:
                failures += 1
                print(f"FAIL {section}: {vector['name']}\n  got {got}")
        print(f"{len(vectors[section])} {section} vectors against Python")
    if "--no-erlang" in sys.argv:
        pass
    elif shutil.which("erl") is None:
        print("Erlang left out: there is no erl here (Debian: erlang-base)")
    else:
        count, failed = check_erlang(vectors)
        failures += failed
        print(f"{count} cases against Erlang's gen_tcp")
    print("FAILED" if failures else "all hold")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
