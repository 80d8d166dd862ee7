export const BROWSER: Record<string, string>
export const API_CLIENT: Record<string, string>
