#!/usr/bin/env node
import { main } from './main.ts'

const interrupted = new AbortController()
const output = {
  /* c8 ignore start -- the tests have no terminal */
  terminal: process.stdout.isTTY,
  color: process.stdout.isTTY && !process.env.NO_COLOR,
  /* c8 ignore stop */
  signal: interrupted.signal,
  out: (text: string) => { process.stdout.write(text) },
  err: (text: string) => { process.stderr.write(text) }
}

/* c8 ignore start -- test/cli.test.ts, on what was built */
// the reader has gone: `… --watch | head`
process.stdout.on('error', () => process.exit())
// what is being written is written; a second Ctrl-C ends at once
if (process.argv.includes('--watch')) process.once('SIGINT', () => interrupted.abort())
/* c8 ignore stop */

main(process.argv.slice(2), process.env, output).then(code => {
  process.exitCode = code
  // what hangs in the store does not hold the command; if nothing hangs, this keeps nothing waiting
  /* c8 ignore next -- a process that is ended this way says nothing of its coverage */
  setTimeout(() => process.exit(), 500).unref()
})
