//! `bench flood`: what a flood of Initials from forged addresses does to clients and workers, with the challenge of
//! `admission` on and off.
//!
//! Situations take turns, and each round begins with another one. In a turn the router is started anew, a thread sends
//! the flood as fast as its core lets it, and quic-go clients begin at an even pace meanwhile, however long those before
//! them take. The figures are medians over the rounds.

mod forged;
mod generator;
mod report;
mod turn;

use std::{env, fmt, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use router_tests::lab::{Lab, Running, until};

use self::{forged::Frames, generator::Generator, report::Report, turn::Turn};

pub(super) fn run() -> Result<()> {
    let options = Options::parse(env::args().skip(2))?;
    let lab = Lab::new().engine("xdp").queues(2).workers(2).set("debug_headers", "false");
    let lab = lab.limit("client_prefix4", "24").limit("max_connections_per_ip", "20_000");
    let mut lab = lab.admission("answer_in_xdp", "\"always\"").build()?;
    // Answers to forged addresses leave by the wire that the flood came in on.
    let way_back = format!("route add default via {} dev {}\n", lab.wire().client4()[0], lab.wire().router_interface());
    lab.network().router().ip(&way_back)?;
    let _passing = lab.wire().receiving_by_xdp()?;
    let situations = situations(&lab)?;

    let mut report = Report::new(options.rounds, options.time);
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for place in 0..situations.len() {
            let which = (round + place) % situations.len();
            let situation = &situations[which];
            let turn = measure(&mut lab, situation, options.time).with_context(|| situation.name.clone())?;
            report.add(which, &situation.name, &turn);
        }
    }
    println!("{}", report.markdown());
    if options.record {
        report.record()?;
    }
    Ok(())
}

/// What is sent, and what the router does about it.
struct Situation {
    name: String,
    flood: Option<Frames>,
    measures: Measures,
}

/// Keys of `admission`.
#[derive(Clone, Copy)]
struct Measures {
    challenge: &'static str,
    new_total: &'static str,
}

fn situations(lab: &Running) -> Result<Vec<Situation>> {
    let mut all = vec![Situation { name: "none, `auto`".into(), flood: None, measures: MEASURES[0] }];
    for (sources, frames) in forged::floods(lab.wire())? {
        all.extend(MEASURES.map(|measures| Situation {
            name: format!("{sources}, {measures}"),
            flood: Some(frames.clone()),
            measures,
        }));
    }
    Ok(all)
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.challenge)?;
        if self.new_total == DEFAULT { Ok(()) } else { write!(f, " with {}", self.new_total) }
    }
}

/// One turn, from the router's start on.
fn measure(lab: &mut Running, situation: &Situation, time: Duration) -> Result<Turn> {
    // Told to end, the one before would wait for each handshake that the flood has begun.
    if let Ok(before) = lab.take_agent() {
        before.kill()?;
    }
    lab.reconfigure(|config| {
        config.set_admission("challenge", &format!("\"{}\"", situation.measures.challenge));
        config.set_admission("new_total", situation.measures.new_total);
    });
    lab.start_agent()?;
    // Whatever is done for the first time.
    lab.quic_go().get("/bytes/100").connections(20).succeed()?;
    let before = lab.counters()?;
    let flood = situation.flood.clone().map(|frames| Generator::start(lab.wire(), frames)).transpose()?;
    if flood.is_some() {
        until(|| before.moved(), |moved| moved.get("xdp.received").is_some_and(|&count| count > 0))?;
        // It is there when clients come: so long it has the workers for itself.
        thread::sleep(HEAD_START);
    }
    let turn = Turn::of(lab, time)?;
    if let Some(flood) = flood {
        flood.stop()?;
    }
    if !turn.errors.is_empty() {
        eprintln!("  {}: {:?}", situation.name, turn.errors);
    }
    Ok(turn)
}

/// What the command line asks for.
struct Options {
    rounds: usize,
    time: Duration,
    record: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { rounds: 3, time: Duration::from_secs(2), record: false };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value; {USAGE}"));
            match argument.as_str() {
                "--rounds" => options.rounds = value()?.parse().context("--rounds is a number")?,
                "--seconds" => options.time = Duration::from_secs(value()?.parse().context("--seconds is a number")?),
                "--record" => options.record = true,
                other => bail!("{other} is no option; {USAGE}"),
            }
        }
        ensure!(options.rounds > 0 && !options.time.is_zero(), "nothing to measure; {USAGE}");
        Ok(options)
    }
}

/// With the last a worker gets each first flight.
const MEASURES: [Measures; 4] = [
    Measures { challenge: "auto", new_total: DEFAULT },
    Measures { challenge: "auto", new_total: "2_000" },
    Measures { challenge: "always", new_total: DEFAULT },
    Measures { challenge: "never", new_total: DEFAULT },
];
/// Of `admission.new_total`.
const DEFAULT: &str = "20_000";
const HEAD_START: Duration = Duration::from_secs(1);

const USAGE: &str = "usage: bench flood [--rounds N] [--seconds N] [--record]: with the last, the table is written into \
                     docs/performance";
