// A queue worker that rests while the site is closed, in whichever process it lives.
import { Worker, type ConnectionOptions, type Processor } from 'bullmq'
import Fastify, { type FastifyInstance } from 'fastify'
import maintenance from 'fastify-maintenance'

/** A job that is under way is finished; none is begun while the site is closed, read-only windows included. */
function restWhileClosed (app: FastifyInstance, worker: Worker): void {
  const follow = () => {
    const moved = app.maintenance.active ? worker.pause() : worker.resume()
    moved.catch(error => app.log.error({ err: error }, 'the worker did not follow'))
  }
  app.maintenance.onChange(follow)
  follow()
}

export async function startWorker (connection: ConnectionOptions & { host: string, port: number }, work: Processor) {
  const app = Fastify()
  await app.register(maintenance, { store: { redis: connection } })
  // a wait until it is safe to migrate waits for running jobs, too
  const tracked: Processor = (job, ...rest) => app.maintenance.track(() => work(job, ...rest), `job ${job.name}`)
  // not started before it is known whether the site is closed
  const worker = new Worker('mails', tracked, { connection, autorun: false })
  restWhileClosed(app, worker)
  app.addHook('onClose', () => worker.close())
  await app.ready()
  return { app, worker }
}
