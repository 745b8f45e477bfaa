// A reporter of vitest: writes down what went wrong outside of any test, so that tools/test.mjs can tell what it was.
import fs from 'node:fs'

export const errorsFile = '.cache/reports/vitest-errors.json'

export default class ErrorsReporter {
  onTestRunEnd(_modules, errors) {
    fs.writeFileSync(errorsFile, JSON.stringify(errors.map(({ message }) => message)))
  }
}
