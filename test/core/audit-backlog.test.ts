/**
 * Goal: what an isolate keeps for a trail is told in order, once as far as the trail can see, and what found no room is counted
 * exactly. Method: single steps.
 */
import { expect, test } from "vitest"
import { addDraft, dropDrafts, EMPTY_AUDIT_BACKLOG, takeDrafts } from "../../src/core/audit/audit-backlog.ts"
import { AUDIT_APPEND_MAX } from "../../src/core/bounds.ts"
import { draft } from "./audit-fixtures.ts"

const LOSS = draft("x", "loss")

test("without room a refusal is counted and an outcome kept all the same", () => {
  const kept = addDraft(addDraft(EMPTY_AUDIT_BACKLOG, draft("a", "refusal"), false), draft("b", "outcome"), false)
  expect(kept).toEqual({ drafts: [draft("b", "outcome")], lost: 1 })
})

test("drafts stay until they are taken, a call takes the oldest, and what was lost goes first and keeps its id", () => {
  let backlog = addDraft(EMPTY_AUDIT_BACKLOG, draft("lost", "refusal"), false)
  for (let i = 0; i < AUDIT_APPEND_MAX + 5; i++) backlog = addDraft(backlog, draft(`${i}`, "refusal"), true)
  const first = takeDrafts(backlog, LOSS)
  expect([first.taken.length, first.taken[0]]).toEqual([AUDIT_APPEND_MAX, { ...LOSS, lost: 1 }])
  // The trail did not answer: the same again, under the same ids, although more was lost meanwhile.
  const again = takeDrafts(addDraft(first.backlog, draft("lost too", "refusal"), false), draft("y", "loss"))
  expect(again.taken[0]).toEqual({ ...draft("y", "loss"), lost: 1 })
  expect(again.taken[1]).toEqual({ ...LOSS, lost: 1 })
  const rest = dropDrafts(dropDrafts(again.backlog, again.taken), first.taken)
  expect(rest.drafts.map(({ id }) => id)).toEqual(
    ["99", "100", "101", "102", "103", "104"].map((id) => `${id}/refusal`),
  )
})
