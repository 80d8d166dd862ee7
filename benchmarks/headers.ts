/**
 * For how long do the longest headers hold up the event loop? Run with `npx tsx benchmarks/headers.ts`.
 * Measured is the hook of a closed site, in requests that are all different, so that no answer is remembered: the
 * first request of a fresh process, which finds nothing compiled (not for an ordinary header either), and the
 * median of fifty. `ip` is Fastify's own share: `request.ip` behind a list of trusted proxies, without the plugin.
 * It is CPU time, which other processes cannot lengthen; threads that compile and collect are counted in.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import Fastify, { type FastifyReply, type FastifyRequest, type HookHandlerDoneFunction } from 'fastify'
import maintenance from '../index.ts'
import { median, row } from './lib/measure.ts'

type Hook = (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void
interface Result { first: number, median: number }

const PROCESSES = 3
const REQUESTS = 51
const LENGTH = 14_000
const ENTRIES = 1500
const RULES = Array.from({ length: 1000 }, (_, i) => `192.168.${i >> 2}.${(i & 3) * 64}/26`)

/** The `i`th header of each kind. */
const HEADERS: Record<string, Record<string, (i: number) => string>> = {
  accept: {
    'an ordinary one': i => `text/html,application/xhtml+xml;q=0.${i},*/*;q=0.1`,
    'text/x;q=0.1,…': i => `text/y${i},${'text/x;q=0.1,'.repeat(LENGTH / 13)}`,
    'a0,a1,a2,…': i => `x${i},${Array.from({ length: LENGTH / 5 }, (_, n) => `a${n % 1000}`).join(',')}`,
    ',,,…': i => `x${i}${','.repeat(LENGTH)}`,
    ';;;…': i => `x${i}${';'.repeat(LENGTH)}`,
    ';q=1;q=1…': i => `x${i}${';q=1'.repeat(LENGTH / 4)}`,
    blanks: i => `x${i}${' \t'.repeat(LENGTH / 2)},a`,
    'one long word': i => `${'x'.repeat(LENGTH)}${i}`
  },
  'accept-language': { 'en-a0,en-a1,…': i => `x${i},${Array.from({ length: LENGTH / 8 }, (_, n) => `en-a${n}`).join(',')}` },
  'accept-encoding': { 'a0,a1,a2,…': i => `x${i},${Array.from({ length: LENGTH / 5 }, (_, n) => `a${n % 1000}`).join(',')}` },
  'x-forwarded-for': {
    'an ordinary one': i => `8.8.8.${i}, 10.0.0.1`,
    'all trusted': i => `8.8.8.${i}${',10.0.0.1'.repeat(ENTRIES)}`,
    'all trusted, IPv6': i => `8.8.8.${i}${',fd00::1'.repeat(ENTRIES)}`,
    'none trusted': i => `8.8.8.${i}${',8.8.4.4'.repeat(ENTRIES)}`,
    'no addresses': i => `8.8.8.${i}${',unknown'.repeat(ENTRIES)}`,
    'commas alone': i => `8.8.8.${i}${','.repeat(LENGTH)}`
  }
}

const [, , name, kind, share] = process.argv
if (name === undefined || kind === undefined) await compare()
else process.send?.(await ask(name, HEADERS[name]?.[kind] as (i: number) => string, share === 'own'))

async function compare (): Promise<void> {
  console.log(`ms of CPU, medians of ${PROCESSES} processes`)
  row(['', 'first', 'usually', 'first, ip', 'usually, ip'].map((cell, i) => i === 0 ? cell : ` ${cell}`))
  for (const [name, kinds] of Object.entries(HEADERS)) {
    console.log(name)
    for (const kind of Object.keys(kinds)) {
      const shares = name === 'x-forwarded-for' ? ['own', 'fastify'] : ['own']
      const cells = []
      for (const share of shares) {
        const results: Result[] = []
        for (let i = 0; i < PROCESSES; i++) results.push(await inProcess(name, kind, share))
        cells.push(...(['first', 'median'] as const).map(figure => median(results.map(result => result[figure])).toFixed(2)))
      }
      row([`  ${kind}`, ...cells])
    }
  }
}

async function inProcess (...args: string[]): Promise<Result> {
  const [result] = await once(fork(import.meta.filename, args), 'message')
  return result as Result
}

/** @param own what the plugin's hook takes, all in all; else what `request.ip` takes */
async function ask (name: string, make: (i: number) => string, own: boolean): Promise<Result> {
  const times: number[] = []
  const timed = (hook: Hook): Hook => (request, reply, done) => {
    const begin = process.cpuUsage()
    hook(request, reply, done)
    const { user, system } = process.cpuUsage(begin)
    times.push((user + system) / 1000)
  }
  const app = Fastify({ trustProxy: ['127.0.0.1', '10.0.0.0/8', 'fd00::/8'] })
  if (own) {
    const addHook = app.addHook.bind(app) as unknown as (name: string, hook: Hook) => typeof app
    app.addHook = ((name: string, hook: Hook) => addHook(name, name === 'onRequest' ? timed(hook) : hook)) as unknown as typeof app.addHook
    await app.register(maintenance, { pinned: 'closed', ignore: { ips: RULES } })
  } else {
    app.addHook('onRequest', (request, reply, done) => {
      timed(() => request.ip)(request, reply, done)
      done()
    })
  }
  app.get('/', async () => '')
  for (let i = 0; i < REQUESTS; i++) await app.inject({ url: '/', headers: { [name]: make(i) } })
  await app.close()
  return { first: times[0] as number, median: median(times) }
}
