//! Dictionaries of structured fields (RFC 8941 section 4.2.2), as far as they have to be looked through: every member
//! is checked, and of its value only integers and booleans are kept. Nothing is copied.

/// A member's value. Parameters, inner lists and values of other types are checked and forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Integer(i64),
    Boolean(bool),
    Other,
}

/// It is no dictionary: then none of it counts (section 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unparsable;

/// Gives each member of `field` to `member`, in its order. Of several with one name the last counts.
pub(crate) fn dictionary(field: &[u8], mut member: impl FnMut(&[u8], Value)) -> Result<(), Unparsable> {
    let mut rest = Rest(trim_spaces(field));
    while !rest.0.is_empty() {
        let key = rest.key()?;
        let value = if rest.take(b'=') { rest.item_or_list()? } else { Value::Boolean(true) };
        rest.parameters()?;
        member(key, value);
        rest.skip(|octet| matches!(octet, b' ' | b'\t'));
        if rest.0.is_empty() {
            break;
        }
        rest.expect(b',')?;
        rest.skip(|octet| matches!(octet, b' ' | b'\t'));
        // A comma behind the last member.
        if rest.0.is_empty() {
            return Err(Unparsable);
        }
    }
    Ok(())
}

fn trim_spaces(mut field: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = field {
        field = rest;
    }
    field
}

/// What was not looked at yet.
struct Rest<'f>(&'f [u8]);

impl<'f> Rest<'f> {
    fn take(&mut self, octet: u8) -> bool {
        let rest = self.0.strip_prefix(&[octet]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, octet: u8) -> Result<(), Unparsable> {
        if self.take(octet) { Ok(()) } else { Err(Unparsable) }
    }

    /// Takes octets for as long as they are such.
    fn skip(&mut self, is_such: impl Fn(u8) -> bool) -> &'f [u8] {
        let length = self.0.iter().position(|&octet| !is_such(octet)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Result<&'f [u8], Unparsable> {
        let Some(b'a'..=b'z' | b'*') = self.0.first() else { return Err(Unparsable) };
        Ok(self.skip(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')))
    }

    fn parameters(&mut self) -> Result<(), Unparsable> {
        while self.take(b';') {
            self.skip(|octet| octet == b' ');
            self.key()?;
            if self.take(b'=') {
                self.item()?;
            }
        }
        Ok(())
    }

    fn item_or_list(&mut self) -> Result<Value, Unparsable> {
        if !self.take(b'(') {
            return self.item();
        }
        loop {
            self.skip(|octet| octet == b' ');
            if self.take(b')') {
                return Ok(Value::Other);
            }
            self.item()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return Err(Unparsable);
            }
        }
    }

    /// A bare item (section 4.2.3.1).
    fn item(&mut self) -> Result<Value, Unparsable> {
        match self.0.first() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'"') => self.string(),
            Some(b'A'..=b'Z' | b'a'..=b'z' | b'*') => {
                self.skip(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&octet));
                Ok(Value::Other)
            }
            Some(b':') => {
                self.take(b':');
                self.skip(|octet| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet));
                self.expect(b':').map(|()| Value::Other)
            }
            Some(b'?') => {
                self.take(b'?');
                if self.take(b'1') {
                    return Ok(Value::Boolean(true));
                }
                self.expect(b'0').map(|()| Value::Boolean(false))
            }
            _ => Err(Unparsable),
        }
    }

    /// An integer of at most 15 digits, or a decimal of at most 12 and 3 (section 4.2.4).
    fn number(&mut self) -> Result<Value, Unparsable> {
        let sign = if self.take(b'-') { -1 } else { 1 };
        let whole = self.skip(|octet| octet.is_ascii_digit());
        let number = || std::str::from_utf8(whole).ok()?.parse::<i64>().ok();
        if !self.take(b'.') {
            return match number() {
                Some(number) if whole.len() <= 15 => Ok(Value::Integer(sign * number)),
                _ => Err(Unparsable),
            };
        }
        let fraction = self.skip(|octet| octet.is_ascii_digit());
        match (whole.len(), fraction.len()) {
            (1..=12, 1..=3) => Ok(Value::Other),
            _ => Err(Unparsable),
        }
    }

    /// Printable, quoted, with a backslash before quotes and backslashes (section 4.2.5).
    fn string(&mut self) -> Result<Value, Unparsable> {
        self.expect(b'"')?;
        loop {
            self.skip(|octet| matches!(octet, 0x20..=0x7e) && !matches!(octet, b'"' | b'\\'));
            match self.0 {
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Ok(Value::Other);
                }
                [b'\\', b'"' | b'\\', rest @ ..] => self.0 = rest,
                _ => return Err(Unparsable),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(field: &str) -> Result<Vec<(String, Value)>, Unparsable> {
        let mut members = Vec::new();
        dictionary(field.as_bytes(), |key, value| members.push((String::from_utf8(key.into()).unwrap(), value)))?;
        Ok(members)
    }

    #[test]
    fn members_of_every_type() {
        use Value::{Boolean, Integer, Other};
        for (field, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("a", &[("a", Boolean(true))]),
            (" a=?0 ", &[("a", Boolean(false))]),
            ("a=1 ,\tb=-999999999999999", &[("a", Integer(1)), ("b", Integer(-999_999_999_999_999))]),
            ("a=1, a=2", &[("a", Integer(1)), ("a", Integer(2))]),
            ("a=1.125", &[("a", Other)]),
            ("*k._-9=\"x\\\"\\\\,;\"", &[("*k._-9", Other)]),
            ("a=T/o:k!, b=*", &[("a", Other), ("b", Other)]),
            ("a=:aGk=:, b=::", &[("a", Other), ("b", Other)]),
            ("a=(), b=( 1 \"x\";q  t );z", &[("a", Other), ("b", Other)]),
            ("a;x;y=1; z=\"s\", b", &[("a", Boolean(true)), ("b", Boolean(true))]),
        ] {
            let expected = expected.iter().map(|&(key, value)| (key.to_owned(), value)).collect();
            assert_eq!(members(field), Ok(expected), "{field:?}");
        }
    }

    #[test]
    fn what_is_no_dictionary_is_none_from_its_beginning() {
        for field in [
            "1",
            "A=1",
            "=1",
            "a=",
            "a=,b",
            "a=1,",
            "a=1, ",
            "a=1;",
            "a=1;=2",
            ",a",
            "a b",
            "\ta",
            "a=1\n",
            "a=9x",
            "a=-",
            "a=1.",
            "a=.5",
            "a=1.1234",
            "a=1234567890123.1",
            "a=1234567890123456",
            "a=?",
            "a=?2",
            "a=?true",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{e9}\"",
            "a=:x",
            "a=(1",
            "a=(1,2)",
            "a=(1\"x\")",
            "a=((1))",
            "a=@1",
            "a=\x01",
        ] {
            assert_eq!(members(field), Err(Unparsable), "{field:?}");
        }
    }
}
