//! docs/configuration.md says what is so: its tables are made of the keys' definitions, and its examples
//! load. With `QUIC_ROUTER_BLESS=1` in the environment the test writes the tables anew.

use super::{cluster, parse};
use crate::{
    blessed,
    config::{
        TakenBy,
        keys::{Described, ROOT},
    },
};

const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");

/// Below the heading of each table stands a row for each of its keys, as defined, and no other.
#[test]
fn its_tables_are_made_of_the_definitions() {
    blessed::document("configuration.md", with_tables_made);
}

/// The document, each of its tables of keys made anew.
fn with_tables_made(document: &str) -> String {
    let mut tables: Vec<_> = ROOT.all().into_iter().filter(|table| !table.keys.is_empty()).collect();
    tables.dedup_by_key(|table| table.name);
    let made = blessed::with_rows(document, "| key |", |heading, _| {
        let place = tables.iter().position(|table| heading.contains(&format!("`{}`", table.name)));
        let place = place.unwrap_or_else(|| panic!("a table of keys below no heading of one: {heading}"));
        tables.remove(place).keys.iter().map(|key| row(*key)).collect()
    });
    let missing: Vec<_> = tables.iter().map(|table| table.name).collect();
    assert!(missing.is_empty(), "no heading `## `NAME`` with a line `| key |` below it: {missing:?}");
    made
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
    format!("| `{}` | {default} | {} | {taken_by} | {} |", key.short(), key.takes(), key.meaning())
}

#[test]
fn the_documents_examples_load() {
    let folder = cluster::folder();
    folder.certificate("site");
    let site = folder.path("site").display().to_string();
    let www = format!("files:{}", folder.path("").display());
    let examples: Vec<_> = DOCUMENT.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let example = example.replace("/etc/ssl/site", &site).replace("files:/srv/www", &www);
        let example = example.replace("/etc/quic-router/", &folder.path("").display().to_string());
        let example = example.replace("address = \"10.0.0.11\"", "address = \"10.0.0.17\"");
        let example = example.replace("env:AWS_LBC_QUIC_SERVER_ID", "AAECAwQFBgc=");
        parse(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}
