import type { RouteMaintenance } from '../types/index.ts'

/** Where `@nestjs/platform-fastify` finds what `@RouteConfig()` says of a handler. */
const ROUTE_CONFIG = '__fastify_route_config__'

/** What `reflect-metadata` adds to `Reflect`; NestJS does not run without it. */
interface Metadata {
  getMetadata (key: string, target: object): object | undefined
  defineMetadata (key: string, value: object, target: object): void
}

/** Decorates a handler of NestJS, or a controller: then it applies to all handlers without a decorator of their own. */
export type MaintenanceDecorator = ClassDecorator & MethodDecorator

/**
 * Never blocks the route. On a handler, write it above `@RouteConfig()`, which would replace it.
 * @example
 * ```ts
 * @MaintenanceOff()
 * @Get('health')
 * health () { return 'ok' }
 * ```
 */
export const MaintenanceOff = (): MaintenanceDecorator => declare('off')

/**
 * Always blocks the route, even while the site is open. On a handler, write it above `@RouteConfig()`, which would
 * replace it.
 */
export const MaintenanceOn = (): MaintenanceDecorator => declare('on')

function declare (maintenance: RouteMaintenance): MaintenanceDecorator {
  const { getMetadata, defineMetadata } = Reflect as unknown as Metadata
  const configOf = (handler: object) => getMetadata(ROUTE_CONFIG, handler)

  return (target: object, _name?: string | symbol, descriptor?: PropertyDescriptor) => {
    if (descriptor !== undefined) {
      return defineMetadata(ROUTE_CONFIG, { ...configOf(descriptor.value), maintenance }, descriptor.value)
    }
    const members = Object.getOwnPropertyDescriptors((target as { prototype: object }).prototype)
    for (const { value } of Object.values(members)) {
      if (typeof value === 'function') defineMetadata(ROUTE_CONFIG, { maintenance, ...configOf(value) }, value)
    }
  }
}
