//! docs/configuration.md says what is so: every key with its default, and examples that load.

use std::collections::BTreeSet;

use super::{Folder, parse};
use crate::config::keys::ROOT;

const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");

/// Every table has a heading, and below it every key a row with its default; and no row is for
/// a key that doesn't exist.
#[test]
fn the_document_lists_every_key_with_its_default() {
    let mut known = BTreeSet::new();
    for table in ROOT.all().into_iter().filter(|table| !table.keys.is_empty()) {
        let heading = format!("`{}`", table.name);
        let section =
            DOCUMENT.split("\n## ").find(|section| section.lines().next().is_some_and(|line| line.contains(&heading)));
        let section = section.unwrap_or_else(|| panic!("no section for {heading}"));
        for (key, default) in table.keys {
            let row =
                format!("| `{key}` | {} |", if *default == "-" { "-".to_owned() } else { format!("`{default}`") });
            assert!(section.contains(&row), "{heading} lacks: {row}");
            known.insert(format!("| `{key}` |"));
        }
    }
    for row in DOCUMENT.lines().filter(|line| line.starts_with("| `") && !line.starts_with("| `--")) {
        assert!(known.iter().any(|key| row.starts_with(key.as_str())), "not a key: {row}");
    }
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
