import { createRequire } from 'node:module'
import { resolve } from 'node:path'

/**
 * A literal `require` is what bundlers and Jest follow (`import()` breaks both when the package is missing).
 * In the ES module sources there is no `require`; it throws there, and the application is asked.
 */
const BESIDE_THE_PLUGIN = {
  ioredis: (): unknown => require('ioredis'),
  iovalkey: (): unknown => require('iovalkey')
}

/**
 * Loads a package that the plugin also works without: the copy beside the plugin, or that of the application.
 * @returns `null` if it is not installed
 * @throws what the package throws while it loads
 */
export function optionalRequire (name: keyof typeof BESIDE_THE_PLUGIN): unknown {
  try {
    return BESIDE_THE_PLUGIN[name]()
  } catch {}
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
