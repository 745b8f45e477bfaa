/** Paths as the native calls take them: none that the system would cut. */

import { describe, expect, test } from 'vitest'
import { hasFaults } from '../helpers/faults.js'
import { Rig } from './rig.js'

describe.skipIf(!hasFaults)('a path that is empty or has a NUL', () => {
  test.each(['', 'a\0', '\0', String.raw`C:\secret.txt` + '\0.png'])('%j', async (path) => {
    const rig = new Rig()
    const { engine } = rig
    const wrong = /wrong argument: path/
    expect(() => engine.openSource(path, false, true)).toThrow(wrong)
    expect(() => engine.openTarget(path, 1, false, false)).toThrow(wrong)
    expect(() => engine.moveFile(path, 'a', true)).toThrow(wrong)
    expect(() => engine.moveFile('a', path, true)).toThrow(wrong)
    expect(() => engine.renameFile({}, path, true)).toThrow(wrong)
    await rig.finish()
  })
})
