import { fileCase } from '../harness/file_case.mjs'

export default fileCase({
  name: 'file-read',
  method: 'read',
  title: 'a file of 512 MiB, read ahead and sent',
  targets: { cpp: 0.9 },
  javaScriptTargets: { net: 20 }
})
