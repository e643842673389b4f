//! Steps that tests count, so that work in proportion to octets is asserted without a clock.

/// `steps` more were taken.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn count(_steps: usize) {}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// `steps` more were taken.
#[cfg(test)]
pub(crate) fn count(steps: usize) {
    STEPS.set(STEPS.get() + steps);
}

/// The steps that `what` took.
#[cfg(test)]
pub(crate) fn of<T>(what: impl FnOnce() -> T) -> (T, usize) {
    let before = STEPS.get();
    let result = what();
    (result, STEPS.get() - before)
}
