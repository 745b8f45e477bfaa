#!/usr/bin/env node
// What prebuildify calls in place of node-gyp: builds in the current folder as all other builds here are made.
import { main } from '../lib/run.mjs'
import { buildAddon } from './node-gyp.mjs'

const arch = process.argv.find((word) => word.startsWith('--arch='))?.slice('--arch='.length)
await main(() => buildAddon({ folder: process.cwd(), arch }))
