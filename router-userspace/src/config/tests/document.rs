//! docs/configuration.md says what is so: its tables are made of the keys' definitions, and its examples
//! load. With `QUIC_ROUTER_BLESS=1` in the environment the test writes the tables anew.

use std::{env, fs, iter};

use super::{Folder, parse};
use crate::config::{
    TakenBy,
    keys::{Described, ROOT, Table},
};

const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");

/// Below the heading of each table stands a row for each of its keys, as defined, and no other.
#[test]
fn its_tables_are_made_of_the_definitions() {
    let written = fs::read_to_string(PATH).unwrap();
    let made = with_tables_made(&written);
    if env::var_os("QUIC_ROUTER_BLESS").is_some() {
        fs::write(PATH, &made).unwrap();
        return;
    }
    // A line for a line, and after the last of both none.
    let ends = || iter::repeat("(the end)");
    let mut pairs = written.lines().chain(ends()).zip(made.lines().chain(ends())).take(made.lines().count() + 1);
    let differs = pairs.find(|(written, made)| written != made);
    assert_eq!(differs, None, "run the tests with QUIC_ROUTER_BLESS=1, which writes the tables anew");
}

/// The document, each of its tables of keys made anew.
fn with_tables_made(document: &str) -> String {
    let mut tables: Vec<_> = ROOT.all().into_iter().filter(|table| !table.keys.is_empty()).collect();
    tables.dedup_by_key(|table| table.name);
    let (mut made, mut below, mut skipping) = (String::new(), None, false);
    for line in document.lines() {
        if line.starts_with("## ") {
            let place = tables.iter().position(|table| line.contains(&format!("`{}`", table.name)));
            below = place.map(|place| tables.remove(place));
        }
        if line.starts_with("| key |") {
            let table = below.take().unwrap_or_else(|| panic!("a table of keys below no heading of one: {line}"));
            made += &rows(table);
            skipping = true;
        }
        skipping &= line.starts_with('|');
        if !skipping {
            made += &format!("{line}\n");
        }
    }
    let missing: Vec<_> = tables.iter().chain(&below).map(|table| table.name).collect();
    assert!(missing.is_empty(), "no heading `## `NAME`` with a line `| key |` below it: {missing:?}");
    made
}

fn rows(table: &Table) -> String {
    let head = "| key | default | values | a change takes | meaning |\n|---|---|---|---|---|\n";
    iter::once(head.to_owned()).chain(table.keys.iter().map(|key| row(*key))).collect()
}

fn row(key: &dyn Described) -> String {
    let default = match key.written() {
        default if default == "-" => default,
        default => format!("`{default}`"),
    };
    let taken_by = match key.taken_by() {
        TakenBy::Reload => "a reload",
        TakenBy::Upgrade => "an upgrade",
        TakenBy::Restart => "a restart",
    };
    format!("| `{}` | {default} | {} | {taken_by} | {} |\n", key.short(), key.takes(), key.meaning())
}

#[test]
fn the_documents_examples_load() {
    let folder = Folder::new();
    folder.certificate("site");
    let site = folder.path("site").display().to_string();
    let www = format!("files:{}", folder.path("").display());
    let examples: Vec<_> = DOCUMENT.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let example = example.replace("/etc/ssl/site", &site).replace("files:/srv/www", &www);
        let example = example.replace("env:AWS_LBC_QUIC_SERVER_ID", "AAECAwQFBgc=");
        parse(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}
