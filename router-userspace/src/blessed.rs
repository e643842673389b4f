//! Documents whose tables are made of what the code defines. With `QUIC_ROUTER_BLESS=1` in the environment the tests write
//! them anew.

use std::{env, fs, iter, path::Path};

/// Holds that the document of that name in `docs/` is what `made` makes of it, or writes it so.
pub(crate) fn document(name: &str, made: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let written = fs::read_to_string(&path).unwrap();
    let made = made(&written);
    if env::var_os("QUIC_ROUTER_BLESS").is_some() {
        fs::write(path, &made).unwrap();
        return;
    }
    // A line for a line, and after the last of both none.
    let ends = || iter::repeat("(the end)");
    let mut pairs = written.lines().chain(ends()).zip(made.lines().chain(ends())).take(made.lines().count() + 1);
    let differs = pairs.find(|(written, made)| written != made);
    assert_eq!(differs, None, "docs/{name}: run the tests with QUIC_ROUTER_BLESS=1, which writes its tables anew");
}

/// The document with its tables made anew whose first line begins with `head`: `rows` is given the heading that a table
/// stands below and the table's rows, and says what they are to be. What a table has above its rows stays.
pub(crate) fn with_rows(document: &str, head: &str, mut rows: impl FnMut(&str, &[&str]) -> Vec<String>) -> String {
    let (mut made, mut heading, mut is_code) = (String::new(), "", false);
    let mut lines = document.lines().peekable();
    while let Some(line) = lines.next() {
        is_code ^= line.starts_with("```");
        if line.starts_with('#') && !is_code {
            heading = line;
        }
        made += &format!("{line}\n");
        if line.starts_with(head) {
            let table: Vec<_> = iter::from_fn(|| lines.next_if(|line| line.starts_with('|'))).collect();
            let (rule, written) = table.split_first().unwrap_or_else(|| panic!("a table without a rule: {line}"));
            made += &format!("{rule}\n");
            made.extend(rows(heading, written).iter().map(|row| format!("{row}\n")));
        }
    }
    made
}
