//! The server ID that a load balancer in front knows this node by, and how an operator says it:
//! in the environment, in hex, or in base64.

use std::{env, ffi::OsString, fmt};

use router_common::connection_id::codec::MAX_SERVER_ID_LENGTH;

use super::octets;

/// A server ID of 1 to 15 octets: at least 4 of nonce follow, and the two have at most 19
/// (draft-ietf-quic-load-balancers section 3).
#[derive(Clone, PartialEq, Eq)]
pub struct ServerId(Box<[u8]>);

impl ServerId {
    /// Most octets that one has.
    pub const LENGTH_MAX: usize = MAX_SERVER_ID_LENGTH;

    /// `None` if it would have no octets or more than 15.
    pub fn new(octets: &[u8]) -> Option<Self> {
        (1..=Self::LENGTH_MAX).contains(&octets.len()).then(|| Self(octets.into()))
    }

    /// Its octets.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// In hex.
impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({self})")
    }
}

/// Why a text is no server ID, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) why: String,
    pub(super) hint: String,
}

/// Reads the value of the key: `"env:NAME"`, or the ID itself.
pub(super) fn read(text: &str) -> Result<ServerId, Wrong> {
    read_in(text, environment)
}

fn environment(name: &str) -> Option<OsString> {
    env::var_os(name)
}

fn read_in(text: &str, variable: impl FnOnce(&str) -> Option<OsString>) -> Result<ServerId, Wrong> {
    let Some(name) = text.strip_prefix("env:") else { return decode(text) };
    let wrong = |why: &str| Wrong {
        why: format!("environment variable {name:?} {why}"),
        hint: "set it where the agent starts, or write the server ID here".to_owned(),
    };
    let value = variable(name).ok_or_else(|| wrong("is not set"))?;
    let value = value.into_string().map_err(|_| wrong("is not UTF-8"))?;
    if value.is_empty() {
        return Err(wrong("is empty"));
    }
    decode(&value).map_err(|Wrong { why, hint }| Wrong { why: format!("environment variable {name:?}: {why}"), hint })
}

/// Hex or base64, and which it is if the text says so.
fn decode(text: &str) -> Result<ServerId, Wrong> {
    let wrong = |why| Wrong { why, hint: FORMS.to_owned() };
    let (octets, unlike) = match text.split_once(':') {
        Some(("hex", digits)) => (octets::from_hex(digits), "is not hex"),
        Some(("base64", letters)) => (octets::from_base64(letters), "is not base64"),
        Some(_) | None => (octets::from_text(text), "is neither hex nor base64"),
    };
    let octets = octets.ok_or_else(|| wrong(format!("{text:?} {unlike}")))?;
    let unfit = || wrong(format!("{} octets: a server ID has 1 to {}", octets.len(), ServerId::LENGTH_MAX));
    ServerId::new(&octets).ok_or_else(unfit)
}

const FORMS: &str = "\"env:NAME\", \"hex:...\" or \"base64:...\"; without such a beginning, what can be hex is hex";

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read_with(value: Option<&[u8]>, text: &str) -> Result<ServerId, Wrong> {
        let lookup = |name: &str| {
            assert_eq!(name, "OURS");
            value.map(|value| OsString::from_vec(value.to_vec()))
        };
        read_in(text, lookup)
    }

    #[test]
    fn every_form_of_one_id() {
        const OCTETS: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
        let forms = [
            "0001020304050607",
            "0x0001020304050607",
            "hex:0001020304050607",
            "hex:0x0001020304050607",
            "AAECAwQFBgc=",
            "AAECAwQFBgc",
            "base64:AAECAwQFBgc=",
            "base64:AAECAwQFBgc",
        ];
        for form in forms {
            assert_eq!(read(form).unwrap().as_slice(), OCTETS, "{form}");
            assert_eq!(read_with(Some(form.as_bytes()), "env:OURS").unwrap().as_slice(), OCTETS, "env: {form}");
        }
    }

    #[test]
    fn what_can_be_hex_is_hex_unless_it_says_otherwise() {
        assert_eq!(read("AAAA").unwrap().as_slice(), [0xaa, 0xaa]);
        assert_eq!(read("base64:AAAA").unwrap().as_slice(), [0, 0, 0]);
    }

    #[test]
    fn one_to_fifteen_octets() {
        for length in [1, 15] {
            assert_eq!(read(&"5a".repeat(length)).unwrap().as_slice(), vec![0x5a; length]);
        }
        let sixteen = "5a".repeat(16);
        for (text, length) in [("", 0), ("0x", 0), ("hex:", 0), ("base64:", 0), (sixteen.as_str(), 16)] {
            let wrong = read(text).unwrap_err();
            assert_eq!(wrong.why, format!("{length} octets: a server ID has 1 to 15"), "{text}");
            assert_eq!(wrong.hint, FORMS);
        }
    }

    #[test]
    fn what_is_no_id_is_quoted() {
        for (text, expected) in [
            ("xyz!", "\"xyz!\" is neither hex nor base64"),
            ("0x123", "\"0x123\" is neither hex nor base64"),
            ("vault:abc", "\"vault:abc\" is neither hex nor base64"),
            ("hex:AAECAwQFBgc=", "\"hex:AAECAwQFBgc=\" is not hex"),
            ("hex:123", "\"hex:123\" is not hex"),
            ("base64:A", "\"base64:A\" is not base64"),
        ] {
            let wrong = read(text).unwrap_err();
            assert_eq!((wrong.why.as_str(), wrong.hint.as_str()), (expected, FORMS));
        }
    }

    #[test]
    fn a_variable_is_named() {
        const CASES: &[(Option<&[u8]>, &str)] = &[
            (None, "environment variable \"OURS\" is not set"),
            (Some(b""), "environment variable \"OURS\" is empty"),
            (Some(b"\xff"), "environment variable \"OURS\" is not UTF-8"),
            (Some(b"xyz!"), "environment variable \"OURS\": \"xyz!\" is neither hex nor base64"),
            (Some(b"env:OURS"), "environment variable \"OURS\": \"env:OURS\" is neither hex nor base64"),
            (Some(&[b'0'; 32]), "environment variable \"OURS\": 16 octets: a server ID has 1 to 15"),
        ];
        for &(value, expected) in CASES {
            assert_eq!(read_with(value, "env:OURS").unwrap_err().why, expected);
        }
        assert_eq!(read("env:").unwrap_err().why, "environment variable \"\" is not set");
    }

    #[test]
    fn shown_in_hex() {
        let id = ServerId::new(&[0, 0xab]).unwrap();
        assert_eq!((id.to_string().as_str(), format!("{id:?}").as_str()), ("00ab", "ServerId(00ab)"));
    }
}
