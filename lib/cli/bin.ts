#!/usr/bin/env node
import { main } from './main.ts'

const interrupted = new AbortController()
const output = {
  terminal: process.stdout.isTTY,
  color: process.stdout.isTTY && !process.env.NO_COLOR,
  signal: interrupted.signal,
  out: (text: string) => { process.stdout.write(text) },
  err: (text: string) => { process.stderr.write(text) }
}

// the reader has gone: `… --watch | head`
process.stdout.on('error', () => process.exit())
// what is being written is written; a second Ctrl-C ends at once
if (process.argv.includes('--watch')) process.once('SIGINT', () => interrupted.abort())

main(process.argv.slice(2), process.env, output).then(code => {
  process.exitCode = code
  // what hangs in the store does not hold the command; if nothing hangs, this keeps nothing waiting
  setTimeout(() => process.exit(), 500).unref()
})
