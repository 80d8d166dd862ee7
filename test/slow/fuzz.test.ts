import { fork, type ChildProcess } from 'node:child_process'
import { once, type EventEmitter } from 'node:events'
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { until } from '../fixtures/app.ts'
import {
  ACCEPT,
  ASK,
  asksReply,
  BLOCKED,
  blockedReplies,
  EARLY,
  HANDLER,
  isAsked,
  isLetIn,
  ROUTES,
  STATES,
  STATUS,
  type Config,
  type Path,
  type Plan,
  type State
} from '../fixtures/fuzz.ts'
import { createParser } from '../fixtures/http1-parser.ts'
import { createRandom } from '../fixtures/random.ts'

// Whatever hooks, callbacks and clients do, in any combination and at any time of a state change, every request gets
// one
// answer that its states allow, or its connection is closed for a reason; no blocked handler runs; nothing is left
// behind.
// The seed is printed: MAINTENANCE_SEED repeats a test, and MAINTENANCE_FUZZ=20000 sends more requests.

const REQUESTS = Number(process.env.MAINTENANCE_FUZZ ?? 2500)
/** Simultaneous connections. */
const LANES = 48
/** The longest path: ignore.request (3 s), a hold, onBlocked (3 s), an unfinished answer (3 s). */
const BOUND = 12_000
/** A request whose client has hung up counts for 60 s if its handler never answers. */
const QUIET_WITHIN = 75_000

interface Target { version: 1 | 2, config: Config, port: number }
interface Measured {
  heap: number,
  alive: number,
  statuses: {
    inFlight: number; held: number; counts: { blocked: number, ignored: number }
  }[]
}
interface Outcome { readonly status: number | 'closed', readonly headers: IncomingHttpHeaders }
type Message = { violation?: string, servers?: Target[], answer?: Measured }

const CLOSED: Outcome = { status: 'closed', headers: {} }

t.test('hooks × answers, at random', { timeout: 240_000 + REQUESTS * 60 }, async t => {
  const random = createRandom(t)
  const chance = (percent: number): boolean => random(100) < percent
  const oneOf = <T>(list: readonly T[]): T => list[random(list.length)] as T
  const mostly = <T>(percent: number, first: T, list: readonly T[]): T => chance(percent) ? first : oneOf(list)
  const violations: string[] = []
  const seen: Record<string, number> = {}
  const unanswered = new Set<Plan>()
  const child = startServer(t, violations)
  const { servers } = await once(child, 'message').then(([message]) => message as Required<Message>)
  const states: State[] = ['open']
  let settled = 0
  let id = 0

  function plan (): Plan {
    const made: Plan = {
      id: id++,
      method: oneOf(['GET', 'GET', 'GET', 'POST', 'HEAD']),
      path: mostly(40, '/plain', Object.keys(ROUTES) as Path[]),
      early: mostly(60, 'nothing', EARLY),
      ask: mostly(40, 'no', ASK.slice(0, chance(3) ? undefined : -1)),
      blocked: mostly(40, 'nothing', BLOCKED.slice(0, chance(5) ? undefined : -2)),
      handler: mostly(50, 'value', HANDLER),
      accept: oneOf(ACCEPT),
      onSend: chance(60) ? 0 : random(60),
      slow: random(80)
    }
    if (made.blocked === 'replies late' && !['nothing', 'bad headers'].includes(made.early)) {
      return { ...made, early: 'nothing' }
    }
    // an error that Fastify throws in a timer ends the process
    if (made.blocked === 'bad headers' && ['begins a reply', 'slow'].includes(made.early)) {
      return { ...made, early: 'nothing' }
    }
    return made.blocked === 'unsendable' ? { ...made, onSend: 0 } : made
  }

  /** The small oracle: whether the outcome is possible, given all states during the request. */
  function isAllowed (
    plan: Plan, { version, config }: Target, { status, headers }: Outcome, lifetime: readonly State[]
  ): boolean {
    const letIn = lifetime.some(state => isLetIn(plan, state, config))
    const blocked = lifetime.some(
      state => !isLetIn(plan, state, config) || (config === 'timeout' && isAsked(plan, state))
    )
    const callbacks = config !== 'plain'
    const { early } = plan
    if (headers['maintenance-mode'] !== undefined && headers['maintenance-pass'] === undefined) {
      return blocked && !['throws', 'replies', 'hijacks', 'writes the head'].includes(early)
    }
    switch (status) {
      case STATUS.handler: return letIn && !['throws', 'replies', 'begins a reply'].includes(early)
        ? true
        : early === 'hijacks'
      case STATUS.early: return ['replies', 'begins a reply', 'hijacks', 'writes the head'].includes(early)
      case STATUS.earlyFailed: return early === 'throws'
      case STATUS.blocked: return blocked && callbacks
      case STATUS.redirected: return blocked && callbacks && plan.blocked === 'redirects'
      case STATUS.asked: return asksReply(plan, config)
      case STATUS.handlerFailed: return letIn && plan.handler === 'throws'
      // Fastify's own
      case 500: return blocked && plan.blocked === 'unsendable'
      case 503: return config === 'timeout' &&
        (letIn || ['slow', 'begins a reply'].includes(early) || asksReply(plan, config) || callbacks)
      // Fastify closes the connection if handlerTimeout or a reply comes after the head
      case 'closed': return version === 1 && early === 'writes the head' &&
        (config === 'timeout' || asksReply(plan, config) || blockedReplies(plan, config))
      default: return false
    }
  }

  function judge (plan: Plan, target: Target, outcome: Outcome, since: number): void {
    unanswered.delete(plan)
    seen[outcome.status] = (seen[outcome.status] ?? 0) + 1
    const lifetime = states.slice(since)
    if (!isAllowed(plan, target, outcome, lifetime)) {
      violations.push(
      `HTTP/${target.version}, ${target.config}: answer ${outcome.status} ${JSON.stringify(
        outcome.headers
      )}, states ${lifetime}: ${JSON.stringify(plan)}`
      )
    }
  }

  async function batch (): Promise<void> {
    const target = oneOf(servers)
    const plans = Array.from({ length: chance(50) ? 1 : 1 + random(8) }, plan)
    for (const plan of plans) unanswered.add(plan)
    const abortAfter = chance(20) ? random(100) : null
    const since = settled
    const late = Symbol('late')
    const bound = new AbortController()
    const outcome = await Promise.race([
      (target.version === 1 ? batchHttp1 : batchHttp2)(target, plans, abortAfter),
      sleep(BOUND, late, { signal: bound.signal }).catch(() => {})
    ])
    bound.abort()
    if (outcome === late) {
      violations.push(`HTTP/${target.version}, ${target.config}, hangs up after ${abortAfter}: no answer within ${BOUND} ms to ${JSON.stringify(
      plans.filter(plan => unanswered.has(plan))
    )}, states ${states.slice(since)}`)
    }
    for (const plan of plans) unanswered.delete(plan)
  }

  /** Pipelined on one connection. */
  async function batchHttp1 (target: Target, plans: Plan[], abortAfter: number | null): Promise<void> {
    const since = settled
    const socket = connect(target.port, '127.0.0.1').on('error', () => {})
    const waiting = [...plans]
    let closes = false
    const parser = createParser(() => waiting[0]?.method === 'HEAD', (status, headers) => {
      const plan = waiting.shift()
      closes = headers.connection === 'close' || (closes as boolean)
      if (plan === undefined) violations.push(`one answer too many (${status}): ${JSON.stringify(plans)}`)
      else judge(plan, target, { status, headers }, since)
      if (waiting.length === 0) setTimeout(() => socket.destroy(), 5)
    })
    socket.on('data', chunk => {
      try { parser.push(chunk) } catch (error) {
        violations.push(`${error}: ${JSON.stringify(plans)}`); socket.destroy()
      }
    })
    socket.on('end', () => parser.end())
    socket.write(plans.map(plan =>
      `${plan.method} ${urlOf(plan)} HTTP/1.1\r\nhost: a\r\naccept: ${plan.accept}\r\n${plan.method === 'POST'
      ? 'content-type: application/json\r\ncontent-length: 2\r\n\r\n{}'
      : '\r\n'}`).join(''))
    const timer =
      abortAfter === null ? undefined : setTimeout(() => { waiting.length = 0; socket.destroy() }, abortAfter)
    await closed(socket)
    clearTimeout(timer)
    // nothing is known about requests after one that closed the connection
    if (waiting.length > 0 && !closes) judge(waiting[0] as Plan, target, CLOSED, since)
  }

  async function batchHttp2 (target: Target, plans: Plan[], abortAfter: number | null): Promise<void> {
    const since = settled
    const session = connectHttp2(`http://127.0.0.1:${target.port}`).on('error', () => {}) as ClientHttp2Session
    const timer = abortAfter === null || chance(50) ? undefined : setTimeout(() => session.destroy(), abortAfter)
    await Promise.all(
      plans.map(plan => stream(session, target, plan, since, timer === undefined ? abortAfter : Infinity))
    )
    clearTimeout(timer)
    session.destroy()
  }

  async function stream (
    session: ClientHttp2Session, target: Target, plan: Plan, since: number, abortAfter: number | null
  ): Promise<void> {
    const stream = session.request({
      ':method': plan.method,
      ':path': urlOf(plan),
      accept: plan.accept,
      ...(plan.method === 'POST' ? { 'content-type': 'application/json' } : {})
    })
    let outcome = CLOSED
    stream.on('error', () => {}).on('response', headers => {
      outcome = { status: Number(headers[':status']), headers }
    }).resume().end(plan.method === 'POST' ? '{}' : undefined)
    const timer =
      abortAfter === null || abortAfter === Infinity ? undefined : setTimeout(() => stream.close(8), abortAfter)
    await closed(stream)
    clearTimeout(timer)
    if (outcome !== CLOSED || abortAfter === null) judge(plan, target, outcome, since)
  }

  async function run (requests: number): Promise<void> {
    const end = id + requests
    const goesOn = (): boolean => id < end
    const changing = changeStates(goesOn)
    await Promise.all(Array.from({ length: LANES }, async () => { while (goesOn()) await batch() }))
    await changing
  }

  async function changeStates (goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      await change(oneOf(STATES))
      await sleep(20 + random(100))
    }
    await change('open')
  }

  async function change (state: State): Promise<void> {
    states.push(state)
    await ask(child, { state })
    settled = states.length - 1
  }

  // the first quarter is a warm-up: code is compiled, caches fill
  const heaps: number[] = []
  const alive: number[] = []
  for (let quarter = 1; quarter <= 4; quarter++) {
    await run(Math.ceil(REQUESTS / 4))
    const measured = await quiet()
    heaps.push(measured.heap)
    alive.push(measured.alive)
  }
  const [before, after] = [heaps[0], heaps[3]] as [number, number]
  t.comment(JSON.stringify({ requests: id, changes: states.length, seen, heaps, alive }))
  t.strictSame(violations.slice(0, 20), [], `${violations.length} violations`)
  t.ok(after - before < 4, `${after - before} MB more`)
  t.ok(id >= REQUESTS)
  child.disconnect()

  /** Waits until nothing is in flight or held, and all replies are released. */
  async function quiet (): Promise<Measured> {
    let last = await ask(child, {})
    const isQuiet = ({ alive, statuses }: Measured): boolean =>
      alive < 60 && statuses.every(({ inFlight, held }) => inFlight === 0 && held === 0)
    await until('nothing is left behind', async () => isQuiet(last = await ask(child, {})), QUIET_WITHIN).catch(
      error => { violations.push(`${error.message}: ${JSON.stringify(last)}`) }
    )
    return last
  }
})

/** `once` rejects on an error. */
const closed = (stream: EventEmitter): Promise<unknown> => new Promise(resolve => { stream.once('close', resolve) })

const urlOf = (plan: Plan): string => `${plan.path}?p=${encodeURIComponent(JSON.stringify(plan))}`

function startServer (t: Test, violations: string[]): ChildProcess {
  const child = fork('test/fixtures/fuzz-server.ts', {
    execArgv: ['--expose-gc', '--import', 'tsx'],
    env: { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  })
  t.teardown(() => {
    child.removeAllListeners('exit')
    child.kill('SIGKILL')
  })
  child.on('message', ({ violation }: Message) => { if (violation !== undefined) violations.push(violation) })
  child.on('exit', code => { if (code !== 0) t.fail(`the server has exited: ${code}`) })
  return child
}

async function ask (child: ChildProcess, message: object): Promise<Measured> {
  return new Promise((resolve, reject) => {
    child.on('message', take).once('exit', end)
    child.send(message)
    function take ({ answer }: Message): void {
      if (answer === undefined) return
      child.off('message', take).off('exit', end)
      resolve(answer)
    }
    function end (): void {
      reject(new Error('the server has exited'))
    }
  })
}
