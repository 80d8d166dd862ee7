/**
 * The text of an asset, such as `answer/page/page.css`.
 * @param path below lib/
 */
export declare function readAsset (path: string): string
