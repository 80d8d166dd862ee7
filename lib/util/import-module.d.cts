/** Imports a module of the user, by its URL. */
export declare function importModule (url: string): Promise<Record<string, unknown>>
