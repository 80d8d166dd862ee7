// The declarations of the package's entry: `module.exports` is the plugin itself, and everything public is a member of it.
import type {
  Bypass, BypassOptions, ChangeKind, ChangeListener, CloseStreamsOptions, CustomStoreOptions, Decision,
  DrainErrorDetails, DrainOptions, FastifyMaintenance, FastifyMaintenanceOptions, FenceOptions,
  FileStoreOptions, HistoryEntry, HoldOptions, IgnoredRoute, IgnoreOptions, Maintenance, MaintenanceChange,
  MaintenanceStatus, MaintenanceStore, MaintenanceUpdate, Message, Mode, OpenOptions, PageBrand, PageTexts,
  PageWords, PublicStatus, Reason, RedisClient, RedisStoreOptions, RequestMaintenance, ResponseOptions,
  ResponseType, RouteMaintenance, RunContext, RunningRuns, RunOptions, ScheduleOptions, ServerSite,
  ServerStatus, SiteState, Source, SqlDialect, SqlOptions, SqlQuery, SqlStoreOptions, StoreExtras, StoreStatus,
  TemplateVariables, UpcomingWindow, UpdateOptions, WaitOptions, WindowKind, WindowStatus, WriteOptions
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
    Bypass, BypassOptions, ChangeKind, ChangeListener, CloseStreamsOptions, CustomStoreOptions, Decision,
    DrainErrorDetails, DrainOptions, FastifyMaintenance, FastifyMaintenanceOptions, FenceOptions,
    FileStoreOptions, HistoryEntry, HoldOptions, IgnoredRoute, IgnoreOptions, Maintenance, MaintenanceChange,
    MaintenanceStatus, MaintenanceStore, MaintenanceUpdate, Message, Mode, OpenOptions, PageBrand, PageTexts,
    PageWords, PublicStatus, Reason, RedisClient, RedisStoreOptions, RequestMaintenance, ResponseOptions,
    ResponseType, RouteMaintenance, RunContext, RunningRuns, RunOptions, ScheduleOptions, ServerSite,
    ServerStatus, SiteState, Source, SqlDialect, SqlOptions, SqlQuery, SqlStoreOptions, StoreExtras,
    StoreStatus, TemplateVariables, UpcomingWindow, UpdateOptions, WaitOptions, WindowKind, WindowStatus,
    WriteOptions
  }
}

export = fastifyMaintenance
