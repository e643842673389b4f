//! `bench http`: requests, new connections and bulk over HTTP/3 through the router, beside other
//! proxies on the same core.
//!
//! Each proxy in turn stands in the laboratory's router, alone on one core; the load (h2load,
//! nghttp2's) and the origin (nginx, HTTP/1.1) share the other. A round is all proxies, and each
//! round begins with another one. The figures are medians over the rounds. Ratios are medians of
//! the rounds' own ratios, as a machine that others use too is faster in one minute than in the
//! next.
//!
//! `baseline` among the proxies is another build of the router, at `QUIC_ROUTER_BASELINE_BIN`: that is how
//! what a change gains is told.

mod chart;
mod idle;
mod load;
mod origin;
mod proxies;
mod report;
mod usage;

use std::{env, time::Duration};

use anyhow::{Context, Result, bail};
use router_tests::lab::{Lab, Running};

pub(super) use self::idle::run as run_idle;
use self::{
    load::{Measured, Scenario},
    origin::Origin,
    proxies::Proxy,
    report::Report,
};

pub(super) fn run() -> Result<()> {
    let options = Options::parse(env::args().skip(2))?;
    let mut lab = laboratory(&options.engine)?;
    let _origin = Origin::start(&lab)?;
    let versions = options.proxies.iter().map(|proxy| proxy.version(&lab)).collect::<Result<Vec<_>>>()?;

    let mut report = Report::new(&options.engine, &options.proxies, versions, &options.scenarios);
    for round in 0..options.rounds {
        for turn in 0..options.proxies.len() {
            let which = (round + turn) % options.proxies.len();
            let proxy = options.proxies[which];
            eprintln!("round {} of {}: {}", round + 1, options.rounds, proxy.name());
            for (scenario, measured) in measure(&mut lab, proxy, &options).with_context(|| proxy.name())? {
                report.add(round, which, scenario, measured);
            }
        }
    }
    println!("{}", report.markdown());
    if options.record {
        report.record()?;
    }
    Ok(())
}

/// With one worker on one core, in front of the origin.
fn laboratory(engine: &str) -> Result<Running> {
    let lab = Lab::new().engine(engine).workers(1).set("debug_headers", "false");
    let lab = lab.limit("max_connections_per_ip", "20_000").config(|config| {
        config.under = proxies::PINNED.map(str::to_owned).into();
        config.rest = format!(
            "[[route]]\npath = \"/\"\nupstream = \"web\"\n\n[upstream.web]\nservers = [\"http://{}\"]\n",
            origin::address()
        );
    });
    lab.build()
}

/// One turn of a proxy, from its start to its end.
fn measure(lab: &mut Running, proxy: Proxy, options: &Options) -> Result<Vec<(Scenario, Measured)>> {
    let serving = proxy.start(lab)?;
    let mut all = Vec::new();
    for &scenario in &options.scenarios {
        if !options.cold {
            scenario.run(lab, WARM_UP)?;
        }
        let before = serving.usage()?;
        let load = scenario.run(lab, options.time)?;
        let used = serving.usage()?.since(&before);
        if load.failed > 0 {
            eprintln!("  {}: {} requests failed of {}", scenario.name(), load.failed, load.failed + load.done);
        }
        all.push((scenario, Measured::new(scenario, &load, used)));
    }
    serving.stop(lab)?;
    Ok(all)
}

/// What the command line asks for.
struct Options {
    engine: String,
    proxies: Vec<Proxy>,
    scenarios: Vec<Scenario>,
    rounds: usize,
    time: Duration,
    record: bool,
    /// Without a load before the one that is measured.
    cold: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            engine: "auto".into(),
            proxies: Proxy::ALL.into(),
            scenarios: Scenario::ALL.into(),
            rounds: 5,
            time: Duration::from_secs(4),
            record: false,
            cold: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value; {USAGE}"));
            match argument.as_str() {
                "--engine" => options.engine = value()?,
                "--rounds" => options.rounds = value()?.parse().context("--rounds is a number")?,
                "--seconds" => options.time = Duration::from_secs(value()?.parse().context("--seconds is a number")?),
                "--proxies" => options.proxies = value()?.split(',').map(Proxy::parse).collect::<Result<_>>()?,
                "--scenarios" => {
                    options.scenarios = value()?.split(',').map(Scenario::parse).collect::<Result<_>>()?;
                }
                "--record" => options.record = true,
                "--cold" => options.cold = true,
                other => bail!("{other} is no option; {USAGE}"),
            }
        }
        if options.rounds == 0 || options.proxies.is_empty() || options.scenarios.is_empty() {
            bail!("nothing to measure; {USAGE}");
        }
        if options.record && options.scenarios != Scenario::ALL {
            bail!("--record is for all scenarios; {USAGE}");
        }
        Ok(options)
    }
}

const USAGE: &str = "usage: bench http [--engine NAME] [--rounds N] [--seconds N] [--proxies NAME,NAME] \
                     [--scenarios NAME,NAME] [--cold] [--record]: cold is without a load before the one that is \
                     measured; with the last, the table and the charts are written into docs/performance";

/// Long enough for connections to the origin, and for the processor's clock.
const WARM_UP: Duration = Duration::from_secs(1);
