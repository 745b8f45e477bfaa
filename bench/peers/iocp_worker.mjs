// A worker of the peer `iocp`. The load generator wants its message back.
import { defineJobs } from 'iocp/worker'
import { work } from './work.mjs'

let rounds

export default defineJobs(
  {
    packet(job) {
      work(job.data, rounds)
      job.reply(job.data)
    }
  },
  {
    setup(context) {
      rounds = context.data.rounds
    }
  }
)
