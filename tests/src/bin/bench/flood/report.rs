//! The figures in a table.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use router_tests::cpu;

use super::turn::{BETWEEN, PATIENCE, Turn};

/// What was measured so far.
pub(super) struct Report {
    /// What else the machine had to do when it began.
    load: String,
    rounds: usize,
    time: Duration,
    rows: Vec<Row>,
}

/// A situation, by its place among all.
struct Row {
    place: usize,
    name: String,
    /// The figures of each round, in the columns' order.
    rounds: Vec<[f64; COLUMNS.len()]>,
}

/// A figure of a turn: what it is called, and how it is written.
struct Column {
    name: &'static str,
    of: fn(&Turn) -> f64,
    shown: fn(f64) -> String,
}

impl Report {
    pub(super) fn new(rounds: usize, time: Duration) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        Self { load, rounds, time, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, place: usize, name: &str, turn: &Turn) {
        let figures = COLUMNS.map(|column| (column.of)(turn));
        if let Some(row) = self.rows.iter_mut().find(|row| row.place == place) {
            row.rounds.push(figures);
            return;
        }
        self.rows.push(Row { place, name: name.to_owned(), rounds: vec![figures] });
        self.rows.sort_by_key(|row| row.place);
    }

    pub(super) fn markdown(&self) -> String {
        format!("{}\n{}", self.setting(), self.table())
    }

    /// Writes the table into `docs/performance`.
    pub(super) fn record(&self) -> Result<()> {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance/flood.md"));
        let page = format!("{PREFACE}\n{}", self.markdown());
        fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Where the figures come from.
    fn setting(&self) -> String {
        format!(
            "On {}, with a load of {} from others at the start; medians of {} rounds. A client every {} ms for {} s, which \
             gives up after {} s.\n",
            cpu::described(),
            self.load,
            self.rounds,
            BETWEEN.as_millis(),
            self.time.as_secs(),
            PATIENCE.as_secs()
        )
    }

    fn table(&self) -> String {
        let names = COLUMNS.map(|column| column.name).join(" | ");
        let mut table = format!("| flood, `challenge` | {names} |\n|---|{}\n", "---:|".repeat(COLUMNS.len()));
        for row in &self.rows {
            let _ = write!(table, "| {} |", row.name);
            for (at, column) in COLUMNS.iter().enumerate() {
                let figures = row.rounds.iter().map(|figures| figures[at]);
                let _ = write!(table, " {} |", (column.shown)(median(figures)));
            }
            table.push('\n');
        }
        table
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// To about three digits, and at most one behind the point.
fn number(figure: f64) -> String {
    match figure {
        figure if figure.is_nan() => "-".into(),
        figure if figure >= 10_000.0 => format!("{:.0}", (figure / 100.0).round() * 100.0),
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure => format!("{figure:.1}"),
    }
}

fn count(figure: f64) -> String {
    format!("{figure:.0}")
}

fn percent(part: f64) -> String {
    if part.is_nan() { "-".into() } else { format!("{:.1} %", 100.0 * part) }
}

const COLUMNS: [Column; 12] = [
    Column { name: "packets/s", of: Turn::carried, shown: number },
    Column { name: "clients done", of: Turn::done, shown: percent },
    Column { name: "at once", of: Turn::at_once, shown: percent },
    Column { name: "p50, ms", of: |turn| turn.took(0.5), shown: number },
    Column { name: "p99, ms", of: |turn| turn.took(0.99), shown: number },
    Column { name: "workers, ms/s", of: Turn::workers, shown: count },
    Column { name: "Retry by XDP", of: Turn::retried, shown: percent },
    Column { name: "limited/s", of: Turn::limited, shown: number },
    Column { name: "to workers", of: Turn::left, shown: percent },
    Column { name: "of it read", of: Turn::read, shown: percent },
    Column { name: "Retries/s by workers", of: Turn::retried_by_workers, shown: number },
    Column { name: "half-open", of: Turn::open, shown: count },
];

const PREFACE: &str = "# A flood of Initials from forged addresses

Written by `cargo xtask bench flood --record`. Engine `xdp`, two workers, `answer_in_xdp = \"always\"`, all in network
namespaces of one machine: a multi-queue veth whose clients' end receives by XDP, too. One thread sends Initials of 1,200
octets from there as fast as it can, and on a veth its core receives them and runs the XDP program, so *packets/s* is what
a core sends, judges and answers; workers that are busy take some of it. Each Initial is whole, with a ClientHello, a
connection ID of its own and a forged address: any, or one of the clients' /24, which `client_prefix4 = 24` makes one
client with them. None is sent twice in a turn while any of 800,000 is left: it would belong to the handshake that the
first has begun. quic-go clients begin at an even pace, with one request each, a second after the flood has begun.

*Clients done*: whose handshake was complete before they gave up; *at once*: within 200 ms, when quic-go sends its first
flight again, so nothing of theirs was lost; *p50*, *p99*: of those done. *Workers*: processor time of their threads, of
2,000 ms in a second. Then what became of what came by the wire, clients' packets included: the part that XDP answered
with a Retry; what it dropped with the reason `challenge_limited`; the part that was the workers', and how much of that
they read: what is missing found its socket full, what is beyond 100 % had waited there. In the end, Retries that workers
sent, and handshakes that were still open. `auto` with 2_000 is with `new_total = 2_000` in place of the default, 20,000;
`never` is the challenge off: workers ask near `max_handshakes`.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_short() {
        assert_eq!([123_456.0, 1_234.4, 12.34, f64::NAN].map(number), ["123500", "1234", "12.3", "-"]);
        assert_eq!([0.9996, f64::NAN].map(percent), ["100.0 %", "-"]);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
    }
}
