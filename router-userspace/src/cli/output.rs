//! How results look: written once to standard output, aligned, in units people read.
//!
//! The rule this room keeps: everything for people is built as text first, so that tests
//! compare it whole, and a reader that goes away (`| head`) ends the program quietly.

use std::io::{self, Write as _};

use serde::Serialize;

use super::fail::{Exit, Fail};
pub(super) use crate::text::{Align, Table, bytes, count, plural, span};

/// Writes `text` to standard output.
pub(super) fn print(text: &str) -> Result<(), Fail> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Fail::reader_gone(),
        _ => Fail::new(Exit::Kernel, format!("standard output: {error}")),
    })
}

/// `value` as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<String, Fail> {
    let json = serde_json::to_string(value).map_err(|error| Fail::new(Exit::Kernel, format!("JSON: {error}")))?;
    Ok(json + "\n")
}

/// Writes `value` as one line of JSON to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Fail> {
    print(&json(value)?)
}
