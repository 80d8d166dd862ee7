import type { RouteMaintenance } from '../types/index.ts'

/** Where `@nestjs/platform-fastify` finds what `@RouteConfig()` says of a handler. */
const ROUTE_CONFIG = '__fastify_route_config__'

/** What `reflect-metadata` adds to `Reflect`; NestJS does not run without it. */
interface Metadata {
  getMetadata (key: string, target: object): object | undefined
  defineMetadata (key: string, value: object, target: object): void
}

/** For a handler of NestJS, or a controller: there, for all handlers that do not say something else themselves. */
export type MaintenanceDecorator = ClassDecorator & MethodDecorator

/** `@MaintenanceOff()`: never refused. On a handler it stands above `@RouteConfig()`, which would replace it. */
export const MaintenanceOff = (): MaintenanceDecorator => declare('off')

/** `@MaintenanceOn()`: always refused. On a handler it stands above `@RouteConfig()`, which would replace it. */
export const MaintenanceOn = (): MaintenanceDecorator => declare('on')

function declare (maintenance: RouteMaintenance): MaintenanceDecorator {
  const { getMetadata, defineMetadata } = Reflect as unknown as Metadata
  const configOf = (handler: object) => getMetadata(ROUTE_CONFIG, handler)

  return (target: object, _name?: string | symbol, descriptor?: PropertyDescriptor) => {
    if (descriptor !== undefined) return defineMetadata(ROUTE_CONFIG, { ...configOf(descriptor.value), maintenance }, descriptor.value)
    const members = Object.getOwnPropertyDescriptors((target as { prototype: object }).prototype)
    for (const { value } of Object.values(members)) {
      if (typeof value === 'function') defineMetadata(ROUTE_CONFIG, { maintenance, ...configOf(value) }, value)
    }
  }
}
