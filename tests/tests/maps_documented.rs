//! Does `docs/maps.md` say what bpftool shows?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use router_tests::lab::Lab;
use serde_json::Value;

/// Names of a map's key fields (none where the key is a number) and of its value's fields.
type Fields = [BTreeSet<String>; 2];

#[test]
fn every_public_map_prints_the_documented_names() -> Result<()> {
    // With clients that have been asked for their address, so that each map has an entry.
    let lab = Lab::new().engine("af_xdp").admission("answer_in_xdp", "\"always\"").admission("challenge", "\"always\"");
    let lab = lab.start()?;
    let _passing = lab.wire().receiving_by_xdp()?;
    let documented = documented();
    assert!(documented.len() >= 8, "the document is not read: {:?}", documented.keys());
    let clients =
        lab.quic_go().get("/bytes/1000").connections(3).holding(std::time::Duration::from_secs(20)).start()?;
    lab.await_accepted(&clients, 3)?;
    lab.cli(&["block", "add", "192.0.2.0/24"])?.succeeded()?;
    for (name, expected) in &documented {
        let entries = lab.dump(name)?;
        let entry = entries.first().with_context(|| format!("{name} is empty"))?;
        assert_eq!(&fields(entry), expected, "{name}");
    }
    Ok(())
}

#[test]
fn every_pin_is_documented() -> Result<()> {
    let lab = Lab::new().start()?;
    let pinned: BTreeSet<String> = lab.home().pinned().into_iter().collect();
    let mut documented: BTreeSet<String> = documented().into_keys().chain(not_for_people()).collect();
    documented.insert("link-clients0".into());
    assert_eq!(pinned, documented);
    Ok(())
}

/// An operator who may look at the public maps learns no secret from them.
#[test]
fn secrets_are_in_a_map_of_their_own() -> Result<()> {
    let lab = Lab::new().start()?;
    let mut seed = Vec::new();
    for map in ["secrets", "cid_keys"] {
        let secrets = lab.dump(map)?;
        numbers(&secrets[0]["value"], &mut seed);
    }
    // Words of 32 bits might be anything's by chance; of each kind of secret there are longer ones.
    seed.retain(|&number| number > u32::MAX.into());
    assert!(seed.len() >= 3, "no seeds: {seed:?}");
    for name in documented().keys() {
        let mut public = Vec::new();
        for entry in lab.dump(name)? {
            numbers(&entry, &mut public);
        }
        assert!(!seed.iter().any(|secret| public.contains(secret)), "{name} has the seed");
    }
    Ok(())
}

/// The fields by the sections and tables of the document.
fn documented() -> BTreeMap<String, Fields> {
    let sections = DOCUMENT.split("\n## ").skip(1).filter_map(|section| {
        let (name, text) = section.split_once('\n')?;
        let fields = [column(text, "| key field |"), column(text, "| field |")];
        (!fields[1].is_empty()).then(|| (name.trim().to_owned(), fields))
    });
    sections.collect()
}

fn not_for_people() -> BTreeSet<String> {
    let section = DOCUMENT.split("\n## ").find(|section| section.starts_with("Not meant for people"));
    column(section.unwrap_or_default(), "| map |")
}

/// The first column of the table whose head begins so: what stands in backquotes.
fn column(text: &str, head: &str) -> BTreeSet<String> {
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('`').nth(1)).map(str::to_owned).collect()
}

fn fields(entry: &Value) -> Fields {
    // Of a per-CPU map, the first CPU's.
    let value = entry.get("value").or_else(|| entry.pointer("/values/0/value")).unwrap_or(&Value::Null);
    [names(&entry["key"]), names(value)]
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

fn numbers(value: &Value, found: &mut Vec<u64>) {
    match value {
        Value::Number(number) => found.extend(number.as_u64()),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| numbers(value, found)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

const DOCUMENT: &str = include_str!("../../docs/maps.md");
