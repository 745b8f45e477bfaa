'use strict'
// Preloaded (NODE_OPTIONS) into every node.exe under Wine.
//
// libuv cannot open a Unix pipe or socket that Wine hands on as standard input or output: the first use of
// process.stdout throws 'open EBADF'. Reading and writing the same handles does work, so we do that.
const fs = require('node:fs')
const readline = require('node:readline')
const { Writable } = require('node:stream')

function writeAll(fd, chunk) {
  for (let offset = 0; offset < chunk.length;) {
    try {
      offset += fs.writeSync(fd, chunk, offset)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}

function replacement(fd) {
  const stream = new Writable({
    write(chunk, _encoding, done) {
      try {
        writeAll(fd, chunk)
        done()
      } catch (error) {
        done(error)
      }
    }
  })
  stream.fd = fd
  stream._type = 'pipe'
  stream._isStdio = true
  stream.destroySoon = stream.destroy
  stream._destroy = (error, done) => done(error)
  return stream
}

// tools/wine/session.mjs puts a pipe between node.exe and the user's terminal (Wine would start a console of its own
// on it) and tells us its width, so that programs that draw a progress line still do.
function actAsTerminal(stream, columns) {
  return Object.assign(stream, {
    isTTY: true,
    columns,
    clearLine: (direction, done) => readline.clearLine(stream, direction, done),
    cursorTo: (x, y, done) => readline.cursorTo(stream, x, y, done),
    getColorDepth: () => 1,
    hasColors: () => false
  })
}

const columns = Number(process.env.IOCP_TERMINAL_COLUMNS ?? 0)
for (const [name, fd] of [
  ['stdout', 1],
  ['stderr', 2]
]) {
  try {
    void process[name]
  } catch {
    const stream = replacement(fd)
    if (columns > 0) actAsTerminal(stream, columns)
    Object.defineProperty(process, name, { configurable: true, enumerable: true, get: () => stream })
  }
}
// The program's own children write into pipes of the program.
delete process.env.IOCP_TERMINAL_COLUMNS

try {
  void process.stdin
} catch {
  let stream
  Object.defineProperty(process, 'stdin', {
    configurable: true,
    enumerable: true,
    get: () => (stream ??= fs.createReadStream(null, { fd: 0, autoClose: false }))
  })
}
