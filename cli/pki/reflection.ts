/**
 * The three metadata functions on `Reflect` that `@peculiar/x509` needs before it loads: the dependency container inside
 * it refuses to start without them, and brings none. Importing this file before the package is the whole use; a later
 * real polyfill may replace the functions at any time. Nothing of the gateway ever imports it, only the development PKI.
 */

const metadata = new WeakMap<object, Map<unknown, unknown>>()

function get(key: unknown, target: object): unknown {
  return metadata.get(target)?.get(key)
}

function define(key: unknown, value: unknown, target: object): void {
  const entries = metadata.get(target) ?? new Map<unknown, unknown>()
  entries.set(key, value)
  metadata.set(target, entries)
}

if (!("getMetadata" in Reflect)) {
  Object.assign(Reflect, { getMetadata: get, getOwnMetadata: get, defineMetadata: define })
}
