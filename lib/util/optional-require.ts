import { createRequire } from 'node:module'
import { resolve } from 'node:path'

/**
 * Each a literal `require` in a `try` of its own: bundlers follow it, and a package that is missing is no error of
 * theirs. (`import()` breaks webpack and Jest.) In the ES module sources there is no `require`; the application is
 * asked then.
 */
const BESIDE_THE_PLUGIN = {
  ioredis () {
    try { return require('ioredis') as unknown } catch { return null }
  },
  iovalkey () {
    try { return require('iovalkey') as unknown } catch { return null }
  },
  pg () {
    try { return require('pg') as unknown } catch { return null }
  },
  mysql2 () {
    try { return require('mysql2') as unknown } catch { return null }
  },
  'better-sqlite3' () {
    try { return require('better-sqlite3') as unknown } catch { return null }
  },
  'node:sqlite' () {
    try { return require('node:sqlite') as unknown } catch { return null }
  }
}

/**
 * Loads a package that the plugin also works without: the copy beside the plugin, or that of the application.
 * @returns `null` if it is not installed
 * @throws what the package throws while it loads
 */
export function optionalRequire (name: keyof typeof BESIDE_THE_PLUGIN): unknown {
  const beside = BESIDE_THE_PLUGIN[name]()
  /* c8 ignore next -- only the built plugin, which is CommonJS, has a require */
  if (beside !== null) return beside
  for (const root of [String(process.argv[1]), '_']) {
    const requireThere = createRequire(resolve(root))
    try {
      requireThere.resolve(name)
    } catch {
      continue
    }
    return requireThere(name)
  }
  return null
}
