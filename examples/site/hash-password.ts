// Asks for a password (typed, or piped in), and prints what belongs into ADMIN_PASSWORD_HASH.
import { createInterface } from 'node:readline/promises'
import { hashPassword } from './sign-in.ts'

const terminal = createInterface({ input: process.stdin, output: process.stderr })
console.log(await hashPassword(await terminal.question('Password: ')))
terminal.close()
