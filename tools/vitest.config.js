// Runs in the Windows Node.js: on Windows, or under Wine. `npm test` starts it (tools/test.mjs).
import { defineConfig } from 'vitest/config'

// These are compiled, not run (tools/type-tests.mjs).
const compiled = 'test/types/**'

export default defineConfig({
  root: new URL('..', import.meta.url).pathname.replace(/^\/([A-Za-z]:)/, '$1'),
  cacheDir: '.cache/vite',
  // Vite's own pattern leaves out .cts.
  oxc: { include: /\.[cm]?tsx?$/ },
  test: {
    projects: [
      // They share modules that keep nothing, and have no addon: not a process for each file.
      { extends: true, test: { name: 'unit', include: ['test/unit/*.test.ts'], isolate: false } },
      { extends: true, test: { name: 'whole', include: ['test/**/*.test.ts'], exclude: [compiled, 'test/unit/**'] } }
    ],
    // Processes, not threads: the addon is loaded and left once for each test file, as in a user's program.
    pool: 'forks',
    maxWorkers: 2,
    // With loads for a night (`npm run test:long`) only the load itself can tell how long it takes.
    testTimeout: process.env.IOCP_LONG === '1' ? 3_600_000 : 30_000,
    hookTimeout: 30_000,
    // A test that passes at the second try has found something.
    retry: 0,
    allowOnly: process.env.CI !== 'true',
    server: {
      // The built library is loaded by Node itself, as users load it.
      deps: { external: [/[\\/]dist[\\/]/] }
    }
  }
})
