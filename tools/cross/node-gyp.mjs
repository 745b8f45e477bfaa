// node-gyp, building this addon: on Windows with MSVC and for the machine's architecture, elsewhere with MinGW-w64 for
// x64.
import { createRequire } from 'node:module'
import path from 'node:path'
import { writeIfChanged } from '../lib/files.mjs'
import { findProgram } from '../lib/install.mjs'
import { fromRoot, inCache, isWindows, root, targetArch } from '../lib/paths.mjs'
import { run } from '../lib/run.mjs'
import { napiStub } from './napi-stub.mjs'

/**
 * Configures and builds in `folder`/build, where `folder` holds binding.gyp and native/. What has not changed is not
 * compiled again. `compiler` is a pair of names for C and C++ (MinGW's GCC when not given).
 */
export async function buildAddon({ folder = root, fault = false, werror = false, compiler, arch = targetArch }) {
  const variables = [`-Diocp_werror=${werror ? 1 : 0}`, `-Diocp_fault=${fault ? 1 : 0}`]
  const options = { cwd: folder, env: isWindows ? process.env : crossEnvironment(compiler) }
  if (!isWindows) {
    const stub = 'build/napi_stub.c'
    writeIfChanged(path.join(folder, stub), napiStub())
    variables.push('-DOS=win', `-Diocp_napi_stub=${stub}`, `-Diocp_node_api_headers=${nodeApiHeaders}`)
  }
  const gyp = nodeGyp()
  const quiet = process.env.IOCP_VERBOSE ? [] : ['--loglevel=warn']
  await run(process.execPath, [gyp, 'configure', `--arch=${arch}`, ...quiet, '--', ...variables], options)
  await run(process.execPath, [gyp, 'build', '-j', '2', ...quiet], options)
}

/**
 * node-gyp 13, which keeps the linker options of Node's own releases from MSVC, or 12 where this Node.js is too old for
 * it; binding.gyp leaves those options out as well, for whoever builds with another node-gyp.
 */
export function nodeGyp() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const forNewest = major >= 26 || (major === 24 && minor >= 15) || (major === 22 && minor >= 22)
  return createRequire(import.meta.url).resolve(`${forNewest ? 'node-gyp-13' : 'node-gyp'}/bin/node-gyp.js`)
}

const triple = 'x86_64-w64-mingw32'
const nodeApiHeaders = fromRoot('node_modules', 'node-api-headers', 'include')

/**
 * The same sources are compiled several times: for the test variant, which differs in some of them, for the prebuilt
 * addon, and for `iocp build` of the tests. So paths that the compiler is told are the same for all of them, but for
 * those that -ffile-prefix-map takes out again.
 */
const cacheOfCompiler = {
  CCACHE_DIR: inCache('ccache'),
  CCACHE_NOHASHDIR: '1',
  CCACHE_MAXSIZE: '500M',
  // The test variant's node_modules is a link.
  NODE_PRESERVE_SYMLINKS: '1',
  // In CI everything is compiled with it first (tools/ci.mjs): what has passed that compiles without it to the same. It
  // is not ignored elsewhere, where a file may have been compiled without it, and with a warning.
  ...(process.env.IOCP_WERROR === '1' && { CCACHE_IGNOREOPTIONS: '-Werror' })
}

function crossEnvironment(compiler = [`${triple}-gcc-posix`, `${triple}-g++-posix`]) {
  const env = {
    ...process.env,
    // "posix" is the thread model whose libstdc++ has std::thread and std::mutex.
    CC: compiler[0],
    CXX: findProgram('ccache') === undefined ? compiler[1] : `ccache ${compiler[1]}`,
    ...cacheOfCompiler,
    LINK: compiler[1],
    AR: `${triple}-ar`,
    LC_ALL: 'C',
    SOURCE_DATE_EPOCH: '0',
    // npm exports a user's own `nodedir` setting, and node-gyp lets it win over --nodedir. This name wins over both.
    npm_package_config_node_gyp_nodedir: fromRoot('tools', 'cross', 'nodedir')
  }
  // A user's flags would make other bytes out of the same sources.
  for (const name of ['CFLAGS', 'CXXFLAGS', 'CPPFLAGS', 'LDFLAGS']) delete env[name]
  return env
}
