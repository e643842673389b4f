//! Does each room import only what it may, and do documents name files that are there? The arrows of the design: the
//! decision imports nothing of ours, only `datapath` knows aya, `edge` knows no connection IDs, slots or maps.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// A room, and what nothing in it may import: crates, and other rooms of the same crate.
const RULES: [(&str, &[&str]); 14] = [
    ("router-common/src", &["std", "alloc", "aya", "tokio", "quinn", "serde"]),
    ("router-ebpf/src", &["std", "tokio", "quinn", "router_userspace"]),
    ("router-http1/src", &["tokio", "quinn", "hyper", "router_common", "router_http3", "router_userspace"]),
    ("router-http3/src", &["tokio", "quinn", "h3", "hyper", "router_common", "router_userspace"]),
    (
        "router-userspace/src/address",
        &["aya", "router_common", "agent", "worker", "datapath", "edge", "telemetry", "cli", "doctor"],
    ),
    ("router-userspace/src/config", &["aya", "quinn", "agent", "worker", "datapath", "edge", "cli", "doctor"]),
    (
        "router-userspace/src/telemetry",
        &["aya", "quinn", "agent", "worker", "datapath", "edge", "cli", "config", "doctor"],
    ),
    ("router-userspace/src/datapath", &["quinn", "hyper", "h3", "agent", "worker", "edge", "cli", "config", "doctor"]),
    ("router-userspace/src/worker", &["aya", "datapath", "agent", "cli", "hyper", "h3", "doctor"]),
    ("router-userspace/src/edge", &["aya", "router_common", "datapath", "worker", "agent", "cli", "doctor"]),
    ("router-userspace/src/agent", &["aya", "cli", "doctor"]),
    ("router-userspace/src/doctor", &["aya", "quinn", "cli", "edge", "telemetry"]),
    // Verbs ask the agent, or the doctor; `detach` cleans up behind an agent that is gone.
    ("router-userspace/src/cli", &["aya", "quinn", "worker", "edge", "datapath"]),
    ("router-userspace/src/text.rs", &["agent", "cli", "config", "datapath", "doctor", "edge", "worker"]),
];

/// Files that may do what their room may not.
const EXCEPTIONS: [(&str, &str); 1] = [("cli/detach.rs", "datapath")];

#[test]
fn of_the_design() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (room, forbidden) in RULES {
        let files = sources(&root.join(room))?;
        ensure!(!files.is_empty(), "{room}: no sources");
        for file in files {
            let text = fs::read_to_string(&file)?;
            let wrong = wrong(&file, &text, forbidden);
            ensure!(wrong.is_empty(), "{}: {wrong:?}", file.display());
        }
    }
    Ok(())
}

/// The rule is no rule if nothing breaks it.
#[test]
fn a_wrong_arrow_is_seen() {
    let text = "use std::fs;\n\nuse crate::{\n    config::Config,\n    datapath::{Pins, flows},\n};\nlet x = quinn::VarInt::MAX;\n";
    let at = Path::new("router-userspace/src/edge/files/body.rs");
    let seen = |text: &str, what: &str| !wrong(at, text, &[what]).is_empty();
    assert!(["datapath", "quinn", "std", "config"].iter().all(|what| seen(text, what)));
    assert!(!seen(text, "worker") && !seen(text, "flows"));
    // However far up the way to it leads.
    assert!(seen("use super::super::super::agent::Node;\n", "agent"));
    assert!(seen("use super::super::super::{config, agent::{Node, api}};\n", "agent"));
    assert!(seen("    let node = super::super::super::agent::Node::new();\n", "agent"));
    // A name of the room's own is not another room's.
    assert!(!seen("use super::super::agent::Name;\nuse super::agent;\nuse self::agent;\n", "agent"));
    assert!(!seen("// use crate::agent;\n", "agent"));
    assert!(wrong(Path::new("src/cli/detach.rs"), "use crate::datapath;\n", &["datapath"]).is_empty());
}

/// What the kernel and the workers both have to be told is told by one file, or one of them is forgotten some day.
#[test]
fn slots_have_one_writer() -> Result<()> {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../router-userspace/src/agent");
    let mut written = 0;
    for file in sources(&agent)? {
        let text = fs::read_to_string(&file)?;
        let writes = [".set_slot_state(", ".set_slot(", ".set_listeners(", ".assign(&"];
        let writes = writes.iter().map(|write| text.matches(write).count()).sum::<usize>();
        // What asks the one writer is no write.
        let asks = text.matches("steering.set_listeners(").count() + text.matches("steering.assign(&").count();
        if file.ends_with("steering.rs") {
            written = writes;
        } else {
            ensure!(writes == asks, "{} writes slots itself", file.display());
        }
    }
    ensure!(written > 5, "steering.rs writes {written} times only");
    Ok(())
}

/// Notes name the file that keeps each rule: it is there.
#[test]
fn documents_name_files_that_are_there() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rooms = ["", "router-common/src", "router-ebpf/src", "router-userspace/src", "xtask/src"];
    let mut named = 0;
    for document in ["README.md", "docs/design.md", "docs/interop.md", "docs/limits.md", "docs/performance.md"] {
        let text = fs::read_to_string(root.join(document))?;
        let quoted = text.split('`').skip(1).step_by(2);
        let is_path = |name: &&str| name.ends_with(".rs") || name.ends_with('/') && !name.starts_with('/');
        for file in quoted.filter(is_path).filter(|name| !name.contains(char::is_whitespace)) {
            ensure!(rooms.iter().any(|room| root.join(room).join(file).exists()), "{document}: {file} is not there");
            named += 1;
        }
    }
    ensure!(named > 20, "only {named} files are named");
    Ok(())
}

/// The imports and paths of `text` that lead to what is forbidden.
fn wrong(file: &Path, text: &str, forbidden: &[&str]) -> Vec<String> {
    let may = |what: &str| EXCEPTIONS.iter().any(|&(path, allowed)| file.ends_with(path) && allowed == what);
    let mut paths: Vec<_> = imports(text).iter().flat_map(|import| expanded(import)).collect();
    paths.retain(|path| leads_to(file, path).is_some_and(|what| forbidden.contains(&what) && !may(what)));
    paths
}

/// The crate that a path leads to, or the room of the same crate; none if it stays where it is.
fn leads_to<'p>(file: &Path, path: &'p str) -> Option<&'p str> {
    let mut segments = path.split("::").filter(|segment| !segment.is_empty());
    let modules: Vec<_> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let below = modules.iter().rposition(|part| part == "src").map_or(0, |at| modules.len() - at - 1);
    // `mod.rs` is its folder.
    let mut depth = below - usize::from(modules.last().is_some_and(|name| name == "mod" || name == "lib"));
    loop {
        match segments.next()? {
            "crate" => depth = 0,
            "self" => {}
            "super" => {
                depth = depth.saturating_sub(1);
                continue;
            }
            other if path.starts_with("crate") || path.starts_with("super") || path.starts_with("self") => {
                return (depth == 0).then_some(other);
            }
            other => return Some(other),
        }
    }
}

/// All `use` declarations without their `use`, each on one line, and what else has a path in it. Tests and comments are
/// free to name anything.
fn imports(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let (mut all, mut open): (Vec<String>, Option<String>) = (Vec::new(), None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let declared = line.split_once("use ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        match (&mut open, declared) {
            (Some(begun), _) => begun.push_str(line),
            (None, Some((_, tree))) => open = Some(tree.to_owned()),
            (None, None) => all.extend(paths_in(line)),
        }
        if open.as_ref().is_some_and(|begun| begun.ends_with(';')) {
            all.extend(open.take().map(|tree| tree.trim_end_matches(';').to_owned()));
        }
    }
    all
}

/// Paths that stand in a line of code and lead out of its module.
fn paths_in(line: &str) -> impl Iterator<Item = String> {
    let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let leads = |word: &&str| ["crate::", "super::", "quinn::", "aya::"].iter().any(|start| word.starts_with(start));
    words.filter(leads).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// The paths of a tree of imports: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn expanded(tree: &str) -> Vec<String> {
    let Some((stem, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inside = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut branches) = (0, vec![String::new()]);
    for letter in inside.chars() {
        match letter {
            ',' if depth == 0 => {
                branches.push(String::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        branches.last_mut().expect("one at least").push(letter);
    }
    let branches = branches.iter().map(|branch| branch.trim()).filter(|branch| !branch.is_empty());
    branches.flat_map(expanded).map(|branch| format!("{}{branch}", stem.trim())).collect()
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
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
