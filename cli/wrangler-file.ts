/**
 * Reads a wrangler configuration file the way wrangler does, and picks out what the gateway needs of it.
 */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { experimental_readRawConfig, unstable_readConfig } from "wrangler"
import { UsageError } from "./usage-error.ts"

interface Bound {
  readonly binding: string
}

/** What a binding with `fetch` leads to. */
export type FetcherKind = "service" | "mtls_certificate" | "vpc_service"

/** One environment of a configuration file. */
export interface WranglerEnvironment {
  /** Undefined for the top level. */
  readonly name: string | undefined
  readonly vars: Readonly<Record<string, unknown>>
  readonly workersDev: boolean | undefined
  readonly previewUrls: boolean | undefined
  readonly objectBindings: readonly { readonly name: string; readonly class_name: string }[]
  readonly sqliteClasses: readonly string[]
  readonly crons: readonly string[]
  readonly rateLimits: readonly { readonly name: string; readonly simple: { readonly period: number } }[]
  readonly queueProducers: readonly { readonly binding: string; readonly queue: string }[]
  /** Bindings that have `fetch`, by name. */
  readonly fetchers: ReadonlyMap<string, FetcherKind>
  readonly queueConsumers: readonly { readonly queue: string; readonly dead_letter_queue?: string | undefined }[]
}

/** Returns the absolute path of an existing configuration file. */
export function findConfigFile(path: string): string {
  const file = resolve(path)
  if (!existsSync(file)) {
    throw new UsageError(
      `No configuration at ${file}. Name one with --config, or run this in the directory of your wrangler.toml.`,
    )
  }
  return file
}

/** Returns the names of the environments in a file. */
export function environmentNames(file: string): readonly string[] {
  return Object.keys(readOrExplain(file, () => experimental_readRawConfig({ config: file }).rawConfig.env ?? {}))
}

/** Returns one environment of a file. */
export function readEnvironment(file: string, name: string | undefined): WranglerEnvironment {
  if (name !== undefined && !environmentNames(file).includes(name)) {
    throw new UsageError(
      `${file} has no environment "${name}"; it has: ${["(top level)", ...environmentNames(file)].join(", ")}`,
    )
  }
  const config = readOrExplain(file, () =>
    unstable_readConfig({ config: file, ...(name === undefined ? {} : { env: name }) }, { hideWarnings: true }),
  )
  return {
    name,
    vars: config.vars as Readonly<Record<string, unknown>>,
    workersDev: config.workers_dev,
    previewUrls: config.preview_urls,
    objectBindings: config.durable_objects.bindings,
    sqliteClasses: config.migrations.flatMap(
      (migration: { readonly new_sqlite_classes?: string[] }) => migration.new_sqlite_classes ?? [],
    ),
    crons: config.triggers.crons ?? [],
    rateLimits: config.ratelimits ?? [],
    queueProducers: config.queues.producers ?? [],
    fetchers: new Map<string, FetcherKind>([
      ...(config.services ?? []).map(({ binding }: Bound) => [binding, "service"] as const),
      ...config.mtls_certificates.map(({ binding }: Bound) => [binding, "mtls_certificate"] as const),
      ...config.vpc_services.map(({ binding }: Bound) => [binding, "vpc_service"] as const),
    ]),
    queueConsumers: config.queues.consumers ?? [],
  }
}

function readOrExplain<T>(file: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}
