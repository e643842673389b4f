//! What came of all cells, for people and for programs.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// What came of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "why", rename_all = "lowercase")]
pub enum Outcome {
    /// All was seen that has to be.
    Passed,
    /// Something was not.
    Failed(String),
    /// The server says 127.
    Unsupported(String),
    /// The client cannot do it.
    Lacking(String),
}

/// A cell and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// How packets reached the router's workers.
    pub engine: String,
    /// Of the runner.
    pub case: String,
    /// The QUIC implementation.
    pub client: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// All cells.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Matrix {
    /// Of the scenarios' random numbers.
    pub seed: u64,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// In the order of engines, cases and clients.
    pub cells: Vec<Row>,
}

impl Matrix {
    /// Whether no cell failed.
    pub fn is_well(&self) -> bool {
        !self.cells.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)))
    }

    /// The cells that came out otherwise in `other`, a line each.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = self.cells.iter().zip(&other.cells).filter(|(one, two)| one.outcome.word() != two.outcome.word());
        pairs
            .map(|(one, two)| {
                let (before, after) = (one.outcome.word(), two.outcome.word());
                format!("{} {} {}: {before}, then {after}", one.engine, one.case, one.client)
            })
            .collect()
    }

    fn engines(&self) -> Vec<&str> {
        distinct(self.cells.iter().map(|row| &*row.engine))
    }
}

/// A table for each engine, and why each cell is not `pass`.
impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for engine in self.engines() {
            let of_engine = || self.cells.iter().filter(|row| row.engine == engine);
            let clients = distinct(of_engine().map(|row| &*row.client));
            let cases = distinct(of_engine().map(|row| &*row.case));
            write!(f, "{engine:<20}")?;
            clients.iter().try_for_each(|client| write!(f, " {client:>9}"))?;
            writeln!(f)?;
            for case in cases {
                write!(f, "{case:<20}")?;
                for client in &clients {
                    let cell = of_engine().find(|row| row.case == case && row.client == *client);
                    write!(f, " {:>9}", cell.map_or("", |row| row.outcome.word()))?;
                }
                writeln!(f)?;
            }
            writeln!(f)?;
        }
        let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for row in &self.cells {
            if let Some(why) = row.outcome.why() {
                let clients = reasons.entry((&row.case, why)).or_default();
                if !clients.contains(&&*row.client) {
                    clients.push(&row.client);
                }
            }
        }
        for ((case, why), clients) in reasons {
            writeln!(f, "{case}, {}: {why}", clients.join(" "))?;
        }
        writeln!(f, "{} cells in {} s, seed {}", self.cells.len(), self.seconds, self.seed)
    }
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed(_) => "FAIL",
            Self::Unsupported(_) => "127",
            Self::Lacking(_) => "-",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Failed(why) | Self::Unsupported(why) | Self::Lacking(why) => Some(why),
        }
    }
}

fn distinct<'r>(words: impl Iterator<Item = &'r str>) -> Vec<&'r str> {
    let mut all = Vec::new();
    for word in words {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_the_reasons_below_it() {
        let row = |client: &str, outcome| Row {
            engine: "userspace".into(),
            case: "ecn".into(),
            client: client.into(),
            outcome,
            milliseconds: 1500,
        };
        let lacking = Outcome::Lacking("it has no ECN".into());
        let matrix = Matrix { seed: 7, seconds: 3, cells: vec![row("a", Outcome::Passed), row("b", lacking)] };
        let expected = "\
userspace                    a         b
ecn                       pass         -

ecn, b: it has no ECN
2 cells in 3 s, seed 7
";
        assert_eq!(matrix.to_string(), expected);
        assert!(matrix.is_well());
        let failed = Matrix { cells: vec![row("a", Outcome::Failed("no".into()))], seed: 8, seconds: 3 };
        assert!(!failed.is_well());
        assert_eq!(matrix.differences(&matrix), Vec::<String>::new());
        assert_eq!(matrix.differences(&failed), ["userspace ecn a: pass, then FAIL"]);
    }
}
