#!/usr/bin/env escript
%% Erlang's own framing: packet4.escript <port>
main([Port]) ->
    {ok, Socket} = gen_tcp:connect("127.0.0.1", list_to_integer(Port), [binary, {packet, 4}, {active, false}, {nodelay, true}]),
    Sizes = [0, 1, 2, 255, 256, 65535, 65536, 1000000],
    Packets = [rand:bytes(Size) || Size <- Sizes],
    %% One by one, then all at once.
    [begin ok = gen_tcp:send(Socket, Packet), {ok, Packet} = gen_tcp:recv(Socket, 0, 20000) end || Packet <- Packets],
    spawn_link(fun() -> [ok = gen_tcp:send(Socket, Packet) || Packet <- Packets] end),
    [{ok, Packet} = gen_tcp:recv(Socket, 0, 20000) || Packet <- Packets],
    ok = gen_tcp:close(Socket),
    io:format("~b packets~n", [2 * length(Packets)]).
