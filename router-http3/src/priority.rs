//! Extensible priorities (RFC 9218): how urgent a response is, and whether a part of it is of use.

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
        for member in field.split(|&octet| octet == b',') {
            // Parameters of members mean nothing here.
            let member = member.split(|&octet| octet == b';').next().unwrap_or_default().trim_ascii();
            match member {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
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
            ("i;x=1;y,  u=2 , z=3", 2, true),
            ("\u{fe}\u{ff}", 3, false),
        ] {
            assert_eq!(Priority::parse(field.as_bytes()), Priority { urgency, incremental }, "{field:?}");
        }
    }
}
