//! `cargo xtask interop`: the matrix of quic-interop-runner's cases and the third-party clients.
//!
//! ```text
//! interop [--case CASE]... [--client CLIENT]... [--engine ENGINE]... [--seed N] [--jobs N] [--times N] --report FOLDER
//! ```
//!
//! Each cell runs in a process of its own, several at a time: laboratories have nothing in common, and
//! mostly wait. `--row` runs the one cell that is named and prints what came of it. Of a cell that fails, captures,
//! TLS secrets and the endpoint's log stay below `failed` in the report's folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use router_tests::{
    interop::{CASES, CLIENTS, Case, Cell, Client, Matrix, Outcome, Row},
    packets::Random,
};

fn main() -> ExitCode {
    match Wanted::read(env::args().skip(1)).and_then(|wanted| if wanted.row { row(&wanted) } else { matrices(&wanted) })
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("interop: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Which cells, and where the matrix is written to.
struct Wanted {
    cases: Vec<&'static Case>,
    clients: Vec<&'static Client>,
    engines: Vec<String>,
    seed: u64,
    jobs: usize,
    times: usize,
    report: PathBuf,
    row: bool,
}

impl Wanted {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut wanted = Self {
            cases: Vec::new(),
            clients: Vec::new(),
            engines: Vec::new(),
            seed: Random::of_now().word(),
            // They mostly wait; but many at once would miss the times of the clients' timers.
            jobs: thread::available_parallelism().map_or(1, usize::from) * 3 / 2,
            times: 1,
            report: "target/interop".into(),
            row: false,
        };
        while let Some(word) = words.next() {
            if word == "--row" {
                wanted.row = true;
                continue;
            }
            let value = words.next().with_context(|| format!("{word}: what?"))?;
            match &*word {
                "--case" => wanted.cases.push(Case::named(&value).with_context(|| format!("no case {value}"))?),
                "--client" => wanted.clients.push(Client::named(&value).with_context(|| format!("no client {value}"))?),
                "--engine" => wanted.engines.push(value),
                "--seed" => wanted.seed = value.parse()?,
                "--times" => wanted.times = value.parse()?,
                "--jobs" => wanted.jobs = value.parse()?,
                "--report" => wanted.report = value.into(),
                _ => bail!("unknown option {word}"),
            }
        }
        if wanted.cases.is_empty() {
            wanted.cases = CASES.iter().collect();
        }
        if wanted.clients.is_empty() {
            wanted.clients = CLIENTS.iter().collect();
        }
        if wanted.engines.is_empty() {
            wanted.engines = vec!["userspace".into(), "af_xdp".into()];
        }
        Ok(wanted)
    }

    fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = Vec::new();
        for engine in &self.engines {
            for case in &self.cases {
                let cell = |client: &&'static Client| Cell { case, client, engine, seed: self.seed, keep: None };
                cells.extend(self.clients.iter().map(cell));
            }
        }
        cells
    }
}

/// The one cell, in this process.
fn row(wanted: &Wanted) -> Result<bool> {
    let cells = wanted.cells();
    let [cell] = &cells[..] else { bail!("--row is for one cell, and these are {}", cells.len()) };
    let folder = wanted.report.join("failed").join(format!("{}-{}-{}", cell.engine, cell.case.name, cell.client.name));
    let row = Cell { keep: Some(&folder), ..*cell }.run();
    if !matches!(row.outcome, Outcome::Failed(_)) && folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    println!("{}", serde_json::to_string(&row)?);
    Ok(true)
}

/// As often as is wanted; well if no cell fails, and none comes out otherwise than the first time.
fn matrices(wanted: &Wanted) -> Result<bool> {
    let first = matrix(wanted)?;
    let mut is_well = first.is_well();
    for time in 2..=wanted.times {
        let again = matrix(wanted)?;
        let differences = first.differences(&again);
        println!("time {time} of {}: {} cells differ from the first time", wanted.times, differences.len());
        differences.iter().for_each(|line| println!("  {line}"));
        is_well &= again.is_well() && differences.is_empty();
    }
    Ok(is_well)
}

fn matrix(wanted: &Wanted) -> Result<Matrix> {
    let begun = Instant::now();
    let cells = wanted.cells();
    let failed = wanted.report.join("failed");
    if failed.exists() {
        fs::remove_dir_all(&failed)?;
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..wanted.jobs.max(1) {
            scope.spawn(|| {
                while let Some((number, cell)) = next_of(&next, &cells) {
                    let row = elsewhere(cell, &wanted.report);
                    eprintln!("{} {} {}: {:?}, {} ms", row.engine, row.case, row.client, row.outcome, row.milliseconds);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((number, row));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    let rows = done.into_iter().map(|(_, row)| row).collect();
    let matrix = Matrix { seed: wanted.seed, seconds: begun.elapsed().as_secs(), cells: rows };
    fs::create_dir_all(&wanted.report)?;
    fs::write(wanted.report.join("matrix.txt"), matrix.to_string())?;
    fs::write(wanted.report.join("matrix.json"), serde_json::to_string_pretty(&matrix)?)?;
    print!("{matrix}");
    Ok(matrix)
}

fn next_of<'c, 'w>(next: &AtomicUsize, cells: &'c [Cell<'w>]) -> Option<(usize, &'c Cell<'w>)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    cells.get(number).map(|cell| (number, cell))
}

/// Runs a cell in a process of its own.
fn elsewhere(cell: &Cell<'_>, report: &Path) -> Row {
    run(cell, report).unwrap_or_else(|error| Row {
        engine: cell.engine.to_owned(),
        case: cell.case.name.to_owned(),
        client: cell.client.name.to_owned(),
        outcome: Outcome::Failed(format!("{error:#}")),
        milliseconds: 0,
    })
}

fn run(cell: &Cell<'_>, report: &Path) -> Result<Row> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--row", "--engine", cell.engine, "--case", cell.case.name, "--client", cell.client.name]);
    command.arg("--report").arg(report);
    let output = command.args(["--seed", &cell.seed.to_string()]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).context("no outcome")
}
