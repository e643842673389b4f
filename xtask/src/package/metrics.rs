//! Every metric that the rules for Prometheus and the board for Grafana name is one that docs/metrics.md
//! explains.

use std::{collections::BTreeSet, fs};

use crate::workspace;

#[test]
fn rules_and_board_name_documented_metrics() {
    let read = |file: &str| fs::read_to_string(workspace::root().join(file)).expect("the file can be read");
    let document = read("docs/metrics.md");
    let documented: BTreeSet<_> =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let histograms: BTreeSet<_> =
        documented.iter().filter(|name| document.contains(&format!("| `{name}` | histogram |"))).collect();
    for file in ["packaging/prometheus/rules.yml", "packaging/grafana/quic-router.json"] {
        let text = read(file);
        let named = metrics(&text);
        assert!(named.len() > 10, "{file}: {named:?}");
        for metric in named {
            let known = match metric.strip_suffix("_bucket") {
                Some(histogram) => histograms.contains(&histogram),
                None => documented.contains(metric),
            };
            assert!(known, "{file}: {metric} is not in docs/metrics.md");
        }
    }
}

#[test]
fn a_metric_ends_where_its_name_does() {
    let text = "rate(quic_router_a_total{x=\"y\"}[5m]) > quic_router_b and quic_router";
    assert_eq!(metrics(text), BTreeSet::from(["quic_router_a_total", "quic_router_b"]));
}

/// The names in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let begins = text.match_indices("quic_router_").map(|(at, _)| &text[at..]);
    begins.filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()).collect()
}
