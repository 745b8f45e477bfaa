/** Compiles the addon on the user's machine: the command `npx iocp build`. */

import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { here } from '../common/here.js'

/** An error that the user can fix. */
export class CannotBuild extends Error {}

/** This package: `here` lies in dist/cjs/common. */
const root = resolve(dirname(here), '..', '..', '..')

/** That of this package. */
export function version(): string {
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version
}

/** Compiles the addon, and returns its path. */
export function buildAddon({ out, nodeGyp }: { out: string | undefined; nodeGyp: string | undefined }): string {
  // With a node-gyp of one's own anything can be meant, a cross compiler for Windows too.
  if (process.platform !== 'win32' && nodeGyp === undefined) {
    throw new CannotBuild(`the addon is for Windows, and this is ${process.platform}: there is nothing to build`)
  }
  const gyp = nodeGyp === undefined ? findNodeGyp() : resolve(nodeGyp)
  if (!isFile(gyp)) throw new CannotBuild(`there is no file ${gyp}: --node-gyp names node-gyp's bin/node-gyp.js`)
  const file = out === undefined ? join(root, 'build', 'Release', 'iocp.node') : fileOf(out)
  // Not in the package's own folder: node-gyp works beside its binding.gyp, and one there would make npm compile at
  // every installation. Not in the folder for temporary files: its name may have letters that MSBuild cannot write.
  const work = workFolder(dirname(file))
  try {
    prepare(work)
    const { status, error } = spawnSync(process.execPath, [gyp, 'rebuild'], { cwd: work, stdio: 'inherit' })
    if (error !== undefined) throw error
    if (status !== 0)
      throw new CannotBuild(`${gyp} ended with exit code ${status ?? 'none'}; what it missed stands above`)
    try {
      copyFileSync(join(work, 'build', 'Release', 'iocp.node'), file)
    } catch (error) {
      throw new CannotBuild(`${(error as Error).message}; a program that runs keeps the addon that it has loaded`)
    }
  } finally {
    rmSync(work, { recursive: true, force: true, maxRetries: 10 })
  }
  return file
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}

/** The file that --out names. */
function fileOf(out: string): string {
  const isFolder = out === '' || /[\\/]$/.test(out) || statSync(out, { throwIfNoEntry: false })?.isDirectory() === true
  if (isFolder) throw new CannotBuild(`--out wants the name of a file, such as addon/iocp.node; '${out}' is none`)
  return resolve(out)
}

/** A folder of its own, beside the file. */
function workFolder(folder: string): string {
  try {
    mkdirSync(folder, { recursive: true })
    return mkdtempSync(join(folder, 'iocp-sources-'))
  } catch (error) {
    throw new CannotBuild(`${(error as Error).message}; --out writes the addon to another folder`)
  }
}

/** The sources, laid out as node-gyp wants them. */
function prepare(work: string): void {
  copyFileSync(join(root, 'dist', 'binding.gyp'), join(work, 'binding.gyp'))
  copyFileSync(join(root, 'package.json'), join(work, 'package.json'))
  cpSync(join(root, 'native'), join(work, 'native'), { recursive: true })
  cpSync(join(root, 'dist', 'node-addon-api'), join(work, 'node_modules', 'node-addon-api'), { recursive: true })
}

/** node-gyp is not a dependency, because few users need it: the project's own, or npm's. */
function findNodeGyp(): string {
  const named = process.env['npm_config_node_gyp']
  const npm = join(dirname(process.execPath), 'node_modules', 'npm', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js')
  const found = [ofProject(), named, npm].find((file) => file !== undefined && existsSync(file))
  if (found !== undefined) return found
  throw new CannotBuild(
    "node-gyp was not found: 'npm install --save-dev node-gyp' installs it, or --node-gyp says where it is"
  )
}

function ofProject(): string | undefined {
  try {
    return createRequire(join(process.cwd(), 'package.json')).resolve('node-gyp/bin/node-gyp.js')
  } catch {
    return undefined
  }
}
