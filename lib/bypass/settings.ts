/** The option `bypass`, with its defaults. */
export interface BypassSettings {
  readonly path: string
  readonly key: string | undefined
  /** Seconds. */
  readonly ttl: number
  readonly cookie: string
}
