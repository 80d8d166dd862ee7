import { StoreUnknownError } from '../../errors.ts'
import { COMMAND_TIMEOUT } from './connect.ts'

/** Is it what Redis itself answered, with this code? */
export const isReply = (error: Error, code = ''): boolean => error.name === 'ReplyError' && error.message.startsWith(code)

export const isTimeout = (error: Error): boolean => error.message === 'Command timed out'

/** Without the command that failed: its arguments may hold a password. */
export function clean (error: Error): Error {
  return new Error(error.message)
}

/** Redis answers with an error: refused. Nothing was sent: nothing was written. Anything else may have been carried out. */
export function outcome (error: Error): Error {
  const unsent = error.message.includes("isn't writeable") || error.message.includes("isn't ready")
  return isReply(error) || unsent ? clean(error) : new StoreUnknownError(COMMAND_TIMEOUT, { cause: clean(error) })
}
