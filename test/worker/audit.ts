/**
 * Trails under test: their sinks, their objects, and what has arrived.
 */
import { runInDurableObject } from "cloudflare:test"
import { env } from "cloudflare:workers"
import { GATEWAY_TRAIL, parseAuditLine, type AuditDraft, type AuditRecord } from "../../src/core/audit/audit-record.ts"
import { verifyTrails, type TrailVerdict } from "../../src/core/audit/audit-verify.ts"
import type { SinkEndpoint } from "../../src/sinks/post.ts"
import { fixtures, setAuditSinks, sinkPosts } from "./harness.ts"

/** A stub of a trail's object. */
export type TrailObject = ReturnType<NonNullable<Env["AUDIT_TRAIL"]>["getByName"]>

/** Returns the object of a trail. */
export function trailObject(name: string): TrailObject {
  if (env.AUDIT_TRAIL === undefined) throw new Error("AUDIT_TRAIL is not bound")
  return env.AUDIT_TRAIL.getByName(name)
}

/** Returns a draft of a request. */
export function draft(id: string, kind: AuditDraft["kind"] = "intent"): AuditDraft {
  return {
    id: `${id}/${kind}`,
    kind,
    time: new Date().toISOString(),
    actor: { client_id: "acme" },
    ...(kind === "intent" ? {} : { outcome: { status: 200 } }),
    config_version: "v1",
  }
}

/** Returns a sink of trails without credentials. */
export function endpoint(url: string): SinkEndpoint {
  return { url, authorizationSecret: undefined, headerSecrets: [], isCompressed: false }
}

/** Lets trails go to sinks that behave so, from now to the end of the test. Returns the name under which each records its posts. */
export function useSinks(...behaviours: readonly string[]): readonly string[] {
  const names = behaviours.map(() => crypto.randomUUID())
  setAuditSinks(behaviours.map((behaviour, index) => endpoint(sinkUrl(names[index] ?? "", behaviour))))
  return names
}

/** Lets the trails of these names go to other behaviours: other sinks, as far as the object can tell. */
export function sinkUrl(name: string, behaviour: string): string {
  return `http://127.0.0.1:${fixtures.sinkPort}/${name}/${behaviour}`
}

/** Returns the lines that a sink was sent, whether or not it acknowledged them. */
export async function sentLines(name: string): Promise<readonly string[]> {
  return (await sinkPosts(name)).flatMap(({ body }) => body.split("\n").filter((line) => line !== ""))
}

/** Returns the records of lines; fails for a line that is none. */
export function recordsOf(lines: readonly string[]): readonly AuditRecord[] {
  return lines.map((text) => {
    const parsed = parseAuditLine(text)
    if (!parsed.ok) throw new Error(`${parsed.fault}: ${text}`)
    return parsed.record
  })
}

/** Returns what `sekisho audit verify` would say. Digests are asked of the platform first, because they are asynchronous. */
export async function verify(lines: readonly string[]): Promise<readonly TrailVerdict[]> {
  const digests = new Map<string, string>()
  for (const text of lines) {
    const parsed = parseAuditLine(text)
    if (!parsed.ok) continue
    const octets = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(parsed.entryJson))
    digests.set(
      parsed.entryJson,
      [...new Uint8Array(octets)].map((octet) => octet.toString(16).padStart(2, "0")).join(""),
    )
  }
  return verifyTrails(
    lines.map((text, index) => ({ file: "sink", line: index + 1, text })),
    (text) => digests.get(text) ?? "",
  )
}

/** Returns the lines that wait in a trail, oldest first. */
export async function waitingLines(name: string): Promise<readonly string[]> {
  return runInDurableObject(trailObject(name), (_, { storage }) =>
    storage.sql
      .exec<{ line: string }>("SELECT line FROM records ORDER BY seq")
      .toArray()
      .map(({ line }) => line),
  )
}

/** Returns when the alarm of a trail is due, epoch ms. */
export async function alarmOf(name: string): Promise<number | null> {
  return runInDurableObject(trailObject(name), (_, { storage }) => storage.getAlarm())
}

/** Runs a statement in the storage of a trail. */
export async function sql(name: string, statement: string, ...bindings: readonly (string | number)[]): Promise<void> {
  await runInDurableObject(trailObject(name), (_, { storage }) => {
    storage.sql.exec(statement, ...bindings)
  })
}

/** The trail of what concerns no client. */
export const GATEWAY = GATEWAY_TRAIL
