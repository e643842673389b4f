//! The runner's cases, as a server sees them in `TESTCASE`, and what each needs of us.

use super::switches::Switches;

/// What is special about a case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) switches: Switches,
    /// Sessions with 0-RTT are offered.
    pub(super) early_data: bool,
    /// HTTP/3 alone, without HTTP/0.9 beside it.
    pub(super) http3_only: bool,
}

impl Case {
    /// The case of this name; an error is why it is not supported.
    pub(super) fn named(name: &str) -> Result<Self, &'static str> {
        let plain = Self::default();
        match name {
            // `transfer` stands behind most of the runner's tests, such as multiplexing and rebind-port.
            "handshake" | "transfer" | "resumption" | "ecn" | "multiconnect" | "keyupdate" | "longrtt" => Ok(plain),
            "chacha20" => Ok(Self { switches: Switches { chacha20: true, retry: false }, ..plain }),
            "retry" => Ok(Self { switches: Switches { chacha20: false, retry: true }, ..plain }),
            "zerortt" => Ok(Self { early_data: true, ..plain }),
            "http3" => Ok(Self { http3_only: true, ..plain }),
            "v2" => Err("compatible version negotiation (RFC 9368) is not in quinn; see docs/interop.md"),
            "connectionmigration" => {
                Err("the preferred address would be another port, which has no socket; see docs/interop.md")
            }
            _ => Err("there is no such case"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_what_it_needs_and_nothing_else() {
        for name in ["handshake", "transfer", "resumption", "ecn", "multiconnect", "keyupdate", "longrtt"] {
            assert_eq!(Case::named(name), Ok(Case::default()), "{name}");
        }
        assert!(Case::named("chacha20").unwrap().switches.chacha20);
        assert!(Case::named("retry").unwrap().switches.retry);
        assert!(Case::named("http3").unwrap().http3_only);
        // A Retry would cost the 0-RTT that the case counts.
        assert_eq!(Case::named("zerortt"), Ok(Case { early_data: true, ..Case::default() }));
    }

    #[test]
    fn what_cannot_pass_says_why() {
        for name in ["v2", "connectionmigration"] {
            assert!(Case::named(name).unwrap_err().contains("docs/interop.md"), "{name}");
        }
        assert_eq!(Case::named("a7f3"), Err("there is no such case"));
        assert_eq!(Case::named(""), Err("there is no such case"));
    }
}
