// A sign-in for one person: enough to show where it belongs. With more people, their hashes come from your database.
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

declare module 'fastify' {
  interface Session { user?: string }
}

const derive = promisify<string, Buffer, number, Buffer>(scrypt)

export async function hashPassword (password: string): Promise<string> {
  const salt = randomBytes(16)
  return `${salt.toString('hex')}:${(await derive(password, salt, 32)).toString('hex')}`
}

async function isPassword (password: string, hash: string): Promise<boolean> {
  const [salt = '', key = ''] = hash.split(':')
  const expected = Buffer.from(key, 'hex')
  const derived = await derive(password, Buffer.from(salt, 'hex'), 32)
  return expected.length === derived.length && timingSafeEqual(expected, derived)
}

const DEFAULT_PASSWORD = 'maintenance'
const LOCAL = ['localhost', '127.0.0.1', '::1']

/** The hash from the environment. The default password is for trying it out on your own machine only. */
export async function passwordHash (host: string, hash = process.env.ADMIN_PASSWORD_HASH): Promise<string> {
  if (hash !== undefined && !/^[0-9a-f]{32}:[0-9a-f]{64}$/.test(hash)) throw new Error('ADMIN_PASSWORD_HASH is not a hash: make one with "npx tsx examples/site/hash-password.ts"')
  if (hash !== undefined) return hash
  if (!LOCAL.includes(host)) throw new Error(`No start on ${host} with the default password: make a hash with "npx tsx examples/site/hash-password.ts", and set ADMIN_PASSWORD_HASH`)
  return hashPassword(DEFAULT_PASSWORD)
}

/**
 * The routes of the sign-in are never blocked, or nobody could open the site again. In front of a public one, put
 * @fastify/rate-limit.
 */
export function addSignIn (app: FastifyInstance, hash: string): void {
  const options = { config: { maintenance: 'off' } } as const
  app.get('/sign-in', options, async (_request, reply) => reply.view('sign-in', { failed: false }))
  app.post<{ Body: { password?: string } }>('/sign-in', options, async (request, reply) => {
    if (!await isPassword(request.body?.password ?? '', hash)) return reply.code(401).view('sign-in', { failed: true })
    // a new id, so that nobody knows it who knew the one before
    await request.session.regenerate()
    request.session.user = 'admin'
    return reply.redirect('/maintenance/', 303)
  })
  app.post('/sign-out', options, async (request, reply) => {
    await request.session.destroy()
    return reply.redirect('/', 303)
  })
}

/** For the admin page: who is signed in, or the way to the sign-in. */
export async function authorize (request: FastifyRequest, reply: FastifyReply): Promise<string | FastifyReply> {
  const { user } = request.session
  if (user !== undefined) return user
  const isNavigation = request.method === 'GET' && request.headers.accept?.includes('text/html') === true
  return isNavigation ? reply.redirect('/sign-in') : reply.code(401).send({ error: 'Sign in first' })
}
