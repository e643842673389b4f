//! Keys that no table knows, and which was meant; and which key an octet of the file belongs to.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ROOT, Table};
use crate::config::{
    error::{Findings, Place},
    suggest::nearest,
};

/// Notes every key in `found` that `table` does not know, and takes it out; `path` is the dotted
/// name of `found`.
pub(in crate::config) fn remove_unknown(
    found: &mut DeTable<'_>,
    table: &'static Table,
    path: &str,
    findings: &mut Findings<'_>,
) {
    let words = table.words();
    let mut unknown = Vec::new();
    for (key, value) in found.iter_mut() {
        let name = key.get_ref().as_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match &words {
            Some(words) if !words.contains(&name) => {
                findings.problem(Place::Offset(key.span().start), &path, "unknown key");
                findings.hint(meant_by(name, words));
                unknown.push(key.clone());
            }
            _ => {
                if let Some(child) = table.child(name) {
                    remove_unknown_in(value, child, &path, findings);
                }
            }
        }
    }
    for key in &unknown {
        found.remove(key);
    }
}

/// The same for the tables in a value: itself, or each in the array it is.
fn remove_unknown_in(value: &mut Spanned<DeValue<'_>>, table: &'static Table, path: &str, findings: &mut Findings<'_>) {
    match value.get_mut() {
        DeValue::Table(found) => remove_unknown(found, table, path, findings),
        DeValue::Array(values) => {
            for value in values.iter_mut() {
                remove_unknown_in(value, table, path, findings);
            }
        }
        // A value of another type: the reader of types reports it.
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn meant_by(unknown: &str, words: &[&'static str]) -> String {
    if let Some(word) = nearest(unknown, words.iter().copied()) {
        return format!("did you mean \"{word}\"?");
    }
    let elsewhere = ROOT.all().into_iter().find(|table| table.keys.iter().any(|key| key.short() == unknown));
    match elsewhere {
        Some(table) => format!("\"{unknown}\" belongs into [{}]", table.name),
        None => format!("known here: {}", words.join(", ")),
    }
}

/// The dotted name of the key in whose value the octet at `offset` stands.
pub(in crate::config) fn path_at(found: &DeTable<'_>, offset: usize) -> Option<String> {
    found.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        match path_in(value, offset) {
            Some(below) => Some(format!("{name}.{below}")),
            None => stands_in(value, offset).then(|| name.to_string()),
        }
    })
}

/// The same below a value: a `[table]`'s own span is its header alone, so all are searched.
fn path_in(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<String> {
    let value = value.get_ref();
    let within = value.as_table().and_then(|table| path_at(table, offset));
    within.or_else(|| value.as_array()?.iter().find_map(|value| path_in(value, offset)))
}

fn stands_in(value: &Spanned<DeValue<'_>>, offset: usize) -> bool {
    let inside = value.get_ref().as_array().is_some_and(|values| values.iter().any(|value| stands_in(value, offset)));
    inside || value.span().contains(&offset)
}
