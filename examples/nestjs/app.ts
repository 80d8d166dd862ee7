// NestJS on Fastify: some handlers and controllers that stay open, or closed, whatever happens.
import 'reflect-metadata'
import { Controller, Get, Module, Post } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, RouteConfig, type NestFastifyApplication } from '@nestjs/platform-fastify'
import maintenance, { type FastifyMaintenanceOptions } from 'fastify-maintenance'
import { MaintenanceOff, MaintenanceOn } from 'fastify-maintenance/nest'

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
class AppModule {}

export async function createShop (options: FastifyMaintenanceOptions) {
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), { logger: false })
  await app.register(maintenance, options)
  return app
}
