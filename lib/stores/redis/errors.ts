import { OutcomeUnknownError } from '../../errors.ts'
import { COMMAND_TIMEOUT } from './client.ts'

/** Is it what Redis itself answered, with this code? */
export const isReply = (error: Error, code = ''): boolean =>
  error.name === 'ReplyError' && error.message.startsWith(code)

export const isTimeout = (error: Error): boolean => error.message === 'Command timed out'

/** Without the command that failed: its arguments may hold a password. */
export function clean (error: Error): Error {
  return new Error(error.message)
}

/** A command for which there was no connection; ioredis 5 and 6 say so in words of their own. */
export const isUnsent = (error: Error): boolean => /^Stream isn't writeable|^Cluster isn't ready/.test(error.message)

/** ioredis, of a command whose connection broke before the answer came. */
export const isInterrupted = (error: Error): boolean => error.name === 'MaxRetriesPerRequestError'

const NO_CONNECTION = 'no connection: '

/** The error of a command that was not sent. */
export const noConnection = (reason: string): Error => new Error(`${NO_CONNECTION}${reason}`)

/** An error reply or an unsent command means not written; anything else leaves the outcome unknown. */
export function outcome (error: Error): Error {
  const refused = isReply(error) || error.message.startsWith(NO_CONNECTION)
  return refused ? clean(error) : new OutcomeUnknownError(COMMAND_TIMEOUT, { cause: clean(error) })
}
