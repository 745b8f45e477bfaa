import { jobsCase } from '../harness/jobs_case.mjs'

/** Some tenths of a millisecond. */
export default jobsCase('jobs', 200_000)
