import { setTimeout as sleep } from 'node:timers/promises'
import { conflict, outcomeUnknown, type MaintenanceStore } from 'fastify-maintenance'

const encode = (text: string) => Buffer.from(text).toString('base64')
const decode = (value: string) => Buffer.from(value, 'base64').toString()
/** All keys below a path: '0' is the character behind '/'. */
const below = (path: string) => ({ key: encode(`${path}/`), range_end: encode(`${path}0`) })

/** Keeps the state in etcd. @param url of its HTTP gateway, such as `http://etcd.internal:2379` */
export function createEtcdStore (url: string, prefix = '/maintenance'): MaintenanceStore {
  const closed = new AbortController()

  async function call (path: string, body: object, signal = AbortSignal.timeout(1500)) {
    const response = await fetch(`${url}/v3/${path}`, { method: 'POST', body: JSON.stringify(body), signal })
    if (!response.ok) throw Object.assign(new Error(`etcd refused: ${await response.text()}`), { isRefusal: true })
    return response
  }

  async function write (site: string, record: string, { revision, expectedRevision }: { revision: number, expectedRevision?: number }) {
    const [recordKey, revisionKey] = ['records', 'revisions'].map(kind => encode(`${prefix}/${kind}/${site}`))
    const compare = { key: revisionKey, ...(expectedRevision === 0 ? { target: 'VERSION', version: 0 } : { target: 'VALUE', value: encode(`${expectedRevision}`) }) }
    const put = [{ key: recordKey, value: encode(record) }, { key: revisionKey, value: encode(`${revision}`) }]
    const transaction = { compare: expectedRevision === undefined ? [] : [compare], success: put.map(requestPut => ({ requestPut })) }
    const response = await call('kv/txn', transaction).catch(error => { throw error.isRefusal ? error : outcomeUnknown(error) })
    const { succeeded } = await response.json() as { succeeded?: boolean }
    if (succeeded !== true) throw conflict(undefined, expectedRevision)
  }

  async function watch (onChange: (site?: string) => void) {
    while (!closed.signal.aborted) {
      try {
        const { body } = await call('watch', { create_request: below(`${prefix}/records`) }, closed.signal)
        // the first message says that etcd is watching; earlier changes were missed
        await body?.pipeTo(new WritableStream({ write: () => onChange() }))
      } catch {}
      await sleep(1000, undefined, { ref: false })
    }
  }

  async function list (keys: object): Promise<string[]> {
    const { kvs = [] } = await (await call('kv/range', keys)).json() as { kvs?: { value: string }[] }
    return kvs.map(({ value }) => decode(value))
  }

  return {
    read: async site => (await list({ key: encode(`${prefix}/records/${site}`) }))[0] ?? null,
    write,
    watch: onChange => { watch(onChange).catch(() => {}) },
    close: () => closed.abort(),
    async heartbeat (server, entry, ttl) {
      const key = encode(`${prefix}/servers/${server}`)
      const lease = ttl === 0 ? null : await (await call('lease/grant', { TTL: Math.ceil(ttl / 1000) })).json() as { ID: string }
      await (lease === null ? call('kv/deleterange', { key }) : call('kv/put', { key, value: encode(entry), lease: lease.ID }))
    },
    heartbeats: () => list(below(`${prefix}/servers`))
  }
}
