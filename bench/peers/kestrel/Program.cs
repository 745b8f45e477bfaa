// The peer `kestrel`: a connection handler of ASP.NET Core's server. It echoes packets, 4 bytes of length, big-endian,
// and so many bytes. Options and control lines are those of the other peers.
using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Pipelines;
using System.Net;
using Microsoft.AspNetCore.Connections;

var maxPacket = 1024 * 1024;
for (var i = 0; i + 1 < args.Length; i += 2)
{
    if (args[i] == "--max-packet") maxPacket = int.Parse(args[i + 1]);
}

var builder = WebApplication.CreateBuilder();
builder.Logging.ClearProviders();
builder.Services.AddSingleton(new Limits(maxPacket));
builder.WebHost.ConfigureKestrel(server =>
{
    server.Limits.MaxConcurrentConnections = null;
    server.Listen(IPAddress.Loopback, 0, listener => listener.UseConnectionHandler<Echo>());
});
builder.WebHost.UseSockets(sockets => sockets.Backlog = 511);
var app = builder.Build();
await app.StartAsync();
Answer($"{{\"ready\":{new Uri(app.Urls.First()).Port}}}");
while (Console.ReadLine() is { } line)
{
    using var process = Process.GetCurrentProcess();
    switch (line)
    {
        case "memory":
            GC.Collect();
            Answer($"{{\"memory\":{process.PrivateMemorySize64}}}");
            break;
        case "stats":
            Answer($"{{\"cpu\":{{\"user\":{Microseconds(process.UserProcessorTime)},\"system\":{Microseconds(process.PrivilegedProcessorTime)}}}}}");
            break;
        default:
            Answer("{}");
            break;
    }
}
Environment.Exit(0);

static long Microseconds(TimeSpan time) => (long)time.TotalMicroseconds;

static void Answer(string text)
{
    Console.Out.WriteLine(text);
    Console.Out.Flush();
}

internal sealed record Limits(int MaxPacket);

internal sealed class Echo(Limits limits) : ConnectionHandler
{
    private const int Header = 4;

    public override async Task OnConnectedAsync(ConnectionContext connection)
    {
        var (input, output) = (connection.Transport.Input, connection.Transport.Output);
        try
        {
            while (true)
            {
                var result = await input.ReadAsync();
                var buffer = result.Buffer;
                while (TakePacket(ref buffer, out var packet)) Write(output, packet);
                input.AdvanceTo(buffer.Start, buffer.End);
                var flushed = await output.FlushAsync();
                if (result.IsCompleted || flushed.IsCompleted) return;
            }
        }
        catch (ConnectionResetException)
        {
            // The peer went.
        }
        catch (InvalidDataException)
        {
            connection.Abort();
        }
    }

    private bool TakePacket(ref ReadOnlySequence<byte> buffer, out ReadOnlySequence<byte> packet)
    {
        packet = default;
        if (buffer.Length < Header) return false;
        Span<byte> header = stackalloc byte[Header];
        buffer.Slice(0, Header).CopyTo(header);
        var size = BinaryPrimitives.ReadUInt32BigEndian(header);
        if (size > limits.MaxPacket) throw new InvalidDataException();
        if (buffer.Length < Header + size) return false;
        packet = buffer.Slice(Header, size);
        buffer = buffer.Slice(Header + size);
        return true;
    }

    private static void Write(PipeWriter output, ReadOnlySequence<byte> packet)
    {
        BinaryPrimitives.WriteUInt32BigEndian(output.GetSpan(Header), (uint)packet.Length);
        output.Advance(Header);
        foreach (var part in packet) output.Write(part.Span);
    }
}
