//! Extensible priorities (RFC 9218): how urgent a response is, and whether a part of it is of use.

use crate::structured::{self, Value};

/// The priority of a response (section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Priority {
    /// 0 is the most urgent, 7 the least.
    pub urgency: u8,
    /// The response is of use in parts, beside others of the same urgency.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Of a `priority` field or a PRIORITY_UPDATE frame: a dictionary (RFC 8941 section 3.2) in which what is
    /// not known, out of range or of another type counts as absent. One that cannot be parsed says nothing.
    #[must_use]
    pub fn parse(field: &[u8]) -> Self {
        let mut priority = Self::default();
        let parsed = structured::dictionary(field, |key, value| match (key, value) {
            (b"u", Value::Integer(urgency @ 0..=7)) => priority.urgency = urgency as u8,
            // The last of several counts, be it of use or not.
            (b"u", _) => priority.urgency = Self::default().urgency,
            (b"i", Value::Boolean(incremental)) => priority.incremental = incremental,
            (b"i", _) => priority.incremental = Self::default().incremental,
            _ => {}
        });
        match parsed {
            Ok(()) => priority,
            Err(structured::Unparsable) => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_count_if_they_are_what_they_should_be() {
        for (field, urgency, incremental) in [
            ("", 3, false),
            ("u=5, i", 5, true),
            ("i=?0", 3, false),
            ("u=0", 0, false),
            ("u=8", 3, false),
            ("u=-1, i=1", 3, false),
            ("u=1,u=7", 7, false),
            ("u=1, u=8", 3, false),
            ("i, i=1", 3, false),
            ("u=1, 9x", 3, false),
            ("i;x=1;y,  u=2 , z=3", 2, true),
            ("\u{fe}\u{ff}", 3, false),
        ] {
            assert_eq!(Priority::parse(field.as_bytes()), Priority { urgency, incremental }, "{field:?}");
        }
    }
}
