import { FisoAway, FisoRefused, NoLease } from "./errors.js";
import type { Fronts, LeaseDocument } from "./fronts.js";

/** A lease in hand: `receivedAt` and `expiresAt` are milliseconds of `performance.now()`. */
export interface Held {
  readonly document: LeaseDocument;
  readonly front: number;
  readonly receivedAt: number;
  readonly expiresAt: number;
  /** Numbers the calls under it. */
  calls: number;
}

const DUE_SHARE = 0.75;
const USUAL_OUTAGE_MS = 900_000;

interface Slot {
  held?: Held;
  asking?: Promise<void>;
  silentUntil: number;
  awayAt?: number | undefined;
  refusal?: FisoRefused | undefined;
}

/** One lease a function, renewed in the last quarter of its life beside calls, and kept in an outage as long as its policy lets it. */
export class Leases {
  private readonly slots = new Map<string, Slot>();

  constructor(
    private readonly fronts: Fronts,
    private readonly graceMs: number | undefined,
    private readonly retryMs: number,
  ) {}

  /** What to call by now. Throws `FisoRefused`, or `NoLease` when there is nothing. */
  async of(name: string, size: number): Promise<Held> {
    let slot = this.slots.get(name);
    if (slot === undefined) this.slots.set(name, (slot = { silentUntil: 0 }));
    const now = performance.now();
    const held = slot.held;
    if (held !== undefined && now < held.expiresAt) {
      const isDue = now >= held.receivedAt + DUE_SHARE * (held.expiresAt - held.receivedAt);
      if (isDue && slot.asking === undefined && now >= slot.silentUntil) void this.ask(slot, name, size);
      return held;
    }
    if (slot.asking !== undefined || now >= slot.silentUntil) await this.ask(slot, name, size);
    if (slot.refusal !== undefined) throw slot.refusal;
    const usable = this.usable(slot);
    if (usable === undefined) throw new NoLease(`no lease for ${name}: FISO cannot be reached`);
    return usable;
  }

  /** Asked once for all who wait; never throws. */
  private ask(slot: Slot, name: string, size: number): Promise<void> {
    slot.asking ??= this.asked(slot, name, size).finally(() => delete slot.asking);
    return slot.asking;
  }

  private async asked(slot: Slot, name: string, size: number): Promise<void> {
    try {
      const { document, front } = await this.fronts.decide(name, size);
      const receivedAt = performance.now();
      slot.held = { document, front, receivedAt, expiresAt: receivedAt + document.expires_in_ms, calls: 0 };
      [slot.silentUntil, slot.awayAt, slot.refusal] = [0, undefined, undefined];
    } catch (error) {
      const now = performance.now();
      slot.silentUntil = now + this.retryMs;
      slot.refusal = error instanceof FisoRefused ? error : undefined;
      slot.awayAt = error instanceof FisoRefused ? undefined : now;
      if (!(error instanceof FisoRefused || error instanceof FisoAway)) throw error;
    }
  }

  /** The lease while it holds, and after that only while FISO cannot be reached: one that is back is not passed by. */
  private usable(slot: Slot): Held | undefined {
    const { held, awayAt } = slot;
    const now = performance.now();
    if (held === undefined || now < held.expiresAt) return held;
    if (awayAt === undefined) return undefined;
    const policys = held.document.outage_ms ?? USUAL_OUTAGE_MS;
    return now < held.expiresAt + Math.min(policys, this.graceMs ?? policys) ? held : undefined;
  }
}
