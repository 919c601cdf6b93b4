/** What goes wrong on purpose. */
export class FisoError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** FISO gave no usable answer: it cannot be reached, or failed. Asking again later may help. */
export class FisoAway extends FisoError {}

/** FISO understood and will not: no such function, no such request. Asking again will not help. */
export class FisoRefused extends FisoError {}

/** FISO answers, and gives nothing now: the caller may not, sends too much, or nothing is eligible. */
export class FisoDeclined extends FisoRefused {}

/** FISO cannot be reached, and no lease may be used any more. */
export class NoLease extends FisoError {}

/** No copy answered. `mayHaveRun` says whether the function can have had an effect. */
export class NoAnswer extends FisoError {
  constructor(message: string, readonly mayHaveRun: boolean, readonly deadlinePassed: boolean) {
    super(message);
  }
}
