// NestJS with a gateway: its sockets hang at the server, and never reach Fastify. The adapter refuses new ones while
// the site is closed, and ends those that are open when it closes.
import 'reflect-metadata'
import { Controller, Get, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import { IoAdapter } from '@nestjs/platform-socket.io'
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets'
import type { FastifyInstance } from 'fastify'
import maintenance, { type FastifyMaintenanceOptions, type Maintenance } from 'fastify-maintenance'
import type { Server, ServerOptions } from 'socket.io'

@WebSocketGateway()
class ChatGateway {
  @SubscribeMessage('say')
  say (@MessageBody() text: string) { return { event: 'said', data: text } }
}

@Controller()
class HomeController {
  @Get()
  home () { return 'open' }
}

@Module({ controllers: [HomeController], providers: [ChatGateway] })
class AppModule {}

/** For all gateways of the application. */
class MaintenanceIoAdapter extends IoAdapter {
  readonly #maintenance: Maintenance

  constructor (app: NestFastifyApplication) {
    super(app)
    this.#maintenance = app.getHttpAdapter().getInstance().maintenance
  }

  override createIOServer (port: number, options?: ServerOptions): Server {
    const allowRequest: ServerOptions['allowRequest'] = (request, done) => done(null, !this.#maintenance.active)
    const io: Server = super.createIOServer(port, { ...options, allowRequest })
    this.#maintenance.onChange(() => {
      if (this.#maintenance.active) for (const client of Object.values(io.engine.clients)) client.close()
    })
    return io
  }
}

export async function createChat (options: FastifyMaintenanceOptions) {
  const adapter = new FastifyAdapter()
  await adapter.getInstance<FastifyInstance>().register(maintenance, options)
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, adapter, { logger: false })
  app.useWebSocketAdapter(new MaintenanceIoAdapter(app))
  return app
}
