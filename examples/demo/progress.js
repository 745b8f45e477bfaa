// @ts-check

/**
 * Shows a line that changes: in a terminal always the same one, elsewhere a new one now and then.
 * `columns` comes from whoever runs us with a pipe in front of a terminal.
 */
const columns = Number(process.env['IOCP_TERMINAL_COLUMNS']) || (process.stdout.isTTY ? process.stdout.columns : 0)

/** @param {() => string} text */
export function showProgress(text) {
  const show = () => {
    if (columns > 0)
      process.stdout.write(
        `\r${text()
          .slice(0, columns - 1)
          .padEnd(columns - 1)}`
      )
    else console.log(text())
  }
  const timer = setInterval(show, columns > 0 ? 200 : 1000)
  return {
    end() {
      clearInterval(timer)
      if (columns > 0) process.stdout.write(`\r${' '.repeat(columns - 1)}\r`)
    }
  }
}

/** @param {number} bytes */
export function formatBytes(bytes) {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  for (; bytes >= 10_240 && unit < units.length - 1; unit++) bytes /= 1024
  return `${Math.round(bytes).toLocaleString('en')} ${units[unit]}`
}
