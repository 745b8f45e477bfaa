/**
 * The file that this code runs from: one of the package's, or a bundle's. The build for bundlers replaces this module
 * (tools/build-dist.mjs), since a bundle that is an ES module has no __filename.
 */
export const here: string = __filename
