import { isCommand, type CommandName } from './options.ts'

const COMMON = `  --store ADDRESS   where the state is kept: redis://…, rediss://… or file:PATH; or the variable MAINTENANCE_STORE
  --prefix PREFIX   of the keys in Redis; default fastify-maintenance:
  --json            print JSON: { "v": 1, "sites": [ … ] }
  -h, --help        help; with a command, help on it
  -v, --version
`

const SUMMARY = `fastify-maintenance: close and open the sites of Fastify servers

  fastify-maintenance on     [site…]        close sites, or announce a window
  fastify-maintenance off    [site…]        open sites
  fastify-maintenance extend [site…] 30m    move the end
  fastify-maintenance change [site…]        change only what is named
  fastify-maintenance cancel [site] [ID]    cancel a planned window
  fastify-maintenance status [site…]        show what visitors get
  fastify-maintenance history [site]        show who changed what, newest first
  fastify-maintenance servers [site]        show the live servers, and what is still running on them
  fastify-maintenance help [command]

Without a site: default.

${COMMON}
Exit codes: 0 done; for status: open · 4 status: closed · 1 the store failed · 2 wrong usage, nothing was changed
3 not safe (--wait), or a server does the opposite; the change stands
`

const WINDOW = `  --message TEXT            shown to visitors
  --message-lang de=TEXT    the same in one language; may be repeated
  --mode MODE               full: block everything (default); read-only: let reads through; hold: keep requests waiting
  --starts-at TIME          ISO 8601 with a zone, such as 2026-12-01T03:00:00Z; in the future: announce a window
  --in 2h                   the same, counted from now
  --ends-at TIME            the site reopens automatically
  --for 30m                 the same, counted from the start
  --retry-after SECONDS     for clients, while no end is known
  --ignore-route PATTERN    let through as well: /health, or /admin/* for everything below; may be repeated
  --ignore-ip BLOCK         let through as well: 192.0.2.7 or 10.0.0.0/8; may be repeated
  --only-route PATTERN      close only this part of the site; may be repeated
  --bypass                  make a secret link for testers, and show it once
`

const WRITE = `  --by NAME                 who makes the change
  --wait[=30s]              return once every live server has followed and, if the site closes, nothing from before is running
`

const TEXTS: { readonly [name in CommandName]: string } = {
  on: `fastify-maintenance on [site…]: close sites

${WINDOW}${WRITE}  --force                   also close a site that is neither stored nor served

  fastify-maintenance on --message 'Back at noon' --for 30m
  fastify-maintenance on shop --mode read-only --in 2h --for 1h
  fastify-maintenance on --wait=1m && npm run migrate
`,
  off: `fastify-maintenance off [site…]: open sites. Windows that are still to come stay planned.

${WRITE}  --force                   also end runs that keep the site closed

  fastify-maintenance off
`,
  extend: `fastify-maintenance extend [site…] DURATION|TIME: move the end, and leave everything else as it is

  --window ID               another window than the current one
${WRITE}
  fastify-maintenance extend 30m
`,
  change: `fastify-maintenance change [site…]: change only what is named

${WINDOW}  --no-message, --no-end, --no-retry-after, --no-bypass
  --no-ignore-route PATTERN, --no-ignore-ip BLOCK, --no-only-route PATTERN
  --window ID               another window than the current one
${WRITE}
  fastify-maintenance change --message 'It takes a little longer'
  fastify-maintenance change --ignore-ip 192.0.2.7
`,
  cancel: `fastify-maintenance cancel [site] [ID]: cancel a planned window; without an id, the only one

  --by NAME                 who makes the change

  fastify-maintenance cancel
`,
  status: `fastify-maintenance status [site…]: show what visitors get

  --watch                   show every change, until Ctrl-C

  fastify-maintenance status shop
`,
  history: `fastify-maintenance history [site]: show who changed what, newest first

  fastify-maintenance history
`,
  servers: `fastify-maintenance servers [site]: show the live servers, and what is still running on them

  fastify-maintenance servers
`,
  help: SUMMARY
}

export const helpOf = (subject: string): string => isCommand(subject) && subject !== 'help' ? `${TEXTS[subject]}\n${COMMON}` : SUMMARY
