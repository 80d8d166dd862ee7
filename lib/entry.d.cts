// The declarations of the package's entry: `module.exports` is the plugin itself, and everything public is a member of it.
import type {
  Bypass, BypassOptions, ChangeListener, CloseStreamsOptions, CustomStoreOptions, Decision, DrainOptions, FastifyMaintenance,
  FastifyMaintenanceOptions, FileStoreOptions, HistoryEntry, HoldOptions, IgnoreOptions, IgnoredRoute, Maintenance,
  MaintenanceChange, MaintenanceStatus, MaintenanceStore, Mode, Reason, RedisClient, RedisStoreOptions,
  ResponseOptions, ResponseType, RouteMaintenance, RunOptions, ScheduleOptions, ServerStatus, SiteState,
  Source, SqlDialect, SqlOptions, SqlQuery, SqlStoreOptions, StillRunning, StoreExtras, StoreStatus, Upcoming, WaitOptions, WriteCondition
} from '../types/index.ts'
import { conflict, outcomeUnknown } from './stores/store-errors.ts'

/**
 * Maintenance mode for Fastify: register it, then close the site with `fastify.maintenance.set(true)`.
 * @throws FST_ERR_MAINTENANCE_OPTION while it is registered, if an option is invalid
 * @throws FST_ERR_MAINTENANCE_TEMPLATE at boot, if `response.template` cannot be rendered
 * @throws FST_ERR_MAINTENANCE_ROUTE when a route is declared whose `config.maintenance` is invalid
 */
declare function fastifyMaintenance (...parameters: Parameters<FastifyMaintenance>): ReturnType<FastifyMaintenance>

declare namespace fastifyMaintenance {
  export {
    fastifyMaintenance, fastifyMaintenance as default, conflict, outcomeUnknown,
    Bypass, BypassOptions, ChangeListener, CloseStreamsOptions, CustomStoreOptions, Decision, DrainOptions, FastifyMaintenance,
    FastifyMaintenanceOptions, FileStoreOptions, HistoryEntry, HoldOptions, IgnoreOptions, IgnoredRoute, Maintenance,
    MaintenanceChange, MaintenanceStatus, MaintenanceStore, Mode, Reason, RedisClient, RedisStoreOptions,
    ResponseOptions, ResponseType, RouteMaintenance, RunOptions, ScheduleOptions, ServerStatus, SiteState,
    Source, SqlDialect, SqlOptions, SqlQuery, SqlStoreOptions, StillRunning, StoreExtras, StoreStatus, Upcoming, WaitOptions, WriteCondition
  }
}

export = fastifyMaintenance
