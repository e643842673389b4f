//! `[cluster]`: what makes one, and what is refused with which words.

use super::{Folder, LISTENER, parse};
use crate::config::{Cluster, Config, EtcdAccess, MembershipEngine, NewConnections, TakenBy, changes};

/// Three nodes.
const MEMBERS: &str = "[[node]]\nnumber = 1\naddress = \"10.0.0.11\"\n[[node]]\nnumber = 7\naddress = \"10.0.0.17\"\n\
                       [[node]]\nnumber = 9\naddress = \"fd00::9\"\n";

/// A folder with a list of nodes and a secret.
pub(super) fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("members.toml", MEMBERS);
    folder.secret("cluster.key", &"0a".repeat(32));
    folder
}

/// What a `[cluster]` needs, of the node with this address.
pub(super) fn needed(folder: &Folder, address: &str) -> String {
    let (members, secret) = (folder.path("members.toml"), folder.path("cluster.key"));
    format!(
        "name = \"edge\"\nmembers = \"{}\"\nsecret = \"file:{}\"\naddress = \"{address}\"",
        members.display(),
        secret.display()
    )
}

fn text(folder: &Folder) -> String {
    format!("{LISTENER}[cluster]\n{}\n", needed(folder, "10.0.0.17"))
}

fn listed(config: &Config) -> usize {
    match &cluster(config).engine {
        MembershipEngine::File { listed, .. } => listed.nodes.len(),
        MembershipEngine::Etcd(_) => 0,
    }
}

fn cluster(config: &Config) -> &Cluster {
    config.cluster.as_ref().unwrap()
}

/// The first problem, its hint behind a bar, without the folder's name.
fn complaint(folder: &Folder, text: &str) -> String {
    let error = parse(text).expect_err(text);
    let said = format!("{error} | {}", error.hint().unwrap_or_default());
    said.replace(&folder.path("").display().to_string(), "/").replace("router.toml:", "")
}

#[test]
fn a_node_finds_itself_in_the_list() {
    let folder = folder();
    let config = parse(&text(&folder)).unwrap();
    assert_eq!((config.router.node_id, cluster(&config).tunnel()), (7, "10.0.0.17:6080".parse().unwrap()));
    assert_eq!((listed(&config), cluster(&config).new_connections), (3, NewConnections::Local));
    let said = parse(&format!("[router]\nnode_id = 7\n{}", text(&folder))).unwrap();
    assert_eq!(said.router.node_id, 7);
    let said = complaint(&folder, &format!("[router]\nnode_id = 8\n{}", text(&folder)));
    let expected = "2: router.node_id: 8 here, and 7 in /members.toml, by cluster.address | leave it out: the list of nodes says it";
    assert_eq!(said, expected);
    assert_eq!(parse(LISTENER).unwrap().cluster, None);
}

#[test]
fn what_is_wrong_is_named() {
    let folder = folder();
    let good = text(&folder);
    for (from, to, said) in [
        ("name = \"edge\"\n", "", "3: cluster.name: missing | name = \"edge\", the same on all nodes"),
        (
            "\"edge\"",
            "\"ed ge\"",
            "4: cluster.name: \"ed ge\" is no name: 1 to 63 letters, digits, dots and hyphens | ",
        ),
        ("members.toml", "absent.toml", "5: cluster.members: /absent.toml: No such file or directory (os error 2)"),
        ("members = \"/", "members = \"", "is not an absolute path"),
        ("cluster.key", "absent.key", "6: cluster.secret: /absent.key cannot be read"),
        ("file:/", "/", "6: cluster.secret: it is no \"file:PATH\" | secret = \"file:/etc/quic-router/cluster.key\""),
        (
            "\"10.0.0.17\"",
            "\"10.0.0.18\"",
            "7: cluster.address: /members.toml has no node with the address 10.0.0.18 |",
        ),
        ("\"10.0.0.17\"", "\"0.0.0.0\"", "7: cluster.address: 0.0.0.0 stands for all addresses"),
        ("\"10.0.0.17\"", "\"10.0.0.17:6080\"", "is not an IP address | the port is a key of its own: port = 6080"),
        ("\"10.0.0.17\"", "\"10.0.0.17\"\nport = 6081", "7: cluster.port: 6081 here, and 6080 in /members.toml"),
        ("\"10.0.0.17\"", "\"10.0.0.17\"\nengine = \"fil\"", "is none of \"file\", \"etcd\" | did you mean \"file\"?"),
        (
            "127.0.0.1:4433",
            "10.0.0.17:6080",
            "cluster.port: the listener 10.0.0.17:6080 would get what other nodes send",
        ),
        ("[cluster]", "[connection_id]\nencryption = \"file:/k\"\n[cluster]", "connection_id.encryption"),
        (
            "[cluster]",
            "[connection_id]\nserver_id = \"hex:00\"\n[cluster]",
            "nodes find each other's packets by node_id",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let found = complaint(&folder, &good.replacen(from, to, 1));
        assert!(found.contains(said), "{from} -> {to}: {found}");
    }
    let key = "0b".repeat(32);
    let found = complaint(&folder, &good.replacen("file:/", &key, 1));
    assert!(found.contains("it is no") && !found.contains(&key), "{found}");
    folder.file("members.toml", &format!("{MEMBERS}[connection_ids]\nannounced = [1, 3]\nissuing = 1\n"));
    let found = complaint(&folder, &good);
    assert!(found.contains("connection_ids.announced: 3 comes after 1 | one behind the other: [1, 2]"), "{found}");
    folder.file("members.toml", "[[node]]\nnumber = 0\naddress = \"10.0.0.17\"\n");
    let found = complaint(&folder, &good);
    assert!(found.contains("cluster.members: /members.toml:2: node.number"), "{found}");
}

#[test]
fn an_etcd_is_named_by_its_urls() {
    let folder = folder();
    let of = |more: &str| {
        let secret = folder.path("cluster.key");
        let secret = secret.display();
        format!(
            "{LISTENER}[cluster]\nname = \"edge\"\nengine = \"etcd\"\nsecret = \"file:{secret}\"\naddress = \"10.0.0.17\"\n{more}"
        )
    };
    if !cfg!(feature = "etcd") {
        let said = complaint(&folder, &of("endpoints = [\"http://10.0.0.5:2379\"]"));
        return assert!(said.contains("5: cluster.engine: this program was built without"), "{said}");
    }
    let config = parse(&of("endpoints = [\"http://10.0.0.5:2379\"]")).unwrap();
    let access = EtcdAccess { endpoints: vec!["http://10.0.0.5:2379".to_owned()], ca: None, identity: None };
    assert_eq!(cluster(&config).engine, MembershipEngine::Etcd(access));
    for (more, said) in [
        ("", "3: cluster.endpoints: missing: the engine \"etcd\" needs at least one URL"),
        ("endpoints = [\"10.0.0.5\"]", "8: cluster.endpoints: \"10.0.0.5\" is no URL of etcd's | https://HOST:2379"),
        ("endpoints = [\"https://e:2379\"]", "8: cluster.ca: missing, and https://e:2379 needs it"),
        ("endpoints = [\"http://e:2379\"]\ncert = \"/c\"", "3: cluster: cert and key belong together"),
        (
            "endpoints = [\"http://e:2379\"]\n[router]\nnode_id = 1",
            "10: router.node_id: with cluster.engine = \"etcd\"",
        ),
    ] {
        let found = complaint(&folder, &of(more));
        assert!(found.contains(said), "{more}: {found}");
    }
}

#[test]
fn a_listener_on_the_own_address_is_told_of() {
    let folder = folder();
    let with = text(&folder).replacen("127.0.0.1:4433", "10.0.0.17:443", 1);
    let notices = parse(&with).unwrap().notices;
    assert!(notices.iter().any(|notice| notice.contains("cluster.address: the listener 10.0.0.17:443")), "{notices:?}");
}

#[test]
fn what_is_announced_and_by_which_table() {
    let folder = folder();
    let with = |listener: &str, table: &str| {
        let text = text(&folder).replacen("127.0.0.1:4433", listener, 1);
        format!("{text}announce_table = {table}\n")
    };
    let config = parse(&with("10.80.0.1:443", "4_294_967_295")).unwrap();
    assert_eq!(cluster(&config).announce_table, Some(u32::MAX));
    assert_eq!(cluster(&config).announced(&config.listeners), ["10.80.0.1".parse().unwrap()].into());
    let mut all = config.listeners.clone();
    all[0].address = "[::]:443".parse().unwrap();
    assert!(cluster(&config).announced(&all).is_empty());
    assert!(!config.notices.iter().any(|notice| notice.contains("announce_table")), "{:?}", config.notices);
    assert_eq!(cluster(&parse(&text(&folder)).unwrap()).announce_table, None);
    for listener in ["127.0.0.1:443", "10.0.0.17:443"] {
        let config = parse(&with(listener, "100")).unwrap();
        assert!(cluster(&config).announced(&config.listeners).is_empty(), "{listener}");
        let said = "cluster.announce_table: no listener has an address that nodes share";
        assert!(config.notices.iter().any(|notice| notice.contains(said)), "{listener}: {:?}", config.notices);
    }
    for (table, said) in [
        ("0", "8: cluster.announce_table: 0 is out of range, 1 to 4294967295"),
        ("4294967296", "8: cluster.announce_table: 4294967296 is out of range"),
        (
            "254",
            "8: cluster.announce_table: 254 is the table \"main\", by which packets of this host are sent | announce_table",
        ),
        ("253", "\"default\""),
        ("255", "\"local\""),
    ] {
        let found = complaint(&folder, &with("10.80.0.1:443", table));
        assert!(found.contains(said), "{table}: {found}");
    }
}

#[test]
fn what_takes_a_change() {
    let folder = folder();
    let before = parse(&text(&folder)).unwrap();
    let taken_by = |after: &Config| changes(&before, after).into_iter().map(|one| (one.name(), one.taken_by())).next();
    let other = |line: &str| parse(&format!("{}{line}\n", text(&folder))).unwrap();
    assert_eq!(taken_by(&other("")), None);
    assert_eq!(taken_by(&other("new_connections = \"hash\"")), Some(("cluster", TakenBy::Reload)));
    assert_eq!(taken_by(&other("dead_after = \"9s\"")), Some(("cluster", TakenBy::Reload)));
    assert_eq!(taken_by(&other("announce_table = 100")), Some(("cluster", TakenBy::Reload)));
    assert_eq!(taken_by(&parse(LISTENER).unwrap()), Some(("cluster", TakenBy::Restart)));
    let elsewhere = parse(&text(&folder).replacen("\"edge\"", "\"core\"", 1)).unwrap();
    assert_eq!(taken_by(&elsewhere), Some(("cluster", TakenBy::Restart)));
    // The list alone.
    folder.file("members.toml", &MEMBERS.replace("number = 9", "number = 10"));
    assert_eq!(taken_by(&other("")), Some(("cluster", TakenBy::Reload)));
}
