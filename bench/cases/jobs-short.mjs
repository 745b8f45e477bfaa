import { jobsCase } from '../harness/jobs_case.mjs'

/** Some hundredths of a millisecond: what a job costs besides is to be seen. */
export default jobsCase('jobs-short', 20_000)
