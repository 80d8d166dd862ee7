import type { FastifyReply, FastifyRequest } from 'fastify'
import { cookieName, findCookie, formatCookie } from '../util/cookie.ts'

/** 192 random bits, and after them at most the name of a site. */
const VALUE = /^[\w-]{32}(\.[\w.-]{1,64})?$/

export function readCookie (request: FastifyRequest, name: string): string | undefined {
  const header = request.headers.cookie ?? ''
  return findCookie(header, cookieName(name, request), value => VALUE.test(value)) ?? undefined
}

/** @param maxAge seconds; absent: until the browser is closed */
export function writeCookie (
  request: FastifyRequest, reply: FastifyReply, name: string, value: string, maxAge?: number
): void {
  reply.header('set-cookie', formatCookie({ name, value, maxAge, sameSite: 'Strict' }, request))
}
