//! Does each room import only what it may? The arrows of the design: the decision knows nobody,
//! only `datapath` knows aya, `edge` knows no connection IDs, slots or maps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// Folder, and what must not stand in a `use` or a path there.
const RULES: [(&str, &[&str]); 11] = [
    ("router-common/src", &["std::", "alloc::", "aya", "tokio", "quinn", "serde"]),
    ("router-ebpf/src", &["std::", "tokio", "quinn", "router_userspace"]),
    ("router-http1/src", &["tokio", "quinn", "hyper", "router_common", "router_http3", "router_userspace"]),
    ("router-http3/src", &["tokio", "quinn", "h3", "hyper", "router_common", "router_userspace"]),
    (
        "router-userspace/src/address",
        &["aya::", "router_common", "agent", "worker", "datapath", "edge", "telemetry", "cli"],
    ),
    ("router-userspace/src/config", &["aya::", "quinn::", "agent", "worker", "datapath", "edge", "cli"]),
    ("router-userspace/src/telemetry", &["aya::", "quinn::", "agent", "worker", "datapath", "edge", "cli", "config"]),
    ("router-userspace/src/datapath", &["quinn", "hyper", "h3::", "agent", "worker", "edge", "cli", "config"]),
    ("router-userspace/src/worker", &["aya::", "datapath", "agent", "cli", "hyper", "h3::"]),
    ("router-userspace/src/edge", &["aya::", "router_common", "datapath", "worker", "agent", "cli"]),
    ("router-userspace/src/agent", &["aya::", "cli"]),
];

#[test]
fn of_the_design() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (folder, forbidden) in RULES {
        let files = sources(&root.join(folder))?;
        ensure!(!files.is_empty(), "{folder}: no sources");
        for file in files {
            let text = fs::read_to_string(&file)?;
            for import in imports(&text) {
                let wrong = forbidden.iter().find(|what| names(&import, what));
                ensure!(wrong.is_none(), "{}: {import}", file.display());
            }
        }
    }
    Ok(())
}

/// The rule is no rule if nothing breaks it.
#[test]
fn a_wrong_arrow_is_seen() {
    let text =
        "use std::fs;\n\nuse crate::{\n    config::Config,\n    datapath::Pins,\n};\nlet x = quinn::VarInt::MAX;\n";
    let imports = imports(text);
    let seen = |what| imports.iter().any(|import| names(import, what));
    assert!(seen("datapath") && seen("quinn") && seen("std::") && !seen("worker"), "{imports:?}");
}

/// All `use` declarations, each on one line, and lines with a path in them. Tests and comments are
/// free to name anything.
fn imports(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let (mut all, mut open): (Vec<String>, Option<String>) = (Vec::new(), None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        match &mut open {
            Some(begun) => *begun += line,
            None if line.starts_with("use ") || line.starts_with("pub use ") => open = Some(line.to_owned()),
            None if line.contains("crate::") || line.contains("quinn::") || line.contains("aya::") => {
                all.push(line.to_owned());
            }
            None => {}
        }
        if open.as_ref().is_some_and(|begun| begun.ends_with(';')) {
            all.extend(open.take());
        }
    }
    all
}

/// Whether an import names `what`: an external crate, or a room of ours.
fn names(import: &str, what: &str) -> bool {
    let what = what.trim_end_matches("::");
    let ours = import.contains("crate::");
    import
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .flat_map(|path| path.split("::").filter(|part| !part.is_empty()).take(if ours { 2 } else { 1 }))
        .any(|part| part == what)
        // A name that `use self::` or `super::` brings is the room's own.
        && !import.contains("self::")
        && !import.contains("super::")
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    Ok(found)
}
