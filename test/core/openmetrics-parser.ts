/**
 * A strict reader of OpenMetrics 1.0 for tests: it throws where a reader may be lenient. `openmetrics.test.ts` holds it
 * against the cases of the OpenMetrics project, so that what it accepts can be believed.
 */

/** One sample as written. */
export interface ParsedSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
  readonly timestamp: number | undefined
  readonly hasExemplar: boolean
}

/** One family as written. */
export interface ParsedFamily {
  readonly name: string
  readonly type: string
  readonly unit: string
  readonly help: string
  readonly samples: readonly ParsedSample[]
}

const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total", "_created"],
  summary: ["", "_sum", "_count", "_created"],
  histogram: ["_bucket", "_sum", "_count", "_created"],
  gaugehistogram: ["_bucket", "_gsum", "_gcount"],
  info: ["_info"],
  gauge: [""],
  stateset: [""],
  unknown: [""],
}
const NAME = /[a-zA-Z_:][a-zA-Z0-9_:]*/y
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"/y
const NUMBER = /[+-]?(?:Inf(?:inity)?|[0-9]+\.?[0-9]*(?:e[+-]?[0-9]+)?|\.[0-9]+(?:e[+-]?[0-9]+)?)|NaN/iy
const TIMESTAMP = /[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?/iy
const EXEMPLAR_LENGTH_MAX = 128

/** Returns the families in a text, or throws an error that says what is wrong with it. */
export function parseOpenMetrics(text: string): readonly ParsedFamily[] {
  const lines = text.split("\n")
  if (lines.at(-1) === "") lines.pop()
  if (lines.pop() !== "# EOF") throw new Error("no # EOF at the end")
  const families: Draft[] = []
  for (const line of lines) {
    const last = families.at(-1)
    if (line.startsWith("#")) families.push(...takeMetadata(line, last))
    else families.push(...takeSample(line, last))
  }
  const taken = new Set<string>()
  for (const family of families) {
    checkFamily(family)
    for (const name of new Set([family.name, ...suffixesOf(family).map((suffix) => family.name + suffix)])) {
      if (taken.has(name)) throw new Error(`${name} twice`)
      taken.add(name)
    }
  }
  return families.map(({ help, name, samples, type, unit }) => ({
    name,
    type: type ?? "unknown",
    unit: unit ?? "",
    help: help ?? "",
    samples,
  }))
}

interface Draft {
  readonly name: string
  type: string | undefined
  unit: string | undefined
  help: string | undefined
  readonly samples: ParsedSample[]
}

const suffixesOf = ({ type }: Draft): readonly string[] => SUFFIXES[type ?? "unknown"] ?? []

/** Returns the family that a line of metadata begins; none when it belongs to the last one. */
function takeMetadata(line: string, last: Draft | undefined): readonly Draft[] {
  const [, keyword = "", name = "", text] = /^# (HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/s.exec(line) ?? []
  if (text === undefined) throw new Error(`no metadata: ${line}`)
  if (last?.name === name && last.samples.length > 0) throw new Error(`metadata behind samples: ${line}`)
  const family = last?.name === name ? last : { name, type: undefined, unit: undefined, help: undefined, samples: [] }
  const key = keyword.toLowerCase() as "help" | "type" | "unit"
  if (family[key] !== undefined) throw new Error(`metadata twice: ${line}`)
  if (key === "type" && !Object.hasOwn(SUFFIXES, text)) throw new Error(`no type: ${line}`)
  family[key] = key === "help" ? unescape(text) : text
  return family === last ? [] : [family]
}

/** Returns the family that a sample begins; none when it belongs to the last one. */
function takeSample(line: string, last: Draft | undefined): readonly Draft[] {
  const sample = parseSample(line)
  const isOfLast = last !== undefined && suffixesOf(last).some((suffix) => last.name + suffix === sample.name)
  if (isOfLast) {
    last.samples.push(sample)
    return []
  }
  return [{ name: sample.name, type: undefined, unit: undefined, help: undefined, samples: [sample] }]
}

function parseSample(line: string): ParsedSample {
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const found = pattern.exec(line)
    if (found !== null) at = pattern.lastIndex
    return found
  }
  const must = (pattern: RegExp): RegExpExecArray => {
    const found = take(pattern)
    if (found === null) throw new Error(`${pattern.source} expected at ${at}: ${line}`)
    return found
  }
  const labelsHere = (): Record<string, string> => {
    const labels: Record<string, string> = {}
    if (take(/\{/y) === null || take(/\}/y) !== null) return labels
    do {
      const [, label = "", value = ""] = must(LABEL)
      if (label in labels) throw new Error(`label twice: ${line}`)
      labels[label] = unescape(value)
    } while (take(/,/y) !== null)
    must(/\}/y)
    return labels
  }
  const [name] = must(NAME)
  const labels = labelsHere()
  must(/ /y)
  const value = toNumber(must(NUMBER)[0])
  let timestamp: number | undefined
  if (line[at] === " " && line[at + 1] !== "#") {
    at += 1
    timestamp = Number(must(TIMESTAMP)[0])
  }
  const hasExemplar = take(/ # (?=\{)/y) !== null
  if (hasExemplar) {
    const length = Object.entries(labelsHere()).reduce(
      (sum, [key, of]) => sum + charactersOf(key) + charactersOf(of),
      0,
    )
    if (length > EXEMPLAR_LENGTH_MAX) throw new Error(`exemplar too long: ${line}`)
    must(/ /y)
    must(NUMBER)
    if (take(/ /y) !== null) must(TIMESTAMP)
  }
  if (at !== line.length) throw new Error(`rest at ${at}: ${line}`)
  return { name, labels, value, timestamp, hasExemplar }
}

function charactersOf(text: string): number {
  return Array.from(text).length
}

function toNumber(text: string): number {
  if (/nan/i.test(text)) return Number.NaN
  if (/inf/i.test(text)) return text.startsWith("-") ? -Infinity : Infinity
  return Number(text)
}

function unescape(text: string): string {
  return text.replaceAll(/\\([\\n"])/g, (_, char: string) => (char === "n" ? "\n" : char))
}

/** A number, and none of the spellings of infinity but one. */
function isBound(text: string | undefined): boolean {
  return text === "+Inf" || text === "-Inf" || (text !== undefined && text !== "" && Number.isFinite(Number(text)))
}

function checkFamily(family: Draft): void {
  const { name, samples, unit } = family
  const type = family.type ?? "unknown"
  const fail = (why: string): never => {
    throw new Error(`${name}: ${why}`)
  }
  if (unit !== undefined && unit !== "" && (!name.endsWith(`_${unit}`) || type === "info" || type === "stateset"))
    fail("unit")
  const own = new Set(
    type === "histogram" || type === "gaugehistogram" ? ["le"] : type === "summary" ? ["quantile"] : [name],
  )
  const groups = new Map<string, ParsedSample[]>()
  let previous: string | undefined
  for (const sample of samples) {
    const { hasExemplar, labels, value } = sample
    const suffix = sample.name.slice(name.length)
    if (type === "stateset" && (!(name in labels) || (value !== 0 && value !== 1))) fail("stateset")
    if (type === "info" && value !== 1) fail("info")
    if (suffix === "_bucket" && (!isBound(labels["le"]) || !Number.isInteger(value))) fail("bucket")
    if (/^_g?count$/.test(suffix) && !Number.isInteger(value)) fail("count")
    if (type === "summary" && suffix === "") {
      const quantile = Number(labels["quantile"] ?? Number.NaN)
      if (!(quantile >= 0 && quantile <= 1) || !isBound(labels["quantile"]) || value < 0) fail("quantile")
    }
    if (/^_(?:total|sum|count|bucket|gcount|gsum)$/.test(suffix) && Number.isNaN(value)) fail("NaN")
    if (/^_(?:total|sum|count|bucket|gcount)$/.test(suffix) && value < 0) fail("negative")
    const mayHaveExemplar = suffix === "_bucket" || (type === "counter" && suffix === "_total")
    if (hasExemplar && !mayHaveExemplar) fail("exemplar")
    const isPart = type === "stateset" || own.has("le") || own.has("quantile")
    const told = Object.entries(labels).filter(([label]) => !isPart || !own.has(label))
    const group = JSON.stringify(told.toSorted(([a], [b]) => (a < b ? -1 : 1)))
    const members = groups.get(group)
    if (members === undefined) groups.set(group, [sample])
    else {
      if (previous !== group) fail("interleaved")
      const before = members.at(-1)
      if ((before?.timestamp === undefined) !== (sample.timestamp === undefined)) fail("timestamps mixed")
      if (type !== "info" && (before?.timestamp ?? 0) > (sample.timestamp ?? 0)) fail("timestamps backwards")
      members.push(sample)
    }
    previous = group
  }
  if (type === "histogram" || type === "gaugehistogram")
    for (const members of groups.values()) checkHistogram(members, fail)
}

function checkHistogram(samples: readonly ParsedSample[], fail: (why: string) => never): void {
  for (const timestamp of new Set(samples.map((sample) => sample.timestamp))) {
    const members = samples.filter((sample) => sample.timestamp === timestamp)
    const buckets = members.filter(({ name }) => name.endsWith("_bucket"))
    const of = (pattern: RegExp): number | undefined => members.find(({ name }) => pattern.test(name))?.value
    const count = of(/_g?count$/)
    const sum = of(/_g?sum$/)
    if (buckets.at(-1)?.labels["le"] !== "+Inf") fail("no +Inf")
    if ((count === undefined) !== (sum === undefined)) fail("count without sum")
    if (count !== undefined && count !== buckets.at(-1)?.value) fail("count is not +Inf")
    const bounds = buckets.map(({ labels }) => toNumber(labels["le"] ?? ""))
    for (const [index, { value }] of buckets.entries()) {
      if (index === 0) continue
      if ((bounds[index] ?? 0) <= (bounds[index - 1] ?? 0)) fail("bounds in order")
      if (value < (buckets[index - 1]?.value ?? 0)) fail("buckets shrink")
    }
    const hasNegative = bounds.some((bound) => bound < 0)
    const isGauge = members.some(({ name }) => /_g(?:sum|count)$/.test(name))
    if (hasNegative && sum !== undefined && !isGauge) fail("sum beside negative buckets")
    if (!hasNegative && (sum ?? 0) < 0) fail("negative sum")
    const firstOther = members.findIndex(({ name }) => !name.endsWith("_bucket"))
    if (firstOther !== -1 && firstOther < buckets.length) fail("buckets behind count")
  }
}
