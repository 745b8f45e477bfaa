// Finding files, and finding out whether they have changed.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { root } from './paths.mjs'

/** All files below a folder of the project whose names end so, sorted, relative to the root, with slashes. */
export function filesBelow(folder, ...endings) {
  const base = path.join(root, folder)
  if (!fs.existsSync(base)) return []
  return fs
    .readdirSync(base, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => slashes(path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name))))
    .sort()
}

export const slashes = (name) => name.split(path.sep).join('/')

/** One hash over the names and contents of files (relative to the root) and over further strings. */
export function digest(files, ...extra) {
  const hash = createHash('sha256')
  for (const file of files) {
    hash.update(`${file}\0`).update(
      createHash('sha256')
        .update(fs.readFileSync(path.join(root, file)))
        .digest()
    )
  }
  for (const text of extra) hash.update(`\0${text}`)
  return hash.digest('hex')
}

export const sha256 = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex')

/** Text of a file, or undefined when there is none. */
export function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw error
  }
}

export function writeFile(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}

/** Leaves the file alone when it says this already, so that make does not rebuild what depends on it. */
export function writeIfChanged(file, text) {
  if (readIfThere(file) !== text) writeFile(file, text)
}
