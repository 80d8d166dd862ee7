import type { FastifyContextConfig, FastifyRequest } from 'fastify'

/** What Fastify keeps of a request's route. */
interface Context { readonly config: FastifyContextConfig }

type Kept = FastifyRequest & Record<symbol, Context | undefined>

/**
 * Makes a function that reads `request.routeOptions.config`. That getter builds an object of twelve properties on each
 * read, which takes longer than all the rest of a decision. So the first read looks for the symbol under which Fastify
 * keeps the route on a request, and later ones use it. If there is none, the getter is read each time.
 */
export function createConfigReader (): (request: FastifyRequest) => FastifyContextConfig {
  let key: symbol | null | undefined
  return request => {
    if (key === undefined) key = findContext(request as Kept)
    const context = key === null ? undefined : (request as Kept)[key]
    return context === undefined ? request.routeOptions.config : context.config
  }
}

function findContext (request: Kept): symbol | null {
  const { config } = request.routeOptions
  return Object.getOwnPropertySymbols(request).find(symbol => request[symbol]?.config === config) ?? null
}
