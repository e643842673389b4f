//! The definitions of the keys, against what reader and checker make of them, and what a reload does.

use std::collections::BTreeSet;

use super::{Folder, LISTENER, cluster, parse};
use crate::config::{Changed, Config, DEFAULT_BPF_DIR, DEFAULT_CONTROL, TakenBy, changes, keys::ROOT};

/// Tables that [`file`] has not: they come to nothing where all in them is a default.
const ELSEWHERE: [&str; 2] = ["listener.client_certificates.", "route.request_headers."];

thread_local! {
    /// The files that a `[cluster]` needs.
    static CLUSTER: Folder = cluster::folder();
}

/// A file with all there is, and below each table whatever `keys` says of it.
fn file(mut keys: impl FnMut(&str) -> String) -> String {
    let table = |lines: String| lines.replace('\n', ", ");
    let health = format!("health = {{ path = \"/\", {} }}", table(keys("upstream.NAME.health")));
    let ejection = format!("ejection = {{ {} }}", table(keys("upstream.NAME.ejection")));
    let server = format!("servers = [{{ url = \"http://a\", {} }}]", table(keys("upstream.NAME.servers")));
    let cluster = CLUSTER.with(|folder| cluster::needed(folder, "10.0.0.11"));
    let mut text = String::new();
    for (header, needed) in [
        ("[router]", ""),
        ("[connection_id]", ""),
        ("[cluster]", &cluster),
        ("[limits]", ""),
        ("[transport]", ""),
        ("[af_xdp]", ""),
        ("[admission]", ""),
        ("[access_log]", "file = \"/a\""),
        ("[qlog]", "dir = \"/q\""),
        ("[[listener]]", "address = \"127.0.0.1:4433\""),
        ("[[route]]", "redirect = \"/{query}\""),
    ] {
        text += &format!("{header}\n{needed}\n{}\n", keys(header.trim_matches(['[', ']'])));
    }
    text + &format!("[upstream.a]\n{server}\n{health}\n{}\n[upstream.b]\n{server}\n{ejection}\n", keys("upstream.NAME"))
}

/// Each default, as it is shown, is what the checker takes where there is no value.
#[test]
fn a_file_of_defaults_is_as_good_as_none() {
    let mut written = BTreeSet::new();
    let all = file(|name| {
        let table = ROOT.all().into_iter().find(|table| table.name == name).unwrap();
        let lines = table.keys.iter().filter(|key| key.written() != "-").map(|key| {
            written.insert(key.name());
            format!("{} = {}", key.short(), key.written())
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    let loaded = |text: &str| {
        let config = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Config { notices: Vec::new(), ..config }
    };
    assert_eq!(loaded(&all), loaded(&file(|_| String::new())));

    let all = ROOT.all().into_iter().flat_map(|table| table.keys);
    let left_out: Vec<_> = all
        .filter(|key| key.written() != "-" && !written.contains(key.name()))
        .filter(|key| !ELSEWHERE.iter().any(|table| key.name().starts_with(table)))
        .map(|key| key.name())
        .collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

/// A key with another value than its default makes another configuration, and none that another key of its table makes:
/// so its value arrives, and where it belongs. Not asked of keys whose default is none, and of those whose values are not
/// told from their definition.
#[test]
fn each_value_arrives_in_a_place_of_its_own() {
    let loaded = |text: &str| parse(text).ok().map(|config| Config { notices: Vec::new(), ..config });
    let usual = loaded(&file(|_| String::new())).unwrap();
    let mut arrived = 0;
    for table in ROOT.all() {
        let mut made = vec![("no key", usual.clone())];
        for key in table.keys {
            let with = |value: &String| {
                loaded(&file(
                    |name| if name == table.name { format!("{} = {value}", key.short()) } else { String::new() },
                ))
            };
            // A default may be the least or the most, or be tied to another key.
            let Some(config) = others(&key.written(), &key.takes()).iter().find_map(with) else { continue };
            // `file` has no such table.
            if config == usual && ELSEWHERE.iter().any(|one| key.name().starts_with(one)) {
                continue;
            }
            for (other, before) in &made {
                assert_ne!(config, *before, "{} comes to nothing, or to what {other} does", key.name());
            }
            made.push((key.name(), config));
            arrived += 1;
        }
    }
    assert!(arrived > 40, "{arrived}");
}

/// Values that a key may take, but for its default `written`: one that is a little off, or one of the words that it
/// `takes`.
fn others(written: &str, takes: &str) -> Vec<String> {
    let words = takes.split('`').skip(1).step_by(2).filter(|word| *word != written).map(str::to_owned);
    let digits: String = written.chars().filter(|c| c.is_ascii_digit()).collect();
    let number = digits.parse::<u64>().ok().filter(|_| !written.contains(['.', '/', '-']));
    let off = number.into_iter().flat_map(|number| [number.saturating_sub(1), number + 1]);
    let unit: String = written.chars().filter(|c| !c.is_ascii_digit() && !"_\"".contains(*c)).collect();
    let off = off.map(|number| match written.starts_with('"') {
        true => format!("\"{number}{unit}\""),
        false => number.to_string(),
    });
    off.chain(words).collect()
}

#[test]
fn each_key_is_defined_once() {
    let mut names = BTreeSet::new();
    for table in ROOT.all() {
        for key in table.keys {
            // The rewrites of requests and responses are one table.
            let is_new = names.insert(key.name()) || table.name == "route.request_headers";
            assert!(is_new && key.name() == format!("{}.{}", table.name, key.short()), "{}", key.name());
        }
    }
    assert!(names.len() > 100, "{}", names.len());
}

#[test]
fn default_paths_are_those_of_the_definitions() {
    let router = parse(LISTENER).unwrap().router;
    assert_eq!((router.bpf_dir.to_str(), router.control.to_str()), (Some(DEFAULT_BPF_DIR), Some(DEFAULT_CONTROL)));
}

/// What is compared neither as a part of a table nor by itself could change in silence.
#[test]
fn each_change_can_be_found() {
    let tables = ROOT.all();
    let wholes: Vec<_> = tables.iter().filter(|table| table.whole.is_some()).map(|table| table.name).collect();
    let is_within = |name: &str| {
        wholes.iter().any(|whole| name.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    for table in tables.into_iter().filter(|table| !is_within(table.name)) {
        for key in table.keys {
            assert!(key.compared().is_some(), "{}: neither it nor its table is compared", key.name());
        }
    }
}

/// What differs between a listener alone and one with `text`.
fn changed(text: &str) -> Vec<(String, TakenBy, String)> {
    between("", text)
}

fn between(before: &str, after: &str) -> Vec<(String, TakenBy, String)> {
    let config = |text: &str| parse(&format!("{LISTENER}{text}\n")).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let of = |one: &Changed| (one.name().to_owned(), one.taken_by(), one.told().to_owned());
    changes(&config(before), &config(after)).iter().map(of).collect()
}

#[test]
fn what_takes_a_change_is_known_by_the_key() {
    use TakenBy::{Reload, Restart, Upgrade};
    let upstream = "[upstream.a]\nservers = [\"http://a\"]";
    for (text, name, taken_by, told) in [
        ("[router]\nnode_id = 2", "router.node_id", Restart, "node_id has changed"),
        ("[router]\nworkers = 255", "router.workers", Reload, "workers has changed"),
        ("[router]\nengine = \"reuseport\"", "router.engine", Upgrade, "engine has changed"),
        ("[router]\nengine = \"userspace\"", "router.engine", Restart, "engine has changed"),
        ("[router]\ninterfaces = [\"a\"]", "router.interfaces", Reload, "interfaces has changed"),
        ("[router]\nbpf_dir = \"/b\"", "router.bpf_dir", Restart, "bpf_dir has changed"),
        ("[router]\nstate_dir = \"/b\"", "router.state_dir", Restart, "state_dir has changed"),
        ("[router]\ncontrol = \"/b\"", "router.control", Restart, "control has changed"),
        ("[router]\ndrain_timeout = \"1s\"", "router.drain_timeout", Reload, "drain_timeout has changed"),
        ("[router]\nlog = \"warn\"", "router.log", Reload, "what is logged has changed"),
        ("[router]\ncpu_map = \"never\"", "router.cpu_map", Reload, "cpu_map has changed"),
        ("[connection_id]\nencryption = \"none\"", "connection_id", Upgrade, "connection_id has changed"),
        ("[connection_id]\nlength = 12", "connection_id", Restart, "connection_id has changed"),
        ("[connection_id]\nlength = 12\nlifetime = \"2h\"", "connection_id", Restart, "connection_id has changed"),
        ("[limits]\nmax_connections = 100_001", "limits", Reload, "limits have changed"),
        ("[transport]\ngso = false", "transport", Reload, "transport has changed"),
        ("[af_xdp]\nmemory = \"1 MiB\"", "af_xdp", Upgrade, "af_xdp has changed"),
        ("[admin]\naddress = \"127.0.0.1:1\"", "admin", Reload, "the admin address has changed"),
        ("[access_log]\nfile = \"/a\"", "access_log", Reload, "the access log has changed"),
        ("[qlog]\ndir = \"/a\"", "qlog", Reload, "qlog has changed"),
        ("[[listener]]\naddress = \"127.0.0.1:1\"", "listener", Reload, "certificates have changed"),
        ("[[route]]\nredirect = \"/\"", "route", Reload, "routes have changed"),
        (upstream, "upstream", Reload, "upstreams have changed"),
    ] {
        assert_eq!(changed(text), [(name.to_owned(), taken_by, told.to_owned())], "{text}");
    }
    assert_eq!(changed(""), []);
    assert_eq!(changed("tcp = true\nalt_svc = false"), [], "a listener's own settings are not told of");
}

/// Tables before keys: what an operator changes most is told first.
#[test]
fn changes_have_an_order() {
    let before = "[router]\nlog = \"warn\"\nengine = \"userspace\"";
    let after =
        "[router]\ndebug_headers = true\nengine = \"reuseport\"\n[[route]]\nredirect = \"/\"\n[limits]\nmin_rate = 1";
    let names: Vec<_> = between(before, after).into_iter().map(|(name, taken_by, _)| (name, taken_by)).collect();
    let expected = [
        ("limits", TakenBy::Reload),
        ("route", TakenBy::Reload),
        ("router.engine", TakenBy::Restart),
        ("router.debug_headers", TakenBy::Reload),
        ("router.log", TakenBy::Reload),
    ];
    assert_eq!(names, expected.map(|(name, taken_by)| (name.to_owned(), taken_by)));
}
