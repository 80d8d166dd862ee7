// NestJS on Fastify: some handlers and controllers that stay open, or closed, whatever happens.
import type { IncomingMessage, ServerResponse } from 'node:http'
import 'reflect-metadata'
import { Controller, Get, Module, Post, type MiddlewareConsumer, type NestModule } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, RouteConfig, type NestFastifyApplication } from '@nestjs/platform-fastify'
import type { FastifyInstance } from 'fastify'
import maintenance, { type FastifyMaintenanceOptions } from 'fastify-maintenance'
import { MaintenanceOff, MaintenanceOn } from 'fastify-maintenance/nest'

/** A middleware. None runs for a blocked request. */
function greet (_request: IncomingMessage, response: ServerResponse, next: () => void) {
  response.setHeader('x-greeting', 'welcome')
  next()
}

@Controller('shop')
class ShopController {
  @Get()
  list () { return ['a book'] }

  @RouteConfig({ maintenance: 'off' })
  @Get('about')
  about () { return 'always open' }

  @MaintenanceOff()
  @RouteConfig({ rateLimit: false })
  @Get('imprint')
  imprint () { return 'always open' }

  @RouteConfig({ maintenance: 'read' })
  @Post('search')
  search () { return ['a book'] }
}

@MaintenanceOff()
@Controller('health')
class HealthController {
  @Get()
  live () { return 'alive' }

  @MaintenanceOn()
  @Get('old')
  old () { return 'never seen' }
}

@Module({ controllers: [ShopController, HealthController] })
class AppModule implements NestModule {
  configure (consumer: MiddlewareConsumer) {
    consumer.apply(greet).forRoutes('*path')
  }
}

export async function createShop (options: FastifyMaintenanceOptions) {
  const adapter = new FastifyAdapter()
  await adapter.getInstance<FastifyInstance>().register(maintenance, options)
  return await NestFactory.create<NestFastifyApplication>(AppModule, adapter, { logger: false })
}
