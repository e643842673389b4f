//! That a cluster cannot be seen.

/// Why the cluster cannot be seen, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// In one sentence.
    pub why: String,
    /// What to try, if anything is known to help.
    pub hint: Option<String>,
}
