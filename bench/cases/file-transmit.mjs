import { fileCase } from '../harness/file_case.mjs'

export default fileCase({
  name: 'file-transmit',
  method: 'transmit',
  title: 'a file of 512 MiB, by TransmitFile',
  targets: { cpp: 0.9 },
  javaScriptTargets: { net: 20 }
})
