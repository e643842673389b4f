//! Reads tables of TOML key by key, and notes all that is wrong with them by line.

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::Problem;

/// A table that is read.
#[derive(Clone)]
pub(super) struct Table<'t, 'i> {
    /// As problems name it; empty for the whole file.
    pub(super) name: &'static str,
    /// Octets of the file where it begins.
    pub(super) span: Range<usize>,
    pub(super) keys: &'t DeTable<'i>,
}

/// A key with its value.
pub(super) struct Field<'t, 'i> {
    /// As problems name it: `node.port`.
    pub(super) name: String,
    pub(super) value: &'t Spanned<DeValue<'i>>,
}

impl<'t, 'i> Table<'t, 'i> {
    /// The value of a key, if it is there.
    pub(super) fn field(&self, key: &str) -> Option<Field<'t, 'i>> {
        Some(Field { name: self.dotted(key), value: self.keys.get(key)? })
    }

    fn dotted(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl Field<'_, '_> {
    /// Where its value stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }
}

/// The file, and what is wrong with it so far.
pub(super) struct Reader<'f> {
    text: &'f str,
    file: &'f str,
    /// Each with the octet at which it stands.
    problems: Vec<(usize, Problem)>,
}

impl<'f> Reader<'f> {
    /// `file` stands for `text` in problems.
    pub(super) fn new(text: &'f str, file: &'f str) -> Self {
        Self { text, file, problems: Vec::new() }
    }

    /// All that is wrong, in the order of the file.
    pub(super) fn problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(at, _)| *at);
        self.problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// Notes that what stands at `span` is wrong.
    pub(super) fn problem(&mut self, span: &Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|octet| **octet == b'\n').count();
        let place = format!("{}:{line}", self.file);
        self.problems.push((span.start, Problem { place, what: what.into(), hint: hint.into() }));
    }

    /// Notes each key that is none of `known`.
    pub(super) fn refuse_unknown(&mut self, table: &Table<'_, '_>, known: &[&str]) {
        for key in table.keys.keys() {
            let word = key.get_ref().as_ref();
            if !known.contains(&word) {
                self.problem(&key.span(), format!("{}: unknown key", table.dotted(word)), meant_by(word, known));
            }
        }
    }

    /// The value of a key that has to be there.
    pub(super) fn required<'t, 'i>(&mut self, table: &Table<'t, 'i>, key: &str) -> Option<Field<'t, 'i>> {
        let field = table.field(key);
        if field.is_none() {
            let what = format!("{}: missing", table.dotted(key));
            self.problem(&table.span, what, format!("each [[{}]] has its own {key}", table.name));
        }
        field
    }

    /// A number within `range`.
    pub(super) fn integer(&mut self, field: &Field<'_, '_>, range: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (range.start(), range.end());
        let hint = format!("a number from {low} to {high}");
        let DeValue::Integer(digits) = field.value.get_ref() else {
            self.wrong_type(field, hint);
            return None;
        };
        let number = u64::from_str_radix(digits.as_str(), digits.radix()).ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.problem(&field.span(), format!("{}: {} is out of range", field.name, digits.as_str()), hint);
        }
        number
    }

    /// A text. `hint` says what it should be.
    pub(super) fn text<'t>(&mut self, field: &Field<'t, '_>, hint: &str) -> Option<&'t str> {
        let text = field.value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(field, hint.to_owned());
        }
        text
    }

    /// Notes that a value is of another type than `hint` says.
    pub(super) fn wrong_type(&mut self, field: &Field<'_, '_>, hint: String) {
        let found = field.value.get_ref().type_str();
        self.problem(&field.span(), format!("{}: this is of type {found}", field.name), hint);
    }

    /// One of `words`.
    pub(super) fn word<'w>(&mut self, field: &Field<'_, '_>, words: &[&'w str]) -> Option<&'w str> {
        let text = self.text(field, &format!("one of {}", quoted(words)))?;
        let word = words.iter().find(|word| **word == text).copied();
        if word.is_none() {
            let what = format!("{}: \"{text}\" is none of {}", field.name, quoted(words));
            self.problem(&field.span(), what, meant_by(text, words));
        }
        word
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// The way out where `word` is none of `known`. A suggestion is made only when it is close: a wrong one misleads more than
/// none.
fn meant_by(word: &str, known: &[&str]) -> String {
    let lower = word.to_lowercase();
    let distance = |candidate: &&&str| strsim::osa_distance(&lower, candidate);
    let is_close = |candidate: &&&str| distance(candidate) <= candidate.len().max(3) / 3;
    match known.iter().filter(is_close).min_by_key(distance) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("known here: {}", known.join(", ")),
    }
}
