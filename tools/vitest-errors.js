// A reporter of vitest: writes down what went wrong outside of any test, so that tools/test.mjs can tell what it was.
import fs from 'node:fs'
import path from 'node:path'

export const errorsFile = '.cache/reports/vitest-errors.json'

export default class ErrorsReporter {
  onTestRunEnd(_modules, errors) {
    // In a fresh clone the folder may not be there yet: a run of no other kind has written a report.
    fs.mkdirSync(path.dirname(errorsFile), { recursive: true })
    fs.writeFileSync(errorsFile, JSON.stringify(errors.map(({ message }) => message)))
  }
}
