//! Does each room import only what it may, do documents name files that are there, and can functions be read? The arrows
//! of the design: the decision imports nothing of ours, only `datapath` knows aya, `edge` knows no connection IDs, slots or
//! maps.

#[path = "arrows/circles.rs"]
mod circles;
#[path = "arrows/functions.rs"]
mod functions;
#[path = "arrows/source.rs"]
mod source;
#[path = "arrows/tokens.rs"]
mod tokens;

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use self::{
    circles::Crate,
    source::{Source, sources},
};

/// A room, and what nothing in it may import: crates, and other rooms of the same crate.
const RULES: [(&str, &[&str]); 15] = [
    ("router-cluster/src", &["aya", "quinn", "hyper", "router_http1", "router_http3", "router_userspace"]),
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
    // Verbs ask the agent, or the doctor.
    ("router-userspace/src/cli", &["aya", "quinn", "worker", "edge", "datapath"]),
    ("router-userspace/src/text.rs", &["agent", "cli", "config", "datapath", "doctor", "edge", "worker"]),
];

#[test]
fn of_the_design() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (room, forbidden) in RULES {
        let files = sources(&root.join(room))?;
        ensure!(!files.is_empty(), "{room}: no sources");
        for file in files {
            let text = fs::read_to_string(&file)?;
            let wrong = wrong(&file, &text, forbidden).with_context(|| file.display().to_string())?;
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
    let seen = |text: &str, what: &str| !wrong(at, text, &[what]).unwrap().is_empty();
    assert!(["datapath", "quinn", "std", "config"].iter().all(|what| seen(text, what)));
    assert!(!seen(text, "worker") && !seen(text, "flows"));
    // However far up the way to it leads.
    assert!(seen("use super::super::super::agent::Node;\n", "agent"));
    assert!(seen("use super::super::super::{config, agent::{Node, api}};\n", "agent"));
    assert!(seen("    let node = super::super::super::agent::Node::new();\n", "agent"));
    // A name of the room's own is not another room's.
    assert!(!seen("use super::super::agent::Name;\nuse super::agent;\nuse self::agent;\n", "agent"));
    assert!(!seen("// use crate::agent;\n", "agent"));
}

/// No file needs itself by way of others: what is in a circle can be understood and tested as a whole only. Where two
/// files need one another for a good reason, a comment in one of them says it.
#[test]
fn no_circles_between_files() -> Result<()> {
    for package in ["router-cluster", "router-userspace"] {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
        let complaints = Crate::read(&src)?.complaints();
        ensure!(complaints.is_empty(), "{package}: {}", complaints.join("\n"));
    }
    Ok(())
}

/// The node is a list of components: what it can do stands in files of functions, which import it and not one another's
/// circle.
#[test]
fn the_node_has_no_verbs() -> Result<()> {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../router-userspace/src/agent");
    for file in sources(&agent)? {
        let text = fs::read_to_string(&file)?;
        let adds_to_it = text.lines().any(|line| line.starts_with("impl") && line.contains("Node {"));
        ensure!(file.ends_with("node.rs") || !adds_to_it, "{} adds to Node", file.display());
    }
    let node = fs::read_to_string(agent.join("node.rs"))?;
    let methods = node.matches("    pub(super) fn ").count();
    ensure!((1..=4).contains(&methods), "Node has {methods} methods");
    Ok(())
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

/// A function fits on a screen, and its call says what each argument is.
#[test]
fn functions_can_be_read() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut complaints = Vec::new();
    for room in CODE {
        for file in sources(&root.join(room))? {
            let found =
                functions::complaints(&fs::read_to_string(&file)?).with_context(|| file.display().to_string())?;
            complaints.extend(found.iter().map(|complaint| format!("{}: {complaint}", file.display())));
        }
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// Where functions are looked at: everywhere but in tests.
const CODE: [&str; 8] = [
    "router-cluster/src",
    "router-common/src",
    "router-ebpf/src",
    "router-http1/src",
    "router-http3/src",
    "router-userspace/src",
    "tests/src",
    "xtask/src",
];

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
fn wrong(file: &Path, text: &str, forbidden: &[&str]) -> Result<Vec<String>> {
    let source = Source::read(text)?;
    let imported = source.imports().iter().map(|import| &import.path);
    // A name by itself leads out of its file by an import only.
    let in_code = source.paths().iter().filter(|path| path.len() > 1);
    let mut paths: Vec<_> = imported.chain(in_code).map(|path| path.join("::")).collect();
    paths.retain(|path| leads_to(file, path).is_some_and(|what| forbidden.contains(&what)));
    Ok(paths)
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
