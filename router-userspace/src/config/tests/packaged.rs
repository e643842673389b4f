//! The configurations that packages and manifests bring: they load, and what they say of defaults is so.

use super::parse;
use crate::config::keys::{Described, ROOT};

const KUBERNETES: &str = include_str!("../../../../packaging/kubernetes/configmap.yaml");
const PACKAGED: &str = include_str!("../../../../packaging/config.toml");

#[test]
fn it_loads_as_it_is() {
    let config = parse(PACKAGED).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert!(config.listeners[0].address.ip().is_loopback(), "{:?}", config.listeners);
}

/// A line `#key = value` shows the key's default.
#[test]
fn the_defaults_it_shows_are_the_defaults() {
    let (mut table, mut shown) = ("", 0);
    for line in PACKAGED.lines() {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = header;
        }
        let setting = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        let Some((key, value)) = setting.and_then(|setting| setting.split_once(" = ")) else { continue };
        let known = ROOT.all().into_iter().find(|known| known.name == table).unwrap();
        let is_so = |known: &&dyn Described| known.short() == key && known.written() == value;
        assert!(known.keys.iter().any(is_so), "[{table}] {line}");
        shown += 1;
    }
    assert!(shown >= 10, "{shown} are shown");
}

/// Lines that are set in by four blanks are examples: all together make a configuration.
#[test]
fn its_examples_load() {
    let folder = super::Folder::new();
    folder.certificate("site");
    let examples: String = PACKAGED
        .lines()
        .filter_map(|line| line.strip_prefix("#     "))
        .filter(|line| !line.starts_with("quic-router ") && !line.starts_with("systemctl "))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = parse(&examples.replace("/etc/ssl/site", &folder.path("site").display().to_string())).unwrap();
    assert!(config.admin.is_some() && config.access_log.is_some() && !config.routes.is_empty());
}

/// What stands below `config.toml: |` is set in by four blanks.
#[test]
fn the_one_for_kubernetes_loads() {
    let folder = super::Folder::new();
    folder.certificate("tls");
    let (_, lines) = KUBERNETES.split_once("config.toml: |\n").unwrap();
    let text: String = lines.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    let text = text.replace("/etc/quic-router-tls/tls.crt", &folder.path("tls.pem").display().to_string());
    let text = text.replace("/etc/quic-router-tls/tls.key", &folder.path("tls.key").display().to_string());
    let config = parse(&text).unwrap();
    assert!(config.admin.is_some() && config.listeners.len() == 1, "{config:?}");
}
