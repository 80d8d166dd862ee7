import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type {
  BypassOptions,
  CloseStreamsOptions,
  FastifyMaintenanceOptions,
  PageTexts,
  ResponseOptions,
  ScheduleOptions
} from '../types/index.ts'
import type { ResponseSettings } from './answer/settings.ts'
import type { BypassSettings } from './bypass/settings.ts'
import type { CloseStreamsSettings } from './drain/close-streams.ts'
import type { HoldSettings } from './hold-queue.ts'
import { BRAND } from './answer/brand.ts'
import type { FenceSettings } from './servers/fence.ts'
import { isCacheHeader } from './answer/cache-headers.ts'
import { isRedirect, REDIRECT_EXPECTED } from './answer/redirect.ts'
import { bundledName, TEXTS, type TextsByLanguage } from './answer/texts.ts'
import {
  checkShape,
  either,
  func,
  integer,
  isObject,
  isRule,
  literal,
  seconds,
  text,
  type Rule,
  type Shape
} from './util/validate.ts'
import { siteName } from './util/site-name.ts'
import { InvalidOptionError, messageOf, OptionError, show } from './errors.ts'
import { suggest } from './util/did-you-mean.ts'
import { showType } from './util/show.ts'
import { compileIps, IP_RULE_EXPECTED, isIpRule, type IpMatcher } from './match/ip.ts'
import { whyRefused } from './match/safe-regexp.ts'
import { isPattern, PATTERN_EXPECTED } from './match/route.ts'
import { isLanguage, message } from './state/message.ts'
import { mode } from './state/record.ts'
import { scheduleProblem, toCron, type ScheduleEntry } from './state/schedule.ts'
import { duration, DURATION_EXPECTED, toDuration } from './util/duration.ts'
import { readStore, SHAPES, type StoreOption } from './stores/options.ts'

/** The options with their defaults, checked once: trusted from here on. */
export interface Settings {
  readonly pinned: 'open' | 'closed' | undefined
  readonly whenUnknown: 'open' | 'closed'
  /** `null`: the server never closes itself. */
  readonly fence: FenceSettings | null
  /** The server's own site; empty with `siteOf`. */
  readonly site: string
  readonly siteOf: ((request: FastifyRequest) => string) | null
  readonly sites: readonly string[]
  readonly store: StoreOption
  readonly ignore: {
    readonly routes: readonly (string | RegExp)[]
    /** Compiled, because 100,000 rules as text would take the most memory of all. `null`: there are none. */
    readonly ips: IpMatcher | null
    readonly ipRules: number
    readonly request: ((request: FastifyRequest) => boolean | Promise<boolean>) | undefined
  }
  /** How long before a window responses announce it, ms; `null`: never. */
  readonly announce: number | null
  /** The path of the public status, without the prefix of the plugin; `null`: there is none. */
  readonly publicStatus: string | null
  readonly response: ResponseSettings
  /** `null`: there is none. */
  readonly bypass: BypassSettings | null
  readonly schedule: readonly ScheduleEntry[]
  readonly hold: HoldSettings
  /** `null`: they stay open. */
  readonly closeStreams: CloseStreamsSettings | null
  readonly onBlocked: FastifyMaintenanceOptions['onBlocked']
  readonly onChange: FastifyMaintenanceOptions['onChange']
}

/** A 503 for it makes crawlers drop the whole site. */
export const ROBOTS = '/robots.txt'

/** Headers that follow from the answer itself. */
const OWN_HEADERS = [
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'keep-alive',
  'maintenance-mode',
  'maintenance-pass',
  'refresh',
  'retry-after',
  'transfer-encoding'
]

const HOUR = 3_600_000

const anything: Rule = { expected: '', test: () => true }

const plainPath: Rule = { expected: PATTERN_EXPECTED, test: value => isPattern(value) && !/[:*]/.test(value) }

const SHAPE: Shape = {
  pinned: literal('open', 'closed'),
  whenUnknown: literal('open', 'closed'),
  fence: { after: duration(1000, 14_999) },
  site: either(siteName, func),
  sites: anything,
  store: anything,
  ignore: { routes: anything, ips: anything, request: func },
  response: {
    statusCode: integer(200, 599),
    retryAfter: either(seconds, literal(false)),
    type: either(literal('auto', 'html', 'json', 'text'), func),
    template: text(1000),
    json: func,
    texts: { expected: 'an object of languages and words', test: isObject },
    brand: BRAND,
    data: { expected: 'an object or a function', test: value => isObject(value) || typeof value === 'function' },
    redirect: { expected: REDIRECT_EXPECTED, test: isRedirect },
    refresh: seconds,
    headers: { expected: 'an object of names and values', test: isObject }
  },
  publicStatus: plainPath,
  announce: duration(1, 366 * 24 * HOUR),
  bypass: {
    path: plainPath,
    key: {
      expected: 'a secret of 32 to 1000 characters',
      test: value => typeof value === 'string' && value.length >= 32 && value.length <= 1000
    },
    ttl: seconds,
    cookie: {
      expected: 'a name of letters, digits, _ and -',
      test: value => typeof value === 'string' && /^[\w-]{1,64}$/.test(value)
    }
  },
  schedule: anything,
  hold: { max: integer(1, 1_000_000), timeout: duration(1, 600_000) },
  closeStreams: { after: duration(0, HOUR), jitter: duration(0, HOUR) },
  onBlocked: func,
  onChange: func,
  // Fastify's own, which it hands to every plugin
  prefix: anything,
  logLevel: anything,
  logSerializers: anything
}

/**
 * Checks the options and fills in the defaults.
 * @throws FST_ERR_MAINTENANCE_OPTION with the name, the value and what is expected
 */
export function readOptions (options: FastifyMaintenanceOptions): Settings {
  checkShape(SHAPE, options, fail)
  const { site = 'default', ignore = {}, response = {} } = options
  const ips = readList('ignore.ips', ignore.ips ?? [], { expected: IP_RULE_EXPECTED, test: isIpRule })
  return Object.freeze({
    pinned: options.pinned,
    whenUnknown: options.whenUnknown ?? 'open',
    fence: options.fence === undefined ? null : { after: toDuration(options.fence.after ?? '12s') },
    site: typeof site === 'function' ? '' : site,
    siteOf: typeof site === 'function' ? site : null,
    sites: readSites(site, options.sites),
    store: readStore(options.store),
    ignore: {
      routes: readRoutes('ignore.routes', ignore.routes ?? []),
      ips: compileIps(ips),
      ipRules: ips.length,
      request: ignore.request
    },
    publicStatus: options.publicStatus ?? null,
    announce: options.announce === undefined ? null : toDuration(options.announce),
    response: {
      statusCode: response.statusCode ?? 503,
      retryAfter: response.retryAfter ?? 300,
      type: response.type ?? 'auto',
      template: response.template,
      data: response.data,
      json: response.json,
      texts: readTexts(response.texts ?? {}),
      brand: response.brand ?? {},
      redirect: response.redirect,
      refresh: response.refresh,
      headers: readHeaders(response.headers ?? {})
    },
    bypass: options.bypass === undefined ? null : readBypass(options.bypass),
    schedule: readSchedule(options.schedule ?? []),
    hold: { max: options.hold?.max ?? 1000, timeout: toDuration(options.hold?.timeout ?? '10s') },
    closeStreams: options.closeStreams === undefined ? null : readCloseStreams(options.closeStreams),
    onBlocked: options.onBlocked,
    onChange: options.onChange
  })
}

function fail (name: string, value: unknown, expected: string, known?: readonly string[]): Error {
  if (known !== undefined) return new InvalidOptionError(`unknown option '${name}'. ${suggest(name, PATHS, known)}`)
  return new OptionError(name || 'options', isSecret(name, value) ? showType(value) : show(value), expected)
}

/** Parts of `store` and `bypass` that hold no secret, not even by mistake. An object may have other parts. */
const HARMLESS = ['store.prefix', 'store.mirror', 'store.pollInterval', 'bypass.path', 'bypass.ttl', 'bypass.cookie']

const isSecret = (name: string, value: unknown): boolean =>
  /^(store|bypass)\b/.test(name) && (typeof value === 'object' || !HARMLESS.includes(name))

/** All options that there are, with their parts. */
const PATHS = [...pathsOf(SHAPE), ...Object.values(SHAPES).flatMap(shape => pathsOf(shape, 'store.'))]

function pathsOf (shape: Shape, prefix = ''): string[] {
  return Object.entries(shape).flatMap(([name, part]) => [
    prefix + name,
    ...(isRule(part) ? [] : pathsOf(part, `${prefix}${name}.`))
  ])
}

const routeRule: Rule = {
  expected: `${PATTERN_EXPECTED}, or a RegExp`,
  test: value => value instanceof RegExp || isPattern(value)
}

function readRoutes (name: string, value: string | RegExp | (string | RegExp)[]): (string | RegExp)[] {
  return readList(name, value, routeRule).map((pattern, i) => {
    const reason = pattern instanceof RegExp ? whyRefused(pattern) : null
    if (reason === null) return pattern
    const place = Array.isArray(value) ? `${name}[${i}]` : name
    throw new InvalidOptionError(`option '${place}' is ${show(pattern)}. ${reason} (see docs/ignored-routes.md)`)
  })
}

/** A lone value where a list belongs is a list of one, never a list of its characters. */
function readList<T> (name: string, value: T | T[], rule: Rule): T[] {
  const list = Array.isArray(value) ? value : [value]
  list.forEach((entry, i) => {
    if (!rule.test(entry)) throw fail(Array.isArray(value) ? `${name}[${i}]` : name, entry, rule.expected)
  })
  return [...list]
}

function readSites (
  site: NonNullable<FastifyMaintenanceOptions['site']>,
  names: string | string[] | undefined
): string[] {
  if (names === undefined) {
    if (typeof site === 'string') return [site]
    throw fail('sites', names, "the list of all sites that the function 'site' can name")
  }
  const sites = readList('sites', names, siteName)
  const twice = sites.find((name, i) => sites.indexOf(name) !== i)
  if (sites.length === 0 || twice !== undefined) throw fail('sites', names, 'one or more names, each once')
  if (typeof site === 'string' && !sites.includes(site)) {
    throw new InvalidOptionError(
      `sites must contain this server's own site. Set site: '${sites[0]}', or add '${site}' to sites`
    )
  }
  return sites
}

const WORD = text(1000)
const MODE_WORDS: Shape = { title: WORD, message: WORD, expected: WORD, later: WORD }
const WORDS: Shape = {
  ...Object.fromEntries(Object.keys(TEXTS.en).map(name => [name, WORD])), 'read-only': MODE_WORDS, hold: MODE_WORDS
}

/** Under our names of the languages; a value of `undefined` counts as not given. */
function readTexts (texts: NonNullable<ResponseOptions['texts']>): TextsByLanguage {
  return Object.fromEntries(Object.entries(texts).filter(([, words]) => words !== undefined).map(([tag, words]) => {
    const at = `response.texts.${tag}`
    if (!isLanguage(tag)) throw fail(at, words, "a language tag such as 'de' or 'pt-BR'")
    checkShape(WORDS, words, fail, at)
    return [bundledName(tag), withoutUndefined(words)]
  }))
}

const withoutUndefined = (words: PageTexts | undefined): PageTexts => JSON.parse(JSON.stringify(words))

const readBypass = ({
  path = '/maintenance/bypass',
  key,
  ttl = 43_200,
  cookie = 'maintenance'
}: BypassOptions): BypassSettings => ({ path, key, ttl, cookie })

const readCloseStreams = ({ after = '5s', jitter = '2s' }: CloseStreamsOptions): CloseStreamsSettings =>
  ({ after: toDuration(after), jitter: toDuration(jitter) })

const schedule: Shape = {
  cron: text(200),
  duration: duration(1000, 3650 * 86_400_000),
  timeZone: text(100),
  mode,
  message
}

function readSchedule (entries: ScheduleOptions | ScheduleOptions[]): ScheduleEntry[] {
  return [entries].flat().map((entry, i) => {
    const at = `schedule[${i}]`
    checkShape(schedule, entry, fail, at)
    const { cron, duration, timeZone, mode = 'full', message = null } = entry
    if (cron === undefined) throw fail(`${at}.cron`, cron, CRON_EXPECTED)
    if (duration === undefined) throw fail(`${at}.duration`, duration, DURATION_EXPECTED)
    const length = toDuration(duration)
    const problem = problemOf(cron, timeZone, length)
    if (problem !== null) throw fail(`${at}.cron`, cron, `${CRON_EXPECTED} (${problem})`)
    return { cron, duration: length, timeZone, mode, message }
  })
}

const CRON_EXPECTED = "a cron pattern such as '0 1 * * sun', and an IANA time zone"

function problemOf (cron: string, timeZone: string | undefined, duration: number): string | null {
  try {
    return scheduleProblem(toCron(cron, timeZone), duration)
  } catch (error) {
    return messageOf(error)
  }
}

function readHeaders (headers: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => {
    const at = `response.headers.${name}`
    if (OWN_HEADERS.includes(name.toLowerCase())) {
      throw fail(at, value, `no header of the answer itself (${OWN_HEADERS.join(', ')})`)
    }
    if (isCacheHeader(name.toLowerCase())) {
      throw fail(at, value, "no header for caches: the answer is always 'no-store'")
    }
    if (typeof value !== 'string' || !isHeader(name, value)) {
      throw fail(at, value, 'a valid header name and a string without line breaks or control characters')
    }
    return [name.toLowerCase(), value]
  }))
}

function isHeader (name: string, value: string): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    return true
  } catch {
    return false
  }
}
