//! What the doctor found: one sentence each, with a level and, where known, the way out.

use serde::Serialize;

use super::super::{
    fail::Exit,
    output::{self, Align::Left, Table},
};
use crate::agent::api::SCHEMA;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Level {
    /// As it should be.
    Ok,
    /// It works, but worse than it could; or it could not be seen.
    Warn,
    /// What is wanted will not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Finding {
    level: Level,
    /// What it is about: a word, or an interface's name.
    theme: String,
    finding: String,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    pub(in crate::cli) fn new(level: Level, theme: &str, finding: impl Into<String>) -> Self {
        Self { level, theme: theme.to_owned(), finding: finding.into(), hint: None }
    }

    pub(in crate::cli) fn ok(theme: &str, finding: impl Into<String>) -> Self {
        Self::new(Level::Ok, theme, finding)
    }

    pub(in crate::cli) fn warn(theme: &str, finding: impl Into<String>) -> Self {
        Self::new(Level::Warn, theme, finding)
    }

    pub(in crate::cli) fn fail(theme: &str, finding: impl Into<String>) -> Self {
        Self::new(Level::Fail, theme, finding)
    }

    /// Says what to try; of what is as it should be there is nothing to try.
    pub(in crate::cli) fn hint(self, hint: impl Into<String>) -> Self {
        if self.level == Level::Ok { self } else { Self { hint: Some(hint.into()), ..self } }
    }
}

/// All that was found, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Findings {
    schema: u32,
    /// Nothing fails.
    healthy: bool,
    findings: Vec<Finding>,
}

impl Findings {
    pub(in crate::cli) fn new(findings: Vec<Finding>) -> Self {
        let healthy = findings.iter().all(|finding| finding.level != Level::Fail);
        Self { schema: SCHEMA, healthy, findings }
    }

    /// Whether nothing fails.
    pub(in crate::cli) fn healthy(&self) -> bool {
        self.healthy
    }

    /// Each of them.
    pub(in crate::cli) fn all(&self) -> &[Finding] {
        &self.findings
    }

    /// 1 if anything fails.
    pub(in crate::cli) fn exit(&self) -> Exit {
        if self.healthy { Exit::Done } else { Exit::No }
    }

    /// For people: a line each, its way out below it, and the sum.
    pub(in crate::cli) fn text(&self) -> String {
        let mut table = Table::new(0, &[Left, Left, Left]);
        for finding in &self.findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "FAIL",
            };
            table.row([level, &finding.theme, &finding.finding]);
            if let Some(hint) = &finding.hint {
                table.row(["", "", &format!("try: {hint}")]);
            }
        }
        let of = |level| self.findings.iter().filter(|finding| finding.level == level).count() as u64;
        let failures = output::plural(of(Level::Fail), "failure", "failures");
        format!("{}{failures}, {}\n", table.text(), output::plural(of(Level::Warn), "warning", "warnings"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Finding> {
        vec![
            Finding::ok("kernel", "Linux 6.18").hint("never shown"),
            Finding::warn("eth0", "is down").hint("ip link set dev eth0 up"),
        ]
    }

    #[test]
    fn each_finding_is_a_line_and_its_way_out_another() {
        let expected = "\
ok    kernel  Linux 6.18
warn  eth0    is down
              try: ip link set dev eth0 up
0 failures, 1 warning
";
        assert_eq!(Findings::new(sample()).text(), expected);
    }

    #[test]
    fn a_failure_decides_the_exit_code() {
        assert_eq!(Findings::new(sample()).exit(), Exit::Done);
        let mut findings = sample();
        findings.push(Finding::fail("bpffs", "is not mounted"));
        let findings = Findings::new(findings);
        assert_eq!(findings.exit(), Exit::No);
        let json = serde_json::to_string(&findings).unwrap();
        let expected = r#"{"schema":1,"healthy":false,"findings":[{"level":"ok","theme":"kernel","finding":"Linux 6.18"},{"level":"warn","theme":"eth0","finding":"is down","try":"ip link set dev eth0 up"},{"level":"fail","theme":"bpffs","finding":"is not mounted"}]}"#;
        assert_eq!(json, expected);
    }
}
