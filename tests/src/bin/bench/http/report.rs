//! The figures in a table and in charts.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use router_tests::cpu;

use super::{
    chart,
    load::{Measured, Scenario},
    proxies::Proxy,
};

/// What was measured so far.
pub(super) struct Report {
    /// The engine that the router was asked for.
    engine: String,
    /// With their versions.
    names: Vec<String>,
    /// Which of them the others are compared with.
    ours: Option<usize>,
    scenarios: Vec<Scenario>,
    all: Vec<Entry>,
}

struct Entry {
    round: usize,
    proxy: usize,
    scenario: Scenario,
    measured: Measured,
}

/// One figure of a [`Measured`].
type Figure = fn(&Measured) -> f64;

impl Report {
    pub(super) fn new(engine: &str, proxies: &[Proxy], versions: Vec<String>, scenarios: &[Scenario]) -> Self {
        let names = proxies.iter().zip(versions).map(|(proxy, version)| format!("{} {version}", proxy.name()));
        let ours = proxies.iter().position(|proxy| *proxy == Proxy::QuicRouter);
        Self { engine: engine.to_owned(), names: names.collect(), ours, scenarios: scenarios.to_vec(), all: Vec::new() }
    }

    pub(super) fn add(&mut self, round: usize, proxy: usize, scenario: Scenario, measured: Measured) {
        self.all.push(Entry { round, proxy, scenario, measured });
    }

    /// A table for each scenario.
    pub(super) fn markdown(&self) -> String {
        let tables: Vec<_> = self.scenarios.iter().map(|&scenario| self.table(scenario)).collect();
        format!("{}\n{}", self.setting(), tables.join("\n"))
    }

    /// Where the figures come from.
    fn setting(&self) -> String {
        format!("On {}; quic-router with engine `{}`.\n", cpu::described(), self.engine)
    }

    /// Writes the tables and a chart for each scenario into `docs/performance`.
    pub(super) fn record(&self) -> Result<()> {
        let folder = folder();
        fs::create_dir_all(&folder)?;
        let write = |name: String, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let mut page = format!("{PREFACE}\n{}", self.setting());
        for &scenario in &self.scenarios {
            let image = format!("http-{}.svg", scenario.name());
            let _ = write!(page, "\n{}\n![{}]({image})\n", self.table(scenario), scenario.description());
            write(image, self.chart(scenario))?;
        }
        write("http.md".into(), page)
    }

    fn table(&self, scenario: Scenario) -> String {
        let mut table = format!("### {}\n\n| | {} |", scenario.description(), scenario.unit());
        if let Some(what) = scenario.latency_of() {
            let _ = write!(table, " {what} p50, ms | p99, ms |");
        }
        let _ = writeln!(table, " {} | busy | others | quic-router's rate | its CPU |", scenario.cost_unit());
        let columns = if scenario.latency_of().is_some() { 9 } else { 7 };
        let _ = writeln!(table, "|---|{}", "---:|".repeat(columns - 1));
        for (proxy, name) in self.names.iter().enumerate() {
            let median = |figure: Figure| median(self.figures(scenario, proxy, figure));
            let _ = write!(table, "| {name} | {} |", rounded(median(|measured| measured.rate)));
            if scenario.latency_of().is_some() {
                let _ =
                    write!(table, " {:.2} | {:.2} |", median(|measured| measured.p50), median(|measured| measured.p99));
            }
            let percent = |figure| format!("{:.0} %", 100.0 * median(figure));
            let (busy, others) = (percent(|measured| measured.busy), percent(|measured| measured.others));
            let _ = write!(table, " {} | {busy} | {others} |", rounded(median(|measured| measured.cost)));
            let [rate, cost] = [(|measured| measured.rate) as Figure, |measured| measured.cost].map(|figure| {
                self.ratio(scenario, proxy, figure).map_or_else(String::new, |ratio| format!("{ratio:.2} times"))
            });
            let _ = writeln!(table, " {rate} | {cost} |");
        }
        table
    }

    /// Of all rounds, sorted.
    fn figures(&self, scenario: Scenario, proxy: usize, figure: Figure) -> Vec<f64> {
        let entries = self.all.iter().filter(|entry| entry.scenario == scenario && entry.proxy == proxy);
        let mut figures: Vec<_> = entries.map(|entry| figure(&entry.measured)).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    /// Ours as a multiple of another's, each round by itself.
    fn ratio(&self, scenario: Scenario, proxy: usize, figure: Figure) -> Option<f64> {
        let ours = self.ours.filter(|ours| *ours != proxy)?;
        let of = |proxy: usize, round: usize| {
            let found =
                self.all.iter().find(|entry| (entry.scenario, entry.proxy, entry.round) == (scenario, proxy, round))?;
            Some(figure(&found.measured))
        };
        let rounds = self.all.iter().filter(|entry| entry.scenario == scenario && entry.proxy == ours);
        let mut ratios: Vec<_> =
            rounds.filter_map(|entry| Some(figure(&entry.measured) / of(proxy, entry.round)?)).collect();
        ratios.sort_by(f64::total_cmp);
        Some(median(ratios))
    }

    fn chart(&self, scenario: Scenario) -> String {
        let bars = self.names.iter().enumerate().map(|(proxy, name)| {
            let figures = self.figures(scenario, proxy, |measured| measured.rate);
            let (least, most) = (figures.first().copied(), figures.last().copied());
            let value = median(figures);
            chart::Bar {
                name,
                ours: self.ours == Some(proxy),
                value,
                least: least.unwrap_or(value),
                most: most.unwrap_or(value),
                label: rounded(value),
            }
        });
        chart::horizontal(scenario.description(), scenario.unit(), &bars.collect::<Vec<_>>())
    }
}

/// Of sorted figures.
fn median(figures: Vec<f64>) -> f64 {
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// To about three digits.
fn rounded(figure: f64) -> String {
    match figure {
        figure if figure >= 1000.0 => format!("{:.0}", (figure / 100.0).round() * 100.0),
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}

fn folder() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance")).to_path_buf()
}

const PREFACE: &str = "# HTTP/3 beside other proxies

Written by `cargo xtask bench http --record`. Each proxy has one thread on one core; the load, which
is h2load, and the origin, which is nginx with HTTP/1.1, share another. All are in network namespaces
of one machine. Proxies take turns, and each round begins with another one. Figures are medians over
the rounds.

*Busy* is how much of its core a proxy used: if it isn't nearly all, the load, the origin or others
on that core (*others*, with interrupts) held it up, and its CPU time says more than its rate. The last two columns
tell what quic-router has as a multiple of the line's proxy, as the median of the rounds' own ratios:
more is better of the rate, less of the CPU time. The thin lines in the charts go from the worst
round to the best. Absolute figures are those of a small virtual machine.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rate: f64) -> Measured {
        Measured { rate, cost: 1e6 / rate, p50: 1.0, p99: 2.0, busy: 0.9, others: 0.05 }
    }

    #[test]
    fn ratios_are_those_within_rounds() {
        let mut report =
            Report::new("xdp", &[Proxy::Nginx, Proxy::QuicRouter], vec!["1.30".into(), "0.1.0".into()], &Scenario::ALL);
        for (round, (theirs, ours)) in [(100.0, 200.0), (1000.0, 1500.0), (10.0, 30.0)].into_iter().enumerate() {
            report.add(round, 0, Scenario::Single, measured(theirs));
            report.add(round, 1, Scenario::Single, measured(ours));
        }
        let table = report.table(Scenario::Single);
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| | requests/s | request p50, ms | p99, ms | CPU µs per request | busy | others | quic-router's rate | its CPU |",
                "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
                "| nginx 1.30 | 100 | 1.00 | 2.00 | 10000 | 90 % | 5 % | 2.00 times | 0.50 times |",
                "| quic-router 0.1.0 | 200 | 1.00 | 2.00 | 5000 | 90 % | 5 % |  |  |",
            ]
        );
    }
}
