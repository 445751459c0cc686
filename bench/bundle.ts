/**
 * The bundle as it is deployed: minified, names of functions not kept (`wrangler.toml`). What is in it, and how large it is.
 */
import { gzipSync } from "node:zlib"
import { build, type Plugin } from "esbuild"
import { ROOT } from "./worker.ts"

/** A bundle, and the octets that each source has in it, by path from the root. */
export interface Bundle {
  readonly code: string
  readonly parts: Readonly<Record<string, number>>
}

/** Sources that lie together, and what they come to. */
export interface Part {
  readonly name: string
  readonly bytes: number
}

/** Most of what is uploaded may come to, gzipped, octets: what is small is loaded and compiled sooner where an isolate begins. */
export const BUNDLE_GZIP_BYTES_MAX = 120 * 1_024

/**
 * Bundles a module with its handlers as wrangler does.
 *
 * @param plugins what is to be put in the place of sources
 * @param format `iife`: as one expression without imports and exports, to be put into other code
 */
export async function bundle(
  entry: string,
  plugins: readonly Plugin[] = [],
  format: "esm" | "iife" = "esm",
): Promise<Bundle> {
  const { metafile, outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    bundle: true,
    write: false,
    minify: true,
    metafile: true,
    format,
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"],
    plugins: [...plugins],
  })
  const parts = Object.values(metafile.outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).map(([path, { bytesInOutput }]) => [path, bytesInOutput] as const),
  )
  return { code: outputFiles[0]?.text ?? "", parts: Object.fromEntries(parts) }
}

/** Returns the octets of code as it is uploaded. */
export function gzipBytesOf(code: string | Uint8Array): number {
  return gzipSync(code, { level: 9 }).length
}

/** Returns sources by package, or by the first two names of their path, largest first. Sources that left nothing are left out. */
export function groupParts(parts: Readonly<Record<string, number>>): readonly Part[] {
  const sums = new Map<string, number>()
  for (const [path, bytes] of Object.entries(parts)) {
    const ofPackage = /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]
    const name = ofPackage ?? path.split("/").slice(0, 2).join("/")
    sums.set(name, (sums.get(name) ?? 0) + bytes)
  }
  return [...sums]
    .map(([name, bytes]) => ({ name, bytes }))
    .filter(({ bytes }) => bytes > 0)
    .toSorted((a, b) => b.bytes - a.bytes)
}
