import type { FastifyReply, FastifyRequest } from 'fastify'
import { cookieName, findCookie } from '../bypass/request.ts'

/** Ours are 192 random bits, a name of a site behind them at most. */
const VALUE = /^[\w-]{32}(\.[\w.-]{1,64})?$/

export function readCookie (request: FastifyRequest, cookie: string): string | undefined {
  return findCookie(request.headers.cookie ?? '', cookieName({ cookie }, request), value => VALUE.test(value)) ?? undefined
}

/** @param maxAge seconds; absent: until the browser ends */
export function writeCookie (request: FastifyRequest, reply: FastifyReply, cookie: string, value: string, maxAge?: number): void {
  const age = maxAge === undefined ? '' : `; Max-Age=${maxAge}`
  const secure = request.protocol === 'https' ? '; Secure' : ''
  reply.header('set-cookie', `${cookieName({ cookie }, request)}=${value}; Path=/${age}; HttpOnly; SameSite=Strict${secure}`)
}
