//! `quic-router log`: what the agent logs, changed while it runs.

use super::{
    client::{Answer, Client},
    fail::{Exit, Fail},
    options::Json,
    output,
};
use crate::{
    agent::{api, control::Request},
    telemetry::LogFilter,
};

/// Show what the agent logs, or change it while it runs
///
/// A change holds until the next reload, which brings back what the configuration says, or until the
/// agent ends.
#[derive(clap::Args, Debug)]
pub(super) struct Log {
    /// What to log from now on: error, warn, info, debug, trace or off, also by module, as in
    /// info,quinn=debug
    #[arg(value_parser = filter)]
    filter: Option<LogFilter>,
    #[command(flatten)]
    json: Json,
}

fn filter(text: &str) -> Result<LogFilter, String> {
    LogFilter::parse(text).map_err(|error| format!("{error}; {WANTED}"))
}

impl Log {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        let request = match &self.filter {
            None => Request::Log,
            Some(filter) => Request::SetLog(api::LogRequest { filter: filter.to_string() }),
        };
        let answer = client.ask(&request)?;
        output::print(&shown(&answer, &self.json)?)?;
        Ok(Exit::Done)
    }
}

fn shown(answer: &Answer, json: &Json) -> Result<String, Fail> {
    let log: api::Log = answer.read()?;
    Ok(if json.json { answer.json() } else { log.filter } + "\n")
}

const WANTED: &str = "it is error, warn, info, debug, trace or off, also by module: info,quinn=debug";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::command_line::Cli;

    #[test]
    fn what_is_in_force_stands_alone_on_a_line() {
        let json = r#"{"schema":1,"filter":"info,quinn=debug","new":true}"#;
        assert_eq!(shown(&Answer::of(json), &Json { json: false }).unwrap(), "info,quinn=debug\n");
        assert_eq!(shown(&Answer::of(json), &Json { json: true }).unwrap(), format!("{json}\n"));
    }

    #[test]
    fn a_filter_that_is_none_is_wrong_usage() {
        for (filter, why) in [("verbose", "\"verbose\" is no level"), ("quinn=loud", "error parsing level filter: ")] {
            let error = Cli::command().try_get_matches_from(["quic-router", "log", filter]).unwrap_err();
            let fail = Fail::from(&error);
            assert_eq!(fail.exit(), Exit::Usage);
            let text = fail.to_string();
            let expected = format!("quic-router: invalid value '{filter}' for '[FILTER]': {why}");
            assert!(text.starts_with(&expected) && text.contains(WANTED), "{text}");
        }
        assert!(Cli::command().try_get_matches_from(["quic-router", "log", "info,quinn=debug"]).is_ok());
        assert!(Cli::command().try_get_matches_from(["quic-router", "log"]).is_ok());
    }
}
