#!/usr/bin/env node
import { main } from './main.ts'

const output = {
  out: (text: string) => { process.stdout.write(text) },
  err: (text: string) => { process.stderr.write(text) }
}

main(process.argv.slice(2), process.env, output).then(code => {
  process.exitCode = code
  // what hangs in the store does not hold the command; nothing is waited for where nothing hangs
  setTimeout(() => process.exit(), 500).unref()
})
