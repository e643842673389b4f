//! `quic-router version`: which program this is, and whether it is fit for production.

use serde::Serialize;

use super::{
    fail::{Exit, Fail},
    options::Json,
    output::{self, Align::Left, Table},
};
use crate::{
    agent::api::SCHEMA,
    build_identity::{self, Build, NAME},
};

/// Show the version, or with --build how the program was built
#[derive(clap::Args, Debug)]
pub(super) struct Version {
    /// Show commit, compiler, profile, sanitizer and features
    #[arg(long)]
    build: bool,
    #[command(flatten)]
    json: Json,
}

impl Version {
    pub(super) fn execute(&self) -> Result<Exit, Fail> {
        let build = build_identity::build();
        if self.json.json {
            let build = self.build.then_some(build);
            output::print_json(&Answer { schema: SCHEMA, name: NAME, version: env!("CARGO_PKG_VERSION"), build })?;
        } else {
            let text = format!("{NAME} {}\n", env!("CARGO_PKG_VERSION"));
            output::print(&if self.build { text + &description(&build) } else { text })?;
        }
        Ok(Exit::Done)
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    schema: u32,
    name: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<Build>,
}

fn description(build: &Build) -> String {
    let mut table = Table::new(0, &[Left, Left]);
    table.row(["commit", build.commit.unwrap_or("unknown")]);
    table.row(["compiler", build.rustc.unwrap_or("unknown")]);
    table.row(["profile", build.profile.unwrap_or("unknown")]);
    table.row(["debug assertions", if build.debug_assertions { "on" } else { "off" }]);
    table.row(["sanitizer", build.sanitizer.unwrap_or("none")]);
    let features = if build.features.is_empty() { "none".to_owned() } else { build.features.join(" ") };
    table.row(["features", &features]);
    let fit = build.test_build.map_or("yes".to_owned(), |why| format!("no: {why}"));
    table.row(["for production", &fit]);
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: Build = Build {
        commit: Some("772c653d1e2f"),
        rustc: Some("rustc 1.95.0"),
        profile: Some("release (opt-level 3)"),
        debug_assertions: false,
        sanitizer: None,
        features: &[],
        test_build: None,
    };

    #[test]
    fn a_production_build() {
        let expected = "\
commit            772c653d1e2f
compiler          rustc 1.95.0
profile           release (opt-level 3)
debug assertions  off
sanitizer         none
features          none
for production    yes
";
        assert_eq!(description(&RELEASE), expected);
    }

    #[test]
    fn a_test_build_cannot_be_mistaken() {
        let build = Build { sanitizer: Some("address"), test_build: Some("slow"), ..RELEASE };
        let text = description(&build);
        assert!(text.contains("sanitizer         address\n"), "{text}");
        assert!(text.ends_with("for production    no: slow\n"), "{text}");
    }
}
