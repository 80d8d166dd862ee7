/** Reads a file of lib/, such as `answer/page/page.eta`. */
export declare function readAsset (path: string): string
