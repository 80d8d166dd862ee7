import { ConflictError, messageOf, UnknownOutcomeError } from '../errors.ts'

/**
 * The error by which `write` of a store rejects if the stored revision is not the expected one.
 * @param stored the stored revision, if the store knows it
 * @param expected the expected revision
 */
export const conflict = (stored?: number, expected?: number): Error =>
  new ConflictError(stored ?? 'another one', expected ?? 'the one that was read')

/**
 * The error by which `write` of a store rejects if the change may or may not have been written.
 * @param cause why it is not known, such as the error of a connection that broke
 */
export const outcomeUnknown = (cause: unknown): Error =>
  new UnknownOutcomeError(messageOf(cause), { cause: cause as Error })
