//! What the doctor found: one sentence each, with a level and, where known, the way out.

use serde::Serialize;

use crate::{
    agent::api::SCHEMA,
    text::{self, Align::Left, Table},
};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It works, but worse than it could; or it could not be seen.
    Warn,
    /// What is wanted will not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    level: Level,
    /// What it is about: a word, or an interface's name.
    theme: String,
    finding: String,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    pub(crate) fn new(level: Level, theme: &str, finding: impl Into<String>) -> Self {
        Self { level, theme: theme.to_owned(), finding: finding.into(), hint: None }
    }

    pub(crate) fn ok(theme: &str, finding: impl Into<String>) -> Self {
        Self::new(Level::Ok, theme, finding)
    }

    pub(crate) fn warn(theme: &str, finding: impl Into<String>) -> Self {
        Self::new(Level::Warn, theme, finding)
    }

    pub(crate) fn fail(theme: &str, finding: impl Into<String>) -> Self {
        Self::new(Level::Fail, theme, finding)
    }

    /// Says what to try; of what is as it should be there is nothing to try.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        if self.level == Level::Ok { self } else { Self { hint: Some(hint.into()), ..self } }
    }
}

/// All that was found, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    schema: u32,
    /// Nothing fails.
    healthy: bool,
    findings: Vec<Finding>,
}

impl Findings {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        let healthy = findings.iter().all(|finding| finding.level != Level::Fail);
        Self { schema: SCHEMA, healthy, findings }
    }

    /// Whether nothing fails.
    pub(crate) fn healthy(&self) -> bool {
        self.healthy
    }

    /// Each of them.
    pub(crate) fn all(&self) -> &[Finding] {
        &self.findings
    }

    /// For people: a line each, its way out below it, and the sum.
    pub(crate) fn text(&self) -> String {
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
        let failures = text::plural(of(Level::Fail), "failure", "failures");
        format!("{}{failures}, {}\n", table.text(), text::plural(of(Level::Warn), "warning", "warnings"))
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
    fn one_failure_is_enough() {
        assert!(Findings::new(sample()).healthy());
        let mut findings = sample();
        findings.push(Finding::fail("bpffs", "is not mounted"));
        let findings = Findings::new(findings);
        assert!(!findings.healthy());
        let json = serde_json::to_string(&findings).unwrap();
        let expected = r#"{"schema":1,"healthy":false,"findings":[{"level":"ok","theme":"kernel","finding":"Linux 6.18"},{"level":"warn","theme":"eth0","finding":"is down","try":"ip link set dev eth0 up"},{"level":"fail","theme":"bpffs","finding":"is not mounted"}]}"#;
        assert_eq!(json, expected);
    }
}
